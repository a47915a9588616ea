//! One turn: decide, add the events, commit; and again, where somebody else committed first.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use workflow::decide::{Command, Context, Effect, decide, due};
use workflow::event::Event;
use workflow::hold;
use workflow::refusal::Refusal;
use workflow::state::{State, touched};

use super::{Core, Live, SELF, read};
use crate::ports::{Batch, Hold, Ids as _, Journal as _, JournalError, Own, Ports, Recorded};
use crate::rows::{step_rows, workflow_row};
use crate::{Engine, Shown, store_refusal};

/// How often a turn is taken again after another process committed first.
const TRIES: u32 = 8;

/// Whether somebody waits for what becomes of the last pending command.
enum Asked {
    /// It is a report, or there is none.
    Nobody,
    /// Somebody does.
    Last,
    /// Somebody does, and it was refused after all.
    Refused(Refusal),
}

/// What becomes of the objects that a workflow holds.
fn hold<'e>(before: &State, after: &State, events: impl IntoIterator<Item = &'e Event>) -> Hold {
    if hold::is_over(after.status()) {
        return Hold::Release;
    }
    let taken = hold::taken(before, after, events);
    if taken.is_empty() {
        Hold::Keep
    } else {
        Hold::Take(taken)
    }
}

impl Live {
    /// Decides, adds the events to what is not durable yet, and returns the effects.
    pub(super) fn decide_into<P: Ports>(
        &self,
        engine: &Engine<P>,
        core: &mut Core,
        actor: &str,
        command: &Command,
    ) -> Result<Vec<Effect>, Refusal> {
        self.apply_due(engine, core);
        let ids = engine.ports().ids();
        let (approval, jitter) = core
            .chance
            .take()
            .unwrap_or_else(|| (ids.approval(), ids.number()));
        let context = Context {
            now: engine.now(),
            approval,
            jitter,
            rules: engine.inner.settings.rules,
            closing: engine.inner.is_closing(),
        };
        let (events, effects) = decide(&core.state, command.clone(), &context)?;
        let used = |event: &Event| {
            matches!(
                event,
                Event::ApprovalRequested { .. } | Event::RetryScheduled { .. }
            )
        };
        if !events.iter().any(used) {
            core.chance = Some((context.approval, context.jitter));
        }
        self.apply(engine, core, actor, events);
        Ok(effects)
    }

    /// Adds what follows from the time alone.
    pub(super) fn apply_due<P: Ports>(&self, engine: &Engine<P>, core: &mut Core) {
        let events = due(&core.state, engine.now());
        self.apply(engine, core, SELF, events);
    }

    pub(super) fn apply<P: Ports>(
        &self,
        engine: &Engine<P>,
        core: &mut Core,
        actor: &str,
        events: Vec<Event>,
    ) {
        let at = engine.now().max(core.state.updated_at);
        for event in events {
            // `decide` has applied the same event to the same state just now.
            if let Err(error) = core.state.apply(at, &event) {
                tracing::error!(workflow = %self.id, %error, "an event was not applied");
                continue;
            }
            core.unsaved.push(Recorded {
                seq: core.state.seq,
                at,
                actor: actor.to_owned(),
                event,
            });
        }
    }

    /// Decides what is pending and one more command, and commits. A command that is refused, or
    /// cannot be stored, leaves nothing behind; what was pending stays so.
    pub(super) async fn settle<P: Ports>(
        self: &Arc<Self>,
        engine: &Engine<P>,
        core: &mut Core,
        command: Option<(String, Command)>,
    ) -> Result<Vec<Effect>, Refusal> {
        let mut effects = Vec::new();
        let mut refusal = None;
        // Pending commands without their events: the store failed after they were decided.
        if core.unsaved.is_empty() && !core.pending.is_empty() {
            effects = self.replay(engine, core, &mut Asked::Nobody);
        }
        self.apply_due(engine, core);
        let mut asked = Asked::Nobody;
        if let Some((actor, command)) = command {
            match self.decide_into(engine, core, &actor, &command) {
                Ok(more) => {
                    effects.extend(more);
                    core.pending.push((actor, command));
                    asked = Asked::Last;
                }
                Err(refused) => refusal = Some(refused),
            }
        }
        let committed = self.commit_for(engine, core, effects, &mut asked).await;
        // Somebody else was first, and what was asked for fits no more.
        if let Asked::Refused(refused) = &asked {
            refusal = Some(refused.clone());
        }
        match committed {
            Ok(effects) => match refusal {
                // The deadlines that were due stand, whatever became of the command.
                Some(refusal) => {
                    self.follow(engine, core, effects).await;
                    Err(refusal)
                }
                None => Ok(effects),
            },
            Err(error) => {
                if matches!(asked, Asked::Last) {
                    core.pending.pop();
                }
                Err(store_refusal(&error))
            }
        }
    }

    /// What is pending and was not stored comes before anything else.
    pub(super) fn replay_pending<P: Ports>(
        &self,
        engine: &Engine<P>,
        core: &mut Core,
    ) -> Vec<Effect> {
        if core.unsaved.is_empty() && !core.pending.is_empty() {
            self.replay(engine, core, &mut Asked::Nobody)
        } else {
            Vec::new()
        }
    }

    /// Decides the pending commands anew, on what is durable. Those that fit no more are dropped;
    /// whoever waits for one is to be told so.
    fn replay<P: Ports>(
        &self,
        engine: &Engine<P>,
        core: &mut Core,
        asked: &mut Asked,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        let pending = std::mem::take(&mut core.pending);
        let last = pending.len().wrapping_sub(1);
        for (i, (actor, command)) in pending.into_iter().enumerate() {
            match self.decide_into(engine, core, &actor, &command) {
                Ok(more) => {
                    effects.extend(more);
                    core.pending.push((actor, command));
                }
                Err(refusal) if i == last && matches!(asked, Asked::Last) => {
                    *asked = Asked::Refused(refusal);
                }
                Err(_) => {}
            }
        }
        effects
    }

    /// Makes the events durable. Where another process committed first, everything is decided
    /// anew on what is there now.
    pub(super) async fn commit<P: Ports>(
        &self,
        engine: &Engine<P>,
        core: &mut Core,
        effects: Vec<Effect>,
    ) -> Result<Vec<Effect>, JournalError> {
        self.commit_for(engine, core, effects, &mut Asked::Nobody)
            .await
    }

    async fn commit_for<P: Ports>(
        &self,
        engine: &Engine<P>,
        core: &mut Core,
        effects: Vec<Effect>,
        asked: &mut Asked,
    ) -> Result<Vec<Effect>, JournalError> {
        let done = self.commit_tried(engine, core, effects, asked).await;
        self.commits.send_modify(|count| *count += 1);
        done
    }

    async fn commit_tried<P: Ports>(
        &self,
        engine: &Engine<P>,
        core: &mut Core,
        mut effects: Vec<Effect>,
        asked: &mut Asked,
    ) -> Result<Vec<Effect>, JournalError> {
        for _ in 0..TRIES {
            if core.unsaved.is_empty() {
                core.pending.clear();
                self.saved(core);
                return Ok(effects);
            }
            let events = || core.unsaved.iter().map(|recorded| &recorded.event);
            let own = self.own_after(core);
            let batch = Batch {
                workflow: self.id.clone(),
                row: workflow_row(&core.state),
                steps: step_rows(&core.state, &touched(events())),
                events: core.unsaved.clone(),
                hold: hold(&core.saved, &core.state, events()),
                own,
            };
            match engine.ports().journal().append(batch).await {
                Ok(()) => {
                    match own {
                        Own::Keep => {}
                        Own::Take => self.owned.store(true, Ordering::SeqCst),
                        Own::Give => self.owned.store(false, Ordering::SeqCst),
                    }
                    core.unsaved.clear();
                    core.pending.clear();
                    self.saved(core);
                    return Ok(effects);
                }
                Err(JournalError::Conflict) => match read(engine, &self.id).await {
                    Ok(state) => {
                        core.saved = Arc::new(state.clone());
                        core.state = state;
                        core.unsaved.clear();
                        effects = self.replay(engine, core, asked);
                    }
                    Err(refusal) => {
                        let error = JournalError::Store {
                            code: refusal.code,
                            message: refusal.message,
                        };
                        return Err(self.stall(core, error));
                    }
                },
                Err(error @ (JournalError::Held { .. } | JournalError::Owned)) => {
                    effects = self.without_the_last(engine, core, asked, &error);
                }
                Err(error) => return Err(self.stall(core, error)),
            }
        }
        Err(self.stall(core, JournalError::Conflict))
    }

    /// Who sends the workflow's calls after the events that are to be stored: whoever begins
    /// something takes it, and at rest it belongs to nobody.
    fn own_after(&self, core: &Core) -> Own {
        let sends = |recorded: &Recorded| matches!(recorded.event, Event::Intent { .. });
        match (core.state.status().is_busy(), self.owned()) {
            (true, false) if core.takes || core.unsaved.iter().any(sends) => Own::Take,
            (false, true) => Own::Give,
            (true | false, _) => Own::Keep,
        }
    }

    /// The last pending command would take what belongs to somebody else: an object that another
    /// workflow holds, or this workflow, which another process is at work on. Whoever asked for it
    /// is told so, or its step is. What was pending before stays.
    fn without_the_last<P: Ports>(
        &self,
        engine: &Engine<P>,
        core: &mut Core,
        asked: &mut Asked,
        error: &JournalError,
    ) -> Vec<Effect> {
        core.state = State::clone(&core.saved);
        core.unsaved.clear();
        let last = core.pending.pop();
        let refused = match (&*asked, last) {
            (Asked::Last, _) => Asked::Refused(store_refusal(error)),
            (_, Some((_, Command::Prepared { step, .. }))) => {
                if matches!(error, JournalError::Held { .. }) {
                    core.pending.push((SELF.to_owned(), Command::Held { step }));
                }
                Asked::Nobody
            }
            (_, Some((_, Command::Run { .. }))) => {
                core.refused = Some(error.clone());
                Asked::Nobody
            }
            (Asked::Nobody | Asked::Refused(_), _) => Asked::Nobody,
        };
        let effects = self.replay(engine, core, &mut Asked::Nobody);
        *asked = refused;
        effects
    }

    pub(super) fn saved(&self, core: &mut Core) {
        core.saved = Arc::new(core.state.clone());
        core.stalled = None;
        self.shown.send_replace(Shown {
            state: Arc::clone(&core.saved),
            stalled: None,
        });
    }

    /// The store failed: the state is the durable one again, and what was decided is kept to be
    /// decided once more. Nothing is sent.
    pub(super) fn stall(&self, core: &mut Core, error: JournalError) -> JournalError {
        core.state = State::clone(&core.saved);
        core.unsaved.clear();
        core.stalled = Some(error.clone());
        self.shown.send_replace(Shown {
            state: Arc::clone(&core.saved),
            stalled: Some(error.clone()),
        });
        error
    }
}
