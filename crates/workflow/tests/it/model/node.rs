//! A node of the search: a state, what is in flight, and what is really so.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use serde_json::Value;
use workflow::decide::Effect;
use workflow::event::{Direction, Subject};
use workflow::model::{Millis, Prepared, StepId};
use workflow::state::{Phase, State, Step, StepStatus, UNKNOWN};

use crate::support::AFTER;

/// What is in flight, by the place of its step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Flight {
    Prepare(usize),
    Send {
        place: usize,
        direction: Direction,
        attempt: u32,
        change: bool,
    },
    Poll {
        place: usize,
        attempt: u32,
    },
    Wait {
        place: usize,
        until: Millis,
    },
    Probe {
        place: usize,
        direction: Direction,
    },
}

impl Flight {
    pub(super) fn of(state: &State, effect: &Effect) -> Self {
        let at = |step: &StepId| state.position(step).unwrap();
        match effect {
            Effect::Prepare { step, .. } => Self::Prepare(at(step)),
            Effect::Send {
                step,
                direction,
                attempt,
                change,
                ..
            } => Self::Send {
                place: at(step),
                direction: *direction,
                attempt: *attempt,
                change: *change,
            },
            Effect::Poll { step, attempt, .. } => Self::Poll {
                place: at(step),
                attempt: *attempt,
            },
            Effect::Wait { step, until } => Self::Wait {
                place: at(step),
                until: *until,
            },
            Effect::Probe {
                step, direction, ..
            } => Self::Probe {
                place: at(step),
                direction: *direction,
            },
        }
    }

    pub(super) fn is_change(self) -> bool {
        matches!(self, Self::Send { change: true, .. })
    }

    pub(super) fn place(self) -> usize {
        match self {
            Self::Prepare(place)
            | Self::Send { place, .. }
            | Self::Poll { place, .. }
            | Self::Wait { place, .. }
            | Self::Probe { place, .. } => place,
        }
    }
}

/// An answer that may still come when nobody waits for it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Late {
    pub(super) key: Key,
    pub(super) attempt: u32,
    /// Whether the call took effect.
    pub(super) arrived: bool,
}

/// What is really so, whatever anybody says.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    /// Whether each step's change is in effect: a bit for each place.
    done: u32,
    /// How often each key was sent.
    sent: Vec<(Key, u32)>,
}

impl World {
    pub(super) fn done(&self, place: usize) -> bool {
        self.done & (1 << place) != 0
    }

    pub(super) fn set(&mut self, place: usize, direction: Direction) {
        match direction {
            Direction::Do => self.done |= 1 << place,
            Direction::Undo => self.done &= !(1 << place),
        }
    }

    pub(super) fn send(&mut self, key: Key) {
        match self.sent.iter_mut().find(|(sent, _)| *sent == key) {
            Some((_, times)) => *times += 1,
            None => self.sent.push((key, 1)),
        }
    }

    pub(super) fn sent(&self, key: Key) -> u32 {
        let sent = self.sent.iter().find(|(sent, _)| *sent == key);
        sent.map_or(0, |(_, times)| *times)
    }

    /// Whether the deed of a step was ever sent.
    pub(super) fn was_sent(&self, place: usize) -> bool {
        let of = |key: &Key| (key.0, key.1) == (place, Direction::Do);
        self.sent.iter().any(|(key, _)| of(key))
    }
}

/// What names a deed over all attempts: the place, the direction, the generation.
pub(super) type Key = (usize, Direction, u32);

pub(super) fn key_of(state: &State, place: usize, direction: Direction) -> Key {
    let step = &state.steps[place];
    let generation = match direction {
        Direction::Do => step.generation,
        Direction::Undo => step.undo_generation,
    };
    (place, direction, generation)
}

/// How a node was come to: kept where a failed search is to be looked into.
#[derive(Clone, Debug)]
pub(super) struct Trail {
    pub(super) before: Option<Arc<Trail>>,
    pub(super) what: String,
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(before) = &self.before {
            write!(f, "{before}")?;
        }
        writeln!(f, "  {}", self.what)
    }
}

/// What belongs to a node beside the state.
#[derive(Clone, Debug, Default)]
pub(super) struct Around {
    pub(super) in_flight: Vec<Flight>,
    pub(super) late: Vec<Late>,
    pub(super) world: World,
    /// How many crashes, resumes, resolves and rollbacks by hand there were.
    pub(super) surprises: u32,
    /// How many answers were kept to come late.
    pub(super) kept: u32,
    /// Who said yes to the question that is open.
    pub(super) yes: Vec<String>,
    pub(super) trail: Option<Arc<Trail>>,
}

pub(super) struct Node {
    pub(super) state: State,
    pub(super) around: Around,
}

impl Node {
    /// What two nodes have in common that behave alike: times, ids, texts and numbers aside.
    pub(super) fn key(&self) -> u64 {
        let (state, around) = (&self.state, &self.around);
        let mut key = DefaultHasher::new();
        let k = &mut key;
        (
            state.status(),
            state.phase.reason(),
            around.surprises,
            around.kept,
        )
            .hash(k);
        (
            state.cancelling,
            state.plan_approved,
            state.plan_used,
            state.cursor,
        )
            .hash(k);
        if !state.plan_used {
            self.over(state.plan_approved_at).hash(k);
        }
        if let Phase::Awaiting { approval, back } = &state.phase {
            (back.status(), back.reason()).hash(k);
            match &approval.subject {
                Subject::Rollback { order } => order.hash(k),
                Subject::Resolution { step, happened, .. } => (step, happened).hash(k),
                Subject::Plan | Subject::Step { .. } | Subject::Gate { .. } => {}
            }
            let mut votes: Vec<_> = state.votes.iter().map(|(by, c)| (&by.name, c)).collect();
            votes.sort();
            votes.hash(k);
        }
        for (place, step) in state.steps.iter().enumerate() {
            self.step_key(place, step, k);
        }
        let mut flights: Vec<(Flight, bool)> = around
            .in_flight
            .iter()
            .map(|flight| match flight {
                // Which time it is counts only against what its step waits for.
                Flight::Wait { place, until } => {
                    let waits = state.steps[*place].retry_at == Some(*until);
                    (
                        Flight::Wait {
                            place: *place,
                            until: 0,
                        },
                        waits,
                    )
                }
                other => (*other, true),
            })
            .collect();
        flights.sort_unstable();
        flights.hash(k);
        around.late.hash(k);
        (state.queue.front(), state.queue.len()).hash(k);
        key.finish()
    }

    /// What counts of a step: less, once nothing is to come of it any more but its undo.
    fn step_key(&self, place: usize, s: &Step, k: &mut DefaultHasher) {
        let (state, world) = (&self.state, &self.around.world);
        let sent = world.sent(key_of(state, place, Direction::Do));
        let before = |p: &Prepared| p.before.get("cpu").and_then(Value::as_u64);
        let before = s.prepared.as_ref().and_then(|p| before(p));
        (s.status, s.changed, s.claimed, s.tainted).hash(k);
        (s.undo_verified, s.stays.is_some(), world.done(place)).hash(k);
        // Orders count only against each other.
        let rank = |order: u64| {
            let orders = state.steps.iter().filter_map(|s| s.order);
            orders.filter(|o| *o < order).count()
        };
        s.order.map(rank).hash(k);
        if s.status == StepStatus::Failed || s.retry_at.is_some() {
            s.left.map(|left| left as u8).hash(k);
        }
        if matches!(s.status, StepStatus::Failed | StepStatus::Unknown) {
            s.probe.as_ref().map(std::mem::discriminant).hash(k);
        }
        if state.phase == Phase::RollingBack {
            (s.recoveries, s.undo_attempt, s.in_flight).hash(k);
            world.sent(key_of(state, place, Direction::Undo)).hash(k);
            s.undo_error.as_ref().map(|e| e.code == UNKNOWN).hash(k);
        }
        if self.around.late.iter().any(|late| late.key.0 == place) {
            (s.attempt, s.undo_attempt, s.generation, s.undo_generation).hash(k);
        }
        if s.is_settled() {
            (before == Some(AFTER), sent.min(1)).hash(k);
            return;
        }
        (before, sent, s.generation, s.attempt, s.recoveries).hash(k);
        (s.approved, s.covered, s.spent, s.in_flight).hash(k);
        (s.unverified, s.alone, s.retries, s.anew).hash(k);
        s.deadline.is_some().hash(k);
        s.retry_at.map(|at| at <= state.updated_at).hash(k);
        (s.launched == Some(state.wave)).hash(k);
        if s.approved.or(s.covered).is_some() {
            self.over(s.approved_at).hash(k);
        }
    }

    /// Whether an approval that was given then is too old to be used.
    fn over(&self, given: Option<Millis>) -> Option<bool> {
        let within = i64::from(self.state.definition.execution_expiry_s) * 1000;
        given.map(|at| self.state.updated_at > at + within)
    }
}
