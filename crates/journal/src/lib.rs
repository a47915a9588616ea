//! Room `journal`: the only SQL of the orchestrator. Events, projections and the audit chain of a
//! home, in one transaction (P11, P18).
//!
//! - [`Journal`] is the durable record behind [`engine::ports::Journal`]: SQLite in WAL mode on the
//!   home's `pilot.db`. One thread of the process writes and commits what has queued up together;
//!   reads go beside it on connections of their own.
//! - [`Sink`] records tool calls in the same audit chain ([`policy::guarded::AuditSink`]).
//! - [`Owner`] and [`Journal::claim`]: who may send the calls of a workflow.
//!
//! What is acknowledged is durable; what is refused is not there, not even in part. Several
//! processes may use one home at the same time.
//!
//! # Invariants by absence
//!
//! - Nothing in here reads a clock for a record: every time is handed in.
//! - Nothing in here decides anything about a workflow, or folds events.
//! - Nothing in here deletes or alters an event, a call's record or an audit row.
//! - Nothing in here writes to a database that is damaged, another program's, or of a newer version.
//! - Nothing in here opens a socket or starts a process. Its only SQL beside its own is
//!   `policy::audit_store`'s.

mod append;
mod error;
mod file;
mod gate;
mod owner;
mod query;
mod reader;
mod schema;
mod sink;
mod trail;
mod writer;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use engine::ports::{self, Batch, JournalError, Listed, Recorded, StepRow, WorkflowRow};
use home::Home;
use tokio::sync::oneshot;
use workflow::model::{Millis, WorkflowId};

use crate::error::Fault;
use crate::file::Place;
use crate::gate::Gate;
use crate::reader::Readers;
use crate::writer::{Health, Refusal, Start, Writer};

pub use error::OpenError;
pub use owner::{ClaimError, Owner, Ownership};
pub use sink::Sink;
pub use trail::{Broken, TrailRow, Verification};
pub use writer::Stats;

/// How a journal is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How long to wait for other processes before giving up with `store.locked`.
    pub patience: Duration,
    /// The database may not grow beyond so many pages of 4,096 bytes: `store.full` then.
    pub max_pages: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(10),
            max_pages: None,
        }
    }
}

/// The journal of a home. Clones share it; the last one to be dropped waits until all that was
/// asked is committed.
#[derive(Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

struct Inner {
    // Dropped in this order: the writer's connection is the last one, and folds the log.
    readers: Readers,
    writer: Writer,
    home: Home,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the journal of a home, and makes it if there is none. Does not wait for the disk: a
    /// new database is synced behind it, and what is asked meanwhile waits for that.
    ///
    /// # Errors
    /// [`OpenError`]: of a newer version, damaged, another program's, read-only, no space, locked
    /// for too long. The file is left as it is then.
    pub fn open(home: &Home) -> Result<Self, OpenError> {
        Self::open_with(home, &Options::default())
    }

    /// As [`Journal::open`], with options.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_with(home: &Home, options: &Options) -> Result<Self, OpenError> {
        Ok(Self {
            inner: Arc::new(Inner::open(home, options)?),
        })
    }

    /// The rows of a workflow and of its steps as of its last event; `None` when there is no such
    /// workflow. A cache of the fold, for showing.
    ///
    /// # Errors
    /// [`JournalError::Store`].
    pub async fn projection(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Option<(WorkflowRow, Vec<StepRow>)>, JournalError> {
        let workflow = workflow.clone();
        self.read(move |snapshot| query::projection(snapshot, &workflow))
            .await
    }

    /// At most `limit` rows of the audit trail after the row `after_seq` (0: from the first), in
    /// order; those of one workflow if it is given.
    ///
    /// # Errors
    /// [`JournalError::Store`].
    pub async fn audit(
        &self,
        after_seq: u64,
        workflow: Option<WorkflowId>,
        limit: u32,
    ) -> Result<Vec<TrailRow>, JournalError> {
        self.read(move |snapshot| trail::page(snapshot, after_seq, workflow.as_ref(), limit))
            .await
    }

    /// Verifies the whole audit trail as it is now, and all events and records of calls against it.
    /// What is broken is part of the answer.
    ///
    /// # Errors
    /// [`JournalError::Store`] when the store cannot be read.
    pub async fn verify(&self) -> Result<Verification, JournalError> {
        self.read(|snapshot| trail::verify(snapshot)).await
    }

    /// Makes the process the owner of the workflow and returns its epoch, counted from 1. An owner
    /// that claims again keeps its epoch.
    ///
    /// # Errors
    /// [`ClaimError::Owned`] when another living process owns it; [`ClaimError::Missing`];
    /// [`ClaimError::Journal`].
    pub async fn claim(
        &self,
        workflow: &WorkflowId,
        owner: &Owner,
        now: Millis,
    ) -> Result<u64, ClaimError> {
        let (home, workflow) = (self.inner.home.clone(), workflow.clone());
        let (process, claimed) = (owner.process().to_owned(), workflow.clone());
        let asked = self
            .inner
            .writer
            .ask(move |transaction| owner::claim(transaction, &home, &claimed, &process, now));
        settled(asked).await.map_err(|refusal| match refusal {
            Refusal::Owned { process } => ClaimError::Owned { process },
            Refusal::Missing => ClaimError::Missing { workflow },
            other => ClaimError::Journal(journal_error(other)),
        })
    }

    /// Gives a workflow up. Says whether the process owned it.
    ///
    /// # Errors
    /// [`JournalError::Store`].
    pub async fn release(
        &self,
        workflow: &WorkflowId,
        owner: &Owner,
    ) -> Result<bool, JournalError> {
        let (workflow, process) = (workflow.clone(), owner.process().to_owned());
        let asked = self
            .inner
            .writer
            .ask(move |transaction| owner::release(transaction, &workflow, &process));
        settled(asked).await.map_err(journal_error)
    }

    /// Who owns a workflow, and whether that process still lives; `None` when nobody does.
    ///
    /// # Errors
    /// [`JournalError::Store`].
    pub async fn owner_of(&self, workflow: &WorkflowId) -> Result<Option<Ownership>, JournalError> {
        let (home, workflow) = (self.inner.home.clone(), workflow.clone());
        self.read(move |snapshot| owner::owner_of(snapshot, &home, &workflow))
            .await
    }

    /// What the writer of this process has done.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.writer.stats()
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, JournalError> {
        Ok(self.inner.readers.read(read).await?)
    }
}

impl Inner {
    fn open(home: &Home, options: &Options) -> Result<Self, Fault> {
        let place = Place::of(home);
        let mut gate = Gate::new(home, options.patience)?;
        let pass = gate.enter()?;
        let start = if place.prepare(options.max_pages)? {
            Start::Draft(pass)
        } else {
            Start::Open(place.writer(options.max_pages)?)
        };
        let health = Arc::<Health>::default();
        let readers = Readers::new(home.clone(), options.patience, Arc::clone(&health));
        let writer = Writer::start(place, gate, start, options.max_pages, health)?;
        Ok(Self {
            readers,
            writer,
            home: home.clone(),
        })
    }
}

impl ports::Journal for Journal {
    // Handed over before the first poll: a caller that goes away while it waits has still stored.
    fn append(&self, batch: Batch) -> impl Future<Output = Result<(), JournalError>> + Send {
        let asked = append::Ready::new(batch).map(|ready| {
            self.inner
                .writer
                .ask(move |transaction| ready.store(transaction))
        });
        async move { settled(asked?).await.map_err(journal_error) }
    }

    async fn load(&self, workflow: &WorkflowId) -> Result<Vec<Recorded>, JournalError> {
        let workflow = workflow.clone();
        self.read(move |snapshot| query::load(snapshot, &workflow))
            .await
    }

    async fn last_seq(&self, workflow: &WorkflowId) -> Result<u64, JournalError> {
        let workflow = workflow.clone();
        self.read(move |snapshot| query::last_seq(snapshot, &workflow))
            .await
    }

    async fn list(
        &self,
        states: Vec<String>,
        after: Option<WorkflowId>,
        limit: u32,
    ) -> Result<(Vec<Listed>, u64), JournalError> {
        self.read(move |snapshot| query::list(snapshot, &states, after.as_ref(), limit))
            .await
    }
}

/// Waits for what was asked of the writer.
async fn settled<T>(asked: oneshot::Receiver<Result<T, Refusal>>) -> Result<T, Refusal> {
    asked.await.unwrap_or_else(|_| Err(Fault::Stopped.into()))
}

fn journal_error(refusal: Refusal) -> JournalError {
    match refusal {
        Refusal::Conflict => JournalError::Conflict,
        Refusal::Fault(fault) => fault.into(),
        // Only a claim is refused so.
        Refusal::Missing | Refusal::Owned { .. } => {
            Fault::Misuse("the workflow belongs to another process, or to none".to_owned()).into()
        }
    }
}
