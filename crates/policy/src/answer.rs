//! The one shape of results: what a tool answers, in success and in failure.
//!
//! A success is a JSON object. A failure is flat:
//! `{"code": "vm.not_found", "error": "Pass …", "effect": "none", …}`. Both go out as
//! structured content and, the very same JSON, as text.

mod fit;
mod near;

use std::borrow::Cow;
use std::fmt;

use guard::secret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use fit::{Fitted, fit_rows};
pub use near::nearest;

/// What a failed call has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorEffect {
    /// Nothing was changed.
    None,
    /// Something was changed, not all of it.
    Partial,
    /// It is not known whether something was changed.
    Unknown,
}

impl ErrorEffect {
    /// Its name in an answer.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Partial => "partial",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for ErrorEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a tool answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    body: Map<String, Value>,
    is_error: bool,
}

impl Answer {
    /// A success. Anything else than an object is wrapped as `{"value": …}`.
    #[must_use]
    pub fn ok(body: Value) -> Self {
        let body = match body {
            Value::Object(body) => body,
            value => Map::from_iter([("value".to_owned(), value)]),
        };
        Self {
            body,
            is_error: false,
        }
    }

    /// A failure.
    #[must_use]
    pub fn refusal(refusal: Refusal) -> Self {
        Self {
            body: refusal.into_body(),
            is_error: true,
        }
    }

    /// The structured content.
    #[must_use]
    pub fn body(&self) -> &Map<String, Value> {
        &self.body
    }

    /// The structured content, as a value.
    #[must_use]
    pub fn into_value(self) -> Value {
        Value::Object(self.body)
    }

    /// Whether it is a failure.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.is_error
    }

    /// The code of a failure.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.body.get("code").filter(|_| self.is_error)?.as_str()
    }

    /// What a failed call has done, if the answer says so.
    #[must_use]
    pub fn effect(&self) -> Option<ErrorEffect> {
        let effect = self.body.get("effect").filter(|_| self.is_error)?;
        ErrorEffect::deserialize(effect).ok()
    }

    /// The same JSON as text.
    #[must_use]
    pub fn text(&self) -> String {
        // Neither a map with text keys nor the values in it can fail to serialise.
        serde_json::to_string(&self.body).unwrap_or_default()
    }

    /// Whether the text is longer than `cap` characters.
    #[must_use]
    pub fn exceeds(&self, cap: usize) -> bool {
        self.text().chars().count() > cap
    }

    /// Adds a field to the body, whatever was there.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.body.insert(key.to_owned(), value.into());
        self
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self::refusal(refusal)
    }
}

/// A failure that the caller can act on. All text in it is sanitised and free of secrets.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}: {}", self.0.code, self.0.error)]
pub struct Refusal(Box<Parts>);

/// In a box, since a refusal travels as the error of many a `Result`.
#[derive(Debug, Clone, PartialEq)]
struct Parts {
    code: Cow<'static, str>,
    error: String,
    effect: Option<ErrorEffect>,
    extra: Map<String, Value>,
}

impl Refusal {
    /// A refusal with a stable code and one sentence that leads with what to do.
    #[must_use]
    pub fn new(code: impl Into<Cow<'static, str>>, error: impl AsRef<str>) -> Self {
        Self(Box::new(Parts {
            code: code.into(),
            error: clean(error.as_ref()),
            effect: None,
            extra: Map::new(),
        }))
    }

    /// Says what the failed call has done.
    #[must_use]
    pub fn effect(mut self, effect: ErrorEffect) -> Self {
        self.0.effect = Some(effect);
        self
    }

    /// Says what was given.
    #[must_use]
    pub fn given(self, given: impl Into<Value>) -> Self {
        self.with("given", given)
    }

    /// Says what is allowed.
    #[must_use]
    pub fn allowed<I: IntoIterator<Item: Into<String>>>(self, allowed: I) -> Self {
        let allowed: Vec<String> = allowed.into_iter().map(Into::into).collect();
        self.with("allowed", allowed)
    }

    /// Says what is nearest to what was given; left out if there is nothing near.
    #[must_use]
    pub fn nearest<I: IntoIterator<Item: Into<String>>>(self, nearest: I) -> Self {
        let nearest: Vec<String> = nearest.into_iter().map(Into::into).collect();
        if nearest.is_empty() {
            self
        } else {
            self.with("nearest", nearest)
        }
    }

    /// Adds a field of one's own, sanitised and without secrets. `code`, `error` and
    /// `effect` cannot be replaced.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        if !matches!(key, "code" | "error" | "effect") {
            // Redacted together with its key: `password` says more than its value.
            let field = Value::Object(Map::from_iter([(key.to_owned(), value.into())]));
            if let Value::Object(field) = clean_value(&secret::redact(&field)) {
                self.0.extra.extend(field);
            }
        }
        self
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// The sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.error
    }

    /// What the failed call has done.
    #[must_use]
    pub fn error_effect(&self) -> Option<ErrorEffect> {
        self.0.effect
    }

    fn into_body(self) -> Map<String, Value> {
        let Parts {
            code,
            error,
            effect,
            extra,
        } = *self.0;
        let mut body = Map::new();
        body.insert("code".to_owned(), code.into());
        body.insert("error".to_owned(), error.into());
        if let Some(effect) = effect {
            body.insert("effect".to_owned(), effect.as_str().into());
        }
        body.extend(extra);
        body
    }
}

/// Redacted first: a secret cut in half would no longer look like one.
fn clean(text: &str) -> String {
    guard::text::sanitize(&secret::redact_text(text))
}

fn clean_value(value: &Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        Value::String(text) => guard::text::sanitize(text).into(),
        Value::Array(items) => items.iter().map(clean_value).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(k, v)| (guard::text::sanitize(k), clean_value(v)))
            .collect(),
    }
}

#[cfg(test)]
mod tests;
