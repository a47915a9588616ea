//! What an answer shows: the declared outputs, whether a change is in effect, what a preview found
//! ([`prepared`]), and whether an inverse that a companion offers may be used ([`offered`]).

mod preview;
mod undo;

use std::collections::BTreeMap;

use guard::{limit, secret, text};
use serde_json::{Map, Value};

use crate::event::Verdict;
use crate::model::{OutputDef, ScalarKind, Verify};
use crate::reply::Reply;

pub use preview::prepared;
pub use undo::offered;

/// The declared outputs of an answer, and of each that is not there why it is not.
#[must_use]
pub fn outputs(
    declared: &BTreeMap<String, OutputDef>,
    body: &Value,
) -> (BTreeMap<String, Value>, Vec<String>) {
    let mut found = BTreeMap::new();
    let mut missing = Vec::new();
    for (name, def) in declared {
        match output(name, def, body) {
            Ok(value) => {
                found.insert(name.clone(), value);
            }
            Err(why) => missing.push(format!("{name}: {why}")),
        }
    }
    (found, missing)
}

fn output(name: &str, def: &OutputDef, body: &Value) -> Result<Value, String> {
    let Some(value) = body.pointer(&def.pointer) else {
        return Err(format!("the answer has nothing at `{}`", def.pointer));
    };
    let fits = match def.kind {
        ScalarKind::String => value.is_string(),
        ScalarKind::Integer => value.is_i64() || value.is_u64(),
        ScalarKind::Number => value.is_number(),
        ScalarKind::Boolean => value.is_boolean(),
    };
    if !fits {
        return Err(format!("it is no {}", def.kind.word()));
    }
    if let Value::String(s) = value {
        if s.chars().count() > limit::OUTPUT_CHARS {
            return Err(format!(
                "it is longer than {} characters",
                limit::OUTPUT_CHARS
            ));
        }
        if !text::is_clean(s) {
            return Err("it holds a control or format character".to_owned());
        }
    }
    if secret::find(&Value::Object(Map::from_iter([(
        name.to_owned(),
        value.clone(),
    )])))
    .is_some()
    {
        return Err("it looks like a secret, and secrets are not kept".to_owned());
    }
    Ok(value.clone())
}

/// What a verify call's answer shows.
#[must_use]
pub fn verdict(verify: &Verify, reply: &Reply) -> Verdict {
    let unclear = |why: String| Verdict::Unclear { why };
    let body = match reply {
        Reply::Success { body, .. } => body,
        Reply::Failure { code, error, .. } => {
            return unclear(format!("the check failed: {code}: {error}"));
        }
        Reply::Lost { why } => return unclear(format!("the check was not answered: {why}")),
    };
    let holds = |expected: &BTreeMap<String, Value>| {
        !expected.is_empty()
            && expected
                .iter()
                .all(|(at, value)| body.pointer(at).is_some_and(|found| same(found, value)))
    };
    match (holds(&verify.after), holds(&verify.before)) {
        (true, false) => Verdict::InEffect,
        (false, true) => Verdict::NotInEffect,
        (false, false) if verify.before.is_empty() && !verify.after.is_empty() => {
            Verdict::NotInEffect
        }
        (true, true) => unclear(
            "the values from before and after are the same, so a check cannot tell them apart"
                .to_owned(),
        ),
        (false, false) => unclear(
            "the values are neither those from before nor those from after the change".to_owned(),
        ),
    }
}

/// Whether two scalars are the same: numbers by value, everything else by form.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(x), Some(y)) => a == b || (x - y).abs() == 0.0,
        _ => a == b,
    }
}

/// How much of a companion's text is looked at for secrets before it is cut to what is kept.
const LOOKED_AT: usize = 8 * 1024;

/// A companion's words, as they are kept: clean, short, and without what looks like a secret.
fn said(words: &str) -> String {
    // What is invisible goes first: it must not split a secret in two.
    text::sanitize(&secret::redact_text(&text::sanitize_to(words, LOOKED_AT)))
}

/// Whether an answer says that something was changed. Where it does not say, it was.
#[must_use]
pub fn changed(body: &Value) -> bool {
    body.get("changed").and_then(Value::as_bool).unwrap_or(true)
}
