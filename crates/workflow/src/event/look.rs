//! What a look at the whole showed, before anything ran.

use guard::digest::Digest;
use serde::{Deserialize, Serialize};

use crate::model::{Facts, Prepared, Risk, WorkflowId};

/// A workflow looked at as a whole, before its first step (P5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Review {
    /// SHA-256 of the plan: what an approval of it is bound to.
    pub digest: Digest,
    /// Of each step, in order.
    pub steps: Vec<StepReview>,
}

/// One step, looked at before anything ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepReview {
    /// The catalog's word on it; `None` for a gate.
    pub facts: Option<Facts>,
    /// What it would do, as far as it can be told now.
    pub preview: Preview,
    /// Where its undo comes from.
    pub undo_from: UndoFrom,
    /// What the step's own undo may do, where it has one: a rollback makes it without asking again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo_risk: Option<Risk>,
    /// Another workflow that held the object then: one of the two waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<WorkflowId>,
}

/// What can be told of a step before anything ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Preview {
    /// This, if nothing else happens first.
    Shown {
        /// What was found.
        prepared: Box<Prepared>,
    },
    /// Nothing: it depends on what an earlier step answers, or the companion has no previews.
    NotPossible {
        /// Why.
        why: String,
    },
    /// The companion refused the preview.
    Refused {
        /// Its code.
        code: String,
        /// Its words, sanitised.
        error: String,
    },
    /// There is nothing to tell: a read, or a gate.
    NotNeeded,
}

/// Where the undo of a step comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UndoFrom {
    /// The companion's preview, with the values from before.
    Companion,
    /// The step's own `undo`.
    Step,
    /// Nowhere.
    Nowhere,
    /// It changes nothing.
    NotNeeded,
}
