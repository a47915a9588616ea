//! What the engine costs where there is much of something: commits of a chain, workflows at once,
//! steps in one workflow, workflows in the store, steps one after the other for a long time.
//!
//! Everything is seen from outside: the real program over its own protocol, the log of its
//! database, its memory as the kernel counts it.

mod answers;
mod commits;
mod lab;
mod long;
mod many;
mod memory;
mod real;
mod stored;
mod wal;

use anyhow::Result;

use super::programs::Programs;
use super::report::Report;

/// How much of everything.
pub(super) struct Size {
    /// How often what is short is measured; the middle one counts.
    rounds: usize,
    /// Steps of the chain whose commits are counted.
    chain: usize,
    /// Workflows at once, each of so many steps.
    at_once: (usize, usize),
    /// The same where `vmware-control` makes the changes.
    real: (usize, usize),
    /// Steps of the long workflow.
    long: usize,
    /// Stored workflows: few, many.
    stored: (usize, usize),
    /// Steps before memory is looked at for the first and the second time.
    memory: (usize, usize),
}

const FULL: Size = Size {
    rounds: 5,
    chain: 1_000,
    at_once: (100, 100),
    real: (100, 10),
    long: 10_000,
    stored: (100, 100_000),
    memory: (10_000, 100_000),
};

const QUICK: Size = Size {
    rounds: 3,
    chain: 100,
    at_once: (100, 20),
    real: (100, 3),
    long: 2_000,
    stored: (100, 5_000),
    memory: (2_000, 20_000),
};

pub(super) fn measure(programs: &Programs, quick: bool, report: &mut Report) -> Result<()> {
    let pilot = programs.pilot()?;
    let size = if quick { QUICK } else { FULL };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // Clients are not shared between threads.
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        commits::measure(&pilot, &size, report).await?;
        many::measure(&pilot, &size, report).await?;
        real::measure(programs, &pilot, &size, report).await?;
        long::measure(&pilot, &size, report).await?;
        memory::measure(&pilot, &size, report).await?;
        stored::measure(&pilot, &size, report).await
    })
}
