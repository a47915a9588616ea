//! From what a caller wrote to a [`Definition`]: every rule about form, and nothing about the world.

mod field;
mod step;

use std::collections::BTreeSet;

use guard::{limit, name, secret, text};
use serde_json::{Map, Value};

use crate::model::{Deed, Definition, OnFailure, OnReject, StepDef, StepId};
use crate::reference::{self, ReferenceError};
use crate::refusal::Refusal;
use field::{field, known, named, object, seconds, string, word};
use step::step;

/// The bounds that an operator sets.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long an approval stays open where the caller does not say, in seconds (P7).
    pub approval_timeout_s: u32,
    /// The longest that a caller may ask for, in seconds.
    pub max_approval_timeout_s: u32,
}

const TOP: &[&str] = &[
    "name",
    "description",
    "steps",
    "params",
    "on_failure",
    "on_reject",
    "approval_timeout_s",
];

/// Reads a definition. Secrets are looked for before anything else is said about it (P2).
///
/// # Errors
/// [`Refusal`] with one of the codes `workflow.secret`, `workflow.name`, `workflow.description`,
/// `workflow.steps`, `workflow.field`, `workflow.too_large`, `step.id`, `step.name`,
/// `step.field`, `step.reference`, `step.unclean`.
pub fn define(raw: &Map<String, Value>, bounds: Bounds) -> Result<Definition, Refusal> {
    let whole = Value::Object(raw.clone());
    if let Some(found) = secret::find(&whole) {
        return Err(Refusal::new("workflow.secret", found.to_string())
            .with("pointer", found.pointer.clone()));
    }
    if serde_json::to_vec(&whole).map_or(usize::MAX, |b| b.len()) > limit::DEFINITION_BYTES {
        return Err(Refusal::new(
            "workflow.too_large",
            format!(
                "Split the workflow: a definition takes at most {} bytes",
                limit::DEFINITION_BYTES
            ),
        ));
    }
    known("workflow.field", "", raw, TOP)?;
    let name = string("workflow.name", "", raw, "name")?.ok_or_else(|| {
        Refusal::new(
            "workflow.name",
            "Pass `name`: 1 to 120 characters that tell what the workflow does",
        )
    })?;
    named("workflow.name", "name", name, name::name)?;
    let description = string("workflow.description", "", raw, "description")?.unwrap_or_default();
    named(
        "workflow.description",
        "description",
        description,
        name::description,
    )?;
    let params = object("workflow.field", "", raw, "params")?
        .cloned()
        .unwrap_or_default();
    let definition = Definition {
        name: name.to_owned(),
        description: description.to_owned(),
        steps: steps(raw)?,
        params,
        on_failure: word(
            raw,
            "on_failure",
            &[
                ("rollback", OnFailure::Rollback),
                ("stop", OnFailure::Stop),
                ("continue", OnFailure::Continue),
            ],
        )?,
        on_reject: word(
            raw,
            "on_reject",
            &[("rollback", OnReject::Rollback), ("stop", OnReject::Stop)],
        )?,
        approval_timeout_s: seconds(
            "workflow.field",
            "",
            raw,
            "approval_timeout_s",
            bounds.max_approval_timeout_s,
        )?
        .unwrap_or(bounds.approval_timeout_s.min(bounds.max_approval_timeout_s)),
    };
    check_references(&definition)?;
    Ok(definition)
}

fn steps(raw: &Map<String, Value>) -> Result<Vec<StepDef>, Refusal> {
    let list = match raw.get("steps") {
        Some(Value::Array(list)) if !list.is_empty() => list,
        _ => {
            return Err(Refusal::new(
                "workflow.steps",
                "Pass `steps`: a list of at least one step, each with `id`, `skill`, `tool` and `params`",
            ));
        }
    };
    if list.len() > limit::STEPS {
        return Err(Refusal::new(
            "workflow.steps",
            format!(
                "Split the workflow: it has {} steps, and at most {} are allowed",
                list.len(),
                limit::STEPS
            ),
        ));
    }
    let mut seen = BTreeSet::new();
    let mut steps = Vec::with_capacity(list.len());
    for (i, item) in list.iter().enumerate() {
        let at = format!("steps/{i}");
        let Value::Object(item) = item else {
            return Err(field("step.field", &at, "an object"));
        };
        let step = step(item, &at)?;
        if !seen.insert(step.id.clone()) {
            return Err(Refusal::new(
                "step.id",
                format!(
                    "Give each step an id of its own: `{}` is used twice",
                    step.id
                ),
            )
            .with("pointer", format!("/{at}/id")));
        }
        steps.push(step);
    }
    Ok(steps)
}

/// Every reference is of a known form, names something earlier, and brings no secret in.
fn check_references(definition: &Definition) -> Result<(), Refusal> {
    for (i, step) in definition.steps.iter().enumerate() {
        let Deed::Call(call_step) = &step.deed else {
            continue;
        };
        let calls = [
            (&call_step.call, i, "params"),
            // An undo and a verify may use what the step itself answers.
            (
                call_step.undo.as_ref().unwrap_or(&call_step.call),
                i + 1,
                "undo/params",
            ),
            (
                call_step
                    .verify
                    .as_ref()
                    .map_or(&call_step.call, |v| &v.call),
                i + 1,
                "verify/params",
            ),
        ];
        for (call, until, part) in calls {
            let (resolved, _) = reference::resolve_params(definition, until, &call.arguments)
                .map_err(|e| reference_refusal(&step.id, &e))?;
            let resolved = Value::Object(resolved);
            if let Some(found) = secret::find(&resolved) {
                return Err(Refusal::new("workflow.secret", found.to_string())
                    .with("pointer", format!("/steps/{i}/{part}{}", found.pointer)));
            }
            text::check_arguments(&resolved).map_err(|e| {
                Refusal::new("step.unclean", e.to_string())
                    .with("pointer", format!("/steps/{i}/{part}{}", e.pointer))
            })?;
        }
    }
    Ok(())
}

/// The refusal for a reference that cannot be used.
#[must_use]
pub fn reference_refusal(step: &StepId, error: &ReferenceError) -> Refusal {
    Refusal::new("step.reference", error.to_string()).with("step", step.0.clone())
}
