//! The steps of a workflow, as rows.

use serde_json::{Map, Value, json};
use workflow::event::Verdict;
use workflow::model::StepDef;
use workflow::state::{State, Step, StepStatus};

use crate::{cut, moment};

/// How many rows are shown at most.
pub(crate) const ROWS: usize = 200;

/// How many settled rows are shown before the first one that is not.
const BEFORE: usize = 20;

/// How many characters the rows may take.
const ROOM: usize = 20_000;

/// Puts the rows into an answer: all of them, or those around the one that is going on.
pub(super) fn insert(state: &State, body: &mut Map<String, Value>) {
    let total = state.steps.len();
    let undone_next = state.queue.front().and_then(|step| state.position(step));
    let focus = undone_next.unwrap_or(state.cursor).min(total);
    let rows_from = |from: usize| {
        let rows = state.definition.steps[from..]
            .iter()
            .zip(state.steps.from(from))
            .take(ROWS)
            .map(|(def, step)| cut::clean(&row(def, step), guard::limit::DISPLAY_CHARS));
        policy::answer::fit_rows(rows.collect(), ROOM).rows
    };
    let mut from = 0;
    let mut rows = rows_from(0);
    if rows.len() < total {
        from = focus.saturating_sub(BEFORE).min(total.saturating_sub(1));
        rows = rows_from(from);
    }
    let returned = rows.len();
    body.insert("steps".to_owned(), Value::Array(rows));
    if returned < total {
        body.insert("returned".to_owned(), returned.into());
        body.insert("first".to_owned(), (from + 1).into());
        body.insert("total".to_owned(), total.into());
        body.insert("truncated".to_owned(), true.into());
        body.insert("counts".to_owned(), counts(state));
    }
}

/// How many steps stand where.
fn counts(state: &State) -> Value {
    let mut counts: Map<String, Value> = Map::new();
    for step in &state.steps {
        let count = counts.entry(step.status.word()).or_insert(json!(0));
        *count = (count.as_u64().unwrap_or_default() + 1).into();
    }
    Value::Object(counts)
}

fn row(def: &StepDef, step: &Step) -> Value {
    let mut row = Map::new();
    row.insert("id".to_owned(), json!(def.id));
    if def.name != def.id.0 {
        row.insert("name".to_owned(), def.name.clone().into());
    }
    row.insert("state".to_owned(), step.status.word().into());
    if let Some(why) = &step.skipped_why {
        row.insert("why".to_owned(), why.clone().into());
    }
    if step.retries > 0 {
        row.insert("retries".to_owned(), step.retries.into());
    }
    if let Some(at) = step.retry_at {
        row.insert("retry_at".to_owned(), moment::shown(at));
    }
    if let (Some(deadline), false) = (step.deadline, step.is_settled()) {
        row.insert("waits_until".to_owned(), moment::shown(deadline));
    }
    if step.attempt > 1 {
        row.insert("attempt".to_owned(), step.attempt.into());
    }
    let told = matches!(step.status, StepStatus::Failed | StepStatus::Unknown);
    if let Some(error) = step.error.as_ref().filter(|_| told) {
        row.insert("code".to_owned(), error.code.clone().into());
        row.insert("error".to_owned(), error.error.clone().into());
    }
    if let (StepStatus::Unknown, Some(Verdict::Unclear { why })) = (step.status, &step.probe) {
        row.insert("probe".to_owned(), why.clone().into());
    }
    if step.status == StepStatus::Succeeded && step.changes() && !step.changed {
        row.insert("changed".to_owned(), false.into());
    }
    if !step.outputs.is_empty() {
        row.insert("outputs".to_owned(), json!(step.outputs));
    }
    if !step.missing.is_empty() {
        row.insert("missing".to_owned(), json!(step.missing));
    }
    if let Some(undo) = undo(step) {
        row.insert("undo".to_owned(), undo);
    }
    Value::Object(row)
}

fn undo(step: &Step) -> Option<Value> {
    let mut undo = Map::new();
    match step.status {
        StepStatus::RolledBack => {
            undo.insert("verified".to_owned(), json!(step.undo_verified));
        }
        StepStatus::RollbackSkipped | StepStatus::RollbackFailed => {}
        _ => return None,
    }
    if let Some(why) = &step.undo_why {
        undo.insert("why".to_owned(), why.clone().into());
    }
    if let Some(stays) = &step.stays {
        undo.insert("stays".to_owned(), stays.clone().into());
    }
    if let Some(error) = step
        .undo_error
        .as_ref()
        .filter(|_| step.status == StepStatus::RollbackFailed)
    {
        undo.insert("code".to_owned(), error.code.clone().into());
    }
    Some(Value::Object(undo))
}
