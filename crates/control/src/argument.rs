//! Reading a call's arguments by the action table, from the raw JSON.
//!
//! `null` and the empty string count as not given, since agents fill in what they have
//! nothing for. Everything else that does not fit is refused, never repaired.

mod refusal;

use guard::secret::{HIDDEN, Secret};
use guard::text::sanitize_to;
use serde_json::{Map, Number, Value};

use crate::failure::{Failure, nearest};
use crate::table::{Action, Argument, Kind, Mode};
use refusal::{no_such_word, not_taken, text_fits, type_of, unknown, wrong_type};

/// How much of a wrong word is shown again.
const ECHO: usize = 60;

/// The arguments of one call, by name; only those that were given.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    values: Map<String, Value>,
    password: Option<Secret>,
}

/// Whether a value says anything at all.
fn is_given(value: &Value) -> bool {
    !value.is_null() && value.as_str() != Some("")
}

/// Finds the action that a call names.
pub(crate) fn action(raw: &Map<String, Value>, mode: Mode) -> Result<&'static Action, Failure> {
    let words = || mode.actions().map(|row| row.word);
    let allowed: Vec<&str> = words().collect();
    match raw.get("action").filter(|action| is_given(action)) {
        None => Err(Failure::new(
            "action.missing",
            "Pass `action`: it says what to do, and is one of those in `allowed`",
        )
        .with("allowed", allowed)),
        Some(Value::String(word)) => match Action::find(word) {
            Some(row) if mode.offers(row) => Ok(row),
            Some(row) => Err(Failure::new(
                "action.read_only",
                format!(
                    "Start `vmware-control mcp` without `--read-only` if it is to change anything: `{}` is a change, and was refused",
                    row.word
                ),
            )
            .with("allowed", allowed)),
            None => Err({
            let shown = sanitize_to(word, ECHO);
            let near = nearest(word, words());
            let remedy = match near.first() {
                Some(best) => format!("Pass `{best}`, or another action of those in `allowed`"),
                None => "Pass one of the actions in `allowed`".to_owned(),
            };
            Failure::new(
                "action.unknown",
                format!("{remedy}: there is no action `{shown}`"),
            )
            .with("given", shown)
            .with("nearest", near)
            .with("allowed", allowed)
            }),
        },
        Some(other) => Err(Failure::new(
            "action.wrong_type",
            format!(
                "Pass `action` as a string, such as `list_vms`: it is {}",
                type_of(other)
            ),
        )
        .with("allowed", allowed)),
    }
}

/// Takes the password out of a call's raw arguments, so that no copy of it is made on the
/// way, and leaves a mark in its place.
pub(crate) fn lift_password(raw: &mut Map<String, Value>) -> Option<Secret> {
    let value = raw.get_mut("password")?;
    if value.as_str().is_none_or(str::is_empty) {
        return None;
    }
    match std::mem::replace(value, Value::String(HIDDEN.to_owned())) {
        Value::String(password) => Some(Secret::new(password)),
        // Asked above: it is a string.
        _ => None,
    }
}

impl Arguments {
    /// Reads the arguments of `row`. An argument that the action does not take, one of
    /// another type or out of range, and one that sanitising would alter (P13) are refused.
    /// `password` is what [`lift_password`] took out.
    pub(crate) fn read(
        row: &'static Action,
        raw: Map<String, Value>,
        password: Option<Secret>,
    ) -> Result<Self, Failure> {
        let mut arguments = Self {
            password,
            ..Self::default()
        };
        for (name, value) in raw {
            if name == "action" {
                continue;
            }
            let Some(argument) = Argument::find(&name) else {
                return Err(unknown(row, &name));
            };
            if !is_given(&value) {
                continue;
            }
            if !row.takes(&name) {
                return Err(not_taken(row, &name));
            }
            arguments.take(argument, value)?;
        }
        Ok(arguments)
    }

    fn take(&mut self, argument: &'static Argument, value: Value) -> Result<(), Failure> {
        let name = argument.name;
        match (argument.kind, value) {
            (Kind::Text { longest }, Value::String(text)) => {
                text_fits(name, &text, longest)?;
                self.values.insert(name.to_owned(), Value::String(text));
            }
            (Kind::Secret { longest }, Value::String(_)) => {
                // Its value was taken out before.
                let secret = self.password.as_ref().map_or("", Secret::expose);
                text_fits(name, secret, longest)?;
            }
            (Kind::Whole { least, most, .. }, Value::Number(number)) => {
                if !whole(&number).is_some_and(|whole| (least..=most).contains(&whole)) {
                    return Err(Failure::new(
                        "argument.out_of_range",
                        format!("Pass `{name}` as a whole number from {least} to {most}: {number} is none"),
                    )
                    .with("argument", name));
                }
                self.values.insert(name.to_owned(), number.into());
            }
            (Kind::Flag { .. }, Value::Bool(flag)) => {
                self.values.insert(name.to_owned(), flag.into());
            }
            (Kind::Fields, Value::Object(fields)) => {
                guard::text::check_arguments(&Value::Object(fields.clone())).map_err(
                    |unclean| {
                        Failure::new("argument.unclean", format!("Correct `{name}`: {unclean}"))
                            .with("argument", name)
                    },
                )?;
                self.values.insert(name.to_owned(), Value::Object(fields));
            }
            (Kind::Word { allowed, .. }, Value::String(word)) => {
                if !allowed.contains(&word.as_str()) {
                    return Err(no_such_word(name, &word, allowed));
                }
                self.values.insert(name.to_owned(), Value::String(word));
            }
            (Kind::Texts { most, longest }, Value::Array(texts)) => {
                if texts.len() > most {
                    return Err(Failure::new(
                        "argument.too_long",
                        format!(
                            "Pass at most {most} texts as `{name}`: there are {}",
                            texts.len()
                        ),
                    )
                    .with("argument", name));
                }
                for text in &texts {
                    match text {
                        Value::String(text) if !text.is_empty() => text_fits(name, text, longest)?,
                        other => {
                            return Err(wrong_type(name, "a list of texts, none empty", other));
                        }
                    }
                }
                self.values.insert(name.to_owned(), Value::Array(texts));
            }
            (Kind::Text { .. } | Kind::Secret { .. } | Kind::Word { .. }, other) => {
                return Err(wrong_type(name, "a string", &other));
            }
            (Kind::Whole { .. }, other) => return Err(wrong_type(name, "a whole number", &other)),
            (Kind::Flag { .. }, other) => return Err(wrong_type(name, "true or false", &other)),
            (Kind::Fields, other) => return Err(wrong_type(name, "an object", &other)),
            (Kind::Texts { .. }, other) => {
                return Err(wrong_type(name, "a list of texts", &other));
            }
        }
        Ok(())
    }

    /// A text argument, or a word of several.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        debug_assert!(
            matches!(
                Argument::find(name).map(|a| a.kind),
                Some(Kind::Text { .. } | Kind::Word { .. })
            ),
            "{name}"
        );
        self.values.get(name).and_then(Value::as_str)
    }

    /// A list of texts; empty if none was given.
    pub(crate) fn texts(&self, name: &str) -> Vec<&str> {
        debug_assert!(
            matches!(
                Argument::find(name).map(|a| a.kind),
                Some(Kind::Texts { .. })
            ),
            "{name}"
        );
        self.values
            .get(name)
            .and_then(Value::as_array)
            .map(|texts| texts.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default()
    }

    /// A whole number.
    pub(crate) fn whole(&self, name: &str) -> Option<i64> {
        debug_assert!(
            matches!(
                Argument::find(name).map(|a| a.kind),
                Some(Kind::Whole { .. })
            ),
            "{name}"
        );
        self.values
            .get(name)
            .and_then(Value::as_number)
            .and_then(whole)
    }

    /// A value as it was given.
    pub(crate) fn given(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// A flag as it was given, without its default.
    pub(crate) fn given_flag(&self, name: &str) -> Option<bool> {
        debug_assert!(
            matches!(
                Argument::find(name).map(|a| a.kind),
                Some(Kind::Flag { .. })
            ),
            "{name}"
        );
        self.values.get(name).and_then(Value::as_bool)
    }

    /// A flag, false if it was not given.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.given_flag(name).unwrap_or(false)
    }

    /// An object of fields.
    pub(crate) fn fields(&self, name: &str) -> Option<&Map<String, Value>> {
        self.values.get(name).and_then(Value::as_object)
    }

    /// The password, if one was given.
    pub(crate) fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// The first argument that the action requires and that was not given.
    pub(crate) fn missing(&self, row: &Action) -> Option<&'static str> {
        row.required.iter().copied().find(|name| match *name {
            "password" => self.password.is_none(),
            name => !self.values.contains_key(name),
        })
    }
}

/// A whole number; 2.0 is one in JSON.
pub(crate) fn whole(number: &Number) -> Option<i64> {
    let of_float = |float: &f64| float.fract() == 0.0 && float.abs() < 1e15;
    number
        .as_i64()
        .or_else(|| number.as_f64().filter(of_float).map(|float| float as i64))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
