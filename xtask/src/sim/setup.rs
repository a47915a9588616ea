//! Getting the simulator, and what else a test needs, without asking anybody.

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

/// The version whose semantics the tests are written against.
const VCSIM: &str = "github.com/vmware/govmomi/vcsim@v0.56.0";
/// The oldest Go that builds it, as (major, minor).
pub(super) const GO: (u32, u32) = (1, 25);
/// Where Debian's package puts the library.
const DEBIAN_GOPATH: &str = "/usr/share/gocode";

/// The simulator's path; fetches or builds it first where it is missing.
///
/// Looks at `PILOTHOUSE_VCSIM`, then for `vcsim` on PATH, then at what an
/// earlier set-up left in `target/tools`.
pub(crate) fn ensure_vcsim() -> Result<PathBuf> {
    if let Some(given) = env::var_os("PILOTHOUSE_VCSIM") {
        let given = PathBuf::from(given);
        if !shell::is_executable(&given) {
            bail!(
                "unset PILOTHOUSE_VCSIM or point it at a `vcsim`: {} is none",
                given.display()
            );
        }
        return Ok(given);
    }
    if let Some(found) = shell::on_path("vcsim") {
        return Ok(found);
    }
    let tool = shell::tools_dir().join("vcsim");
    if shell::is_executable(&tool) {
        return Ok(tool);
    }
    let _lock = lock(&shell::tools_dir())?;
    // Another set-up may have made it while this one waited.
    if !shell::is_executable(&tool) {
        build(&tool)?;
        println!("  vCenter simulator ready: {}", tool.display());
    }
    Ok(tool)
}

/// Installs `strace` where it is missing and that is possible. One test needs
/// it, and fails without it, so this only says what went wrong.
pub(crate) fn ensure_strace() -> Result<()> {
    if shell::on_path("strace").is_some() {
        return Ok(());
    }
    let _lock = lock(&shell::tools_dir())?;
    if shell::on_path("strace").is_none() {
        println!("Installing strace: a test traces the system calls of `pilot`.");
        if let Err(error) = shell::apt_install(&["strace"]) {
            println!("  {error:#}; the test that needs it will fail");
        }
    }
    Ok(())
}

/// One set-up at a time in this workspace. The lock goes with the file.
pub(super) fn lock(dir: &Path) -> Result<File> {
    fs::create_dir_all(dir).with_context(|| format!("could not make {}", dir.display()))?;
    let file = File::create(dir.join("lock")).context("could not make the set-up's lock file")?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            println!("Waiting for another set-up to finish.");
            file.lock()
                .context("could not wait for the set-up's lock")?;
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).context("could not take the set-up's lock");
        }
    }
    remove_leftovers(dir);
    Ok(file)
}

/// Whoever holds the lock is alone: scratch directories are of set-ups that
/// were interrupted.
fn remove_leftovers(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(SCRATCH) {
            // A leftover that stays is harmless.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// How the names of scratch directories begin.
pub(super) const SCRATCH: &str = "scratch-";

/// Builds it in a scratch directory and moves it into place in one step, so
/// that nobody ever sees half a program.
fn build(tool: &Path) -> Result<()> {
    println!("Getting the vCenter simulator (once).");
    let scratch = tempfile::Builder::new()
        .prefix(SCRATCH)
        .tempdir_in(shell::tools_dir())
        .context("could not make a scratch directory")?;
    let built = scratch.path().join("vcsim");

    let mut tried = Vec::new();
    for way in [go_install, module, debian] {
        match way(scratch.path(), &built) {
            Ok(()) if shell::is_executable(&built) => {
                return fs::rename(&built, tool).with_context(|| {
                    format!("could not move the simulator to {}", tool.display())
                });
            }
            Ok(()) => tried.push("a build made no program".to_owned()),
            Err(error) => {
                println!("  that way is closed: {error:#}");
                tried.push(format!("{error:#}"));
            }
        }
    }
    bail!(
        "put a `vcsim` on PATH, or set PILOTHOUSE_VCSIM to one (it is part of govmomi): \
         no way to build it here worked:\n  {}",
        tried.join("\n  ")
    )
}

/// The real command, as its authors publish it.
fn go_install(scratch: &Path, built: &Path) -> Result<()> {
    let mut go = go(GO)?;
    shell::run(go.args(["install", VCSIM]).env("GOBIN", scratch))?;
    debug_assert!(built.starts_with(scratch));
    Ok(())
}

/// Our own command over their library of the same version: module proxies
/// exist that have the library and not the command.
fn module(_scratch: &Path, built: &Path) -> Result<()> {
    let mut go = go(GO)?;
    go.arg("build")
        .arg("-o")
        .arg(built)
        .arg(".")
        .current_dir(source());
    shell::run(&mut go)
}

/// Our own command over the older library that Debian packages: for machines
/// that reach no Go module proxy.
fn debian(_scratch: &Path, built: &Path) -> Result<()> {
    let library = Path::new(DEBIAN_GOPATH).join("src/github.com/vmware/govmomi/simulator");
    let mut missing = Vec::new();
    if go((1, 0)).is_err() {
        missing.push("golang-go");
    }
    if !library.is_dir() {
        missing.push("golang-github-vmware-govmomi-dev");
    }
    if !missing.is_empty() {
        shell::apt_install(&missing)?;
    }
    let mut go = go((1, 0))?;
    go.args(["build", "-tags", "debian", "-o"])
        .arg(built)
        .arg(".");
    go.current_dir(source());
    go.env("GO111MODULE", "off")
        .env("GOPATH", DEBIAN_GOPATH)
        .env("GOFLAGS", "");
    shell::run(&mut go)
}

/// Where our own command's source is.
fn source() -> PathBuf {
    shell::root().join("xtask/vcsim")
}

/// A Go of at least that version, which is used as it is: no toolchain is fetched.
pub(super) fn go(least: (u32, u32)) -> Result<Command> {
    let places = ["/usr/local/go/bin/go", "/usr/lib/go/bin/go"].map(PathBuf::from);
    let mut older = None;
    for program in shell::on_path("go").into_iter().chain(places) {
        if !shell::is_executable(&program) {
            continue;
        }
        let said = shell::output(
            Command::new(&program)
                .arg("version")
                .env("GOTOOLCHAIN", "local"),
        )?;
        match go_version(&said) {
            Some(version) if version >= least => {
                let mut command = Command::new(program);
                command.env("GOTOOLCHAIN", "local");
                if env::var_os("HOME").is_none() {
                    // Go refuses to build without a place for its cache.
                    command.env("GOCACHE", shell::tools_dir().join("go-cache"));
                }
                return Ok(command);
            }
            _ => older = Some(said.trim().to_owned()),
        }
    }
    match older {
        Some(said) => bail!("`{said}` is older than go {}.{}", least.0, least.1),
        None => bail!("there is no Go here"),
    }
}

/// The version in `go version go1.26.8 linux/amd64`.
fn go_version(said: &str) -> Option<(u32, u32)> {
    let version = said.split_whitespace().find_map(|word| {
        word.strip_prefix("go")
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    })?;
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::go_version;

    #[test]
    fn go_says_its_version_in_several_ways() {
        assert_eq!(go_version("go version go1.26.8 linux/amd64"), Some((1, 26)));
        assert_eq!(go_version("go version go1.19 linux/amd64"), Some((1, 19)));
        assert_eq!(
            go_version("go version go1.27rc1 linux/amd64"),
            Some((1, 27))
        );
        assert_eq!(go_version("go version devel"), None);
    }
}
