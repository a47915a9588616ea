//! A database of its own for an audit chain, with the payloads beside the hashes:
//! `control-audit.db`. Several processes write it at the same time.

mod open;
mod sink;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use home::{Home, HomeError, Lock};
use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior, params};
use serde_json::Value;

use crate::audit::{self, Broken, Entry, Head, Row, VerifyError, Why};
use crate::audit_store;

pub use sink::FileSink;

/// How long to wait for other processes before giving up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Less free space than this, in bytes, counts as a full disk before a change is run:
/// a row and what SQLite writes around it fit into it many times.
const RESERVE: u64 = 1024 * 1024;

/// Why a row cannot be recorded.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file is not a database, is damaged, or is of another kind. It is left as it is.
    #[error("Move `{}` away and keep it as evidence: it is damaged, or not an audit trail of this version", path.display())]
    Corrupted {
        /// The database.
        path: PathBuf,
    },
    /// The file was moved away while it was open: rows would go where nobody finds them.
    #[error("Start the server again: `{}` was moved away or replaced while it was open", path.display())]
    Replaced {
        /// The database.
        path: PathBuf,
    },
    /// The file or its directory cannot be written.
    #[error("Make `{}` writable for its owner: it is read-only", path.display())]
    ReadOnly {
        /// The database.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("Free some space for `{}`: the disk is full", path.display())]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// Another process holds it for longer than we wait.
    #[error("Try again, or end the process that holds `{}`: it has been locked for {} s", path.display(), PATIENCE.as_secs())]
    Locked {
        /// The database.
        path: PathBuf,
    },
    /// The state directory is not as it must be.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Any other error of SQLite.
    #[error("Check `{}`: {source}", path.display())]
    Sql {
        /// The database.
        path: PathBuf,
        /// The error of SQLite.
        source: rusqlite::Error,
    },
    /// Whoever records is gone: the server is going down.
    #[error("Start the server again: it no longer records")]
    Closed,
}

impl AuditError {
    /// The stable code of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Corrupted { .. } => "audit.corrupted",
            Self::Replaced { .. } => "audit.replaced",
            Self::ReadOnly { .. } | Self::Home(HomeError::ReadOnly { .. }) => "audit.read_only",
            Self::Full { .. } | Self::Home(HomeError::Full { .. }) => "audit.full",
            Self::Locked { .. } => "audit.locked",
            Self::Home(error) => error.code(),
            Self::Sql { .. } => "audit.io",
            Self::Closed => "audit.unavailable",
        }
    }
}

/// An open audit database. Blocking; see [`FileSink`] for use from async code.
#[derive(Debug)]
pub struct AuditFile {
    path: PathBuf,
    lock: PathBuf,
    identity: open::Identity,
    connection: Mutex<Connection>,
}

/// What is to be recorded, with its payload.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What.
    pub kind: String,
    /// In which workflow, if in one.
    pub workflow: Option<String>,
    /// The details, without secrets.
    pub payload: Value,
}

impl AuditFile {
    /// Opens `control-audit.db` in the state directory, and creates it if it is not there.
    ///
    /// # Errors
    ///
    /// [`AuditError`]. A damaged file is left as it is.
    pub fn open(home: &Home) -> Result<Self, AuditError> {
        let path = home.control_audit_db();
        let lock = home.lock_file("control-audit")?;
        if let Some(dir) = lock.parent() {
            home.ensure_dir(dir)?;
        }
        let _held = hold(&path, &lock)?;
        let connection = open::open(&path)?;
        let identity = open::identity(&path)?;
        Ok(Self {
            path,
            lock,
            identity,
            connection: Mutex::new(connection),
        })
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Records one row.
    ///
    /// # Errors
    ///
    /// [`AuditError`]; nothing is recorded then.
    pub fn record(&self, record: &Record) -> Result<Row, AuditError> {
        let mut rows = self.record_all(std::slice::from_ref(record))?;
        rows.pop().ok_or(AuditError::Closed)
    }

    /// Records several rows in one transaction: all of them or none.
    ///
    /// # Errors
    ///
    /// [`AuditError`]; nothing is recorded then.
    pub fn record_all(&self, records: &[Record]) -> Result<Vec<Row>, AuditError> {
        let _held = self.hold()?;
        self.with(|connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut rows = Vec::with_capacity(records.len());
            for record in records {
                let entry = Entry::new(
                    record.at,
                    &record.actor,
                    &record.kind,
                    record.workflow.as_deref(),
                    &record.payload,
                );
                let row = audit_store::append(&transaction, entry)?;
                transaction
                    .prepare_cached("INSERT INTO payload (seq, json) VALUES (?1, ?2)")?
                    .execute(params![row.seq.cast_signed(), record.payload.to_string()])?;
                rows.push(row);
            }
            transaction.commit()?;
            Ok(rows)
        })
    }

    /// Checks that a row could be written now, without writing one.
    ///
    /// # Errors
    ///
    /// [`AuditError`] that a record would meet.
    pub fn ready(&self) -> Result<(), AuditError> {
        let _held = self.hold()?;
        if home::free_bytes(&self.path)? < RESERVE {
            return Err(AuditError::Full {
                path: self.path.clone(),
            });
        }
        self.with(|connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            audit_store::head(&transaction)?;
            transaction.rollback()
        })
    }

    /// The head of the chain.
    ///
    /// # Errors
    ///
    /// [`AuditError`].
    pub fn head(&self) -> Result<Head, AuditError> {
        self.with(|connection| audit_store::head(connection))
    }

    /// At most `limit` rows after `after_seq` with their payloads; of one workflow if given.
    ///
    /// # Errors
    ///
    /// [`AuditError`].
    pub fn read(
        &self,
        after_seq: u64,
        limit: usize,
        workflow: Option<&str>,
    ) -> Result<Vec<(Row, Value)>, AuditError> {
        self.with(|connection| {
            let rows = audit_store::read(connection, after_seq, limit, workflow)?;
            let mut payload =
                connection.prepare_cached("SELECT json FROM payload WHERE seq = ?1")?;
            rows.into_iter()
                .map(|row| {
                    let json: String = payload.query_row([row.seq.cast_signed()], |r| r.get(0))?;
                    Ok((row, serde_json::from_str(&json).unwrap_or(Value::Null)))
                })
                .collect()
        })
    }

    /// Verifies the whole chain, and each payload against its hash.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] with the first row that does not fit, or that cannot be read.
    pub fn verify(&self) -> Result<Head, VerifyError<AuditError>> {
        let read = |e| VerifyError::Read(self.classify(e));
        let connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut statement = connection
            .prepare(
                "SELECT audit.seq, at, actor, kind, workflow, payload_sha256, prev, hash, json
                 FROM audit LEFT JOIN payload ON payload.seq = audit.seq ORDER BY audit.seq",
            )
            .map_err(read)?;
        let rows = statement
            .query_map([], |row| {
                Ok((audit_store::row(row)?, row.get::<_, Option<String>>(8)?))
            })
            .map_err(read)?;
        let mut head = Head::genesis();
        for pair in rows {
            let (row, json) = pair.map_err(read)?;
            head = audit::follow(&head, &row)?;
            let payload = json.and_then(|json| serde_json::from_str::<Value>(&json).ok());
            if payload.map(|p| audit::payload_sha256(&p)) != Some(row.entry.payload_sha256) {
                return Err(Broken {
                    seq: row.seq,
                    why: Why::Payload,
                }
                .into());
            }
        }
        Ok(head)
    }

    /// Takes the lock, and makes sure that the file is still the one that was opened.
    fn hold(&self) -> Result<Lock, AuditError> {
        let held = hold(&self.path, &self.lock)?;
        if open::identity(&self.path).ok() != Some(self.identity) {
            return Err(AuditError::Replaced {
                path: self.path.clone(),
            });
        }
        Ok(held)
    }

    fn with<T>(
        &self,
        run: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, AuditError> {
        // A panic in a transaction rolled it back, so the connection is as good as before.
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        run(&mut connection).map_err(|e| self.classify(e))
    }

    fn classify(&self, error: rusqlite::Error) -> AuditError {
        open::classify(&self.path, error)
    }
}

/// The lock that every writer holds: SQLite's own waiting would starve some of them.
fn hold(path: &Path, lock: &Path) -> Result<Lock, AuditError> {
    Lock::lock_within(lock, PATIENCE)?.ok_or_else(|| AuditError::Locked {
        path: path.to_owned(),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
