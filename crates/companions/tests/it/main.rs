//! Companions as child processes: what they publish, what goes wrong with them, how they end.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod catalog;
mod common;
mod faults;
mod life;
