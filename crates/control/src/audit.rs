//! The audit chain of this program: opened when it is first needed, and tried again by the
//! next call if it cannot be.

use std::sync::{Mutex, OnceLock, PoisonError};

use futures_util::future::Either;
use home::Home;
use jiff::Timestamp;
use policy::audit_file::{AuditError, AuditFile, FileSink};
use policy::guarded::AuditSink;
use serde_json::Value;

/// Where every call is recorded.
#[derive(Debug)]
pub(crate) struct Audit {
    home: Option<Home>,
    sink: OnceLock<FileSink>,
    /// Held while it is being opened.
    opening: Mutex<()>,
}

impl Audit {
    pub(crate) fn new(home: Option<Home>) -> Self {
        Self {
            home,
            sink: OnceLock::new(),
            opening: Mutex::new(()),
        }
    }

    fn sink(&self) -> Result<&FileSink, AuditError> {
        if let Some(sink) = self.sink.get() {
            return Ok(sink);
        }
        let _one_at_a_time = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sink) = self.sink.get() {
            return Ok(sink);
        }
        let home = self.home.as_ref().ok_or(AuditError::Closed)?;
        let sink = FileSink::new(AuditFile::open(home)?, Timestamp::now)?;
        Ok(self.sink.get_or_init(|| sink))
    }
}

impl AuditSink for Audit {
    async fn ready(&self) -> Result<(), AuditError> {
        self.sink()?.ready().await
    }

    fn record(
        &self,
        kind: &str,
        actor: &str,
        workflow: Option<&str>,
        payload: Value,
    ) -> impl Future<Output = Result<(), AuditError>> + Send {
        match self.sink() {
            Ok(sink) => Either::Left(sink.record(kind, actor, workflow, payload)),
            Err(error) => Either::Right(std::future::ready(Err(error))),
        }
    }

    fn record_detached(&self, kind: &str, actor: &str, workflow: Option<&str>, payload: Value) {
        match self.sink() {
            Ok(sink) => sink.record_detached(kind, actor, workflow, payload),
            Err(error) => tracing::error!(code = error.code(), "an audit row was lost: {error}"),
        }
    }
}
