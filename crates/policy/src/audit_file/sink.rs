//! An [`AuditFile`] for async code: one thread writes, many calls wait.

use std::sync::mpsc;
use std::thread::JoinHandle;

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::oneshot;

use super::{AuditError, AuditFile, Record};
use crate::guarded::AuditSink;

/// At most so many rows in one transaction.
const BATCH: usize = 256;

enum Job {
    Record(Record, Option<oneshot::Sender<Result<(), AuditError>>>),
    Ready(oneshot::Sender<Result<(), AuditError>>),
}

/// Records through a thread of its own. What waits at the same time shares a transaction.
/// Dropping it waits until all that was handed in is written.
#[derive(Debug)]
pub struct FileSink {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    now: fn() -> Timestamp,
}

impl FileSink {
    /// Starts the thread. `now` gives the time of each row.
    ///
    /// # Errors
    ///
    /// [`AuditError::Closed`] if the system gives no thread.
    pub fn new(file: AuditFile, now: fn() -> Timestamp) -> Result<Self, AuditError> {
        let (jobs, inbox) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || write_all(&file, &inbox))
            .map_err(|_| AuditError::Closed)?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
            now,
        })
    }

    fn send(&self, job: Job) -> Result<(), AuditError> {
        self.jobs
            .as_ref()
            .ok_or(AuditError::Closed)?
            .send(job)
            .map_err(|_| AuditError::Closed)
    }

    fn made(&self, kind: &str, actor: &str, workflow: Option<&str>, payload: Value) -> Record {
        Record {
            at: (self.now)(),
            actor: actor.to_owned(),
            kind: kind.to_owned(),
            workflow: workflow.map(str::to_owned),
            payload,
        }
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by its own hook.
            let _ = thread.join();
        }
    }
}

impl AuditSink for FileSink {
    async fn ready(&self) -> Result<(), AuditError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Ready(reply))?;
        answer.await.unwrap_or(Err(AuditError::Closed))
    }

    fn record(
        &self,
        kind: &str,
        actor: &str,
        workflow: Option<&str>,
        payload: Value,
    ) -> impl Future<Output = Result<(), AuditError>> + Send {
        // Handed over before the first poll: a caller that is dropped while it waits has
        // still recorded.
        let (reply, answer) = oneshot::channel();
        let sent = self.send(Job::Record(
            self.made(kind, actor, workflow, payload),
            Some(reply),
        ));
        async move {
            sent?;
            answer.await.unwrap_or(Err(AuditError::Closed))
        }
    }

    fn record_detached(&self, kind: &str, actor: &str, workflow: Option<&str>, payload: Value) {
        if let Err(error) = self.send(Job::Record(self.made(kind, actor, workflow, payload), None))
        {
            tracing::error!(code = error.code(), "an audit row was lost: {error}");
        }
    }
}

fn write_all(file: &AuditFile, inbox: &mpsc::Receiver<Job>) {
    while let Ok(first) = inbox.recv() {
        let mut records = Vec::new();
        let mut replies = Vec::new();
        let jobs = std::iter::once(first).chain(std::iter::from_fn(|| inbox.try_recv().ok()));
        let mut ready = Vec::new();
        for job in jobs.take(BATCH) {
            match job {
                Job::Record(record, reply) => {
                    records.push(record);
                    replies.push(reply);
                }
                Job::Ready(reply) => ready.push(reply),
            }
        }
        if !records.is_empty() {
            write(file, &records, replies);
        }
        for reply in ready {
            // Whoever no longer waits needs no answer.
            let _ = reply.send(file.ready());
        }
    }
}

fn write(
    file: &AuditFile,
    records: &[Record],
    replies: Vec<Option<oneshot::Sender<Result<(), AuditError>>>>,
) {
    // One that fails must not take the others along: then each is tried alone.
    let mut alone = match file.record_all(records) {
        Err(error) if records.len() == 1 => vec![Err(error)],
        // Each alone would wait as long as all of them did.
        Err(AuditError::Locked { path }) => records
            .iter()
            .map(|_| Err(AuditError::Locked { path: path.clone() }))
            .collect(),
        Err(_) => records
            .iter()
            .map(|record| file.record(record).map(drop))
            .collect(),
        Ok(_) => records.iter().map(|_| Ok(())).collect(),
    };
    for ((record, reply), result) in records.iter().zip(replies).zip(alone.drain(..)) {
        if let Err(error) = &result {
            tracing::error!(
                code = error.code(),
                kind = record.kind,
                "an audit row was not written: {error}"
            );
        }
        if let Some(reply) = reply {
            // Whoever no longer waits needs no answer.
            let _ = reply.send(result);
        }
    }
}
