//! What each event changes of the steps and of the workflow, its phase aside.

use std::collections::BTreeMap;
use std::sync::Arc;

use guard::digest::Digest;

use crate::event::{Approval, Direction, Event, Left, Outcome, Principal, Subject, Verdict};
use crate::model::{ApprovalId, Millis, StepId};

use super::{Phase, Queue, State, Step, StepError, StepStatus, UNKNOWN};

impl State {
    /// What an event changes beside the phase.
    pub(super) fn note(&mut self, at: Millis, event: &Event, asked: Option<&Approval>) {
        match event {
            Event::Created { .. } => {}
            Event::Started => {
                self.drift.clear();
                self.plan_approved = true;
            }
            Event::Resumed { .. } => {
                self.drift.clear();
                self.wave += 1;
                for place in self.window() {
                    self.steps.at_mut(place).recoveries = 0;
                }
            }
            Event::Endorsed { by, covers, .. } => {
                self.votes.push((by.clone(), covers.clone()));
            }
            Event::Lapsed { step } => match step {
                Some(step) => {
                    let step = self.step_mut(step);
                    step.wait_on();
                    step.void();
                }
                None => self.plan_approved = false,
            },
            Event::Launched { step } => {
                let wave = self.wave;
                self.step_mut(step).launched = Some(wave);
            }
            Event::Deferred { step } => {
                let step = self.step_mut(step);
                step.launched = None;
                step.alone = true;
            }
            Event::Skipped { step, why } => {
                let step = self.step_mut(step);
                step.status = StepStatus::Skipped;
                step.skipped_why = Some(why.clone());
                step.ended_at = Some(at);
                self.advance_cursor();
            }
            Event::RetryScheduled { step, at } => {
                // Its failure counted for a moment, and where that is one to go on after, what
                // comes next is past it already.
                let place = self.position(step).unwrap_or(self.cursor);
                self.cursor = self.cursor.min(self.definition.window_of(place).start);
                let step = self.step_mut(step);
                step.retries += 1;
                step.retry_at = Some(*at);
                step.deadline = None;
                step.tainted |= step.changes() && step.left != Some(Left::Nothing);
            }
            Event::WaitStarted { step, deadline } => {
                let step = self.step_mut(step);
                step.deadline = Some(*deadline);
                step.started_at.get_or_insert(at);
            }
            Event::Unexpected { step, why } => {
                // It counted as done for a moment, so what comes next may be past it already.
                let place = self.position(step).unwrap_or(self.cursor);
                self.cursor = self.cursor.min(self.definition.window_of(place).start);
                let step = self.step_mut(step);
                step.status = StepStatus::Failed;
                step.unverified = false;
                step.left = Some(Left::NotSaid);
                step.claimed = step.changed;
                step.error = Some(StepError {
                    code: "step.unexpected".to_owned(),
                    error: why.clone(),
                });
                self.advance_cursor();
            }
            Event::Reviewed { review } => {
                for (step, found) in self.steps.iter_mut().zip(&review.steps) {
                    step.facts.clone_from(&found.facts);
                    // A plan that is looked at anew is asked about anew, with all that it covers.
                    step.void();
                }
                self.review = Some(Arc::new((**review).clone()));
                self.plan_approved = false;
                self.plan_approved_at = None;
                self.plan_used = false;
            }
            Event::ApprovalRequested { approval } => {
                self.votes.clear();
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
                self.note_approved(at, asked, covers);
                self.wave += 1;
            }
            Event::Rejected { approval, by, .. } => {
                self.decided(approval, "rejected", by);
                self.release_waiting(asked);
            }
            Event::Expired { .. } => self.release_waiting(asked),
            Event::Cancelled { .. } => {
                self.release_waiting(asked);
                self.retry_no_more();
            }
            Event::GatePassed { step } => {
                let order = self.next_order();
                let step = self.step_mut(step);
                step.status = StepStatus::Succeeded;
                step.order = Some(order);
                step.ended_at = Some(at);
                self.advance_cursor();
            }
            Event::StepPrepared { step, prepared } => {
                let step = self.step_mut(step);
                step.prepared = Some(Arc::new((**prepared).clone()));
                step.anew = false;
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
                        // What got lost may still arrive.
                        step.tainted |= step.status == StepStatus::Unknown;
                        step.status = StepStatus::Running;
                        step.attempt = *attempt;
                        step.spent = step.approved.or(step.covered).or(step.spent);
                        step.approved = None;
                        step.covered = None;
                        step.retry_at = None;
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
                self.plan_used = true;
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
                step.wait_on();
                step.void();
                step.anew = true;
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
                    step.retry_at = None;
                    step.tainted = false;
                    step.void();
                    step.order = None;
                }
                if let (false, Some(place)) = (*happened, self.position(step_id)) {
                    self.cursor = self.cursor.min(self.definition.window_of(place).start);
                }
                self.advance_cursor();
            }
            Event::CancelRequested { .. } => self.cancelling = true,
            Event::RollbackStarted { why, order } => {
                self.rollback = Some(why.clone());
                self.queue = Queue::new(order);
                self.retry_no_more();
                for id in order {
                    let step = self.step_mut(id);
                    step.undo_attempt = 0;
                    step.recoveries = 0;
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
                s.undo_generation += 1;
                s.undo_why = Some(why.clone());
                s.stays = None;
                self.unqueue(step, at);
            }
            Event::Failed { .. } => self.retry_no_more(),
            Event::Completed | Event::RollbackEnded { .. } => {}
            Event::Adopted { epoch } => self.note_adopted(*epoch),
            Event::LateReply { .. } => {}
        }
    }

    /// What is under way belongs to nobody any more, and is looked at anew.
    fn note_adopted(&mut self, epoch: u32) {
        self.epoch = epoch;
        self.wave += 1;
        if self.phase == Phase::RollingBack {
            if let Some(step) = self.queue.front().cloned() {
                self.step_mut(&step).recoveries += 1;
            }
            return;
        }
        for place in self.window() {
            let step = self.steps.at_mut(place);
            if !step.is_settled() {
                step.recoveries += 1;
            }
            if step.status == StepStatus::Unknown {
                step.probe = None;
            }
        }
    }

    fn note_approved(
        &mut self,
        at: Millis,
        asked: Option<&Approval>,
        covers: &BTreeMap<StepId, Digest>,
    ) {
        match asked.map(|a| (&a.subject, &a.digest)) {
            Some((Subject::Plan, _)) => {
                self.plan_approved = true;
                self.plan_approved_at = Some(at);
            }
            Some((Subject::Step { step }, digest)) => {
                let step = self.step_mut(step);
                step.wait_on();
                step.approved = Some(*digest);
                step.approved_at = Some(at);
            }
            Some((Subject::Gate { step }, _)) => {
                self.step_mut(step).status = StepStatus::Pending;
            }
            Some((Subject::Rollback { .. } | Subject::Resolution { .. }, _)) | None => {}
        }
        for (id, digest) in covers {
            let step = self.step_mut(id);
            step.covered = Some(*digest);
            step.approved_at = Some(at);
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
            step.undo_left = match outcome {
                Outcome::Failed { left, .. } => Some(*left),
                Outcome::Succeeded { .. } | Outcome::Unknown { .. } => None,
            };
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
        step.retry_at = None;
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
                step.unverified = false;
                step.status = StepStatus::Failed;
                step.left = Some(*left);
                step.error = Some(StepError {
                    code: code.clone(),
                    error: error.clone(),
                });
            }
            Outcome::Unknown { why } => {
                step.unverified = false;
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
            step.tainted = false;
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
            step.wait_on();
            step.approved = None;
        }
    }

    /// What waits to be tried again is not.
    fn retry_no_more(&mut self) {
        for place in self.window() {
            if self.steps[place].retry_at.is_some() {
                self.steps.at_mut(place).retry_at = None;
            }
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

    /// Moves the cursor past what is settled: a step, or a whole group, and never past a failure
    /// that is still to have its consequences.
    fn advance_cursor(&mut self) {
        while self.cursor < self.steps.len() {
            let window = self.window();
            let settled = window.clone().all(|place| self.steps[place].is_settled());
            if !settled || self.blocking_failure(window.clone()).is_some() {
                return;
            }
            self.cursor = window.end;
        }
    }

    /// A step that an event names: `apply` has checked that each of them exists.
    fn step_mut(&mut self, id: &StepId) -> &mut Step {
        let i = self.index.get(id).copied().unwrap_or(0);
        self.steps.at_mut(i)
    }
}
