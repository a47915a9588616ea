//! What a step may be, once the catalog has said what its tool does.

use crate::model::{Deed, Definition, Effect, Facts, Risk};
use crate::refusal::Refusal;

/// Checks the step at this place against what its tool may do: nothing destructive runs beside
/// other steps, only what may be repeated is tried again, and only a read waits for a condition.
///
/// # Errors
/// [`Refusal`] `step.parallel`, `step.retry`, `step.wait_for`.
pub fn fits(definition: &Definition, place: usize, facts: &Facts) -> Result<(), Refusal> {
    let Some(step) = definition.steps.get(place) else {
        return Ok(());
    };
    let Deed::Call(call) = &step.deed else {
        return Ok(());
    };
    let refused =
        |code, text: String| Err(Refusal::new(code, text).with("step", step.id.0.clone()));
    let parallel = definition
        .group_of(place)
        .is_some_and(|group| group.each.is_none());
    if parallel && facts.risk.is_destructive() {
        return refused(
            "step.parallel",
            format!(
                "Take step `{}` out of the parallel steps: it is `{}`, so a person is asked about \
                 it while nothing else runs",
                step.id,
                facts.risk.word()
            ),
        );
    }
    if call.retry.is_some() && facts.effect == Effect::Once {
        return refused(
            "step.retry",
            format!(
                "Remove `retry` from step `{}`: what it does may happen twice if it is repeated \
                 (its effect is `once`)",
                step.id
            ),
        );
    }
    if call.wait_for.is_some() && facts.risk != Risk::Read {
        return refused(
            "step.wait_for",
            format!(
                "Use a tool that only reads in step `{}`, or remove `wait_for`: this one may \
                 change something each time",
                step.id
            ),
        );
    }
    Ok(())
}
