//! The reference of actions is what the program prints, and of each action it is said how far it is
//! verified.

use anyhow::Result;

use super::{Findings, repo::Repo};
use crate::shell;

/// Where the actions are.
const TABLE: &str = "crates/control/src/table.rs";
/// The reference, made from them.
const REFERENCE: &str = "docs/actions.md";
/// How far each is verified, written by hand.
const COVERAGE: &str = "docs/vsphere-coverage.md";

pub(super) fn check(repo: &Repo, findings: &mut Findings) -> Result<()> {
    if repo.text(TABLE).is_none() {
        println!("tidy: {TABLE} is not there; there are no actions");
        return Ok(());
    }
    let printed =
        shell::output(shell::cargo().args(["run", "--quiet", "-p", "control", "--", "actions"]))?;
    repo.generated(REFERENCE, &printed, findings)?;
    let actions = headings(&printed);
    if actions.is_empty() {
        findings.add(
            REFERENCE,
            "names no action: one has a heading such as ### `about`",
        );
    }
    covered(&actions, repo.text(COVERAGE).unwrap_or_default(), findings);
    Ok(())
}

/// The actions that have a section.
fn headings(reference: &str) -> Vec<&str> {
    reference
        .lines()
        .filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'))
        .collect()
}

/// The actions that the first cells of the rows name.
fn rows(coverage: &str) -> Vec<&str> {
    coverage
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(action, _)| action)
        .collect()
}

/// Each action has one row, and each row an action.
fn covered(actions: &[&str], coverage: &str, findings: &mut Findings) {
    let rows = rows(coverage);
    for action in actions {
        match rows.iter().filter(|row| *row == action).count() {
            1 => {}
            0 => findings.add(
                COVERAGE,
                format_args!("has no row for `{action}`: say there how far it is verified"),
            ),
            n => findings.add(COVERAGE, format_args!("has {n} rows for `{action}`")),
        }
    }
    for row in rows {
        if !actions.contains(&row) {
            findings.add(
                COVERAGE,
                format_args!("has a row for `{row}`, which is no action"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Findings, covered, headings};

    #[test]
    fn an_action_without_a_row_and_a_row_without_an_action_are_found() {
        let actions = headings("# Actions\n### `about`\n\ntext\n### `clone`\n### Other\n");
        assert_eq!(actions, ["about", "clone"]);
        let found = |coverage: &str| {
            let mut findings = Findings::default();
            covered(&actions, coverage, &mut findings);
            findings.0.len()
        };
        let head = "| action | vcsim |\n|---|---|\n";
        assert_eq!(
            found(&format!("{head}| `about` | yes |\n| `clone` | – |\n")),
            0
        );
        assert_eq!(found(&format!("{head}| `about` | yes |\n")), 1);
        assert_eq!(
            found(&format!("{head}| `about` | yes |\n| `gone` | – |\n")),
            2
        );
        let twice = "| `about` | yes |\n| `about` | no |\n| `clone` | – |\n";
        assert_eq!(found(&format!("{head}{twice}")), 1);
        assert_eq!(found(""), 2);
    }
}
