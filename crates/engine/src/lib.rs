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
use tokio::sync::Notify;
use workflow::decide::{Command, Rules};
use workflow::define::Bounds;
use workflow::event::{Event, Principal};
use workflow::model::{ApprovalId, StepId, WorkflowId};
use workflow::refusal::Refusal;
use workflow::state::{State, Status};

use live::Live;
use ports::{Clock as _, Ids as _, Journal as _, JournalError, Listed, Owners as _, Ports};
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
}

/// How many workflows are kept in memory before those at rest are forgotten.
const LIVE: usize = 1024;

/// How many steps they may have in all before that.
const LIVE_STEPS: usize = 100_000;

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
    closing: std::sync::atomic::AtomicBool,
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
                closing: std::sync::atomic::AtomicBool::new(false),
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
    /// [`ports::Unfit`], `step.verify_not_read`, and `store.…`; nothing is stored then.
    pub async fn create(&self, by: Principal, raw: &Map<String, Value>) -> Result<Shown, Refusal> {
        let definition = workflow::define::define(raw, self.inner.settings.bounds)?;
        let facts = self.facts(&definition).await?;
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

    /// A workflow as it stands now, with the deadlines that are due applied.
    ///
    /// # Errors
    /// [`Refusal`] `workflow.unknown`, or `store.…`.
    pub async fn show(&self, id: &WorkflowId) -> Result<Shown, Refusal> {
        let live = self.live(id).await?;
        self.refreshed(&live).await
    }

    /// What is there now. Where only what is pending cannot be stored, the last durable state is,
    /// with why: a caller that is told no more than that the store fails would take it for nothing
    /// done.
    async fn refreshed(&self, live: &Arc<Live>) -> Result<Shown, Refusal> {
        match live.refresh(self).await {
            Err(refusal) if live.shown().stalled.is_none() => Err(refusal),
            Ok(()) | Err(_) => Ok(live.shown()),
        }
    }

    /// Looks at a workflow as a whole without storing anything: previews of its pending steps.
    ///
    /// # Errors
    /// As [`Engine::show`], and those of [`ports::Unfit`].
    pub async fn preview(&self, id: &WorkflowId) -> Result<Shown, Refusal> {
        let shown = self.show(id).await?;
        if shown.state.status() != Status::Pending {
            return Ok(shown);
        }
        let review = self.review(&shown.state).await?;
        let mut state = (*shown.state).clone();
        let at = state.updated_at;
        // A look: the event is not stored, so the workflow itself stays as it is.
        let _ = state.apply(
            at,
            &Event::Reviewed {
                review: Box::new(review),
            },
        );
        Ok(Shown {
            state: Arc::new(state),
            stalled: shown.stalled,
        })
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
    /// [`Refusal`] `approval.void`, `approval.steps`, `approval.assurance`, `workflow.unknown`,
    /// `store.…`.
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
            self.facts_now(&state).await
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
        let state = live.shown().state;
        if state.status().is_busy() && live.adopt(self, &by.account).await? {
            return Ok(());
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

    /// Waits until nothing goes on by itself any more, or until `most` has passed.
    ///
    /// # Errors
    /// As [`Engine::show`].
    pub async fn wait(&self, id: &WorkflowId, most: Duration) -> Result<Shown, Refusal> {
        let live = self.live(id).await?;
        let ours = tokio::time::timeout(most, live.rest(self)).await;
        if let Ok(rested) = ours {
            rested?;
        }
        self.refreshed(&live).await
    }

    /// The answers of steps that nobody has fetched yet, in the order of the steps; each is given
    /// out once. They are in memory only: after a restart there are none.
    #[must_use]
    pub fn take_results(&self, id: &WorkflowId) -> Vec<Kept> {
        self.inner
            .results
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(id)
    }

    /// Takes answers back that were taken and could not be given out after all; the next one who
    /// asks gets them. Where a step has a newer answer by now, that one stays.
    pub fn give_back(&self, id: &WorkflowId, kept: Vec<Kept>) {
        self.inner
            .results
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .give_back(id, kept);
    }

    /// Workflows, the newest first, and how many there are in all.
    ///
    /// # Errors
    /// [`Refusal`] `store.…`.
    pub async fn list(
        &self,
        states: Vec<String>,
        after: Option<WorkflowId>,
        limit: u32,
    ) -> Result<(Vec<Listed>, u64), Refusal> {
        let listed = self.ports().journal().list(states, after, limit).await;
        listed.map_err(|e| store_refusal(&e))
    }

    /// Sends nothing new, lets what is in flight be settled for at most `bound`, and gives up what
    /// this process owns. Whether everything was settled.
    pub async fn close(&self, bound: Duration) -> bool {
        use std::sync::atomic::Ordering;
        self.inner.closing.store(true, Ordering::SeqCst);
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

    /// Forgets workflows that are at rest and that nobody holds, once there are many: the journal
    /// has them, and a deadline that passes meanwhile is applied when one is looked at again.
    fn make_room(&self) {
        let mut live = self.lock_live();
        if live.len() < LIVE && live.values().map(|l| l.steps()).sum::<usize>() < LIVE_STEPS {
            return;
        }
        live.retain(|_, live| Arc::strong_count(live) > 1 || live.is_needed());
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

/// The refusal for a store that cannot be used.
fn store_refusal(error: &JournalError) -> Refusal {
    match error {
        JournalError::Conflict => Refusal::new(
            "workflow.busy",
            "Call again: another process is changing this workflow at the same time",
        ),
        JournalError::Store { code, message } => Refusal::new(code, message.clone()),
    }
}
