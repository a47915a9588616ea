//! Paths of this repository, and running other programs.

use std::env;
use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    // Cargo sets the variable for `cargo run`; the compiled-in value serves a
    // binary that somebody starts by hand.
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Where Cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// Where the tools lie that the set-up fetched: always in the workspace
/// itself, so that builds into other directories share them.
pub(crate) fn tools_dir() -> PathBuf {
    root().join("target/tools")
}

/// Cargo, in the workspace, with standard input closed: nothing here asks.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// Says what is run, runs it, and fails unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", display(command));
    succeed(command)
}

/// Runs it without a word, and fails unless it succeeds.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("could not start `{}`", display(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", display(command));
    }
    Ok(())
}

/// Like [`run`], and on Ctrl-C ends the command and all that it started.
pub(crate) fn run_to_its_end(command: &mut Command) -> Result<()> {
    println!("$ {}", display(command));
    let shown = display(command);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // A group of its own, so that one signal reaches all of it.
    command.process_group(0);
    let mut child = command
        .spawn()
        .with_context(|| format!("could not start `{shown}`"))?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let ended = runtime.block_on(async {
        let waiting = tokio::task::spawn_blocking(move || child.wait());
        tokio::pin!(waiting);
        tokio::select! {
            status = &mut waiting => status?.map(Some),
            heard = interrupted() => {
                for signal in [Signal::TERM, Signal::KILL] {
                    if let Some(group) = group {
                        // It may have ended already.
                        let _ = kill_process_group(group, signal);
                    }
                    if tokio::time::timeout(END, &mut waiting).await.is_ok() {
                        break;
                    }
                }
                heard.map(|()| None).map_err(std::io::Error::other)
            }
        }
    })?;
    match ended {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("`{shown}` failed ({status})"),
        None => bail!("interrupted; everything was cleaned up"),
    }
}

/// How long what is interrupted may take to end.
const END: Duration = Duration::from_secs(5);

/// Waits for Ctrl-C or SIGTERM.
pub(crate) async fn interrupted() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}

/// Runs a command quietly and returns what it wrote to standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let out = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("could not start `{}`", display(command)))?;
    if !out.status.success() {
        bail!(
            "`{}` failed ({})\n{}",
            display(command),
            out.status,
            String::from_utf8_lossy(&out.stderr).trim_end()
        );
    }
    String::from_utf8(out.stdout).with_context(|| format!("`{}` wrote no UTF-8", display(command)))
}

/// A command as a person would type it.
fn display(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program());
    std::iter::once(name)
        .chain(command.get_args())
        .map(|part| part.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The first executable of that name on PATH.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|dir| dir.join(name))
        .find(|file| is_executable(file))
}

/// Whether there is an executable file at that path.
pub(crate) fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Whether this process may install packages without asking anybody.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Installs Debian packages if that is possible here.
pub(crate) fn apt_install(packages: &[&str]) -> Result<()> {
    if on_path("apt-get").is_none() {
        bail!(
            "there is no apt-get here to install {} with",
            packages.join(", ")
        );
    }
    if !is_root() {
        bail!(
            "install {} first: `sudo apt-get install {}`",
            packages.join(", "),
            packages.join(" ")
        );
    }
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            // Another apt may be at work: wait for it instead of failing.
            .args(["-qq", "-o", "DPkg::Lock::Timeout=300"])
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    };
    // An index that cannot be refreshed may still be good enough to install from.
    if let Err(error) = run(&mut apt(&["update"])) {
        println!("  {error:#}; going on with the package lists that are here");
    }
    let mut install = apt(&["install", "--yes", "--no-install-recommends"]);
    run(install.args(packages.iter().map(OsStr::new)))
}
