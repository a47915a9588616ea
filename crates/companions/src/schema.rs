//! Arguments against a tool's own JSON schema, without trusting the schema.
//!
//! A schema comes from another program. It never makes this one fetch anything, panic, overflow
//! its stack or work for ever: references are resolved only within it, and one that is not
//! plain is compiled and applied in a thread of its own that is given up on in the end.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use guard::digest::Digest;
use guard::limit::DEPTH;
use guard::text::sanitize_to;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::timeout;
use workflow::model::ScalarKind;

/// How long a schema may take to be compiled and applied once.
const PATIENCE: Duration = Duration::from_secs(5);

/// More references than any schema of a tool has.
const REFERENCES: usize = 1_000;

/// The stack of the thread that works on a schema that is not plain, in bytes.
const STACK: usize = 32 * 1024 * 1024;

/// A schema up to this size, without references, is worked on in place, in bytes.
const PLAIN_BYTES: usize = 128 * 1024;

/// How many compiled schemas are kept.
const KEPT: usize = 1_024;

/// How many problems are counted before the rest is left.
const PROBLEMS: usize = 100;

/// One way in which arguments do not fit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Misfit {
    /// JSON Pointer to what does not fit; empty for the arguments as a whole.
    pub(crate) pointer: String,
    /// One sentence that leads with what to do, without any value.
    pub(crate) message: String,
    /// The values that the schema allows there, if it lists them.
    pub(crate) allowed: Vec<String>,
    /// What was meant, perhaps.
    pub(crate) nearest: Vec<String>,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Check {
    /// The arguments fit.
    Fits,
    /// They do not; the first problem, and how many there are.
    Misfit(Box<Misfit>, usize),
    /// The schema cannot be used, and why.
    Unusable(String),
}

/// Compiled schemas.
#[derive(Default)]
pub(crate) struct Schemas {
    kept: Mutex<HashMap<Digest, Arc<Compiled>>>,
}

struct Compiled {
    schema: Arc<Value>,
    plain: bool,
    validator: OnceLock<Result<Validator, String>>,
    too_slow: AtomicBool,
}

impl Schemas {
    /// Checks arguments. `holes` are the places whose value is not known yet, with its type.
    pub(crate) async fn check(
        &self,
        digest: Digest,
        schema: &Arc<Value>,
        arguments: &Value,
        holes: &BTreeMap<String, ScalarKind>,
    ) -> Check {
        let compiled = self.compiled(digest, schema);
        if compiled.too_slow.load(Ordering::Relaxed) {
            return Check::Unusable("it takes too long to be applied".to_owned());
        }
        let arguments = filled(arguments, holes);
        let holes = holes.clone();
        if compiled.plain {
            return compiled.check(&arguments, &holes);
        }
        let (done, check) = oneshot::channel();
        let working = compiled.clone();
        let thread = std::thread::Builder::new()
            .name("schema".to_owned())
            .stack_size(STACK);
        let spawned = thread.spawn(move || {
            // Nobody listens any more: that was too long.
            let _ = done.send(working.check(&arguments, &holes));
        });
        if let Err(error) = spawned {
            return Check::Unusable(format!("no thread could be started for it ({error})"));
        }
        match timeout(PATIENCE, check).await {
            Ok(Ok(check)) => check,
            Ok(Err(_)) => Check::Unusable("it could not be applied".to_owned()),
            Err(_) => {
                compiled.too_slow.store(true, Ordering::Relaxed);
                Check::Unusable("it takes too long to be applied".to_owned())
            }
        }
    }

    fn compiled(&self, digest: Digest, schema: &Arc<Value>) -> Arc<Compiled> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT && !kept.contains_key(&digest) {
            kept.clear();
        }
        kept.entry(digest)
            .or_insert_with(|| {
                Arc::new(Compiled {
                    schema: schema.clone(),
                    plain: references(schema) == 0 && schema.to_string().len() <= PLAIN_BYTES,
                    validator: OnceLock::new(),
                    too_slow: AtomicBool::new(false),
                })
            })
            .clone()
    }
}

impl Compiled {
    fn check(&self, arguments: &Value, holes: &BTreeMap<String, ScalarKind>) -> Check {
        let validator = self.validator.get_or_init(|| {
            catch_unwind(AssertUnwindSafe(|| compile(&self.schema)))
                .unwrap_or_else(|_| Err("it cannot be read".to_owned()))
        });
        let validator = match validator {
            Ok(validator) => validator,
            Err(why) => return Check::Unusable(why.clone()),
        };
        let check = catch_unwind(AssertUnwindSafe(|| {
            apply(validator, &self.schema, arguments, holes)
        }));
        check.unwrap_or_else(|_| Check::Unusable("it cannot be applied".to_owned()))
    }
}

fn compile(schema: &Value) -> Result<Validator, String> {
    if depth(schema) > DEPTH {
        return Err(format!("it is nested deeper than {DEPTH} levels"));
    }
    if references(schema) > REFERENCES {
        return Err(format!("it has more than {REFERENCES} references"));
    }
    jsonschema::options()
        .offline()
        .with_pattern_options(
            PatternOptions::fancy_regex()
                .backtrack_limit(100_000)
                .size_limit(1024 * 1024),
        )
        .build(schema)
        .map_err(|error| match error.kind() {
            Kind::Referencing(_) => "it refers to what is not in it".to_owned(),
            _ => format!(
                "it is wrong at `{}`",
                sanitize_to(error.instance_path().as_str(), 200)
            ),
        })
}

fn apply(
    validator: &Validator,
    schema: &Value,
    arguments: &Value,
    holes: &BTreeMap<String, ScalarKind>,
) -> Check {
    // Also the cheap way to find out that it takes for ever: this collects nothing on the way.
    if validator.is_valid(arguments) {
        return Check::Fits;
    }
    let mut problems = validator
        .iter_errors(arguments)
        .filter(|error| counts(error, holes))
        .take(PROBLEMS);
    match problems.next() {
        None => Check::Fits,
        Some(first) => Check::Misfit(Box::new(misfit(&first, schema)), 1 + problems.count()),
    }
}

/// The arguments with a sample of its type in each hole.
fn filled(arguments: &Value, holes: &BTreeMap<String, ScalarKind>) -> Value {
    let mut arguments = arguments.clone();
    for (pointer, kind) in holes {
        if let Some(place) = arguments.pointer_mut(pointer) {
            *place = match kind {
                ScalarKind::String => json!("sample"),
                ScalarKind::Integer => json!(1),
                // No whole number: one that may not be whole does not fit where a whole one must be.
                ScalarKind::Number => json!(1.5),
                ScalarKind::Boolean => json!(true),
            };
        }
    }
    arguments
}

/// Whether a problem is one whatever stands in the holes. The type of a hole is known, its value
/// is not.
fn counts(error: &ValidationError<'_>, holes: &BTreeMap<String, ScalarKind>) -> bool {
    let at = error.instance_path().as_str();
    let in_hole = holes.keys().any(|hole| is_within(at, hole));
    let around_hole = holes.keys().any(|hole| is_within(hole, at));
    match error.kind() {
        Kind::Type { .. } => true,
        // None of the alternatives fits, and each of them for a reason that counts.
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } if !context.is_empty() => context
            .iter()
            .all(|branch| branch.iter().any(|error| counts(error, holes))),
        // These look at a value as a whole, holes and all.
        Kind::Enum { .. }
        | Kind::Constant { .. }
        | Kind::Not { .. }
        | Kind::UniqueItems
        | Kind::Contains
        | Kind::OneOfMultipleValid { .. } => !around_hole && !in_hole,
        _ => !in_hole,
    }
}

/// Whether a place is `outer` or lies in it.
fn is_within(place: &str, outer: &str) -> bool {
    place
        .strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn misfit(error: &ValidationError<'_>, schema: &Value) -> Misfit {
    let pointer = sanitize_to(error.instance_path().as_str(), 200);
    let place = guard::pointer::place(&pointer);
    let given = type_of(error.instance());
    let wants = |what: String| format!("Pass {what} at {place}: {given} was given");
    let mut allowed = Vec::new();
    let mut nearest = Vec::new();
    let message = match error.kind() {
        Kind::Required { property } => {
            let name = shown(property);
            format!("Pass `{name}`: it is missing at {place}")
        }
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let known = properties(schema, &pointer);
            let name = unexpected.first().map(String::as_str).unwrap_or_default();
            nearest = policy::answer::nearest(name, known.iter().map(String::as_str), 3);
            allowed = known;
            format!(
                "Remove `{}` at {place}: it is not known there",
                redacted(name)
            )
        }
        Kind::Enum { options } => {
            allowed = options
                .as_array()
                .into_iter()
                .flatten()
                .map(shown)
                .take(100)
                .collect();
            let given = error.instance().as_str().unwrap_or_default();
            nearest = policy::answer::nearest(given, allowed.iter().map(String::as_str), 3);
            format!("Pass one of the allowed values at {place}: another one was given")
        }
        Kind::Constant { expected_value } => {
            allowed = vec![shown(expected_value)];
            format!("Pass the allowed value at {place}: another one was given")
        }
        Kind::Type { kind } => wants(type_words(kind)),
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            wants(alternatives(context, error))
        }
        Kind::Minimum { limit } => wants(format!("a number of at least {}", shown(limit))),
        Kind::Maximum { limit } => wants(format!("a number of at most {}", shown(limit))),
        Kind::ExclusiveMinimum { limit } => wants(format!("a number above {}", shown(limit))),
        Kind::ExclusiveMaximum { limit } => wants(format!("a number below {}", shown(limit))),
        Kind::MinLength { limit } => {
            format!("Pass at least {limit} characters at {place}: fewer were given")
        }
        Kind::MaxLength { limit } => {
            format!("Pass at most {limit} characters at {place}: more were given")
        }
        Kind::MinItems { limit } => {
            format!("Pass at least {limit} items at {place}: fewer were given")
        }
        Kind::MaxItems { limit } => {
            format!("Pass at most {limit} items at {place}: more were given")
        }
        Kind::Pattern { pattern } => format!(
            "Pass a text of the pattern `{}` at {place}: another one was given",
            sanitize_to(pattern, 100)
        ),
        Kind::Format { format } => format!(
            "Pass a text of the format `{}` at {place}: another one was given",
            sanitize_to(format, 40)
        ),
        Kind::FalseSchema => format!("Remove what is at {place}: nothing is accepted there"),
        other => format!(
            "Correct what is at {place}: it does not satisfy `{}` of the tool's schema",
            sanitize_to(other.keyword(), 40)
        ),
    };
    Misfit {
        pointer,
        message,
        allowed,
        nearest,
    }
}

/// The types that the alternatives want at the place of the problem, if that is what they want.
fn alternatives(context: &[Vec<ValidationError<'static>>], error: &ValidationError<'_>) -> String {
    let here = error.instance_path().as_str();
    let types: Option<Vec<String>> = context
        .iter()
        .map(|branch| {
            branch.iter().find_map(|error| match error.kind() {
                Kind::Type { kind } if error.instance_path().as_str() == here => {
                    Some(type_words(kind))
                }
                _ => None,
            })
        })
        .collect();
    match types {
        Some(types) if !types.is_empty() => types.join(" or "),
        _ => "one of the forms of the tool's schema".to_owned(),
    }
}

fn type_words(kind: &TypeKind) -> String {
    let article = |name: &str| match name {
        "null" => "null".to_owned(),
        "array" | "integer" | "object" => format!("an {name}"),
        _ => format!("a {name}"),
    };
    match kind {
        TypeKind::Single(kind) => article(kind.as_str()),
        TypeKind::Multiple(kinds) => kinds
            .iter()
            .map(|kind| article(kind.as_str()))
            .collect::<Vec<_>>()
            .join(" or "),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Text of the schema: not of the arguments.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => sanitize_to(text, 100),
        other => sanitize_to(&other.to_string(), 100),
    }
}

/// A key of the arguments: no value, and still never a secret.
fn redacted(name: &str) -> String {
    guard::secret::redact_text(&sanitize_to(name, 64))
}

/// The names that the schema knows at a place, if that is the arguments themselves.
fn properties(schema: &Value, pointer: &str) -> Vec<String> {
    let Some(Value::Object(known)) = schema.get("properties").filter(|_| pointer.is_empty()) else {
        return Vec::new();
    };
    known
        .keys()
        .take(200)
        .map(|name| sanitize_to(name, 100))
        .collect()
}

/// How many references there are, at most [`REFERENCES`] and one.
fn references(schema: &Value) -> usize {
    let mut found = 0;
    let mut open = vec![schema];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(map) => {
                found += ["$ref", "$dynamicRef", "$recursiveRef"]
                    .iter()
                    .filter(|key| map.contains_key(**key))
                    .count();
                open.extend(map.values());
            }
            _ => {}
        }
        if found > REFERENCES {
            break;
        }
    }
    found
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
