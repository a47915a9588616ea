//! Each room says what it is for, and is in the picture.

use anyhow::Result;

use super::{Findings, repo::Repo};

/// The heading under which a room says what is not in it.
const HEADING: &str = "# invariants by absence";

pub(super) fn check(repo: &Repo, findings: &mut Findings) -> Result<()> {
    let picture = repo.text("ARCHITECTURE.md").unwrap_or_default();
    for manifest in repo.files() {
        let Some(room) = manifest.path.strip_suffix("/Cargo.toml") else {
            continue;
        };
        let name = room.rsplit('/').next().unwrap_or(room);
        if !manifest.text.contains(&format!("name = \"{name}\"")) {
            findings.add(
                &manifest.path,
                format_args!("folder and package have one name: call it `{name}`"),
            );
        }
        // A workspace of its own inherits nothing.
        let is_apart = manifest.text.lines().any(|line| line == "[workspace]");
        if !is_apart && !manifest.text.contains("[lints]\nworkspace = true") {
            findings.add(
                &manifest.path,
                "add `[lints]` with `workspace = true`: every crate keeps the same rules",
            );
        }
        if !picture.contains(&format!("`{name}`")) {
            findings.add(
                "ARCHITECTURE.md",
                format_args!("says nothing about `{name}`"),
            );
        }
        let lib = format!("{room}/src/lib.rs");
        let main = format!("{room}/src/main.rs");
        for path in [&lib, &main] {
            if let Some(text) = repo.text(path)
                && !text.starts_with("//!")
            {
                findings.add(path, "begin with `//!`: what is this room for?");
            }
        }
        if let Some(text) = repo.text(&lib)
            && !text
                .lines()
                .filter_map(|line| line.strip_prefix("//!"))
                .any(|line| line.to_lowercase().contains(HEADING))
        {
            findings.add(
                &lib,
                "add the heading `Invariants by absence` to its documentation",
            );
        }
    }
    Ok(())
}
