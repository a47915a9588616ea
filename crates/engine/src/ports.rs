//! What the engine needs of the world, as traits: a journal, companions, a clock, ids.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use serde_json::{Map, Value};
use workflow::event::{Direction, Event};
use workflow::model::{ApprovalId, Call, Facts, Millis, ScalarKind, StepId, WorkflowId};
use workflow::reply::Reply;

/// One event, with where it stands and who caused it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Its place in the workflow, from 1, without gaps.
    pub seq: u64,
    /// When it happened.
    pub at: Millis,
    /// Who caused it: an account, or `pilot` for what the engine itself found out.
    pub actor: String,
    /// What happened.
    pub event: Event,
}

/// The events of one turn of one workflow, with the rows that they change.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Which workflow.
    pub workflow: WorkflowId,
    /// In order; `seq` goes on from the last one stored. Never empty.
    pub events: Vec<Recorded>,
    /// The workflow's row after these events.
    pub row: WorkflowRow,
    /// The rows of the steps that these events touched, after them.
    pub steps: Vec<StepRow>,
    /// The objects that the workflow holds after these events.
    pub hold: Hold,
    /// Who sends the workflow's calls after these events.
    pub own: Own,
}

/// Who sends the calls of a workflow, in the same transaction as the events that make it so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Own {
    /// Whoever did.
    #[default]
    Keep,
    /// This process, unless another living one does: then nothing of the batch is stored.
    Take,
    /// Nobody, if this process did.
    Give,
}

/// What becomes of the objects that a workflow holds: an object is held by one workflow at a time.
/// An object is named by the digest of its identity, `sha256:` and 64 hex digits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hold {
    /// What it held.
    #[default]
    Keep,
    /// These as well. Those that it holds already count as taken.
    Take(BTreeSet<String>),
    /// None any more.
    Release,
}

/// What a list shows of a workflow: a cache of the fold.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkflowRow {
    /// Its name.
    pub name: String,
    /// The word of its state, e.g. `awaiting_approval`.
    pub state: String,
    /// Why, where the state has a reason, e.g. `drift`.
    pub reason: Option<String>,
    /// When it was made.
    pub created_at: Millis,
    /// When its last event happened.
    pub updated_at: Millis,
    /// Who asked for it.
    pub requester: String,
    /// How many steps it has.
    pub steps: u64,
    /// How many of them are settled.
    pub settled: u64,
    /// The approval that is open.
    pub approval: Option<ApprovalId>,
    /// When that one expires.
    pub expires_at: Option<Millis>,
}

/// What is shown of a step: a cache of the fold.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRow {
    /// Its place in the workflow, from 0.
    pub index: u64,
    /// Its id.
    pub id: StepId,
    /// The word of its state, e.g. `rolled_back`.
    pub state: String,
    /// The last attempt.
    pub attempt: u32,
    /// Sanitised error text of its last failure.
    pub error: Option<String>,
    /// SHA-256 of its answer.
    pub sha256: Option<String>,
    /// Size of its answer in bytes.
    pub size: Option<u64>,
    /// Its declared outputs.
    pub outputs: BTreeMap<String, Value>,
}

/// A workflow as a list shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Which workflow.
    pub workflow: WorkflowId,
    /// Its row.
    pub row: WorkflowRow,
}

/// Why the journal did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// Somebody else committed to this workflow first: load it again, and decide again.
    #[error("the workflow was changed by another process")]
    Conflict,
    /// Another workflow holds an object that this batch takes: nothing of the batch is there.
    #[error("workflow {by} holds an object that this one takes")]
    Held {
        /// Which workflow.
        by: WorkflowId,
    },
    /// Another living process sends the workflow's calls: nothing of the batch is there.
    #[error("another process is at work on the workflow")]
    Owned,
    /// The workflow's events were moved into an archive.
    #[error("the workflow was archived in {file}")]
    Archived {
        /// The name of the file in the home's `archive/`.
        file: String,
    },
    /// The store cannot be used; nothing of the batch is there. The code is one of
    /// `store.full`, `store.read_only`, `store.locked`, `store.corrupted`, `store.failed`.
    #[error("{message}")]
    Store {
        /// The stable code.
        code: &'static str,
        /// What to do, for a person.
        message: String,
    },
}

/// The durable record. An acknowledged batch is there after any crash, whole.
pub trait Journal: Send + Sync + 'static {
    /// Stores a batch, each event with its audit row, in one transaction that is durable when the
    /// future resolves. Batches of several workflows may share the transaction.
    ///
    /// # Errors
    /// [`JournalError::Conflict`] when the first `seq` is not the next one, and
    /// [`JournalError::Held`] when an object that it takes is held by another workflow, and
    /// [`JournalError::Owned`] when another process sends its calls; nothing is stored.
    fn append(&self, batch: Batch) -> impl Future<Output = Result<(), JournalError>> + Send;

    /// Of these objects those that a workflow holds, and which one does.
    ///
    /// # Errors
    /// [`JournalError::Store`].
    fn holders(
        &self,
        objects: BTreeSet<String>,
    ) -> impl Future<Output = Result<BTreeMap<String, WorkflowId>, JournalError>> + Send;

    /// All events of a workflow, in order; empty when there is no such workflow.
    ///
    /// # Errors
    /// [`JournalError::Store`], [`JournalError::Archived`].
    fn load(
        &self,
        workflow: &WorkflowId,
    ) -> impl Future<Output = Result<Vec<Recorded>, JournalError>> + Send;

    /// The number of a workflow's last event; 0 when there is no such workflow.
    ///
    /// # Errors
    /// [`JournalError::Store`].
    fn last_seq(
        &self,
        workflow: &WorkflowId,
    ) -> impl Future<Output = Result<u64, JournalError>> + Send;

    /// Workflows, the newest first: at most `limit`, after the one that `after` names, in one of
    /// `states` (all states when empty). With them, how many there are in all.
    ///
    /// # Errors
    /// [`JournalError::Store`].
    fn list(
        &self,
        states: Vec<String>,
        after: Option<WorkflowId>,
        limit: u32,
    ) -> impl Future<Output = Result<(Vec<Listed>, u64), JournalError>> + Send;
}

/// Which process sends the calls of a workflow: one living process at a time.
pub trait Owners: Send + Sync + 'static {
    /// Makes this process the owner, unless a living process is. Whether it is the owner now.
    /// Cheap where it is already.
    ///
    /// # Errors
    /// [`JournalError::Store`].
    fn claim(
        &self,
        workflow: &WorkflowId,
    ) -> impl Future<Output = Result<bool, JournalError>> + Send;

    /// Gives a workflow up.
    ///
    /// # Errors
    /// [`JournalError::Store`].
    fn release(
        &self,
        workflow: &WorkflowId,
    ) -> impl Future<Output = Result<(), JournalError>> + Send;
}

/// What goes beside a call in the request's `_meta`.
#[derive(Clone, Debug, PartialEq)]
pub struct Meta {
    /// Names the deed over all attempts.
    pub key: String,
    /// Of this attempt.
    pub attempt: u32,
    /// The identity that was prepared, for the companion to compare right before the change.
    pub target: Option<Map<String, Value>>,
}

/// One call to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// What is called, with every reference resolved.
    pub call: Call,
    /// For which workflow and step, for the record.
    pub workflow: WorkflowId,
    /// For which step.
    pub step: StepId,
    /// There or back.
    pub direction: Direction,
    /// What the catalog says of it.
    pub facts: Facts,
    /// What goes beside it.
    pub meta: Meta,
    /// How long it may take.
    pub timeout: Duration,
}

/// Why a call cannot be made at all: found out before anything is sent.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Unfit {
    /// The stable code: `step.unknown_skill`, `step.unknown_tool`, `step.unknown_action`,
    /// `step.arguments`, `companion.unavailable`, `companion.config`, `policy.denied`.
    pub code: &'static str,
    /// One sentence that leads with what to do; sanitised, without values of arguments.
    pub message: String,
    /// `given`, `allowed`, `nearest`, `pointer`, as far as they help.
    pub extra: Map<String, Value>,
}

/// The companions.
pub trait Dispatch: Send + Sync + 'static {
    /// What the live catalog says of a call, after checking that the companion starts, that the
    /// tool and the action exist, and that the arguments fit the tool's own JSON schema. `holes`
    /// names the places (JSON Pointer into the arguments) whose value is a reference that is not
    /// resolved yet, with the type it will have.
    ///
    /// # Errors
    /// [`Unfit`], when the call could not be made as it is.
    fn describe(
        &self,
        call: &Call,
        holes: &BTreeMap<String, ScalarKind>,
    ) -> impl Future<Output = Result<Facts, Unfit>> + Send;

    /// Sends a call and waits for what comes of it. Never fails: whatever happens is a [`Reply`].
    fn call(&self, outgoing: Outgoing) -> impl Future<Output = Reply> + Send;
}

/// What time it is.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Millis;
    /// Resolves at that moment, or later.
    fn until(&self, at: Millis) -> impl Future<Output = ()> + Send;
}

/// Names for new things.
pub trait Ids: Send + Sync + 'static {
    /// For a workflow.
    fn workflow(&self) -> WorkflowId;
    /// For an approval.
    fn approval(&self) -> ApprovalId;
    /// Any number, another one each time.
    fn number(&self) -> u64;
}

/// All of them together: what an [`crate::Engine`] is built on.
pub trait Ports: Send + Sync + 'static {
    /// The durable record.
    type Journal: Journal;
    /// Who sends.
    type Owners: Owners;
    /// The companions.
    type Dispatch: Dispatch;
    /// The time.
    type Clock: Clock;
    /// The names.
    type Ids: Ids;

    /// The durable record.
    fn journal(&self) -> &Self::Journal;
    /// Who sends.
    fn owners(&self) -> &Self::Owners;
    /// The companions.
    fn dispatch(&self) -> &Self::Dispatch;
    /// The time.
    fn clock(&self) -> &Self::Clock;
    /// The names.
    fn ids(&self) -> &Self::Ids;
}
