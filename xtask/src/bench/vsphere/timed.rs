//! A program that is run once, from its start to its end: how long, how much, and what it said.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often the memory of a program is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// Linux counts the time of processes in hundredths of a second, whatever its own clock.
const TICK: Duration = Duration::from_millis(10);

/// One run.
pub(super) struct Timed {
    pub(super) wall: Duration,
    /// On a processor, to a hundredth of a second.
    pub(super) processor: Duration,
    /// The most memory that was seen (VmHWM): a program that ends right after its peak held more.
    pub(super) peak_kb: u64,
    /// Standard error.
    pub(super) said: String,
}

/// Runs it with its standard output thrown away. It must succeed.
pub(super) fn run(command: &mut Command) -> Result<Timed> {
    let name = super::file_name(command.get_program().as_ref());
    let before = children_ticks()?;
    let begun = Instant::now();
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start {name}"))?;
    let (over, peak) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let (watched, seen, pid) = (Arc::clone(&over), Arc::clone(&peak), child.id());
    let watch = thread::spawn(move || {
        while !watched.load(Ordering::Relaxed) {
            if let Some(kb) = peak_kb(pid) {
                seen.fetch_max(kb, Ordering::Relaxed);
            }
            thread::sleep(LOOK);
        }
    });
    let out = child.wait_with_output();
    let wall = begun.elapsed();
    over.store(true, Ordering::Relaxed);
    // A thread that only reads a file cannot fail.
    let _ = watch.join();
    let out = out.with_context(|| format!("could not wait for {name}"))?;
    let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
    if !out.status.success() {
        bail!("{name} failed ({}): {said}", out.status);
    }
    let ticks = children_ticks()?.saturating_sub(before);
    Ok(Timed {
        wall,
        processor: TICK * u32::try_from(ticks).unwrap_or(u32::MAX),
        peak_kb: peak.load(Ordering::Relaxed),
        said,
    })
}

/// The time of all children that have ended, of the system and their own.
fn children_ticks() -> Result<u64> {
    let stat = fs::read_to_string("/proc/self/stat").context("the kernel tells no times")?;
    children_in(&stat).context("the kernel tells no times of children")
}

/// `cutime` and `cstime` of `/proc/<pid>/stat`: the name of the program may hold spaces.
fn children_in(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(13);
    let own: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(own + system)
}

/// The most memory that a running process held so far.
pub(super) fn peak_kb(pid: u32) -> Option<u64> {
    peak_in(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn peak_in(status: &str) -> Option<u64> {
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB"))?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{children_in, peak_in, run};

    #[test]
    fn times_and_memory_are_read_from_what_the_kernel_writes() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 1 2 3 4 50 60 70 80 20 0 1 0 100 0 0";
        assert_eq!(children_in(stat), Some(150));
        assert_eq!(children_in("7 no"), None);
        assert_eq!(
            peak_in("Name:\tx\nVmHWM:\t    9876 kB\nVmRSS:\t 5 kB\n"),
            Some(9876)
        );
        assert_eq!(peak_in("Name:\tx\n"), None);
    }

    #[test]
    fn a_program_that_fails_is_no_measurement() -> anyhow::Result<()> {
        let said = run(Command::new("sh").args(["-c", "echo heard >&2"]))?;
        assert_eq!(said.said, "heard");
        assert!(said.wall.as_nanos() > 0);
        let failed = run(Command::new("sh").args(["-c", "echo why >&2; exit 3"]));
        assert!(failed.is_err_and(|error| error.to_string().contains("why")));
        Ok(())
    }
}
