//! A full disk: nothing is pretended, and it goes on once there is space again.

use std::fs;
use std::process::{Command, Stdio};

use engine::ports::{Journal as _, JournalError};
use home::Home;
use jiff::Timestamp;
use journal::{Journal, Options};
use policy::guarded::AuditSink as _;
use serde_json::json;
use workflow::event::Event;

use crate::common::{arguments, batch, code, created, id, other_process, place, undo_failed};

/// An event of about so many bytes.
fn large(bytes: usize) -> Event {
    let Event::UndoFailed { step, .. } = undo_failed("a") else {
        unreachable!("made above")
    };
    Event::UndoFailed {
        step,
        why: "x".repeat(bytes),
    }
}

/// Appends until the store is full, and returns how many events were acknowledged.
async fn fill_up(journal: &Journal, from: u64) -> (u64, JournalError) {
    for seq in from.. {
        let event = if seq == 1 {
            created(&id("one"))
        } else {
            large(3000)
        };
        if let Err(error) = journal.append(batch(&id("one"), seq, vec![event])).await {
            return (seq - 1, error);
        }
    }
    unreachable!("the numbers do not end")
}

#[tokio::test]
async fn p18_a_full_store_loses_nothing_and_goes_on_with_space() {
    let place = place();
    let options = Options {
        max_pages: Some(60),
        ..Options::default()
    };
    let journal = Journal::open_with(&place.home, &options).unwrap();
    let (acknowledged, error) = fill_up(&journal, 1).await;
    assert_eq!(code(&error), "store.full");
    assert!(error.to_string().starts_with("Free some space"), "{error}");
    assert!(acknowledged > 5, "{acknowledged}");
    assert_eq!(journal.last_seq(&id("one")).await.unwrap(), acknowledged);
    drop(journal);
    let journal = place.open();
    assert_eq!(
        journal.load(&id("one")).await.unwrap().len() as u64,
        acknowledged
    );
    let verified = journal.verify().await.unwrap();
    assert_eq!((verified.broken, verified.rows), (None, acknowledged));
    journal
        .append(batch(&id("one"), acknowledged + 1, vec![large(3000)]))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_is_too_large_for_the_disk_does_not_take_the_others_with_it() {
    let place = place();
    let options = Options {
        max_pages: Some(60),
        ..Options::default()
    };
    let journal = Journal::open_with(&place.home, &options).unwrap();
    let held = place.home.lock("journal").unwrap();
    let first = |n: &str, event| journal.append(batch(&id(n), 1, vec![event]));
    let (small, huge, other) = (
        first("a", undo_failed("a")),
        first("b", large(1_000_000)),
        first("c", undo_failed("a")),
    );
    drop(held);
    assert_eq!(small.await, Ok(()));
    assert_eq!(code(&huge.await.unwrap_err()), "store.full");
    assert_eq!(other.await, Ok(()));
    assert_eq!(journal.verify().await.unwrap().rows, 2);
}

/// On a disk of its own of 1 MiB.
#[tokio::test]
#[ignore = "a role that another test starts"]
async fn role_on_a_small_disk() {
    let root = arguments()["home"].as_str().unwrap().to_owned();
    let home = Home::open(&root).unwrap();
    let journal = Journal::open(&home).unwrap();
    let (acknowledged, error) = fill_up(&journal, 1).await;
    assert_eq!(code(&error), "store.full", "{error}");
    assert!(acknowledged > 5, "{acknowledged}");
    let sink = journal.sink(Timestamp::now);
    assert_eq!(sink.ready().await.unwrap_err().code(), "audit.full");

    // Filled up to the last byte.
    let filler = format!("{root}/filler");
    while fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(&filler)
        .is_ok_and(|mut file| std::io::Write::write_all(&mut file, &[0; 512]).is_ok())
    {}
    for _ in 0..3 {
        let next = batch(&id("one"), acknowledged + 1, vec![large(3000)]);
        assert_eq!(code(&journal.append(next).await.unwrap_err()), "store.full");
        let recorded = sink
            .record("call", "os:alice", None, json!({"tool": "x".repeat(9000)}))
            .await;
        assert_eq!(recorded.unwrap_err().code(), "audit.full");
    }
    assert_eq!(journal.last_seq(&id("one")).await.unwrap(), acknowledged);
    drop((journal, sink));

    // Opening and reading need next to nothing; where even that is not there, it is said.
    match Journal::open(&home) {
        Ok(journal) => assert_eq!(journal.last_seq(&id("one")).await.unwrap(), acknowledged),
        Err(error) => assert_eq!(error.code(), "store.full", "{error}"),
    }
    fs::remove_file(filler).unwrap();
    let journal = Journal::open(&home).unwrap();
    assert_eq!(
        journal.load(&id("one")).await.unwrap().len() as u64,
        acknowledged
    );
    assert_eq!(journal.verify().await.unwrap().broken, None);
}

/// On a disk with no space at all from the beginning.
#[tokio::test]
#[ignore = "a role that another test starts"]
async fn role_on_a_full_disk() {
    let root = arguments()["home"].as_str().unwrap().to_owned();
    let home = Home::open(format!("{root}/home")).unwrap();
    let filler = format!("{root}/filler");
    // The last write is cut short.
    let _ = fs::write(&filler, vec![0; 2 << 20]);
    assert_eq!(Journal::open(&home).unwrap_err().code(), "store.full");
    assert!(!home.pilot_db().exists(), "half a database was left");
    fs::remove_file(filler).unwrap();
    let journal = Journal::open(&home).unwrap();
    journal
        .append(batch(&id("one"), 1, vec![created(&id("one"))]))
        .await
        .unwrap();
}

/// Runs a role with a file system of 1 MiB as its home. A mount of its own name space needs rights
/// that not every machine gives; the tests above do not need them.
pub(crate) fn on_a_small_disk(role: &str) {
    let unshare = |command: &mut Command| {
        command
            .stdin(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if !unshare(Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "none", "/mnt"])) {
        eprintln!("not run: this machine does not let a test mount a file system of its own");
        return;
    }
    let disk = tempfile::TempDir::new().unwrap();
    let child = other_process(role, &json!({"home": disk.path()}));
    let mut command = Command::new("unshare");
    command.args([
        "-rm",
        "sh",
        "-c",
        r#"mount -t tmpfs -o size=1m,mode=0700 none "$0" && exec "$@""#,
    ]);
    command
        .arg(disk.path())
        .arg(child.get_program())
        .args(child.get_args());
    command.envs(
        child
            .get_envs()
            .filter_map(|(key, value)| Some((key, value?))),
    );
    assert!(unshare(&mut command), "{role} failed, see above");
}

#[test]
fn p18_a_disk_that_fills_up_is_said_and_loses_nothing() {
    on_a_small_disk("full::role_on_a_small_disk");
}

#[test]
fn a_disk_that_is_full_from_the_beginning_leaves_no_half_database() {
    on_a_small_disk("full::role_on_a_full_disk");
}
