//! What an undo expects to find: it overwrites nobody's later change.

use serde_json::{Map, Value};

use crate::argument::Arguments;
use crate::failure::Failure;

/// `expect` may hold these fields alone.
pub(crate) fn check(arguments: &Arguments, allowed: &[&str]) -> Result<(), Failure> {
    let Some(expect) = arguments.fields("expect") else {
        return Ok(());
    };
    let fits = |(name, value): (&String, &Value)| {
        allowed.contains(&name.as_str()) && (value.is_string() || value.is_null())
    };
    if expect.iter().all(fits) {
        return Ok(());
    }
    Err(Failure::new(
        "argument.wrong_type",
        format!(
            "Pass `expect` as an object with no other fields than {}, each a text",
            allowed
                .iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    )
    .with("argument", "expect"))
}

/// The refusal if a value that was expected is no longer there.
pub(crate) fn moved(
    arguments: &Arguments,
    found: &Map<String, Value>,
    target: &Value,
) -> Option<Failure> {
    let expect = arguments.fields("expect")?;
    let same = expect
        .iter()
        .all(|(name, value)| found.get(name).unwrap_or(&Value::Null) == value);
    if same {
        return None;
    }
    Some(
        Failure::new(
            "vm.changed_since",
            "Look at the VM and decide anew: someone has changed it since, and that is not overwritten",
        )
        .with("expected", Value::Object(expect.clone()))
        .with("found", found.clone())
        .with("target", target.clone()),
    )
}
