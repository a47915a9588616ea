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
//! - Nothing in here alters an event, a call's record or an audit row, or deletes one, but for
//!   [`Journal::archive`]: it takes out the events of workflows that are over, with the projections
//!   of them, once a file that was synced and read back holds these events. Audit rows and the
//!   records of calls are never deleted.
//! - Nothing in here writes to a database that is damaged, another program's, or of a newer version.
//! - Nothing in here opens a socket or starts a process. Its only SQL beside its own is
//!   `policy::audit_store`'s.

mod append;
mod archive;
mod error;
mod file;
mod gate;
mod hold;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]
mod interrupted;
mod owner;
mod query;
mod reader;
mod room;
mod schema;
mod sink;
mod trail;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
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

pub use archive::{ArchiveError, ArchiveFile, Archived, VerifiedArchive};
pub use error::OpenError;
pub use owner::{ClaimError, Owner, Ownership};
pub use sink::Sink;
pub use trail::{Broken, TrailRow, Verification};
pub use writer::Stats;

/// So often archiving begins again with a portion, when its workflows were touched meanwhile.
const CONFLICTS: u32 = 16;

/// Verifies an archive by itself, with nothing but the file: each row against its hash, each event
/// against its row, the counts, and the digest of all. That the rows are those of a chain, and not
/// made up with it, shows against the database ([`Journal::verify_archive`]), or against the
/// SHA-256 where that was noted down. Blocks while it reads.
///
/// # Errors
/// [`ArchiveError`] with the first line that cannot be trusted.
pub fn verify_archive(path: &Path) -> Result<VerifiedArchive, ArchiveError> {
    archive::verify_file(path, &mut |_| Ok(()))
}

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
    /// The owner for whom it appends.
    process: Option<Arc<str>>,
}

struct Inner {
    // Dropped in this order: the writer's connection is the last one, and folds the log.
    readers: Readers,
    writer: Writer,
    home: Home,
    patience: Duration,
    /// Held while this process archives.
    archiving: tokio::sync::Mutex<()>,
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
            process: None,
        })
    }

    /// The same journal, appending for this owner: a batch may make it the owner of its workflow, or
    /// give the workflow up ([`ports::Own`]).
    #[must_use]
    pub fn owned_by(&self, owner: &Owner) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            process: Some(owner.process().into()),
        }
    }

    /// The rows of a workflow and of its steps as of its last event; `None` when there is no such
    /// workflow. A cache of the fold, for showing.
    ///
    /// # Errors
    /// [`JournalError::Store`], [`JournalError::Archived`].
    pub async fn projection(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Option<(WorkflowRow, Vec<StepRow>)>, JournalError> {
        let workflow = workflow.clone();
        self.read(move |snapshot| {
            let rows = query::projection(snapshot, &workflow)?;
            in_place(snapshot, &workflow, rows)
        })
        .await?
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
    /// What is broken is part of the answer. Events that were archived are counted; their files are
    /// verified by [`Journal::verify_archive`].
    ///
    /// # Errors
    /// [`JournalError::Store`] when the store cannot be read.
    pub async fn verify(&self) -> Result<Verification, JournalError> {
        self.read(|snapshot| trail::verify(snapshot)).await
    }

    /// Moves the events of the workflows that are over for good, and whose last event is older than
    /// `older_than`, out of the database into new files in the home's `archive/`. A workflow that a
    /// living process owns or that holds an object stays. The audit chain stays whole, and each
    /// file has a row of kind `archived` in it. A dry run only counts.
    ///
    /// # Errors
    /// [`JournalError::Store`]; `store.locked` when another process archives for long.
    /// [`JournalError::Conflict`] when the workflows keep changing. Nothing was archived then: what
    /// fails after a first file is part of the answer.
    pub async fn archive(
        &self,
        older_than: Millis,
        now: Millis,
        dry_run: bool,
    ) -> Result<Archived, JournalError> {
        let _one_at_a_time = self.inner.archiving.lock().await;
        let (home, bound) = (self.inner.home.clone(), self.inner.patience);
        let cutoff = archive::cutoff(older_than, now);
        if dry_run {
            return self
                .read(move |snapshot| archive::count(snapshot, &home, cutoff))
                .await;
        }
        let place = home.clone();
        let (_held, strays) = self
            .read(move |snapshot| archive::begin(snapshot, &place, bound))
            .await?;
        let mut done = Archived {
            strays,
            ..Archived::default()
        };
        let mut conflicts = 0;
        loop {
            match self.archive_portion(cutoff, now).await {
                Ok(Some(made)) => {
                    done.workflows += made.workflows;
                    done.events += made.events;
                    done.files.push(made);
                }
                Ok(None) => return Ok(done),
                // One of them was touched meanwhile: the next draft is without it.
                Err(JournalError::Conflict) if conflicts < CONFLICTS => conflicts += 1,
                Err(error) if done.files.is_empty() => return Err(error),
                Err(error) => {
                    done.stopped_by = Some(error);
                    return Ok(done);
                }
            }
        }
    }

    /// One file and its transaction; `None` when nothing is left.
    async fn archive_portion(
        &self,
        cutoff: Millis,
        now: Millis,
    ) -> Result<Option<ArchiveFile>, JournalError> {
        let home = self.inner.home.clone();
        let drafted = self
            .read(move |snapshot| archive::draft(snapshot, &home, cutoff, now))
            .await?;
        let Some(draft) = drafted.map(Arc::new) else {
            return Ok(None);
        };
        let (home, settling) = (self.inner.home.clone(), Arc::clone(&draft));
        let asked = self
            .inner
            .writer
            .ask(move |transaction| archive::settle(transaction, &home, &settling, cutoff, now));
        match settled(asked).await {
            Ok(()) => Ok(Some(draft.made.clone())),
            Err(refusal) => {
                // After any other error the file stays: whether nothing was committed is sure only
                // when nobody wrote.
                if refusal == Refusal::Conflict {
                    archive::discard(&self.inner.home, &draft);
                }
                Err(journal_error(refusal))
            }
        }
    }

    /// The archives that the database knows, the oldest first.
    ///
    /// # Errors
    /// [`JournalError::Store`].
    pub async fn archives(&self) -> Result<Vec<ArchiveFile>, JournalError> {
        self.read(|snapshot| archive::all(snapshot)).await
    }

    /// Verifies an archive in the home's `archive/` by itself and against the chain: that it is the
    /// file that its audit row names, and that each of its rows is one of the chain.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub async fn verify_archive(&self, file: &str) -> Result<VerifiedArchive, ArchiveError> {
        let (home, file) = (self.inner.home.clone(), file.to_owned());
        self.read(move |snapshot| Ok(archive::verify(snapshot, &home, &file)))
            .await?
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
            patience: options.patience,
            archiving: tokio::sync::Mutex::default(),
        })
    }
}

impl ports::Journal for Journal {
    // Handed over before the first poll: a caller that goes away while it waits has still stored.
    fn append(&self, batch: Batch) -> impl Future<Output = Result<(), JournalError>> + Send {
        let (home, process) = (self.inner.home.clone(), self.process.clone());
        let asked = append::Ready::new(batch).map(|ready| {
            self.inner
                .writer
                .ask(move |transaction| ready.store(transaction, &home, process.as_deref()))
        });
        async move { settled(asked?).await.map_err(journal_error) }
    }

    async fn holders(
        &self,
        objects: BTreeSet<String>,
    ) -> Result<BTreeMap<String, WorkflowId>, JournalError> {
        self.read(move |snapshot| hold::holders(snapshot, objects))
            .await
    }

    async fn load(&self, workflow: &WorkflowId) -> Result<Vec<Recorded>, JournalError> {
        let workflow = workflow.clone();
        self.read(move |snapshot| {
            let events = query::load(snapshot, &workflow)?;
            if events.is_empty() {
                return in_place(snapshot, &workflow, events);
            }
            Ok(Ok(events))
        })
        .await?
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

/// What was found of a workflow, unless its events are in an archive.
fn in_place<T>(
    snapshot: &rusqlite::Transaction<'_>,
    workflow: &WorkflowId,
    found: T,
) -> Result<Result<T, JournalError>, Fault> {
    Ok(match query::archived_in(snapshot, workflow)? {
        Some(file) => Err(JournalError::Archived { file }),
        None => Ok(found),
    })
}

/// Waits for what was asked of the writer.
async fn settled<T>(asked: oneshot::Receiver<Result<T, Refusal>>) -> Result<T, Refusal> {
    asked.await.unwrap_or_else(|_| Err(Fault::Stopped.into()))
}

fn journal_error(refusal: Refusal) -> JournalError {
    match refusal {
        Refusal::Conflict => JournalError::Conflict,
        Refusal::Held { by } => JournalError::Held { by },
        Refusal::Owned { .. } => JournalError::Owned,
        Refusal::Archived { file } => JournalError::Archived { file },
        Refusal::Fault(fault) => fault.into(),
        // Only a claim is refused so, and it says so itself.
        Refusal::Missing => Fault::Misuse("there is no such workflow".to_owned()).into(),
    }
}
