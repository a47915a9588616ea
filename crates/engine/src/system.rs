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
