//! The files of the repository, read once.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Findings;
use crate::shell;

/// One text file.
pub(super) struct TextFile {
    /// Its path from the root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

impl TextFile {
    pub(super) fn is(&self, extension: &str) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|found| found == extension)
    }
}

/// Every text file of the repository, by path.
pub(super) struct Repo {
    root: PathBuf,
    files: Vec<TextFile>,
    write: bool,
}

/// Directories that hold nothing of ours.
const SKIP: &[&str] = &[".git", "target"];

impl Repo {
    pub(super) fn load(write: bool) -> Result<Self> {
        let root = shell::root();
        let mut files = Vec::new();
        let mut dirs = vec![root.clone()];
        while let Some(dir) = dirs.pop() {
            for entry in
                fs::read_dir(&dir).with_context(|| format!("could not read {}", dir.display()))?
            {
                let entry = entry?;
                let name = entry.file_name();
                let path = entry.path();
                if entry.file_type()?.is_dir() {
                    if !SKIP.iter().any(|skip| name == *skip) {
                        dirs.push(path);
                    }
                } else if let (Ok(text), Ok(relative)) =
                    (fs::read_to_string(&path), path.strip_prefix(&root))
                {
                    // What is not UTF-8 is no text: a data base kept as a fixture.
                    files.push(TextFile {
                        path: relative.to_string_lossy().into_owned(),
                        text,
                    });
                }
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { root, files, write })
    }

    pub(super) fn files(&self) -> &[TextFile] {
        &self.files
    }

    pub(super) fn rust(&self) -> impl Iterator<Item = &TextFile> {
        self.files.iter().filter(|file| file.is("rs"))
    }

    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files
            .iter()
            .find(|file| file.path == path)
            .map(|file| file.text.as_str())
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// Compares a generated document with what it should be, or writes it.
    pub(super) fn generated(
        &self,
        path: &str,
        wanted: &str,
        findings: &mut Findings,
    ) -> Result<()> {
        if self.text(path) == Some(wanted) {
            return Ok(());
        }
        if self.write {
            println!("tidy: wrote {path}");
            return fs::write(self.root.join(path), wanted)
                .with_context(|| format!("could not write {path}"));
        }
        findings.add(path, "is stale: run `cargo xtask tidy --write`");
        Ok(())
    }
}
