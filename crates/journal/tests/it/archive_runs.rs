//! Archiving beside others, in little memory, and without space.

use std::fs;

use engine::ports::Journal as _;
use home::Home;
use journal::{Journal, verify_archive};
use serde_json::{Value, json};

use crate::archive::{DAY, LATER, files, store, store_events};
use crate::common::{Killed, arguments, batch, code, id, other_process, place, undo_failed};

/// Archives what is there, at the same moment as another process.
#[tokio::test]
#[ignore = "a role that another test starts"]
async fn role_archive() {
    let home = Home::open(arguments()["home"].as_str().unwrap()).unwrap();
    let journal = Journal::open(&home).unwrap();
    fs::File::open(arguments()["start"].as_str().unwrap())
        .unwrap()
        .lock_shared()
        .unwrap();
    let done = journal.archive(DAY, LATER, false).await.unwrap();
    let out = home.root().join(format!("done-{}", std::process::id()));
    fs::write(out, done.events.to_string()).unwrap();
}

#[tokio::test]
async fn p18_two_processes_that_archive_at_once_archive_everything_once() {
    let place = place();
    let journal = place.open();
    for n in 0..50 {
        store(&journal, &n.to_string(), "completed", 20).await;
    }
    let start = place.home.root().join("start");
    let barrier = fs::File::create(&start).unwrap();
    barrier.lock().unwrap();
    let arguments = json!({"home": place.home.root(), "start": start});
    let mut children: Vec<_> = (0..2)
        .map(|_| {
            Killed(
                other_process("archive_runs::role_archive", &arguments)
                    .spawn()
                    .unwrap(),
            )
        })
        .collect();
    drop(barrier);
    // Meanwhile another workflow goes on.
    store(&journal, "busy", "running", 1).await;
    for seq in 2..40 {
        let next = batch(&id("busy"), seq, vec![undo_failed("a")]);
        journal.append(next).await.unwrap();
    }
    for child in &mut children {
        assert!(child.0.wait().unwrap().success());
    }
    let done: Vec<u64> = fs::read_dir(place.home.root())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().contains("done-"))
        .map(|path| fs::read_to_string(path).unwrap().parse().unwrap())
        .collect();
    assert_eq!((done.len(), done.iter().sum::<u64>()), (2, 1000));
    let archives = journal.archives().await.unwrap();
    assert_eq!(archives.iter().map(|file| file.events).sum::<u64>(), 1000);
    assert_eq!(files(&place).len(), archives.len());
    for file in archives {
        journal.verify_archive(&file.file).await.unwrap();
    }
    let verified = journal.verify().await.unwrap();
    assert_eq!(
        (verified.broken, verified.archived, verified.events),
        (None, 1000, 39)
    );
}

/// The most memory that this process ever had, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
#[ignore = "a role that another test starts"]
async fn role_archive_much() {
    let home = Home::open(arguments()["home"].as_str().unwrap()).unwrap();
    let journal = Journal::open(&home).unwrap();
    let (workflows, each) = match arguments()["long"] {
        Value::Bool(true) => (100, 1000),
        _ => (8, 500),
    };
    // What a first archive needs, any number of events needs.
    let text = "x".repeat(2000);
    store_events(&journal, "warm", "completed", each, &text).await;
    journal.archive(DAY, LATER, false).await.unwrap();
    for n in 0..workflows {
        store_events(&journal, &n.to_string(), "completed", each, &text).await;
    }
    let before = peak();
    let start = std::time::Instant::now();
    let done = journal.archive(DAY, LATER, false).await.unwrap();
    let took = start.elapsed();
    // The kernel counts by processor, in batches: what is read later may be some pages less.
    let grown = peak().saturating_sub(before);
    let events = workflows * each as u64;
    assert_eq!((done.workflows, done.events), (workflows, events));
    assert_eq!(done.files.len() as u64, events.div_ceil(20_000));
    let sizes = |file: &journal::ArchiveFile| {
        let path = home.root().join("archive").join(&file.file);
        verify_archive(&path).unwrap();
        fs::metadata(path).unwrap().len()
    };
    let bytes: u64 = done.files.iter().map(sizes).sum();
    // SQLite's caches fill up, and nothing grows with the number of events.
    let enough = bytes > 8 * 1024 * 1024 && grown < 4 * 1024;
    assert!(enough, "{grown} KiB, {bytes} bytes");
    let verified = journal.verify().await.unwrap();
    assert_eq!(
        (verified.broken, verified.archived),
        (None, events + each as u64)
    );
    eprintln!("{events} events archived in {took:?}, {bytes} bytes, {grown} KiB more memory");
}

#[test]
fn many_events_are_archived_in_little_memory() {
    let place = place();
    let long = std::env::var_os("PILOTHOUSE_TEST_LONG").is_some();
    let arguments = json!({"home": place.home.root(), "long": long});
    let mut child = Killed(
        other_process("archive_runs::role_archive_much", &arguments)
            .spawn()
            .unwrap(),
    );
    assert!(child.0.wait().unwrap().success());
}

/// On a disk of its own of 1 MiB.
#[tokio::test]
#[ignore = "a role that another test starts"]
async fn role_archive_on_a_small_disk() {
    let root = arguments()["home"].as_str().unwrap().to_owned();
    let home = Home::open(&root).unwrap();
    let journal = Journal::open(&home).unwrap();
    for n in 0..8 {
        store(&journal, &n.to_string(), "completed", 20).await;
    }
    let dir = home.root().join("archive");
    let mut refused = 0;
    let filler = format!("{root}/filler");
    // Ever less is left, so that it fails in the file, and then in the database.
    for left in [0, 8, 16, 32, 64, 80, 96, 112, 128, 160, 200, 256] {
        while fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&filler)
            .is_ok_and(|mut file| std::io::Write::write_all(&mut file, &[0; 512]).is_ok())
        {}
        let size = fs::metadata(&filler).unwrap().len();
        fs::OpenOptions::new()
            .write(true)
            .open(&filler)
            .unwrap()
            .set_len(size.saturating_sub(left * 1024))
            .unwrap();
        match journal.archive(DAY, LATER, false).await {
            Err(error) => {
                assert_eq!(code(&error), "store.full", "{error}");
                refused += 1;
                assert_eq!(journal.load(&id("3")).await.unwrap().len(), 20);
                let verified = journal.verify().await.unwrap();
                assert_eq!((verified.broken, verified.events), (None, 160));
                // A file that was whole is told the next time; the operator removes it.
                for entry in fs::read_dir(&dir).into_iter().flatten() {
                    let path = entry.unwrap().path();
                    assert_eq!(verify_archive(&path).unwrap().events, 160);
                    fs::remove_file(path).unwrap();
                }
            }
            Ok(done) => {
                assert!(refused > 0);
                assert_eq!(done.events, 160, "with {left} KiB left");
                let verified = journal.verify().await.unwrap();
                assert_eq!((verified.broken, verified.archived), (None, 160));
                eprintln!("refused {refused} times, archived with {left} KiB left");
                return;
            }
        }
    }
    panic!("never archived");
}

#[test]
fn p18_a_full_disk_refuses_an_archive_and_loses_nothing() {
    crate::full::on_a_small_disk("archive_runs::role_archive_on_a_small_disk");
}
