//! Makes values fit to be shown: clean text, and no more of it than there is room for.

use guard::text::sanitize_to;
use serde_json::{Map, Value};

/// What is left of a list or a text that did not fit, said in the answer.
pub(crate) struct Cut {
    /// What fits.
    pub(crate) value: Value,
    /// What was left out, one sentence each; empty when nothing was.
    pub(crate) left_out: Vec<String>,
}

/// What is smaller than this is not cut.
const SMALL: usize = 16;

/// A copy in which every text, keys too, is sanitised (P13) and at most `chars` long.
pub(crate) fn clean(value: &Value, chars: usize) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        Value::String(text) => sanitize_to(text, chars).into(),
        Value::Array(items) => items.iter().map(|item| clean(item, chars)).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(key, item)| (sanitize_to(key, chars), clean(item, chars)))
            .collect(),
    }
}

/// How many characters the value takes as JSON.
pub(crate) fn size(value: &Value) -> usize {
    value.to_string().chars().count()
}

/// Cuts a value to at most about `room` characters of JSON. Lists lose whole entries from the end,
/// texts their end; what is small stays.
pub(crate) fn to(value: Value, room: usize) -> Cut {
    let mut left_out = Vec::new();
    let value = shrink(value, room, "", &mut left_out);
    Cut { value, left_out }
}

fn shrink(value: Value, room: usize, at: &str, left_out: &mut Vec<String>) -> Value {
    if size(&value) <= room {
        return value;
    }
    match value {
        Value::Array(items) => shrink_list(items, room, at, left_out),
        Value::Object(map) => shrink_map(map, room, at, left_out),
        Value::String(text) => {
            // Quotes and escapes take room as well.
            let kept = sanitize_to(&text, room.saturating_sub(2) / 2);
            left_out.push(format!(
                "{}: {} of {} characters are shown",
                place(at),
                kept.chars().count(),
                text.chars().count()
            ));
            kept.into()
        }
        small @ (Value::Null | Value::Bool(_) | Value::Number(_)) => small,
    }
}

fn shrink_list(items: Vec<Value>, room: usize, at: &str, left_out: &mut Vec<String>) -> Value {
    let total = items.len();
    let fitted = policy::answer::fit_rows(items, room);
    left_out.push(format!(
        "{}: {} of {total} entries are shown",
        place(at),
        fitted.rows.len()
    ));
    Value::Array(fitted.rows)
}

/// The largest field gives way first: it is the one that nobody can read anyway.
fn shrink_map(
    mut map: Map<String, Value>,
    room: usize,
    at: &str,
    left_out: &mut Vec<String>,
) -> Value {
    let mut sizes: Vec<(String, usize)> = map
        .iter()
        .map(|(key, value)| (key.clone(), size(value)))
        .collect();
    sizes.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    // Braces, and of each field its key, quotes, colon and comma.
    let frame: usize = map
        .keys()
        .map(|key| size(&Value::from(key.as_str())) + 2)
        .sum::<usize>()
        + 1;
    let mut whole = frame + sizes.iter().map(|(_, size)| size).sum::<usize>();
    for (key, largest) in sizes {
        if whole <= room || largest < SMALL {
            break;
        }
        let allowed = room.saturating_sub(whole - largest).max(SMALL);
        let here = guard::pointer::join(at, &key);
        if let Some(value) = map.get_mut(&key) {
            *value = shrink(value.take(), allowed, &here, left_out);
            whole = whole - largest + size(value);
        }
    }
    if whole <= room {
        return Value::Object(map);
    }
    // Too many fields for the room: nothing of it can be shown.
    left_out.push(format!("{}: not shown, it has too many fields", place(at)));
    Value::Null
}

fn place(at: &str) -> String {
    if at.is_empty() {
        "the whole".to_owned()
    } else {
        format!("`{at}`")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn c10_what_fits_stays_as_it_is() {
        let cut = to(json!({"a": [1, 2]}), 100);
        assert_eq!(cut.value, json!({"a": [1, 2]}));
        assert!(cut.left_out.is_empty());
    }

    #[test]
    fn c10_a_list_is_cut_at_whole_entries_and_the_rest_stays() {
        let rows: Vec<Value> = (0..100)
            .map(|i| json!({"name": format!("vm-{i}")}))
            .collect();
        let cut = to(json!({"total": 100, "vms": rows}), 400);
        assert!(size(&cut.value) <= 400);
        assert_eq!(cut.value["total"], 100);
        assert_eq!(cut.value["vms"][0]["name"], "vm-0");
        assert_eq!(cut.left_out.len(), 1);
        assert!(
            cut.left_out[0].starts_with("`/vms`: "),
            "{:?}",
            cut.left_out
        );
        assert!(
            cut.left_out[0].ends_with(" of 100 entries are shown"),
            "{:?}",
            cut.left_out
        );
    }

    #[test]
    fn c10_whatever_it_is_it_fits() {
        let deep = json!({"a": {"b": {"c": "x".repeat(1000), "d": ["y".repeat(1000), "z"]}}});
        let wide: Map<String, Value> = (0..1000).map(|i| (format!("key{i}"), json!(i))).collect();
        for value in [
            deep,
            Value::Object(wide),
            json!("\"".repeat(1000)),
            json!(["x".repeat(999)]),
        ] {
            for room in [4, 30, 100, 500] {
                let cut = to(value.clone(), room);
                assert!(size(&cut.value) <= room, "{room}: {}", cut.value);
                assert!(!cut.left_out.is_empty());
            }
        }
    }

    #[test]
    fn p13_texts_and_keys_are_sanitised() {
        let value = json!({"na\u{202E}me": ["a\u{200b}b\nc", 1]});
        assert_eq!(clean(&value, 500), json!({"name": ["ab c", 1]}));
        assert_eq!(clean(&json!("abcdef"), 3), json!("abc"));
    }
}
