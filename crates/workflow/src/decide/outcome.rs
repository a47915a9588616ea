//! What came of a call, and of a look at what it did.

use guard::text;

use crate::condition;
use crate::event::{Direction, Event, Left, Outcome, Verdict};
use crate::judge;
use crate::model::{Effect as Repeat, StepId, Verify};
use crate::reply::Reply;
use crate::state::{Phase, State, Step, StepStatus};

use super::forward::{advance, call_to_prepare, resolved};
use super::send::{send_change, send_read};
use super::turn::Turn;
use super::{ATTEMPTS, Effect, Of, Unfit, back};

/// A step that could not be sent at all.
pub(super) fn failed_unsent(turn: &mut Turn<'_>, step: &StepId, unfit: Unfit) {
    let attempt = turn.state.step(step).map_or(0, |(_, s)| s.attempt);
    turn.event(Event::Outcome {
        step: step.clone(),
        direction: Direction::Do,
        attempt,
        took_ms: None,
        outcome: failure(&unfit.code, &unfit.error, unfit.left),
    });
    retry(turn, step);
}

/// Schedules another try of a step that has just failed, where it may be repeated and its author
/// wants that.
fn retry(turn: &mut Turn<'_>, step: &StepId) {
    let Some((_, found)) = turn.state.step(step) else {
        return;
    };
    let Some(retry) = turn.state.call_of(step).and_then(|call| call.retry) else {
        return;
    };
    let once = found
        .facts
        .as_ref()
        .is_none_or(|f| f.effect == Repeat::Once);
    let Some(own) = turn.state.position(step) else {
        return;
    };
    // Its own, which what comes next may have left behind: of some failures nobody takes notice.
    let window = turn.state.definition.window_of(own);
    let others_failed = turn.state.blocking_failure_but(window, Some(own)).is_some();
    let condition = found
        .error
        .as_ref()
        .is_some_and(|e| e.code == "step.condition");
    if found.retries >= retry.count
        || once
        || found.claimed
        || condition
        || others_failed
        || turn.state.cancelling
        || turn.state.phase != Phase::Running
    {
        return;
    }
    let wait = retry.wait_ms(found.retries, turn.context.jitter);
    let until = turn.now().saturating_add(wait);
    turn.event(Event::RetryScheduled {
        step: step.clone(),
        at: until,
    });
    // One step after the other, what goes on next begins it, and so makes it wait; a member of a
    // group is begun already, and be it the only one of its batch.
    if turn.state.definition.group_of(own).is_some() {
        turn.effect(Effect::Wait {
            step: step.clone(),
            until,
        });
    }
}

/// Report of a call.
pub(super) fn replied(turn: &mut Turn<'_>, step: &StepId, of: Of, took_ms: u64, reply: &Reply) {
    let Some((_, found)) = turn.state.step(step) else {
        return;
    };
    let attempt = of.attempt;
    let found = found.clone();
    let change = found.changes();
    let outcome = outcome(&turn.state, step, &found, reply);
    let expected = if change {
        found.in_flight == Some(Direction::Do) && found.attempt == attempt && of.is_current
    } else {
        found.is_open() && turn.state.phase == Phase::Running
    };
    if !expected {
        late(turn, step, &found, of, outcome);
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
        Outcome::Succeeded { outputs, .. } => {
            if let Some(why) = unexpected(&turn.state, step, &outputs) {
                turn.event(Event::Unexpected {
                    step: step.clone(),
                    why,
                });
                retry(turn, step);
            } else if let Some(verify) = own_verify(&turn.state, step) {
                probe(turn, step, verify);
            }
        }
        Outcome::Failed { .. } => retry(turn, step),
        Outcome::Unknown { .. } => {
            find_out(turn, step);
            return;
        }
    }
    advance(turn);
}

/// Why a step's answer is not what it was to bring about; `None` where it is.
fn unexpected(
    state: &State,
    step: &StepId,
    outputs: &std::collections::BTreeMap<String, serde_json::Value>,
) -> Option<String> {
    let call = state.call_of(step)?;
    let until = call.wait_for.as_ref().map(|wait| {
        let within = format!("within {} s", wait.deadline_s);
        (&wait.until, within)
    });
    let expect = call
        .expect
        .as_ref()
        .map(|e| (e, "once it answered".to_owned()));
    [until, expect]
        .into_iter()
        .flatten()
        .find_map(
            |(written, when)| match condition::holds(state, step, written, Some(outputs)) {
                Ok(true) => None,
                Ok(false) => Some(format!("`{written}` did not hold {when}")),
                Err(why) => Some(format!("whether `{written}` holds cannot be told: {why}")),
            },
        )
}

/// Whether a read that waits for a condition is to be made again: it answered, and the condition
/// does not hold yet. Where that cannot be told, or it failed, it is not.
#[must_use]
pub fn not_yet(state: &State, step: &StepId, reply: &Reply) -> bool {
    let Some(call) = state.call_of(step) else {
        return false;
    };
    let (Some(wait), Reply::Success { body, .. }) = (&call.wait_for, reply) else {
        return false;
    };
    let (outputs, _) = judge::outputs(&call.outputs, body);
    condition::holds(state, step, &wait.until, Some(&outputs)) == Ok(false)
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
                (Some(call), Some(facts), Some(prepared)) if found.changes() && !found.tainted => {
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
fn late(turn: &mut Turn<'_>, step: &StepId, found: &Step, of: Of, outcome: Outcome) {
    if !found.changes() {
        return;
    }
    let attempt = of.attempt;
    let settles = found.status == StepStatus::Unknown && found.attempt == attempt && of.is_current;
    let contradicts = match (&outcome, found.status) {
        // Another deed took its place, since a person said that it did not happen.
        _ if !of.is_current => matches!(outcome, Outcome::Succeeded { .. }),
        (Outcome::Succeeded { .. }, StepStatus::Failed) => true,
        (Outcome::Failed { left, .. }, StepStatus::Succeeded) => *left == Left::Nothing,
        _ => false,
    };
    // While a person is asked, what they were shown stays as it is.
    let rests = !turn.state.status().is_busy() && turn.state.approval().is_none();
    // A success that is to be looked into settles nothing by itself: nobody looks now.
    let call = turn.state.call_of(step);
    let looked_into = call.is_some_and(|call| call.verify.is_some() || call.expect.is_some());
    let known = match &outcome {
        Outcome::Succeeded { .. } => !looked_into,
        Outcome::Failed { .. } => true,
        Outcome::Unknown { .. } => false,
    };
    if settles && rests && known {
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
    let waits = found.in_flight.is_none()
        && (found.unverified || (found.status == StepStatus::Unknown && found.probe.is_none()));
    if turn.state.phase != Phase::Running || turn.context.closing || !waits {
        return;
    }
    turn.event(Event::Probed {
        step: step.clone(),
        direction: Direction::Do,
        verdict: verdict.clone(),
    });
    // A step that may be done only once is not sent again for a probe that shows nothing *yet*:
    // what was sent may still arrive. A person decides.
    if !found.unverified
        && verdict == Verdict::NotInEffect
        && may_repeat(&found)
        && !turn.state.cancelling
        && let Ok(call) = call_to_prepare(&turn.state, step)
    {
        send_change(turn, step, Direction::Do, call, found.attempt + 1);
        return;
    }
    advance(turn);
}

fn may_repeat(step: &Step) -> bool {
    step.attempt < ATTEMPTS
        && step
            .facts
            .as_ref()
            .is_some_and(|f| f.effect != Repeat::Once)
}
