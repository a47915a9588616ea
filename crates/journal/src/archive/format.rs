//! The form of an archive: JSON lines. The first says what it is, each of the others is one event
//! with its audit row, the last counts them and has the SHA-256 of all bytes before it.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use guard::text::sanitize;
use jiff::Timestamp;
use policy::audit::{self, Head, Row, Why};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use workflow::model::Millis;

use crate::append;
use crate::error::Fault;

/// The version of the form.
pub(super) const VERSION: u64 = 1;

/// The SHA-256 over what was added, as 64 hexadecimal digits.
pub(super) fn hex(hasher: Sha256) -> String {
    use std::fmt::Write as _;
    hasher
        .finalize()
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a text cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Adds a row to the digest over all rows.
pub(super) fn add_row(rows: &mut Sha256, hash: &str) {
    rows.update(hash.as_bytes());
    rows.update(b"\n");
}

/// One event with its audit row.
pub(super) struct Line {
    pub(super) row: Row,
    /// `seq`, `at`, `actor` and `v` as the database had them.
    pub(super) event: Value,
    payload: Value,
}

impl Line {
    pub(super) fn new(row: Row, event: Value, payload: Value) -> Self {
        Self {
            row,
            event,
            payload,
        }
    }

    /// Reads a line; `None` when it is none. Fields that are not known are none of ours.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let mut value: Value = serde_json::from_slice(line).ok()?;
        let fields = value.as_object_mut()?;
        let (event, payload) = (fields.remove("event")?, fields.remove("payload")?);
        let row: Row = serde_json::from_value(value).ok()?;
        let parsed = Self::new(row, event, payload);
        // Written by this program, it is the same to the byte.
        (parsed.text().as_bytes() == line).then_some(parsed)
    }

    fn text(&self) -> String {
        let mut value = json!(self.row);
        value["event"] = self.event.clone();
        value["payload"] = self.payload.clone();
        value.to_string()
    }

    /// The number of the event in its workflow.
    pub(super) fn seq(&self) -> Option<u64> {
        self.event["seq"].as_u64()
    }

    /// Checks all that a line alone can tell.
    pub(super) fn check(&self) -> Result<(), String> {
        let entry = &self.row.entry;
        let before = Head {
            seq: self.row.seq.wrapping_sub(1),
            hash: self.row.prev.clone(),
        };
        if self.row.seq == 0 || audit::seal(&before, entry.clone()) != self.row {
            return Err(Why::Altered.to_string());
        }
        if audit::payload_sha256(&self.payload) != entry.payload_sha256 {
            return Err(Why::Payload.to_string());
        }
        let kind = self.payload["event"].as_str().map(append::audit_kind);
        let at: Option<Millis> = self.event["at"].as_i64();
        let actor = self.event["actor"].as_str().map(sanitize);
        if kind.as_ref() != Some(&entry.kind)
            || at.and_then(|at| append::timestamp(at).ok()) != Some(entry.at)
            || actor.as_ref() != Some(&entry.actor)
            || self.event["v"].as_u64().is_none()
            || self.seq().is_none()
        {
            return Err("it and its event do not say the same".to_owned());
        }
        Ok(())
    }
}

/// What the first line says.
pub(super) fn header(made_at: Timestamp) -> String {
    json!({"pilothouse": "archive", "version": VERSION, "made_at": format!("{made_at:.6}")})
        .to_string()
}

/// What the last line says.
pub(super) fn footer(workflows: u64, events: u64, rows_sha256: &str, sha256: &str) -> String {
    json!({
        "workflows": workflows, "events": events, "rows_sha256": rows_sha256, "sha256": sha256,
    })
    .to_string()
}

/// Writes an archive, line by line.
pub(super) struct Writer {
    out: BufWriter<File>,
    bytes: Sha256,
    rows: Sha256,
    events: u64,
}

impl Writer {
    pub(super) fn create(path: &Path, made_at: Timestamp) -> Result<Self, Fault> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|e| Fault::io(&e))?;
        let mut writer = Self {
            out: BufWriter::with_capacity(64 * 1024, file),
            bytes: Sha256::new(),
            rows: Sha256::new(),
            events: 0,
        };
        writer.put(&header(made_at))?;
        Ok(writer)
    }

    fn put(&mut self, text: &str) -> Result<(), Fault> {
        for part in [text.as_bytes(), b"\n"] {
            self.bytes.update(part);
            self.out.write_all(part).map_err(|e| Fault::io(&e))?;
        }
        Ok(())
    }

    pub(super) fn line(&mut self, line: &Line) -> Result<(), Fault> {
        add_row(&mut self.rows, &line.row.hash);
        self.events += 1;
        self.put(&line.text())
    }

    /// Ends the file, and waits until it is durable.
    pub(super) fn finish(mut self, workflows: usize) -> Result<(), Fault> {
        let (rows, bytes) = (hex(self.rows.clone()), hex(self.bytes.clone()));
        let workflows = u64::try_from(workflows).unwrap_or(u64::MAX);
        self.put(&footer(workflows, self.events, &rows, &bytes))?;
        self.out
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .map_err(|e| Fault::io(&e))
    }
}
