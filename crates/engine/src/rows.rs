//! What the journal shows beside the events: rows that are a cache of the fold.

use std::collections::BTreeSet;

use workflow::model::StepId;
use workflow::state::State;

use crate::ports::{StepRow, WorkflowRow};

/// The workflow's row.
pub(crate) fn workflow_row(state: &State) -> WorkflowRow {
    WorkflowRow {
        name: state.definition.name.clone(),
        state: state.status().word().to_owned(),
        reason: state.phase.reason().map(str::to_owned),
        created_at: state.created_at,
        updated_at: state.updated_at,
        requester: state.by.name.clone(),
        steps: state.steps.len() as u64,
        settled: state.settled() as u64,
        approval: state.approval().map(|a| a.id.clone()),
        expires_at: state.approval().map(|a| a.expires_at),
    }
}

/// The rows of these steps.
pub(crate) fn step_rows(state: &State, touched: &BTreeSet<StepId>) -> Vec<StepRow> {
    touched
        .iter()
        .filter_map(|id| state.position(id))
        .map(|index| step_row(state, index))
        .collect()
}

/// The rows of all steps.
pub(crate) fn all_step_rows(state: &State) -> Vec<StepRow> {
    (0..state.steps.len()).map(|i| step_row(state, i)).collect()
}

fn step_row(state: &State, index: usize) -> StepRow {
    let step = &state.steps[index];
    StepRow {
        index: index as u64,
        id: state.definition.steps[index].id.clone(),
        state: step.status.word().to_owned(),
        attempt: step.attempt,
        error: step
            .error
            .as_ref()
            .map(|e| format!("{}: {}", e.code, e.error)),
        sha256: step.sha256.clone(),
        size: step.size,
        outputs: step.outputs.clone(),
    }
}
