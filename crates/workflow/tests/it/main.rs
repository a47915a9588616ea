//! The tests of the room, through its one door: commands in, events and effects out.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by failing"
)]
#![expect(clippy::print_stdout, reason = "the counts are part of the proof")]

mod define;
mod judge;
mod model;
mod prefix;
mod support;
