//! From the start of `pilot mcp` to its answer to `tools/list`.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::programs::Programs;
use super::report::{Report, Row, median, ms};

/// How often it is started.
const STARTS: usize = 50;
/// The most it may take.
const TIME: Duration = Duration::from_millis(10);
/// The most memory it may hold then, in kB as the kernel counts.
const MEMORY_KB: u64 = 15 * 1024;

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"0"}}}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
const TOOLS: &str = r#"{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{}}"#;

/// One start.
pub(super) struct Start {
    /// Until the list of tools was there.
    pub(super) time: Duration,
    memory_kb: u64,
    children: usize,
}

pub(super) fn measure(programs: &Programs, report: &mut Report) -> Result<()> {
    let pilot = programs.pilot()?;
    // The companion lies beside it, ready to be started too early.
    programs.control()?;
    let home = home()?;

    let first = start(&pilot, home.path())?;
    let (mut times, mut floor) = (Vec::new(), Vec::new());
    let (mut memory_kb, mut children) = (0, 0);
    for _ in 0..STARTS {
        let begun = Instant::now();
        Command::new("/bin/true")
            .status()
            .context("could not start /bin/true")?;
        floor.push(begun.elapsed());
        let start = start(&pilot, home.path())?;
        times.push(start.time);
        memory_kb = start.memory_kb.max(memory_kb);
        children += start.children;
    }
    let (time, floor) = (median(times), median(floor));
    let size = fs::metadata(&pilot)?.len();

    report.table(
        "startup",
        &[
            Row::new(
                format!("start to `tools/list`, median of {STARTS}"),
                ms(time),
                format!(
                    "{} to start `/bin/true`: {:.1} ×",
                    ms(floor),
                    time.as_secs_f64() / floor.as_secs_f64()
                ),
            ),
            Row::new("the very first start", ms(first.time), ""),
            Row::new(
                "memory then (largest VmRSS)",
                format!("{:.1} MB", kb(memory_kb)),
                "",
            ),
            Row::new(
                "the program's file",
                format!("{:.1} MB", kb(size / 1024)),
                "",
            ),
        ],
    );
    report.promise(time < TIME, format!("`tools/list` within {}", ms(TIME)));
    report.promise(
        memory_kb < MEMORY_KB,
        format!("memory after it below {} MB", MEMORY_KB / 1024),
    );
    report.promise(children == 0, "no companion started by it");
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "megabytes to read, with one decimal"
)]
fn kb(kilobytes: u64) -> f64 {
    kilobytes as f64 / 1024.0
}

/// A home for programs, which is refused if others can read it.
pub(super) fn home() -> Result<TempDir> {
    tempfile::Builder::new()
        .prefix("pilothouse-bench-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
        .context("could not make a temporary home")
}

/// Starts `pilot` on a home, hears the list of its tools, and ends it.
pub(super) fn start(pilot: &Path, home: &Path) -> Result<Start> {
    let begun = Instant::now();
    let mut child = Command::new(pilot)
        .arg("mcp")
        .env("PILOTHOUSE_HOME", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("could not start {}", pilot.display()))?;
    let spoken = speak(&mut child);
    let time = begun.elapsed();
    let seen = look(child.id());
    // Its input ends with the pipe, and so does it.
    drop(child.stdin.take());
    child.wait().context("could not wait for `pilot`")?;
    spoken?;
    let (memory_kb, children) = seen?;
    Ok(Start {
        time,
        memory_kb,
        children,
    })
}

/// What a client says until it knows the tools.
fn speak(child: &mut Child) -> Result<()> {
    let mut input = child.stdin.as_ref().context("no standard input")?;
    let mut output = BufReader::new(child.stdout.as_mut().context("no standard output")?);
    let mut line = String::new();
    writeln!(input, "{INITIALIZE}")?;
    output.read_line(&mut line)?;
    writeln!(input, "{INITIALIZED}\n{TOOLS}")?;
    line.clear();
    output.read_line(&mut line)?;
    if !line.contains("\"create_workflow\"") {
        bail!("`pilot` answered `tools/list` with: {}", line.trim());
    }
    Ok(())
}

/// Memory and number of children of a process.
fn look(pid: u32) -> Result<(u64, usize)> {
    let memory = resident_kb(pid)?;
    let parent = format!("PPid:\t{pid}");
    let children = fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok())
        .filter(|status| status.lines().any(|line| line == parent))
        .count();
    Ok((memory, children))
}

/// How much memory a process holds, in kB as the kernel counts.
pub(super) fn resident_kb(pid: u32) -> Result<u64> {
    fs::read_to_string(format!("/proc/{pid}/status"))?
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .trim()
                .strip_suffix("kB")?
                .trim()
                .parse()
                .ok()
        })
        .context("the kernel does not say how much memory it holds")
}
