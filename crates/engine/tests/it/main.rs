//! The engine on fakes that can be told to fail: what is sent, in which order, and never twice.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by failing"
)]
#![expect(clippy::print_stdout, reason = "the counts are part of the proof")]

mod ends;
mod faults;
mod gates;
mod holds;
mod language;
mod many;
mod processes;
mod quorum;
mod room;
mod stored;
mod support;
mod trust;
