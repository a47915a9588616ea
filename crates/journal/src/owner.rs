//! Who may send the calls of a workflow: one living process at a time.
//!
//! A process lives as long as it holds the lock on its file in `owners/`; the system frees it
//! however the process ends. The table says which process owns a workflow. The epoch grows with
//! each new owner, so that what an older one left in flight can be told apart.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engine::ports::JournalError;
use home::{Home, Lock};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use workflow::model::{Millis, WorkflowId};

use crate::error::Fault;
use crate::query::unsigned;
use crate::writer::Refusal;

/// Guards the directory of the owners while a file comes or goes.
const LOCK: &str = "owners";

/// How long to wait for it: whoever holds it, holds it for a moment.
const BOUND: Duration = Duration::from_secs(10);

/// This process, as an owner of workflows. It counts as alive until this is dropped, or until the
/// process and every child that it started meanwhile have ended: they inherit [`Owner::file`].
#[derive(Debug)]
pub struct Owner {
    process: String,
    file: File,
    path: PathBuf,
}

impl Owner {
    /// Registers this process in the home, under a name that no other has, and clears away what
    /// ended processes left. `now` only makes the name unique.
    ///
    /// # Errors
    /// [`JournalError::Store`] when the directory `owners` of the home cannot be written.
    pub fn register(home: &Home, now: Millis) -> Result<Self, JournalError> {
        Ok(Self::begin(home, now)?)
    }

    fn begin(home: &Home, now: Millis) -> Result<Self, Fault> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let home_fault = |e| Fault::home(&e);
        // Nobody may take the new file for one that was left behind before its lock is held.
        let lock = home.lock_file(LOCK).map_err(home_fault)?;
        let owners = home.root().join("owners");
        for dir in lock.parent().into_iter().chain([owners.as_path()]) {
            home.ensure_dir(dir).map_err(home_fault)?;
        }
        let held = Lock::lock_within(&lock, BOUND).map_err(home_fault)?;
        let _held = held.ok_or(Fault::Locked)?;
        sweep(&owners)?;
        loop {
            let count = COUNTER.fetch_add(1, Ordering::Relaxed);
            let process = format!("{}-{now}-{count}", std::process::id());
            let path = file_of(home, &process)?;
            let made = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path);
            let file = match made {
                Ok(file) => file,
                // Its owner lives, or the sweep would have taken it.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(Fault::io(&error)),
            };
            file.lock().map_err(|e| Fault::io(&e))?;
            // Children inherit it, and with it the lock: while one of them may still be at work,
            // its dead parent counts as alive, and nobody probes or sends again behind its back.
            rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty())
                .map_err(|e| Fault::io(&e.into()))?;
            return Ok(Self {
                process,
                file,
                path,
            });
        }
    }

    /// What names this process in the table.
    #[must_use]
    pub fn process(&self) -> &str {
        &self.process
    }

    /// The file that the lock is held on, for a child process to inherit.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // A file that stays is cleared away by the next process that registers.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Removes the files whose owners have ended.
fn sweep(dir: &Path) -> Result<(), Fault> {
    for entry in std::fs::read_dir(dir).map_err(|e| Fault::io(&e))? {
        let path = entry.map_err(|e| Fault::io(&e))?.path();
        if !is_held(&path)? {
            // Whatever is wrong with one file, the others can still be swept.
            let _ = std::fs::remove_file(&path);
        }
    }
    Ok(())
}

fn file_of(home: &Home, process: &str) -> Result<PathBuf, Fault> {
    home.owner_file(&format!("{process}.lock"))
        .map_err(|e| Fault::home(&e))
}

/// Whether the process still lives.
pub(crate) fn lives(home: &Home, process: &str) -> Result<bool, Fault> {
    is_held(&file_of(home, process)?)
}

/// Whether somebody holds the lock on the file. Asks with a shared lock, so that two that ask at
/// the same time do not take each other for the owner.
fn is_held(path: &Path) -> Result<bool, Fault> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Fault::io(&error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(Fault::io(&error)),
    }
}

/// Why a workflow was not claimed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// A living process owns it. Code `workflow.owned`.
    #[error(
        "Wait until the other process has finished with this workflow, or end it: process {process} runs it"
    )]
    Owned {
        /// Which one.
        process: String,
    },
    /// There is no such workflow.
    #[error("Create the workflow first: there is none with the id {workflow}")]
    Missing {
        /// Which one.
        workflow: WorkflowId,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Who owns a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// Which process.
    pub process: String,
    /// How many owners there were up to this one.
    pub epoch: u64,
    /// Since when.
    pub since: Millis,
    /// Whether that process still lives.
    pub alive: bool,
}

/// Makes the process the owner, unless a living one is. The same process keeps its epoch.
pub(crate) fn claim(
    transaction: &Transaction<'_>,
    home: &Home,
    workflow: &WorkflowId,
    process: &str,
    now: Millis,
) -> Result<u64, Refusal> {
    home::crash::point("journal.claim");
    let known = transaction
        .prepare_cached("SELECT 1 FROM workflow WHERE id = ?1")?
        .query_row([&workflow.0], |_| Ok(()))
        .optional()?;
    if known.is_none() {
        return Err(Refusal::Missing);
    }
    if let Some(file) = crate::query::archived_in(transaction, workflow)? {
        return Err(Refusal::Archived { file });
    }
    let held = transaction
        .prepare_cached("SELECT process, epoch FROM owner WHERE workflow = ?1")?
        .query_row([&workflow.0], |row| {
            Ok((row.get::<_, Option<String>>(0)?, unsigned(row, 1)?))
        })
        .optional()?;
    let epoch = match held {
        None => 1,
        Some((Some(owner), epoch)) if owner == process => return Ok(epoch),
        Some((Some(owner), _)) if lives(home, &owner)? => {
            return Err(Refusal::Owned { process: owner });
        }
        Some((_, epoch)) => epoch + 1,
    };
    transaction
        .prepare_cached(
            "INSERT INTO owner (workflow, process, epoch, since) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (workflow) DO UPDATE SET process = ?2, epoch = ?3, since = ?4",
        )?
        .execute(params![
            workflow.0,
            process,
            crate::append::number(epoch)?,
            now
        ])?;
    Ok(epoch)
}

/// Gives the workflow up, if the process owns it. Says whether it did.
pub(crate) fn release(
    transaction: &Transaction<'_>,
    workflow: &WorkflowId,
    process: &str,
) -> Result<bool, Refusal> {
    home::crash::point("journal.release");
    let changed = transaction
        .prepare_cached("UPDATE owner SET process = NULL WHERE workflow = ?1 AND process = ?2")?
        .execute([&workflow.0, process])?;
    Ok(changed > 0)
}

/// Who owns the workflow, also when that process has ended.
pub(crate) fn owner_of(
    connection: &Connection,
    home: &Home,
    workflow: &WorkflowId,
) -> Result<Option<Ownership>, Fault> {
    let held = connection
        .prepare_cached(
            "SELECT process, epoch, since FROM owner WHERE workflow = ?1 AND process IS NOT NULL",
        )?
        .query_row([&workflow.0], |row| {
            Ok((row.get::<_, String>(0)?, unsigned(row, 1)?, row.get(2)?))
        })
        .optional()?;
    let Some((process, epoch, since)) = held else {
        return Ok(None);
    };
    let alive = lives(home, &process)?;
    Ok(Some(Ownership {
        process,
        epoch,
        since,
        alive,
    }))
}
