//! Moving the events of workflows that are over for good out of the database, into a file that
//! verifies by itself.
//!
//! The file is whole and durable before one transaction takes out what it holds, so a crash leaves
//! either everything in the database, and perhaps a file that nobody needs, or everything archived.
//! The audit chain stays whole: it holds only digests.

mod check;
mod format;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]
mod tests;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::ports::JournalError;
use home::{Home, Lock, User};
use policy::audit::Entry;
use policy::audit_store;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde_json::{Value, json};
use workflow::model::{Millis, WorkflowId};

use crate::append;
use crate::error::Fault;
use crate::owner;
use crate::query::unsigned;
use crate::writer::Refusal;

pub use check::{ArchiveError, VerifiedArchive};
pub(crate) use check::{file as verify_file, find_broken};

/// So many events go into one file, and out of the database in one transaction, or one workflow if
/// that has more: others wait for the transaction.
const EVENTS: u64 = 20_000;

/// So many workflows at most, since each has rows of its own in several tables.
const WORKFLOWS: usize = 1_000;

/// The kind of the audit row that says what was archived.
const KIND: &str = "archived";

/// The states from which nothing goes on by itself, and which no undo is waiting in.
const OVER: &str = "('completed', 'failed', 'cancelled', 'rolled_back', 'rollback_failed')";

/// What archiving did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Archived {
    /// Workflows whose events are in the files now.
    pub workflows: u64,
    /// Their events.
    pub events: u64,
    /// The files that were made, in the home's `archive/`. None in a dry run.
    pub files: Vec<ArchiveFile>,
    /// Files that lie in the home's `archive/` and are not known to the database, such as one that
    /// was whole when a crash came. What they hold is in the database all the same.
    pub strays: Vec<String>,
    /// Why the rest was not archived as well, if something failed after the first file.
    pub stopped_by: Option<JournalError>,
}

/// One archive, as its audit row knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveFile {
    /// Its name in the home's `archive/`.
    pub file: String,
    /// How many workflows it holds.
    pub workflows: u64,
    /// How many events.
    pub events: u64,
    /// The SHA-256 of the file, 64 hexadecimal digits.
    pub sha256: String,
}

/// A file that is whole and durable, and whose events are still in the database.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) made: ArchiveFile,
    /// Over the hashes of its rows, in order.
    rows_sha256: String,
    /// In order, each with the number of its last event.
    moved: Vec<(String, u64)>,
}

impl ArchiveFile {
    fn payload(&self, rows_sha256: &str) -> Value {
        json!({
            "file": self.file, "workflows": self.workflows, "events": self.events,
            "sha256": self.sha256, "rows_sha256": rows_sha256,
        })
    }
}

fn dir(home: &Home) -> PathBuf {
    home.root().join("archive")
}

/// Where an archive lies; `None` for a name that is none.
pub(crate) fn path(home: &Home, file: &str) -> Option<PathBuf> {
    let plain = !file.starts_with('.') && !file.contains('/');
    plain.then(|| dir(home).join(file))
}

/// The last moment that counts as recent.
pub(crate) fn cutoff(older_than: Millis, now: Millis) -> Millis {
    now.saturating_sub(older_than.max(0))
}

/// What there is to archive.
pub(crate) fn count(
    connection: &Connection,
    home: &Home,
    cutoff: Millis,
) -> Result<Archived, Fault> {
    let mut found = Archived::default();
    due(connection, home, cutoff, &mut |_, events| {
        found.workflows += 1;
        found.events += events;
        true
    })?;
    Ok(found)
}

/// Hands over each workflow that may be archived with the number of its events, until it is told
/// that this is enough.
fn due(
    connection: &Connection,
    home: &Home,
    cutoff: Millis,
    take: &mut dyn FnMut(String, u64) -> bool,
) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT id FROM workflow INDEXED BY workflow_here
         WHERE archived_in IS NULL AND created_at < ?1 AND updated_at < ?1 AND state IN {OVER}"
    ))?;
    let mut rows = statement.query([cutoff])?;
    while let Some(row) = rows.next()? {
        let id: String = row.get(0)?;
        if let Some(events) = is_due(connection, home, &id, cutoff)?
            && !take(id, events)
        {
            break;
        }
    }
    Ok(())
}

/// How many events the workflow has, if it may be archived: over for good, not touched since, owned
/// by no living process, holding nothing.
fn is_due(
    connection: &Connection,
    home: &Home,
    id: &str,
    cutoff: Millis,
) -> Result<Option<u64>, Fault> {
    let found = connection
        .prepare_cached(&format!(
            "SELECT (SELECT max(seq) FROM event WHERE workflow = ?1),
                    (SELECT process FROM owner WHERE workflow = ?1)
             FROM workflow WHERE id = ?1 AND state IN {OVER} AND updated_at < ?2
                 AND archived_in IS NULL AND NOT EXISTS (SELECT 1 FROM held WHERE workflow = ?1)"
        ))?
        .query_row(params![id, cutoff], |row| {
            let events: Option<i64> = row.get(0)?;
            Ok((events.is_some(), unsigned(row, 0).unwrap_or(0), row.get(1)?))
        })
        .optional()?;
    let Some((true, events, process)) = found else {
        return Ok(None);
    };
    let process: Option<String> = process;
    // The chain knows the sanitised id: what it cannot be found by again stays where it is.
    let owned = process.map_or(Ok(false), |process| owner::lives(home, &process))?;
    Ok((!owned && guard::text::sanitize(id) == id).then_some(events))
}

/// Makes ready to archive: nobody else does meanwhile, and what a killed process began is cleared
/// away. Tells the files that the database does not know.
pub(crate) fn begin(
    connection: &Connection,
    home: &Home,
    bound: Duration,
) -> Result<(Lock, Vec<String>), Fault> {
    let home_fault = |e| Fault::home(&e);
    let lock = home.lock_file("archive").map_err(home_fault)?;
    let dir = dir(home);
    for dir in lock.parent().into_iter().chain([dir.as_path()]) {
        home.ensure_dir(dir).map_err(home_fault)?;
    }
    let held = Lock::lock_within(&lock, bound).map_err(home_fault)?;
    let held = held.ok_or(Fault::Locked)?;
    // A file is as durable as the directory that it lies in.
    sync_dir(home.root())?;
    let mut strays = Vec::new();
    for entry in fs::read_dir(&dir).map_err(|e| Fault::io(&e))? {
        let entry = entry.map_err(|e| Fault::io(&e))?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if name.starts_with('.') && name.ends_with(".tmp") {
            fs::remove_file(entry.path()).map_err(|e| Fault::io(&e))?;
        } else if payload(connection, &name)?.is_none() {
            strays.push(name);
        }
    }
    strays.sort();
    Ok((held, strays))
}

/// Writes the next portion into a new file; `None` when there is nothing left. The file is durable
/// under its name then, and was read back.
pub(crate) fn draft(
    connection: &Connection,
    home: &Home,
    cutoff: Millis,
    now: Millis,
) -> Result<Option<Draft>, Fault> {
    let (mut moved, mut events) = (Vec::new(), 0);
    due(connection, home, cutoff, &mut |id, count| {
        moved.push((id, count));
        events += count;
        events < EVENTS && moved.len() < WORKFLOWS
    })?;
    if moved.is_empty() {
        return Ok(None);
    }
    moved.sort();
    let file = free_name(connection, home, now)?;
    let dir = dir(home);
    let temporary = dir.join(format!(".{file}.tmp"));
    let written = write(connection, &temporary, &moved, now).and_then(|()| {
        fs::rename(&temporary, dir.join(&file)).map_err(|e| Fault::io(&e))?;
        sync_dir(&dir)
    });
    if let Err(fault) = written {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
        return Err(fault);
    }
    let found = check::file(&dir.join(&file), &mut |_| Ok(()))
        .map_err(|error| Fault::Other(format!("an archive was not what was written: {error}")))?;
    Ok(Some(Draft {
        made: ArchiveFile {
            file,
            workflows: found.workflows,
            events: found.events,
            sha256: found.sha256,
        },
        rows_sha256: found.rows_sha256,
        moved,
    }))
}

fn sync_dir(dir: &Path) -> Result<(), Fault> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|e| Fault::io(&e))
}

/// A name that no archive has, neither here nor in the database.
fn free_name(connection: &Connection, home: &Home, now: Millis) -> Result<String, Fault> {
    let at = append::timestamp(now)?;
    let stem = format!(
        "{}.{:03}Z",
        at.strftime("%Y%m%dT%H%M%S"),
        now.rem_euclid(1000)
    );
    let mut file = format!("{stem}.jsonl");
    for number in 2_u64.. {
        let taken = match fs::symlink_metadata(dir(home).join(&file)) {
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(Fault::io(&error)),
        };
        if !taken && payload(connection, &file)?.is_none() {
            break;
        }
        file = format!("{stem}-{number}.jsonl");
    }
    Ok(file)
}

fn write(
    connection: &Connection,
    path: &Path,
    moved: &[(String, u64)],
    now: Millis,
) -> Result<(), Fault> {
    let mut out = format::Writer::create(path, append::timestamp(now)?)?;
    for (id, events) in moved {
        let mut statement = connection.prepare_cached(
            "SELECT audit_seq, seq, at, actor, v, body FROM event WHERE workflow = ?1 ORDER BY seq",
        )?;
        let mut rows = statement.query([id])?;
        let mut last = 0;
        while let Some(event) = rows.next()? {
            let audit_seq = unsigned(event, 0)?;
            let altered = || Fault::Altered(format!("row {audit_seq} and its event do not fit"));
            let row = audit_store::read(connection, audit_seq.saturating_sub(1), 1, None)?
                .pop()
                .filter(|row| row.seq == audit_seq)
                .ok_or_else(altered)?;
            last += 1;
            if unsigned(event, 1)? != last || row.entry.workflow.as_ref() != Some(id) {
                return Err(altered());
            }
            let body = event.get_ref(5)?.as_str().map_err(rusqlite::Error::from)?;
            let payload = serde_json::from_str(body).map_err(|_| altered())?;
            let place = json!({
                "seq": last, "at": event.get::<_, Millis>(2)?,
                "actor": event.get::<_, String>(3)?, "v": event.get::<_, i64>(4)?,
            });
            // What does not verify is not moved: it is evidence.
            let line = format::Line::new(row, place, payload);
            line.check().map_err(|_| altered())?;
            out.line(&line)?;
        }
        if last != *events {
            return Err(Fault::Altered(format!("events of {id} are missing")));
        }
    }
    out.finish(moved.len())
}

/// Takes out of the database what the file holds, and says so in the chain. [`Refusal::Conflict`]
/// when one of the workflows is not what it was when the file was written.
pub(crate) fn settle(
    transaction: &Transaction<'_>,
    home: &Home,
    draft: &Draft,
    cutoff: Millis,
    now: Millis,
) -> Result<(), Refusal> {
    for (id, events) in &draft.moved {
        if is_due(transaction, home, id, cutoff)? != Some(*events) {
            return Err(Refusal::Conflict);
        }
    }
    let payload = draft.made.payload(&draft.rows_sha256);
    let actor = format!("os:{}", User::current().name);
    let entry = Entry::new(append::timestamp(now)?, &actor, KIND, None, &payload);
    let row = audit_store::append(transaction, entry)?;
    transaction
        .prepare_cached("INSERT INTO archive (file, audit_seq, payload) VALUES (?1, ?2, ?3)")?
        .execute(params![
            draft.made.file,
            append::number(row.seq)?,
            payload.to_string()
        ])?;
    for (id, events) in &draft.moved {
        // What refers to another comes before it.
        for table in ["decision", "approval", "output", "step", "owner", "event"] {
            let gone = transaction
                .prepare_cached(&format!("DELETE FROM {table} WHERE workflow = ?1"))?
                .execute([id])?;
            if table == "event" && u64::try_from(gone).ok() != Some(*events) {
                return Err(Fault::Altered(format!("the events of {id} are not in order")).into());
            }
        }
        transaction
            .prepare_cached(
                "UPDATE workflow SET archived_in = ?2, archived_seq = ?3 WHERE id = ?1",
            )?
            .execute(params![id, draft.made.file, append::number(*events)?])?;
    }
    Ok(())
}

/// Removes the file of a draft that did not become an archive.
pub(crate) fn discard(home: &Home, draft: &Draft) {
    // One that stays is told as a stray the next time.
    let _ = fs::remove_file(dir(home).join(&draft.made.file));
}

/// What the audit row of an archive says; `None` when there is no such archive.
pub(crate) fn payload(connection: &Connection, file: &str) -> Result<Option<String>, Fault> {
    let payload = connection
        .prepare_cached("SELECT payload FROM archive WHERE file = ?1")?
        .query_row([file], |row| row.get(0))
        .optional()?;
    Ok(payload)
}

/// All archives, the oldest first.
pub(crate) fn all(connection: &Connection) -> Result<Vec<ArchiveFile>, Fault> {
    let mut statement =
        connection.prepare_cached("SELECT payload FROM archive ORDER BY audit_seq")?;
    let payloads = statement.query_map([], |row| row.get::<_, String>(0))?;
    payloads.map(|payload| read_payload(&payload?)).collect()
}

fn read_payload(payload: &str) -> Result<ArchiveFile, Fault> {
    let value: Value = serde_json::from_str(payload).unwrap_or_default();
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    let known = || {
        Some(ArchiveFile {
            file: text("file")?,
            workflows: value["workflows"].as_u64()?,
            events: value["events"].as_u64()?,
            sha256: text("sha256")?,
        })
    };
    known().ok_or_else(|| Fault::Altered("the record of an archive cannot be read".to_owned()))
}

/// Whether the row of a workflow's event may be without its event: the archive of the workflow.
pub(crate) fn holds(connection: &Connection, workflow: &str) -> Result<Option<String>, Fault> {
    let workflow = WorkflowId(workflow.to_owned());
    match crate::query::archived_in(connection, &workflow)? {
        Some(file) if payload(connection, &file)?.is_some() => Ok(Some(file)),
        _ => Ok(None),
    }
}

/// Verifies an archive by itself and against the chain.
pub(crate) fn verify(
    connection: &Connection,
    home: &Home,
    file: &str,
) -> Result<VerifiedArchive, ArchiveError> {
    let record = payload(connection, file)?.ok_or(ArchiveError::Unknown)?;
    let record = read_payload(&record)?;
    let path = path(home, file).ok_or(ArchiveError::Unknown)?;
    let mut line = 1;
    let found = verify_file(&path, &mut |row| {
        line += 1;
        let known = audit_store::read(connection, row.seq.saturating_sub(1), 1, None)
            .map_err(Fault::from)?;
        if known.first() == Some(row) {
            return Ok(());
        }
        let why = "its row is not that of the chain".to_owned();
        Err(ArchiveError::Broken { line, why })
    })?;
    if (found.workflows, found.events, &found.sha256)
        == (record.workflows, record.events, &record.sha256)
    {
        return Ok(found);
    }
    let why = "the file is not the one that its audit row names".to_owned();
    Err(ArchiveError::Broken { line: 1, why })
}
