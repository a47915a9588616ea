//! One field of what a caller wrote: its type, its bounds, and the refusal that says where it is.

use guard::name::NameError;
use guard::text;
use serde_json::{Map, Value};

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
                "Remove `{}`{}: it is not a field here",
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
        format!(" from /{at}")
    }
}

pub(super) fn field(code: &'static str, at: &str, allowed: &str) -> Refusal {
    Refusal::new(code, format!("Pass {allowed} at /{at}")).with("pointer", format!("/{at}"))
}

fn join(at: &str, name: &str) -> String {
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

pub(super) fn word<T: Copy + Default>(
    raw: &Map<String, Value>,
    name: &str,
    words: &[(&str, T)],
) -> Result<T, Refusal> {
    let Some(given) = string("workflow.field", "", raw, name)? else {
        return Ok(T::default());
    };
    words
        .iter()
        .find(|(word, _)| *word == given)
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let allowed: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            Refusal::new(
                "workflow.field",
                format!("Pass one of {} as `{name}`", quoted(&allowed)),
            )
            .with("given", text::sanitize_to(given, 64))
            .with("allowed", allowed)
        })
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
