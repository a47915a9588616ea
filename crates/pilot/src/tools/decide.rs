//! What people decide: they are recorded as the agent's connection says, and the answer says so.

use std::collections::BTreeMap;

use guard::limit;
use policy::answer::{Answer, Refusal};
use serde_json::Value;
use workflow::model::{ApprovalId, StepId};

use super::run::then_shown;
use crate::arguments::{self, Arguments};
use crate::desk::Context;
use crate::view::Extra;

/// `approve`.
pub(super) async fn approve(context: &Context, arguments: &Arguments) -> Result<Answer, Refusal> {
    let approval = ApprovalId(arguments.text("approval_id").to_owned());
    let by = context.principal(arguments.text("approver"));
    let comment = arguments.text("comment").to_owned();
    let steps: Vec<StepId> = arguments
        .texts("steps")
        .into_iter()
        .map(|step| StepId(step.to_owned()))
        .collect();
    then_shown(
        context,
        arguments,
        Extra::with_results().decided(),
        |engine, id, _| async move { engine.approve(&id, approval, by, comment, steps).await },
    )
    .await
}

/// `reject`.
pub(super) async fn reject(context: &Context, arguments: &Arguments) -> Result<Answer, Refusal> {
    let approval = ApprovalId(arguments.text("approval_id").to_owned());
    let by = context.principal(arguments.text("approver"));
    let reason = arguments.text("reason").to_owned();
    // What was done is being undone by then, and that is worth a moment.
    then_shown(
        context,
        arguments,
        Extra::with_results().decided(),
        |engine, id, _| async move { engine.reject(&id, approval, by, reason).await },
    )
    .await
}

/// `resolve_step`.
pub(super) async fn resolve(context: &Context, arguments: &Arguments) -> Result<Answer, Refusal> {
    let step = StepId(arguments.text("step").to_owned());
    let happened = arguments.flag("happened");
    let outputs = outputs(arguments)?;
    let by = context.principal(arguments.text("approver"));
    let note = arguments.text("note").to_owned();
    then_shown(
        context,
        arguments,
        Extra::default().decided(),
        |engine, id, _| async move { engine.resolve(&id, step, happened, outputs, by, note).await },
    )
    .await
}

/// Outputs are short scalars, whoever supplies them (P12).
fn outputs(arguments: &Arguments) -> Result<BTreeMap<String, Value>, Refusal> {
    let given = arguments.object("outputs");
    let fits = |value: &Value| match value {
        Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => text.chars().count() <= limit::OUTPUT_CHARS,
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    match given.iter().find(|(_, value)| !fits(value)) {
        None if given.len() <= limit::OUTPUTS => Ok(given.into_iter().collect()),
        None => Err(arguments::refusal(
            "argument.out_of_range",
            format!("Pass at most {} `outputs`", limit::OUTPUTS),
        )),
        Some((name, _)) => Err(arguments::refusal(
            "argument.wrong_type",
            format!(
                "Pass each of `outputs` as a number, true, false, or at most {} characters",
                limit::OUTPUT_CHARS
            ),
        )
        .with("argument", "outputs")
        .with("pointer", guard::pointer::join("/outputs", name))),
    }
}
