//! What stays behind (P10).

use serde_json::{Value, json};

use crate::decide::undo_for_show;
use crate::event::Verdict;
use crate::model::{StepId, UndoKind};
use crate::state::{State, Status, StepStatus};

/// What stays behind of a workflow that is at rest: of each step what, and why.
#[must_use]
pub fn residue(state: &State) -> Vec<Value> {
    let undone = matches!(
        state.status(),
        Status::RolledBack | Status::RollbackFailed | Status::RollingBack
    );
    let ended = undone || matches!(state.status(), Status::Failed | Status::Cancelled);
    // With `on_failure: continue` steps may have failed on the way.
    let completed = state.status() == Status::Completed;
    let mut residue = Vec::new();
    for (def, step) in state.definition.steps.iter().zip(&state.steps) {
        let entry = match step.status {
            StepStatus::RollbackSkipped => step
                .stays
                .as_ref()
                .map(|stays| json!({"step": def.id, "stays": stays, "why": step.undo_why})),
            StepStatus::RollbackFailed => Some(json!({
                "step": def.id,
                "stays": format!("what `{}` did, in whole or in part", def.name),
                "why": step.undo_why,
            })),
            StepStatus::Unknown => Some(json!({
                "step": def.id,
                "stays": format!("whatever `{}` did: whether it took effect is unknown", def.name),
                "why": step.error.as_ref().map(|e| e.error.clone()),
            })),
            StepStatus::RolledBack => rolled_back_residue(state, &def.id, step.undo_verified),
            StepStatus::Succeeded if ended && step.may_have_changed() => Some(json!({
                "step": def.id,
                "stays": format!("what `{}` did", def.name),
                "why": "it was done and not undone",
            })),
            StepStatus::Failed if step.may_have_changed() && (ended || completed) => Some(json!({
                "step": def.id,
                "stays": "whatever the failed call may have changed",
                "why": match step.probe {
                    _ if step.claimed => "the companion says that it did it",
                    Some(Verdict::InEffect) => "a probe shows that it is in effect",
                    _ => "the companion did not say that nothing was changed",
                },
            })),
            _ => None,
        };
        residue.extend(entry);
    }
    residue
}

fn rolled_back_residue(state: &State, step: &StepId, verified: Option<bool>) -> Option<Value> {
    let undo = undo_for_show(state, step).ok();
    let lossy = undo
        .as_ref()
        .filter(|u| u.kind == UndoKind::Lossy && !u.note.is_empty())
        .map(|u| u.note.clone());
    if let Some(lost) = lossy {
        return Some(json!({"step": step, "stays": lost, "why": "its undo is lossy"}));
    }
    (verified == Some(false)).then(|| {
        json!({
            "step": step,
            "stays": "nothing, if the companion is right",
            "why": "the undo was answered as done, and nothing is declared that could verify it",
        })
    })
}
