//! The rollback: what was done is undone in the reverse order of its outcomes, one by one.
//!
//! An undo counts as done only when a read shows the values from before, wherever a read can tell.

use guard::text;

use crate::event::{Direction, Event, Left, Outcome, Subject, Verdict};
use crate::model::{Effect, StepId, Undo, UndoKind};
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::state::{Phase, State, Step, StepStatus, UNKNOWN};

use super::outcome::{failure, probe_of};
use super::send::send_change;
use super::turn::{Turn, not_now};
use super::{ATTEMPTS, Effect as Deed, Of, RECOVERIES, approval, forward};

/// A person wants what was done to be undone: the ordered list of undos is asked about.
pub(super) fn ask(turn: &mut Turn<'_>) -> Result<(), Refusal> {
    if !turn.state.status().may_roll_back() {
        return Err(not_now(
            &turn.state,
            "workflow.not_undoable",
            "Roll back a workflow that is completed, failed, cancelled, paused or rollback_failed",
        ));
    }
    let order = turn.state.undo_order();
    if order.is_empty() {
        return Err(not_now(
            &turn.state,
            "workflow.nothing_to_undo",
            "Nothing needs to be undone, since no step left a change behind",
        ));
    }
    let undos: Vec<_> = order
        .iter()
        .map(|step| {
            let undo = undo_of(&turn.state, step).ok().map(|u| u.call);
            serde_json::json!({"key": turn.state.key(step, Direction::Undo), "undo": undo})
        })
        .collect();
    let digest = guard::digest::digest(
        "pilothouse/rollback/1",
        &serde_json::json!({"id": turn.state.id, "order": undos}),
    );
    approval::ask(turn, Subject::Rollback { order }, digest);
    Ok(())
}

/// Goes on with the next undo, whatever that takes.
pub(super) fn advance(turn: &mut Turn<'_>) {
    while turn.state.phase == Phase::RollingBack && !turn.context.closing {
        let Some(step) = turn.state.queue.front().cloned() else {
            let failed = turn
                .state
                .steps
                .iter()
                .any(|s| s.status == StepStatus::RollbackFailed);
            turn.event(Event::RollbackEnded { failed });
            return;
        };
        let Some((_, found)) = turn.state.step(&step) else {
            return;
        };
        let found = found.clone();
        if must_look(&found) {
            match probe_of(&turn.state, &step) {
                Some(verify) => {
                    turn.effect(Deed::Probe {
                        step,
                        direction: Direction::Do,
                        verify,
                    });
                    return;
                }
                None if found.status == StepStatus::RollbackFailed => {
                    if try_again(turn, &step, &found, "nothing is declared that could tell") {
                        return;
                    }
                }
                None => cannot_tell(turn, &step, &found, "nothing is declared that could tell"),
            }
        } else if send(turn, &step, &found) {
            return;
        }
    }
}

/// Whether it has to be found out first that there is something to undo.
fn must_look(step: &Step) -> bool {
    match step.status {
        StepStatus::Unknown => true,
        StepStatus::Failed => !step.claimed && step.probe != Some(Verdict::InEffect),
        // An earlier rollback tried: it may have worked after all.
        StepStatus::RollbackFailed => step.undo_attempt == 0,
        StepStatus::Pending
        | StepStatus::AwaitingApproval
        | StepStatus::Running
        | StepStatus::Succeeded
        | StepStatus::Skipped
        | StepStatus::RollingBack
        | StepStatus::RolledBack
        | StepStatus::RollbackSkipped => false,
    }
}

/// Report of a look at a step that failed or is unknown.
pub(super) fn looked(turn: &mut Turn<'_>, step: &StepId, verdict: Verdict) {
    if turn.state.queue.front() != Some(step) || turn.context.closing {
        return;
    }
    let Some((_, found)) = turn.state.step(step) else {
        return;
    };
    let found = found.clone();
    if found.status == StepStatus::RollbackFailed {
        // A person asked for this undo again, with what it will do in sight.
        let sent = match verdict {
            Verdict::NotInEffect => {
                turn.event(Event::Undone {
                    step: step.clone(),
                    verified: true,
                });
                false
            }
            Verdict::InEffect => send(turn, step, &found),
            Verdict::Unclear { why } => try_again(turn, step, &found, &why),
        };
        if !sent {
            advance(turn);
        }
        return;
    }
    turn.event(Event::Probed {
        step: step.clone(),
        direction: Direction::Do,
        verdict: verdict.clone(),
    });
    match verdict {
        Verdict::InEffect => {
            if let Some((_, now)) = turn.state.step(step) {
                let now = now.clone();
                if send(turn, step, &now) {
                    return;
                }
            }
        }
        Verdict::NotInEffect => {}
        Verdict::Unclear { why } => cannot_tell(turn, step, &found, &why),
    }
    advance(turn);
}

/// Nobody can tell whether a step left something behind.
fn cannot_tell(turn: &mut Turn<'_>, step: &StepId, found: &Step, why: &str) {
    let event = match (found.status, found.left) {
        // A companion that reports errors without a word on their effect, and nothing that could
        // tell: said as what may stay behind, since most such failures did nothing.
        (StepStatus::Failed, left) if left == Some(Left::NotSaid) || found.tainted => {
            Event::UndoSkipped {
                step: step.clone(),
                why: format!(
                    "the companion did not say whether the failed call changed anything, and {why}"
                ),
                stays: "whatever the failed call may have changed".to_owned(),
            }
        }
        (StepStatus::Failed, _) => Event::UndoFailed {
            step: step.clone(),
            why: format!("it was done in part, and {why}"),
        },
        _ => Event::UndoFailed {
            step: step.clone(),
            why: format!("whether it took effect is unknown: {why}"),
        },
    };
    turn.event(event);
}

/// The undo of a step: what its answer offered, else what was prepared, else its own.
///
/// # Errors
/// Why there is none, and what stays behind.
pub(crate) fn undo_of(state: &State, step: &StepId) -> Result<Undo, (String, String)> {
    let Some((def, found)) = state.step(step) else {
        return Err(("there is no such step".to_owned(), String::new()));
    };
    if let Some(offered) = &found.offered {
        return Ok(offered.clone());
    }
    let prepared = found.prepared.as_deref();
    if let Some(undo) = prepared.and_then(|p| p.undo.clone()) {
        return Ok(undo);
    }
    if let Some(call) = state.call_of(step).and_then(|c| c.undo.as_ref()) {
        return match forward::resolved(state, call) {
            Ok(call) => Ok(Undo {
                call,
                kind: UndoKind::Declared,
                note: String::new(),
                effect: Effect::Once,
            }),
            Err(unfit) => Err((
                format!("its own undo cannot be used: {}", unfit.error),
                format!("what `{}` did", def.name),
            )),
        };
    }
    let why = prepared
        .map(|p| p.no_undo.clone())
        .filter(|w| !w.is_empty())
        .unwrap_or_else(|| "no undo is declared for it".to_owned());
    let after: Vec<String> = prepared
        .into_iter()
        .flat_map(|p| {
            p.after
                .iter()
                .filter(|(key, value)| p.before.get(*key) != Some(*value))
        })
        .map(|(key, value)| format!("{key} = {value}"))
        .collect();
    let stays = if after.is_empty() {
        format!("what `{}` did", def.name)
    } else {
        format!("what `{}` did: {}", def.name, after.join(", "))
    };
    Err((why, text::sanitize(&stays)))
}

/// Sends the undo of a step, or records that there is none. Whether something was sent.
fn send(turn: &mut Turn<'_>, step: &StepId, found: &Step) -> bool {
    match undo_of(&turn.state, step) {
        Ok(undo) => {
            send_change(
                turn,
                step,
                Direction::Undo,
                undo.call,
                found.undo_attempt + 1,
            );
            true
        }
        Err((why, stays)) => {
            turn.event(Event::UndoSkipped {
                step: step.clone(),
                why,
                stays,
            });
            false
        }
    }
}

/// Sends an undo again that failed in an earlier rollback, where a look cannot tell what that one
/// did. One that may be done only once is sent only if it left nothing. Whether it was sent.
fn try_again(turn: &mut Turn<'_>, step: &StepId, found: &Step, why: &str) -> bool {
    let once = undo_of(&turn.state, step).is_ok_and(|undo| undo.effect == Effect::Once);
    // It was never sent where there is neither an error nor a word on what it left.
    let sent = found.undo_error.is_some() || found.undo_left.is_some();
    if once && sent && found.undo_left != Some(Left::Nothing) {
        turn.event(Event::UndoFailed {
            step: step.clone(),
            why: format!("it may be undone already, in whole or in part: {why}"),
        });
        return false;
    }
    send(turn, step, found)
}

/// Report of an undo.
pub(super) fn replied(turn: &mut Turn<'_>, step: &StepId, of: Of, took_ms: u64, reply: &Reply) {
    let Some((_, found)) = turn.state.step(step) else {
        return;
    };
    let attempt = of.attempt;
    let outcome = match reply {
        Reply::Success { sha256, size, .. } => Outcome::Succeeded {
            sha256: sha256.clone(),
            size: *size,
            changed: true,
            outputs: std::collections::BTreeMap::new(),
            missing: Vec::new(),
            undo: None,
        },
        Reply::Failure { code, error, left } => failure(code, error, *left),
        Reply::Lost { why } => Outcome::Unknown {
            why: text::sanitize(why),
        },
    };
    let expected =
        found.in_flight == Some(Direction::Undo) && found.undo_attempt == attempt && of.is_current;
    if !expected {
        // An undo whose key is not the current one failed before another took its place.
        let contradicts = (found.status == StepStatus::RollbackFailed || !of.is_current)
            && matches!(outcome, Outcome::Succeeded { .. });
        turn.event(Event::LateReply {
            step: step.clone(),
            direction: Direction::Undo,
            attempt,
            contradicts,
            outcome,
        });
        return;
    }
    turn.event(Event::Outcome {
        step: step.clone(),
        direction: Direction::Undo,
        attempt,
        took_ms: Some(took_ms),
        outcome: outcome.clone(),
    });
    if let Some(verify) = probe_of(&turn.state, step) {
        turn.effect(Deed::Probe {
            step: step.clone(),
            direction: Direction::Undo,
            verify,
        });
        return;
    }
    // Nothing can be read back: the companion's word is all there is, and it is said to be that.
    let event = match outcome {
        Outcome::Succeeded { .. } => Event::Undone {
            step: step.clone(),
            verified: false,
        },
        Outcome::Failed { code, error, .. } => Event::UndoFailed {
            step: step.clone(),
            why: format!("{code}: {error}"),
        },
        Outcome::Unknown { why } => Event::UndoFailed {
            step: step.clone(),
            why: format!("whether the undo took effect is unknown: {why}"),
        },
    };
    turn.event(event);
    advance(turn);
}

/// Report of a probe after an undo.
pub(super) fn probed(turn: &mut Turn<'_>, step: &StepId, verdict: Verdict) {
    let waiting = turn.state.phase == Phase::RollingBack && turn.state.queue.front() == Some(step);
    let Some((_, found)) = turn.state.step(step) else {
        return;
    };
    if !waiting
        || turn.context.closing
        || found.status != StepStatus::RollingBack
        || found.in_flight.is_some()
    {
        return;
    }
    let (last, found_attempts) = (found.undo_error.clone(), found.undo_attempt);
    // A verify that did not show the change does not show either that it is gone.
    let shows = !found.claimed
        || probe_of(&turn.state, step).is_some_and(|verify| !verify.before.is_empty());
    turn.event(Event::Probed {
        step: step.clone(),
        direction: Direction::Undo,
        verdict: verdict.clone(),
    });
    let lost = last.as_ref().is_some_and(|e| e.code == UNKNOWN);
    if verdict == Verdict::InEffect
        && lost
        && found_attempts < ATTEMPTS
        && let Ok(undo) = undo_of(&turn.state, step)
        && undo.effect == Effect::Idempotent
    {
        send_change(turn, step, Direction::Undo, undo.call, found_attempts + 1);
        return;
    }
    let said = last.map_or_else(String::new, |e| format!(" ({}: {})", e.code, e.error));
    turn.event(match verdict {
        Verdict::NotInEffect => Event::Undone {
            step: step.clone(),
            verified: shows,
        },
        Verdict::InEffect => Event::UndoFailed {
            step: step.clone(),
            why: format!("the change is still in effect{said}"),
        },
        Verdict::Unclear { why } => Event::UndoFailed {
            step: step.clone(),
            why: format!("it could not be verified that it is undone: {why}{said}"),
        },
    });
    advance(turn);
}

/// Another owner takes over a rollback.
pub(super) fn adopt(turn: &mut Turn<'_>) {
    let Some(step) = turn.state.queue.front().cloned() else {
        advance(turn);
        return;
    };
    let Some((_, found)) = turn.state.step(&step) else {
        return;
    };
    let found = found.clone();
    if found.status != StepStatus::RollingBack {
        advance(turn);
        return;
    }
    if found.in_flight == Some(Direction::Undo) {
        turn.event(Event::Outcome {
            step: step.clone(),
            direction: Direction::Undo,
            attempt: found.undo_attempt,
            took_ms: None,
            outcome: Outcome::Unknown {
                why: "the process that sent it ended before it recorded an answer".to_owned(),
            },
        });
    }
    let why = match probe_of(&turn.state, &step) {
        Some(verify) if found.recoveries <= RECOVERIES => {
            turn.effect(Deed::Probe {
                step,
                direction: Direction::Undo,
                verify,
            });
            return;
        }
        Some(_) => format!("each of the last {RECOVERIES} processes that looked ended over it"),
        None => "nothing is declared that could tell".to_owned(),
    };
    turn.event(Event::UndoFailed {
        step,
        why: format!(
            "whether the undo took effect is unknown: the process that sent it ended, and {why}"
        ),
    });
    advance(turn);
}
