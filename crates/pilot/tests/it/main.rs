//! The real program, as its clients meet it.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod answers;
mod approvals;
mod archive;
mod audit;
mod companions;
mod eras;
mod homes;
mod life;
mod processes;
mod refusals;
mod secrets;
#[path = "../support/mod.rs"]
mod support;
mod tools;
mod undo;
