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

/// How much of one value is looked at, in bytes of its names and texts.
const LOOKED_AT: usize = 256 * 1024;

/// A text longer than this is not looked at, in bytes.
const TEXT: usize = 64 * 1024;

/// A value may be so many times as large as what is shown of it before it is cut roughly: cleaning
/// makes it smaller.
const ROUGH: usize = 8;

/// A copy of as much of a value as may be needed to show `room` characters of it once it was
/// redacted and cleaned, and whether something was left out. What that costs is bounded, however
/// large the value is.
///
/// A name or a text is taken whole or not at all, below the names that it stands under: a part of
/// a secret would not be known for one.
pub(crate) fn roughly(value: &Value, room: usize) -> (Value, bool) {
    let mut rough = Rough {
        left: LOOKED_AT,
        cut: false,
    };
    let (value, _) = rough.take(value, room.saturating_mul(ROUGH));
    (value, rough.cut)
}

struct Rough {
    left: usize,
    cut: bool,
}

impl Rough {
    /// What is taken of a value, and about how many characters will be shown of it at most.
    fn take(&mut self, value: &Value, room: usize) -> (Value, usize) {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) if self.pay(SMALL) => {
                (value.clone(), SMALL)
            }
            Value::String(text) if text.len() <= TEXT && self.pay(text.len() + SMALL) => {
                let shown = text.len().min(guard::limit::DISPLAY_CHARS);
                (value.clone(), shown + SMALL)
            }
            Value::Array(items) if self.pay(SMALL) => self.take_list(items, room),
            // More fields than there is room for are not shown at all.
            Value::Object(map) if map.len() <= room / SMALL && self.pay(SMALL) => {
                self.take_map(map, room)
            }
            _ => {
                self.cut = true;
                (Value::Null, SMALL)
            }
        }
    }

    fn take_list(&mut self, items: &[Value], room: usize) -> (Value, usize) {
        let (mut taken, mut used) = (Vec::new(), SMALL);
        for item in items {
            if used > room || self.left < SMALL {
                self.cut = true;
                break;
            }
            let (item, shown) = self.take(item, room);
            used += shown;
            taken.push(item);
        }
        (Value::Array(taken), used)
    }

    fn take_map(&mut self, map: &Map<String, Value>, room: usize) -> (Value, usize) {
        let (mut taken, mut used) = (Map::new(), SMALL);
        for (key, item) in map {
            if key.len() > TEXT || !self.pay(key.len() + SMALL) {
                self.cut = true;
                continue;
            }
            let (item, shown) = self.take(item, room);
            used += key.len().min(guard::limit::DISPLAY_CHARS) + shown;
            taken.insert(key.clone(), item);
        }
        (Value::Object(taken), used)
    }

    /// Whether there is so much left; it is used up then.
    fn pay(&mut self, price: usize) -> bool {
        let left = self.left.checked_sub(price);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

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

    /// All texts of a value, each with where it stands.
    fn leaves(value: &Value, at: &str, out: &mut Vec<(String, Value)>) {
        match value {
            Value::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    leaves(item, &format!("{at}/{i}"), out);
                }
            }
            Value::Object(map) => {
                for (key, item) in map {
                    leaves(item, &format!("{at}/{key}"), out);
                }
            }
            leaf => out.push((at.to_owned(), leaf.clone())),
        }
    }

    /// Values with secrets of every kind in them, so long that they are cut somewhere.
    fn large() -> Vec<Value> {
        let step = |n: usize| {
            json!({"id": format!("s{n}"), "password": format!("hunter{n}"), "tags": ["a\u{1b}b", n],
                "token": {"inner": [n, format!("t{n}")]},
                "note": format!("Bearer abc{n}defg1234567890XYZ and {}", "x".repeat(n % 700)),
                "text": format!("{{\"api_key\": \"k{n}\", \"pad\": \"{}\"}}", "y".repeat(n % 90))})
        };
        let steps: Vec<Value> = (0..3_000).map(step).collect();
        let fields: Map<String, Value> = (0..50).map(|n| (format!("f{n}"), step(n))).collect();
        let many: Map<String, Value> = (0..5_000).map(|n| (format!("f{n}"), step(n))).collect();
        let url = format!("https://u:{}@h", "p".repeat(70_000));
        let mut deep = json!(steps[..20]);
        for n in 0..30 {
            deep = json!({"secret_free": deep, format!("level{n}"): steps[..3 * n].to_vec()});
        }
        vec![
            json!({"steps": steps, "facts": steps, "by": {"account": "a", "token": "t"}}),
            json!(vec![json!({"wide": many}), json!(fields)]),
            json!({"url": url, "short": "https://u:p@h", "list": vec![json!(url.clone()); 3]}),
            json!(vec!["-----BEGIN PRIVATE KEY-----\nabc"; 30_000]),
            deep,
        ]
    }

    #[test]
    fn p2_no_part_of_a_secret_comes_through_a_rough_cut() {
        let mut compared = 0;
        for value in large() {
            let (rough, cut) = roughly(&value, 1_500);
            assert!(cut, "it was large enough to be cut");
            let (mut whole, mut part) = (Vec::new(), Vec::new());
            leaves(&guard::secret::redact(&value), "", &mut whole);
            leaves(&guard::secret::redact(&rough), "", &mut part);
            let whole: std::collections::HashMap<_, _> = whole.into_iter().collect();
            for (at, leaf) in part {
                // What was not taken, and what was taken only as far as nothing is in it.
                if leaf != Value::Null {
                    assert_eq!(Some(&leaf), whole.get(&at), "{at}");
                    compared += 1;
                }
            }
            let text = guard::secret::redact(&rough).to_string();
            for secret in ["hunter", "defg1234567890", "ppppp", "\nabc", "\"k1"] {
                assert!(!text.contains(secret), "{secret}");
            }
        }
        assert!(compared > 1_000, "{compared}");
    }

    #[test]
    fn p15_a_rough_cut_is_bounded_and_leaves_what_is_small_as_it_is() {
        for value in large() {
            let (rough, _) = roughly(&value, 1_500);
            assert!(size(&rough) <= LOOKED_AT, "{}", size(&rough));
        }
        let small = json!({"a": [1, null, "x".repeat(5_000)], "b": {"c": true}});
        assert_eq!(roughly(&small, 1_500), (small.clone(), false));
    }
}
