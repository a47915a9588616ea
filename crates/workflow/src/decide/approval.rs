//! Questions to a person, their answers, and their deadlines.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::event::{
    Approval, Assurance, CancelCause, Event, Preview, Principal, Review, RollbackCause, Subject,
};
use crate::model::{ApprovalId, Approvers, Call, Deed, Facts, Millis, OnReject, Risk, StepId};
use crate::reference::{self, Scope};
use crate::refusal::Refusal;
use crate::state::{Phase, State, Status};

use super::turn::{Turn, not_now};
use super::{back, forward, step_digest};

/// The events that follow from the time alone. Every command applies them first.
#[must_use]
pub fn due(state: &State, now: Millis) -> Vec<Event> {
    match state.approval() {
        Some(approval) if now.max(state.updated_at) >= approval.expires_at => {
            vec![Event::Expired {
                approval: approval.id.clone(),
            }]
        }
        _ => Vec::new(),
    }
}

/// When [`due`] will have something to say.
#[must_use]
pub fn next_deadline(state: &State) -> Option<Millis> {
    state.approval().map(|a| a.expires_at)
}

/// Asks a person.
pub(super) fn ask(turn: &mut Turn<'_>, subject: Subject, digest: guard::digest::Digest) {
    let now = turn.now();
    let timeout = i64::from(turn.state.definition.approval_timeout_s) * 1000;
    let approval = Approval {
        id: turn.context.approval.clone(),
        subject,
        digest,
        requested_at: now,
        expires_at: now.saturating_add(timeout),
    };
    turn.event(Event::ApprovalRequested { approval });
}

/// Begins a workflow: asks for the plan's approval, or starts where none is needed.
pub(super) fn run(turn: &mut Turn<'_>, review: Review) -> Result<(), Refusal> {
    match turn.state.status() {
        Status::Pending => {}
        Status::RollingBack => {
            return Err(not_now(
                &turn.state,
                "workflow.rolling_back",
                "Wait for the rollback to end (get_workflow_status)",
            ));
        }
        _ => {
            return Err(not_now(
                &turn.state,
                "workflow.not_pending",
                "Create a new workflow to run it again",
            ));
        }
    }
    reviewed(turn, review);
    Ok(())
}

/// Takes a review in, and asks for the plan's approval or goes on.
pub(super) fn reviewed(turn: &mut Turn<'_>, review: Review) {
    let digest = review.digest;
    let needs_approval = review
        .steps
        .iter()
        .zip(&turn.state.steps)
        .filter(|(_, step)| step.is_open())
        // What it said before counts as well: a companion that speaks of less risk than it did is
        // no reason to ask nobody. An undo of the author's runs without being asked about again.
        .flat_map(|(found, step)| {
            let facts = [found.facts.as_ref(), step.facts.as_ref()];
            let risks = facts.into_iter().flatten().map(|facts| facts.risk);
            risks.chain(found.undo_risk)
        })
        .any(|risk| {
            if turn.context.rules.plan_only_if_destructive {
                risk.is_destructive()
            } else {
                risk.changes()
            }
        });
    turn.event(Event::Reviewed {
        review: Box::new(review),
    });
    if needs_approval {
        ask(turn, Subject::Plan, digest);
    } else if turn.state.status() == Status::Pending {
        turn.event(Event::Started);
        forward::advance(turn);
    }
}

/// A person said yes.
pub(super) fn approve(
    turn: &mut Turn<'_>,
    id: ApprovalId,
    by: Principal,
    comment: String,
    steps: &[StepId],
    facts: &[Option<Facts>],
) -> Result<(), Refusal> {
    let approval = current(&turn.state, &id)?.clone();
    trusted(turn, &by)?;
    if approval.subject == Subject::Plan
        && let Some((step, changes)) = facts_differ(&turn.state, facts)
    {
        turn.event(Event::Drifted { step, changes });
        return Ok(());
    }
    let mut covers = covered(&turn.state, &approval.subject, steps)?;
    let approvers = approvers(turn);
    if !approvers.is_anyone() {
        may_vote(turn, approvers, &by)?;
        if turn.state.votes.len() + 1 < approvers.quorum as usize {
            turn.event(Event::Endorsed {
                approval: id,
                by,
                comment,
                covers,
            });
            return Ok(());
        }
        // What all of them named.
        for (_, named) in &turn.state.votes {
            covers.retain(|step, digest| named.get(step) == Some(digest));
        }
    }
    turn.event(Event::Approved {
        approval: id,
        by,
        comment,
        covers,
    });
    match approval.subject {
        Subject::Plan | Subject::Step { .. } => forward::advance(turn),
        Subject::Gate { step } => {
            turn.event(Event::GatePassed { step });
            forward::advance(turn);
        }
        Subject::Rollback { order } => {
            turn.event(Event::RollbackStarted {
                why: RollbackCause::ByHand,
                order,
            });
            back::advance(turn);
        }
        Subject::Resolution {
            step,
            happened,
            outputs,
            note,
            by,
        } => turn.event(Event::Resolved {
            step,
            happened,
            outputs,
            by,
            note,
        }),
    }
    Ok(())
}

/// Who has to say yes: what the operator and the workflow want, both.
pub(super) fn approvers(turn: &Turn<'_>) -> Approvers {
    turn.context
        .rules
        .approvers
        .and(turn.state.definition.approvers)
}

/// Whether a yes of this person counts, where not anybody's does. Names in an argument are no
/// proof of who somebody is, so authenticated people alone are counted.
fn may_vote(turn: &Turn<'_>, approvers: Approvers, by: &Principal) -> Result<(), Refusal> {
    if by.assurance < Assurance::Authenticated {
        return Err(Refusal::new(
            "approval.assurance",
            format!(
                "Decide where you are `{}`: this approval counts different people, and a name \
                 that is only `{}` may be anybody's",
                Assurance::Authenticated.word(),
                by.assurance.word()
            ),
        )
        .with("given", by.assurance.word())
        .with("required", Assurance::Authenticated.word()));
    }
    let requester = &turn.state.by;
    if approvers.exclude_requester && (by.name == requester.name || by.account == requester.account)
    {
        return Err(Refusal::new(
            "approval.requester",
            "Have somebody else decide: whoever asked for this workflow may not",
        ));
    }
    if turn
        .state
        .votes
        .iter()
        .any(|(voter, _)| voter.name == by.name)
    {
        return Err(Refusal::new(
            "approval.already",
            format!(
                "Have somebody else decide as well: you said yes already, and {} different \
                 people have to",
                approvers.quorum
            ),
        ));
    }
    Ok(())
}

/// A person said no.
pub(super) fn reject(
    turn: &mut Turn<'_>,
    id: ApprovalId,
    by: Principal,
    reason: String,
) -> Result<(), Refusal> {
    let approval = current(&turn.state, &id)?.clone();
    trusted(turn, &by)?;
    turn.event(Event::Rejected {
        approval: id,
        by,
        reason,
    });
    if approval.subject.returns() {
        return Ok(());
    }
    let order = turn.state.undo_order();
    if order.is_empty() || turn.state.definition.on_reject == OnReject::Stop {
        turn.event(Event::Cancelled {
            why: CancelCause::Rejected,
        });
    } else {
        turn.event(Event::RollbackStarted {
            why: RollbackCause::Rejected,
            order,
        });
        back::advance(turn);
    }
    Ok(())
}

/// A person wants it to stop.
pub(super) fn cancel(turn: &mut Turn<'_>, by: Principal) -> Result<(), Refusal> {
    match &turn.state.phase {
        Phase::Pending | Phase::Awaiting { .. } | Phase::Paused(_) => {
            turn.event(Event::Cancelled {
                why: CancelCause::Cancelled,
            });
            Ok(())
        }
        Phase::Running => {
            turn.event(Event::CancelRequested { by });
            forward::advance(turn);
            // A process that is about to end begins nothing, and may still end this.
            let under_way = turn.state.window().any(|place| {
                let step = &turn.state.steps[place];
                step.is_under_way() || step.is_stuck()
            });
            if turn.state.phase == Phase::Running && !under_way {
                turn.event(Event::Cancelled {
                    why: CancelCause::Cancelled,
                });
            }
            Ok(())
        }
        Phase::RollingBack => Err(not_now(
            &turn.state,
            "workflow.rolling_back",
            "Wait for the rollback to end (get_workflow_status): it is not stopped half way",
        )),
        Phase::Completed
        | Phase::Failed
        | Phase::Cancelled(_)
        | Phase::RolledBack
        | Phase::RollbackFailed => Err(not_now(
            &turn.state,
            "workflow.ended",
            "Use `rollback` to undo what was done: there is nothing left to cancel",
        )),
    }
}

/// The approval that is open, if it is this one.
fn current<'a>(state: &'a State, id: &ApprovalId) -> Result<&'a Approval, Refusal> {
    match state.approval() {
        Some(approval) if approval.id == *id => Ok(approval),
        Some(approval) => Err(Refusal::new(
            "approval.void",
            "Decide on the approval that is open: the one given is not, since an approval is \
             void once it was decided, expired, or asked anew",
        )
        .with("given", guard::text::sanitize_to(&id.0, 64))
        .with("open", approval.id.0.clone())),
        None => Err(not_now(
            state,
            "approval.void",
            "Look at the workflow again (get_workflow_status): no approval is open",
        )
        .with("given", guard::text::sanitize_to(&id.0, 64))),
    }
}

/// Whether we know well enough who decided.
pub(super) fn trusted(turn: &Turn<'_>, by: &Principal) -> Result<(), Refusal> {
    let least = turn.context.rules.min_assurance;
    if by.assurance >= least {
        return Ok(());
    }
    Err(Refusal::new(
        "approval.assurance",
        format!(
            "Decide where you are `{}`: this installation takes no decision that is only `{}` \
             (`min_assurance` in config.toml)",
            least.word(),
            by.assurance.word()
        ),
    )
    .with("given", by.assurance.word())
    .with("required", least.word()))
}

/// The first pending step of which the catalog says something else than at the review.
pub(super) fn facts_differ(
    state: &State,
    facts: &[Option<Facts>],
) -> Option<(StepId, Vec<String>)> {
    state
        .steps
        .iter()
        .zip(&state.definition.steps)
        .zip(facts)
        .filter(|((step, _), _)| step.is_open())
        .find_map(|((step, def), now)| {
            let changes = facts_changes(step.facts.as_ref()?, now.as_ref()?);
            (!changes.is_empty()).then(|| (def.id.clone(), changes))
        })
}

/// What the catalog says differently, in plain sentences.
pub(super) fn facts_changes(then: &Facts, now: &Facts) -> Vec<String> {
    let mut changes = Vec::new();
    if then.fingerprint != now.fingerprint {
        changes.push("the companion is another one than at the review".to_owned());
    }
    if then.tool != now.tool {
        changes
            .push("the tool's description or schema is another one than at the review".to_owned());
    }
    if then.risk != now.risk {
        changes.push(format!(
            "the risk was `{}` and is `{}`",
            then.risk.word(),
            now.risk.word()
        ));
    }
    if changes.is_empty() && then != now {
        changes.push("the catalog says something else of the tool than at the review".to_owned());
    }
    changes
}

/// The digests that a decision covers beside its subject: of each step that it names.
fn covered(
    state: &State,
    subject: &Subject,
    steps: &[StepId],
) -> Result<BTreeMap<StepId, guard::digest::Digest>, Refusal> {
    let mut covers = BTreeMap::new();
    if let Subject::Step { step } = subject
        && !steps.is_empty()
        && !steps.contains(step)
    {
        return Err(Refusal::new(
            "approval.steps",
            format!("Name `{step}` among `steps`: it is what the approval is about"),
        )
        .with("step", step.0.clone()));
    }
    for id in steps {
        if matches!(subject, Subject::Step { step } | Subject::Gate { step } if step == id) {
            continue;
        }
        let (call, prepared) = coverable(state, subject, id).map_err(|why| {
            Refusal::new(
                "approval.steps",
                format!(
                    "Leave `{}` out of `steps`: {why}",
                    guard::text::sanitize_to(&id.0, 64)
                ),
            )
            .with("step", guard::text::sanitize_to(&id.0, 64))
        })?;
        covers.insert(id.clone(), step_digest(state, id, &call, &prepared));
    }
    Ok(covers)
}

/// What a step that is named in advance will do, if that can be said.
fn coverable(
    state: &State,
    subject: &Subject,
    id: &StepId,
) -> Result<(Call, crate::model::Prepared), &'static str> {
    if subject.returns() {
        return Err("the approval is about what was done already");
    }
    let position = state.position(id).ok_or("there is no such step")?;
    let step = &state.steps[position];
    let Deed::Call(call_step) = &state.definition.steps[position].deed else {
        return Err("it is a gate, which is decided when it is reached");
    };
    if !step.is_open() {
        return Err("its turn has already come");
    }
    if !step.facts.as_ref().is_some_and(|f| f.risk.is_destructive()) {
        return Err("it is not destructive, and needs no approval of its own");
    }
    let scope = Scope::of(&state.definition, position);
    let (arguments, holes) =
        reference::resolve_params(&state.definition, scope, &call_step.call.arguments)
            .map_err(|_| "its references cannot be resolved")?;
    if !holes.is_empty() {
        return Err(
            "it depends on what an earlier step answers, so it is asked about when it is known",
        );
    }
    let review = state.review.as_ref().ok_or("there is no review yet")?;
    let Preview::Shown { prepared } = &review.steps[position].preview else {
        return Err("what it will touch is not known yet, so it is asked about when it is");
    };
    Ok((
        Call {
            arguments,
            ..call_step.call.clone()
        },
        (**prepared).clone(),
    ))
}

/// SHA-256 over everything that a plan's approval is bound to.
#[must_use]
pub(crate) fn plan_digest(
    state: &State,
    steps: &[crate::event::StepReview],
) -> guard::digest::Digest {
    let steps: Vec<Value> = steps
        .iter()
        .map(|s| {
            json!({
                "facts": s.facts,
                "undo_from": s.undo_from,
                "undo_risk": s.undo_risk,
                "target": match &s.preview {
                    Preview::Shown { prepared } => Some(&prepared.target),
                    _ => None,
                },
            })
        })
        .collect();
    guard::digest::digest(
        "pilothouse/plan/1",
        &json!({"id": state.id, "definition": *state.definition, "steps": steps}),
    )
}

/// Whether a step of this risk asks again when its turn comes (P6).
pub(super) fn asks(risk: Risk) -> bool {
    risk.is_destructive()
}
