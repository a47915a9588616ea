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
mod tests {
    use serde_json::json;

    use super::*;
    use crate::table::arguments;

    fn read(raw: Value) -> Result<Arguments, Failure> {
        let mut raw = raw.as_object().unwrap().clone();
        let password = lift_password(&mut raw);
        Arguments::read(action(&raw, Mode::Full)?, raw, password)
    }

    fn code(raw: Value) -> String {
        read(raw).unwrap_err().code().to_owned()
    }

    fn body(failure: Failure) -> Value {
        policy::answer::Answer::refusal(failure.into()).into_value()
    }

    #[test]
    fn c11_an_unknown_action_names_the_nearest() {
        let raw = json!({"action": "power_of"});
        let failure = body(action(raw.as_object().unwrap(), Mode::Full).unwrap_err());
        assert_eq!(failure["code"], "action.unknown");
        assert_eq!(failure["nearest"][0], "power_off");
        assert_eq!(failure["effect"], "none");
        assert!(
            failure["error"]
                .as_str()
                .unwrap()
                .starts_with("Pass `power_off`")
        );
    }

    #[test]
    fn an_unknown_argument_names_the_nearest_that_the_action_takes() {
        let failure = body(read(json!({"action": "get_vm", "vmname": "web"})).unwrap_err());
        assert_eq!(failure["code"], "argument.unknown");
        assert_eq!(failure["nearest"][0], "vm_name");
    }

    #[test]
    fn null_and_the_empty_string_count_as_not_given() {
        let arguments =
            read(json!({"action": "about", "host": "", "user": null, "password": ""})).unwrap();
        assert_eq!(arguments.text("host"), None);
        assert!(arguments.password().is_none());
        // Even where the action does not take the argument at all.
        assert!(read(json!({"action": "about", "vm_name": ""})).is_ok());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(code(json!({})), "action.missing");
        assert_eq!(code(json!({"action": null})), "action.missing");
        assert_eq!(code(json!({"action": ""})), "action.missing");
        assert_eq!(code(json!({"action": 7})), "action.wrong_type");
        assert_eq!(
            code(json!({"action": "about", "port": "443"})),
            "argument.wrong_type"
        );
        assert_eq!(
            code(json!({"action": "about", "port": 0})),
            "argument.out_of_range"
        );
        assert_eq!(
            code(json!({"action": "about", "port": 443.5})),
            "argument.out_of_range"
        );
        assert_eq!(
            code(json!({"action": "about", "verify_ssl": 1})),
            "argument.wrong_type"
        );
        assert_eq!(
            code(json!({"action": "about", "host": ["a"]})),
            "argument.wrong_type"
        );
        assert_eq!(
            code(json!({"action": "about", "cpu": 2})),
            "argument.not_taken"
        );
        assert_eq!(
            code(json!({"action": "about", "host": "x".repeat(300)})),
            "argument.too_long"
        );
        assert_eq!(
            read(json!({"action": "about", "port": 8443.0}))
                .unwrap()
                .whole("port"),
            Some(8443)
        );
    }

    #[test]
    fn p13_a_value_that_sanitising_would_alter_is_refused() {
        for name in [
            "web\u{202e}10",
            "web\u{200b}",
            "web\n",
            "web\u{0}",
            "web\u{e0041}",
        ] {
            assert_eq!(
                code(json!({"action": "get_vm", "vm_name": name})),
                "argument.unclean",
                "{name:?}"
            );
        }
        assert_eq!(
            code(json!({"action": "reconfigure", "expect": {"cpu\u{200b}": 1}})),
            "argument.unclean"
        );
        assert!(read(json!({"action": "get_vm", "vm_name": "Wëb – 日本 (1)"})).is_ok());
    }

    #[test]
    fn c11_a_password_of_the_wrong_kind_is_not_echoed() {
        for password in [
            json!(["hunter2"]),
            json!("hunter2\u{0}"),
            json!("hunter2".repeat(500)),
        ] {
            let failure = read(json!({"action": "about", "password": password})).unwrap_err();
            assert!(!body(failure).to_string().contains("hunter2"));
        }
    }

    #[test]
    fn c11_a_password_is_taken_out_of_the_raw_arguments_before_anything_else() {
        let raw = json!({"action": "about", "password": "hunter2"});
        let mut raw = raw.as_object().unwrap().clone();
        let password = lift_password(&mut raw);
        assert_eq!(raw["password"], "***");
        let arguments = Arguments::read(action(&raw, Mode::Full).unwrap(), raw, password).unwrap();
        assert_eq!(arguments.password().map(Secret::expose), Some("hunter2"));
        for none in [
            json!({}),
            json!({"password": ""}),
            json!({"password": null}),
            json!({"password": 7}),
        ] {
            let mut raw = none.as_object().unwrap().clone();
            assert!(lift_password(&mut raw).is_none());
            assert_eq!(Value::Object(raw), none);
        }
    }

    #[test]
    fn p2_only_the_password_looks_like_a_secret_to_a_workflow() {
        for argument in arguments() {
            let secret = matches!(argument.kind, Kind::Secret { .. });
            assert_eq!(
                guard::secret::is_secret_key(argument.name),
                secret,
                "{}",
                argument.name
            );
        }
    }
}
