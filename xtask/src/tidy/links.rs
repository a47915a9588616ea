//! Documents point at files that are there.

use std::path::{Component, Path, PathBuf};

use anyhow::Result;

use super::{Findings, repo::Repo};

pub(super) fn check(repo: &Repo, findings: &mut Findings) -> Result<()> {
    for file in repo.files().iter().filter(|file| file.is("md")) {
        for (number, line) in file.text.lines().enumerate() {
            let linked = targets(line).map(|target| (target, resolve(&file.path, target)));
            let named = names(line).map(|name| (name, name.to_owned()));
            for (target, path) in linked.chain(named) {
                if !repo.exists(&path) {
                    findings.add(
                        format_args!("{}:{}", file.path, number + 1),
                        format_args!("points at `{target}`, which is not there"),
                    );
                }
            }
        }
    }
    Ok(())
}

/// The files that a line of Markdown points at.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split(')').next()?.split('#').next()?;
        (!target.is_empty() && !target.contains(':')).then_some(target)
    })
}

/// The files of this repository that a line names from its root, in backticks.
fn names(line: &str) -> impl Iterator<Item = &str> {
    let plain = |name: &str| !name.contains(['*', '<', '{', '…', ' ', ':']);
    line.split('`').skip(1).step_by(2).filter(move |name| {
        plain(name)
            && ["crates/", "docs/", "xtask/"]
                .iter()
                .any(|folder| name.starts_with(folder))
    })
}

/// A target as seen from the document's own folder.
fn resolve(document: &str, target: &str) -> String {
    let mut path = Path::new(document)
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default();
    for part in Path::new(target).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(name) => path.push(name),
            Component::RootDir => path = PathBuf::new(),
            Component::CurDir | Component::Prefix(_) => {}
        }
    }
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::{names, resolve, targets};

    #[test]
    fn links_to_files_are_found_and_others_are_not() {
        let line = "see [a](docs/a.md#part), [b](https://example.org), [c](#here) and [d](../d.md)";
        assert_eq!(targets(line).collect::<Vec<_>>(), ["docs/a.md", "../d.md"]);
    }

    #[test]
    fn files_that_are_named_are_found_and_patterns_are_not() {
        let line = "`crates/a/b.rs`, `docs/errors/*.md`, `crates/<room>`, `cargo`, `xtask/`";
        assert_eq!(names(line).collect::<Vec<_>>(), ["crates/a/b.rs", "xtask/"]);
    }

    #[test]
    fn a_link_is_read_from_the_documents_folder() {
        assert_eq!(
            resolve("docs/decisions/0001-x.md", "../testing.md"),
            "docs/testing.md"
        );
        assert_eq!(resolve("README.md", "docs/a.md"), "docs/a.md");
    }
}
