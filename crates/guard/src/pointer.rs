//! JSON Pointers (RFC 6901) for error messages.

use crate::text;

/// Appends one segment to a pointer, escaped after RFC 6901, and sanitised: a pointer
/// ends up in messages, and a key may hold anything.
#[must_use]
pub fn join(parent: &str, segment: &str) -> String {
    let shown = text::sanitize_to(segment, 64);
    format!("{parent}/{}", shown.replace('~', "~0").replace('/', "~1"))
}

/// Names the place for a person: the pointer in backticks, or `the top level`.
#[must_use]
pub fn place(pointer: &str) -> String {
    if pointer.is_empty() {
        "the top level".to_owned()
    } else {
        format!("`{pointer}`")
    }
}
