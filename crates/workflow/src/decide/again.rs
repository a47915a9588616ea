//! Going on after a pause, or after another owner.

use std::collections::BTreeMap;

use guard::text;
use serde_json::Value;

use crate::event::{
    Assurance, Direction, Event, Outcome, Pause, Principal, Review, Subject, Verdict,
};
use crate::model::StepId;
use crate::refusal::Refusal;
use crate::state::{Phase, Status, Step, StepStatus};

use super::forward::advance;
use super::outcome::{find_out, own_verify, probe, probed};
use super::turn::{Turn, not_now};
use super::{RECOVERIES, approval, back};

/// Another owner takes over what was left behind.
pub(super) fn adopt(turn: &mut Turn<'_>) {
    if !turn.state.status().is_busy() {
        return;
    }
    turn.event(Event::Adopted {
        epoch: turn.state.epoch + 1,
    });
    if turn.state.phase == Phase::RollingBack {
        back::adopt(turn);
        return;
    }
    let window: Vec<StepId> = turn
        .state
        .window()
        .map(|place| turn.state.definition.steps[place].id.clone())
        .collect();
    let taken = |step: &StepId| turn.state.step(step).map(|(_, s)| s.clone());
    let too_often = window
        .iter()
        .filter_map(taken)
        .any(|step| step.recoveries > RECOVERIES);
    for step in &window {
        let Some((_, found)) = turn.state.step(step) else {
            continue;
        };
        let attempt = found.attempt;
        let why = if found.in_flight == Some(Direction::Do) {
            "the process that sent it ended before it recorded an answer"
        } else if found.unverified && too_often {
            "it was answered as done, and each process that would look ended over it"
        } else {
            continue;
        };
        turn.event(Event::Outcome {
            step: step.clone(),
            direction: Direction::Do,
            attempt,
            took_ms: None,
            outcome: Outcome::Unknown {
                why: why.to_owned(),
            },
        });
    }
    if too_often {
        turn.event(Event::Paused {
            why: Pause::Recoveries,
        });
        return;
    }
    let found = |step: &StepId| turn.state.step(step).map(|(_, s)| s.clone());
    let found: Vec<Step> = window.iter().filter_map(found).collect();
    for (step, found) in window.iter().zip(found) {
        if found.unverified {
            match own_verify(&turn.state, step) {
                Some(verify) => probe(turn, step, verify),
                None => probed(
                    turn,
                    step,
                    Verdict::Unclear {
                        why: "its verify cannot be made any more".to_owned(),
                    },
                ),
            }
        } else if found.status == StepStatus::Unknown {
            find_out(turn, step);
        }
    }
    advance(turn);
}

/// A person lets a paused workflow go on.
pub(super) fn resume(
    turn: &mut Turn<'_>,
    by: Principal,
    review: Option<Box<Review>>,
    probes: &BTreeMap<StepId, Verdict>,
) -> Result<(), Refusal> {
    if turn.state.status() != Status::Paused {
        return Err(not_now(
            &turn.state,
            "workflow.not_paused",
            "Use `run_workflow` to begin a workflow, and `resume_workflow` after a pause only",
        ));
    }
    for (step, verdict) in probes {
        if turn.state.unknown_steps().contains(step) {
            turn.event(Event::Probed {
                step: step.clone(),
                direction: Direction::Do,
                verdict: verdict.clone(),
            });
        }
    }
    if let Some(step) = turn.state.unknown_steps().first() {
        return Err(not_now(
            &turn.state,
            "step.still_unknown",
            &format!(
                "Look at the object yourself and tell what became of step `{step}` with \
                 `resolve_step`: a probe could not tell"
            ),
        )
        .with("step", step.0.clone()));
    }
    if turn.state.plan_approved {
        turn.event(Event::Resumed { by });
        advance(turn);
        return Ok(());
    }
    let Some(review) = review else {
        return Err(Refusal::new(
            "workflow.review",
            "Call `resume_workflow` again: the plan is to be reviewed anew first",
        ));
    };
    approval::reviewed(turn, *review);
    if turn.state.status() == Status::Paused {
        turn.event(Event::Resumed { by });
        advance(turn);
    }
    Ok(())
}

/// A person says what became of a step.
pub(super) fn resolve(
    turn: &mut Turn<'_>,
    step: StepId,
    happened: bool,
    outputs: BTreeMap<String, Value>,
    by: Principal,
    note: String,
) -> Result<(), Refusal> {
    let paused = turn.state.status() == Status::Paused;
    let unknown = turn
        .state
        .step(&step)
        .is_some_and(|(_, s)| s.status == StepStatus::Unknown);
    if !paused || !unknown {
        return Err(Refusal::new(
            "step.not_unknown",
            "Name a step whose effect is unknown, in a workflow that is paused for it",
        )
        .with("step", text::sanitize_to(&step.0, 64))
        .with(
            "allowed",
            turn.state
                .unknown_steps()
                .into_iter()
                .map(|s| s.0)
                .collect::<Vec<_>>(),
        ));
    }
    approval::trusted(turn, &by)?;
    let approvers = approval::approvers(turn);
    if approvers.is_anyone() {
        turn.event(Event::Resolved {
            step,
            happened,
            outputs,
            by,
            note,
        });
        return Ok(());
    }
    // More than one person has to say it: what one says is a question to the others.
    let digest = guard::digest::digest(
        "pilothouse/resolution/1",
        &serde_json::json!({
            "key": turn.state.key(&step, Direction::Do),
            "happened": happened,
            "outputs": outputs,
            "note": note,
        }),
    );
    let subject = Subject::Resolution {
        step,
        happened,
        outputs,
        note,
        by: by.clone(),
    };
    approval::ask(turn, subject, digest);
    if by.assurance >= Assurance::Authenticated
        && let Some(id) = turn.state.approval().map(|a| a.id.clone())
    {
        // Their own word counts as one yes, where it may.
        let _ = approval::approve(turn, id, by, String::new(), &[], &[]);
    }
    Ok(())
}
