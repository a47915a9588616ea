//! One workflow in memory: its turns come one after the other.

mod turn;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use workflow::decide::{Command, Effect, due, next_deadline};
use workflow::event::Event;
use workflow::model::{ApprovalId, WorkflowId};
use workflow::refusal::Refusal;
use workflow::state::{State, fold};

use crate::ports::{Batch, Clock as _, Journal as _, JournalError, Owners as _, Ports, Recorded};
use crate::rows::{all_step_rows, workflow_row};
use crate::{Engine, Shown, store_refusal};

/// Who caused what the engine itself found out.
const SELF: &str = "pilot";

/// How long events may wait for the next commit, when nothing that follows needs them durable.
const LINGER: Duration = Duration::from_millis(20);

/// How often it is looked whether an owner is gone.
const ADOPT: Duration = Duration::from_millis(500);

/// One workflow in memory.
pub(crate) struct Live {
    id: WorkflowId,
    core: Mutex<Core>,
    shown: watch::Sender<Shown>,
    owned: AtomicBool,
    /// Somebody waits for its owner to be gone.
    waiting: AtomicBool,
    /// How many of its effects are being performed here.
    pub(crate) in_flight: AtomicUsize,
}

struct Core {
    /// With the events that are not durable yet.
    state: State,
    /// Without them.
    saved: State,
    /// Events that are not durable yet.
    unsaved: Vec<Recorded>,
    /// What led to them: decided anew when another process commits first, or when the store is
    /// there again.
    pending: Vec<(String, Command)>,
    /// The store failed the last time.
    stalled: Option<JournalError>,
    /// A flush is on its way.
    lingering: bool,
    /// The approval whose deadline is being waited for.
    timer: Option<ApprovalId>,
}

impl Live {
    fn new(state: State) -> Arc<Self> {
        let (shown, _) = watch::channel(Shown {
            state: Arc::new(state.clone()),
            stalled: None,
        });
        Arc::new(Self {
            id: state.id.clone(),
            core: Mutex::new(Core {
                saved: state.clone(),
                state,
                unsaved: Vec::new(),
                pending: Vec::new(),
                stalled: None,
                lingering: false,
                timer: None,
            }),
            shown,
            owned: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
        })
    }

    /// Stores the first event of a new workflow.
    pub(crate) async fn create<P: Ports>(
        engine: &Engine<P>,
        id: &WorkflowId,
        actor: &str,
        event: Event,
    ) -> Result<Arc<Self>, Refusal> {
        let at = engine.now();
        let state = State::create(at, &event).map_err(|e| damaged(&e))?;
        let batch = Batch {
            workflow: id.clone(),
            row: workflow_row(&state),
            steps: all_step_rows(&state),
            events: vec![Recorded {
                seq: 1,
                at,
                actor: actor.to_owned(),
                event,
            }],
        };
        let stored = engine.ports().journal().append(batch).await;
        stored.map_err(|e| store_refusal(&e))?;
        Ok(Self::new(state))
    }

    /// Reads a workflow from the journal.
    pub(crate) async fn load<P: Ports>(
        engine: &Engine<P>,
        id: &WorkflowId,
    ) -> Result<Arc<Self>, Refusal> {
        Ok(Self::new(read(engine, id).await?))
    }

    /// The last durable state.
    pub(crate) fn shown(&self) -> Shown {
        self.shown.borrow().clone()
    }

    /// How many steps it has.
    pub(crate) fn steps(&self) -> usize {
        self.shown.borrow().state.steps.len()
    }

    /// Whether it must stay in memory: something goes on, or could not be stored yet.
    pub(crate) fn is_needed(&self) -> bool {
        let shown = self.shown.borrow();
        self.owned() || shown.stalled.is_some() || shown.state.status().is_busy()
    }

    /// Whether this process sends its calls.
    pub(crate) fn owned(&self) -> bool {
        self.owned.load(Ordering::SeqCst)
    }

    /// Resolves once nothing goes on by itself in this process. Of a workflow that another
    /// process drives, its commits are looked for from time to time.
    pub(crate) async fn rest<P: Ports>(
        self: &Arc<Self>,
        engine: &Engine<P>,
    ) -> Result<(), Refusal> {
        let mut watched = self.shown.subscribe();
        loop {
            if !watched.borrow_and_update().is_busy() {
                return Ok(());
            }
            if self.owned() {
                if watched.changed().await.is_err() {
                    return Ok(());
                }
            } else {
                let clock = engine.ports().clock();
                clock.until(clock.now().saturating_add(100)).await;
                self.refresh(engine).await?;
            }
        }
    }

    /// Takes in what other processes committed and what the time alone brings about, and makes
    /// everything durable that is not yet.
    pub(crate) async fn refresh<P: Ports>(
        self: &Arc<Self>,
        engine: &Engine<P>,
    ) -> Result<(), Refusal> {
        let mut core = self.core.lock().await;
        self.catch_up(engine, &mut core).await?;
        let overdue = !due(&core.state, engine.now()).is_empty();
        if overdue || !core.pending.is_empty() {
            let effects = self.settle(engine, &mut core, None).await?;
            self.follow(engine, &mut core, effects).await;
        }
        Ok(())
    }

    /// Makes what is not durable yet durable.
    pub(crate) async fn flush<P: Ports>(
        self: &Arc<Self>,
        engine: &Engine<P>,
    ) -> Result<(), Refusal> {
        let mut core = self.core.lock().await;
        core.lingering = false;
        if core.pending.is_empty() {
            return Ok(());
        }
        let effects = self.settle(engine, &mut core, None).await?;
        self.follow(engine, &mut core, effects).await;
        Ok(())
    }

    /// A turn that somebody asked for: durable when it returns.
    pub(crate) async fn command<P: Ports>(
        self: &Arc<Self>,
        engine: &Engine<P>,
        actor: &str,
        command: Command,
    ) -> Result<(), Refusal> {
        let mut core = self.core.lock().await;
        self.catch_up(engine, &mut core).await?;
        let may_send = matches!(
            command,
            Command::Run { .. }
                | Command::Approve { .. }
                | Command::Reject { .. }
                | Command::Resume { .. }
        );
        if may_send && !self.claim(engine).await? {
            return Err(Refusal::new(
                "workflow.busy",
                "Call again in a moment: another process is at work on this workflow",
            ));
        }
        let turn = Some((actor.to_owned(), command));
        let result = self.settle(engine, &mut core, turn).await;
        let effects = match result {
            Ok(effects) => effects,
            Err(refusal) => {
                self.rest_if_idle(engine, &core).await;
                return Err(refusal);
            }
        };
        self.follow(engine, &mut core, effects).await;
        Ok(())
    }

    /// Takes a workflow over whose owner is gone, or that this process owns and nobody here is at
    /// work on: a caller that went away in the middle of a turn, or a store that said no and had
    /// written all the same. Whether it was.
    pub(crate) async fn adopt<P: Ports>(
        self: &Arc<Self>,
        engine: &Engine<P>,
        actor: &str,
    ) -> Result<bool, Refusal> {
        let mut core = self.core.lock().await;
        let at_work = self.in_flight.load(Ordering::SeqCst) > 0 || !core.pending.is_empty();
        if (self.owned() && at_work) || !self.claim(engine).await? {
            return Ok(false);
        }
        self.catch_up(engine, &mut core).await?;
        let turn = Some((actor.to_owned(), Command::Adopt));
        let effects = self.settle(engine, &mut core, turn).await?;
        self.follow(engine, &mut core, effects).await;
        Ok(true)
    }

    /// Takes a workflow over as soon as its owner is gone: it may live a moment longer than it
    /// looks, in a companion that is still at work. Ends when there is nothing to take over.
    pub(crate) fn adopt_when_free<P: Ports>(self: &Arc<Self>, engine: &Engine<P>, actor: &str) {
        if self.owned() || self.waiting.swap(true, Ordering::SeqCst) {
            return;
        }
        let (live, engine, actor) = (Arc::clone(self), engine.clone(), actor.to_owned());
        tokio::spawn(async move {
            while !engine.inner.closing.load(Ordering::SeqCst) {
                tokio::time::sleep(ADOPT).await;
                let done = live.refresh(&engine).await.is_err()
                    || live.owned()
                    || !live.shown().is_busy()
                    || !matches!(live.adopt(&engine, &actor).await, Ok(false));
                if done {
                    break;
                }
            }
            live.waiting.store(false, Ordering::SeqCst);
        });
    }

    /// A turn that an effect of this process asks for. It may wait for the next commit.
    pub(crate) async fn report<P: Ports>(self: &Arc<Self>, engine: &Engine<P>, command: Command) {
        let mut core = self.core.lock().await;
        let before = core.unsaved.len();
        let effects = match self.decide_into(engine, &mut core, SELF, &command) {
            Ok(effects) => effects,
            // A report that fits no more is dropped: whoever made it void recorded why.
            Err(refusal) => {
                tracing::debug!(workflow = %self.id, code = refusal.code, "a report came too late");
                return;
            }
        };
        // Only what has events waits for a commit: the rest is done once its effects are.
        if core.unsaved.len() > before {
            core.pending.push((SELF.to_owned(), command));
        }
        let must = !core.state.status().is_busy() || effects.iter().any(Effect::needs_commit);
        if !must {
            if !core.unsaved.is_empty() {
                self.linger(engine, &mut core);
            }
            for effect in effects {
                engine.perform(self, &core.state, effect);
            }
            return;
        }
        match self.commit(engine, &mut core, effects).await {
            Ok(effects) => self.follow(engine, &mut core, effects).await,
            Err(error) => {
                tracing::warn!(workflow = %self.id, %error, "the store failed; nothing is sent")
            }
        }
    }

    /// What comes after a commit: the effects, the deadline, and rest.
    async fn follow<P: Ports>(
        self: &Arc<Self>,
        engine: &Engine<P>,
        core: &mut Core,
        effects: Vec<Effect>,
    ) {
        for effect in effects {
            engine.perform(self, &core.state, effect);
        }
        let open = core.state.approval().map(|a| a.id.clone());
        if let (Some(at), true) = (next_deadline(&core.state), open != core.timer) {
            core.timer = open;
            self.wake(engine, at);
        }
        self.rest_if_idle(engine, core).await;
    }

    /// A workflow at rest belongs to nobody, so that any process may take the next decision.
    async fn rest_if_idle<P: Ports>(&self, engine: &Engine<P>, core: &Core) {
        if core.state.status().is_busy() || !self.owned.swap(false, Ordering::SeqCst) {
            return;
        }
        if let Err(error) = engine.ports().owners().release(&self.id).await {
            tracing::warn!(workflow = %self.id, %error, "it could not be given up; it is once this process ends");
        }
    }

    async fn claim<P: Ports>(&self, engine: &Engine<P>) -> Result<bool, Refusal> {
        if self.owned() {
            return Ok(true);
        }
        let claimed = engine.ports().owners().claim(&self.id).await;
        let claimed = claimed.map_err(|e| store_refusal(&e))?;
        self.owned.store(claimed, Ordering::SeqCst);
        Ok(claimed)
    }

    /// Takes in what other processes committed.
    async fn catch_up<P: Ports>(&self, engine: &Engine<P>, core: &mut Core) -> Result<(), Refusal> {
        let last = engine.ports().journal().last_seq(&self.id).await;
        let last = last.map_err(|e| store_refusal(&e))?;
        if last == core.saved.seq {
            return Ok(());
        }
        let state = read(engine, &self.id).await?;
        core.saved = state.clone();
        core.state = state;
        core.unsaved.clear();
        self.shown.send_replace(Shown {
            state: Arc::new(core.saved.clone()),
            stalled: None,
        });
        Ok(())
    }

    /// Lets events wait a moment for the next commit.
    fn linger<P: Ports>(self: &Arc<Self>, engine: &Engine<P>, core: &mut Core) {
        if std::mem::replace(&mut core.lingering, true) {
            return;
        }
        let (live, engine) = (Arc::clone(self), engine.clone());
        tokio::spawn(async move {
            tokio::time::sleep(LINGER).await;
            if let Err(refusal) = live.flush(&engine).await {
                tracing::warn!(workflow = %live.id, code = refusal.code, "the store failed");
            }
        });
    }

    /// Applies a deadline when it is due, also when nobody calls.
    fn wake<P: Ports>(self: &Arc<Self>, engine: &Engine<P>, at: i64) {
        let (live, engine) = (Arc::downgrade(self), engine.clone());
        tokio::spawn(async move {
            engine.ports().clock().until(at).await;
            if let Some(live) = live.upgrade()
                && let Err(refusal) = live.refresh(&engine).await
            {
                tracing::warn!(workflow = %live.id, code = refusal.code, "a deadline could not be recorded; it is applied with the next call");
            }
        });
    }
}

/// Folds the events of a workflow.
async fn read<P: Ports>(engine: &Engine<P>, id: &WorkflowId) -> Result<State, Refusal> {
    let events = engine.ports().journal().load(id).await;
    let events = events.map_err(|e| store_refusal(&e))?;
    let state = fold(events.iter().map(|r| (r.at, &r.event))).map_err(|e| damaged(&e))?;
    state.ok_or_else(|| {
        Refusal::new(
            "workflow.unknown",
            "Look the workflow up with list_workflows: there is none with this id",
        )
        .with("given", guard::text::sanitize_to(&id.0, 64))
    })
}

fn damaged(error: &workflow::state::Illegal) -> Refusal {
    tracing::error!(%error, "a workflow's events do not fit together");
    Refusal::new(
        "store.corrupted",
        "Restore pilot.db from a backup, or move it away: the events of this workflow do not fit \
         together, so nothing is done with it (get_audit_log with `verify` tells more)",
    )
}
