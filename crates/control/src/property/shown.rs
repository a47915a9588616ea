//! A value of the server as JSON.

use std::collections::HashMap;

use guard::limit;
use serde_json::{Map, Number, Value, json};

/// How deep a value is shown: what reads the answer has a limit as well.
const DEPTH: usize = 40;

/// How much of one text is shown: an annotation may be long.
const TEXT: usize = 4_000;

/// What may hold secrets, and is shown only to whoever asks for exactly that.
const SECRET: &str = "extraConfig";

/// The value of a property as JSON: numbers and flags where the server says that they are, lists,
/// objects, and references as `HostSystem:host-12`. Text is sanitised.
///
/// Within a struct the server names no types, so that scalars are text there. What may hold
/// secrets is left out of a struct, and its name is said.
pub(crate) fn shown(value: &vsphere::Value) -> Value {
    of(value, DEPTH)
}

fn of(value: &vsphere::Value, depth: usize) -> Value {
    let is_list = value
        .type_name()
        .is_some_and(|name| name.starts_with("ArrayOf"));
    if depth == 0 {
        return json!("(deeper than is shown)");
    }
    if is_list {
        return value.items().map(|item| of(item, depth - 1)).collect();
    }
    if value.is_struct() {
        return structure(value, depth);
    }
    scalar(value)
}

fn structure(value: &vsphere::Value, depth: usize) -> Value {
    let mut order = Vec::new();
    let mut groups: HashMap<&str, Vec<Value>> = HashMap::new();
    for (name, field) in value.fields() {
        let shown = if name == SECRET {
            json!("(left out: it may hold secrets; ask for `config.extraConfig` by itself)")
        } else {
            of(field, depth - 1)
        };
        let group = groups.entry(name).or_insert_with(|| {
            order.push(name);
            Vec::new()
        });
        group.push(shown);
    }
    let mut object = Map::new();
    if let Some(name) = value.type_name() {
        object.insert(
            "_type".to_owned(),
            json!(guard::text::sanitize_to(name, 80)),
        );
    }
    for name in order {
        // A field that is there several times is a list.
        let mut values = groups.remove(name).unwrap_or_default();
        let shown = match values.len() {
            1 => values.remove(0),
            _ => Value::Array(values),
        };
        object.insert(guard::text::sanitize_to(name, 80), shown);
    }
    Value::Object(object)
}

fn scalar(value: &vsphere::Value) -> Value {
    if let Some(reference) = value.as_moref() {
        return json!(guard::text::sanitize(&reference.to_string()));
    }
    let text = value.text();
    let read = match value.type_name() {
        Some("boolean") => value.as_bool().map(Value::Bool),
        Some(
            "byte" | "short" | "int" | "long" | "unsignedByte" | "unsignedShort" | "unsignedInt",
        ) => value
            .as_i64()
            .filter(|number| number.unsigned_abs() <= limit::INTEGER)
            .map(|number| json!(number)),
        Some("float" | "double") => text
            .trim()
            .parse()
            .ok()
            .and_then(Number::from_f64)
            .map(Value::Number),
        _ => None,
    };
    // What does not read as it should is shown as it came.
    read.unwrap_or_else(|| json!(guard::text::sanitize_to(text, TEXT)))
}
