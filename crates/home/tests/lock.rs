//! Locks exclude each other, within a process and between processes, and die with their holder.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use home::{Home, Lock, LockFile};
use tempfile::TempDir;

#[test]
fn a_held_lock_is_not_given_twice() {
    let dir = TempDir::new().unwrap();
    let home = Home::open(dir.path().join("home")).unwrap();
    let held = home.lock("journal").unwrap();
    assert!(home.try_lock("journal").unwrap().is_none());
    assert!(home.try_lock("other").unwrap().is_some());
    assert_eq!(
        fs::metadata(held.path()).unwrap().permissions().mode() & 0o777,
        0o600
    );
    drop(held);
    assert!(home.try_lock("journal").unwrap().is_some());
}

#[test]
fn a_lock_whose_file_is_kept_open_excludes_the_others_and_itself() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("l");
    let (mut one, mut two) = (
        LockFile::open(&path).unwrap(),
        LockFile::open(&path).unwrap(),
    );
    for _ in 0..3 {
        let held = one.try_lock().unwrap();
        assert!(held.is_some());
        assert!(one.try_lock().unwrap().is_none());
        assert!(two.try_lock().unwrap().is_none());
        assert!(Lock::try_lock(&path).unwrap().is_none());
        drop(held);
        let held = two.try_lock().unwrap();
        assert!(held.is_some());
        assert!(one.try_lock().unwrap().is_none());
        drop(held);
        let other = Lock::try_lock(&path).unwrap();
        assert!(other.is_some());
        assert!(one.try_lock().unwrap().is_none());
    }
    // The lock outlives the one who took it.
    let held = one.try_lock().unwrap();
    drop(one);
    assert!(two.try_lock().unwrap().is_none());
    drop(held);
    assert!(two.try_lock().unwrap().is_some());
}

#[test]
fn waiting_ends_at_the_bound_or_as_soon_as_the_lock_is_free() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("l");
    let held = Lock::lock(&path).unwrap();
    let start = Instant::now();
    assert!(
        Lock::lock_within(&path, Duration::from_millis(60))
            .unwrap()
            .is_none()
    );
    assert!(start.elapsed() >= Duration::from_millis(60));
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| Lock::lock_within(&path, Duration::from_secs(60)).unwrap());
        drop(held);
        assert!(waiter.join().unwrap().is_some());
    });
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "it did not wait for the bound"
    );
}

#[test]
fn only_one_of_many_is_inside_at_a_time() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("l");
    let (inside, most, turns) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for i in 0..8 {
            let (path, inside, most, turns) = (&path, &inside, &most, &turns);
            scope.spawn(move || {
                for _ in 0..20 {
                    let lock = if i % 2 == 0 {
                        Lock::lock(path).unwrap()
                    } else {
                        Lock::lock_within(path, Duration::from_secs(60))
                            .unwrap()
                            .unwrap()
                    };
                    most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    turns.fetch_add(1, Ordering::SeqCst);
                    drop(lock);
                }
            });
        }
    });
    assert_eq!(turns.into_inner(), 160);
    assert_eq!(most.into_inner(), 1);
}

/// Not a test of its own: the process that the next test starts and kills.
#[test]
fn child_that_holds_a_lock() {
    let Some(path) = std::env::var_os("HOME_TEST_LOCK") else {
        return;
    };
    let _held = Lock::lock(path.as_ref()).unwrap();
    eprintln!("held");
    // Until it is killed, or its parent is gone.
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn p18_a_killed_process_frees_its_lock() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("l");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_holds_a_lock", "--nocapture"])
        .env("HOME_TEST_LOCK", &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "held"));
    assert!(Lock::try_lock(&path).unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(Lock::try_lock(&path).unwrap().is_some());
}
