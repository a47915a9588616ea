//! What is wrong with an argument, in words that say what to pass instead.

use guard::text::{is_clean, sanitize_to};
use serde_json::Value;

use super::ECHO;
use crate::failure::{Failure, nearest};
use crate::table::{Action, arguments};

/// Refuses a text that is too long, or that sanitising would alter (P13).
pub(super) fn text_fits(name: &'static str, text: &str, longest: usize) -> Result<(), Failure> {
    let length = text.chars().count();
    if length > longest {
        return Err(Failure::new(
            "argument.too_long",
            format!("Shorten `{name}` to {longest} characters: it has {length}"),
        )
        .with("argument", name));
    }
    if !is_clean(text) {
        return Err(Failure::new(
            "argument.unclean",
            format!(
                "Remove the control or invisible characters from `{name}`: a value that holds them is not used, \
                 since an altered one could name another object"
            ),
        )
        .with("argument", name));
    }
    Ok(())
}

/// The refusal of a word that is none of those allowed.
pub(super) fn no_such_word(name: &'static str, given: &str, allowed: &[&'static str]) -> Failure {
    let near = nearest(given, allowed.iter().copied());
    let remedy = match near.first() {
        Some(best) => format!("Pass `{best}` as `{name}`, or another of those in `allowed`"),
        None => format!("Pass one of those in `allowed` as `{name}`"),
    };
    let shown = sanitize_to(given, ECHO);
    Failure::new(
        "argument.out_of_range",
        format!("{remedy}: `{shown}` is none of them"),
    )
    .with("argument", name)
    .with("allowed", allowed.to_vec())
}

/// The refusal of a value of another type.
pub(super) fn wrong_type(name: &'static str, wanted: &str, given: &Value) -> Failure {
    Failure::new(
        "argument.wrong_type",
        format!("Pass `{name}` as {wanted}: it is {}", type_of(given)),
    )
    .with("argument", name)
}

/// The refusal of an argument that there is not.
pub(super) fn unknown(row: &Action, name: &str) -> Failure {
    let shown = sanitize_to(name, ECHO);
    let near = nearest(
        name,
        arguments()
            .map(|argument| argument.name)
            .filter(|name| row.takes(name)),
    );
    let remedy = match near.first() {
        Some(best) => format!("Pass `{best}` if that is meant, or leave it out"),
        None => "Leave it out, or pass one of those in `allowed`".to_owned(),
    };
    Failure::new(
        "argument.unknown",
        format!("{remedy}: there is no argument `{shown}`"),
    )
    .with("given", shown)
    .with("nearest", near)
    .with("allowed", allowed(row))
}

/// The refusal of an argument that the action does not take.
pub(super) fn not_taken(row: &Action, name: &str) -> Failure {
    Failure::new(
        "argument.not_taken",
        format!("Leave out `{name}`: `{}` does not take it", row.word),
    )
    .with("given", name)
    .with("allowed", allowed(row))
}

fn allowed(row: &Action) -> Vec<&'static str> {
    row.arguments().map(|argument| argument.name).collect()
}

/// What a value is, in words.
pub(super) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
