//! What there is to call, and workflows before they run.

use guard::limit;
use policy::answer::{Answer, Refusal};
use serde_json::{Map, Value, json};
use workflow::event::{Preview, Subject, UndoFrom};
use workflow::model::{Deed, Facts, StepDef};
use workflow::review;

use super::{bad_cursor, refused, unfit, workflow_id};
use crate::arguments::Arguments;
use crate::cut;
use crate::desk::Context;
use crate::view;
use crate::waiting::whole;

/// How many characters the steps of a page may take.
const STEPS: usize = 40_000;

/// `get_skill_catalog`.
pub(super) async fn catalog(context: &Context, arguments: &Arguments) -> Result<Answer, Refusal> {
    let skill = arguments.optional_text("skill").map(str::to_owned);
    let companions = context.open.companions.clone();
    let catalog = whole(async move { companions.catalog(skill.as_deref()).await })
        .await
        .map_err(unfit)?;
    let catalog = serde_json::to_value(catalog).unwrap_or_default();
    let catalog = cut::clean(&catalog, limit::DISPLAY_CHARS);
    let cut = cut::to(catalog, limit::ANSWER_CHARS - 2_000);
    let mut answer = Answer::ok(cut.value);
    if !cut.left_out.is_empty() {
        answer = answer
            .with("left_out", cut.left_out)
            .with("next", "Pass `skill` to see one companion alone.");
    }
    Ok(answer)
}

/// `create_workflow`.
pub(super) async fn create(context: &Context, arguments: Arguments) -> Result<Answer, Refusal> {
    let (engine, by) = (context.open.engine.clone(), context.requester());
    let raw = arguments.into_raw();
    let shown = whole(async move { engine.create(by, &raw).await })
        .await
        .map_err(refused)?;
    let state = &shown.state;
    let facts: Vec<Option<Facts>> = state.steps.iter().map(|step| step.facts.clone()).collect();
    let rows = state
        .definition
        .steps
        .iter()
        .zip(&facts)
        .map(|(def, facts)| created_row(def, facts.as_ref()))
        .collect();
    let fitted = policy::answer::fit_rows(rows, STEPS);
    let mut body = Map::new();
    body.insert("workflow_id".to_owned(), json!(state.id));
    body.insert("state".to_owned(), state.status().word().into());
    if fitted.truncated {
        body.insert("returned".to_owned(), fitted.rows.len().into());
        body.insert("total".to_owned(), fitted.total.into());
        body.insert("truncated".to_owned(), true.into());
    }
    body.insert("steps".to_owned(), Value::Array(fitted.rows));
    let findings = review::findings(&state.definition, &facts);
    let findings = findings.into_iter().map(Value::from).collect();
    body.insert(
        "findings".to_owned(),
        Value::Array(policy::answer::fit_rows(findings, 10_000).rows),
    );
    let reads = facts.iter().flatten().all(|facts| !facts.risk.changes())
        && state
            .definition
            .steps
            .iter()
            .all(|step| matches!(step.deed, Deed::Call(_)));
    let next = if reads {
        "Call run_workflow: it only reads, so nobody is asked."
    } else {
        "Call review_workflow to see what it would touch, or run_workflow: it asks for approval before it changes anything."
    };
    body.insert("next".to_owned(), next.into());
    Ok(Answer::ok(cut::clean(
        &Value::Object(body),
        limit::DISPLAY_CHARS,
    )))
}

fn created_row(def: &StepDef, facts: Option<&Facts>) -> Value {
    let mut row = Map::new();
    row.insert("id".to_owned(), json!(def.id));
    if def.name != def.id.0 {
        row.insert("name".to_owned(), def.name.clone().into());
    }
    match (&def.deed, facts) {
        (Deed::Gate(message), _) => {
            row.insert("gate".to_owned(), message.clone().into());
        }
        (Deed::Call(call), facts) => {
            row.insert(
                "what".to_owned(),
                review::headline(&call.call, facts, None).into(),
            );
            if let Some(facts) = facts {
                row.insert("risk".to_owned(), facts.risk.word().into());
                row.insert("effect".to_owned(), facts.effect.word().into());
            }
            let undo = match review::undo_from(&def.deed, facts, &Preview::NotNeeded) {
                UndoFrom::Companion => "from the companion, with the values from before",
                UndoFrom::Step => "declared by the step",
                UndoFrom::Nowhere => "none",
                UndoFrom::NotNeeded => "not needed",
            };
            row.insert("undo".to_owned(), undo.into());
        }
    }
    Value::Object(row)
}

/// `review_workflow`.
pub(super) async fn review(context: &Context, arguments: &Arguments) -> Result<Answer, Refusal> {
    let (engine, id) = (context.open.engine.clone(), workflow_id(arguments));
    let shown = whole(async move { engine.preview(&id).await })
        .await
        .map_err(refused)?;
    let state = &shown.state;
    let total = state.definition.steps.len();
    let from = match arguments.optional_text("cursor") {
        None => 0,
        Some(cursor) => cursor
            .parse()
            .ok()
            .filter(|from| *from < total)
            .ok_or_else(bad_cursor)?,
    };
    let rows: Vec<Value> = state.definition.steps[from..]
        .iter()
        .take(view::ROWS)
        .map(|def| cut::clean(&review::step_summary(state, &def.id), limit::DISPLAY_CHARS))
        .collect();
    let fitted = policy::answer::fit_rows(rows, STEPS);
    let mut body = Map::new();
    body.insert("workflow_id".to_owned(), json!(state.id));
    body.insert("name".to_owned(), state.definition.name.clone().into());
    body.insert("state".to_owned(), state.status().word().into());
    if let Some(review) = &state.review {
        body.insert("digest".to_owned(), json!(review.digest));
    }
    if from == 0 {
        let summary = view::lines(review::approval_summary(state, &Subject::Plan));
        body.insert("summary".to_owned(), summary);
    }
    body.extend(fitted.into_body("steps", from, total));
    let next = view::next_after_review(state);
    body.insert("next".to_owned(), next.into());
    Ok(Answer::ok(Value::Object(body)))
}
