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
    /// The catalog's word on it, as of the last review.
    pub facts: Option<Facts>,
    /// What was found just before the change.
    pub prepared: Option<Arc<Prepared>>,
    /// What a person approved of it; used up by the intent.
    pub approved: Option<Digest>,
    /// What a decision on something else covered of it.
    pub covered: Option<Digest>,
    /// The direction of an intent that has no outcome yet.
    pub in_flight: Option<Direction>,
    /// The companion said it did it, and the step's own verify is still to come.
    pub unverified: bool,
    /// It failed since its own verify does not show what the companion says that it did: it is
    /// undone like one that was done.
    pub claimed: bool,
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
            facts,
            prepared: None,
            approved: None,
            covered: None,
            in_flight: None,
            unverified: false,
            claimed: false,
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
            undo_why: None,
            stays: None,
            started_at: None,
            ended_at: None,
        }
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
                StepStatus::Succeeded => self.changed,
                StepStatus::Failed => {
                    self.claimed
                        || (self.left != Some(Left::Nothing)
                            && self.probe != Some(Verdict::NotInEffect))
                }
                StepStatus::Unknown | StepStatus::RollbackFailed | StepStatus::RollingBack => true,
                StepStatus::Running => self.in_flight.is_some() || self.unverified,
                StepStatus::Pending
                | StepStatus::AwaitingApproval
                | StepStatus::RolledBack
                | StepStatus::RollbackSkipped => false,
            }
    }
}
