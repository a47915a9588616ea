//! Reads, beside the writer: each on a read-only connection, in one snapshot, on one of a few
//! threads that start when they are first needed.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use home::Home;
use rusqlite::{Connection, InterruptHandle, Transaction};
use tokio::sync::oneshot;

use crate::error::Fault;
use crate::file::Place;
use crate::gate::Gate;
use crate::writer::Health;

/// A long read, such as a verification, leaves the others to the rest.
const THREADS: usize = 2;

type Job = Box<dyn FnOnce(Result<&mut Connection, Fault>) -> Result<(), Fault> + Send>;

/// The threads and what waits for them.
pub(crate) struct Readers {
    queue: Arc<Queue>,
    home: Home,
    bound: Duration,
    health: Arc<Health>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    ready: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    idle: usize,
    threads: Vec<JoinHandle<()>>,
    /// To stop what each thread is reading, when all ends.
    interrupts: [Option<InterruptHandle>; THREADS],
    closed: bool,
}

impl Readers {
    pub(crate) fn new(home: Home, bound: Duration, health: Arc<Health>) -> Self {
        Self {
            queue: Arc::default(),
            home,
            bound,
            health,
        }
    }

    /// Runs a read in one snapshot and resolves to what it found.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Transaction<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let found = connection.and_then(|connection| {
                let snapshot = connection.transaction()?;
                read(&snapshot)
            });
            let fault = found.as_ref().err().cloned();
            // Whoever asked may have gone away.
            let _ = answer.send(found);
            fault.map_or(Ok(()), Err)
        });
        self.submit(job)?;
        answered.await.unwrap_or(Err(Fault::Stopped))
    }

    fn submit(&self, job: Job) -> Result<(), Fault> {
        let mut state = self.queue.lock();
        state.jobs.push_back(job);
        if state.jobs.len() <= state.idle || state.threads.len() >= THREADS {
            self.queue.ready.notify_one();
            return Ok(());
        }
        let (queue, home) = (Arc::clone(&self.queue), self.home.clone());
        let (bound, health) = (self.bound, Arc::clone(&self.health));
        let number = state.threads.len();
        let spawned = std::thread::Builder::new()
            .name("journal-read".to_owned())
            .spawn(move || queue.work(number, &home, bound, &health));
        match spawned {
            Ok(thread) => state.threads.push(thread),
            // One thread is enough to go on.
            Err(error) if state.threads.is_empty() => {
                state.jobs.pop_back();
                return Err(Fault::io(&error));
            }
            Err(_) => self.queue.ready.notify_one(),
        }
        Ok(())
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        let threads = {
            let mut state = self.queue.lock();
            state.closed = true;
            state.jobs.clear();
            state
                .interrupts
                .iter()
                .flatten()
                .for_each(InterruptHandle::interrupt);
            std::mem::take(&mut state.threads)
        };
        self.queue.ready.notify_all();
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a reader of the journal ended by a panic");
            }
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No job runs while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, number: usize, home: &Home, bound: Duration, health: &Health) {
        let mut connection = None;
        while let Some(job) = self.next() {
            if connection.is_none() {
                match open(home, bound) {
                    Ok(opened) => {
                        self.lock().interrupts[number] = Some(opened.get_interrupt_handle());
                        connection = Some(opened);
                    }
                    Err(fault) => {
                        health.note(&fault);
                        let _ = job(Err(fault));
                        continue;
                    }
                }
            }
            if let Some(opened) = connection.as_mut()
                && let Err(fault) = job(Ok(opened))
            {
                health.note(&fault);
                // The next read begins afresh.
                connection = None;
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            state.idle += 1;
            state = self
                .ready
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}

fn open(home: &Home, bound: Duration) -> Result<Connection, Fault> {
    let _pass = Gate::new(home, bound)?.enter()?;
    let connection = Place::of(home).reader()?;
    crate::schema::check(&connection)?;
    Ok(connection)
}
