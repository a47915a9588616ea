//! Room `companions`: the MCP servers that perform the steps, and the only child processes.
//!
//! A companion is started when it is first needed and stays warm for all workflows
//! ([`Companions`]). What it can do is read from itself, not from a list kept by hand
//! ([`Catalog`]); every call is checked against the tool's own schema before anything is
//! sent, and what comes back is read as what it means for a workflow ([`reply`]).
//!
//! | module | holds |
//! |---|---|
//! | `config` | `companions.json`, the companion beside the program, those found on PATH |
//! | `process` | start, standard error, stop: the child and its process group |
//! | `lines`, `wire` | lines to and from a child; noise is skipped and counted |
//! | `client` | one MCP session over one child; `fingerprint`: what it is; `failure`: why it does not run |
//! | `pool` | one session per companion: started once, restarted when dead, with patience |
//! | `table`, `tool` | what a companion publishes of a tool; risk, effect and digest of it |
//! | `schema`, `check` | arguments against the tool's schema; the facts of a call |
//! | `reply` | what an answer means |
//! | `dispatch` | sending a call |
//! | `catalog` | what is shown of all that |
//!
//! # Invariants by absence
//!
//! - Nothing in here opens a socket, and no schema is ever fetched.
//! - A child gets nothing of this process's environment but the few variables in
//!   [`Settings::environment`]; what its entry lists under `env` comes on top.
//! - No executable is started that is not listed, save `vmware-control` beside this program.
//! - No text of a companion leaves this room without being sanitised and redacted. The one
//!   exception is the body of a successful answer, which is data and is handed on as it came.
//! - No value of an argument stands in an error.
//! - Nothing in here knows SQL, states of workflows, or standard output.

mod catalog;
mod check;
mod client;
mod config;
mod dispatch;
mod failure;
mod fingerprint;
mod lines;
mod outbox;
mod pool;
mod process;
pub mod reply;
mod schema;
mod scrub;
mod table;
mod tool;
mod wire;

pub use catalog::{ActionView, Catalog, SkillState, SkillView, ToolView};
pub use config::{Config, ConfigError, Entry, Origin};
pub use dispatch::{Companions, Settings};
