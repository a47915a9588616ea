//! What all tests need: a home, batches, another process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use engine::ports::{Batch, Hold, Journal as _, JournalError, Own, Recorded, StepRow, WorkflowRow};
use home::Home;
use journal::Journal;
use serde_json::{Value, json};
use tempfile::TempDir;
use workflow::event::Event;
use workflow::model::{StepId, WorkflowId};

/// A moment in 2025, in milliseconds.
pub(crate) const NOW: i64 = 1_760_000_000_123;

/// A home that goes away with the test.
pub(crate) struct Place {
    _dir: TempDir,
    pub(crate) home: Home,
}

pub(crate) fn place() -> Place {
    let dir = TempDir::new().unwrap();
    let home = Home::open(dir.path().join("home")).unwrap();
    Place { _dir: dir, home }
}

impl Place {
    pub(crate) fn open(&self) -> Journal {
        Journal::open(&self.home).unwrap()
    }

    pub(crate) fn db(&self) -> PathBuf {
        self.home.pilot_db()
    }

    /// A connection past the journal, to look at what it wrote, or to damage it.
    pub(crate) fn sql(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.db()).unwrap()
    }
}

/// How many frames the log of a database holds that are no remains and no room:
/// <https://www.sqlite.org/fileformat.html#the_write_ahead_log>.
pub(crate) fn frames(home: &Path) -> usize {
    let log = std::fs::read(home.join("pilot.db-wal")).unwrap();
    let page = u32::from_be_bytes(log[8..12].try_into().unwrap());
    log[32..]
        .chunks_exact(24 + page as usize)
        .take_while(|frame| frame[8..16] == log[16..24])
        .count()
}

pub(crate) fn id(name: &str) -> WorkflowId {
    WorkflowId(format!("wf_{name}"))
}

pub(crate) fn recorded(seq: u64, event: Event) -> Recorded {
    Recorded {
        seq,
        at: NOW + i64::try_from(seq).unwrap(),
        actor: "os:alice".to_owned(),
        event,
    }
}

pub(crate) fn created(workflow: &WorkflowId) -> Event {
    serde_json::from_value(json!({
        "event": "created", "id": workflow.0, "facts": [],
        "by": {"name": "alice", "assurance": "attested", "account": "os:alice"},
        "definition": {"name": "Patch the web servers", "steps": [], "approval_timeout_s": 300},
    }))
    .unwrap()
}

/// Some event with text in it.
pub(crate) fn undo_failed(step: &str) -> Event {
    Event::UndoFailed {
        step: StepId(step.to_owned()),
        why: "The host is gone".to_owned(),
    }
}

pub(crate) fn row(state: &str) -> WorkflowRow {
    WorkflowRow {
        name: "Patch the web servers".to_owned(),
        state: state.to_owned(),
        reason: None,
        created_at: NOW,
        updated_at: NOW + 1,
        requester: "alice".to_owned(),
        steps: 1,
        settled: 0,
        approval: None,
        expires_at: None,
    }
}

pub(crate) fn step(index: u64, state: &str) -> StepRow {
    StepRow {
        index,
        id: StepId(format!("step_{index}")),
        state: state.to_owned(),
        attempt: 1,
        error: None,
        sha256: None,
        size: None,
        outputs: BTreeMap::new(),
    }
}

/// A batch of events from this number on.
pub(crate) fn batch(workflow: &WorkflowId, from: u64, events: Vec<Event>) -> Batch {
    let events = events
        .into_iter()
        .zip(from..)
        .map(|(event, seq)| recorded(seq, event))
        .collect();
    Batch {
        workflow: workflow.clone(),
        events,
        row: row("running"),
        steps: Vec::new(),
        hold: Hold::Keep,
        own: Own::Keep,
    }
}

/// Stores the creation of a workflow and so many events after it, one by one.
pub(crate) async fn fill(journal: &Journal, workflow: &WorkflowId, more: u64) {
    journal
        .append(batch(workflow, 1, vec![created(workflow)]))
        .await
        .unwrap();
    for seq in 2..2 + more {
        journal
            .append(batch(workflow, seq, vec![undo_failed("a")]))
            .await
            .unwrap();
    }
}

pub(crate) fn code(error: &JournalError) -> &'static str {
    match error {
        JournalError::Conflict => "conflict",
        JournalError::Held { .. } => "held",
        JournalError::Owned => "owned",
        JournalError::Archived { .. } => "archived",
        JournalError::Store { code, .. } => code,
    }
}

/// This test program once more, in the role of `tests::role` with the arguments.
pub(crate) fn other_process(role: &str, arguments: &Value) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "--ignored", "--nocapture", "--quiet", role])
        .env("JOURNAL_TEST_ARGUMENTS", arguments.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// What this process was started with by [`other_process`].
pub(crate) fn arguments() -> Value {
    serde_json::from_str(&std::env::var("JOURNAL_TEST_ARGUMENTS").unwrap()).unwrap()
}

/// A child that is killed when the test ends, however it ends.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
