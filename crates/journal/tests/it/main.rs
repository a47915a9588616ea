//! The promises of the journal, each on a real database in a home of its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

mod archive;
mod archive_runs;
mod audit;
mod common;
mod damage;
mod disk;
mod durable;
mod faults;
mod full;
mod group;
mod hold;
mod lists;
mod migration;
mod owner;
mod power;
mod processes;
mod read_only;
mod tamper;
mod trace;
