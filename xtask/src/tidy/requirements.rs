//! Each promise of docs/requirements.toml, and the tests that prove it.
//!
//! A test names what it proves: `p13_a_bidi_override_is_stripped` proves P13,
//! `p4_p6_a_destructive_step_waits` proves both. From that docs/requirements.md is made.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{Findings, repo::Repo};

const FACTS: &str = "docs/requirements.toml";
const DOCUMENT: &str = "docs/requirements.md";

#[derive(Deserialize)]
struct Facts {
    requirement: Vec<Requirement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Requirement {
    id: String,
    text: String,
    /// What proves it beside tests.
    checked_by: Option<String>,
    /// Not promised yet, and what is missing.
    later: Option<String>,
}

/// The tests that name a requirement, as (file, function).
type Proofs = BTreeMap<String, Vec<(String, String)>>;

pub(super) fn check(repo: &Repo, findings: &mut Findings) -> Result<()> {
    let Some(text) = repo.text(FACTS) else {
        bail!("{FACTS} is missing")
    };
    let facts: Facts = toml::from_str(text).with_context(|| format!("could not read {FACTS}"))?;

    let mut proofs = Proofs::new();
    for file in repo.rust() {
        for name in test_names(&file.text) {
            for id in ids(name) {
                proofs
                    .entry(id)
                    .or_default()
                    .push((file.path.clone(), name.to_owned()));
            }
        }
    }
    for (id, tests) in &proofs {
        if !facts
            .requirement
            .iter()
            .any(|requirement| requirement.id == *id)
        {
            findings.add(
                &tests[0].0,
                format_args!("`{}` names {id}, which is no requirement", tests[0].1),
            );
        }
    }
    for requirement in &facts.requirement {
        let proven = proofs.contains_key(&requirement.id) || requirement.checked_by.is_some();
        if !proven && requirement.later.is_none() {
            findings.add(
                FACTS,
                format_args!(
                    "no test proves {}: name one `{}_…`",
                    requirement.id,
                    requirement.id.to_lowercase()
                ),
            );
        }
    }
    for file in repo.files() {
        for id in citations(&file.text) {
            if !facts
                .requirement
                .iter()
                .any(|requirement| requirement.id == id)
            {
                findings.add(
                    &file.path,
                    format_args!("cites {id}, which is no requirement"),
                );
            }
        }
    }
    repo.generated(DOCUMENT, &document(&facts, &proofs), findings)
}

/// The names of the test functions in a source.
fn test_names(source: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut test = false;
    for line in source.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            test = true;
        } else if let Some(rest) = line
            .strip_prefix("fn ")
            .or_else(|| line.strip_prefix("async fn "))
        {
            if test {
                names.push(
                    rest.split(|c: char| !c.is_alphanumeric() && c != '_')
                        .next()
                        .unwrap_or(rest),
                );
            }
            test = false;
        }
    }
    names
}

/// The requirements that a test's name begins with.
fn ids(name: &str) -> Vec<String> {
    name.split('_')
        .take_while(|word| {
            matches!(word.as_bytes(), [b'p' | b'c', digits @ ..]
                if matches!(digits.len(), 1 | 2) && digits.iter().all(u8::is_ascii_digit))
        })
        .map(str::to_uppercase)
        .collect()
}

/// Ids in brackets, `(P13)` or `(C5, C6)`: citations, and no control characters
/// of the C1 range.
fn citations(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in text.split('(').skip(1) {
        let inside = part.split(')').next().unwrap_or_default();
        let words: Vec<&str> = inside
            .split([',', ' ', '`'])
            .filter(|word| !word.is_empty())
            .collect();
        if words.iter().all(|word| {
            word.len() > 1 && ids(&word.to_lowercase()).len() == 1 && word.starts_with(['P', 'C'])
        }) {
            found.extend(words.iter().map(|word| (*word).to_owned()));
        }
    }
    found
}

fn document(facts: &Facts, proofs: &Proofs) -> String {
    let mut text = String::from(
        "# What Pilothouse promises, and what proves it\n\n\
         <!-- Made by `cargo xtask tidy --write` from requirements.toml and the names of the tests. -->\n\n\
         P is the orchestrator, `pilot`; C is the vSphere tool, `vmware_control`.\n",
    );
    for requirement in &facts.requirement {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n## {}\n\n{}\n\n",
            requirement.id,
            requirement.text.trim()
        );
        if let Some(check) = &requirement.checked_by {
            let _ = writeln!(text, "Checked by {check}.");
        }
        let mut files: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (file, name) in proofs.get(&requirement.id).into_iter().flatten() {
            files.entry(file).or_default().push(name);
        }
        if requirement.checked_by.is_some() && !files.is_empty() {
            text.push('\n');
        }
        for (file, names) in &files {
            let _ = writeln!(text, "- [{file}](../{file})");
            for name in names {
                let _ = writeln!(text, "  - `{name}`");
            }
        }
        if let Some(later) = &requirement.later {
            let _ = writeln!(
                text,
                "{}Not yet: {}.",
                if files.is_empty() { "" } else { "\n" },
                later.trim_end_matches('.')
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{citations, ids, test_names};

    #[test]
    fn a_name_tells_what_it_proves() {
        assert_eq!(ids("p13_a_bidi_override_is_stripped"), ["P13"]);
        assert_eq!(ids("p4_p6_a_destructive_step_waits"), ["P4", "P6"]);
        assert!(ids("page_is_cut").is_empty());
        assert!(ids("p256_key").is_empty());
    }

    #[test]
    fn only_tests_are_proofs() {
        let source = "#[test]\nfn p1_a() {}\nfn p2_b() {}\n  #[tokio::test(flavor = \"x\")]\n  async fn c3_c() {}";
        assert_eq!(test_names(source), ["p1_a", "c3_c"]);
    }

    #[test]
    fn citations_stand_in_brackets() {
        assert_eq!(
            citations("as promised (P13), the C1 range (C5, C6) f(Price)"),
            ["P13", "C5", "C6"]
        );
    }
}
