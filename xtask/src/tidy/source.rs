//! What must not stand in a source or a document.

use anyhow::Result;

use super::{Findings, repo::Repo};

/// The most lines that a source file may have.
const LONG: usize = 500;

/// Longer files, each with the reason why it is not two.
const LONGER: &[(&str, &str)] = &[];

/// What a Rust file must not contain, and what to do instead. (In pieces, so
/// that this file does not contain it either.)
const CODE: &[(&str, &str)] = &[
    (concat!("to", "do!("), "finish it, or leave it out"),
    (concat!("unimplemented", "!("), "finish it, or leave it out"),
    (concat!("dbg", "!("), "remove it"),
    (
        concat!("#[", "ignore]"),
        "give the reason: `#[ignore = \"…\"]`",
    ),
    (
        concat!("#[", "allow("),
        "use `#[expect(…, reason = \"…\")]`",
    ),
    (
        concat!("#![", "allow("),
        "use `#![expect(…, reason = \"…\")]`",
    ),
];

/// What no text may contain: paths of the machine it was written on.
const TEXT: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("shared/", "design"),
    concat!("/tmp/", "t-"),
];

pub(super) fn check(repo: &Repo, findings: &mut Findings) -> Result<()> {
    for file in repo.rust() {
        for (number, line) in file.text.lines().enumerate() {
            let place = format_args!("{}:{}", file.path, number + 1).to_string();
            for (needle, remedy) in CODE {
                if line.contains(needle) {
                    findings.add(&place, format_args!("`{needle}`: {remedy}"));
                }
            }
        }
        let lines = file.text.lines().count();
        let excused = LONGER.iter().any(|(path, _)| *path == file.path);
        if lines > LONG && !excused {
            findings.add(
                &file.path,
                format_args!("{lines} lines want to be two files (limit {LONG})"),
            );
        } else if lines <= LONG && excused {
            findings.add(
                &file.path,
                "is short enough now: take it off the list in xtask/src/tidy/source.rs",
            );
        }
    }
    for (path, _) in LONGER.iter().filter(|(path, _)| repo.text(path).is_none()) {
        findings.add(
            path,
            "does not exist: take it off the list in xtask/src/tidy/source.rs",
        );
    }
    for file in repo.files() {
        for (number, line) in file.text.lines().enumerate() {
            for word in TEXT.iter().filter(|word| line.contains(*word)) {
                findings.add(
                    format_args!("{}:{}", file.path, number + 1),
                    format_args!("`{word}` means something on one machine only"),
                );
            }
        }
    }
    Ok(())
}
