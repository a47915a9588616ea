//! What each event changes of the steps and of the workflow, its phase aside.

use std::collections::BTreeMap;
use std::sync::Arc;

use guard::digest::Digest;

use crate::event::{Approval, Direction, Event, Left, Outcome, Principal, Subject, Verdict};
use crate::model::{ApprovalId, Millis, StepId};

use super::{Queue, State, Step, StepError, StepStatus, UNKNOWN};

impl State {
    /// What an event changes beside the phase.
    pub(super) fn note(&mut self, at: Millis, event: &Event, asked: Option<&Approval>) {
        match event {
            Event::Created { .. } | Event::Started | Event::Resumed { .. } => {
                self.drift.clear();
                if matches!(event, Event::Started) {
                    self.plan_approved = true;
                }
            }
            Event::Reviewed { review } => {
                for (step, found) in self.steps.iter_mut().zip(&review.steps) {
                    step.facts.clone_from(&found.facts);
                    // A plan that is looked at anew is asked about anew, with all that it covers.
                    step.approved = None;
                    step.covered = None;
                }
                self.review = Some(Arc::new((**review).clone()));
                self.plan_approved = false;
            }
            Event::ApprovalRequested { approval } => {
                if let Subject::Step { step } | Subject::Gate { step } = &approval.subject {
                    self.step_mut(step).status = StepStatus::AwaitingApproval;
                }
            }
            Event::Approved {
                approval,
                by,
                covers,
                ..
            } => {
                self.decided(approval, "approved", by);
                self.note_approved(asked, covers);
            }
            Event::Rejected { approval, by, .. } => {
                self.decided(approval, "rejected", by);
                self.release_waiting(asked);
            }
            Event::Expired { .. } | Event::Cancelled { .. } => self.release_waiting(asked),
            Event::GatePassed { step } => {
                let order = self.next_order();
                let step = self.step_mut(step);
                step.status = StepStatus::Succeeded;
                step.order = Some(order);
                step.ended_at = Some(at);
                self.advance_cursor();
            }
            Event::StepPrepared { step, prepared } => {
                self.step_mut(step).prepared = Some(Arc::new((**prepared).clone()));
            }
            Event::Intent {
                step,
                direction,
                attempt,
                ..
            } => {
                let step = self.step_mut(step);
                step.in_flight = Some(*direction);
                match direction {
                    Direction::Do => {
                        step.status = StepStatus::Running;
                        step.attempt = *attempt;
                        step.approved = None;
                        step.covered = None;
                        // What was found out about an earlier attempt says nothing of this one.
                        step.probe = None;
                        step.claimed = false;
                        step.left = None;
                        step.started_at.get_or_insert(at);
                    }
                    Direction::Undo => {
                        step.status = StepStatus::RollingBack;
                        step.undo_attempt = *attempt;
                    }
                }
            }
            Event::Outcome {
                step,
                direction,
                attempt,
                outcome,
                took_ms: _,
            } => self.note_outcome(at, step, *direction, *attempt, outcome),
            Event::Probed {
                step,
                direction,
                verdict,
            } => self.note_probed(at, step, *direction, verdict),
            Event::Drifted { changes, step } => {
                self.drift.clone_from(changes);
                let step = self.step_mut(step);
                step.status = StepStatus::Pending;
                step.approved = None;
                step.covered = None;
                self.plan_approved = false;
            }
            Event::Paused { .. } => {}
            Event::Resolved {
                step: step_id,
                happened,
                outputs,
                ..
            } => {
                let step = self.step_mut(step_id);
                step.ended_at = Some(at);
                if *happened {
                    step.status = StepStatus::Succeeded;
                    step.changed = true;
                    step.outputs.clone_from(outputs);
                } else {
                    step.status = StepStatus::Pending;
                    step.generation += 1;
                    step.attempt = 0;
                    step.approved = None;
                    step.covered = None;
                    step.order = None;
                }
                if let (false, Some(i)) = (*happened, self.index.get(step_id)) {
                    self.cursor = self.cursor.min(*i);
                }
                self.advance_cursor();
            }
            Event::CancelRequested { .. } => self.cancelling = true,
            Event::RollbackStarted { why, order } => {
                self.rollback = Some(why.clone());
                self.queue = Queue::new(order);
                for id in order {
                    self.step_mut(id).undo_attempt = 0;
                }
            }
            Event::UndoSkipped { step, why, stays } => {
                let s = self.step_mut(step);
                s.status = StepStatus::RollbackSkipped;
                s.undo_why = Some(why.clone());
                s.stays = (!stays.is_empty()).then(|| stays.clone());
                self.unqueue(step, at);
            }
            Event::Undone { step, verified } => {
                let s = self.step_mut(step);
                s.status = StepStatus::RolledBack;
                s.undo_verified = Some(*verified);
                s.undo_why = None;
                s.stays = None;
                self.unqueue(step, at);
            }
            Event::UndoFailed { step, why } => {
                let s = self.step_mut(step);
                s.status = StepStatus::RollbackFailed;
                s.undo_why = Some(why.clone());
                s.stays = None;
                self.unqueue(step, at);
            }
            Event::Completed | Event::Failed { .. } | Event::RollbackEnded { .. } => {}
            Event::Adopted { epoch } => self.epoch = *epoch,
            Event::LateReply { .. } => {}
        }
    }

    fn note_approved(&mut self, asked: Option<&Approval>, covers: &BTreeMap<StepId, Digest>) {
        match asked.map(|a| (&a.subject, &a.digest)) {
            Some((Subject::Plan, _)) => self.plan_approved = true,
            Some((Subject::Step { step }, digest)) => {
                let step = self.step_mut(step);
                step.status = StepStatus::Pending;
                step.approved = Some(*digest);
            }
            Some((Subject::Gate { step }, _)) => {
                self.step_mut(step).status = StepStatus::Pending;
            }
            Some((Subject::Rollback { .. }, _)) | None => {}
        }
        for (id, digest) in covers {
            self.step_mut(id).covered = Some(*digest);
        }
    }

    fn note_outcome(
        &mut self,
        at: Millis,
        id: &StepId,
        direction: Direction,
        attempt: u32,
        outcome: &Outcome,
    ) {
        let own_verify = self.call_of(id).is_some_and(|c| c.verify.is_some());
        let order = self.next_order();
        let step = self.step_mut(id);
        step.in_flight = None;
        if direction == Direction::Undo {
            step.undo_error = match outcome {
                Outcome::Succeeded { .. } => None,
                Outcome::Failed { code, error, .. } => Some(StepError {
                    code: code.clone(),
                    error: error.clone(),
                }),
                Outcome::Unknown { why } => Some(StepError {
                    code: UNKNOWN.to_owned(),
                    error: why.clone(),
                }),
            };
            return;
        }
        step.attempt = attempt;
        step.order = Some(order);
        step.started_at.get_or_insert(at);
        step.ended_at = Some(at);
        match outcome {
            Outcome::Succeeded {
                sha256,
                size,
                changed,
                outputs,
                missing,
                undo,
            } => {
                step.sha256 = Some(sha256.clone());
                step.size = Some(*size);
                step.changed = *changed;
                step.outputs.clone_from(outputs);
                step.missing.clone_from(missing);
                step.offered = undo.as_deref().cloned();
                step.error = None;
                step.unverified = own_verify;
                step.status = if own_verify {
                    StepStatus::Running
                } else {
                    StepStatus::Succeeded
                };
            }
            Outcome::Failed { code, error, left } => {
                step.status = StepStatus::Failed;
                step.left = Some(*left);
                step.error = Some(StepError {
                    code: code.clone(),
                    error: error.clone(),
                });
            }
            Outcome::Unknown { why } => {
                step.status = StepStatus::Unknown;
                step.error = Some(StepError {
                    code: UNKNOWN.to_owned(),
                    error: why.clone(),
                });
            }
        }
        self.advance_cursor();
    }

    fn note_probed(&mut self, at: Millis, id: &StepId, direction: Direction, verdict: &Verdict) {
        let can_deny = self
            .call_of(id)
            .and_then(|call| call.verify.as_ref())
            .is_some_and(|verify| !verify.before.is_empty());
        let step = self.step_mut(id);
        if direction == Direction::Undo {
            return;
        }
        step.probe = Some(verdict.clone());
        if step.unverified {
            step.unverified = false;
            step.ended_at = Some(at);
            if *verdict == Verdict::InEffect {
                step.status = StepStatus::Succeeded;
            } else {
                step.status = StepStatus::Failed;
                step.left = Some(Left::NotSaid);
                // A verify that does not say what is there otherwise shows no more than that it
                // is not as it should be.
                let denied = *verdict == Verdict::NotInEffect && can_deny;
                step.claimed = step.changed && !denied;
                step.error = Some(StepError {
                    code: "step.not_verified".to_owned(),
                    error: "the companion says that it did it, and the step's own `verify` does \
                            not show it"
                        .to_owned(),
                });
            }
        } else if step.status == StepStatus::Unknown && *verdict == Verdict::InEffect {
            step.status = StepStatus::Succeeded;
            step.changed = true;
            step.ended_at = Some(at);
        }
        if *verdict == Verdict::NotInEffect && self.queue.front() == Some(id) {
            // A rollback looked, and there is nothing to undo.
            let step = self.step_mut(id);
            step.status = StepStatus::Failed;
            step.left = Some(Left::Nothing);
            self.unqueue(id, at);
        }
        self.advance_cursor();
    }

    fn decided(&mut self, approval: &ApprovalId, what: &'static str, by: &Principal) {
        if self.decisions.len() == 16 {
            self.decisions.pop_front();
        }
        self.decisions
            .push_back((approval.clone(), what, by.clone()));
    }

    /// A step that waited for an answer which will not come is where it was before.
    fn release_waiting(&mut self, asked: Option<&Approval>) {
        if let Some(Subject::Step { step } | Subject::Gate { step }) = asked.map(|a| &a.subject) {
            let step = self.step_mut(step);
            step.status = StepStatus::Pending;
            step.approved = None;
        }
    }

    fn next_order(&mut self) -> u64 {
        self.outcomes += 1;
        self.outcomes
    }

    fn unqueue(&mut self, step: &StepId, at: Millis) {
        self.queue.remove(step);
        self.step_mut(step).ended_at = Some(at);
    }

    /// Moves the cursor past what is settled.
    fn advance_cursor(&mut self) {
        while self.steps.get(self.cursor).is_some_and(|s| {
            !matches!(
                s.status,
                StepStatus::Pending | StepStatus::AwaitingApproval | StepStatus::Running
            )
        }) {
            self.cursor += 1;
        }
    }

    /// A step that an event names: `apply` has checked that each of them exists.
    fn step_mut(&mut self, id: &StepId) -> &mut Step {
        let i = self.index.get(id).copied().unwrap_or(0);
        self.steps.at_mut(i)
    }
}
