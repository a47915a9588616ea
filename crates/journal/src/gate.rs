//! The door that every opening and every write transaction passes: one process at a time.
//!
//! SQLite's own busy wait polls, so under load one process can be passed over again and again,
//! and two first openings race. Here a process waits in the kernel. Two locks make it fair: one
//! waits for `journal` only while holding `journal-next`, so whoever has just left cannot come
//! back in before the one that is next.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use home::{Held, Home, Lock, LockFile};

use crate::error::Fault;

/// Where the locks are, and a thread's worth of waiting if it is needed.
pub(crate) struct Gate {
    paths: Paths,
    doors: Option<Doors>,
    bound: Duration,
    waiting: Arc<Waiting>,
}

#[derive(Clone)]
struct Paths {
    next: PathBuf,
    journal: PathBuf,
}

/// The locks, kept open: most turns come without waiting, and take both anew.
struct Doors {
    next: LockFile,
    journal: LockFile,
}

/// Held while a write transaction runs.
#[derive(Debug)]
pub(crate) struct Pass {
    _journal: Turn,
}

#[derive(Debug)]
#[expect(dead_code, reason = "a lock is held by being there")]
enum Turn {
    /// That came at once.
    Kept(Held),
    /// That was waited for.
    Waited(Lock),
}

/// What the one who waits in the kernel and the one who wants the result share.
#[derive(Default)]
struct Waiting {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Somebody still wants what the waiting thread may get.
    wanted: bool,
    /// The thread is waiting in the kernel.
    running: bool,
    got: Option<Result<Pass, Fault>>,
}

impl Gate {
    /// Makes the directory of the locks if need be.
    pub(crate) fn new(home: &Home, bound: Duration) -> Result<Self, Fault> {
        let path = |name| home.lock_file(name).map_err(|e| Fault::home(&e));
        let paths = Paths {
            next: path("journal-next")?,
            journal: path("journal")?,
        };
        if let Some(dir) = paths.journal.parent() {
            home.ensure_dir(dir).map_err(|e| Fault::home(&e))?;
        }
        Ok(Self {
            paths,
            doors: None,
            bound,
            waiting: Arc::default(),
        })
    }

    /// Waits for its turn, at most as long as the bound: [`Fault::Locked`] after that. Each thread
    /// has a gate of its own, since only one can take what the waiting thread gets.
    pub(crate) fn enter(&mut self) -> Result<Pass, Fault> {
        if let Some(pass) = self.try_enter()? {
            return Ok(pass);
        }
        // The system has no waiting with a bound: a thread waits, and this one waits for it.
        let mut state = self.waiting.lock();
        state.wanted = true;
        if !state.running && state.got.is_none() {
            state.running = true;
            let (paths, waiting) = (self.paths.clone(), Arc::clone(&self.waiting));
            let spawned = std::thread::Builder::new()
                .name("journal-gate".to_owned())
                .spawn(move || waiting.deliver(paths.enter()));
            if let Err(error) = spawned {
                state.running = false;
                return Err(Fault::io(&error));
            }
        }
        let deadline = Instant::now() + self.bound;
        loop {
            if let Some(got) = state.got.take() {
                state.wanted = false;
                return got;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.wanted = false;
                return Err(Fault::Locked);
            }
            state = self
                .waiting
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn try_enter(&mut self) -> Result<Option<Pass>, Fault> {
        let doors = match &mut self.doors {
            Some(doors) => doors,
            None => self.doors.insert(self.paths.open()?),
        };
        let Some(_next) = doors.next.try_lock().map_err(|e| Fault::home(&e))? else {
            return Ok(None);
        };
        let journal = doors.journal.try_lock().map_err(|e| Fault::home(&e))?;
        Ok(journal.map(|journal| Pass {
            _journal: Turn::Kept(journal),
        }))
    }
}

impl Paths {
    fn open(&self) -> Result<Doors, Fault> {
        let open = |path| LockFile::open(path).map_err(|e| Fault::home(&e));
        Ok(Doors {
            next: open(&self.next)?,
            journal: open(&self.journal)?,
        })
    }

    fn enter(&self) -> Result<Pass, Fault> {
        let _next = Lock::lock(&self.next).map_err(|e| Fault::home(&e))?;
        let journal = Lock::lock(&self.journal).map_err(|e| Fault::home(&e))?;
        Ok(Pass {
            _journal: Turn::Waited(journal),
        })
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held, and a half-made state is impossible.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliver(&self, got: Result<Pass, Fault>) {
        let mut state = self.lock();
        state.running = false;
        // Whoever gave up must not be left holding the lock without knowing.
        state.got = state.wanted.then_some(got);
        self.changed.notify_all();
    }
}
