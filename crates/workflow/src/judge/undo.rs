//! The inverse that a companion offers, and whether it may be used.

use guard::{secret, text};
use serde_json::{Map, Value};

use crate::model::{Call, Effect, Facts, Prepared, Undo, UndoKind};

use super::{said, same};

/// How a tool is told which system to go to: an undo goes the way of its step.
const WAY: &[&str] = &["host", "port", "user", "credential_profile", "verify_ssl"];

/// What of a target is no identity: words for people, and its kind.
const WORDS: &[&str] = &["type", "path"];

/// Whether an undo may be used: it is among the inverses that the tool declares, goes the way of its
/// step, and names the object of its step and no other.
///
/// # Errors
/// Why not, as the end of a sentence that begins with the undo.
pub(super) fn fits(
    call: &Call,
    facts: &Facts,
    target: &Map<String, Value>,
    arguments: &Map<String, Value>,
) -> Result<(), String> {
    let select = facts.select.as_deref().unwrap_or_default();
    let Some(action) = arguments.get(select).and_then(Value::as_str) else {
        return Err("names no action of the tool".to_owned());
    };
    if !facts.inverses.iter().any(|inverse| inverse == action) {
        return Err(format!(
            "is `{}`, which the tool does not declare as an inverse",
            text::sanitize_to(action, 64)
        ));
    }
    let mut names_it = target.is_empty();
    for (name, value) in arguments.iter().filter(|(name, _)| *name != select) {
        let of_step = call.arguments.get(name);
        let of_target = target.get(match name.as_str() {
            "vm_uuid" => "instance_uuid",
            "vm_name" => "name",
            other => other,
        });
        let is_way = WAY.contains(&name.as_str());
        if of_step.is_some_and(|known| same(known, value)) {
            // The way alone names nothing, unless it is the object itself: a profile.
            names_it |= !is_way || target.values().any(|identity| same(identity, value));
            continue;
        }
        if is_way {
            return Err(format!("goes another way than its step (`{name}`)"));
        }
        match of_target.filter(|_| !WORDS.contains(&name.as_str())) {
            Some(identity) if same(identity, value) => names_it = true,
            Some(_) => {
                return Err(format!(
                    "names another object than its step (`{}`)",
                    text::sanitize_to(name, 64)
                ));
            }
            // A value from before, or how to do it.
            None => {}
        }
    }
    if names_it {
        Ok(())
    } else {
        Err("does not say which object it goes to".to_owned())
    }
}

/// The inverse that an answer offers, if it may be used in place of the prepared one.
#[must_use]
pub fn offered(call: &Call, facts: &Facts, prepared: &Prepared, body: &Value) -> Option<Undo> {
    let body = body.as_object()?;
    let arguments = body.get("undo")?.as_object()?;
    let select = facts.select.as_deref()?;
    let kind = kind(body);
    let value = Value::Object(arguments.clone());
    if kind == UndoKind::None
        || fits(call, facts, &prepared.target, arguments).is_err()
        || secret::find(&value).is_some()
        || text::check_arguments(&value).is_err()
    {
        return None;
    }
    Some(Undo {
        call: Call {
            arguments: arguments.clone(),
            ..call.clone()
        },
        kind,
        note: note(body),
        effect: prepared
            .undo
            .as_ref()
            .filter(|u| u.call.arguments.get(select) == arguments.get(select))
            .map_or(Effect::Once, |u| u.effect),
    })
}

/// How exact the companion says that its undo is.
pub(super) fn kind(body: &Map<String, Value>) -> UndoKind {
    match body.get("undo_kind").and_then(Value::as_str) {
        Some("exact") => UndoKind::Exact,
        Some("lossy") => UndoKind::Lossy,
        Some("conditional") => UndoKind::Conditional,
        Some("none") => UndoKind::None,
        _ => UndoKind::Declared,
    }
}

/// What the companion says of its undo, or of why there is none.
pub(super) fn note(body: &Map<String, Value>) -> String {
    body.get("undo_note")
        .and_then(Value::as_str)
        .map(said)
        .unwrap_or_default()
}
