//! Tool calls in the same audit chain as the events, through the same writer.

use std::future::Future;

use jiff::Timestamp;
use policy::audit::Entry;
use policy::audit_file::AuditError;
use policy::audit_store;
use policy::guarded::AuditSink;
use rusqlite::params;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::error::Fault;
use crate::writer::Refusal;
use crate::{Journal, append};

/// Less free space than this, in bytes, counts as a full disk before a change is run: a row and
/// what SQLite writes around it fit into it many times.
const RESERVE: u64 = 1024 * 1024;

/// Records tool calls in the journal: a row of the audit chain, and the payload in `call`.
#[derive(Debug, Clone)]
pub struct Sink {
    journal: Journal,
    now: fn() -> Timestamp,
}

impl Journal {
    /// A sink for the records of tool calls. `now` gives the time of each row.
    #[must_use]
    pub fn sink(&self, now: fn() -> Timestamp) -> Sink {
        Sink {
            journal: self.clone(),
            now,
        }
    }
}

impl Sink {
    fn ask(
        &self,
        kind: &str,
        actor: &str,
        workflow: Option<&str>,
        payload: &Value,
    ) -> oneshot::Receiver<Result<(), Refusal>> {
        let entry = Entry::new((self.now)(), actor, kind, workflow, payload);
        let payload = payload.to_string();
        self.journal.inner.writer.ask(move |transaction| {
            let row = audit_store::append(transaction, entry.clone())?;
            transaction
                .prepare_cached("INSERT INTO call (audit_seq, payload) VALUES (?1, ?2)")?
                .execute(params![append::number(row.seq)?, payload])?;
            Ok(())
        })
    }
}

impl AuditSink for Sink {
    async fn ready(&self) -> Result<(), AuditError> {
        let inner = &self.journal.inner;
        if !inner.writer.ready()? {
            // The database is still being made: an empty transaction waits for that.
            crate::settled(inner.writer.ask(|_| Ok(())))
                .await
                .map_err(audit_error)?;
        }
        let free = home::free_bytes(inner.home.root()).map_err(|e| Fault::home(&e))?;
        if free < RESERVE {
            return Err(Fault::Full.into());
        }
        Ok(())
    }

    fn record(
        &self,
        kind: &str,
        actor: &str,
        workflow: Option<&str>,
        payload: Value,
    ) -> impl Future<Output = Result<(), AuditError>> + Send {
        // Handed over before the first poll: a caller that is dropped while it waits has still
        // recorded.
        let asked = self.ask(kind, actor, workflow, &payload);
        async move { crate::settled(asked).await.map_err(audit_error) }
    }

    fn record_detached(&self, kind: &str, actor: &str, workflow: Option<&str>, payload: Value) {
        // The writer itself says when a row is lost.
        drop(self.ask(kind, actor, workflow, &payload));
    }
}

fn audit_error(refusal: Refusal) -> AuditError {
    match refusal {
        Refusal::Fault(fault) => fault.into(),
        // Only events and claims are refused so.
        Refusal::Conflict
        | Refusal::Missing
        | Refusal::Owned { .. }
        | Refusal::Held { .. }
        | Refusal::Archived { .. } => AuditError::Closed,
    }
}
