//! The programs that are measured.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::shell;

/// Where they come from.
pub(super) struct Programs {
    /// They lie there; else they are built.
    pub(super) dir: Option<PathBuf>,
}

impl Programs {
    pub(super) fn pilot(&self) -> Result<PathBuf> {
        self.get("pilot", "pilot")
    }

    pub(super) fn control(&self) -> Result<PathBuf> {
        self.get("control", "vmware-control")
    }

    /// The example programs of the room `vsphere`: `export`, `floor` and `parse`.
    pub(super) fn examples(&self) -> Result<(PathBuf, PathBuf, PathBuf)> {
        let dir = if let Some(dir) = &self.dir {
            dir.canonicalize()?
        } else {
            let build = [
                "build",
                "--release",
                "--quiet",
                "-p",
                "vsphere",
                "--examples",
            ];
            shell::run(shell::cargo().args(build))?;
            shell::target_dir().join("release")
        };
        let of = |name| existing(dir.join("examples").join(name));
        Ok((of("export")?, of("floor")?, of("parse")?))
    }

    /// Builds a program as it is released, by itself: in a build of several packages one can switch
    /// on features of crates that another shares.
    fn get(&self, package: &str, program: &str) -> Result<PathBuf> {
        let dir = if let Some(dir) = &self.dir {
            dir.canonicalize()?
        } else {
            shell::run(shell::cargo().args(["build", "--release", "--quiet", "-p", package]))?;
            shell::target_dir().join("release")
        };
        existing(dir.join(program))
    }
}

fn existing(program: PathBuf) -> Result<PathBuf> {
    if !shell::is_executable(&program) {
        bail!("there is no program {}", program.display());
    }
    Ok(program)
}
