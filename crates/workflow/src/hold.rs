//! Which objects a workflow holds: while one changes an object, no other may.
//!
//! An object is held from the approval of the plan that shows it, or from the first intent that
//! names it, until the workflow is over. Which object it is tells the identity that was prepared.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::event::{Event, Preview};
use crate::model::StepId;
use crate::state::{State, Status};

/// Parts of a target that are words for people where it has an identity of its own beside them.
const WORDS: [&str; 2] = ["name", "path"];

/// Parts of a target that are such an identity.
const IDENTITIES: [&str; 4] = ["moref", "id", "uuid", "instance_uuid"];

/// What names an object: the digest of its identity, `sha256:` and 64 hex digits. `None` where the companion
/// cannot say which object it is.
#[must_use]
pub fn object(target: &Map<String, Value>) -> Option<String> {
    let has_identity = IDENTITIES.iter().any(|key| target.contains_key(*key));
    let identity: Map<String, Value> = target
        .iter()
        .filter(|(key, _)| !(has_identity && WORDS.contains(&key.as_str())))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    (!identity.is_empty())
        .then(|| guard::digest::digest("pilothouse/object/1", &Value::Object(identity)).to_string())
}

/// The objects that a workflow takes with these events, which led from one state to the other.
#[must_use]
pub fn taken<'e>(
    before: &State,
    after: &State,
    events: impl IntoIterator<Item = &'e Event>,
) -> BTreeSet<String> {
    let mut taken = BTreeSet::new();
    if after.plan_approved && !before.plan_approved {
        taken.extend(shown(after).into_iter().map(|(_, object)| object));
    }
    let prepared = |step: &StepId| {
        let (_, step) = after.step(step)?;
        object(&step.prepared.as_ref()?.target)
    };
    for event in events {
        match event {
            Event::Intent { step, .. } => taken.extend(prepared(step)),
            Event::RollbackStarted { order, .. } => taken.extend(order.iter().filter_map(prepared)),
            _ => {}
        }
    }
    taken
}

/// The objects that the last review showed for the changes that are still to come, by step.
#[must_use]
pub fn shown(state: &State) -> Vec<(StepId, String)> {
    let reviewed = state.review.iter().flat_map(|review| &review.steps);
    state
        .definition
        .steps
        .iter()
        .zip(&state.steps)
        .zip(reviewed)
        .filter(|((_, step), _)| step.is_open() && step.changes())
        .filter_map(|((def, _), reviewed)| match &reviewed.preview {
            Preview::Shown { prepared } => Some((def.id.clone(), object(&prepared.target)?)),
            _ => None,
        })
        .collect()
}

/// Whether a workflow that stands there holds nothing any more.
#[must_use]
pub fn is_over(status: Status) -> bool {
    match status {
        Status::Completed
        | Status::Failed
        | Status::Cancelled
        | Status::RolledBack
        | Status::RollbackFailed => true,
        Status::Pending
        | Status::Awaiting
        | Status::Running
        | Status::RollingBack
        | Status::Paused => false,
    }
}
