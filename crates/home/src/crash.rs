//! Where the process may end as by SIGKILL, so that it can be shown what a sudden end leaves behind.
//!
//! Only in a build that was made for it (feature `crash-points`), which can be no release. In any
//! other build [`point`] is empty, and nothing reads the environment.

#[cfg(all(feature = "crash-points", not(debug_assertions)))]
compile_error!("`crash-points` ends the process on purpose: it is for debug builds only");

/// The environment variable that says where the process ends: `<name>:<n>`, the n-th time that the
/// point is reached. The process says the same on standard error right before.
pub const VARIABLE: &str = "PILOTHOUSE_CRASH_AT";

/// Every point that there is. `cargo xtask tidy` compares it with the sources, and
/// `cargo xtask chaos --points` ends the process at each of them.
pub const POINTS: &[&str] = &[
    "companions.answered",
    "companions.before_write",
    "companions.started",
    "companions.written",
    "journal.before_commit",
    "journal.before_transaction",
    "journal.claim",
    "journal.committed",
    "journal.release",
    "pilot.before_answer",
    "pilot.end",
    "pilot.settled",
];

/// The process may end here.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub const fn point(_name: &'static str) {}

/// The process ends here, if it was told so: at once, with nothing dropped, flushed or unlocked
/// but by the system.
#[cfg(feature = "crash-points")]
pub fn point(name: &'static str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static AT: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static REACHED: AtomicU64 = AtomicU64::new(0);
    debug_assert!(POINTS.contains(&name), "{name} is not in the table");
    let at = AT.get_or_init(|| {
        let told = std::env::var(VARIABLE).ok()?;
        let (name, count) = told.split_once(':')?;
        Some((name.to_owned(), count.parse().ok()?))
    });
    let Some((wanted, count)) = at else { return };
    if wanted == name && REACHED.fetch_add(1, Ordering::SeqCst) + 1 == *count {
        eprintln!("{VARIABLE}={name}:{count}");
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // The system is about to end this thread as well.
        loop {
            std::thread::park();
        }
    }
}
