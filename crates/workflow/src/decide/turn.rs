//! One turn: the events so far, already folded, and the effects that follow.

use crate::event::Event;
use crate::model::Millis;
use crate::refusal::Refusal;
use crate::state::State;

use super::{Context, Effect};

/// A state that moves as events are added to it.
pub(super) struct Turn<'a> {
    /// Where the workflow stands after the events so far.
    pub(super) state: State,
    /// What the decision may know.
    pub(super) context: &'a Context,
    events: Vec<Event>,
    effects: Vec<Effect>,
}

impl<'a> Turn<'a> {
    pub(super) fn new(state: State, context: &'a Context) -> Self {
        Self {
            state,
            context,
            events: Vec::new(),
            effects: Vec::new(),
        }
    }

    /// What time it is: never before the last event.
    pub(super) fn now(&self) -> Millis {
        self.context.now.max(self.state.updated_at)
    }

    /// Adds an event, and moves on to the state after it.
    pub(super) fn event(&mut self, event: Event) {
        let now = self.now();
        match self.state.apply(now, &event) {
            Ok(()) => self.events.push(event),
            // A decision that the table has no row for is a defect of this room, found by the
            // tests that walk every state. Here it changes nothing rather than something wrong.
            Err(illegal) => debug_assert!(false, "{illegal}"),
        }
    }

    /// Adds an effect.
    pub(super) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(super) fn end(self) -> (Vec<Event>, Vec<Effect>) {
        (self.events, self.effects)
    }
}

/// The refusal of a command that does not fit where the workflow stands.
pub(super) fn not_now(state: &State, code: &'static str, remedy: &str) -> Refusal {
    let at = state.status().word();
    let why = state
        .phase
        .reason()
        .map_or_else(String::new, |r| format!(" ({r})"));
    Refusal::new(code, format!("{remedy}: the workflow is `{at}`{why}")).with("state", at)
}
