//! The n-th call of the system fails, once and for ever after, for n = 1, 2, … until a run passes
//! without meeting it: nothing that was acknowledged is lost, nothing that was refused is there, and
//! the journal says what is wrong and goes on.
//!
//! `strace` makes the calls fail, and counts those of each thread for itself. Not among them is
//! `fcntl`, with which SQLite locks: it only fails where locks do not work at all.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use engine::ports::{Hold, Journal as _, JournalError};
use home::Home;
use journal::{Journal, Options};
use serde_json::json;

use crate::common::{Killed, NOW, arguments, batch, code, created, id, other_process, undo_failed};
use crate::trace::traced;

const DAY: i64 = 86_400_000;

/// Two events each.
fn next(name: &str, number: u64) -> engine::ports::Batch {
    let first = match number {
        0 => created(&id(name)),
        _ => undo_failed("a"),
    };
    let mut batch = batch(&id(name), 2 * number + 1, vec![first, undo_failed("b")]);
    batch.row.state = "completed".to_owned();
    batch.steps = vec![crate::common::step(0, "succeeded")];
    batch
}

/// So often something that failed is asked for again.
const TRIES: u32 = 5;

fn say(what: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "said {what}").unwrap();
    out.flush().unwrap();
}

/// Whether it was stored in the end.
async fn append(journal: &Journal, name: &str, number: u64) -> bool {
    for _ in 0..TRIES {
        let mut batch = next(name, number);
        if number == 1 {
            batch.hold = Hold::Take([name.repeat(64)].into());
        }
        if number == 2 {
            batch.hold = Hold::Release;
        }
        match journal.append(batch).await {
            Ok(()) => {
                say(&format!("ok {name} {number}"));
                return true;
            }
            Err(error) => say(&format!("no {} {name} {number}: {error}", code(&error))),
        }
    }
    say("gave up");
    false
}

fn open(home: &Home) -> Option<Journal> {
    let options = Options {
        patience: Duration::from_secs(2),
        ..Options::default()
    };
    for _ in 0..TRIES {
        match Journal::open_with(home, &options) {
            Ok(journal) => return Some(journal),
            Err(error) => say(&format!("no {} open: {error}", error.code())),
        }
    }
    say("gave up");
    None
}

/// Makes a journal, uses it, archives, closes it and opens it again, whatever fails.
#[tokio::test]
#[ignore = "a role that another test starts"]
async fn role_go_on() {
    let root = arguments()["home"].as_str().unwrap().to_owned();
    let Some(home) = (0..TRIES).find_map(|_| Home::open(&root).ok()) else {
        return say("gave up");
    };
    let Some(journal) = open(&home) else { return };
    let mut goes_on = append(&journal, "a", 0).await;
    append(&journal, "b", 0).await;
    goes_on = goes_on && append(&journal, "a", 1).await;
    for _ in 0..TRIES {
        match journal.load(&id("b")).await {
            Ok(events) if events.len() == 2 => break,
            // It was refused before.
            Ok(events) => {
                assert!(events.is_empty());
                break;
            }
            Err(error) => say(&format!("no {} load: {error}", code(&error))),
        }
    }
    if goes_on {
        append(&journal, "a", 2).await;
    }
    for _ in 0..TRIES {
        match journal.archive(DAY, NOW + 3 * DAY, false).await {
            Ok(done) => {
                say(&format!("archived {}", done.workflows));
                match done.stopped_by {
                    None => break,
                    Some(error) => say(&format!("no {} archive: {error}", code(&error))),
                }
            }
            Err(error) => say(&format!("no {} archive: {error}", code(&error))),
        }
    }
    goes_on = append(&journal, "c", 0).await;
    drop(journal);
    let Some(journal) = open(&home) else { return };
    if goes_on {
        append(&journal, "c", 1).await;
    }
    say("end");
}

/// What the journal said in one run.
#[derive(Default, Debug)]
struct Said {
    /// How many batches of each workflow were acknowledged.
    acknowledged: BTreeMap<String, u64>,
    archived: u64,
    refused: Vec<String>,
    gave_up: bool,
    end: bool,
}

impl Said {
    fn read(output: &str) -> Self {
        let mut said = Self::default();
        for line in output.lines().filter_map(|line| line.strip_prefix("said ")) {
            let words: Vec<&str> = line.split(' ').collect();
            match words[0] {
                "ok" => {
                    let number: u64 = words[2].parse().unwrap();
                    let before = said.acknowledged.insert(words[1].to_owned(), number + 1);
                    assert_eq!(before.unwrap_or(0), number, "{output}");
                }
                "no" => said.refused.push(line[3..].to_owned()),
                "archived" => said.archived += words[1].parse::<u64>().unwrap(),
                "gave" => said.gave_up = true,
                "end" => said.end = true,
                _ => panic!("{line}"),
            }
        }
        said
    }

    /// Looks at what is there once nothing fails any more.
    async fn check(&self, home: &Home, fault: Fault) {
        for refusal in &self.refused {
            let code = refusal.split(' ').next().unwrap();
            // Never that something is damaged, and never that somebody else was first: that
            // would be the batch that was refused.
            let right = [
                "store.failed",
                "store.full",
                "store.read_only",
                "store.locked",
            ];
            // SQLite takes a sector that cannot be read for damage, and so do we.
            let unreadable = fault.call == "pread64" && fault.error == "EIO";
            let right = right.contains(&code) || unreadable && code == "store.corrupted";
            assert!(right, "{refusal}");
        }
        let journal = Journal::open(home).unwrap_or_else(|e| panic!("{}: {e}", e.code()));
        let verified = journal.verify().await.unwrap();
        assert_eq!(verified.broken, None);
        for name in ["a", "b", "c"] {
            let batches = self.acknowledged.get(name).copied().unwrap_or(0);
            let stored = journal.last_seq(&id(name)).await.unwrap();
            assert_eq!(stored, 2 * batches, "{name}");
            match journal.load(&id(name)).await {
                Ok(events) => assert!(self.archived == 0 || name == "c" || events.is_empty()),
                Err(JournalError::Archived { file }) => {
                    assert_ne!((self.archived, name), (0, "c"));
                    journal.verify_archive(&file).await.unwrap();
                }
                Err(error) => panic!("{error}"),
            }
            let held = journal.holders([name.repeat(64)].into()).await.unwrap();
            assert_eq!(held.len(), usize::from(batches == 2), "{name}");
        }
        let all: u64 = self.acknowledged.values().map(|batches| 2 * batches).sum();
        assert_eq!(verified.events + verified.archived, all);
        let archives = journal.archives().await.unwrap();
        let archived: u64 = archives.iter().map(|file| file.workflows).sum();
        assert_eq!(archived, self.archived);
        journal.append(next("z", 0)).await.unwrap();
    }
}

/// What fails, how, and whether for ever after.
#[derive(Clone, Copy, Debug)]
struct Fault {
    call: &'static str,
    error: &'static str,
    for_ever: bool,
}

/// One run with a fault at the n-th call; whether the fault was met.
fn run(fault: Fault, n: usize, totals: &Mutex<Totals>) -> bool {
    let dir = tempfile::TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let home = Home::open(root.join("home")).unwrap();
    let role = other_process("faults::role_go_on", &json!({"home": home.root()}));
    let trace = root.join("trace");
    let Fault {
        call,
        error,
        for_ever,
    } = fault;
    let when = if for_ever { "+" } else { "" };
    let inject = format!("inject={call}:error={error}:when={n}{when}");
    let calls = format!("trace={call}");
    let mut arguments: Vec<String> = [&calls, &inject]
        .into_iter()
        .flat_map(|expression| ["-e".to_owned(), expression.clone()])
        .collect();
    for path in paths(home.root()) {
        arguments.extend(["-P".to_owned(), path]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut command = traced(&role, &trace, &arguments);
    let out = root.join("said");
    command
        .stdout(fs::File::create(&out).unwrap())
        .stderr(fs::File::create(root.join("stderr")).unwrap());
    let mut child = Killed(command.spawn().expect("strace is needed for this test"));
    let status = child.0.wait().unwrap();
    let output = fs::read_to_string(&out).unwrap();
    let errors = fs::read_to_string(root.join("stderr")).unwrap();
    assert!(status.success(), "{fault:?} {n}: {output}{errors}");
    let met = fs::read_to_string(&trace).unwrap().contains("(INJECTED)");
    let said = Said::read(&output);
    eprintln!("{fault:?} at {n}, met: {met}: {:?}", said.refused);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(said.check(&home, fault));
    if !met {
        assert!(said.end && said.refused.is_empty(), "{said:?}");
    }
    // What failed once does not fail again: everything was done in the end. What was taken for
    // damage stays closed until it is opened again.
    let damaged = |refusal: &String| refusal.starts_with("store.corrupted");
    if !for_ever && !said.refused.iter().any(damaged) {
        assert!(said.end && !said.gave_up, "{said:?}");
        assert_eq!((said.archived, &said.acknowledged["c"]), (2, &2));
    }
    let mut totals = totals.lock().unwrap();
    totals.runs += 1;
    totals.met += usize::from(met);
    totals.refused += said.refused.len();
    for refusal in said.refused {
        let code = refusal.split(' ').next().unwrap().to_owned();
        *totals.codes.entry(code).or_default() += 1;
    }
    met
}

#[derive(Default)]
struct Totals {
    runs: usize,
    met: usize,
    refused: usize,
    codes: BTreeMap<String, usize>,
}

/// The files whose calls fail: not those of the program itself. A file that has no name yet cannot be
/// named, so the archive is known by its directory and by the name that it will have.
fn paths(home: &Path) -> Vec<String> {
    let archive = "archive/20251012T085320.123Z.jsonl";
    let temporary = "archive/.20251012T085320.123Z.jsonl.tmp";
    let names = [
        "",
        "pilot.db",
        "pilot.db-wal",
        "pilot.db-shm",
        "pilot.db.new",
        "pilot.db.new-wal",
        "pilot.db.new-journal",
        "archive",
        archive,
        temporary,
        "locks",
        "locks/journal.lock",
        "locks/journal-next.lock",
        "locks/archive.lock",
    ];
    names
        .iter()
        .map(|name| {
            let path = home.join(name);
            path.to_str().unwrap().trim_end_matches('/').to_owned()
        })
        .collect()
}

#[test]
fn p18_whichever_call_of_the_system_fails_nothing_is_lost_and_nothing_is_pretended() {
    let long = std::env::var_os("PILOTHOUSE_TEST_LONG").is_some();
    let calls = [
        ("pwrite64", &["EIO", "ENOSPC"][..]),
        ("write", &["EIO", "ENOSPC"]),
        ("fsync", &["EIO"]),
        ("openat", &["EIO", "EACCES", "EMFILE"]),
        ("pread64", &["EIO", "ESTALE"]),
        ("read", &["EIO"]),
        ("ftruncate", &["EIO"]),
        ("mmap", &["ENOMEM"]),
        ("rename", &["EIO", "ENOSPC"]),
        ("unlink", &["EIO"]),
        ("mkdir", &["ENOSPC"]),
        ("flock", &["EIO"]),
        ("fstat,newfstatat,statx", &["EIO"]),
    ];
    let mut faults = Vec::new();
    for (call, errors) in calls {
        for error in errors {
            for for_ever in [false, true] {
                faults.push(Fault {
                    call,
                    error,
                    for_ever,
                });
            }
        }
    }
    let (totals, next) = (Mutex::default(), AtomicUsize::new(0));
    let work = || {
        while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (start, mut n, mut runs) = (Instant::now(), 1, 1);
            while run(*fault, n, &totals) {
                // The short form looks at ever fewer of them.
                n += if long { 1 } else { 2 * n };
                runs += 1;
            }
            eprintln!("{fault:?}: {runs} runs, up to {n}, {:?}", start.elapsed());
        }
    };
    std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        for thread in threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
    let totals = totals.into_inner().unwrap();
    eprintln!(
        "{} kinds of fault, {} runs, {} met a fault, {} things refused: {:?}",
        faults.len(),
        totals.runs,
        totals.met,
        totals.refused,
        totals.codes
    );
    assert!(totals.met > faults.len() && totals.refused > totals.met / 4);
}
