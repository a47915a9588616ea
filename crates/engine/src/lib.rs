//! Room `engine`: performs what `workflow` decided.
//!
//! One turn of a workflow is: apply the deadlines that are due, decide, commit the events, show
//! the new state, perform the effects. Each effect reports back as a command, and so begins the
//! next turn. Turns of one workflow come one after the other; workflows do not wait for each other.
//!
//! # Guarantees
//!
//! - A change is sent after its intent is durable, and not at all when the store fails.
//! - What a caller was shown is durable: events that wait for the next commit are committed
//!   before anybody is answered.
//! - Only the owner of a workflow sends its calls.
//!
//! # Invariants by absence
//!
//! - Nothing in here decides what follows from what: that is `workflow`.
//! - Nothing in here knows SQL, MCP, a child process or a socket: those are behind [`ports`].
//! - No answer of a companion is given to the journal.

mod live;
mod looking;
mod perform;
pub mod ports;
mod results;
mod reviewing;
mod rows;
pub mod system;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::{Notify, Semaphore, watch};
use workflow::decide::{Command, Rules, next_deadline};
use workflow::define::Bounds;
use workflow::event::{Event, Principal};
use workflow::model::{ApprovalId, StepId, WorkflowId};
use workflow::refusal::Refusal;
use workflow::state::{State, Status};

use live::Live;
use ports::{Clock as _, Ids as _, JournalError, Owners as _, Ports};
pub use results::Kept;
use results::Results;

/// What an operator sets.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The rules on approvals.
    pub rules: Rules,
    /// The bounds on definitions.
    pub bounds: Bounds,
    /// How long one call may take where its step does not say.
    pub call_timeout: Duration,
    /// How long a preview or a probe may take.
    pub read_timeout: Duration,
    /// How many different people can be authenticated here: a quorum that needs more is refused.
    pub deciders: u32,
    /// How long events may wait for the next commit, when nothing that follows needs them durable.
    pub linger: Duration,
}

/// How many workflows are kept in memory before some of those at rest are forgotten.
const LIVE: usize = 256;

/// How many steps they may have in all before that.
const LIVE_STEPS: usize = 5_000;

/// How many calls may be under way in all. Who waits for one is served in turn.
const CALLS: usize = 128;

/// A workflow as it is shown: durable, and with what cannot be written down when the store fails.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Where it stands.
    pub state: Arc<State>,
    /// Why nothing goes on although the state says that it does: the store fails.
    pub stalled: Option<JournalError>,
}

impl Shown {
    /// Whether something is going on that is worth waiting for.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.stalled.is_none() && self.state.status().is_busy()
    }
}

/// The engine. Cheap to clone; all clones are one.
pub struct Engine<P: Ports> {
    inner: Arc<Inner<P>>,
}

impl<P: Ports> Clone for Engine<P> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

struct Inner<P: Ports> {
    ports: P,
    settings: Settings,
    live: Mutex<HashMap<WorkflowId, Arc<Live>>>,
    results: Mutex<Results>,
    in_flight: std::sync::atomic::AtomicUsize,
    idle: Notify,
    closing: watch::Sender<bool>,
    calls: Semaphore,
}

impl<P: Ports> Inner<P> {
    /// Whether this process is about to end.
    fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Resolves when this process is about to end.
    async fn closed(&self) {
        // The sender lives as long as `self`: there is no other way for this to end.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }
}

impl<P: Ports> Engine<P> {
    /// An engine on these ports.
    #[must_use]
    pub fn new(ports: P, settings: Settings) -> Self {
        Self {
            inner: Arc::new(Inner {
                ports,
                settings,
                live: Mutex::new(HashMap::new()),
                results: Mutex::new(Results::default()),
                in_flight: std::sync::atomic::AtomicUsize::new(0),
                idle: Notify::new(),
                closing: watch::Sender::new(false),
                calls: Semaphore::new(CALLS),
            }),
        }
    }

    fn ports(&self) -> &P {
        &self.inner.ports
    }

    /// Makes a workflow: checks its form, then every step against the live catalog. Nothing runs.
    ///
    /// # Errors
    /// [`Refusal`], with the codes of [`workflow::define::define`], those of
    /// [`workflow::define::fits`], [`ports::Unfit`], `step.verify_not_read`, `approval.quorum`, and
    /// `store.…`; nothing is stored then.
    pub async fn create(&self, by: Principal, raw: &Map<String, Value>) -> Result<Shown, Refusal> {
        let definition = workflow::define::define(raw, self.inner.settings.bounds)?;
        let facts = self.facts(&definition).await?;
        self.check_quorum(&definition, &facts, &by)?;
        let id = self.ports().ids().workflow();
        let event = Event::Created {
            id: id.clone(),
            definition: Box::new(definition),
            by: by.clone(),
            facts,
        };
        let live = Live::create(self, &id, &by.account, event).await?;
        let shown = live.shown();
        self.make_room();
        self.lock_live().insert(id, live);
        Ok(shown)
    }

    /// Begins a workflow, or goes on with one whose owner is gone. On a workflow that waits for a
    /// person or is over nothing happens: its state is the answer.
    ///
    /// # Errors
    /// [`Refusal`] `workflow.unknown`, `workflow.rolling_back`, those of [`ports::Unfit`], `store.…`.
    pub async fn run(&self, id: &WorkflowId, by: &Principal) -> Result<(), Refusal> {
        let live = self.live(id).await?;
        live.refresh(self).await?;
        let shown = live.shown();
        match shown.state.status() {
            Status::Pending => {
                let review = Box::new(self.review(&shown.state).await?);
                let command = Command::Run {
                    by: by.clone(),
                    review,
                };
                match live.command(self, &by.account, command).await {
                    // Somebody else began it while it was looked at.
                    Err(refusal) if refusal.code == "workflow.not_pending" => Ok(()),
                    begun => begun,
                }
            }
            Status::Running | Status::RollingBack => {
                if live.adopt(self, &by.account).await? {
                    return Ok(());
                }
                live.adopt_when_free(self, &by.account);
                if shown.state.status() == Status::RollingBack {
                    return Err(Refusal::new(
                        "workflow.rolling_back",
                        "Wait for the rollback to end (get_workflow_status with `wait_seconds`): \
                         the workflow is `rolling_back`",
                    )
                    .with("state", "rolling_back"));
                }
                Ok(())
            }
            Status::Awaiting
            | Status::Paused
            | Status::Completed
            | Status::Failed
            | Status::Cancelled
            | Status::RolledBack
            | Status::RollbackFailed => Ok(()),
        }
    }

    /// A person said yes, to the subject of the approval and to the steps that are named.
    ///
    /// # Errors
    /// [`Refusal`] `approval.void`, `approval.steps`, `approval.assurance`, `approval.requester`,
    /// `approval.already`, `workflow.held`, `workflow.unknown`, `companion.unavailable`, `store.…`.
    /// The approval stays open then.
    pub async fn approve(
        &self,
        id: &WorkflowId,
        approval: ApprovalId,
        by: Principal,
        comment: String,
        steps: Vec<StepId>,
    ) -> Result<(), Refusal> {
        let live = self.live(id).await?;
        live.refresh(self).await?;
        let state = live.shown().state;
        let plan = state
            .approval()
            .is_some_and(|a| a.subject == workflow::event::Subject::Plan);
        // A plan is void when the catalog says something else by now, so it is asked again.
        let facts = if plan {
            self.facts_now(&state).await?
        } else {
            Vec::new()
        };
        let account = by.account.clone();
        let command = Command::Approve {
            approval,
            by,
            comment,
            steps,
            facts,
        };
        live.command(self, &account, command).await
    }

    /// A person said no.
    ///
    /// # Errors
    /// [`Refusal`] `approval.void`, `approval.assurance`, `workflow.unknown`, `store.…`.
    pub async fn reject(
        &self,
        id: &WorkflowId,
        approval: ApprovalId,
        by: Principal,
        reason: String,
    ) -> Result<(), Refusal> {
        let account = by.account.clone();
        let command = Command::Reject {
            approval,
            by,
            reason,
        };
        self.live(id).await?.command(self, &account, command).await
    }

    /// Stops a workflow; what is in flight is settled first.
    ///
    /// # Errors
    /// [`Refusal`] `workflow.rolling_back`, `workflow.ended`, `workflow.unknown`, `store.…`.
    pub async fn cancel(&self, id: &WorkflowId, by: Principal) -> Result<(), Refusal> {
        let account = by.account.clone();
        let live = self.live(id).await?;
        live.command(self, &account, Command::Cancel { by }).await
    }

    /// Asks for the rollback of a workflow that is at rest; it begins once that is approved.
    ///
    /// # Errors
    /// [`Refusal`] `workflow.not_undoable`, `workflow.nothing_to_undo`, `workflow.unknown`, `store.…`.
    pub async fn rollback(&self, id: &WorkflowId, by: Principal) -> Result<(), Refusal> {
        let account = by.account.clone();
        let live = self.live(id).await?;
        live.command(self, &account, Command::Rollback { by }).await
    }

    /// Lets a paused workflow go on: unknown steps are probed once more, and what needs an
    /// approval is asked anew. One whose owner is gone goes on as with [`Engine::run`].
    ///
    /// # Errors
    /// [`Refusal`] `workflow.not_paused`, `step.still_unknown`, those of [`ports::Unfit`],
    /// `workflow.unknown`, `store.…`.
    pub async fn resume(&self, id: &WorkflowId, by: Principal) -> Result<(), Refusal> {
        let live = self.live(id).await?;
        live.refresh(self).await?;
        let mut state = live.shown().state;
        if state.status().is_busy() {
            if live.adopt(self, &by.account).await? {
                return Ok(());
            }
            // What it is now: somebody may have brought it to rest meanwhile.
            state = live.shown().state;
            if state.status().is_busy() && !live.owned() {
                return Err(store_refusal(&JournalError::Owned));
            }
        }
        let mut probes = BTreeMap::new();
        let mut review = None;
        if state.status() == Status::Paused {
            for step in state.unknown_steps() {
                if let Some(verify) = workflow::decide::probe_of(&state, &step) {
                    probes.insert(step.clone(), self.probe(id, &step, &verify).await);
                }
            }
            if !state.plan_approved {
                review = Some(Box::new(self.review(&state).await?));
            }
        }
        let account = by.account.clone();
        let command = Command::Resume { by, review, probes };
        live.command(self, &account, command).await
    }

    /// A person says what became of a step whose effect is unknown.
    ///
    /// # Errors
    /// [`Refusal`] `step.not_unknown`, `approval.assurance`, `workflow.unknown`, `store.…`.
    pub async fn resolve(
        &self,
        id: &WorkflowId,
        step: StepId,
        happened: bool,
        outputs: BTreeMap<String, Value>,
        by: Principal,
        note: String,
    ) -> Result<(), Refusal> {
        let account = by.account.clone();
        let command = Command::Resolve {
            step,
            happened,
            outputs,
            by,
            note,
        };
        self.live(id).await?.command(self, &account, command).await
    }

    /// Sends nothing new, lets what is in flight be settled for at most `bound`, and gives up what
    /// this process owns. Whether everything was settled.
    pub async fn close(&self, bound: Duration) -> bool {
        use std::sync::atomic::Ordering;
        self.inner.closing.send_replace(true);
        let settled = tokio::time::timeout(bound, async {
            loop {
                let idle = self.inner.idle.notified();
                if self.inner.in_flight.load(Ordering::SeqCst) == 0 {
                    return;
                }
                idle.await;
            }
        })
        .await
        .is_ok();
        let live: Vec<(WorkflowId, Arc<Live>)> = self
            .lock_live()
            .iter()
            .map(|(id, live)| (id.clone(), Arc::clone(live)))
            .collect();
        for (id, live) in live {
            if live.flush(self).await.is_ok() && live.owned() && settled {
                let _ = self.ports().owners().release(&id).await;
            }
        }
        settled
    }

    async fn live(&self, id: &WorkflowId) -> Result<Arc<Live>, Refusal> {
        if let Some(live) = self.lock_live().get(id) {
            return Ok(Arc::clone(live));
        }
        let live = Live::load(self, id).await?;
        self.make_room();
        // Two callers may have loaded it: the first one in stays, so that turns stay in line.
        Ok(Arc::clone(
            self.lock_live().entry(id.clone()).or_insert(live),
        ))
    }

    /// Forgets workflows that are at rest and that nobody holds, once there are many, until there
    /// are half as many: those first that were quiet for the longest time, and last those that wait
    /// for a person, whose deadline is then applied when one is looked at again. The journal has
    /// all of them.
    fn make_room(&self) {
        let mut live = self.lock_live();
        let mut steps: usize = live.values().map(|l| l.steps()).sum();
        if live.len() < LIVE && steps < LIVE_STEPS {
            return;
        }
        let idle = live
            .iter()
            .filter(|(_, live)| Arc::strong_count(live) == 1 && !live.is_needed());
        let mut quiet: Vec<_> = idle
            .map(|(id, live)| {
                let state = live.shown().state;
                let waits = next_deadline(&state).is_some();
                (waits, state.updated_at, state.steps.len(), id.clone())
            })
            .collect();
        quiet.sort_unstable();
        for (_, _, count, id) in quiet {
            if live.len() <= LIVE / 2 && steps <= LIVE_STEPS / 2 {
                break;
            }
            live.remove(&id);
            steps -= count;
        }
    }

    fn lock_live(&self) -> std::sync::MutexGuard<'_, HashMap<WorkflowId, Arc<Live>>> {
        // A panic elsewhere leaves the map whole: it is only ever inserted into and removed from.
        self.inner
            .live
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> workflow::model::Millis {
        self.ports().clock().now()
    }
}

/// The refusal for what the journal did not do.
#[must_use]
pub fn store_refusal(error: &JournalError) -> Refusal {
    match error {
        JournalError::Conflict => Refusal::new(
            "workflow.busy",
            "Call again: another process is changing this workflow at the same time",
        ),
        JournalError::Owned => Refusal::new(
            "workflow.busy",
            "Call again in a moment: another process is at work on this workflow",
        ),
        JournalError::Held { by } => Refusal::new(
            "workflow.held",
            format!(
                "Wait until workflow `{by}` is over, or cancel it: it is changing an object that \
                 this workflow would change"
            ),
        )
        .with("held_by", by.0.clone()),
        JournalError::Archived { file } => Refusal::new(
            "workflow.archived",
            format!("Look into `archive/{file}` of the home: the workflow was archived there"),
        )
        .with("file", file.clone()),
        JournalError::Store { code, message } => Refusal::new(code, message.clone()),
    }
}
