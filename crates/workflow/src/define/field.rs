//! One field of what a caller wrote: its type, its bounds, and the refusal that says where it is.

use guard::name::NameError;
use guard::text;
use serde_json::{Map, Value};

use crate::model::OnFailure;
use crate::refusal::Refusal;

pub(super) fn known(
    code: &'static str,
    at: &str,
    raw: &Map<String, Value>,
    allowed: &[&str],
) -> Result<(), Refusal> {
    match raw.keys().find(|k| !allowed.contains(&k.as_str())) {
        None => Ok(()),
        Some(unknown) => Err(Refusal::new(
            code,
            format!(
                "Remove `{}`{}: it is not a field there",
                text::sanitize_to(unknown, 64),
                place(at)
            ),
        )
        .with("allowed", allowed.to_vec())
        .with("pointer", format!("/{at}"))),
    }
}

fn place(at: &str) -> String {
    if at.is_empty() {
        String::new()
    } else {
        format!(" at /{at}")
    }
}

pub(super) fn field(code: &'static str, at: &str, allowed: &str) -> Refusal {
    Refusal::new(code, format!("Pass {allowed} at /{at}")).with("pointer", format!("/{at}"))
}

pub(super) fn join(at: &str, name: &str) -> String {
    if at.is_empty() {
        name.to_owned()
    } else {
        format!("{at}/{name}")
    }
}

pub(super) fn string<'a>(
    code: &'static str,
    at: &str,
    raw: &'a Map<String, Value>,
    name: &str,
) -> Result<Option<&'a str>, Refusal> {
    match raw.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(s)) => Ok(Some(s)),
        Some(_) => Err(field(code, &join(at, name), "text")),
    }
}

pub(super) fn object<'a>(
    code: &'static str,
    at: &str,
    raw: &'a Map<String, Value>,
    name: &str,
) -> Result<Option<&'a Map<String, Value>>, Refusal> {
    match raw.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(_) => Err(field(code, &join(at, name), "a JSON object")),
    }
}

/// A whole number within bounds, of what `what` says.
pub(super) fn count(
    code: &'static str,
    at: &str,
    raw: &Map<String, Value>,
    name: &str,
    (least, most): (u32, u32),
    what: &str,
) -> Result<Option<u32>, Refusal> {
    match raw.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().and_then(|n| u32::try_from(n).ok()) {
            Some(n) if (least..=most).contains(&n) => Ok(Some(n)),
            _ => Err(field(
                code,
                &join(at, name),
                &format!("a whole number of {what} from {least} to {most}"),
            )),
        },
    }
}

pub(super) fn seconds(
    code: &'static str,
    at: &str,
    raw: &Map<String, Value>,
    name: &str,
    most: u32,
) -> Result<Option<u32>, Refusal> {
    match raw.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().and_then(|s| u32::try_from(s).ok()) {
            Some(s) if (1..=most).contains(&s) => Ok(Some(s)),
            _ => Err(field(
                code,
                &join(at, name),
                &format!("a whole number of seconds from 1 to {most}"),
            )),
        },
    }
}

pub(super) fn word<T: Copy>(
    code: &'static str,
    at: &str,
    raw: &Map<String, Value>,
    name: &str,
    words: &[(&str, T)],
) -> Result<Option<T>, Refusal> {
    let Some(given) = string(code, at, raw, name)? else {
        return Ok(None);
    };
    let found = words.iter().find(|(word, _)| *word == given);
    found.map(|(_, value)| Some(*value)).ok_or_else(|| {
        let allowed: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        Refusal::new(
            code,
            format!("Pass one of {} as `{name}`{}", quoted(&allowed), place(at)),
        )
        .with("given", text::sanitize_to(given, 64))
        .with("allowed", allowed)
        .with("pointer", format!("/{}", join(at, name)))
    })
}

/// The words for what a failure leads to.
pub(super) const ON_FAILURE: &[(&str, OnFailure)] = &[
    ("rollback", OnFailure::Rollback),
    ("stop", OnFailure::Stop),
    ("continue", OnFailure::Continue),
];

/// `true` or `false`.
pub(super) fn flag(
    code: &'static str,
    at: &str,
    raw: &Map<String, Value>,
    name: &str,
) -> Result<bool, Refusal> {
    match raw.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(field(code, &join(at, name), "`true` or `false`")),
    }
}

fn quoted(words: &[&str]) -> String {
    words
        .iter()
        .map(|w| format!("`{w}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

pub(super) fn named(
    code: &'static str,
    at: &str,
    given: &str,
    rule: fn(&str) -> Result<(), NameError>,
) -> Result<(), Refusal> {
    rule(given).map_err(|e| {
        Refusal::new(code, format!("{e} (at /{at})")).with("pointer", format!("/{at}"))
    })
}
