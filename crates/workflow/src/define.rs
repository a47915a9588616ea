//! From what a caller wrote to a [`Definition`]: every rule about form, and nothing about the world.

mod check;
mod field;
mod fit;
mod group;
mod step;

use guard::{limit, name, secret};
use serde_json::{Map, Value};

use crate::model::{Approvers, Definition, OnReject};
use crate::refusal::Refusal;
pub use check::reference_refusal;
use field::{ON_FAILURE, count, flag, known, named, object, seconds, string, word};
pub use fit::fits;

/// The bounds that an operator sets.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long an approval stays open where the caller does not say, in seconds (P7).
    pub approval_timeout_s: u32,
    /// The longest that a caller may ask for, in seconds.
    pub max_approval_timeout_s: u32,
    /// How long an approval that was given may wait to be used, in seconds: where the caller does
    /// not say, and at most.
    pub execution_expiry_s: u32,
    /// How many steps of one workflow may be under way at the same time.
    pub max_parallel: u32,
}

const TOP: &[&str] = &[
    "name",
    "description",
    "steps",
    "params",
    "on_failure",
    "on_reject",
    "approval_timeout_s",
    "execution_expiry_s",
    "quorum",
    "exclude_requester",
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
    let (steps, groups) = group::steps(raw, &params, bounds.max_parallel)?;
    let definition = Definition {
        name: name.to_owned(),
        description: description.to_owned(),
        steps,
        params,
        on_failure: word("workflow.field", "", raw, "on_failure", ON_FAILURE)?.unwrap_or_default(),
        on_reject: word(
            "workflow.field",
            "",
            raw,
            "on_reject",
            &[("rollback", OnReject::Rollback), ("stop", OnReject::Stop)],
        )?
        .unwrap_or_default(),
        approval_timeout_s: seconds(
            "workflow.field",
            "",
            raw,
            "approval_timeout_s",
            bounds.max_approval_timeout_s,
        )?
        .unwrap_or(bounds.approval_timeout_s.min(bounds.max_approval_timeout_s)),
        execution_expiry_s: seconds(
            "workflow.field",
            "",
            raw,
            "execution_expiry_s",
            bounds.execution_expiry_s,
        )?
        .unwrap_or(bounds.execution_expiry_s),
        approvers: Approvers {
            quorum: count("workflow.field", "", raw, "quorum", (1, 16), "people")?.unwrap_or(1),
            exclude_requester: flag("workflow.field", "", raw, "exclude_requester")?,
        },
        groups,
    };
    check::check(&definition)?;
    Ok(definition)
}
