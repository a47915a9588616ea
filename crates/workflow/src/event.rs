//! What happened to a workflow: the only thing that is stored of it.
//!
//! Events are facts in the past tense. A state is their fold ([`crate::state::State::apply`]), so
//! an event carries all that the fold needs and nothing that it can work out. The serialised form
//! is a format: [`VERSION`] counts its breaking changes, and a golden test pins it.

use std::collections::BTreeMap;

use guard::digest::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{ApprovalId, Call, Definition, Facts, Millis, Prepared, StepId, WorkflowId};

mod approval;
mod look;
mod outcome;

pub use approval::{Approval, Assurance, Principal, Subject};
pub use look::{Preview, Review, StepReview, UndoFrom};
pub use outcome::{CancelCause, Direction, Left, Outcome, Pause, RollbackCause, Verdict};

/// The version of the serialised form of [`Event`].
pub const VERSION: u32 = 1;

/// One fact about one workflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// It was made, and its form was checked against the live catalog.
    Created {
        /// What names it.
        id: WorkflowId,
        /// What was asked for.
        definition: Box<Definition>,
        /// Who asked.
        by: Principal,
        /// The catalog's word on each step at that time; `None` for a gate.
        facts: Vec<Option<Facts>>,
    },
    /// It was looked at as a whole, before its first step.
    Reviewed {
        /// What was found.
        review: Box<Review>,
    },
    /// Its first step may run.
    Started,
    /// A person said yes, and more people have to.
    Endorsed {
        /// To which question.
        approval: ApprovalId,
        /// Who, and how we know.
        by: Principal,
        /// What they added.
        comment: String,
        /// Destructive steps that the decision names beside its subject, each with the digest that it covers.
        covers: BTreeMap<StepId, Digest>,
    },
    /// An approval was given and not used in time.
    Lapsed {
        /// Of which step; `None` for the plan's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepId>,
    },
    /// A member of a group is under way.
    Launched {
        /// Which step.
        step: StepId,
    },
    /// A member of a group has to wait until the others are settled: it is to be asked about, or
    /// something stands in its way.
    Deferred {
        /// Which step.
        step: StepId,
    },
    /// A step's condition does not hold: it does not run.
    Skipped {
        /// Which step.
        step: StepId,
        /// Why.
        why: String,
    },
    /// A step that failed is tried again.
    RetryScheduled {
        /// Which step.
        step: StepId,
        /// When.
        at: Millis,
    },
    /// A step waits for a condition.
    WaitStarted {
        /// Which step.
        step: StepId,
        /// Until when at most.
        deadline: Millis,
    },
    /// A step answered, and what it was to bring about does not hold.
    Unexpected {
        /// Which step.
        step: StepId,
        /// Why.
        why: String,
    },
    /// A person is asked.
    ApprovalRequested {
        /// What is asked.
        approval: Approval,
    },
    /// A person said yes.
    Approved {
        /// To which question.
        approval: ApprovalId,
        /// Who, and how we know.
        by: Principal,
        /// What they added.
        comment: String,
        /// Destructive steps that the decision names beside its subject, each with the digest that it covers.
        covers: BTreeMap<StepId, Digest>,
    },
    /// A person said no.
    Rejected {
        /// To which question.
        approval: ApprovalId,
        /// Who, and how we know.
        by: Principal,
        /// Why.
        reason: String,
    },
    /// Nobody answered in time (P7).
    Expired {
        /// Which question.
        approval: ApprovalId,
    },
    /// A gate was passed.
    GatePassed {
        /// Which.
        step: StepId,
    },
    /// What the step will do was found out, by reads.
    StepPrepared {
        /// Which step.
        step: StepId,
        /// What was found.
        prepared: Box<Prepared>,
    },
    /// A call is about to be sent. Durable before it is.
    Intent {
        /// Which step.
        step: StepId,
        /// There or back.
        direction: Direction,
        /// How many times it was sent before, plus one.
        attempt: u32,
        /// What names the deed over all attempts.
        key: String,
        /// What is sent, with every reference resolved.
        call: Call,
    },
    /// What came of a call.
    Outcome {
        /// Which step.
        step: StepId,
        /// There or back.
        direction: Direction,
        /// Of which attempt.
        attempt: u32,
        /// How long the call took, in milliseconds; `None` where it was not measured.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        took_ms: Option<u64>,
        /// What.
        outcome: Outcome,
    },
    /// A read was made to find out whether a change is in effect.
    Probed {
        /// Which step.
        step: StepId,
        /// Of the deed, or of its undo.
        direction: Direction,
        /// What it showed.
        verdict: Verdict,
    },
    /// The world is not as it was when a person approved; nothing was sent.
    Drifted {
        /// Which step.
        step: StepId,
        /// What differs, in plain sentences.
        changes: Vec<String>,
    },
    /// Nothing runs until a person decides.
    Paused {
        /// Why.
        why: Pause,
    },
    /// A person let a paused workflow go on.
    Resumed {
        /// Who.
        by: Principal,
    },
    /// A person said what became of a step whose effect is unknown.
    Resolved {
        /// Which step.
        step: StepId,
        /// Whether it took effect.
        happened: bool,
        /// Outputs that the person supplied.
        outputs: BTreeMap<String, Value>,
        /// Who.
        by: Principal,
        /// Why they think so.
        note: String,
    },
    /// A person asked to stop.
    CancelRequested {
        /// Who.
        by: Principal,
    },
    /// The steps are being undone.
    RollbackStarted {
        /// Why.
        why: RollbackCause,
        /// Which, in the order in which they will be undone.
        order: Vec<StepId>,
    },
    /// A step cannot be undone, or needs none.
    UndoSkipped {
        /// Which step.
        step: StepId,
        /// Why.
        why: String,
        /// What stays behind; empty when nothing does.
        stays: String,
    },
    /// A step was undone.
    Undone {
        /// Which step.
        step: StepId,
        /// Whether a read showed the values from before.
        verified: bool,
    },
    /// A step could not be undone, or nobody can tell whether it was.
    UndoFailed {
        /// Which step.
        step: StepId,
        /// Why.
        why: String,
    },
    /// The last step ran.
    Completed,
    /// A step failed, and nothing was there to undo or nothing shall be.
    Failed {
        /// Which step.
        step: StepId,
    },
    /// It will not run.
    Cancelled {
        /// Why.
        why: CancelCause,
    },
    /// The rollback is over.
    RollbackEnded {
        /// Whether any undo failed.
        failed: bool,
    },
    /// Another owner took over; what was in flight before is of an older epoch.
    Adopted {
        /// The new epoch.
        epoch: u32,
    },
    /// An answer came after its step was settled.
    LateReply {
        /// Which step.
        step: StepId,
        /// There or back.
        direction: Direction,
        /// Of which attempt.
        attempt: u32,
        /// Whether it contradicts what was recorded.
        contradicts: bool,
        /// What it said.
        outcome: Outcome,
    },
}

impl Event {
    /// The word for it: the tag of its serialised form, and the kind of its audit row.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Reviewed { .. } => "reviewed",
            Self::Started => "started",
            Self::Endorsed { .. } => "endorsed",
            Self::Lapsed { .. } => "lapsed",
            Self::Launched { .. } => "launched",
            Self::Deferred { .. } => "deferred",
            Self::Skipped { .. } => "skipped",
            Self::RetryScheduled { .. } => "retry_scheduled",
            Self::WaitStarted { .. } => "wait_started",
            Self::Unexpected { .. } => "unexpected",
            Self::ApprovalRequested { .. } => "approval_requested",
            Self::Approved { .. } => "approved",
            Self::Rejected { .. } => "rejected",
            Self::Expired { .. } => "expired",
            Self::GatePassed { .. } => "gate_passed",
            Self::StepPrepared { .. } => "step_prepared",
            Self::Intent { .. } => "intent",
            Self::Outcome { .. } => "outcome",
            Self::Probed { .. } => "probed",
            Self::Drifted { .. } => "drifted",
            Self::Paused { .. } => "paused",
            Self::Resumed { .. } => "resumed",
            Self::Resolved { .. } => "resolved",
            Self::CancelRequested { .. } => "cancel_requested",
            Self::RollbackStarted { .. } => "rollback_started",
            Self::UndoSkipped { .. } => "undo_skipped",
            Self::Undone { .. } => "undone",
            Self::UndoFailed { .. } => "undo_failed",
            Self::Completed => "completed",
            Self::Failed { .. } => "failed",
            Self::Cancelled { .. } => "cancelled",
            Self::RollbackEnded { .. } => "rollback_ended",
            Self::Adopted { .. } => "adopted",
            Self::LateReply { .. } => "late_reply",
        }
    }

    /// The steps that it names.
    #[must_use]
    pub fn steps(&self) -> Vec<&StepId> {
        match self {
            Self::GatePassed { step }
            | Self::Launched { step }
            | Self::Deferred { step }
            | Self::Skipped { step, .. }
            | Self::RetryScheduled { step, .. }
            | Self::WaitStarted { step, .. }
            | Self::Unexpected { step, .. }
            | Self::StepPrepared { step, .. }
            | Self::Intent { step, .. }
            | Self::Outcome { step, .. }
            | Self::Probed { step, .. }
            | Self::Drifted { step, .. }
            | Self::Resolved { step, .. }
            | Self::UndoSkipped { step, .. }
            | Self::Undone { step, .. }
            | Self::UndoFailed { step, .. }
            | Self::Failed { step }
            | Self::LateReply { step, .. } => vec![step],
            Self::ApprovalRequested { approval } => match &approval.subject {
                Subject::Step { step }
                | Subject::Gate { step }
                | Subject::Resolution { step, .. } => vec![step],
                Subject::Rollback { order } => order.iter().collect(),
                Subject::Plan => Vec::new(),
            },
            Self::Approved { covers, .. } | Self::Endorsed { covers, .. } => {
                covers.keys().collect()
            }
            Self::Lapsed { step } => step.iter().collect(),
            Self::RollbackStarted { order, why } => order
                .iter()
                .chain(match why {
                    RollbackCause::StepFailed { step } => Some(step),
                    RollbackCause::Rejected | RollbackCause::ByHand => None,
                })
                .collect(),
            Self::Created { .. }
            | Self::Reviewed { .. }
            | Self::Started
            | Self::Rejected { .. }
            | Self::Expired { .. }
            | Self::Paused { .. }
            | Self::Resumed { .. }
            | Self::CancelRequested { .. }
            | Self::Completed
            | Self::Cancelled { .. }
            | Self::RollbackEnded { .. }
            | Self::Adopted { .. } => Vec::new(),
        }
    }
}
