//! What a companion's answer means to a workflow. The words are those of `companions`, which is
//! the room that reads the wire.

use serde_json::Value;

use crate::event::Left;

/// What came back of one call.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The tool answered, and the answer is no error.
    Success {
        /// The structured content; where there is none, `{"text": "…"}`.
        body: Value,
        /// SHA-256 of the answer as it came, 64 hex digits.
        sha256: String,
        /// Its size in bytes.
        size: u64,
    },
    /// The tool answered with an error, or it was never sent.
    Failure {
        /// The companion's own code, or ours (`companion.…`).
        code: String,
        /// Its words: sanitised, redacted, at most 500 characters.
        error: String,
        /// What it left behind. Not sent at all: [`Left::Nothing`].
        left: Left,
    },
    /// It was sent, and nobody knows what came of it: a lost connection, a timeout, an answer that
    /// is no answer, an error that says `effect: unknown`.
    Lost {
        /// Why, for a person: sanitised.
        why: String,
    },
}
