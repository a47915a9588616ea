//! Every error code has its page, and every page its code (C11); and what the
//! sources answer with is what the tables list.

use std::collections::BTreeSet;

use anyhow::Result;

use super::{Findings, repo::Repo};

/// The tables of codes: each of these files lists them, with what they mean.
const TABLE: &str = "/src/codes.rs";
/// Where their pages lie.
const PAGES: &str = "docs/errors/";

/// What has the form of a code and begins like one, and is none: properties of
/// the vSphere API, and a file.
const OTHERS: &[&str] = &[
    "config.annotation",
    "config.certificate",
    "config.files",
    "config.firmware",
    "config.toml",
    "config.uplink",
    "config.version",
    "guest.disk",
    "guest.net",
];

pub(super) fn check(repo: &Repo, findings: &mut Findings) -> Result<()> {
    let tables = || repo.rust().filter(|file| file.path.ends_with(TABLE));
    let listed: BTreeSet<&str> = tables().flat_map(|table| codes(&table.text)).collect();
    pages(repo, &listed, findings);

    let areas: BTreeSet<&str> = listed.iter().map(|code| area(code)).collect();
    let mut used = BTreeSet::new();
    for file in repo.rust() {
        let ours = file.path.starts_with("crates/") && file.path.contains("/src/");
        let test = file.path.ends_with("tests.rs") || file.path.contains("/tests/");
        if !ours || test || file.path.ends_with(TABLE) {
            continue;
        }
        for code in codes(before_tests(&file.text)) {
            used.insert(code);
            if areas.contains(area(code)) && !listed.contains(code) && !OTHERS.contains(&code) {
                findings.add(
                    &file.path,
                    format_args!(
                        "`{code}` is in no codes.rs: list it there, and write {PAGES}{code}.md"
                    ),
                );
            }
        }
    }
    for table in tables() {
        for code in codes(&table.text).filter(|code| !used.contains(code)) {
            findings.add(
                &table.path,
                format_args!("nothing answers with `{code}`: take it and its page away"),
            );
        }
    }
    Ok(())
}

/// Codes without a page, and pages without a code.
fn pages(repo: &Repo, listed: &BTreeSet<&str>, findings: &mut Findings) {
    let mut pages = BTreeSet::new();
    for file in repo.files() {
        let page = file
            .path
            .strip_prefix(PAGES)
            .and_then(|name| name.strip_suffix(".md"));
        if let Some(page) = page.filter(|page| *page != "README") {
            pages.insert(page);
            if !file.text.starts_with(&format!("# `{page}`\n")) {
                findings.add(
                    &file.path,
                    format_args!("begin with the heading ``# `{page}` ``"),
                );
            }
        }
    }
    for code in listed.difference(&pages) {
        findings.add(
            format_args!("{PAGES}{code}.md"),
            format_args!("is missing: a codes.rs lists `{code}`"),
        );
    }
    for page in pages.difference(listed) {
        findings.add(
            format_args!("{PAGES}{page}.md"),
            format_args!("no codes.rs lists `{page}`"),
        );
    }
}

/// The word before the dot.
fn area(code: &str) -> &str {
    code.split('.').next().unwrap_or(code)
}

/// A source without the tests at its end.
fn before_tests(source: &str) -> &str {
    source.split("\nmod tests {").next().unwrap_or(source)
}

/// The string literals that look like `area.reason`, outside comments.
fn codes(source: &str) -> impl Iterator<Item = &str> {
    source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split('"').skip(1).step_by(2))
        .filter(|text| is_code(text))
}

fn is_code(text: &str) -> bool {
    let word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    text.split_once('.')
        .is_some_and(|(area, reason)| word(area) && word(reason))
}

#[cfg(test)]
mod tests {
    use super::{area, before_tests, codes};

    #[test]
    fn c11_codes_are_the_literals_of_their_form() {
        let source = "/// such as \"no.code\"\npub const A: &str = \"vm.not_found\"; // \"Vm.x\"\n    \"vm\", \"a.b.c\"";
        assert_eq!(codes(source).collect::<Vec<_>>(), ["vm.not_found"]);
        assert_eq!(area("vm.not_found"), "vm");
        let source = "f(\"a.b\");\n#[cfg(test)]\nmod tests { g(\"c.d\") }";
        assert_eq!(codes(before_tests(source)).collect::<Vec<_>>(), ["a.b"]);
    }
}
