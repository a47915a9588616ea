//! What is not as it was when a person approved.

use std::collections::BTreeSet;

use guard::text;
use serde_json::{Map, Value};

use crate::event::Preview;
use crate::model::{Prepared, StepId};
use crate::state::State;

use super::{Found, approval};

/// What differs between what the plan's approval was bound to and what is there now: the
/// companion, the tool, the identity of the object.
pub(super) fn drift(state: &State, step: &StepId, found: &Found) -> Vec<String> {
    let Some(position) = state.position(step) else {
        return Vec::new();
    };
    let mut changes = state.steps[position]
        .facts
        .as_ref()
        .map(|then| approval::facts_changes(then, &found.facts))
        .unwrap_or_default();
    let reviewed = state.review.as_ref().map(|r| &r.steps[position].preview);
    if let Some(Preview::Shown { prepared }) = reviewed {
        changes.extend(differing(
            "the target's",
            &identity(&prepared.target),
            &identity(&found.prepared.target),
        ));
    }
    changes
}

/// What of a target is its identity. Its name and path are words for people: a workflow may
/// rename the object itself.
fn identity(target: &Map<String, Value>) -> Map<String, Value> {
    target
        .iter()
        .filter(|(key, _)| !matches!(key.as_str(), "name" | "path"))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

/// What differs between what a person approved of a step and what is there now.
pub(super) fn differences(state: &State, step: &StepId, now: &Prepared) -> Vec<String> {
    let Some(then) = state.step(step).and_then(|(_, s)| s.prepared.clone()) else {
        return vec!["what was approved is not known any more".to_owned()];
    };
    let mut changes = differing("the target's", &then.target, &now.target);
    changes.extend(differing("before the change,", &then.before, &now.before));
    changes.extend(differing("after the change,", &then.after, &now.after));
    if then.undo != now.undo {
        changes.push("the undo is another one".to_owned());
    }
    if then.warnings != now.warnings {
        changes.push("the companion warns of something else".to_owned());
    }
    if changes.is_empty() {
        changes.push("the step's digest is another one than was approved".to_owned());
    }
    changes
}

/// What differs, before a step is tried again, beside what an earlier attempt may have done: the
/// object, or values that are neither those from before nor those from after.
pub(super) fn since(first: &Prepared, now: &Prepared) -> Vec<String> {
    let mut changes = differing(
        "the target's",
        &identity(&first.target),
        &identity(&now.target),
    );
    if now.before != first.before && now.before != first.after {
        changes.extend(differing("before the change,", &first.before, &now.before));
    }
    changes
}

fn differing(what: &str, then: &Map<String, Value>, now: &Map<String, Value>) -> Vec<String> {
    let show = |v: Option<&Value>| match v {
        None => "not there".to_owned(),
        Some(Value::String(s)) => format!("`{}`", text::sanitize_to(s, 80)),
        Some(other) => format!("`{}`", text::sanitize_to(&other.to_string(), 80)),
    };
    let keys: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    keys.into_iter()
        .filter(|k| then.get(*k) != now.get(*k))
        .map(|k| {
            format!(
                "{what} `{}` was {} and is {}",
                text::sanitize_to(k, 80),
                show(then.get(k)),
                show(now.get(k))
            )
        })
        .collect()
}
