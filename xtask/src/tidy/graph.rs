//! What the `pilot` program is made of: no way to the network (P1).

use anyhow::Result;

use super::{Findings, repo::Repo};
use crate::shell;

/// Crates that could open a connection, or encrypt one.
const BANNED: &[&str] = &[
    "curl",
    "h2",
    "hyper",
    "hyper-rustls",
    "hyper-util",
    "isahc",
    "native-tls",
    "openssl",
    "openssl-sys",
    "quinn",
    "reqwest",
    "rustls",
    "s2n-tls",
    "tokio-native-tls",
    "tokio-rustls",
    "tungstenite",
    "ureq",
];

/// The one TLS provider is ring: nothing may bring this one in, anywhere.
const BANNED_EVERYWHERE: &[&str] = &["aws-lc-sys", "aws-lc-rs", "openssl-sys", "native-tls"];

pub(super) fn check(_repo: &Repo, findings: &mut Findings) -> Result<()> {
    // The graph of `pilot` built by itself, as it is released: in a build of
    // the whole workspace other members switch on features of shared crates.
    let pilot = tree(&["-p", "pilot", "-e", "normal"])?;
    for node in walk(&pilot) {
        if BANNED.contains(&node.name) {
            findings.add(
                node.path.join(" → "),
                format_args!("`pilot` may not contain `{}` (P1)", node.name),
            );
        }
        if node.name == "tokio" && node.features.contains(&"net") {
            let who = shell::output(shell::cargo().args([
                "tree",
                "-p",
                "pilot",
                "-e",
                "normal,features",
                "-i",
                "tokio",
            ]))?;
            findings.add(
                format_args!("{} → tokio/net", enabler(&who).unwrap_or("pilot")),
                "`pilot` may not be built with tokio's sockets (P1)",
            );
        }
    }
    let everything = tree(&["--workspace", "-e", "normal,build,dev", "--target", "all"])?;
    for node in walk(&everything) {
        if BANNED_EVERYWHERE.contains(&node.name) {
            findings.add(
                node.path.join(" → "),
                format_args!("TLS here is rustls with ring: remove `{}`", node.name),
            );
        }
    }
    Ok(())
}

fn tree(what: &[&str]) -> Result<String> {
    shell::output(
        shell::cargo()
            .args(["tree", "--prefix", "depth", "--format", " {p} \t{f}"])
            .args(what),
    )
}

/// A crate in a tree, with the way that leads to it.
struct Node<'a> {
    name: &'a str,
    features: Vec<&'a str>,
    path: Vec<&'a str>,
}

/// The nodes of what [`tree`] printed, each once.
fn walk(tree: &str) -> Vec<Node<'_>> {
    let mut way: Vec<&str> = Vec::new();
    let mut nodes = Vec::new();
    for line in tree.lines() {
        let (package, features) = line.split_once('\t').unwrap_or((line, ""));
        let mut words = package.split_whitespace();
        let (Some(depth), Some(name)) = (
            words.next().and_then(|depth| depth.parse().ok()),
            words.next(),
        ) else {
            continue;
        };
        way.truncate(depth);
        way.push(name);
        // Cargo marks what it has already printed; that was judged then.
        if !features.contains("(*)") {
            nodes.push(Node {
                name,
                features: features.split([',', ' ']).collect(),
                path: way.clone(),
            });
        }
    }
    nodes
}

/// Who switches on tokio's `net`, in `cargo tree -i tokio -e features`.
fn enabler(tree: &str) -> Option<&str> {
    let after = tree
        .lines()
        .skip_while(|line| !line.contains("tokio feature \"net\""))
        .nth(1)?;
    Some(
        after
            .trim_start_matches(|c: char| !c.is_alphanumeric())
            .trim_end(),
    )
}

#[cfg(test)]
mod tests {
    use super::{enabler, walk};

    #[test]
    fn p1_the_way_to_a_crate_is_told() {
        let tree = "0 pilot v0.1.0 (/src/pilot) \t\n1 engine v0.1.0 \t\n2 tokio v1.5.0 \tnet,rt\n1 reqwest v0.13.0 \t\n1 engine v0.1.0 \t (*)\n";
        let nodes = walk(tree);
        let ways: Vec<String> = nodes.iter().map(|node| node.path.join(" → ")).collect();
        assert_eq!(
            ways,
            [
                "pilot",
                "pilot → engine",
                "pilot → engine → tokio",
                "pilot → reqwest"
            ]
        );
        assert!(nodes[2].features.contains(&"net"));
    }

    #[test]
    fn p1_who_switches_sockets_on_is_told() {
        let tree =
            "tokio v1.5.0\n├── tokio feature \"net\"\n│   └── rmcp feature \"transport-io\"\n";
        assert_eq!(enabler(tree), Some("rmcp feature \"transport-io\""));
        assert_eq!(enabler("tokio v1.5.0\n"), None);
    }
}
