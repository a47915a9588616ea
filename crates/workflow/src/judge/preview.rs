//! What a preview found, as it is kept.

use std::collections::BTreeMap;

use guard::{limit, secret, text};
use serde_json::{Map, Value};

use crate::model::{Call, Effect, Facts, Prepared, Undo, UndoKind, Verify};

use super::{said, undo};

/// What a preview's answer says, for the engine to keep. An undo that may not be used is none, with
/// why; nor is there one where what would be kept for it is too large.
///
/// # Errors
/// Why the preview cannot be used, in one sentence: it is none, it is too large, it holds a secret.
pub fn prepared(call: &Call, facts: &Facts, body: &Value) -> Result<Prepared, String> {
    let unusable = |why: &str| {
        Err(format!(
            "Tell whoever keeps the companion that its preview cannot be used: {why}"
        ))
    };
    let Value::Object(body) = body else {
        return unusable("it is no JSON object");
    };
    if body.get("preview") != Some(&Value::Bool(true)) {
        return unusable("it does not say `\"preview\": true`, so something may have been changed");
    }
    let prepared = read(call, facts, body);
    if let Some(why) = unfit(&prepared) {
        return unusable(why);
    }
    let size = size(&prepared);
    if size <= limit::PREPARED_BYTES {
        return Ok(prepared);
    }
    let small = without_values(prepared, size);
    if self::size(&small) <= limit::PREPARED_BYTES {
        Ok(small)
    } else {
        unusable("what it says of the target and its warnings are too large to be kept")
    }
}

fn read(call: &Call, facts: &Facts, body: &Map<String, Value>) -> Prepared {
    let object = |name: &str| match body.get(name) {
        Some(Value::Object(map)) => map.clone(),
        _ => Map::new(),
    };
    let target = object("target");
    let note = undo::note(body);
    let kind = undo::kind(body);
    let offered = body
        .get("undo")
        .and_then(Value::as_object)
        .filter(|_| kind != UndoKind::None);
    let (undo, no_undo) = match offered {
        None => (None, note),
        Some(arguments) => match undo::fits(call, facts, &target, arguments) {
            Err(why) => (None, format!("the undo that the companion offers {why}")),
            Ok(()) => {
                let undo = Undo {
                    call: same_tool(call, arguments),
                    kind,
                    note,
                    // The engine asks the catalog.
                    effect: Effect::Once,
                };
                (Some(undo), String::new())
            }
        },
    };
    Prepared {
        target,
        before: object("before"),
        after: object("after"),
        undo,
        no_undo,
        verify: body.get("verify").and_then(|v| verify_of(call, v)),
        warnings: body
            .get("warnings")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(said)
            .collect(),
    }
}

/// Why what was prepared may not be kept, or not be sent.
fn unfit(prepared: &Prepared) -> Option<&'static str> {
    let verify = prepared.verify.as_ref();
    let expected = verify
        .into_iter()
        .flat_map(|v| v.before.iter().chain(&v.after))
        .map(|(at, value)| {
            let name = at.rsplit('/').next().unwrap_or_default();
            (name.to_owned(), value.clone())
        });
    let kept = [&prepared.target, &prepared.before, &prepared.after]
        .into_iter()
        .cloned()
        .chain(expected.map(|entry| Map::from_iter([entry])));
    for map in kept {
        if secret::find(&Value::Object(map)).is_some() {
            return Some("it holds a secret, and secrets are not kept");
        }
    }
    let calls = [
        prepared.undo.as_ref().map(|u| &u.call),
        verify.map(|v| &v.call),
    ];
    for call in calls.into_iter().flatten() {
        let arguments = Value::Object(call.arguments.clone());
        if secret::find(&arguments).is_some() {
            return Some("it puts a secret into a call");
        }
        if text::check_arguments(&arguments).is_err() {
            return Some("it puts a control or format character into a call");
        }
    }
    None
}

/// What is left where the values cannot be kept: the identity, and that there is no undo.
fn without_values(prepared: Prepared, size: usize) -> Prepared {
    Prepared {
        target: prepared.target,
        no_undo: format!(
            "what would have to be kept for it takes {size} bytes, and at most {} are kept",
            limit::PREPARED_BYTES
        ),
        warnings: prepared.warnings,
        ..Prepared::default()
    }
}

fn size(prepared: &Prepared) -> usize {
    serde_json::to_vec(prepared).map_or(usize::MAX, |bytes| bytes.len())
}

fn same_tool(call: &Call, arguments: &Map<String, Value>) -> Call {
    Call {
        arguments: arguments.clone(),
        ..call.clone()
    }
}

fn verify_of(call: &Call, value: &Value) -> Option<Verify> {
    let scalars = |name: &str| -> BTreeMap<String, Value> {
        value
            .get(name)
            .and_then(Value::as_object)
            .map(|map| map.iter().map(|(at, v)| (at.clone(), v.clone())).collect())
            .unwrap_or_default()
    };
    Some(Verify {
        call: same_tool(call, value.get("arguments")?.as_object()?),
        before: scalars("before"),
        after: scalars("after"),
    })
}
