//! Where one step stands.

use std::collections::BTreeMap;
use std::sync::Arc;

use guard::digest::Digest;
use serde_json::Value;

use crate::event::{Direction, Left, Verdict};
use crate::model::{Facts, Millis, Prepared, Undo};

/// The word for where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StepStatus {
    /// Its turn has not come.
    Pending,
    /// A person is asked about it.
    AwaitingApproval,
    /// It was sent.
    Running,
    /// It was done.
    Succeeded,
    /// It was not done, or not all of it.
    Failed,
    /// Nobody knows.
    Unknown,
    /// Its condition did not hold, so it did not run.
    Skipped,
    /// Its undo was sent.
    RollingBack,
    /// It was undone.
    RolledBack,
    /// It cannot be undone.
    RollbackSkipped,
    /// Its undo failed, or nobody knows whether it worked.
    RollbackFailed,
}

impl StepStatus {
    /// The word for it, as in the answers.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Skipped => "skipped",
            Self::RollingBack => "rolling_back",
            Self::RolledBack => "rolled_back",
            Self::RollbackSkipped => "rollback_skipped",
            Self::RollbackFailed => "rollback_failed",
        }
    }
}

/// The code of a step, or an undo, of which nobody knows whether it took effect.
pub const UNKNOWN: &str = "step.unknown";

/// An error of a step, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepError {
    /// The companion's code, or ours.
    pub code: String,
    /// Sanitised text.
    pub error: String,
}

/// Where a step stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The word for it.
    pub status: StepStatus,
    /// Raised only by a person's "it did not happen".
    pub generation: u32,
    /// How many times it was sent in this generation.
    pub attempt: u32,
    /// How many times its undo was sent in this rollback.
    pub undo_attempt: u32,
    /// Raised by each undo that failed: another rollback, which a person approved, is another deed.
    pub undo_generation: u32,
    /// What a failed undo left behind.
    pub undo_left: Option<Left>,
    /// The catalog's word on it, as of the last review.
    pub facts: Option<Facts>,
    /// What was found just before the change.
    pub prepared: Option<Arc<Prepared>>,
    /// What a person approved of it; used up by the intent.
    pub approved: Option<Digest>,
    /// What a decision on something else covered of it.
    pub covered: Option<Digest>,
    /// When it was approved, or covered.
    pub approved_at: Option<Millis>,
    /// What the approval that its last attempt used up was of.
    pub spent: Option<Digest>,
    /// The wave in which it was begun, as a member of a group.
    pub launched: Option<u32>,
    /// It is begun only while no other member of its group is under way.
    pub alone: bool,
    /// How many times it was tried again.
    pub retries: u32,
    /// It failed, and is tried again then.
    pub retry_at: Option<Millis>,
    /// What was prepared for its first try does not hold any more, and a person was told so.
    pub anew: bool,
    /// How long it waits for its condition at most.
    pub deadline: Option<Millis>,
    /// How many times another owner took it, or its undo, over since a person last decided.
    pub recoveries: u32,
    /// The direction of an intent that has no outcome yet.
    pub in_flight: Option<Direction>,
    /// The companion said it did it, and the step's own verify is still to come.
    pub unverified: bool,
    /// It failed since its own verify does not show what the companion says that it did: it is
    /// undone like one that was done.
    pub claimed: bool,
    /// An earlier attempt may have changed something, whatever came of the last one.
    pub tainted: bool,
    /// SHA-256 of the answer.
    pub sha256: Option<String>,
    /// Size of the answer in bytes.
    pub size: Option<u64>,
    /// Whether the companion says that anything changed.
    pub changed: bool,
    /// The declared outputs.
    pub outputs: BTreeMap<String, Value>,
    /// Outputs that were declared and are not there, and why.
    pub missing: Vec<String>,
    /// A more exact inverse that the answer offered.
    pub offered: Option<Undo>,
    /// The failure of its undo in this rollback.
    pub undo_error: Option<StepError>,
    /// What a failed call left behind.
    pub left: Option<Left>,
    /// The last failure.
    pub error: Option<StepError>,
    /// What the last probe of the deed showed.
    pub probe: Option<Verdict>,
    /// Its place among the outcomes, from 1.
    pub order: Option<u64>,
    /// Whether a read showed the values from before, once it was undone.
    pub undo_verified: Option<bool>,
    /// Why it did not run.
    pub skipped_why: Option<String>,
    /// Why it was not undone.
    pub undo_why: Option<String>,
    /// What stays behind of it.
    pub stays: Option<String>,
    /// When it was first sent.
    pub started_at: Option<Millis>,
    /// When it was last settled.
    pub ended_at: Option<Millis>,
}

impl Step {
    pub(super) fn new(facts: Option<Facts>) -> Self {
        Self {
            status: StepStatus::Pending,
            generation: 0,
            attempt: 0,
            undo_attempt: 0,
            undo_generation: 0,
            undo_left: None,
            facts,
            prepared: None,
            approved: None,
            covered: None,
            approved_at: None,
            spent: None,
            launched: None,
            alone: false,
            retries: 0,
            retry_at: None,
            anew: false,
            deadline: None,
            recoveries: 0,
            in_flight: None,
            unverified: false,
            claimed: false,
            tainted: false,
            sha256: None,
            size: None,
            changed: false,
            outputs: BTreeMap::new(),
            missing: Vec::new(),
            offered: None,
            undo_error: None,
            left: None,
            error: None,
            probe: None,
            order: None,
            undo_verified: None,
            skipped_why: None,
            undo_why: None,
            stays: None,
            started_at: None,
            ended_at: None,
        }
    }

    /// Whether its turn is still to come, or to come again.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.status == StepStatus::Pending || self.retry_at.is_some()
    }

    /// Whether nothing is to come of it any more, its undo aside.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        match self.status {
            StepStatus::Succeeded
            | StepStatus::Skipped
            | StepStatus::RollingBack
            | StepStatus::RolledBack
            | StepStatus::RollbackSkipped
            | StepStatus::RollbackFailed => true,
            StepStatus::Failed => self.retry_at.is_none(),
            StepStatus::Pending
            | StepStatus::AwaitingApproval
            | StepStatus::Running
            | StepStatus::Unknown => false,
        }
    }

    /// Whether a change is under way whose outcome is not known yet.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.in_flight.is_some()
            || self.unverified
            || (self.status == StepStatus::Unknown && self.probe.is_none())
    }

    /// Whether nobody knows what became of it, and looking did not help.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.status == StepStatus::Unknown && self.probe.is_some() && self.in_flight.is_none()
    }

    /// Where it waits once nobody is asked about it any more.
    pub(super) fn wait_on(&mut self) {
        self.status = if self.retry_at.is_some() {
            StepStatus::Failed
        } else {
            StepStatus::Pending
        };
    }

    /// What was decided about it does not hold any more.
    pub(super) fn void(&mut self) {
        self.approved = None;
        self.covered = None;
        self.approved_at = None;
        self.spent = None;
    }

    /// Whether it may change the world.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.facts.as_ref().is_some_and(|f| f.risk.changes())
    }

    /// Whether it may have left a change behind that a rollback has to look at.
    #[must_use]
    pub fn may_have_changed(&self) -> bool {
        self.changes()
            && match self.status {
                StepStatus::Succeeded => self.changed || self.tainted,
                StepStatus::Failed => {
                    self.claimed
                        || self.tainted
                        || (self.left != Some(Left::Nothing)
                            && self.probe != Some(Verdict::NotInEffect))
                }
                StepStatus::Unknown | StepStatus::RollbackFailed | StepStatus::RollingBack => true,
                StepStatus::Running => self.in_flight.is_some() || self.unverified,
                // One that failed and waits to be tried again is asked about.
                StepStatus::AwaitingApproval => {
                    self.tainted || (self.retry_at.is_some() && self.left != Some(Left::Nothing))
                }
                StepStatus::Pending => self.tainted,
                StepStatus::Skipped | StepStatus::RolledBack | StepStatus::RollbackSkipped => false,
            }
    }
}
