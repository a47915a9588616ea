//! What is measured beside us, got without asking anybody: `govc`, pyVmomi, and the old simulator
//! that is fast enough for large inventories.
//!
//! All of it lies in `target/tools`; one set-up at a time makes it, under the lock of the others.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::setup::{GO, SCRATCH, go, lock};
use crate::shell;

/// The peer, of the same version as the simulator whose semantics count.
const GOVC: &str = "github.com/vmware/govmomi/govc@v0.56.0";
/// It starts with 10,000 VMs in seconds, where newer ones take 40 ms for each.
const FAST_VCSIM: &str = "github.com/vmware/govmomi/vcsim";
const FAST_VERSION: &str = "v0.24.2";
/// The library that most scripts are written with.
const PYVMOMI: &str = "pyvmomi";

/// The path of `govc`; fetches it first where it is missing.
pub(crate) fn ensure_govc() -> Result<PathBuf> {
    if let Some(found) = shell::on_path("govc") {
        return Ok(found);
    }
    ensure("govc", |scratch, made| {
        let mut install = go(GO)?;
        install.args(["install", GOVC]).env("GOBIN", scratch);
        if let Err(error) = shell::run(&mut install) {
            // Module proxies exist that have the library and not the command.
            println!("  that way is closed: {error:#}");
            let source = shell::root().join("xtask/govc");
            let mut build = go(GO)?;
            build.arg("build").arg("-o").arg(made).arg(".");
            shell::run(build.current_dir(source))?;
        }
        Ok(())
    })
}

/// The path of simulator 0.24.2; builds it first where it is missing.
pub(crate) fn ensure_fast_vcsim() -> Result<PathBuf> {
    ensure("vcsim-0.24.2", |scratch, made| {
        // Its go.mod replaces modules, so that `go install` refuses it: it is built as a dependency.
        let dir = scratch.join("module");
        fs::create_dir(&dir).context("could not make a directory for a module")?;
        let package = format!("{FAST_VCSIM}@{FAST_VERSION}");
        let steps: [&[&str]; 2] = [
            &["mod", "init", "pilothouse.invalid/fast"],
            &["get", &package],
        ];
        for step in steps {
            shell::run(go(GO)?.args(step).current_dir(&dir))?;
        }
        let mut build = go(GO)?;
        build.arg("build").arg("-o").arg(made).arg(FAST_VCSIM);
        shell::run(build.current_dir(&dir))
    })
}

/// The path of a Python that has pyVmomi; makes an environment of its own for it first.
pub(crate) fn ensure_pyvmomi() -> Result<PathBuf> {
    let dir = ensure("pyvmomi", |_, made| {
        let python = shell::on_path("python3").context("there is no python3 here")?;
        shell::run(Command::new(python).args(["-m", "venv"]).arg(made))?;
        let mut pip = Command::new(made.join("bin/python"));
        shell::run(pip.args(["-m", "pip", "install", "--quiet", PYVMOMI]))
    })?;
    Ok(dir.join("bin/python"))
}

/// The tool of that name; made in a scratch directory and moved into place in one step, so that
/// nobody ever sees half of it.
fn ensure(name: &str, make: impl FnOnce(&Path, &Path) -> Result<()>) -> Result<PathBuf> {
    let tool = shell::tools_dir().join(name);
    if tool.exists() {
        return Ok(tool);
    }
    let _lock = lock(&shell::tools_dir())?;
    // Another set-up may have made it while this one waited.
    if tool.exists() {
        return Ok(tool);
    }
    println!("Getting {name} (once).");
    let scratch = tempfile::Builder::new()
        .prefix(SCRATCH)
        .tempdir_in(shell::tools_dir())
        .context("could not make a scratch directory")?;
    let made = scratch.path().join(name);
    make(scratch.path(), &made)?;
    if !made.exists() {
        bail!("the set-up of {name} made nothing");
    }
    fs::rename(&made, &tool)
        .with_context(|| format!("could not move {name} to {}", tool.display()))?;
    Ok(tool)
}
