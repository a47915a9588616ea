//! Locks between processes, held on files.
//!
//! A lock is freed when its holder drops it or dies, however it dies. It belongs to the
//! open file (`flock`), so a child process that inherits the descriptor holds it too.
//! Two locks on one path exclude each other within one process as well.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::HomeError;

/// The file of a lock, kept open: for a lock that is taken again and again.
#[derive(Debug)]
pub struct LockFile {
    file: Arc<File>,
    path: PathBuf,
}

impl LockFile {
    /// Opens the file, which is created if need be (0600).
    ///
    /// # Errors
    ///
    /// [`HomeError`] if the file cannot be opened.
    pub fn open(path: &Path) -> Result<Self, HomeError> {
        let Lock { file, path } = Lock::open(path)?;
        Ok(Self {
            file: Arc::new(file),
            path,
        })
    }

    /// Takes the lock if it is free; `None` if someone holds it, be it through this very file.
    ///
    /// # Errors
    ///
    /// [`HomeError`] if the file cannot be locked.
    pub fn try_lock(&mut self) -> Result<Option<Held>, HomeError> {
        // The system would give it once more to the file that has it.
        if Arc::get_mut(&mut self.file).is_none() {
            return Ok(None);
        }
        let taken = attempt(&self.file, &self.path)?;
        Ok(taken.then(|| Held(Arc::clone(&self.file))))
    }
}

/// The lock of a [`LockFile`], held until it is dropped.
#[derive(Debug)]
pub struct Held(Arc<File>);

impl Drop for Held {
    fn drop(&mut self) {
        // It is held on an open file, and unlocking that cannot fail.
        let _ = self.0.unlock();
    }
}

/// An exclusive lock, held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Waits for the lock, for as long as it takes. The file is created if need be (0600).
    ///
    /// # Errors
    ///
    /// [`HomeError`] if the file cannot be opened or locked.
    #[expect(
        clippy::self_named_constructors,
        reason = "the three ways to take a lock are named as those of `std::fs::File`"
    )]
    pub fn lock(path: &Path) -> Result<Self, HomeError> {
        let lock = Self::open(path)?;
        lock.file.lock().map_err(|e| HomeError::from_io(path, e))?;
        Ok(lock)
    }

    /// Takes the lock if it is free; `None` if someone holds it.
    ///
    /// # Errors
    ///
    /// [`HomeError`] if the file cannot be opened or locked.
    pub fn try_lock(path: &Path) -> Result<Option<Self>, HomeError> {
        let lock = Self::open(path)?;
        Ok(attempt(&lock.file, &lock.path)?.then_some(lock))
    }

    /// Waits for the lock at most so long; `None` if it was held all the time.
    ///
    /// The system has no waiting with a bound, so this asks again in short, growing
    /// pauses of 20 ms at most, and never past the bound.
    ///
    /// # Errors
    ///
    /// [`HomeError`] if the file cannot be opened or locked.
    pub fn lock_within(path: &Path, bound: Duration) -> Result<Option<Self>, HomeError> {
        let lock = Self::open(path)?;
        let start = Instant::now();
        let mut pause = Duration::from_micros(200);
        loop {
            if attempt(&lock.file, &lock.path)? {
                return Ok(Some(lock));
            }
            let left = bound.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            std::thread::sleep(pause.min(left));
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// The file that the lock is held on, for a child process to inherit.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn open(path: &Path) -> Result<Self, HomeError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|e| HomeError::from_io(path, e))?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }
}

fn attempt(file: &File, path: &Path) -> Result<bool, HomeError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(e)) => Err(HomeError::from_io(path, e)),
    }
}
