//! Why a command was not carried out. The state is as before.

use serde_json::{Map, Value};

/// A refusal that a user can meet: a stable code, and a text that leads with what to do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The stable code, e.g. `approval.void`. Each has a page in `docs/errors/`.
    pub code: &'static str,
    /// One or two sentences, the remedy first. No secret, nothing internal.
    pub message: String,
    /// What helps beside it: `given`, `allowed`, `nearest`, `pointer`, `step`.
    pub extra: Map<String, Value>,
}

impl Refusal {
    /// A refusal with nothing beside the text.
    #[must_use]
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            extra: Map::new(),
        }
    }

    /// The same, with one more thing beside the text.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(name.to_owned(), value.into());
        self
    }
}
