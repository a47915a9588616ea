//! The door that every opening and every write transaction passes: one process at a time.
//!
//! SQLite's own busy wait polls, so under load one process can be passed over again and again,
//! and two first openings race. Here a process waits in the kernel. Two locks make it fair: one
//! waits for `journal` only while holding `journal-next`, so whoever has just left cannot come
//! back in before the one that is next.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use home::{Home, Lock};

use crate::error::Fault;

/// Where the locks are, and a thread's worth of waiting if it is needed.
pub(crate) struct Gate {
    paths: Paths,
    bound: Duration,
    waiting: Arc<Waiting>,
}

#[derive(Clone)]
struct Paths {
    next: PathBuf,
    journal: PathBuf,
}

/// Held while a write transaction runs.
#[derive(Debug)]
pub(crate) struct Pass {
    _journal: Lock,
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
            bound,
            waiting: Arc::default(),
        })
    }

    /// Waits for its turn, at most as long as the bound: [`Fault::Locked`] after that. Each thread
    /// has a gate of its own, since only one can take what the waiting thread gets.
    pub(crate) fn enter(&mut self) -> Result<Pass, Fault> {
        if let Some(pass) = self.paths.try_enter()? {
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
}

impl Paths {
    fn try_enter(&self) -> Result<Option<Pass>, Fault> {
        let Some(_next) = Lock::try_lock(&self.next).map_err(|e| Fault::home(&e))? else {
            return Ok(None);
        };
        let journal = Lock::try_lock(&self.journal).map_err(|e| Fault::home(&e))?;
        Ok(journal.map(|journal| Pass { _journal: journal }))
    }

    fn enter(&self) -> Result<Pass, Fault> {
        let _next = Lock::lock(&self.next).map_err(|e| Fault::home(&e))?;
        let journal = Lock::lock(&self.journal).map_err(|e| Fault::home(&e))?;
        Ok(Pass { _journal: journal })
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
