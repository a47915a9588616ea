//! The automation of this repository, `cargo xtask <command>`.
//!
//! One file or folder per command. Nothing in here is part of the product:
//! no room depends on it, and it depends on no room, so that it judges them
//! from outside, the way a user's machine would.
#![expect(
    clippy::print_stdout,
    reason = "talking to the person at the terminal is what these commands are for"
)]

mod bench;
mod chaos;
mod demo;
mod mcp;
mod shell;
mod sim;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Automation of the Pilothouse repository.
#[derive(Parser)]
#[command(name = "cargo xtask", disable_version_flag = true)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Show the main job, whole, on a simulated vCenter: a gated workflow
    /// runs, another fails and is undone.
    Demo(demo::Args),
    /// Set up what the tests need and run all of them.
    ///
    /// Further arguments go to `cargo test` as they are.
    Test(test::Args),
    /// Check what a compiler does not: who may depend on whom, and that the
    /// documents say what the code does.
    Tidy(tidy::Args),
    /// Measure, against the floor of the same machine in the same run.
    Bench(bench::Args),
    /// End the programs at the worst moments, and judge what is left.
    Chaos(chaos::Args),
    /// Get the vCenter simulator, and run one if asked.
    Sim(sim::Args),
    /// A companion that does nothing, for `bench`.
    #[command(hide = true)]
    Companion,
    /// A companion that is another one, and can hold its answers back, for `demo`.
    #[command(hide = true)]
    Relay(demo::relay::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Task::Demo(args) => demo::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Tidy(args) => tidy::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Chaos(args) => chaos::run(&args),
        Task::Sim(args) => sim::run(&args),
        Task::Companion => bench::companion(),
        Task::Relay(args) => demo::relay::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
