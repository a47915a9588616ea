//! The named points where a test build may end: the table knows each, and no release has any.

use std::collections::BTreeSet;

use anyhow::Result;

use super::{Findings, repo::Repo};
use crate::{chaos, shell};

/// Where the table is.
const TABLE: &str = "crates/home/src/crash.rs";
/// The feature that brings them to life.
const FEATURE: &str = "crash-points";

pub(super) fn check(repo: &Repo, findings: &mut Findings) -> Result<()> {
    let names = chaos::names_of(repo.text(TABLE).unwrap_or_default());
    let mut used = BTreeSet::new();
    for file in repo.rust().filter(|file| file.path.starts_with("crates/")) {
        for name in points(&file.text) {
            if !names.iter().any(|known| known == name) {
                findings.add(
                    &file.path,
                    format_args!("the point `{name}` is not in the table of {TABLE}"),
                );
            }
            used.insert(name.to_owned());
        }
    }
    for name in names.iter().filter(|name| !used.contains(*name)) {
        findings.add(TABLE, format_args!("the point `{name}` is nowhere"));
    }
    // What `cargo build --release` would make.
    for program in ["pilot", "control"] {
        let tree = shell::output(
            shell::cargo()
                .args(["tree", "-p", program, "-e", "normal"])
                .args(["--prefix", "none", "--format", "{p} {f}"]),
        )?;
        if tree.lines().any(|line| line.contains(FEATURE)) {
            findings.add(
                program,
                format_args!("is built with `{FEATURE}` by default: no release may have it"),
            );
        }
    }
    Ok(())
}

/// The names of the points in a source.
fn points(source: &str) -> impl Iterator<Item = &str> {
    let calls = source.split("crash::point(\"").skip(1);
    calls.filter_map(|rest| rest.split('"').next())
}

#[cfg(test)]
mod tests {
    use super::points;

    #[test]
    fn points_are_found_in_a_source() {
        let source = "a();\n    home::crash::point(\"x.before\");\n crash::point(\"x.after\");";
        assert_eq!(points(source).collect::<Vec<_>>(), ["x.before", "x.after"]);
    }
}
