//! What came of calls and probes, and why a workflow stands still or goes back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{StepId, Undo};

/// There or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The step itself.
    Do,
    /// Its undo.
    Undo,
}

impl Direction {
    /// The word for it, as in a key.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Do => "do",
            Self::Undo => "undo",
        }
    }
}

/// What came of a call. The answer itself is not kept (P12).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Outcome {
    /// The companion says that it did it.
    Succeeded {
        /// SHA-256 of the answer, 64 hex digits.
        sha256: String,
        /// Size of the answer in bytes.
        size: u64,
        /// Whether the companion says that anything changed; true where it does not say.
        changed: bool,
        /// The declared outputs.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        outputs: BTreeMap<String, Value>,
        /// Declared outputs that the answer does not have, or that may not be kept, and why.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        missing: Vec<String>,
        /// A more exact inverse that the answer offers and that may be used.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        undo: Option<Box<Undo>>,
    },
    /// It did not do it, or not all.
    Failed {
        /// The companion's own code, or ours.
        code: String,
        /// Sanitised error text.
        error: String,
        /// What it left behind.
        left: Left,
    },
    /// Nobody knows.
    Unknown {
        /// Why.
        why: String,
    },
}

/// What a failed call left behind, as far as it was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Left {
    /// Nothing: the companion says so, or nothing was sent.
    Nothing,
    /// Something: the companion says so.
    Something,
    /// The companion did not say.
    NotSaid,
}

/// What a probe showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Verdict {
    /// The change is in effect.
    InEffect,
    /// It is not.
    NotInEffect,
    /// Neither can be said.
    Unclear {
        /// Why.
        why: String,
    },
}

/// Why nothing runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pause {
    /// Nobody answered in time.
    ApprovalExpired,
    /// The world changed since the approval.
    Drift,
    /// The effect of a step is unknown.
    Unknown,
    /// A person said what became of the unknown step.
    Settled,
    /// An approval was given and not used in time.
    ApprovalLapsed,
    /// A step was taken over too often.
    Recoveries,
    /// Another workflow is changing the object.
    Held,
}

impl Pause {
    /// The word for it, as in the answers.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ApprovalExpired => "approval_expired",
            Self::Drift => "drift",
            Self::Unknown => "unknown",
            Self::Settled => "settled",
            Self::ApprovalLapsed => "approval_lapsed",
            Self::Recoveries => "recoveries",
            Self::Held => "held",
        }
    }
}

/// Why steps are being undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum RollbackCause {
    /// A step failed (P8).
    StepFailed {
        /// Which.
        step: StepId,
    },
    /// A person rejected an approval.
    Rejected,
    /// A person asked for it, and it was approved.
    ByHand,
}

/// Why a workflow will not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelCause {
    /// A person cancelled it.
    Cancelled,
    /// A person rejected an approval.
    Rejected,
}

impl CancelCause {
    /// The word for it, as in the answers.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
        }
    }
}
