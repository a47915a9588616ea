//! Events of workflows that are over go into a file that verifies, and out of the database.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use engine::ports::{Hold, Journal as _, JournalError};
use home::Home;
use journal::{ArchiveError, Archived, ClaimError, Journal, Owner, verify_archive};
use serde_json::{Value, json};
use workflow::event::Event;

use crate::common::{NOW, Place, batch, code, created, id, place, undo_failed};

pub(crate) const DAY: i64 = 86_400_000;

/// Long after the events of these tests.
pub(crate) const LATER: i64 = NOW + 40 * DAY;

/// The states that are over for good.
const OVER: [&str; 5] = [
    "completed",
    "failed",
    "cancelled",
    "rolled_back",
    "rollback_failed",
];

/// Stores a workflow of so many events in this state.
pub(crate) async fn store(journal: &Journal, name: &str, state: &str, events: usize) {
    store_events(journal, name, state, events, "s").await;
}

pub(crate) async fn store_events(
    journal: &Journal,
    name: &str,
    state: &str,
    events: usize,
    text: &str,
) {
    let mut all = vec![created(&id(name))];
    all.extend((1..events).map(|n| undo_failed(&format!("{text}{n}"))));
    let mut batch = batch(&id(name), 1, all);
    batch.row.state = state.to_owned();
    batch.steps = vec![crate::common::step(0, "rollback_failed")];
    batch.steps[0]
        .outputs
        .insert("snapshot".to_owned(), "snapshot-12".into());
    journal.append(batch).await.unwrap();
}

async fn archive(journal: &Journal) -> Archived {
    journal.archive(30 * DAY, LATER, false).await.unwrap()
}

pub(crate) fn files(place: &Place) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(place.home.root().join("archive"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

/// Some that are over, and beside them all that must stay. The owner must live on.
async fn stored(journal: &Journal, home: &Home) -> Owner {
    for (n, state) in OVER.into_iter().enumerate() {
        store(journal, state, state, n + 2).await;
    }
    for state in ["pending", "running", "paused", "rolling_back"] {
        store(journal, state, state, 3).await;
    }
    store(journal, "owned", "completed", 3).await;
    let owner = Owner::register(home, NOW).unwrap();
    journal.claim(&id("owned"), &owner, NOW).await.unwrap();
    // One that a dead process owned.
    store(journal, "orphan", "failed", 2).await;
    let dead = Owner::register(home, NOW).unwrap();
    journal.claim(&id("orphan"), &dead, NOW).await.unwrap();
    let mut holding = batch(&id("holding"), 1, vec![created(&id("holding"))]);
    holding.row.state = "failed".to_owned();
    holding.hold = Hold::Take(BTreeSet::from(["a".repeat(64)]));
    journal.append(holding).await.unwrap();
    let mut recent = batch(&id("recent"), 1, vec![created(&id("recent"))]);
    recent.row.state = "completed".to_owned();
    recent.row.updated_at = LATER - 30 * DAY;
    journal.append(recent).await.unwrap();
    owner
}

const STAY: [&str; 7] = [
    "pending",
    "running",
    "paused",
    "rolling_back",
    "owned",
    "holding",
    "recent",
];

#[tokio::test]
async fn p15_what_is_over_is_archived_and_everything_still_verifies() {
    let place = place();
    let journal = place.open();
    let owner = stored(&journal, &place.home).await;
    let gone: Vec<&str> = OVER.into_iter().chain(["orphan"]).collect();
    let mut before = Vec::new();
    for name in &gone {
        before.push(journal.load(&id(name)).await.unwrap());
    }
    let count: usize = before.iter().map(Vec::len).sum();
    let (listed, total) = journal.list(vec![], None, 99).await.unwrap();
    let rows = journal.verify().await.unwrap().rows;

    let dry = journal.archive(30 * DAY, LATER, true).await.unwrap();
    assert_eq!((dry.workflows, dry.events), (6, count as u64));
    assert_eq!(
        (dry.files.len(), journal.archives().await.unwrap()),
        (0, vec![])
    );
    assert!(!place.home.root().join("archive").exists());

    let done = archive(&journal).await;
    assert_eq!((done.workflows, done.events), (6, count as u64));
    assert_eq!((done.files.len(), done.strays.len()), (1, 0));
    let file = done.files[0].file.clone();
    assert_eq!(file, "20251118T085320.123Z.jsonl");

    // By itself, and against the chain, now and after reopening.
    drop(journal);
    let journal = place.open();
    let path = place.home.root().join("archive").join(&file);
    let alone = verify_archive(&path).unwrap();
    assert_eq!(alone, journal.verify_archive(&file).await.unwrap());
    assert_eq!(
        (alone.workflows, alone.events, &alone.sha256),
        (6, count as u64, &done.files[0].sha256)
    );
    let bytes = fs::read(&path).unwrap();
    assert_eq!(alone.sha256, guard::digest::sha256_hex(&bytes));
    assert_eq!(journal.archives().await.unwrap(), done.files);
    let verified = journal.verify().await.unwrap();
    assert_eq!((verified.broken, verified.rows), (None, rows + 1));
    assert_eq!((verified.archived, verified.archives), (count as u64, 1));

    // The file has what was loaded before.
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (name, events) in gone.iter().zip(&before) {
        let of = |line: &&Value| line["workflow"] == id(name).0;
        let archived: Vec<Event> = lines
            .iter()
            .filter(of)
            .map(|line| serde_json::from_value(line["payload"].clone()).unwrap())
            .collect();
        let loaded: Vec<Event> = events.iter().map(|event| event.event.clone()).collect();
        assert_eq!(archived, loaded, "{name}");
    }
    assert_eq!(lines.len(), count + 2);

    // Listed as before, and closed to everything else.
    assert_eq!(
        journal.list(vec![], None, 99).await.unwrap(),
        (listed, total)
    );
    let archived = JournalError::Archived { file };
    for name in gone {
        let last = journal.last_seq(&id(name)).await.unwrap();
        assert_eq!(journal.load(&id(name)).await, Err(archived.clone()));
        assert_eq!(journal.projection(&id(name)).await, Err(archived.clone()));
        for seq in [1, last + 1] {
            let next = batch(&id(name), seq, vec![undo_failed("a")]);
            assert_eq!(journal.append(next).await, Err(archived.clone()));
        }
        let claimed = journal.claim(&id(name), &owner, NOW).await;
        assert_eq!(claimed, Err(ClaimError::Journal(archived.clone())));
        assert_eq!(journal.last_seq(&id(name)).await.unwrap(), last);
    }
    for name in STAY {
        let events = journal.load(&id(name)).await.unwrap();
        let next = events.len() as u64 + 1;
        let next = batch(&id(name), next, vec![undo_failed("a")]);
        journal.append(next).await.unwrap();
    }
    let row = &journal.audit(rows, None, 1).await.unwrap()[0];
    assert_eq!(row.row.entry.kind, "archived");
    assert!(row.row.entry.actor.starts_with("os:"));
    let payload = row.payload.as_ref().unwrap();
    assert_eq!(payload["sha256"], alone.sha256);
    let first = &journal.audit(0, None, 1).await.unwrap()[0];
    assert_eq!(
        (&first.payload, &first.archived_in),
        (&None, &Some(done.files[0].file.clone()))
    );
    // Nothing is left to do, and nothing is made of nothing.
    assert_eq!(archive(&journal).await, Archived::default());
    assert_eq!(files(&place), std::slice::from_ref(&path));
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let dir = fs::metadata(path.parent().unwrap()).unwrap();
    assert_eq!(dir.mode() & 0o777, 0o700);
}

/// One archive of three workflows, in a home.
async fn archived() -> (Place, PathBuf) {
    let place = place();
    let journal = place.open();
    for name in ["a", "b", "c"] {
        store(&journal, name, "completed", 2).await;
    }
    archive(&journal).await;
    drop(journal);
    let path = files(&place).remove(0);
    (place, path)
}

#[tokio::test]
async fn p15_an_archive_with_any_byte_altered_or_cut_off_is_found_out() {
    let (place, path) = archived().await;
    let whole = fs::read(&path).unwrap();
    let copy = place.home.root().join("copy");
    let (mut altered, mut told, mut cut) = (0, 0, 0);
    let mut bytes = whole.clone();
    for at in 0..whole.len() {
        bytes[at] ^= 1 << (at % 7);
        fs::write(&copy, &bytes).unwrap();
        bytes[at] = whole[at];
        let error = verify_archive(&copy).unwrap_err();
        let at_line = whole[..at].iter().filter(|b| **b == b'\n').count() as u64 + 1;
        // What no row covers, such as the time of the making, shows in the digest at the end.
        match error {
            ArchiveError::Broken { line, .. } => told += usize::from(line == at_line),
            ArchiveError::Newer => {}
            other => panic!("byte {at} of line {at_line}: {other}"),
        }
        altered += 1;
        fs::write(&copy, &whole[..at]).unwrap();
        assert_eq!(verify_archive(&copy).unwrap_err().code(), "store.corrupted");
        cut += 1;
    }
    fs::write(&copy, [&whole[..], b"\n"].concat()).unwrap();
    verify_archive(&copy).unwrap_err();
    fs::write(&copy, &whole).unwrap();
    verify_archive(&copy).unwrap();
    assert!(cut > 1000 && told > altered * 9 / 10, "{told} of {altered}");
    eprintln!("{altered} bytes altered, {told} told at their line; {cut} cuts, each found");
}

/// The file with other lines, and an end that fits them, as a forger would make it.
fn forged(lines: &[&str], workflows: u64) -> String {
    let mut text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let hashes: String = lines[1..]
        .iter()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            format!("{}\n", line["hash"].as_str().unwrap())
        })
        .collect();
    let end = json!({
        "workflows": workflows, "events": lines.len() - 1,
        "rows_sha256": guard::digest::sha256_hex(hashes.as_bytes()),
        "sha256": guard::digest::sha256_hex(text.as_bytes()),
    });
    text += &format!("{end}\n");
    text
}

#[tokio::test]
async fn p15_an_archive_that_was_made_up_anew_does_not_fit_the_chain() {
    let (place, path) = archived().await;
    let journal = place.open();
    let file = path.file_name().unwrap().to_str().unwrap().to_owned();
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let (body, _) = lines.split_at(lines.len() - 1);
    // The forgery of nothing is the file itself.
    assert_eq!(forged(body, 3), whole);
    // Without the last workflow it is a whole archive, but not this one.
    fs::write(&path, forged(&body[..5], 2)).unwrap();
    assert_eq!(verify_archive(&path).unwrap().events, 4);
    let error = journal.verify_archive(&file).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("not the one that its audit row names"),
        "{error}"
    );
    // Another row, sealed anew.
    let mut line: Value = serde_json::from_str(body[6]).unwrap();
    line["actor"] = json!("os:mallory");
    line["event"]["actor"] = json!("os:mallory");
    let mut row: policy::audit::Row = serde_json::from_value(line.clone()).unwrap();
    row = policy::audit::seal(
        &policy::audit::Head {
            seq: row.seq - 1,
            hash: row.prev,
        },
        row.entry,
    );
    line["hash"] = json!(row.hash);
    let line = line.to_string();
    let mut made_up = body.to_vec();
    made_up[6] = &line;
    fs::write(&path, forged(&made_up, 3)).unwrap();
    assert_eq!(verify_archive(&path).unwrap().events, 6);
    let error = journal.verify_archive(&file).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("line 7 cannot be trusted: its row is not"),
        "{error}"
    );
    // Lines in another order, twice, or missing.
    let swapped = [
        body[0], body[2], body[1], body[3], body[4], body[5], body[6],
    ];
    let workflows = [
        body[0], body[3], body[4], body[1], body[2], body[5], body[6],
    ];
    let twice = [body[0], body[1], body[2], body[2]];
    let headless = [body[0], body[2], body[3]];
    let again = [body[0], body[1], body[2], body[1]];
    for lines in [&swapped[..], &workflows, &twice, &headless, &again] {
        fs::write(&path, forged(lines, 3)).unwrap();
        let error = verify_archive(&path).unwrap_err();
        assert!(error.to_string().contains("does not follow"), "{error}");
    }
    fs::remove_file(&path).unwrap();
    let error = journal.verify_archive(&file).await.unwrap_err();
    assert_eq!(error.code(), "store.failed");
    assert!(journal.verify_archive("../pilot.db").await.is_err());
}

#[tokio::test]
async fn p15_a_payload_that_is_missing_without_being_archived_is_found() {
    let cases = [
        "DELETE FROM event WHERE workflow = 'wf_open'",
        // As if the other had been archived with them.
        "DELETE FROM event WHERE workflow = 'wf_open';
         UPDATE workflow SET archived_seq = 2, archived_in = (SELECT file FROM archive) WHERE id = 'wf_open'",
        "UPDATE workflow SET archived_in = 'elsewhere.jsonl' WHERE id = 'wf_a'",
        "UPDATE workflow SET archived_in = NULL WHERE id = 'wf_a'",
        "UPDATE workflow SET archived_seq = 9 WHERE id = 'wf_a'",
        "UPDATE archive SET payload = replace(payload, ':3', ':2')",
        "UPDATE archive SET file = 'elsewhere.jsonl'; UPDATE workflow SET archived_in = 'elsewhere.jsonl' WHERE archived_in IS NOT NULL",
        "DELETE FROM archive",
        "INSERT INTO event SELECT 1, 'wf_a', 1, at, actor, v, kind, body FROM event WHERE audit_seq = 8",
        "DELETE FROM audit WHERE seq > 6; DELETE FROM event; DELETE FROM archive",
    ];
    for sql in cases {
        let (place, _) = archived().await;
        let journal = place.open();
        store(&journal, "open", "running", 2).await;
        assert_eq!(journal.verify().await.unwrap().broken, None);
        drop(journal);
        let forger = place.sql();
        forger.pragma_update(None, "foreign_keys", false).unwrap();
        forger.execute_batch(sql).unwrap();
        drop(forger);
        let broken = place.open().verify().await.unwrap().broken;
        assert!(broken.is_some(), "not found: {sql}");
    }
    eprintln!("{} ways to hide a payload, each found", cases.len());
}

#[tokio::test]
async fn p18_a_crash_between_the_file_and_the_transaction_loses_nothing() {
    let place = place();
    let journal = place.open();
    for name in ["a", "b"] {
        store(&journal, name, "completed", 3).await;
    }
    drop(journal);
    // The database as it was when the file was durable and nothing was committed.
    let before = fs::read(place.db()).unwrap();
    let journal = place.open();
    let first = archive(&journal).await;
    drop(journal);
    fs::write(place.db(), before).unwrap();
    let dir = place.home.root().join("archive");
    fs::write(dir.join(".20251118T085320.123Z.jsonl.tmp"), "half").unwrap();

    let journal = place.open();
    assert_eq!(journal.load(&id("a")).await.unwrap().len(), 3);
    let verified = journal.verify().await.unwrap();
    assert_eq!(
        (verified.broken, verified.events, verified.archived),
        (None, 6, 0)
    );
    let error = journal.verify_archive(&first.files[0].file).await;
    assert_eq!(error, Err(journal::ArchiveError::Unknown));
    // Archived again, under another name, and the file of before is told and left.
    let second = archive(&journal).await;
    assert_eq!(second.strays, [first.files[0].file.clone()]);
    assert_eq!(second.files[0].file, "20251118T085320.123Z-2.jsonl");
    for file in files(&place) {
        assert_eq!(verify_archive(&file).unwrap().events, 6);
    }
    assert_eq!(files(&place).len(), 2);
    assert_eq!(journal.verify().await.unwrap().broken, None);
}

#[tokio::test]
async fn p15_what_does_not_verify_is_not_archived() {
    let place = place();
    let journal = place.open();
    store(&journal, "a", "completed", 3).await;
    drop(journal);
    place
        .sql()
        .execute_batch("UPDATE event SET body = replace(body, 'host', 'disk') WHERE audit_seq = 2")
        .unwrap();
    let journal = place.open();
    let error = journal.archive(DAY, LATER, false).await.unwrap_err();
    assert_eq!(code(&error), "store.corrupted");
    assert_eq!(files(&place), [] as [PathBuf; 0]);
    assert_eq!(journal.load(&id("a")).await.unwrap().len(), 3);
}
