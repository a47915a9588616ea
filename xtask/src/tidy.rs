//! `cargo xtask tidy`: what a compiler does not check.
//!
//! Every check names the file and what to do about it. `--write` brings the
//! generated documents up to date; without it a stale one is a finding.

mod actions;
mod codes;
mod edges;
mod graph;
mod links;
mod points;
mod repo;
mod requirements;
mod rooms;
mod source;
mod states;

use anyhow::{Result, bail};

use repo::Repo;

/// Arguments of `cargo xtask tidy`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write the generated documents instead of complaining that they are stale.
    #[arg(long)]
    write: bool,
}

/// What is wrong, and where.
#[derive(Default)]
pub(crate) struct Findings(Vec<String>);

impl Findings {
    /// Records one finding at a place, usually a path in the repository.
    fn add(&mut self, place: impl std::fmt::Display, what: impl std::fmt::Display) {
        self.0.push(format!("{place}: {what}"));
    }
}

type Check = fn(&Repo, &mut Findings) -> Result<()>;

const CHECKS: &[(&str, Check)] = &[
    ("rooms depend downwards only", edges::check),
    ("no network client below `pilot`", graph::check),
    ("where a test build may end", points::check),
    ("each room says what it is for", rooms::check),
    ("sources", source::check),
    ("requirements and their proofs", requirements::check),
    ("error codes and their pages", codes::check),
    ("the diagram of states", states::check),
    (
        "the reference of actions, and their coverage",
        actions::check,
    ),
    ("links between documents", links::check),
];

/// Runs every check, then fails if there is any finding.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut repo = Repo::load(args.write)?;
    let mut findings = Findings::default();
    for (name, check) in CHECKS {
        let before = findings.0.len();
        check(&repo, &mut findings)?;
        println!(
            "tidy: {name}: {}",
            match findings.0.len() - before {
                0 => "ok".to_owned(),
                found => format!("{found} found"),
            }
        );
        if args.write {
            // Later checks see what earlier ones wrote.
            repo = Repo::load(true)?;
        }
    }
    if findings.0.is_empty() {
        println!(
            "tidy: all {} checks passed over {} files",
            CHECKS.len(),
            repo.files().len()
        );
        return Ok(());
    }
    for finding in &findings.0 {
        println!("  {finding}");
    }
    bail!("tidy: {} to put right", findings.0.len())
}
