//! The tests of the room, through its one door: commands in, events and effects out.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by failing"
)]
#![expect(clippy::print_stdout, reason = "the counts are part of the proof")]

mod answers;
mod condition;
mod decisions;
mod define;
mod flow;
mod hold;
mod hostile;
mod judge;
mod language;
mod limits;
mod lists;
mod model;
mod outcomes;
mod prefix;
mod references;
mod retried;
mod reviewed;
mod rules;
mod support;
mod terms;
mod undoing;
