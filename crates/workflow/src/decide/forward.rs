//! The steps, one after the other.

use guard::{secret, text};
use serde_json::Value;

use crate::event::{
    CancelCause, Direction, Event, Left, Outcome, Pause, RollbackCause, Subject, Verdict,
};
use crate::judge;
use crate::model::{Call, Deed, Effect as Repeat, OnFailure, Risk, StepId, Verify};
use crate::reference;
use crate::reply::Reply;
use crate::state::{Phase, State, Step, StepStatus};

use super::turn::Turn;
use super::{ATTEMPTS, Effect, Found, Unfit, approval, back, drift, step_digest};

/// Goes on with the next step, whatever that takes.
pub(super) fn advance(turn: &mut Turn<'_>) {
    while turn.state.phase == Phase::Running && !turn.context.closing {
        if turn.state.cancelling {
            if !in_flight(&turn.state) {
                turn.event(Event::Cancelled {
                    why: CancelCause::Cancelled,
                });
            }
            return;
        }
        let at = turn.state.cursor;
        let Some(def) = turn.state.definition.steps.get(at) else {
            turn.event(Event::Completed);
            return;
        };
        let step = def.id.clone();
        match &def.deed {
            Deed::Gate(message) => {
                let digest = guard::digest::digest(
                    "pilothouse/gate/1",
                    &serde_json::json!({
                        "plan": turn.state.review.as_ref().map(|r| r.digest),
                        "key": turn.state.key(&step, Direction::Do),
                        "message": message,
                    }),
                );
                approval::ask(turn, Subject::Gate { step }, digest);
                return;
            }
            Deed::Call(_) => match call_to_prepare(&turn.state, &step) {
                Ok(call) => {
                    let key = turn.state.key(&step, Direction::Do);
                    turn.effect(Effect::Prepare { step, call, key });
                    return;
                }
                Err(unfit) => {
                    failed_unsent(turn, &step, unfit);
                    // The loop goes on where `on_failure: continue` says so.
                }
            },
        }
    }
}

/// The call of a step with every reference resolved, checked as values that will be used (P13).
///
/// # Errors
/// [`Unfit`], when a reference has no value, or a value may not be used.
pub fn call_to_prepare(state: &State, step: &StepId) -> Result<Call, Unfit> {
    let Some(call_step) = state.call_of(step) else {
        return Err(Unfit::new("step.reference", "There is no such step"));
    };
    resolved(state, &call_step.call)
}

/// A call with every reference resolved, checked as values that will be used (P13).
pub(super) fn resolved(state: &State, call: &Call) -> Result<Call, Unfit> {
    let arguments = reference::resolve_all(state, &call.arguments)
        .map_err(|e| Unfit::new("step.reference", e.to_string()))?;
    let value = Value::Object(arguments);
    text::check_arguments(&value).map_err(|e| Unfit::new("step.unclean", e.to_string()))?;
    if let Some(found) = secret::find(&value) {
        return Err(Unfit::new("workflow.secret", found.to_string()));
    }
    let Value::Object(arguments) = value else {
        unreachable!("it was made an object four lines above")
    };
    Ok(Call {
        arguments,
        ..call.clone()
    })
}

/// Whether a call may be under way whose outcome is not known yet.
pub(super) fn in_flight(state: &State) -> bool {
    let at = state.cursor.saturating_sub(1);
    state
        .steps
        .iter()
        .skip(at)
        .take(2)
        .any(|s| s.in_flight.is_some() || s.unverified || s.status == StepStatus::Unknown)
}

/// Report of a prepare: the step is asked about, sent, or found to have drifted.
pub(super) fn prepared(turn: &mut Turn<'_>, step: &StepId, found: Result<Box<Found>, Unfit>) {
    let waiting = turn.state.phase == Phase::Running
        && turn
            .state
            .step(step)
            .is_some_and(|(_, s)| s.status == StepStatus::Pending);
    if !waiting || turn.context.closing {
        return;
    }
    if turn.state.cancelling {
        advance(turn);
        return;
    }
    let found = match found {
        Ok(found) => found,
        Err(unfit) => {
            failed_unsent(turn, step, unfit);
            advance(turn);
            return;
        }
    };
    let call = match call_to_prepare(&turn.state, step) {
        Ok(call) => call,
        Err(unfit) => {
            failed_unsent(turn, step, unfit);
            advance(turn);
            return;
        }
    };
    let changes = drift::drift(&turn.state, step, &found);
    if !changes.is_empty() {
        turn.event(Event::Drifted {
            step: step.clone(),
            changes,
        });
        return;
    }
    if found.facts.risk == Risk::Read {
        send_read(turn, step, call, 1);
        return;
    }
    let digest = step_digest(&turn.state, step, &call, &found.prepared);
    let (approved, covered) = turn
        .state
        .step(step)
        .map_or((None, None), |(_, s)| (s.approved, s.covered));
    if let Some(approved) = approved
        && approved != digest
    {
        let changes = drift::differences(&turn.state, step, &found.prepared);
        turn.event(Event::Drifted {
            step: step.clone(),
            changes,
        });
        return;
    }
    turn.event(Event::StepPrepared {
        step: step.clone(),
        prepared: Box::new(found.prepared.clone()),
    });
    let allowed = approved == Some(digest) || covered == Some(digest);
    if approval::asks(found.facts.risk) && !allowed {
        approval::ask(turn, Subject::Step { step: step.clone() }, digest);
        return;
    }
    send_change(turn, step, Direction::Do, call, 1);
}

fn send_read(turn: &mut Turn<'_>, step: &StepId, call: Call, attempt: u32) {
    let key = turn.state.key(step, Direction::Do);
    turn.effect(Effect::Send {
        step: step.clone(),
        direction: Direction::Do,
        attempt,
        key,
        call,
        target: None,
        change: false,
    });
}

/// Sends what changes something: its intent is among the events of this very turn.
pub(super) fn send_change(
    turn: &mut Turn<'_>,
    step: &StepId,
    direction: Direction,
    call: Call,
    attempt: u32,
) {
    let key = turn.state.key(step, direction);
    let target = turn
        .state
        .step(step)
        .and_then(|(_, s)| s.prepared.as_ref())
        .map(|p| p.target.clone())
        .filter(|t| !t.is_empty());
    turn.event(Event::Intent {
        step: step.clone(),
        direction,
        attempt,
        key: key.clone(),
        call: call.clone(),
    });
    turn.effect(Effect::Send {
        step: step.clone(),
        direction,
        attempt,
        key,
        call,
        target,
        change: true,
    });
}

/// A step that could not be sent at all.
fn failed_unsent(turn: &mut Turn<'_>, step: &StepId, unfit: Unfit) {
    let attempt = turn.state.step(step).map_or(0, |(_, s)| s.attempt);
    turn.event(Event::Outcome {
        step: step.clone(),
        direction: Direction::Do,
        attempt,
        took_ms: None,
        outcome: failure(&unfit.code, &unfit.error, unfit.left),
    });
    failed(turn, step);
}

/// What a failed step leads to.
fn failed(turn: &mut Turn<'_>, step: &StepId) {
    if turn.state.cancelling {
        return;
    }
    match turn.state.definition.on_failure {
        OnFailure::Continue => {}
        OnFailure::Stop => turn.event(Event::Failed { step: step.clone() }),
        OnFailure::Rollback => {
            let order = turn.state.undo_order();
            if order.is_empty() {
                turn.event(Event::Failed { step: step.clone() });
            } else {
                turn.event(Event::RollbackStarted {
                    why: RollbackCause::StepFailed { step: step.clone() },
                    order,
                });
                back::advance(turn);
            }
        }
    }
}

/// Report of a call.
pub(super) fn replied(
    turn: &mut Turn<'_>,
    step: &StepId,
    attempt: u32,
    took_ms: u64,
    reply: &Reply,
) {
    let Some((_, found)) = turn.state.step(step) else {
        return;
    };
    let found = found.clone();
    let change = found.changes();
    let outcome = outcome(&turn.state, step, &found, reply);
    let expected = if change {
        found.in_flight == Some(Direction::Do) && found.attempt == attempt
    } else {
        found.status == StepStatus::Pending && turn.state.phase == Phase::Running
    };
    if !expected {
        late(turn, step, &found, attempt, outcome);
        return;
    }
    if !change && let Outcome::Unknown { why } = &outcome {
        // A read that got lost changed nothing: it is made again, and then it failed.
        if turn.context.closing {
            return;
        }
        if attempt < ATTEMPTS
            && !turn.state.cancelling
            && let Ok(call) = call_to_prepare(&turn.state, step)
        {
            send_read(turn, step, call, attempt + 1);
            return;
        }
        failed_unsent(turn, step, Unfit::new("companion.lost", why.clone()));
        advance(turn);
        return;
    }
    turn.event(Event::Outcome {
        step: step.clone(),
        direction: Direction::Do,
        attempt,
        took_ms: Some(took_ms),
        outcome: outcome.clone(),
    });
    match outcome {
        Outcome::Succeeded { .. } => {
            if let Some(verify) = own_verify(&turn.state, step) {
                probe(turn, step, verify);
            } else {
                advance(turn);
            }
        }
        Outcome::Failed { .. } => {
            failed(turn, step);
            advance(turn);
        }
        Outcome::Unknown { .. } => find_out(turn, step),
    }
}

/// What a reply amounts to.
fn outcome(state: &State, step: &StepId, found: &Step, reply: &Reply) -> Outcome {
    match reply {
        Reply::Success { body, sha256, size } => {
            let declared = state
                .call_of(step)
                .map(|c| c.outputs.clone())
                .unwrap_or_default();
            let (outputs, missing) = judge::outputs(&declared, body);
            let undo = match (state.call_of(step), &found.facts, &found.prepared) {
                (Some(call), Some(facts), Some(prepared)) if found.changes() => {
                    resolved(state, &call.call)
                        .ok()
                        .and_then(|call| judge::offered(&call, facts, prepared, body))
                }
                _ => None,
            };
            Outcome::Succeeded {
                sha256: sha256.clone(),
                size: *size,
                changed: found.changes() && judge::changed(body),
                outputs,
                missing,
                undo: undo.map(Box::new),
            }
        }
        Reply::Failure { code, error, left } => failure(code, error, *left),
        Reply::Lost { why } => Outcome::Unknown {
            why: text::sanitize(why),
        },
    }
}

/// A failure, as it is kept.
pub(super) fn failure(code: &str, error: &str, left: Left) -> Outcome {
    Outcome::Failed {
        code: text::sanitize_to(code, 64),
        error: text::sanitize(error),
        left,
    }
}

/// An answer that comes when its step is not waiting for it.
fn late(turn: &mut Turn<'_>, step: &StepId, found: &Step, attempt: u32, outcome: Outcome) {
    if !found.changes() {
        return;
    }
    let settles = found.status == StepStatus::Unknown && found.attempt == attempt;
    let contradicts = match (&outcome, found.status) {
        (Outcome::Succeeded { .. }, StepStatus::Failed) => true,
        (Outcome::Failed { left, .. }, StepStatus::Succeeded) => *left == Left::Nothing,
        _ => false,
    };
    if settles && !matches!(outcome, Outcome::Unknown { .. }) && !turn.state.status().is_busy() {
        turn.event(Event::Outcome {
            step: step.clone(),
            direction: Direction::Do,
            attempt,
            took_ms: None,
            outcome,
        });
        return;
    }
    turn.event(Event::LateReply {
        step: step.clone(),
        direction: Direction::Do,
        attempt,
        contradicts,
        outcome,
    });
}

/// The step's own verify, with its references resolved.
pub(super) fn own_verify(state: &State, step: &StepId) -> Option<Verify> {
    let verify = state.call_of(step)?.verify.as_ref()?;
    Some(Verify {
        call: resolved(state, &verify.call).ok()?,
        ..verify.clone()
    })
}

/// How to find out whether a step is in effect: the companion's way, else the step's own.
#[must_use]
pub fn probe_of(state: &State, step: &StepId) -> Option<Verify> {
    let (_, found) = state.step(step)?;
    found
        .prepared
        .as_ref()
        .and_then(|p| p.verify.clone())
        .or_else(|| own_verify(state, step))
}

pub(super) fn probe(turn: &mut Turn<'_>, step: &StepId, verify: Verify) {
    turn.effect(Effect::Probe {
        step: step.clone(),
        direction: Direction::Do,
        verify,
    });
}

/// A step whose effect is unknown is probed, or waits for a person.
pub(super) fn find_out(turn: &mut Turn<'_>, step: &StepId) {
    match probe_of(&turn.state, step) {
        Some(verify) => probe(turn, step, verify),
        None => probed(
            turn,
            step,
            Verdict::Unclear {
                why: "nothing is declared that could tell whether it took effect".to_owned(),
            },
        ),
    }
}

/// Report of a probe of a step.
pub(super) fn probed(turn: &mut Turn<'_>, step: &StepId, verdict: Verdict) {
    let Some((_, found)) = turn.state.step(step) else {
        return;
    };
    let found = found.clone();
    if turn.state.phase == Phase::RollingBack {
        back::looked(turn, step, verdict);
        return;
    }
    if turn.state.phase != Phase::Running
        || turn.context.closing
        || !(found.unverified || found.status == StepStatus::Unknown)
    {
        return;
    }
    turn.event(Event::Probed {
        step: step.clone(),
        direction: Direction::Do,
        verdict: verdict.clone(),
    });
    if found.unverified {
        if verdict != Verdict::InEffect {
            failed(turn, step);
        }
        advance(turn);
        return;
    }
    match verdict {
        Verdict::InEffect => advance(turn),
        Verdict::NotInEffect if may_repeat(&found) && !turn.state.cancelling => {
            match call_to_prepare(&turn.state, step) {
                Ok(call) => send_change(turn, step, Direction::Do, call, found.attempt + 1),
                Err(_) => turn.event(Event::Paused {
                    why: Pause::Unknown,
                }),
            }
        }
        // A step that may be done only once is not sent again for a probe that shows nothing
        // *yet*: what was sent may still arrive. A person decides.
        Verdict::NotInEffect | Verdict::Unclear { .. } => {
            turn.event(Event::Paused {
                why: Pause::Unknown,
            });
        }
    }
}

fn may_repeat(step: &Step) -> bool {
    step.attempt < ATTEMPTS
        && step
            .facts
            .as_ref()
            .is_some_and(|f| f.effect != Repeat::Once)
}
