//! Hides secrets in what is shown, logged or recorded.

use serde_json::Value;

use super::find::{is_no_literal, is_secret_key, json_within, shape};

/// What stands in the place of a secret.
pub const HIDDEN: &str = "***";

/// A copy of `value` in which every secret that [`super::find`] would find is [`HIDDEN`].
#[must_use]
pub fn redact(value: &Value) -> Value {
    walk(value, false, true)
}

/// A copy of `text` in which every secret by its shape is [`HIDDEN`].
#[must_use]
pub fn redact_text(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((_, range)) = shape(rest) {
        out.push_str(&rest[..range.start]);
        out.push_str(HIDDEN);
        rest = &rest[range.end..];
    }
    out.push_str(rest);
    out
}

fn walk(value: &Value, secret: bool, embedded: bool) -> Value {
    match value {
        Value::Null | Value::Bool(_) => value.clone(),
        Value::Number(_) if secret => HIDDEN.into(),
        Value::Number(_) => value.clone(),
        Value::String(text) if secret && !is_no_literal(text) => HIDDEN.into(),
        Value::String(text) => match json_within(text).filter(|_| embedded) {
            Some(inner) => {
                let hidden = walk(&inner, false, false);
                // Only JSON that held a secret is written anew.
                if hidden == inner {
                    redact_text(text).into()
                } else {
                    redact_text(&hidden.to_string()).into()
                }
            }
            None => redact_text(text).into(),
        },
        Value::Array(items) => items
            .iter()
            .map(|item| walk(item, secret, embedded))
            .collect(),
        Value::Object(map) => map
            .iter()
            .map(|(key, item)| {
                (
                    redact_text(key),
                    walk(item, secret || is_secret_key(key), embedded),
                )
            })
            .collect(),
    }
}
