//! Whether an archive is whole: by itself, and against the database that it came from.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use engine::ports::JournalError;
use policy::audit::Row;
use rusqlite::{Connection, params};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::format::{self, Line};
use crate::error::Fault;
use crate::query::unsigned;
use crate::trail::Broken;

/// No line is longer, in bytes: an event is far smaller.
const MAX_LINE: u64 = 64 * 1024 * 1024;

/// What verifying an archive showed: all of it is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedArchive {
    /// How many workflows it holds.
    pub workflows: u64,
    /// How many events.
    pub events: u64,
    /// The SHA-256 of the file, which its audit row has too; 64 hexadecimal digits.
    pub sha256: String,
    /// The SHA-256 over the hashes of its rows in order, each with a line feed.
    pub rows_sha256: String,
}

/// Why an archive is not verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// The file cannot be read. Code `store.failed`.
    #[error("Check that the archive is there and readable, then call again: {0}")]
    Unreadable(String),
    /// Something in it was altered or cut off. Code `store.corrupted`.
    #[error("Put a copy of the archive in its place: line {line} cannot be trusted: {why}")]
    Broken {
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// A newer program wrote it. Code `store.newer`.
    #[error("Update this program: the archive is of a newer form than this build knows")]
    Newer,
    /// The database knows no archive of this name. Code `store.failed`.
    #[error("Name an archive that the database knows: it has no record of this one")]
    Unknown,
    /// The database cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl ArchiveError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(_) | Self::Unknown => "store.failed",
            Self::Broken { .. } => "store.corrupted",
            Self::Newer => "store.newer",
            Self::Journal(JournalError::Store { code, .. }) => code,
            Self::Journal(_) => "store.failed",
        }
    }
}

impl From<Fault> for ArchiveError {
    fn from(fault: Fault) -> Self {
        Self::Journal(fault.into())
    }
}

/// The lines of a file, with the digest of what was read.
struct Lines {
    input: BufReader<File>,
    number: u64,
    /// Over all lines before the one that was read last.
    before: Sha256,
    line: Vec<u8>,
}

impl Lines {
    fn broken(&self, why: impl Into<String>) -> ArchiveError {
        ArchiveError::Broken {
            line: self.number.max(1),
            why: why.into(),
        }
    }

    /// The next line, without its end; false when there is none.
    fn next(&mut self) -> Result<bool, ArchiveError> {
        if self.number > 0 {
            self.before.update(&self.line);
            self.before.update(b"\n");
        }
        self.line.clear();
        let read = (&mut self.input)
            .take(MAX_LINE)
            .read_until(b'\n', &mut self.line)
            .map_err(|e| ArchiveError::Unreadable(e.to_string()))?;
        if read == 0 {
            return Ok(false);
        }
        self.number += 1;
        match self.line.pop() {
            Some(b'\n') => Ok(true),
            _ => Err(self.broken("it has no end: the file was cut off")),
        }
    }
}

/// Verifies a file: each row against its hash, each event against its row, the counts, and the
/// digest of all. Asks `also` about each row.
pub(crate) fn file(
    path: &Path,
    also: &mut dyn FnMut(&Row) -> Result<(), ArchiveError>,
) -> Result<VerifiedArchive, ArchiveError> {
    let input = File::open(path).map_err(|e| ArchiveError::Unreadable(e.to_string()))?;
    let mut lines = Lines {
        input: BufReader::with_capacity(64 * 1024, input),
        number: 0,
        before: Sha256::new(),
        line: Vec::new(),
    };
    read_header(&mut lines)?;
    let mut rows = Sha256::new();
    let (mut workflows, mut events) = (0, 0);
    // The row before, and the number of its event.
    let mut last: Option<(Row, u64)> = None;
    loop {
        if !lines.next()? {
            return Err(lines.broken("the last line is missing: the file was cut off"));
        }
        let Some(line) = Line::parse(&lines.line) else {
            break;
        };
        line.check().map_err(|why| lines.broken(why))?;
        let seq = line.seq().unwrap_or(0);
        let workflow = &line.row.entry.workflow;
        let in_order = match &last {
            Some((row, before)) if row.entry.workflow == *workflow => {
                row.seq < line.row.seq && seq == before + 1
            }
            last => {
                workflows += 1;
                // Each workflow once, in order.
                let after = last
                    .as_ref()
                    .is_none_or(|(row, _)| row.entry.workflow < *workflow);
                after && workflow.is_some() && seq == 1
            }
        };
        if !in_order {
            return Err(lines.broken("it does not follow the line before"));
        }
        format::add_row(&mut rows, &line.row.hash);
        events += 1;
        also(&line.row)?;
        last = Some((line.row, seq));
    }
    let (rows_sha256, before) = (format::hex(rows), format::hex(lines.before.clone()));
    let footer = format::footer(workflows, events, &rows_sha256, &before);
    if lines.line != footer.as_bytes() {
        return Err(lines.broken("it is neither an event nor an end that fits the lines before"));
    }
    if lines.next()? {
        return Err(lines.broken("something follows the end"));
    }
    Ok(VerifiedArchive {
        workflows,
        events,
        // The last line was added to the rest by looking for one more.
        sha256: format::hex(lines.before),
        rows_sha256,
    })
}

fn read_header(lines: &mut Lines) -> Result<(), ArchiveError> {
    if !lines.next()? {
        return Err(lines.broken("the file is empty"));
    }
    let header: Value = serde_json::from_slice(&lines.line).unwrap_or_default();
    let version = header["version"].as_u64();
    if header["pilothouse"] != "archive" || version.is_none() {
        return Err(lines.broken("it is not the first line of an archive"));
    }
    if version > Some(format::VERSION) {
        return Err(ArchiveError::Newer);
    }
    Ok(())
}

/// What of the archives' records does not fit what is missing in the database.
pub(crate) fn find_broken(connection: &Connection) -> Result<Option<Broken>, Fault> {
    let mut archives =
        connection.prepare("SELECT audit_seq, file, payload FROM archive ORDER BY audit_seq")?;
    let mut found = archives.query([])?;
    while let Some(archive) = found.next()? {
        let (seq, file) = (unsigned(archive, 0)?, archive.get::<_, String>(1)?);
        let payload: Value =
            serde_json::from_str(&archive.get::<_, String>(2)?).unwrap_or_default();
        let missing = Missing::of(connection, seq, &file)?;
        if missing.as_ref().is_none_or(|missing| {
            payload["file"] != file
                || payload["workflows"] != missing.workflows
                || payload["events"] != missing.events
                || payload["rows_sha256"] != missing.rows_sha256
        }) {
            let why = "what is archived is not what it says".to_owned();
            return Ok(Some(Broken { seq, why }));
        }
    }
    Ok(None)
}

/// What the database has of the workflows of one archive.
struct Missing {
    workflows: u64,
    events: u64,
    rows_sha256: String,
}

impl Missing {
    /// `None` when something of it is not as archiving leaves it.
    fn of(connection: &Connection, archived: u64, file: &str) -> Result<Option<Self>, Fault> {
        let mut rows = Sha256::new();
        let (mut workflows, mut events) = (0, 0);
        let mut statement = connection.prepare_cached(
            "SELECT id, archived_seq, EXISTS (SELECT 1 FROM event WHERE workflow = id)
             FROM workflow WHERE archived_in = ?1 ORDER BY id",
        )?;
        let mut found = statement.query([file])?;
        while let Some(workflow) = found.next()? {
            let (id, last): (String, Option<i64>) = (workflow.get(0)?, workflow.get(1)?);
            let still_there: bool = workflow.get(2)?;
            let mut statement = connection.prepare_cached(
                "SELECT seq, hash FROM audit WHERE workflow = ?1 AND kind GLOB 'workflow.*'
                     AND NOT EXISTS (SELECT 1 FROM call WHERE audit_seq = audit.seq) ORDER BY seq",
            )?;
            let mut chain = statement.query(params![id])?;
            let mut count = 0;
            while let Some(row) = chain.next()? {
                if unsigned(row, 0)? >= archived {
                    return Ok(None);
                }
                format::add_row(&mut rows, row.get_ref(1)?.as_str().unwrap_or_default());
                count += 1;
            }
            if still_there || last != Some(count) {
                return Ok(None);
            }
            workflows += 1;
            events += count.unsigned_abs();
        }
        Ok(Some(Self {
            workflows,
            events,
            rows_sha256: format::hex(rows),
        }))
    }
}
