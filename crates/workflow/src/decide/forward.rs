//! The steps, in their order: what runs next, and what a failure leads to.
//!
//! What is under way together is a *window* ([`State::window`]): as a rule one step, else a group
//! or a batch. Nothing of the next window begins before all of this one is settled.

use guard::{secret, text};
use serde_json::Value;

use crate::condition;
use crate::event::{CancelCause, Direction, Event, Pause, RollbackCause, Subject};
use crate::model::{Call, Deed, Group, OnFailure, StepId};
use crate::reference;
use crate::state::{Phase, State, Step};

use super::outcome::failed_unsent;
use super::turn::Turn;
use super::{Effect, Unfit, approval, back};

/// What beginning a step came to.
enum Begun {
    /// Something is under way, or a person is asked.
    UnderWay,
    /// It is settled already: skipped, or failed before anything was sent.
    Settled,
}

/// Goes on with the next steps, whatever that takes.
pub(super) fn advance(turn: &mut Turn<'_>) {
    while turn.state.phase == Phase::Running && !turn.context.closing {
        let window = turn.state.window();
        let any = |of: fn(&Step) -> bool| window.clone().any(|place| of(&turn.state.steps[place]));
        let under_way = any(Step::is_under_way);
        let stuck = any(Step::is_stuck);
        let failed = turn.state.blocking_failure(window.clone());
        let stops = turn.state.cancelling || stuck || failed.is_some();
        if stops && under_way {
            // Launch no more, settle all.
            return;
        }
        if stuck {
            turn.event(Event::Paused {
                why: Pause::Unknown,
            });
        } else if turn.state.cancelling {
            turn.event(Event::Cancelled {
                why: CancelCause::Cancelled,
            });
        } else if let Some(place) = failed {
            consequences(turn, place);
        } else if window.is_empty() {
            turn.event(Event::Completed);
        } else if !launch(turn) {
            return;
        }
    }
}

/// What a failed step leads to.
fn consequences(turn: &mut Turn<'_>, place: usize) {
    let step = turn.state.definition.steps[place].id.clone();
    let order = turn.state.undo_order();
    if turn.state.definition.on_failure_of(place) == OnFailure::Rollback && !order.is_empty() {
        turn.event(Event::RollbackStarted {
            why: RollbackCause::StepFailed { step },
            order,
        });
        back::advance(turn);
    } else {
        turn.event(Event::Failed { step });
    }
}

/// Begins what may begin now. Whether something was settled by that, so that it is to be looked
/// again what is next.
fn launch(turn: &mut Turn<'_>) -> bool {
    let place = turn.state.cursor;
    if let Some(group) = turn.state.definition.group_of(place).cloned() {
        return launch_group(turn, &group);
    }
    if !turn.state.steps[place].is_open() {
        return false;
    }
    let step = turn.state.definition.steps[place].id.clone();
    matches!(begin(turn, &step), Begun::Settled)
}

/// Begins members of a group, as many as may be under way together.
fn launch_group(turn: &mut Turn<'_>, group: &Group) -> bool {
    let window = turn.state.window();
    let mut settled = false;
    for place in window.clone() {
        let busy = window
            .clone()
            .filter(|place| is_active(&turn.state, *place))
            .count();
        let alone = window
            .clone()
            .any(|place| is_active(&turn.state, place) && runs_alone(&turn.state.steps[place]));
        if alone || busy >= group.limit as usize {
            break;
        }
        let found = &turn.state.steps[place];
        if !found.is_open() || is_active(&turn.state, place) {
            continue;
        }
        // One that waits for the others keeps them from beginning, so that its turn comes.
        if runs_alone(found) && busy > 0 {
            break;
        }
        let step = turn.state.definition.steps[place].id.clone();
        turn.event(Event::Launched { step: step.clone() });
        settled |= matches!(begin(turn, &step), Begun::Settled);
        if turn.state.phase != Phase::Running {
            break;
        }
    }
    settled
}

/// Whether a member of a group is begun and not settled.
fn is_active(state: &State, place: usize) -> bool {
    let step = &state.steps[place];
    step.is_under_way() || (step.launched == Some(state.wave) && !step.is_settled())
}

/// Whether a member is begun only while no other one is under way: a person may be asked about
/// it, and nothing runs meanwhile.
fn runs_alone(step: &Step) -> bool {
    let asks = step
        .facts
        .as_ref()
        .is_some_and(|facts| approval::asks(facts.risk));
    let asked = step.approved.is_some() || step.covered.is_some() || step.spent.is_some();
    step.alone || (asks && !asked)
}

/// Whether another member of the step's group is under way.
pub(super) fn others_active(state: &State, step: &StepId) -> bool {
    let own = state.position(step);
    let mut window = state.window();
    window.len() > 1 && window.any(|place| Some(place) != own && is_active(state, place))
}

/// Begins one step.
fn begin(turn: &mut Turn<'_>, step: &StepId) -> Begun {
    let Some((def, found)) = turn.state.step(step) else {
        return Begun::UnderWay;
    };
    let (deed, found) = (def.deed.clone(), found.clone());
    if let Some(when) = def.when.clone().filter(|_| found.retries == 0) {
        match condition::holds(&turn.state, step, &when, None) {
            Ok(true) => {}
            Ok(false) => {
                turn.event(Event::Skipped {
                    step: step.clone(),
                    why: format!("`{when}` does not hold"),
                });
                return Begun::Settled;
            }
            Err(why) => {
                let error = format!(
                    "Correct the condition: whether `{when}` holds cannot be told ({why}), so \
                     nothing was sent"
                );
                failed_unsent(turn, step, Unfit::new("step.condition", error));
                return Begun::Settled;
            }
        }
    }
    let Deed::Call(call_step) = deed else {
        let Deed::Gate(message) = deed else {
            return Begun::UnderWay;
        };
        let digest = guard::digest::digest(
            "pilothouse/gate/1",
            &serde_json::json!({
                "plan": turn.state.review.as_ref().map(|r| r.digest),
                "key": turn.state.key(step, Direction::Do),
                "message": message,
            }),
        );
        approval::ask(turn, Subject::Gate { step: step.clone() }, digest);
        return Begun::UnderWay;
    };
    if let Some(until) = found.retry_at.filter(|at| *at > turn.now()) {
        let step = step.clone();
        turn.effect(Effect::Wait { step, until });
        return Begun::UnderWay;
    }
    match call_to_prepare(&turn.state, step) {
        Ok(call) => {
            if let (Some(wait), None) = (&call_step.wait_for, found.deadline) {
                let within = i64::from(wait.deadline_s) * 1000;
                turn.event(Event::WaitStarted {
                    step: step.clone(),
                    deadline: turn.now().saturating_add(within),
                });
            }
            let key = turn.state.key(step, Direction::Do);
            let step = step.clone();
            turn.effect(Effect::Prepare { step, call, key });
            Begun::UnderWay
        }
        Err(unfit) => {
            failed_unsent(turn, step, unfit);
            Begun::Settled
        }
    }
}

/// The time of a step that waits to be tried again has come.
pub(super) fn woke(turn: &mut Turn<'_>, step: &StepId, until: i64) {
    let waits = turn
        .state
        .step(step)
        .is_some_and(|(_, s)| s.retry_at == Some(until));
    if turn.state.phase != Phase::Running || turn.context.closing || !waits {
        return;
    }
    let failed = turn.state.blocking_failure(turn.state.window());
    let stops = turn.state.cancelling || failed.is_some();
    if stops || matches!(begin(turn, step), Begun::Settled) {
        advance(turn);
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
