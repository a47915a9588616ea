//! The diagram of states in the documents is the one in the code.

use anyhow::Result;

use super::{Findings, repo::Repo};
use crate::shell;

/// The program that draws the transition table.
const SOURCE: &str = "crates/workflow/examples/diagram.rs";
/// Where the drawing lies.
const DRAWING: &str = "docs/states.md";

pub(super) fn check(repo: &Repo, findings: &mut Findings) -> Result<()> {
    if repo.text(SOURCE).is_none() {
        println!("tidy: {SOURCE} is not there; nothing to draw");
        return Ok(());
    }
    let drawn = shell::output(shell::cargo().args([
        "run",
        "--quiet",
        "-p",
        "workflow",
        "--example",
        "diagram",
    ]))?;
    repo.generated(DRAWING, &drawn, findings)
}
