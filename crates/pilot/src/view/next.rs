//! What an agent does next, in a sentence or two.

use engine::Shown;
use engine::ports::JournalError;
use serde_json::{Value, json};
use workflow::event::{Approval, Pause, Subject};
use workflow::review;
use workflow::state::{Phase, State, StepStatus};

use crate::moment;

/// What to do next with a workflow that stands where it stands.
pub(super) fn sentence(shown: &Shown) -> String {
    let state = &shown.state;
    if shown.stalled.is_some() && state.status().is_busy() {
        return "Tell the operator what `store_error` says: nothing is sent while the store fails. \
                Then call run_workflow; nothing is done twice."
            .to_owned();
    }
    let stays = !review::residue(state).is_empty();
    match &state.phase {
        Phase::Pending => after_review(state),
        Phase::Awaiting { approval, .. } => ask(approval),
        Phase::Running | Phase::RollingBack => {
            "It goes on by itself: call get_workflow_status with `wait_seconds` to wait for it. \
             If it stands still, its process has ended: call run_workflow to take it over once \
             nothing that it left is at work any more."
                .to_owned()
        }
        Phase::Paused(why) => paused(state, *why),
        Phase::Completed if failed_steps(state) > 0 => format!(
            "Show a person the {} step(s) that failed on the way: the others ran. To undo what was \
             done, call rollback: that asks for approval first.",
            failed_steps(state)
        ),
        Phase::Completed if state.undo_order().is_empty() => "Nothing is left to do.".to_owned(),
        Phase::Completed => {
            "Nothing is left to do. To undo it, call rollback: that asks for approval first."
                .to_owned()
        }
        Phase::Failed if stays => {
            "Show `failure` and `residue` to a person. To undo what was done, call rollback: that \
             asks for approval first."
                .to_owned()
        }
        Phase::Failed => {
            "Nothing was changed. Correct what `failure` says, and create a new workflow."
                .to_owned()
        }
        Phase::Cancelled(_) if stays => {
            "Show `residue` to a person. To undo what was done, call rollback: that asks for \
             approval first."
                .to_owned()
        }
        Phase::Cancelled(_) => "Nothing is left to do: nothing was changed.".to_owned(),
        Phase::RolledBack if stays => {
            "Show `residue` to a person: the rest is as it was before.".to_owned()
        }
        Phase::RolledBack => {
            "Nothing is left to do: everything that was done is undone.".to_owned()
        }
        Phase::RollbackFailed => {
            "Show `residue` to a person. Once the cause is gone, call rollback to try what is left \
             again."
                .to_owned()
        }
    }
}

/// How many steps failed, where the workflow went on past them.
fn failed_steps(state: &State) -> usize {
    let steps = state.steps.iter();
    steps.filter(|s| s.status == StepStatus::Failed).count()
}

/// What to do with a workflow that was looked at.
pub(crate) fn after_review(state: &State) -> String {
    match state.approval() {
        Some(approval) => ask(approval),
        None if state.phase == Phase::Pending => {
            "Call run_workflow with this workflow_id: it asks for approval before it changes \
             anything."
                .to_owned()
        }
        None => "Call get_workflow_status to see where it stands.".to_owned(),
    }
}

fn ask(approval: &Approval) -> String {
    let about = match &approval.subject {
        Subject::Plan => "the whole plan",
        Subject::Step { .. } => "this one step",
        Subject::Gate { .. } => "this gate",
        Subject::Rollback { .. } => "the rollback",
        Subject::Resolution { .. } => "what became of this step",
    };
    let until = moment::shown(approval.expires_at);
    format!(
        "Show `approval.summary` to a person and ask them about {about}. Yes: call approve with \
         approval_id `{}` and their name as approver. No: call reject with their reason. It \
         expires at {}.",
        approval.id,
        until.as_str().unwrap_or("the time given"),
    )
}

fn paused(state: &State, why: Pause) -> String {
    match why {
        Pause::ApprovalExpired => {
            "Nobody decided in time. Call resume_workflow to ask again, or cancel_workflow."
                .to_owned()
        }
        Pause::Drift => {
            "Show `drift` to a person: nothing was sent. Call resume_workflow to look again and \
             ask anew, or cancel_workflow."
                .to_owned()
        }
        Pause::Unknown => {
            let unknown: Vec<&str> = state
                .definition
                .steps
                .iter()
                .zip(&state.steps)
                .filter(|(_, step)| step.status == StepStatus::Unknown)
                .map(|(def, _)| def.id.0.as_str())
                .take(5)
                .collect();
            format!(
                "Nobody knows whether `{}` took effect. Call resume_workflow to look once more; \
                 if that does not settle it, have a person find out, and call resolve_step with \
                 what they found.",
                unknown.join("`, `")
            )
        }
        Pause::ApprovalLapsed => {
            "The approval was given and not used in time. Call resume_workflow to look again and \
             ask anew, or cancel_workflow."
                .to_owned()
        }
        Pause::Recoveries => {
            "Each process that worked on it ended. Have a person find out why, then call \
             resume_workflow to go on, rollback to undo what was done, or cancel_workflow."
                .to_owned()
        }
        Pause::Held => {
            "Another workflow is changing the same object. Call resume_workflow once that one is \
             over, rollback to undo what was done, or cancel_workflow."
                .to_owned()
        }
        Pause::Settled => {
            "Call resume_workflow to go on, rollback to undo what was done, or cancel_workflow."
                .to_owned()
        }
    }
}

/// Why the store fails, for a person.
pub(super) fn store_error(error: &JournalError) -> Value {
    match error {
        JournalError::Conflict => json!({
            "code": "workflow.busy",
            "message": "Another process keeps changing this workflow",
        }),
        JournalError::Owned => json!({
            "code": "workflow.busy",
            "message": "Another process is at work on this workflow",
        }),
        JournalError::Held { by } => json!({
            "code": "workflow.held",
            "message": format!("Workflow `{by}` is changing an object that this one would change"),
        }),
        JournalError::Archived { file } => json!({
            "code": "workflow.archived",
            "message": format!("The workflow was archived in `{file}`"),
        }),
        JournalError::Store { code, message } => json!({"code": code, "message": message}),
    }
}
