//! The one shape in which anything that goes wrong is answered (C11).

use policy::answer::{self, ErrorEffect, Refusal};
use serde_json::Value;

use crate::codes;

/// A refusal or a failure of `vmware_control`: a [`Refusal`] that always says what may
/// have been changed, and whose code this program knows at compile time.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Failure(Refusal);

impl Failure {
    /// A failure that changed nothing. `message` leads with the remedy.
    pub(crate) fn new(code: &'static str, message: impl AsRef<str>) -> Self {
        debug_assert!(codes::is_known(code), "{code} is not in codes.rs");
        Self(Refusal::new(code, message).effect(ErrorEffect::None))
    }

    /// Says what may have been changed.
    pub(crate) fn leaving(self, effect: ErrorEffect) -> Self {
        Self(self.0.effect(effect))
    }

    /// Adds a field to the answer.
    pub(crate) fn with(self, field: &str, value: impl Into<Value>) -> Self {
        Self(self.0.with(field, value))
    }

    /// The stable code.
    pub(crate) fn code(&self) -> &str {
        self.0.code()
    }

    /// The sentence that leads with the remedy.
    pub(crate) fn message(&self) -> &str {
        self.0.message()
    }

    /// What may have been changed.
    pub(crate) fn effect(&self) -> ErrorEffect {
        self.0.error_effect().unwrap_or(ErrorEffect::Unknown)
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        failure.0
    }
}

/// The state directory's own errors keep their code and their words.
impl From<home::HomeError> for Failure {
    fn from(error: home::HomeError) -> Self {
        Failure::new(error.code(), error.to_string())
    }
}

/// The allowed words nearest to one that is not allowed, best first.
pub(crate) fn nearest<'a>(given: &str, allowed: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    answer::nearest(given, allowed, 3)
}
