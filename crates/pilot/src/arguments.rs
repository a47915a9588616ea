//! Reading a call's arguments by the table of tools, from the raw JSON.
//!
//! `null` counts as not given, since agents fill in what they have nothing for. Everything else
//! that does not fit is refused, never repaired: a value that sanitising would alter could name
//! something else (P13).

use guard::text::{self, sanitize_to};
use guard::{name, secret};
use policy::answer::{ErrorEffect, Refusal, nearest};
use serde_json::{Map, Value};

use crate::tools::param::{Kind, Param};
use crate::tools::table::Tool;

/// How much of a wrong word is shown again.
const ECHO: usize = 64;

/// The longest id that is looked up.
const ID_CHARS: usize = 128;

/// The arguments of one call, by name; only those that were given.
#[derive(Debug)]
pub(crate) struct Arguments {
    values: Map<String, Value>,
}

/// Whether the arguments hold a literal secret, so that nothing of them may be kept (P2).
///
/// # Errors
/// The refusal, which names the place and says what to pass instead.
pub(crate) fn without_secret(tool: &Tool, raw: &Value) -> Result<(), Refusal> {
    match secret::find(raw) {
        None => Ok(()),
        Some(found) => {
            let code = if tool.is_definition {
                "workflow.secret"
            } else {
                "argument.secret"
            };
            Err(refusal(code, found.to_string()).with("pointer", found.pointer))
        }
    }
}

impl Arguments {
    /// Reads the arguments of a tool.
    ///
    /// # Errors
    /// `argument.unknown`, `argument.missing`, `argument.wrong_type`, `argument.out_of_range`,
    /// `argument.unclean`.
    pub(crate) fn read(tool: &Tool, raw: Map<String, Value>) -> Result<Self, Refusal> {
        for given in raw.keys() {
            if !tool.params.iter().any(|param| param.name == given) {
                return Err(unknown(tool, given));
            }
        }
        if tool.is_definition {
            // Read by the room that knows what a definition is.
            return Ok(Self { values: raw });
        }
        let mut raw = raw;
        let mut values = Map::new();
        for param in tool.params {
            match raw.remove(param.name).filter(|value| !value.is_null()) {
                Some(value) => {
                    values.insert(param.name.to_owned(), checked(param, value)?);
                }
                None if param.required => return Err(missing(param)),
                None => {}
            }
        }
        Ok(Self { values })
    }

    /// The arguments as they were given.
    pub(crate) fn into_raw(self) -> Map<String, Value> {
        self.values
    }

    /// A text; empty where none was given.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.optional_text(name).unwrap_or_default()
    }

    /// A text that need not be there.
    pub(crate) fn optional_text(&self, name: &str) -> Option<&str> {
        self.values.get(name).and_then(Value::as_str)
    }

    /// A whole number.
    pub(crate) fn whole(&self, name: &str) -> Option<u64> {
        self.values.get(name).and_then(Value::as_u64)
    }

    /// Yes or no; no where nothing was given.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.values
            .get(name)
            .and_then(Value::as_bool)
            .unwrap_or_default()
    }

    /// A list of texts.
    pub(crate) fn texts(&self, name: &str) -> Vec<&str> {
        let list = self.values.get(name).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    }

    /// An object; empty where none was given.
    pub(crate) fn object(&self, name: &str) -> Map<String, Value> {
        self.values
            .get(name)
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
    }
}

/// A refusal of a call that did nothing.
pub(crate) fn refusal(code: &'static str, message: impl AsRef<str>) -> Refusal {
    Refusal::new(code, message).effect(ErrorEffect::None)
}

fn checked(param: &Param, value: Value) -> Result<Value, Refusal> {
    let at = param.name;
    match (param.kind, value) {
        (Kind::Id, Value::String(given)) => {
            if !text::is_clean(&given) || given.chars().count() > ID_CHARS {
                return Err(unclean(
                    at,
                    &format!(
                        "an id has at most {ID_CHARS} characters, and neither control nor format characters"
                    ),
                ));
            }
            Ok(given.into())
        }
        (Kind::Name, Value::String(given)) => match name::name(&given) {
            Ok(()) => Ok(given.into()),
            Err(error) => Err(unclean(at, &error.to_string())),
        },
        (Kind::Text { needed }, Value::String(given)) => {
            if needed && given.trim().is_empty() {
                return Err(missing(param));
            }
            match name::description(&given) {
                Ok(()) => Ok(given.into()),
                Err(error) => Err(unclean(at, &error.to_string())),
            }
        }
        (Kind::Word(words), Value::String(given)) => {
            if words.contains(&given.as_str()) {
                return Ok(given.into());
            }
            Err(refusal(
                "argument.out_of_range",
                format!("Pass one of `allowed` as `{at}`"),
            )
            .with("argument", at)
            .given(sanitize_to(&given, ECHO))
            .nearest(nearest(&given, words.iter().copied(), 3))
            .allowed(words.iter().copied()))
        }
        (Kind::Whole { least, most, .. }, Value::Number(given)) => {
            // 2.0 is a whole number in JSON.
            let float = given
                .as_f64()
                .filter(|f| f.fract() == 0.0 && (0.0..=1e15).contains(f));
            let whole = given.as_u64().or(float.map(|f| f as u64));
            match whole.filter(|whole| (least..=most).contains(whole)) {
                Some(whole) => Ok(whole.into()),
                None => Err(refusal(
                    "argument.out_of_range",
                    format!("Pass `{at}` as a whole number from {least} to {most}"),
                )
                .with("argument", at)
                .given(given)),
            }
        }
        (Kind::Flag, Value::Bool(given)) => Ok(given.into()),
        (Kind::Ids, Value::Array(given)) => {
            if !given
                .iter()
                .all(|id| id.as_str().is_some_and(|id| name::step_id(id).is_ok()))
            {
                return Err(wrong_type(
                    at,
                    "a list of step ids, such as [\"power_off\"]",
                ));
            }
            Ok(Value::Array(given))
        }
        (Kind::Object, Value::Object(given)) => {
            let given = Value::Object(given);
            text::check_arguments(&given).map_err(|e| unclean(at, &e.to_string()))?;
            Ok(given)
        }
        (kind, _) => Err(wrong_type(at, kind.words())),
    }
}

fn unknown(tool: &Tool, given: &str) -> Refusal {
    let names = || tool.params.iter().map(|param| param.name);
    let near = nearest(given, names(), 3);
    let shown = sanitize_to(given, ECHO);
    let message = match (near.first(), tool.params) {
        (Some(best), _) => format!(
            "Pass `{best}`, or remove `{shown}`: `{}` takes no argument of that name",
            tool.name
        ),
        (None, []) => format!("Remove `{shown}`: `{}` takes no arguments", tool.name),
        (None, _) => format!(
            "Remove `{shown}`: `{}` takes no argument of that name",
            tool.name
        ),
    };
    refusal("argument.unknown", message)
        .given(shown)
        .nearest(near)
        .allowed(names())
}

fn missing(param: &Param) -> Refusal {
    refusal(
        "argument.missing",
        format!("Pass `{}`: {}", param.name, param.doc),
    )
    .with("argument", param.name)
}

fn wrong_type(at: &str, wanted: &str) -> Refusal {
    refusal("argument.wrong_type", format!("Pass `{at}` as {wanted}")).with("argument", at)
}

fn unclean(at: &str, why: &str) -> Refusal {
    refusal("argument.unclean", format!("Correct `{at}`: {why}")).with("argument", at)
}
