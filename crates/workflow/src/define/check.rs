//! What can be told of a definition as a whole: its references, its conditions, and that no secret
//! comes in by either.

use guard::{secret, text};
use serde_json::Value;

use crate::condition::{self, Place};
use crate::model::{Call, CallStep, Deed, Definition, StepId};
use crate::reference::{self, ReferenceError, Scope};
use crate::refusal::Refusal;

/// Checks what the parts of a definition say of each other.
pub(super) fn check(definition: &Definition) -> Result<(), Refusal> {
    for (place, step) in definition.steps.iter().enumerate() {
        let scope = Scope::of(definition, place);
        if let Some(when) = &step.when {
            condition(definition, scope, &step.id, "when", when)?;
        }
        if let Deed::Call(call) = &step.deed {
            references(definition, scope, &step.id, call)?;
            let after = scope.after();
            if let Some(expect) = &call.expect {
                condition(definition, after, &step.id, "expect", expect)?;
            }
            if let Some(wait) = &call.wait_for {
                condition(definition, after, &step.id, "wait_for.until", &wait.until)?;
            }
        }
    }
    Ok(())
}

fn condition(
    definition: &Definition,
    scope: Scope,
    id: &StepId,
    part: &str,
    written: &str,
) -> Result<(), Refusal> {
    let place = Place {
        definition,
        scope,
        answered: scope.after,
    };
    condition::check(written, place).map_err(|why| {
        Refusal::new(
            "step.condition",
            format!("{why} (in `{part}` of step `{id}`)"),
        )
        .with("step", id.0.clone())
        .with("given", text::sanitize_to(written, condition::CHARS))
    })
}

/// Every reference is of a known form, names something earlier, and brings no secret in.
fn references(
    definition: &Definition,
    scope: Scope,
    id: &StepId,
    step: &CallStep,
) -> Result<(), Refusal> {
    let verify = step.verify.as_ref().map(|verify| &verify.call);
    let calls: [(Option<&Call>, Scope, &str); 3] = [
        (Some(&step.call), scope, "params"),
        // An undo and a verify may use what the step itself answers.
        (step.undo.as_ref(), scope.after(), "undo/params"),
        (verify, scope.after(), "verify/params"),
    ];
    for (call, scope, part) in calls {
        let Some(call) = call else { continue };
        let (resolved, _) = reference::resolve_params(definition, scope, &call.arguments)
            .map_err(|e| reference_refusal(id, &e))?;
        let resolved = Value::Object(resolved);
        let at = |pointer: &str| format!("/steps/{}/{part}{pointer}", scope.own);
        if let Some(found) = secret::find(&resolved) {
            return Err(Refusal::new("workflow.secret", found.to_string())
                .with("pointer", at(&found.pointer)));
        }
        text::check_arguments(&resolved).map_err(|e| {
            Refusal::new("step.unclean", e.to_string()).with("pointer", at(&e.pointer))
        })?;
    }
    Ok(())
}

/// The refusal for a reference that cannot be used.
#[must_use]
pub fn reference_refusal(step: &StepId, error: &ReferenceError) -> Refusal {
    Refusal::new("step.reference", error.to_string()).with("step", step.0.clone())
}
