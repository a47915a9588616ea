//! Room `home`: the state directory of Pilothouse, and the only place that knows its layout.
//!
//! Paths, owner and mode checks, file locks, atomic replacement, and the operator's
//! configuration. Where things lie:
//!
//! ```text
//! $PILOTHOUSE_HOME, else ~/.pilothouse      0700
//!   pilot.db, control-audit.db              databases (0600)
//!   config.toml, privileges.toml            the operator's rules (writable by the owner alone)
//!   companions.json, key                    0600
//!   profiles/<os-user>/<name>.json          encrypted (0600)
//!   pins/<os-user>.json                     certificate pins (0600)
//!   locks/ owners/ logs/ archive/           0700
//! ```
//!
//! # Invariants by absence
//!
//! - Nothing in here is `async`, opens a socket or starts a process.
//! - Nothing in here reads an environment variable by itself: the caller hands a getter
//!   in. `USER` and `LOGNAME` are never believed. (The [`crash`] points of a test build do.)
//! - Nothing in here deletes a lock file: removing one while another process waits on it
//!   would give two owners.
//! - This crate knows no workflow, no credential format and no SQL.

mod config;
pub mod crash;
mod dir;
mod error;
mod file;
mod lock;
mod user;

pub use config::{Assurance, Config, PlanApproval, Rules};
pub use dir::Home;
pub use error::HomeError;
pub use file::{check_private, free_bytes, read_owned, read_private, replace};
pub use lock::{Held, Lock, LockFile};
pub use user::User;
