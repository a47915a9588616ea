//! Where a workflow stands: the fold of its events, and the table of the moves that are legal.
//!
//! [`TABLE`] is the law: an event that would make any other move is not applied, and a log that
//! holds one is refused. The diagram in `docs/states.md` is generated from it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use guard::digest::Digest;

use crate::event::{
    Approval, CancelCause, Direction, Event, Pause, Principal, Review, RollbackCause, Subject,
};
use crate::model::{
    ApprovalId, CallStep, Deed, Definition, Millis, OnFailure, StepDef, StepId, WorkflowId,
};

mod note;
mod step;
mod steps;
mod table;

pub use step::{Step, StepError, StepStatus, UNKNOWN};
pub use steps::{Queue, Steps};
pub use table::{Status, TABLE};

/// Where a workflow stands, with what is legal there and no more.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// Made, and never run.
    Pending,
    /// A person is asked.
    Awaiting {
        /// What.
        approval: Box<Approval>,
        /// Where it goes back to when a rollback is not approved.
        back: Box<Phase>,
    },
    /// Its steps run.
    Running,
    /// Its steps are being undone.
    RollingBack,
    /// Nothing runs until a person decides.
    Paused(Pause),
    /// Its last step ran.
    Completed,
    /// A step failed.
    Failed,
    /// It will not run.
    Cancelled(CancelCause),
    /// What was done is undone.
    RolledBack,
    /// Something could not be undone.
    RollbackFailed,
}

impl Phase {
    /// The word for it.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Pending => Status::Pending,
            Self::Awaiting { .. } => Status::Awaiting,
            Self::Running => Status::Running,
            Self::RollingBack => Status::RollingBack,
            Self::Paused(_) => Status::Paused,
            Self::Completed => Status::Completed,
            Self::Failed => Status::Failed,
            Self::Cancelled(_) => Status::Cancelled,
            Self::RolledBack => Status::RolledBack,
            Self::RollbackFailed => Status::RollbackFailed,
        }
    }

    /// Why it stands there, where there is a reason to tell.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Paused(why) => Some(why.word()),
            Self::Cancelled(why) => Some(why.word()),
            Self::Awaiting { approval, .. } => Some(approval.subject.word()),
            _ => None,
        }
    }
}

/// An event that cannot follow what was before it: the log is not one of ours, or it is damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {seq} ({event}) cannot follow: {why}")]
pub struct Illegal {
    /// The event's number.
    pub seq: u64,
    /// Its kind.
    pub event: &'static str,
    /// What is wrong.
    pub why: &'static str,
}

/// A workflow, as its events made it.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// What names it.
    pub id: WorkflowId,
    /// What was asked for.
    pub definition: Arc<Definition>,
    /// Who asked.
    pub by: Principal,
    /// When.
    pub created_at: Millis,
    /// When its last event happened.
    pub updated_at: Millis,
    /// The number of its last event.
    pub seq: u64,
    /// Where it stands.
    pub phase: Phase,
    /// Where its steps stand, in their order. Shared with the states before, so that a turn costs
    /// what it changes.
    pub steps: Steps,
    /// The last review.
    pub review: Option<Arc<Review>>,
    /// Whether the last review was approved, or needs no approval.
    pub plan_approved: bool,
    /// Who decided last, and on what: newest last, at most 16.
    pub decisions: VecDeque<(ApprovalId, &'static str, Principal)>,
    /// Why the last pause for drift happened, in plain sentences.
    pub drift: Vec<String>,
    /// A person asked to stop; what is in flight is settled first.
    pub cancelling: bool,
    /// Raised by each new owner.
    pub epoch: u32,
    /// How many outcomes there are.
    pub outcomes: u64,
    /// Why steps are being undone, or were.
    pub rollback: Option<RollbackCause>,
    /// What is still to be undone, in order.
    pub queue: Queue,
    /// The first step of those that are under way, or next: everything before it is settled.
    pub cursor: usize,
    /// Raised by each pause and each new owner: what was under way before is not any more.
    pub wave: u32,
    /// Who said yes to the question that is open, and which steps they named.
    pub votes: Vec<(Principal, BTreeMap<StepId, Digest>)>,
    /// When the plan was approved; `None` where it needed no approval.
    pub plan_approved_at: Option<Millis>,
    /// Something was changed under this approval of the plan.
    pub plan_used: bool,
    index: Arc<BTreeMap<StepId, usize>>,
}

impl State {
    /// The state after the first event.
    ///
    /// # Errors
    /// [`Illegal`], when it is not the one that makes a workflow.
    pub fn create(at: Millis, event: &Event) -> Result<Self, Illegal> {
        let Event::Created {
            id,
            definition,
            by,
            facts,
        } = event
        else {
            return Err(Illegal {
                seq: 1,
                event: event.kind(),
                why: "the first event of a workflow is `created`",
            });
        };
        if facts.len() != definition.steps.len() {
            return Err(Illegal {
                seq: 1,
                event: event.kind(),
                why: "it has another number of facts than of steps",
            });
        }
        let index: BTreeMap<StepId, usize> = definition
            .steps
            .iter()
            .enumerate()
            .map(|(i, s)| (s.id.clone(), i))
            .collect();
        Ok(Self {
            id: id.clone(),
            by: by.clone(),
            created_at: at,
            updated_at: at,
            seq: 1,
            phase: Phase::Pending,
            steps: facts.iter().cloned().map(Step::new).collect(),
            definition: Arc::new((**definition).clone()),
            review: None,
            plan_approved: false,
            decisions: VecDeque::new(),
            drift: Vec::new(),
            cancelling: false,
            epoch: 0,
            outcomes: 0,
            rollback: None,
            queue: Queue::default(),
            cursor: 0,
            wave: 0,
            votes: Vec::new(),
            plan_approved_at: None,
            plan_used: false,
            index: Arc::new(index),
        })
    }

    /// The word for where it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.phase.status()
    }

    /// The place of a step, from 0.
    #[must_use]
    pub fn position(&self, step: &StepId) -> Option<usize> {
        self.index.get(step).copied()
    }

    /// A step: as written, and where it stands.
    #[must_use]
    pub fn step(&self, step: &StepId) -> Option<(&StepDef, &Step)> {
        let i = self.position(step)?;
        Some((&self.definition.steps[i], &self.steps[i]))
    }

    /// The call of a step; `None` for a gate, or where there is no such step.
    #[must_use]
    pub fn call_of(&self, step: &StepId) -> Option<&CallStep> {
        match &self.step(step)?.0.deed {
            Deed::Call(call) => Some(call),
            Deed::Gate(_) => None,
        }
    }

    /// The approval that is open.
    #[must_use]
    pub fn approval(&self) -> Option<&Approval> {
        match &self.phase {
            Phase::Awaiting { approval, .. } => Some(approval),
            _ => None,
        }
    }

    /// What names the deed of a step, over all attempts.
    #[must_use]
    pub fn key(&self, step: &StepId, direction: Direction) -> String {
        let generation = self.step(step).map_or(0, |(_, s)| match direction {
            Direction::Do => s.generation,
            Direction::Undo => s.undo_generation,
        });
        format!("{}/{step}/{}/{generation}", self.id, direction.word())
    }

    /// The steps that a rollback would have to look at, in the order in which it would: the
    /// reverse of the order of their outcomes.
    #[must_use]
    pub fn undo_order(&self) -> Vec<StepId> {
        let mut steps: Vec<(u64, &StepId)> = self
            .steps
            .iter()
            .zip(&self.definition.steps)
            .filter(|(step, _)| step.may_have_changed())
            .map(|(step, def)| (step.order.unwrap_or(u64::MAX), &def.id))
            .collect();
        steps.sort_by_key(|(order, _)| std::cmp::Reverse(*order));
        steps.into_iter().map(|(_, id)| id.clone()).collect()
    }

    /// The steps that are under way, or next: one, or those of a group; none past the last step.
    #[must_use]
    pub fn window(&self) -> Range<usize> {
        if self.cursor < self.steps.len() {
            self.definition.window_of(self.cursor)
        } else {
            self.cursor..self.cursor
        }
    }

    /// The first step among these whose failure is not one to go on after.
    #[must_use]
    pub fn blocking_failure(&self, window: Range<usize>) -> Option<usize> {
        self.blocking_failure_but(window, None)
    }

    /// The same, as if that step had not failed.
    pub(crate) fn blocking_failure_but(
        &self,
        window: Range<usize>,
        but: Option<usize>,
    ) -> Option<usize> {
        let failed = |place: &usize| {
            let step = self.steps.get(*place).filter(|_| Some(*place) != but);
            step.is_some_and(|s| s.status == StepStatus::Failed && s.retry_at.is_none())
        };
        let first = window
            .clone()
            .filter(failed)
            .find(|place| self.definition.on_failure_of(*place) != OnFailure::Continue)?;
        let group = self.definition.group_of(first);
        if let Some((group, each)) = group.and_then(|g| Some((g, g.each.as_ref()?))) {
            let all = group.from..group.from + group.count;
            if all.filter(failed).count() <= each.max_failures as usize {
                return None;
            }
        }
        Some(first)
    }

    /// How many steps are settled.
    #[must_use]
    pub fn settled(&self) -> usize {
        let open = self
            .window()
            .filter(|place| self.steps[*place].is_settled());
        self.cursor + open.count()
    }

    /// The steps whose effect is unknown.
    #[must_use]
    pub fn unknown_steps(&self) -> Vec<StepId> {
        self.steps
            .iter()
            .zip(&self.definition.steps)
            .filter(|(step, _)| step.status == StepStatus::Unknown)
            .map(|(_, def)| def.id.clone())
            .collect()
    }

    /// The state after one more event.
    ///
    /// # Errors
    /// [`Illegal`], when the event cannot follow; the state is then as before.
    pub fn apply(&mut self, at: Millis, event: &Event) -> Result<(), Illegal> {
        let seq = self.seq + 1;
        let illegal = |why| Illegal {
            seq,
            event: event.kind(),
            why,
        };
        if event.steps().iter().any(|s| self.position(s).is_none()) {
            return Err(illegal("there is no such step"));
        }
        if let Event::Reviewed { review } = event
            && review.steps.len() != self.steps.len()
        {
            return Err(illegal("the review has another number of steps"));
        }
        // The phase moves first, so what was asked is kept for what follows from the answer.
        let asked = match (&self.phase, event) {
            (
                Phase::Awaiting { approval, .. },
                Event::Approved { approval: id, .. }
                | Event::Endorsed { approval: id, .. }
                | Event::Rejected { approval: id, .. }
                | Event::Expired { approval: id },
            ) if approval.id != *id => return Err(illegal("another approval is open")),
            (Phase::Awaiting { approval, .. }, _) => Some(approval.clone()),
            (_, Event::Endorsed { .. }) => return Err(illegal("no approval is open")),
            _ => None,
        };
        if let Some(to) = self.phase_after(event) {
            let from = self.status();
            let legal = TABLE.iter().any(|(f, kind, tos)| {
                *f == from && *kind == event.kind() && tos.contains(&to.status())
            });
            if !legal {
                return Err(illegal("the transition table has no such move"));
            }
            self.phase = to;
        }
        self.note(at, event, asked.as_deref());
        self.seq = seq;
        self.updated_at = self.updated_at.max(at);
        Ok(())
    }

    /// Where an event moves the workflow to; `None` where it does not move it.
    fn phase_after(&self, event: &Event) -> Option<Phase> {
        let back = || match &self.phase {
            Phase::Awaiting { back, .. } => (**back).clone(),
            other => other.clone(),
        };
        let subject = self.approval().map(|a| &a.subject);
        let returns = subject.is_some_and(Subject::returns);
        match event {
            Event::Started | Event::Resumed { .. } => Some(Phase::Running),
            Event::ApprovalRequested { approval } => Some(Phase::Awaiting {
                approval: Box::new(approval.clone()),
                back: Box::new(self.phase.clone()),
            }),
            Event::Approved { .. } => Some(match subject {
                Some(Subject::Rollback { .. }) => Phase::RollingBack,
                Some(Subject::Resolution { .. }) => back(),
                _ => Phase::Running,
            }),
            // What follows a rejection (cancel, or roll back) is an event of its own.
            Event::Rejected { .. } if returns => Some(back()),
            Event::Rejected { .. } => Some(Phase::Running),
            Event::Expired { .. } if returns => Some(back()),
            Event::Expired { .. } => Some(Phase::Paused(Pause::ApprovalExpired)),
            Event::Drifted { .. } => Some(Phase::Paused(Pause::Drift)),
            Event::Lapsed { .. } => Some(Phase::Paused(Pause::ApprovalLapsed)),
            Event::Paused { why } => Some(Phase::Paused(*why)),
            Event::Resolved { .. } => Some(Phase::Paused(if self.unknown_steps().len() > 1 {
                Pause::Unknown
            } else {
                Pause::Settled
            })),
            Event::RollbackStarted {
                why: RollbackCause::ByHand,
                ..
            } => None,
            Event::RollbackStarted { .. } => Some(Phase::RollingBack),
            Event::Completed => Some(Phase::Completed),
            Event::Failed { .. } => Some(Phase::Failed),
            Event::Cancelled { .. } if returns => Some(back()),
            Event::Cancelled { why } => Some(Phase::Cancelled(*why)),
            Event::RollbackEnded { failed } => Some(if *failed {
                Phase::RollbackFailed
            } else {
                Phase::RolledBack
            }),
            Event::Created { .. }
            | Event::Reviewed { .. }
            | Event::Endorsed { .. }
            | Event::Launched { .. }
            | Event::Deferred { .. }
            | Event::Skipped { .. }
            | Event::RetryScheduled { .. }
            | Event::WaitStarted { .. }
            | Event::Unexpected { .. }
            | Event::GatePassed { .. }
            | Event::StepPrepared { .. }
            | Event::Intent { .. }
            | Event::Outcome { .. }
            | Event::Probed { .. }
            | Event::CancelRequested { .. }
            | Event::UndoSkipped { .. }
            | Event::Undone { .. }
            | Event::UndoFailed { .. }
            | Event::Adopted { .. }
            | Event::LateReply { .. } => None,
        }
    }
}

/// Folds the events of a workflow.
///
/// # Errors
/// [`Illegal`], at the first event that cannot follow.
pub fn fold<'a>(
    mut events: impl Iterator<Item = (Millis, &'a Event)>,
) -> Result<Option<State>, Illegal> {
    let Some((at, first)) = events.next() else {
        return Ok(None);
    };
    let mut state = State::create(at, first)?;
    for (at, event) in events {
        state.apply(at, event)?;
    }
    Ok(Some(state))
}

/// The ids of the steps that these events touch, each once, in order.
#[must_use]
pub fn touched<'e>(events: impl IntoIterator<Item = &'e Event>) -> BTreeSet<StepId> {
    events.into_iter().flat_map(Event::steps).cloned().collect()
}
