//! The terms under which steps run and are approved: at the same time, again, until, and by whom.

use serde::{Deserialize, Serialize};

use super::{Millis, StepId};

/// Steps that run at the same time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The id under which it was written.
    pub id: StepId,
    /// The place of its first step, from 0.
    pub from: usize,
    /// How many steps it has.
    pub count: usize,
    /// How many of them may be under way at the same time.
    pub limit: u32,
    /// Where it was written as one step for each item of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub each: Option<Each>,
}

/// One step for each item of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Each {
    /// So many at a time: the next ones begin when all of these are settled.
    pub batch: u32,
    /// So many may fail before it counts as a failure.
    pub max_failures: u32,
}

/// Who has to say yes to each of a workflow's approvals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approvers {
    /// How many different people. More than one counts authenticated people only.
    pub quorum: u32,
    /// Whoever asked for the workflow is none of them.
    pub exclude_requester: bool,
}

impl Default for Approvers {
    fn default() -> Self {
        Self {
            quorum: 1,
            exclude_requester: false,
        }
    }
}

impl Approvers {
    /// Whether one decision of anybody is enough.
    #[must_use]
    pub fn is_anyone(&self) -> bool {
        self.quorum <= 1 && !self.exclude_requester
    }

    /// What satisfies both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            quorum: self.quorum.max(other.quorum),
            exclude_requester: self.exclude_requester || other.exclude_requester,
        }
    }
}

/// How often a step is tried again when it fails. Only for what may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// How many times, beside the first.
    pub count: u32,
    /// How long it waits before the first of them, in seconds; twice as long before each further
    /// one, and between half of that and all of it, at random.
    pub backoff_s: u32,
    /// The longest that it waits, in seconds.
    pub max_backoff_s: u32,
}

impl Retry {
    /// How long to wait before a retry, in milliseconds. `retries` were made before; `jitter` is
    /// any number.
    #[must_use]
    pub fn wait_ms(&self, retries: u32, jitter: u64) -> Millis {
        let whole = u64::from(self.backoff_s)
            .saturating_mul(1 << retries.min(32))
            .min(u64::from(self.max_backoff_s))
            .saturating_mul(1000);
        let half = whole / 2;
        Millis::try_from(half + jitter % (whole - half + 1)).unwrap_or(Millis::MAX)
    }
}

/// A read that is made until a condition holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WaitFor {
    /// The condition (CEL), over the outputs of the read.
    pub until: String,
    /// How long between two reads, in seconds.
    pub every_s: u32,
    /// How long in all, in seconds; then the step has failed.
    pub deadline_s: u32,
}
