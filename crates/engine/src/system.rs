//! The clock and the ids of a running process.

use std::time::Duration;

use workflow::model::{ApprovalId, Millis, WorkflowId};

use crate::ports::{Clock, Ids};

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        // A clock before 1970 is taken for 1970: time never goes back for a workflow anyway.
        since.map_or(0, |d| {
            Millis::try_from(d.as_millis()).unwrap_or(Millis::MAX)
        })
    }

    async fn until(&self, at: Millis) {
        loop {
            let left = at.saturating_sub(self.now());
            let Ok(left @ 1..) = u64::try_from(left) else {
                return;
            };
            // At most an hour at a time, so that a clock that was set is noticed.
            tokio::time::sleep(Duration::from_millis(left.min(3_600_000))).await;
        }
    }
}

/// Ids of UUIDv7: unique, and in the order in which they were made.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimeIds;

impl Ids for TimeIds {
    fn workflow(&self) -> WorkflowId {
        WorkflowId(format!("wf_{}", uuid::Uuid::now_v7().simple()))
    }

    fn approval(&self) -> ApprovalId {
        ApprovalId(format!("ap_{}", uuid::Uuid::now_v7().simple()))
    }

    fn number(&self) -> u64 {
        // The lower half of a UUIDv7 is random but for its two highest bits.
        uuid::Uuid::now_v7().as_u64_pair().1
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const DRAWS: usize = 1000;

    #[test]
    fn p18_ids_are_never_given_twice_and_come_in_the_order_in_which_they_were_made() {
        let workflows: Vec<_> = (0..DRAWS).map(|_| TimeIds.workflow()).collect();
        assert!(workflows.iter().all(|id| id.0.starts_with("wf_")));
        assert!(workflows.is_sorted());
        assert_eq!(workflows.into_iter().collect::<BTreeSet<_>>().len(), DRAWS);
        let approvals: BTreeSet<_> = (0..DRAWS).map(|_| TimeIds.approval()).collect();
        assert!(approvals.iter().all(|id| id.0.starts_with("ap_")));
        assert_eq!(approvals.len(), DRAWS);
    }

    #[test]
    fn p18_two_that_fail_together_do_not_draw_the_same_wait() {
        let drawn: Vec<u64> = (0..DRAWS).map(|_| TimeIds.number()).collect();
        // What a wait is taken from are the lower bits: each of them is set in some draws and not
        // in others.
        let (all, any) = drawn
            .iter()
            .fold((u64::MAX, 0), |(all, any), n| (all & n, any | n));
        assert_eq!((all as u32, any as u32), (0, u32::MAX));
        assert_eq!(drawn.into_iter().collect::<BTreeSet<_>>().len(), DRAWS);
    }
}
