//! The one thread of the process that writes. It takes what has queued up and commits it in one
//! transaction, so that many workflows share the price of making it durable.
//!
//! A piece of work that is refused leaves the others alone: the transaction is begun anew then, with a
//! savepoint for each, which costs a copy of every page that it touches. An answer goes out only after
//! the commit. After a transaction that failed the thread goes on with
//! the next one, since a full disk may have space again; only a damaged database stays closed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::JoinHandle;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;
use workflow::model::WorkflowId;

use crate::error::Fault;
use crate::file::{self, Identity, Place};
use crate::gate::{Gate, Pass};
use crate::room::Room;
use crate::schema;

/// So much work shares one transaction at most: other processes want their turn.
const GROUP: usize = 128;

/// Why a piece of work did not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Somebody else was first.
    Conflict,
    /// There is no such workflow.
    Missing,
    /// A living process owns the workflow.
    Owned { process: String },
    /// Another workflow holds an object.
    Held { by: WorkflowId },
    /// The workflow's events are in an archive.
    Archived { file: String },
    /// The store.
    Fault(Fault),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Fault(error.into())
    }
}

/// What all threads of a journal know of the database.
#[derive(Debug, Default)]
pub(crate) struct Health {
    damaged: AtomicBool,
}

impl Health {
    /// Remembers that the database is damaged: nothing more is written to it.
    pub(crate) fn note(&self, fault: &Fault) {
        if fault.is_corruption() {
            self.damaged.store(true, Ordering::Release);
        }
    }

    /// Whether it may be written.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        if self.damaged.load(Ordering::Acquire) {
            return Err(Fault::Corrupted("damage was found in it".to_owned()));
        }
        Ok(())
    }
}

/// What the writer has done since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Transactions that were committed.
    pub transactions: u64,
    /// Pieces of work (batches of events, audit rows, claims) that were committed in them.
    pub committed: u64,
    /// Pieces of work that were refused or failed.
    pub refused: u64,
}

#[derive(Debug, Default)]
struct Counters {
    transactions: AtomicU64,
    committed: AtomicU64,
    refused: AtomicU64,
}

/// Work for the transaction, and the one who waits for it.
trait Work: Send {
    fn run(&mut self, transaction: &Transaction<'_>) -> Result<(), Refusal>;
    fn answer(self: Box<Self>, end: Result<(), Refusal>);
}

struct Asked<T, F> {
    work: F,
    done: Option<T>,
    answer: oneshot::Sender<Result<T, Refusal>>,
}

impl<T, F> Work for Asked<T, F>
where
    T: Send,
    F: Fn(&Transaction<'_>) -> Result<T, Refusal> + Send,
{
    fn run(&mut self, transaction: &Transaction<'_>) -> Result<(), Refusal> {
        self.done = Some((self.work)(transaction)?);
        Ok(())
    }

    fn answer(self: Box<Self>, end: Result<(), Refusal>) {
        let answer = match (end, self.done) {
            (Ok(()), Some(done)) => Ok(done),
            (Ok(()), None) => Err(Fault::Stopped.into()),
            (Err(refusal), _) => Err(refusal),
        };
        // Whoever asked may have gone away; what was committed stays.
        let _ = self.answer.send(answer);
    }
}

/// What the thread begins with.
pub(crate) enum Start {
    /// A database that was there, opened with the gate passed.
    Open(Connection),
    /// A draft of a new one, and the pass with which it was made: to sync it takes as long as the
    /// disk likes, and whoever opens the journal need not wait for that.
    Draft(Pass),
}

/// The handle of the thread. Dropping it lets the thread finish what was asked, and waits for that.
pub(crate) struct Writer {
    queue: Option<mpsc::Sender<Box<dyn Work>>>,
    thread: Option<JoinHandle<()>>,
    place: Place,
    /// Which file the thread has open, once it has.
    identity: Arc<OnceLock<Identity>>,
    health: Arc<Health>,
    counters: Arc<Counters>,
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(
        place: Place,
        gate: Gate,
        start: Start,
        max_pages: Option<u32>,
        health: Arc<Health>,
    ) -> Result<Self, Fault> {
        let (queue, work) = mpsc::channel();
        let mut thread = Thread {
            place: place.clone(),
            identity: Arc::default(),
            gate,
            connection: None,
            room: place.room(),
            max_pages,
            health: Arc::clone(&health),
            counters: Arc::default(),
        };
        let draft = match start {
            Start::Open(connection) => {
                thread.opened(connection)?;
                None
            }
            Start::Draft(pass) => Some(pass),
        };
        let (identity, counters) = (Arc::clone(&thread.identity), Arc::clone(&thread.counters));
        let thread = std::thread::Builder::new()
            .name("journal-write".to_owned())
            .spawn(move || thread.run(draft, &work))
            .map_err(|e| Fault::io(&e))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
            place,
            identity,
            health,
            counters,
        })
    }

    /// Asks for a piece of work in a transaction. The receiver resolves when it is durable, or when
    /// nothing of it is there. It may be run a second time, when the transaction of the first failed.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        work: impl Fn(&Transaction<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> oneshot::Receiver<Result<T, Refusal>> {
        let (answer, answered) = oneshot::channel();
        let asked = Box::new(Asked {
            work,
            done: None,
            answer,
        });
        if self
            .queue
            .as_ref()
            .is_none_or(|queue| queue.send(asked).is_err())
        {
            // The answer went away with the work, which is how the one who waits notices.
            tracing::error!("the journal's writer has ended, and something was not stored");
        }
        answered
    }

    /// Whether writing can be tried, as far as it can be told without trying: false where the
    /// thread has not opened the database yet.
    pub(crate) fn ready(&self) -> Result<bool, Fault> {
        self.health.check()?;
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            return Err(Fault::Stopped);
        }
        match self.identity.get() {
            None => Ok(false),
            Some(identity) if self.place.identity()? == *identity => Ok(true),
            Some(_) => Err(Fault::Moved),
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            transactions: read(&self.counters.transactions),
            committed: read(&self.counters.committed),
            refused: read(&self.counters.refused),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the journal's writer ended by a panic");
        }
    }
}

struct Thread {
    place: Place,
    identity: Arc<OnceLock<Identity>>,
    gate: Gate,
    connection: Option<Connection>,
    room: Room,
    max_pages: Option<u32>,
    health: Arc<Health>,
    counters: Arc<Counters>,
}

impl Thread {
    fn run(mut self, draft: Option<Pass>, queued: &mpsc::Receiver<Box<dyn Work>>) {
        if let Some(_pass) = draft {
            let opened = self.place.settle().and_then(|()| self.open());
            if let Err(fault) = opened {
                // Tried again with the first work, which is then told.
                tracing::error!(
                    code = fault.code(),
                    "the journal could not be made: {fault}"
                );
            }
        }
        while let Ok(first) = queued.recv() {
            let mut group = vec![first];
            let ends = self.turn(&mut group, queued);
            for (work, end) in group.into_iter().zip(ends) {
                let counter = if end.is_ok() {
                    &self.counters.committed
                } else {
                    &self.counters.refused
                };
                counter.fetch_add(1, Ordering::Relaxed);
                work.answer(end);
            }
        }
        // A reader may have found damage.
        if self.health.check().is_err() {
            self.leave_log_alone();
        }
    }

    /// Opens the database, with the gate passed.
    fn open(&mut self) -> Result<(), Fault> {
        let connection = self.place.writer(self.max_pages)?;
        self.opened(connection)
    }

    fn opened(&mut self, connection: Connection) -> Result<(), Fault> {
        let identity = self.place.identity()?;
        if *self.identity.get_or_init(|| identity) != identity {
            return Err(Fault::Moved);
        }
        self.connection = Some(connection);
        self.room = self.place.room();
        Ok(())
    }

    fn leave_log_alone(&self) {
        if let Some(connection) = &self.connection {
            file::fold_log_at_close(connection, false);
        }
    }

    /// Waits for its turn, fills up the group with what has queued up meanwhile, and commits it.
    /// Answers for each piece of work of the group.
    fn turn(
        &mut self,
        group: &mut Vec<Box<dyn Work>>,
        queued: &mpsc::Receiver<Box<dyn Work>>,
    ) -> Vec<Result<(), Refusal>> {
        let pass = self.gate.enter();
        group.extend(queued.try_iter().take(GROUP.saturating_sub(group.len())));
        let _pass = match pass {
            Ok(pass) => pass,
            Err(fault) => return self.failed(&fault, group.len()),
        };
        match self.transact(group) {
            Ok(ends) => ends,
            // One that is too large for the disk must not take the others with it.
            Err(Fault::Full | Fault::Other(_)) if group.len() > 1 => group
                .iter_mut()
                .map(|work| {
                    let alone = self.transact(std::slice::from_mut(work));
                    let mut ends = alone.unwrap_or_else(|fault| self.failed(&fault, 1));
                    ends.pop().unwrap_or(Err(Fault::Stopped.into()))
                })
                .collect(),
            Err(fault) => self.failed(&fault, group.len()),
        }
    }

    fn failed(&self, fault: &Fault, count: usize) -> Vec<Result<(), Refusal>> {
        self.health.note(fault);
        if fault.is_corruption() {
            self.leave_log_alone();
        }
        tracing::error!(code = fault.code(), "the journal could not store: {fault}");
        vec![Err(fault.clone().into()); count]
    }

    fn transact(&mut self, group: &mut [Box<dyn Work>]) -> Result<Vec<Result<(), Refusal>>, Fault> {
        self.health.check()?;
        if self.connection.is_none() {
            if self.place.prepare(self.max_pages)? {
                self.place.settle()?;
            }
            self.open()?;
        }
        // SQLite would go on writing to a file that nobody can find any more.
        if self.identity.get() != Some(&self.place.identity()?) {
            return Err(Fault::Moved);
        }
        let has_plenty = self.place.has_plenty()?;
        let connection = self.connection.as_mut().ok_or(Fault::Stopped)?;
        // What a rollback that failed left open.
        if !connection.is_autocommit() {
            connection.execute_batch("ROLLBACK")?;
        }
        home::crash::point("journal.before_transaction");
        let mut transaction = begin(connection)?;
        if has_plenty {
            self.room.make();
        }
        let mut ends = vec![Ok(()); group.len()];
        if let Err(refusal) = together(&transaction, group) {
            // SQLite gives up the whole transaction when the disk is full or fails.
            if let Refusal::Fault(fault) = refusal
                && (transaction.is_autocommit() || fault.is_corruption())
            {
                return Err(fault);
            }
            transaction.rollback()?;
            transaction = begin(connection)?;
            ends.clear();
            for work in group {
                ends.push(attempt(&transaction, work.as_mut())?);
            }
        }
        home::crash::point("journal.before_commit");
        if let Err(error) = transaction.commit() {
            take_back(connection);
            return Err(error.into());
        }
        home::crash::point("journal.committed");
        self.counters.transactions.fetch_add(1, Ordering::Relaxed);
        Ok(ends)
    }
}

/// Begins a transaction on a database of the version that this program knows.
fn begin(connection: &mut Connection) -> Result<Transaction<'_>, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = schema::version(&transaction)?;
    if found != schema::KNOWN {
        return Err(Fault::Newer {
            found,
            known: schema::KNOWN,
        });
    }
    Ok(transaction)
}

/// Runs all pieces of work, one after the other, up to the first that is refused.
fn together(transaction: &Transaction<'_>, group: &mut [Box<dyn Work>]) -> Result<(), Refusal> {
    group.iter_mut().try_for_each(|work| work.run(transaction))
}

/// Takes a commit that failed out of the log. Where only the last sync of it failed, all of it lies
/// there, and whoever recovers the log later would take for committed what was refused. A commit
/// that changes nothing goes into its place; what was written suffices, whether it is synced or not.
fn take_back(connection: &Connection) {
    if let Err(error) = connection.pragma_update(None, "user_version", schema::KNOWN) {
        tracing::warn!(%error, "the log of the journal could not be cleared of a failed commit");
    }
}

/// Runs one piece of work in a savepoint of its own. The outer error is of the whole transaction.
fn attempt(
    transaction: &Transaction<'_>,
    work: &mut dyn Work,
) -> Result<Result<(), Refusal>, Fault> {
    let execute =
        |sql| -> Result<usize, Fault> { Ok(transaction.prepare_cached(sql)?.execute([])?) };
    execute("SAVEPOINT work")?;
    let end = work.run(transaction);
    if let Err(refusal) = &end {
        if let Refusal::Fault(fault) = refusal
            // SQLite gives up the whole transaction when the disk is full or fails.
            && (transaction.is_autocommit() || fault.is_corruption())
        {
            return Err(fault.clone());
        }
        execute("ROLLBACK TO work")?;
    }
    execute("RELEASE work")?;
    Ok(end)
}
