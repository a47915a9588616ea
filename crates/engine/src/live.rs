//! One workflow in memory: its turns come one after the other.

mod later;
mod turn;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, watch};
use workflow::decide::{Command, Effect, due};
use workflow::event::Event;
use workflow::model::{ApprovalId, WorkflowId};
use workflow::refusal::Refusal;
use workflow::state::{State, fold};

use crate::perform::Job;
use crate::ports::{
    Batch, Clock as _, Hold, Journal as _, JournalError, Own, Owners as _, Ports, Recorded,
};
use crate::rows::{all_step_rows, workflow_row};
use crate::{Engine, Shown, store_refusal};

/// Who caused what the engine itself found out.
const SELF: &str = "pilot";

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
    /// How often it was tried to make its events durable.
    commits: watch::Sender<u64>,
}

struct Core {
    /// With the events that are not durable yet.
    state: State,
    /// Without them.
    saved: Arc<State>,
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
    /// What is decided makes this process the owner, if anything goes on after it.
    takes: bool,
    /// Why a beginning that waited for the next commit could not be stored.
    refused: Option<JournalError>,
    /// What the next decision that needs chance takes it from: made once, and anew when it was used.
    chance: Option<(ApprovalId, u64)>,
}

impl Live {
    fn new(state: State) -> Arc<Self> {
        let saved = Arc::new(state.clone());
        let (shown, _) = watch::channel(Shown {
            state: Arc::clone(&saved),
            stalled: None,
        });
        Arc::new(Self {
            id: state.id.clone(),
            core: Mutex::new(Core {
                saved,
                state,
                unsaved: Vec::new(),
                pending: Vec::new(),
                stalled: None,
                lingering: false,
                timer: None,
                takes: false,
                refused: None,
                chance: None,
            }),
            shown,
            owned: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            commits: watch::Sender::new(0),
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
            hold: Hold::Keep,
            own: Own::Keep,
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
        self.flush_held(engine, &mut core).await
    }

    /// The same for who holds the core.
    async fn flush_held<P: Ports>(
        self: &Arc<Self>,
        engine: &Engine<P>,
        core: &mut Core,
    ) -> Result<(), Refusal> {
        core.lingering = false;
        if core.pending.is_empty() {
            return Ok(());
        }
        let effects = self.settle(engine, core, None).await?;
        self.follow(engine, core, effects).await;
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
        if matches!(command, Command::Run { .. }) && core.pending.is_empty() {
            return self.begin(engine, core, actor, command).await;
        }
        core.takes = may_send;
        let turn = Some((actor.to_owned(), command));
        let result = self.settle(engine, &mut core, turn).await;
        core.takes = false;
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

    /// Begins a workflow. Where nobody is asked first, that it began is stored together with the
    /// first intent: what is done before that only reads. Durable when it returns.
    async fn begin<P: Ports>(
        self: &Arc<Self>,
        engine: &Engine<P>,
        mut core: MutexGuard<'_, Core>,
        actor: &str,
        command: Command,
    ) -> Result<(), Refusal> {
        core.takes = true;
        let effects = self.decide_into(engine, &mut core, actor, &command)?;
        core.pending.push((actor.to_owned(), command));
        let waits = core.state.status().is_busy() && !effects.iter().any(Effect::needs_commit);
        let mut commits = self.commits.subscribe();
        if waits && !effects.is_empty() {
            self.linger(engine, &mut core);
            for effect in effects {
                engine.perform(self, &core.state, effect);
            }
            drop(core);
            // The sender lives as long as `self`.
            let _ = commits.changed().await;
            core = self.core.lock().await;
        } else {
            match self.commit(engine, &mut core, effects).await {
                Ok(effects) => self.follow(engine, &mut core, effects).await,
                Err(error) => core.refused = Some(error),
            }
        }
        core.takes = false;
        let refused = core.refused.take();
        match refused.or_else(|| core.stalled.clone()) {
            None => Ok(()),
            Some(error) => {
                // It does not begin by itself later: nor by a report that decided it anew since.
                core.pending
                    .retain(|(_, c)| !matches!(c, Command::Run { .. }));
                core.state = State::clone(&core.saved);
                core.unsaved.clear();
                self.rest_if_idle(engine, &core).await;
                Err(store_refusal(&error))
            }
        }
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
        if !core.state.status().is_busy() {
            // Its owner brought it to rest in the meantime.
            self.rest_if_idle(engine, &core).await;
            return Ok(false);
        }
        let epoch = core.state.epoch;
        let turn = Some((actor.to_owned(), Command::Adopt));
        let effects = self.settle(engine, &mut core, turn).await?;
        self.follow(engine, &mut core, effects).await;
        // Somebody may have ended it in the very moment: then nothing was taken over.
        Ok(core.saved.epoch > epoch)
    }

    /// Takes a workflow over as soon as its owner is gone: it may live a moment longer than it
    /// looks, in a companion that is still at work. Ends when there is nothing to take over.
    pub(crate) fn adopt_when_free<P: Ports>(self: &Arc<Self>, engine: &Engine<P>, actor: &str) {
        if self.owned() || self.waiting.swap(true, Ordering::SeqCst) {
            return;
        }
        let (live, engine, actor) = (Arc::clone(self), engine.clone(), actor.to_owned());
        tokio::spawn(async move {
            while !engine.inner.is_closing() {
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

    /// A turn that an effect of this process asks for. It may wait for the next commit. What it
    /// leads to is begun, but for the first effect, which is for the caller to perform.
    pub(crate) async fn report<P: Ports>(
        self: &Arc<Self>,
        engine: &Engine<P>,
        command: Command,
    ) -> Option<Job> {
        let mut core = self.core.lock().await;
        let mut effects = self.replay_pending(engine, &mut core);
        let before = core.unsaved.len();
        match self.decide_into(engine, &mut core, SELF, &command) {
            Ok(more) => effects.extend(more),
            // A report that fits no more is dropped: whoever made it void recorded why.
            Err(refusal) => {
                tracing::debug!(workflow = %self.id, code = refusal.code, "a report came too late");
                if effects.is_empty() {
                    return None;
                }
            }
        }
        // Only what has events waits for a commit: the rest is done once its effects are.
        if core.unsaved.len() > before {
            core.pending.push((SELF.to_owned(), command));
        }
        let must = !core.state.status().is_busy() || effects.iter().any(Effect::needs_commit);
        if !must {
            if !core.unsaved.is_empty() {
                self.linger(engine, &mut core);
            }
            return self.begin_all(engine, &core, effects);
        }
        match self.commit(engine, &mut core, effects).await {
            Ok(effects) => {
                let next = self.begin_all(engine, &core, effects);
                self.follow(engine, &mut core, Vec::new()).await;
                next
            }
            Err(error) => {
                tracing::warn!(workflow = %self.id, %error, "the store failed; nothing is sent");
                None
            }
        }
    }

    /// Begins all effects but the first, which it returns.
    fn begin_all<P: Ports>(
        self: &Arc<Self>,
        engine: &Engine<P>,
        core: &Core,
        effects: Vec<Effect>,
    ) -> Option<Job> {
        let mut effects = effects.into_iter();
        let first = effects.next()?;
        let first = engine.job(self, &core.state, first);
        for effect in effects {
            engine.perform(self, &core.state, effect);
        }
        Some(first)
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
        self.wait_for_deadline(engine, core);
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
        core.saved = Arc::new(state.clone());
        core.state = state;
        core.unsaved.clear();
        self.shown.send_replace(Shown {
            state: Arc::clone(&core.saved),
            stalled: None,
        });
        Ok(())
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
