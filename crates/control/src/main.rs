//! Binary `vmware-control`: the only room that holds credentials, and the only one that
//! both speaks MCP and reaches a vSphere server.
//!
//! `vmware-control mcp` serves one tool, [`schema::TOOL`], whose actions are the rows of
//! [`table`]. Each call is a program of its own ([`program`]): privilege and audit, arguments,
//! connection, one session, the action, logout. `vmware-control credential …` keeps the
//! encrypted connection profiles.
//!
//! # Invariants by absence
//!
//! - Nothing in here keeps a session, an inventory or a result from one call to the next;
//!   what is remembered is only which logins were refused, so that no account gets locked.
//! - No password leaves [`profile`] other than to `vsphere`, and none is an argument of the
//!   command line, a field of an answer, or a word of a log.
//! - No call leaves out the wrapper of `policy`: there is no way to a server past it.
//! - No change is sent that was not planned by reading right before, and none is sent twice.
//! - Nothing in here parses XML or opens a socket: `vsphere` does.

mod action;
mod argument;
mod audit;
mod call;
mod change;
mod cli;
mod codes;
mod connection;
mod destination;
mod expect;
mod failure;
mod fault;
mod harm;
mod listing;
mod machine;
mod made;
mod mcp;
mod name;
mod object;
mod parting;
mod pin;
mod probe;
mod profile;
mod program;
mod property;
mod reference;
mod schema;
mod table;

use std::process::ExitCode;

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::failure::Failure;

/// The environment variable that says how much is logged to standard error.
const LOG: &str = "PILOTHOUSE_LOG";

fn main() -> ExitCode {
    log_to_stderr();
    match cli::run() {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Logs at the level that `PILOTHOUSE_LOG` names, `warn` without it. The libraries are kept
/// at `warn` whatever is said: below that, the one for MCP logs whole requests, passwords
/// included.
fn log_to_stderr() {
    let level = std::env::var(LOG)
        .ok()
        .and_then(|level| level.parse().ok())
        .unwrap_or(LevelFilter::WARN);
    let libraries = ["rmcp", "hyper", "hyper_util", "rustls"];
    let targets = Targets::new()
        .with_default(level)
        .with_targets(libraries.map(|library| (library, level.min(LevelFilter::WARN))));
    let to_stderr = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false);
    tracing_subscriber::registry()
        .with(to_stderr.with_filter(targets))
        .init();
}

/// Runs work that waits for files on a thread of its own, so that no call holds up others (C4).
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
        Err(Failure::new(
            "internal.panic",
            "Report this: a part of the program failed in a way that it should not",
        ))
    })
}
