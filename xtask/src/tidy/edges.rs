//! Which room may depend on which, and which room alone may use what.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{Findings, repo::Repo};
use crate::shell;

/// A room and the rooms it may depend on. The picture is in ARCHITECTURE.md;
/// change both in one commit.
const ROOMS: &[(&str, &[&str])] = &[
    ("guard", &[]),
    ("home", &[]),
    ("workflow", &["guard"]),
    ("policy", &["guard", "home"]),
    ("engine", &["guard", "policy", "workflow"]),
    (
        "journal",
        &["engine", "guard", "home", "policy", "workflow"],
    ),
    (
        "companions",
        &["engine", "guard", "home", "policy", "workflow"],
    ),
    (
        "pilot",
        &[
            "companions",
            "engine",
            "guard",
            "home",
            "journal",
            "policy",
            "workflow",
        ],
    ),
    ("vsphere", &["guard"]),
    ("control", &["guard", "home", "policy", "vsphere"]),
    ("xtask", &[]),
];

/// What tests may use beyond that.
const ROOMS_IN_TESTS: &[(&str, &[&str])] = &[];

/// Crates that belong to some rooms only, and why.
const ONLY: &[(&str, &[&str], &str)] = &[
    ("quick-xml", &["vsphere"], "SOAP is spoken in one room"),
    ("hyper", &["vsphere"], "one room alone opens connections"),
    (
        "hyper-util",
        &["vsphere"],
        "one room alone opens connections",
    ),
    (
        "reqwest",
        &[],
        "`vsphere` drives hyper itself, so that the number of connections is known",
    ),
    ("rustls", &["vsphere"], "TLS is decided in one room"),
    (
        "tokio-rustls",
        &["vsphere", "xtask"],
        "TLS is decided in one room; the bench plays a server",
    ),
    (
        "argon2",
        &["control"],
        "only its profiles have a key of a passphrase",
    ),
    (
        "rusqlite",
        &["journal", "policy", "xtask"],
        "SQL is written in the journal and in the audit chain, which two programs write",
    ),
    (
        "rmcp",
        &["companions", "control", "pilot", "xtask"],
        "MCP is spoken by the two programs, and to companions",
    ),
    (
        "chacha20poly1305",
        &["control"],
        "the only decryption is of its profiles",
    ),
    (
        "tokio",
        &[
            "companions",
            "control",
            "engine",
            "journal",
            "pilot",
            "policy",
            "vsphere",
            "xtask",
        ],
        "`guard`, `home` and `workflow` are not async",
    ),
    (
        "clap",
        &["control", "pilot", "xtask"],
        "only programs have a command line",
    ),
    (
        "anyhow",
        &["control", "pilot", "xtask"],
        "libraries name each way to fail",
    ),
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    path: Option<String>,
}

pub(super) fn check(_repo: &Repo, findings: &mut Findings) -> Result<()> {
    let said =
        shell::output(shell::cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Metadata =
        serde_json::from_str(&said).context("could not read `cargo metadata`")?;
    judge(&metadata, findings);
    Ok(())
}

fn judge(metadata: &Metadata, findings: &mut Findings) {
    let table: BTreeMap<&str, &[&str]> = ROOMS.iter().copied().collect();
    let in_tests: BTreeMap<&str, &[&str]> = ROOMS_IN_TESTS.iter().copied().collect();
    for package in &metadata.packages {
        let name = package.name.as_str();
        let Some(may) = table.get(name) else {
            findings.add(
                name,
                "is in no row of xtask/src/tidy/edges.rs: say there what it may depend on",
            );
            continue;
        };
        for dependency in &package.dependencies {
            let test = dependency.kind.as_deref() == Some("dev");
            let on = dependency.name.as_str();
            if dependency.path.is_some() {
                let in_tests = in_tests.get(name).copied().unwrap_or_default();
                let allowed = may.contains(&on) || (test && in_tests.contains(&on));
                if !allowed {
                    findings.add(
                        format_args!("{name} → {on}"),
                        format_args!("`{name}` may depend on {} only", list(may)),
                    );
                }
            } else if let Some((_, rooms, why)) = ONLY.iter().find(|(only, ..)| *only == on)
                && !test
                && !rooms.contains(&name)
            {
                findings.add(
                    format_args!("{name} → {on}"),
                    format_args!("`{on}` belongs to {} only: {why}", list(rooms)),
                );
            }
        }
    }
}

fn list(rooms: &[&str]) -> String {
    match rooms {
        [] => "no room".to_owned(),
        rooms => rooms
            .iter()
            .map(|room| format!("`{room}`"))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::{Dependency, Findings, Metadata, Package, ROOMS, judge};

    fn edge(from: &str, on: &str, kind: Option<&str>, ours: bool) -> Vec<String> {
        let dependency = Dependency {
            name: on.to_owned(),
            kind: kind.map(str::to_owned),
            path: ours.then(|| format!("crates/{on}")),
        };
        let package = Package {
            name: from.to_owned(),
            dependencies: vec![dependency],
        };
        let mut findings = Findings::default();
        judge(
            &Metadata {
                packages: vec![package],
            },
            &mut findings,
        );
        findings.0
    }

    #[test]
    fn p1_an_edge_from_pilot_to_the_vsphere_client_is_named() {
        let found = edge("pilot", "vsphere", None, true);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("pilot → vsphere: "), "{found:?}");
        assert!(edge("pilot", "journal", None, true).is_empty());
    }

    #[test]
    fn what_belongs_to_one_room_is_refused_in_another_outside_tests() {
        assert_eq!(edge("workflow", "hyper", None, false).len(), 1);
        assert!(edge("workflow", "hyper", Some("dev"), false).is_empty());
        assert!(edge("vsphere", "hyper", None, false).is_empty());
        assert_eq!(edge("vsphere", "reqwest", None, false).len(), 1);
    }

    #[test]
    fn a_room_that_nobody_placed_is_found() {
        assert_eq!(edge("attic", "guard", None, true).len(), 1);
    }

    #[test]
    fn the_table_has_no_circle() {
        // Each row may only name rooms that are complete without it.
        let mut done: Vec<&str> = Vec::new();
        while let Some((room, _)) = ROOMS
            .iter()
            .find(|(room, on)| !done.contains(room) && on.iter().all(|on| done.contains(on)))
        {
            done.push(room);
        }
        assert_eq!(done.len(), ROOMS.len());
    }
}
