//! From what was found out about a step to its call: drift, approval, intent.

use std::sync::Arc;

use crate::event::{Direction, Event, Pause, Subject};
use crate::model::{Call, Prepared, Risk, StepId};
use crate::state::{Phase, Step};

use super::forward::{advance, call_to_prepare, others_active};
use super::outcome::failed_unsent;
use super::turn::Turn;
use super::{Effect, Found, Unfit, approval, drift, step_digest};

/// Report of a prepare: the step is asked about, sent, or found to have drifted.
pub(super) fn prepared(turn: &mut Turn<'_>, step: &StepId, found: Result<Box<Found>, Unfit>) {
    let Some((_, open)) = turn.state.step(step) else {
        return;
    };
    let open = open.clone();
    if turn.state.phase != Phase::Running || !open.is_open() || turn.context.closing {
        return;
    }
    let window = turn.state.window();
    if turn.state.cancelling || turn.state.blocking_failure(window).is_some() {
        advance(turn);
        return;
    }
    let found = found.and_then(|found| Ok((found, call_to_prepare(&turn.state, step)?)));
    let (found, call) = match found {
        Ok(found) => found,
        Err(unfit) => {
            failed_unsent(turn, step, unfit);
            advance(turn);
            return;
        }
    };
    let mut changes = drift::drift(&turn.state, step, &found);
    let first = first_prepared(&open, &found.prepared);
    if let Some(first) = &first {
        changes.extend(drift::since(first, &found.prepared));
    }
    if !changes.is_empty() {
        stop(turn, step, |step| Event::Drifted { step, changes });
        return;
    }
    if found.facts.risk == Risk::Read {
        send_read(turn, step, call, 1);
        return;
    }
    // What an earlier attempt may have changed is undone to what was there before all of them.
    let prepared = first.as_deref().unwrap_or(&found.prepared);
    let digest = step_digest(&turn.state, step, &call, prepared);
    if open.approved.is_some_and(|approved| approved != digest) {
        let changes = drift::differences(&turn.state, step, prepared);
        stop(turn, step, |step| Event::Drifted { step, changes });
        return;
    }
    let spent = open.spent.filter(|_| first.is_some());
    let held = [open.approved, open.covered, spent];
    let allowed = held.contains(&Some(digest));
    let asks = approval::asks(found.facts.risk) && !allowed;
    if asks && others_active(&turn.state, step) {
        turn.event(Event::Deferred { step: step.clone() });
        return;
    }
    if let Some(lapsed) = lapsed(turn, step, &open, allowed && spent != Some(digest)) {
        stop(turn, step, |_| lapsed);
        return;
    }
    if first.is_none() {
        turn.event(Event::StepPrepared {
            step: step.clone(),
            prepared: Box::new(found.prepared),
        });
    }
    if asks {
        approval::ask(turn, Subject::Step { step: step.clone() }, digest);
        return;
    }
    send_change(turn, step, Direction::Do, call, open.attempt + 1);
}

/// What was prepared for the first attempt of a step that is tried again. Where that does not hold
/// any more and a person was told so, it still counts if what is there is the step's own doing: an
/// undo must not put that back.
fn first_prepared(step: &Step, now: &Prepared) -> Option<Arc<Prepared>> {
    let tried = step.retry_at.is_some() && step.attempt > 0;
    let own = |first: &Prepared| step.tainted && now.before == first.after;
    step.prepared
        .clone()
        .filter(|first| tried && (!step.anew || own(first)))
}

/// The approval that was given and not used in time, where there is one.
fn lapsed(turn: &Turn<'_>, step: &StepId, open: &Step, approved: bool) -> Option<Event> {
    let within = i64::from(turn.state.definition.execution_expiry_s) * 1000;
    let over = |given: Option<i64>| given.is_some_and(|at| turn.now() > at.saturating_add(within));
    if over(turn.state.plan_approved_at) && !turn.state.plan_used {
        return Some(Event::Lapsed { step: None });
    }
    (approved && over(open.approved_at)).then(|| Event::Lapsed {
        step: Some(step.clone()),
    })
}

/// Pauses the workflow for a step, once no other one is under way: nothing runs meanwhile.
fn stop(turn: &mut Turn<'_>, step: &StepId, why: impl FnOnce(StepId) -> Event) {
    if others_active(&turn.state, step) {
        turn.event(Event::Deferred { step: step.clone() });
    } else {
        turn.event(why(step.clone()));
    }
}

/// Another workflow holds the object that a step would change.
pub(super) fn held(turn: &mut Turn<'_>, step: &StepId) {
    let open = turn.state.step(step).is_some_and(|(_, s)| s.is_open());
    if turn.state.phase == Phase::Running && open && !turn.context.closing {
        stop(turn, step, |_| Event::Paused { why: Pause::Held });
    }
}

/// Sends a read. One that waits for a condition is made until that holds.
pub(super) fn send_read(turn: &mut Turn<'_>, step: &StepId, call: Call, attempt: u32) {
    let key = turn.state.key(step, Direction::Do);
    let step = step.clone();
    let deadline = turn.state.step(&step).and_then(|(_, s)| s.deadline);
    let wait = turn
        .state
        .call_of(&step)
        .and_then(|call| call.wait_for.clone());
    turn.effect(match (wait, deadline) {
        (Some(wait), Some(deadline)) => Effect::Poll {
            step,
            attempt,
            key,
            call,
            every_s: wait.every_s,
            deadline,
        },
        _ => Effect::Send {
            step,
            direction: Direction::Do,
            attempt,
            key,
            call,
            target: None,
            change: false,
        },
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
