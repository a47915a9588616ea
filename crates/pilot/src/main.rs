//! Binary `pilot`: the MCP server that plans, reviews, gates, runs, records and undoes workflows.
//!
//! `pilot mcp` serves the tools of [`tools::table`] over standard input and output; there is no
//! other command (P3). A call passes [`server`] (the protocol), [`desk`] (the wrapper with its one
//! audit row, P15), [`arguments`] (what was passed) and its tool; the answer of a workflow is
//! rendered by [`view`].
//!
//! # Invariants by absence
//!
//! - Nothing in here opens a socket, and no step is performed in here (P1).
//! - Nothing in here writes to standard output but the door of `policy`.
//! - No command of the shell changes a workflow past the server's rules (P3).
//! - No tool is served that is not a row of the table, and no call leaves out the wrapper.
//! - No client chooses the account that a decision is recorded with.
//! - Nothing in here decides anything about a workflow, and no SQL is in here.

mod arguments;
#[cfg(test)]
mod codes;
mod cut;
mod desk;
mod moment;
mod serve;
mod server;
mod tools;
mod view;
mod waiting;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// The environment variable that says how much is logged to standard error.
const LOG: &str = "PILOTHOUSE_LOG";

/// How long threads that wait for something outside may hold up the end.
const THREADS: Duration = Duration::from_millis(200);

/// Plans, reviews, gates, runs, records and undoes multi-step workflows, as an MCP server.
#[derive(Parser)]
#[command(name = "pilot", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve MCP over standard input and output, for an MCP client to start.
    Mcp,
}

fn main() -> ExitCode {
    let Cli {
        command: Command::Mcp,
    } = Cli::parse();
    log_to_stderr();
    match mcp() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn mcp() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("pilot")
        .enable_all()
        .build()?;
    let served = runtime.block_on(serve::serve());
    // A thread may still wait for a line on standard input, and that may never come.
    runtime.shutdown_timeout(THREADS);
    served
}

/// Logs what `PILOTHOUSE_LOG` says, `warn` without it. The MCP library is kept at `error` whatever
/// is said: it warns of each error that it answers with, and below that logs whole requests.
fn log_to_stderr() {
    let wanted = std::env::var(LOG).unwrap_or_default();
    let filter = EnvFilter::try_new(&wanted)
        .ok()
        .filter(|_| !wanted.is_empty())
        .unwrap_or_else(|| EnvFilter::new("warn"));
    let filter = match "rmcp=error".parse() {
        Ok(quiet) => filter.add_directive(quiet),
        Err(_) => filter,
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
}
