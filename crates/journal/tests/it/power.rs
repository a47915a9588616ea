//! Losing the power: what was acknowledged is there, and nothing is there by half.
//!
//! Ending a process does not show this, since the system keeps what was written. Here a real run is
//! recorded, call by call, and cut at each sync and between them. Of each file what was synced is
//! kept, and of what was written since, nothing, all, or any part: whole writes, or sectors of 512
//! bytes, so that a write may be torn, come late or get lost behind one that came after it. Of the
//! entries of directories any first part of what was not synced is kept: file systems with a journal
//! keep their order.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use engine::ports::{Batch, Hold, Journal as _, JournalError};
use home::Home;
use journal::Journal;
use serde_json::json;
use workflow::event::Event;

use crate::common::{NOW, arguments, batch, created, id, other_process, undo_failed};
use crate::disk::{Disk, Loss, Random};
use crate::trace::{Done, record};

const DAY: i64 = 86_400_000;

/// All batches have so many events: any other number is a half.
const EVENTS: u64 = 3;

fn next(name: &str, number: u64, bytes: usize) -> Batch {
    let from = number * EVENTS + 1;
    let mut events: Vec<Event> = (0..EVENTS).map(|n| undo_failed(&n.to_string())).collect();
    if number == 0 {
        events[0] = created(&id(name));
    }
    let mut batch = batch(&id(name), from, events);
    batch.steps = vec![crate::common::step(number % 3, "running")];
    // What makes it large need not be hashed again and again.
    batch.steps[0].error = Some("x".repeat(bytes));
    batch
}

/// Says that something is durable, where the trace sees it.
struct Acks(fs::File);

impl Acks {
    fn say(&mut self, what: &str) {
        self.0.write_all(format!("{what}\n").as_bytes()).unwrap();
    }
}

/// Opens a new home, and does there all that a journal does.
#[tokio::test]
#[ignore = "a role that another test starts"]
async fn role_run() {
    let home = Home::open(arguments()["home"].as_str().unwrap()).unwrap();
    let mut acks = Acks(fs::File::create_new(home.root().join("acks")).unwrap());
    let journal = Journal::open(&home).unwrap();
    // One after the other, and many at once.
    for (name, number) in [("a", 0), ("b", 0), ("a", 1)] {
        journal.append(next(name, number, 0)).await.unwrap();
        acks.say(&format!("{name} {number}"));
    }
    let names: Vec<String> = (0..5).map(|n| format!("many{n}")).collect();
    for number in 0..4 {
        let held = home.lock("journal").unwrap();
        let appends: Vec<_> = names
            .iter()
            .map(|name| journal.append(next(name, number, 0)))
            .collect();
        drop(held);
        for (append, name) in appends.into_iter().zip(&names) {
            append.await.unwrap();
            acks.say(&format!("{name} {number}"));
        }
    }
    let mut holding = next("b", 1, 0);
    holding.hold = Hold::Take(["f".repeat(64)].into());
    journal.append(holding).await.unwrap();
    acks.say("b 1");
    acks.say("hold b");
    // The log outgrows its bound, is written into the database, and begun anew.
    for number in 2..14 {
        let mut large = next("a", number, 400_000);
        large.steps[0].index = number;
        journal.append(large).await.unwrap();
        acks.say(&format!("a {number}"));
    }
    for number in 2..6 {
        journal.append(next("b", number, 0)).await.unwrap();
        acks.say(&format!("b {number}"));
    }
    for name in &names {
        let mut last = next(name, 4, 0);
        last.row.state = "completed".to_owned();
        journal.append(last).await.unwrap();
        acks.say(&format!("{name} 4"));
    }
    acks.say("archiving");
    let done = journal.archive(DAY, NOW + 2 * DAY, false).await.unwrap();
    assert_eq!((done.workflows, done.files.len()), (5, 1));
    acks.say("archived");
    for number in 6..9 {
        journal.append(next("b", number, 0)).await.unwrap();
        acks.say(&format!("b {number}"));
    }
    // Closed, opened again, and on.
    drop(journal);
    acks.say("closed");
    let journal = Journal::open(&home).unwrap();
    for number in 9..12 {
        journal.append(next("b", number, 0)).await.unwrap();
        acks.say(&format!("b {number}"));
    }
}

/// What was acknowledged up to a moment.
#[derive(Clone, Default, Debug)]
struct Acknowledged {
    /// The last event of each workflow.
    events: BTreeMap<String, u64>,
    held: bool,
    archiving: bool,
    archived: bool,
}

impl Acknowledged {
    fn hear(&mut self, line: &str) {
        match line.split_once(' ') {
            Some(("hold", _)) => self.held = true,
            Some((name, number)) => {
                let number: u64 = number.parse().unwrap();
                self.events.insert(name.to_owned(), (number + 1) * EVENTS);
            }
            None if line == "archiving" => self.archiving = true,
            None if line == "archived" => self.archived = true,
            None => {}
        }
    }

    /// Opens what is on the disk, and looks for what must be there. Tells whether it found the
    /// workflows archived.
    async fn check(&self, home: &Home) -> bool {
        let journal = Journal::open(home).unwrap_or_else(|e| panic!("{}: {e}", e.code()));
        let mut archived = 0;
        for (name, last) in &self.events {
            let stored = journal.last_seq(&id(name)).await.unwrap();
            assert!(stored >= *last, "{name} has {stored} events of {last}");
            match journal.load(&id(name)).await {
                Ok(events) => assert_eq!(events.len() as u64, stored, "{name}"),
                Err(JournalError::Archived { file }) => {
                    assert!(self.archiving && name.starts_with("many"), "{name}");
                    let found = journal.verify_archive(&file).await.unwrap();
                    assert_eq!(found.workflows, 5);
                    archived += 1;
                }
                Err(error) => panic!("{name}: {error}"),
            }
        }
        // All or none.
        assert!(
            archived == 0 && !self.archived || archived == 5,
            "{archived}"
        );
        let (listed, total) = journal.list(vec![], None, 99).await.unwrap();
        assert_eq!(listed.len() as u64, total);
        for listed in &listed {
            let stored = journal.last_seq(&listed.workflow).await.unwrap();
            assert!(stored > 0 && stored % EVENTS == 0, "{stored} of {listed:?}");
        }
        let held = journal.holders(["f".repeat(64)].into()).await.unwrap();
        assert!(!self.held || held.len() == 1);
        // And it goes on.
        let stored = journal.last_seq(&id("b")).await.unwrap();
        journal.append(next("b", stored / EVENTS, 0)).await.unwrap();
        if self.archiving {
            let again = journal.archive(DAY, NOW + 2 * DAY, false).await.unwrap();
            assert_eq!(again.workflows, 5 - archived);
            assert!(again.strays.len() <= 1);
        }
        let verified = journal.verify().await.unwrap();
        assert_eq!(verified.broken, None);
        archived == 5
    }
}

/// What tells one disk from another.
fn print(files: &BTreeMap<PathBuf, Option<Vec<u8>>>) -> Vec<(PathBuf, Option<String>)> {
    files
        .iter()
        .map(|(path, bytes)| {
            let digest = bytes.as_deref().map(guard::digest::sha256_hex);
            (path.clone(), digest)
        })
        .collect()
}

/// A call as a line that says which one it is.
fn short(done: &Done, home: &Path) -> String {
    match done {
        Done::Write(path, at, bytes) => {
            let path = path.strip_prefix(home).unwrap();
            format!("{} bytes to {path:?} at {at:?}", bytes.len())
        }
        other => format!("{other:?}"),
    }
}

/// Puts the files of a recorded home into another.
fn put(files: &BTreeMap<PathBuf, Option<Vec<u8>>>, from: &Path, to: &Path) {
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700).create(to).unwrap();
    for (path, bytes) in files {
        let path = to.join(path.strip_prefix(from).unwrap());
        match bytes {
            None => builder.create(path).unwrap(),
            Some(bytes) => {
                use std::os::unix::fs::OpenOptionsExt as _;
                let mut options = fs::OpenOptions::new();
                options.write(true).create_new(true).mode(0o600);
                // Its directory may not have been kept.
                if let Ok(mut file) = options.open(path) {
                    file.write_all(bytes).unwrap();
                }
            }
        }
    }
}

/// The index of the log is made anew after a crash, and locks and owners need not be durable.
fn matters(done: &Done, acks: &Path) -> bool {
    let (Done::Create(path)
    | Done::Mkdir(path)
    | Done::Rename(path, _)
    | Done::Unlink(path)
    | Done::Write(path, ..)
    | Done::Truncate(path, _)
    | Done::Sync(path)) = done;
    let text = path.to_str().unwrap();
    path != acks
        && !text.ends_with("-shm")
        && !text.contains("/locks")
        && !text.contains("(deleted)")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p18_what_was_acknowledged_survives_a_loss_of_power_at_any_moment() {
    let long = std::env::var_os("PILOTHOUSE_TEST_LONG").is_some();
    let seed = std::env::var("PILOTHOUSE_TEST_SEED").map_or(7, |seed| seed.parse().unwrap());
    eprintln!("seed {seed}, long {long}");
    let recorded = tempfile::TempDir::new().unwrap();
    let home = recorded.path().canonicalize().unwrap().join("home");
    drop(Home::open(&home).unwrap());
    let role = other_process("power::role_run", &json!({"home": home}));
    let trace = record(&role, &home);

    // Where files need no disk, the many small ones are made faster.
    let memory = Path::new("/dev/shm");
    let place = tempfile::TempDir::new_in(memory).or_else(|_| tempfile::TempDir::new());
    let place = place.unwrap();
    let acks = home.join("acks");
    let mut random = Random(seed + 1);
    let (mut disk, mut acknowledged) = (Disk::default(), Acknowledged::default());
    let (mut cuts, mut images, mut same, mut archived) = (0, 0, 0, 0);
    let mut seen = HashSet::new();
    for (number, done) in trace.iter().enumerate() {
        match done {
            Done::Write(path, _, bytes) if *path == acks => {
                let text = String::from_utf8(bytes.clone()).unwrap();
                text.lines().for_each(|line| acknowledged.hear(line));
                continue;
            }
            done if !matters(done, &acks) => continue,
            _ => {}
        }
        // Right before each sync most can be lost; between them a part of it.
        let (is_sync, is_write) = (
            matches!(done, Done::Sync(_)),
            matches!(done, Done::Write(..)),
        );
        let rare = acknowledged.events.len() >= 7 && !acknowledged.archiving;
        let one_of = match (long, is_sync || !is_write, rare) {
            (true, true, _) | (false, true, false) => 1,
            (true, false, _) => 12,
            (false, true, true) => 4,
            (false, false, false) => 40,
            (false, false, true) => 150,
        };
        if disk.is_dirty() && random.below(one_of) == 0 {
            cuts += 1;
            let mut losses = vec![Loss::All, Loss::Nothing];
            for _ in 0..if long { 6 } else { 1 } {
                losses.extend([Loss::Writes, Loss::Sectors]);
            }
            for loss in losses {
                let files = disk.after(loss, &mut random);
                if !seen.insert(print(&files)) {
                    same += 1;
                    continue;
                }
                images += 1;
                let root = place.path().join("home");
                put(&files, &home, &root);
                let checked = Home::open(&root).unwrap();
                eprintln!("cut {number} before {}, {loss:?}", short(done, &home));
                archived += u64::from(acknowledged.check(&checked).await);
                fs::remove_dir_all(&root).unwrap();
            }
        }
        disk.apply(done);
    }
    eprintln!(
        "{} calls recorded, {cuts} cuts, {images} disks checked ({same} more were the same), \
         {archived} with the workflows archived",
        trace.len()
    );
    assert!(acknowledged.archived && acknowledged.held && acknowledged.events.len() == 7);
    let folded = trace
        .iter()
        .any(|done| matches!(done, Done::Write(path, ..) if path.ends_with("pilot.db")));
    assert!(folded, "the log was never written into the database");
    assert!(cuts > 30 && images > 60 && archived > 0 && archived < images);
}
