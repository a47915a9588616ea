//! `cargo xtask sim`: the vCenter simulator that tests and the demo run
//! against.

mod certificate;
mod peers;
mod setup;
mod vcsim;

use anyhow::Result;

use crate::shell;

pub(crate) use certificate::Certificate;
pub(crate) use peers::{ensure_fast_vcsim, ensure_govc, ensure_pyvmomi};
pub(crate) use setup::{ensure_strace, ensure_vcsim};
pub(crate) use vcsim::Vcsim;

/// Arguments of `cargo xtask sim`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Start one, print how to reach it, and keep it until Ctrl-C.
    #[arg(long)]
    run: bool,
    /// Flags for the simulator itself, such as `-vm 10 -esx`.
    #[arg(last = true)]
    flags: Vec<String>,
}

/// Sets the simulator up, prints where it is, and runs it if asked.
pub(crate) fn run(args: &Args) -> Result<()> {
    let program = ensure_vcsim()?;
    println!("vCenter simulator: {}", program.display());
    if !args.run {
        println!("Start one with `cargo xtask sim --run`, or let `cargo xtask demo` do it.");
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let flags: Vec<&str> = args.flags.iter().map(String::as_str).collect();
        let sim = Vcsim::start(&program, &flags)?;
        println!("It listens on {} (any user, any password). Stop it with Ctrl-C.", sim.address());
        println!("Save a profile for it: vmware-control credential save lab --host {} --port {} --user administrator", sim.host(), sim.port());
        shell::interrupted().await?;
        println!("\nStopped.");
        Ok(())
    })
}
