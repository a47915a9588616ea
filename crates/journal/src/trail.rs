//! The audit trail of a home: its rows with what they stand for, and whether all of it is whole.

use std::collections::HashMap;
use std::convert::Infallible;

use guard::text::sanitize;
use policy::audit::{self, Head, Row, VerifyError};
use policy::audit_store;
use rusqlite::{Connection, OptionalExtension as _};
use serde_json::Value;
use workflow::model::{Millis, WorkflowId};

use crate::append::{self, EVENT};
use crate::archive;
use crate::error::Fault;
use crate::query::unsigned;

/// So many rows are held in memory while the chain is verified.
const PAGE: usize = 512;

/// One row of the audit trail.
#[derive(Debug, Clone, PartialEq)]
pub struct TrailRow {
    /// The row of the chain.
    pub row: Row,
    /// For an event of a workflow: its number there.
    pub event_seq: Option<u64>,
    /// What the row's hash covers: the event, the redacted record of a call, or what was archived.
    /// `None` when it was archived, and when it is not there or is no JSON, which
    /// [`Verification::broken`] tells about.
    pub payload: Option<Value>,
    /// The archive that the event was moved into.
    pub archived_in: Option<String>,
}

/// What verifying the whole trail showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// Rows that were found whole.
    pub rows: u64,
    /// How many of them are events of workflows.
    pub events: u64,
    /// How many of them are records of calls.
    pub calls: u64,
    /// How many of them are events that were moved into archives: of these the chain has only the
    /// digests.
    pub archived: u64,
    /// How many of them say what was moved into which archive.
    pub archives: u64,
    /// The last whole row. Noted down elsewhere, it shows later that nothing was cut off the end.
    pub head: Head,
    /// The first thing that is not whole.
    pub broken: Option<Broken>,
}

/// The first row that cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Its number in the chain.
    pub seq: u64,
    /// What is wrong with it, as the end of a sentence that begins with the row.
    pub why: String,
}

/// What is kept of a row beside the chain.
enum Kept {
    Event {
        workflow: String,
        seq: u64,
        at: Millis,
        actor: String,
        kind: String,
        body: String,
    },
    Call {
        payload: String,
    },
    Archive {
        payload: String,
    },
}

impl Kept {
    fn text(&self) -> &str {
        match self {
            Self::Event { body, .. } => body,
            Self::Call { payload } | Self::Archive { payload } => payload,
        }
    }
}

fn kept(connection: &Connection, seq: u64) -> Result<Vec<Kept>, Fault> {
    let seq = append::number(seq)?;
    let event = connection
        .prepare_cached(
            "SELECT workflow, seq, at, actor, kind, body FROM event WHERE audit_seq = ?1",
        )?
        .query_row([seq], |row| {
            Ok(Kept::Event {
                workflow: row.get(0)?,
                seq: unsigned(row, 1)?,
                at: row.get(2)?,
                actor: row.get(3)?,
                kind: row.get(4)?,
                body: row.get(5)?,
            })
        })
        .optional()?;
    let call = connection
        .prepare_cached("SELECT payload FROM call WHERE audit_seq = ?1")?
        .query_row([seq], |row| {
            Ok(Kept::Call {
                payload: row.get(0)?,
            })
        })
        .optional()?;
    let archive = connection
        .prepare_cached("SELECT payload FROM archive WHERE audit_seq = ?1")?
        .query_row([seq], |row| {
            Ok(Kept::Archive {
                payload: row.get(0)?,
            })
        })
        .optional()?;
    Ok(event.into_iter().chain(call).chain(archive).collect())
}

/// A page of the trail, in order.
pub(crate) fn page(
    connection: &Connection,
    after_seq: u64,
    workflow: Option<&WorkflowId>,
    limit: u32,
) -> Result<Vec<TrailRow>, Fault> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    // A number beyond what can be stored has nothing after it.
    let after_seq = after_seq.min(i64::MAX.unsigned_abs());
    audit_store::read(
        connection,
        after_seq,
        limit,
        workflow.map(|id| id.0.as_str()),
    )?
    .into_iter()
    .map(|row| {
        let kept = kept(connection, row.seq)?.into_iter().next();
        let event_seq = match &kept {
            Some(Kept::Event { seq, .. }) => Some(*seq),
            _ => None,
        };
        let archived_in = match &kept {
            None => archived_in(connection, &row)?,
            Some(_) => None,
        };
        let payload = kept.and_then(|kept| serde_json::from_str(kept.text()).ok());
        Ok(TrailRow {
            row,
            event_seq,
            payload,
            archived_in,
        })
    })
    .collect()
}

/// The archive that holds the event of a row, if one does.
fn archived_in(connection: &Connection, row: &Row) -> Result<Option<String>, Fault> {
    match &row.entry.workflow {
        Some(workflow) if row.entry.kind.starts_with(EVENT) => archive::holds(connection, workflow),
        _ => Ok(None),
    }
}

/// Verifies all of it: the chain, that each row has its payload and the payload its hash, that the
/// events of each workflow are numbered in the order of the chain, and that nothing lies beside it.
/// A payload may only be missing where a row of the chain says that it was archived.
pub(crate) fn verify(connection: &Connection) -> Result<Verification, Fault> {
    let mut walk = Walk {
        connection,
        last: HashMap::new(),
        so_far: Verification {
            rows: 0,
            events: 0,
            calls: 0,
            archived: 0,
            archives: 0,
            head: Head::genesis(),
            broken: None,
        },
    };
    walk.so_far.broken = walk.find_broken()?;
    Ok(walk.so_far)
}

struct Walk<'a> {
    connection: &'a Connection,
    /// The last event of each workflow.
    last: HashMap<String, u64>,
    so_far: Verification,
}

impl Walk<'_> {
    fn find_broken(&mut self) -> Result<Option<Broken>, Fault> {
        loop {
            let rows = match self.next_rows(PAGE) {
                Ok(rows) => rows,
                // One of them cannot be read at all: which one is found by reading them singly.
                Err(Fault::Altered(why)) => match self.next_rows(1) {
                    Err(_) => {
                        return Ok(Some(Broken {
                            seq: self.so_far.head.seq + 1,
                            why,
                        }));
                    }
                    Ok(rows) => rows,
                },
                Err(fault) => return Err(fault),
            };
            if rows.is_empty() {
                return match self.find_orphan()? {
                    None => archive::find_broken(self.connection),
                    orphan => Ok(orphan),
                };
            }
            for row in rows {
                if let Some(why) = self.check(&row)? {
                    return Ok(Some(Broken { seq: row.seq, why }));
                }
            }
        }
    }

    fn next_rows(&self, limit: usize) -> Result<Vec<Row>, Fault> {
        Ok(audit_store::read(
            self.connection,
            self.so_far.head.seq,
            limit,
            None,
        )?)
    }

    /// What is wrong with a row; counts it if nothing is.
    fn check(&mut self, row: &Row) -> Result<Option<String>, Fault> {
        let head = self.so_far.head.clone();
        let head = match audit::verify_from(head, [Ok::<_, Infallible>(row.clone())]) {
            Ok(head) => head,
            Err(VerifyError::Broken(broken)) => return Ok(Some(broken.why.to_string())),
            Err(VerifyError::Read(never)) => match never {},
        };
        let mut kept = match kept(self.connection, row.seq) {
            Ok(kept) => kept,
            Err(Fault::Altered(why)) => return Ok(Some(why)),
            Err(fault) => return Err(fault),
        };
        if kept.is_empty() && archived_in(self.connection, row)?.is_some() {
            self.so_far.archived += 1;
            self.so_far.rows += 1;
            self.so_far.head = head;
            return Ok(None);
        }
        let (Some(kept), true) = (kept.pop(), kept.is_empty()) else {
            return Ok(Some(
                "its payload is not there, or there are two of it".to_owned(),
            ));
        };
        let value = serde_json::from_str(kept.text()).ok();
        if value.map(|value: Value| audit::payload_sha256(&value))
            != Some(row.entry.payload_sha256.clone())
        {
            return Ok(Some(audit::Why::Payload.to_string()));
        }
        match kept {
            Kept::Call { .. } => self.so_far.calls += 1,
            Kept::Archive { .. } => self.so_far.archives += 1,
            Kept::Event {
                workflow,
                seq,
                at,
                actor,
                kind,
                ..
            } => {
                let entry = &row.entry;
                if entry.workflow.as_deref() != Some(&sanitize(&workflow))
                    || entry.actor != sanitize(&actor)
                    || entry.kind != append::audit_kind(&kind)
                    || append::timestamp(at).ok() != Some(entry.at)
                {
                    return Ok(Some("it and its event do not say the same".to_owned()));
                }
                let last = self.last.entry(workflow).or_default();
                if seq != *last + 1 {
                    return Ok(Some(
                        "its event is not the next one of its workflow".to_owned(),
                    ));
                }
                *last = seq;
                self.so_far.events += 1;
            }
        }
        self.so_far.rows += 1;
        self.so_far.head = head;
        Ok(None)
    }

    /// Events and calls that no row of the chain stands for.
    fn find_orphan(&self) -> Result<Option<Broken>, Fault> {
        let seq = self
            .connection
            .query_row(
                "SELECT min(audit_seq) FROM
                     (SELECT audit_seq FROM event UNION ALL SELECT audit_seq FROM call
                      UNION ALL SELECT audit_seq FROM archive)
                 WHERE audit_seq NOT IN (SELECT seq FROM audit)",
                [],
                |row| row.get::<_, Option<i64>>(0),
            )?
            .map(|seq| Broken {
                seq: u64::try_from(seq).unwrap_or(0),
                why: "something is kept for it, and the row itself is not there".to_owned(),
            });
        Ok(seq)
    }
}
