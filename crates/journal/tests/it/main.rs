//! The promises of the journal, each on a real database in a home of its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

mod audit;
mod common;
mod damage;
mod durable;
mod full;
mod group;
mod migration;
mod owner;
mod processes;
mod read_only;
mod tamper;
