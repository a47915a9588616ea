//! `cargo xtask bench`: how long, and how much, against the floor of the same
//! machine in the same run. A number of one machine means little; the ratio
//! travels.

mod companion;
mod engine;
mod programs;
mod report;
mod startup;
mod step;
mod vsphere;

use std::env;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

pub(crate) use companion::run as companion;

use crate::shell;
use programs::Programs;
use report::Report;

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to measure.
    #[arg(value_enum, default_value_t = Which::All)]
    which: Which,
    /// Put the tables into docs/benchmarks.md.
    #[arg(long)]
    write: bool,
    /// Measure less of everything: `engine` or `vsphere` in about a minute, to see what a change did.
    #[arg(long, conflicts_with = "write")]
    quick: bool,
    /// Measure the programs in this directory instead of building them.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Which {
    /// From the start of `pilot` to its list of tools, and its memory then.
    Startup,
    /// What `pilot` adds to a step.
    Step,
    /// Many workflows, long ones, and many that are stored.
    Engine,
    /// The vSphere client, beside `govc` and pyVmomi.
    Vsphere,
    /// Everything.
    All,
}

/// Measures what was asked for and fails if a promise is not kept.
pub(crate) fn run(args: &Args) -> Result<()> {
    if cfg!(debug_assertions) {
        return optimised();
    }
    let mut report = Report::default();
    let programs = Programs {
        dir: args.programs.clone(),
    };
    if matches!(args.which, Which::Startup | Which::All) {
        startup::measure(&programs, &mut report)?;
    }
    if matches!(args.which, Which::Step | Which::All) {
        step::measure(&programs, &mut report)?;
    }
    if matches!(args.which, Which::Engine | Which::All) {
        engine::measure(&programs, args.quick, &mut report)?;
    }
    if matches!(args.which, Which::Vsphere | Which::All) {
        vsphere::measure(&programs, args.quick, &mut report)?;
    }
    report.finish(args.write)
}

/// Builds this program as programs are released, and becomes it: the client,
/// the idle companion and the bare commits are the floor, and a floor that is
/// slow by itself would flatter what stands on it.
fn optimised() -> Result<()> {
    shell::run(shell::cargo().args(["build", "--release", "--quiet", "-p", "xtask"]))?;
    let program = shell::target_dir().join("release/xtask");
    // It only returns if it could not.
    let error = Command::new(&program).args(env::args_os().skip(1)).exec();
    Err(error).with_context(|| format!("could not start {}", program.display()))
}
