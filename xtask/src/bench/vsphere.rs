//! What the vSphere client costs, against the server's own answers and against its peers, `govc`
//! and pyVmomi, side by side in one run.
//!
//! The floor and the export are example programs of the room `vsphere`, since nothing in here may
//! use the room itself. A peer that cannot be had here is said to be missing, and what was promised
//! against it to be unmeasured.

mod changes;
mod every;
mod first;
pub(super) mod lab;
mod pager;
mod parser;
mod timed;

use std::path::PathBuf;

use anyhow::Result;

use super::programs::Programs;
use super::report::Report;
use crate::sim;

/// How much of everything.
struct Size {
    /// So many VMs, and how often each program reads them.
    inventories: &'static [(usize, usize)],
    /// So many VMs are read in pages of [`pager::MOST`].
    paged: usize,
    /// Of so many VMs the first hundred are listed, and one is found by name.
    one_of: usize,
    /// How often what is short is measured.
    rounds: usize,
}

const FULL: Size = Size {
    inventories: &[(1_000, 5), (10_000, 5), (50_000, 1)],
    paged: 10_000,
    one_of: 10_000,
    rounds: 20,
};

const QUICK: Size = Size {
    inventories: &[(1_000, 3)],
    paged: 1_000,
    one_of: 1_000,
    rounds: 5,
};

/// The size at which the peers are compared.
const COMPARED: usize = 10_000;

/// Everything that is started.
struct Tools {
    control: PathBuf,
    export: PathBuf,
    floor: PathBuf,
    parse: PathBuf,
    /// The newest simulator.
    vcsim: PathBuf,
    /// The one that is fast enough for many VMs.
    fast: PathBuf,
    govc: Result<PathBuf, String>,
    python: Result<PathBuf, String>,
}

impl Tools {
    fn get(programs: &Programs) -> Result<Self> {
        let (export, floor, parse) = programs.examples()?;
        Ok(Self {
            control: programs.control()?,
            export,
            floor,
            parse,
            vcsim: sim::ensure_vcsim()?,
            fast: sim::ensure_fast_vcsim()?,
            govc: sim::ensure_govc().map_err(|error| missing("govc", &error)),
            python: sim::ensure_pyvmomi().map_err(|error| missing("pyVmomi", &error)),
        })
    }
}

/// Says once that a peer is missing, and returns what the tables say.
fn missing(peer: &str, error: &anyhow::Error) -> String {
    println!("{peer} cannot be had here: {error:#}");
    format!("{peer} could not be installed here")
}

pub(super) fn measure(programs: &Programs, quick: bool, report: &mut Report) -> Result<()> {
    let tools = Tools::get(programs)?;
    let size = if quick { &QUICK } else { &FULL };
    println!("{} processors, load {}", processors(), load());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        every::measure(&tools, size, report).await?;
        first::measure(&tools, size, report).await?;
        changes::measure(&tools, size, report).await
    })?;
    parser::measure(&tools, size, report)
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How many programs wanted a processor lately: a machine that others use shows it here.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = text.split(' ').next().unwrap_or_default();
    if load.is_empty() {
        "unknown".to_owned()
    } else {
        load.to_owned()
    }
}

/// The name of a program, to read.
fn file_name(path: &std::path::Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
