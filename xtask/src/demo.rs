//! `cargo xtask demo`: the main job, whole, on real parts: the real programs,
//! a real MCP client, a vCenter simulator that speaks the real API over TLS.
//!
//! It plays three people: the agent, who knows `pilot` alone and calls its
//! tools; the operator, who saves the password and approves; and an auditor,
//! who looks at the vCenter past `pilot` and compares. It succeeds only if
//! every single thing it claims was checked.

mod auditor;
mod operator;
pub(crate) mod relay;
mod scenario;
mod stage;
mod steps;
mod tell;
mod trouble;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{shell, sim};
use stage::Stage;
use tell::Tell;

/// Arguments of `cargo xtask demo`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave the simulator running at the end, and print the configuration of
    /// a client to go on with.
    #[arg(long)]
    keep: bool,
    /// Play with the programs in this directory instead of building them.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// The programs on stage.
struct Programs {
    simulator: PathBuf,
    pilot: PathBuf,
    control: PathBuf,
}

/// Plays the demo; cleans up after itself, also when interrupted.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut tell = Tell::new();
    tell.title("Pilothouse: an agent at the wheel, a person on the bridge");
    tell.line(
        "The real programs, a real MCP client, and a simulated vCenter that speaks the real API. \
         One workflow runs to its end; another one is refused half-way, and undone. Then the trouble: \
         nobody decides, a program is killed in the worst moment, and two want the same.",
    );

    tell.part("Getting ready");
    let programs = prepare(args.programs.as_deref(), &mut tell)?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut stage = Stage::default();
        let played = tokio::select! {
            played = play(&programs, args.keep, &mut stage, &mut tell) => played,
            interrupted = shell::interrupted() => interrupted.and_then(|()| bail!("interrupted; everything was cleaned up")),
        };
        let keep = args.keep && played.is_ok();
        let closed = stage.close(keep, &programs, &mut tell).await;
        played.and(closed)
    })?;
    let held = tell.verdict()?;
    tell.farewell(held, args.keep);
    Ok(())
}

/// Gets and builds what is played with.
fn prepare(given: Option<&Path>, tell: &mut Tell) -> Result<Programs> {
    let simulator = sim::ensure_vcsim()?;
    let dir = match given {
        Some(dir) => dir
            .canonicalize()
            .with_context(|| format!("there is no {}", dir.display()))?,
        None => build(tell)?,
    };
    let program = |name: &str| {
        let program = dir.join(name);
        if !shell::is_executable(&program) {
            bail!("there is no program {}", program.display());
        }
        Ok(program)
    };
    Ok(Programs {
        simulator,
        pilot: program("pilot")?,
        control: program("vmware-control")?,
    })
}

/// Builds the programs, in a profile of their own, so that tests that run at
/// the same time keep theirs. Returns where they are.
fn build(tell: &mut Tell) -> Result<PathBuf> {
    let dir = shell::target_dir().join("demo");
    let mut build = shell::cargo();
    build
        .args(["build", "--profile", "demo", "-p", "pilot", "-p", "control"])
        .args(["--config", "profile.demo.inherits=\"dev\""]);
    if dir.join("vmware-control").is_file() {
        build.arg("--quiet");
        tell.act("cargo", "builds the two programs, as far as they changed");
    } else {
        tell.act(
            "cargo",
            "builds the two programs; the first time that takes some minutes",
        );
    }
    shell::succeed(&mut build)?;
    Ok(dir)
}

async fn play(programs: &Programs, keep: bool, stage: &mut Stage, tell: &mut Tell) -> Result<()> {
    stage.set(programs, keep, tell).await?;
    let cast = stage.cast(programs)?;
    let machines = scenario::look_around(&cast, tell).await?;
    scenario::completes(&cast, &machines, tell).await?;
    scenario::is_undone(&cast, &machines, tell).await?;
    trouble::nobody_decides(&cast, &machines, tell).await?;
    trouble::killed(&cast, &machines, tell).await?;
    trouble::two_at_once(&cast, &machines, tell).await?;
    scenario::look_back(&cast, tell).await?;
    Ok(())
}
