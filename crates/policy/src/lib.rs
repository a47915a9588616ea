//! Room `policy`: the check and the record around every tool call.
//!
//! - [`caller`], [`privilege`], [`rules`]: who asks, what they hold, what is never run.
//! - [`guarded`]: the wrapper that every call passes (P15).
//! - [`audit`]: the hash chain; [`audit_store`]: its table in SQLite; [`audit_file`]: a
//!   database of its own for it, written by several processes at once.
//! - [`answer`]: the one shape of results; [`codes`]: the stable codes of refusals.
//! - [`stdio`]: the door between standard input and output and the MCP library.
//!
//! # Invariants by absence
//!
//! - Nothing in here reads a clock by itself where a decision or a record depends on it:
//!   the caller hands the clock in.
//! - Nothing in here opens a socket, starts a process, or knows a tool by name.
//! - No path leads through [`guarded::guarded`] without exactly one audit row.
//! - Nothing in here deletes or rewrites an audit row, and no broken chain is repaired.

pub mod answer;
pub mod audit;
pub mod audit_file;
pub mod audit_store;
pub mod caller;
pub mod codes;
pub mod guarded;
pub mod privilege;
pub mod rules;
pub mod stdio;
