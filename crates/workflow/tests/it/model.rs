//! Exhaustive search: every workflow of a few steps, with everything that can happen at every
//! point, against a world that remembers what was really done.
//!
//! A node is a state, what is in flight, and the world. From each node every answer, every loss,
//! every decision of a person, every deadline and every change of owner is tried. The invariants of
//! ARCHITECTURE.md are asserted in each node. The number of nodes is printed, and is never zero.

mod invariants;
mod moves;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use workflow::decide::{Command, Effect, decide};
use workflow::event::{Direction, Event};
use workflow::model::{OnFailure, StepId};
use workflow::state::{Phase, State, Status, TABLE};

use crate::support::{Kind, POINTER, context, definition, facts_of, person};

/// What is really so, whatever anybody says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct World {
    /// Whether each step's change is in effect.
    done: BTreeMap<StepId, bool>,
    /// How often each key was sent.
    sent: BTreeMap<String, u32>,
}

#[derive(Clone)]
struct Node {
    state: State,
    in_flight: Vec<Effect>,
    world: World,
    /// How many crashes, resumes, resolves and rollbacks by hand there were.
    surprises: u32,
}

impl Node {
    /// What two nodes have in common that behave alike: times, ids, texts and numbers aside.
    fn key(&self) -> String {
        // Orders count only against each other.
        let rank = |order: u64| {
            let orders = self.state.steps.iter().filter_map(|s| s.order);
            orders.filter(|o| *o < order).count()
        };
        let mut key = format!(
            "{:?}{:?}{}{}{}|",
            self.state.status(),
            self.state.phase.reason(),
            self.surprises,
            self.state.cancelling,
            self.state.plan_approved,
        );
        if let Phase::Awaiting { back, .. } = &self.state.phase {
            key += &format!("{:?}", back.status());
        }
        for (def, s) in self.state.definition.steps.iter().zip(&self.state.steps) {
            key += &format!(
                "{:?},{},{},{},{},{},{:?},{},{},{:?},{:?},{:?},{:?},{:?},{:?},{:?},{}|",
                s.status,
                s.generation,
                s.attempt,
                s.undo_attempt,
                s.approved.is_some(),
                s.covered.is_some(),
                s.in_flight,
                s.unverified,
                s.changed,
                s.left,
                s.probe.as_ref().map(std::mem::discriminant),
                s.order.map(rank),
                s.undo_verified,
                s.stays.is_some(),
                s.prepared.as_ref().map(|p| p.before.get("cpu").cloned()),
                self.world.done.get(&def.id),
                self.world
                    .sent
                    .get(&self.state.key(&def.id, Direction::Do))
                    .copied()
                    .unwrap_or(0),
            );
        }
        for effect in &self.in_flight {
            key += &match effect {
                Effect::Prepare { step, .. } => format!("P{step}"),
                Effect::Send {
                    step,
                    direction,
                    attempt,
                    ..
                } => {
                    format!("S{step}{direction:?}{attempt}")
                }
                Effect::Probe {
                    step, direction, ..
                } => format!("L{step}{direction:?}"),
            };
        }
        key + &format!("{:?}{:?}", self.state.queue, self.state.rollback)
    }
}

#[derive(Default)]
struct Counts {
    nodes: usize,
    moves: usize,
    rows: BTreeSet<(Status, &'static str, Status)>,
    ends: BTreeMap<Status, usize>,
}

struct Search {
    seen: HashSet<String>,
    todo: Vec<Node>,
    counts: Counts,
    kinds: Vec<Kind>,
    /// How many crashes, resumes, resolves and rollbacks by hand one path may have.
    surprises: u32,
}

impl Search {
    fn run(kinds: &[Kind], on_failure: OnFailure, surprises: u32, counts: Counts) -> Counts {
        let definition = definition(kinds, on_failure);
        let created = Event::Created {
            id: crate::support::id(),
            facts: kinds.iter().map(|k| facts_of(*k)).collect(),
            definition: Box::new(definition),
            by: person(),
        };
        let state = State::create(0, &created).unwrap();
        let mut search = Self {
            seen: HashSet::new(),
            todo: Vec::new(),
            counts,
            kinds: kinds.to_vec(),
            surprises,
        };
        search.push(Node {
            state,
            in_flight: Vec::new(),
            world: World::default(),
            surprises: 0,
        });
        let kinds = search.kinds.clone();
        let before = search.counts.nodes;
        while let Some(node) = search.todo.pop() {
            search.counts.nodes += 1;
            search.expand(&node);
        }
        println!("{kinds:?}: {} states", search.counts.nodes - before);
        search.counts
    }

    fn push(&mut self, node: Node) {
        self.check(&node);
        if self.seen.insert(node.key()) {
            self.todo.push(node);
        }
    }

    /// One turn, as the engine takes it.
    fn turn(&mut self, node: &Node, command: Command) -> Option<Node> {
        let (events, effects) = decide(&node.state, command, &context(node.state.seq)).ok()?;
        let mut next = node.clone();
        self.apply(&mut next, &events);
        // Invariant 1: a change is sent only with its intent in the very same turn.
        for effect in &effects {
            if let Effect::Send {
                step,
                direction,
                change: true,
                key,
                ..
            } = effect
            {
                let intent = events.iter().any(|e| {
                    matches!(e, Event::Intent { step: s, direction: d, key: k, .. }
                        if s == step && d == direction && k == key)
                });
                assert!(intent, "invariant 1: {key} is sent without an intent");
                *next.world.sent.entry(key.clone()).or_default() += 1;
                self.check_gate(&node.state, &next.state, step, *direction);
            }
        }
        self.check_order(&node.state, &events);
        next.in_flight.extend(effects);
        Some(next)
    }

    fn apply(&mut self, node: &mut Node, events: &[Event]) {
        for event in events {
            let from = node.state.status();
            let at = node.state.updated_at;
            node.state.apply(at, event).unwrap();
            // Serialising and reading back changes nothing.
            let text = serde_json::to_string(event).unwrap();
            assert_eq!(&serde_json::from_str::<Event>(&text).unwrap(), event);
            let kind = event.kind();
            if TABLE.iter().any(|(f, k, _)| *f == from && *k == kind) {
                self.counts.rows.insert((from, kind, node.state.status()));
            }
        }
    }

    fn go(&mut self, node: &Node, command: Command) {
        if let Some(next) = self.turn(node, command) {
            self.counts.moves += 1;
            self.push(next);
        }
    }
}

/// 1 in the suite; the larger, the longer: 2 takes minutes.
#[expect(
    clippy::disallowed_methods,
    reason = "the room reads no environment; its longest test may"
)]
fn depth() -> u32 {
    std::env::var("PILOTHOUSE_MODEL_DEPTH").map_or(1, |d| d.parse().unwrap())
}

#[test]
fn p18_nothing_lost_nothing_twice_nothing_pretended_in_any_order_of_events() {
    assert_eq!(POINTER, "/vm/on");
    let depth = depth();
    let mut counts = Counts::default();
    let kinds = [
        Kind::Read,
        Kind::Write,
        Kind::Destroy,
        Kind::NoUndo,
        Kind::Gate,
        Kind::Blind,
    ];
    for a in kinds {
        for on_failure in [OnFailure::Rollback, OnFailure::Stop, OnFailure::Continue] {
            counts = Search::run(&[a], on_failure, depth + 2, counts);
        }
        for b in kinds {
            counts = Search::run(&[a, b], OnFailure::Rollback, depth, counts);
        }
    }
    for kinds in [
        [Kind::Write, Kind::Destroy, Kind::Write],
        [Kind::Write, Kind::Gate, Kind::NoUndo],
    ] {
        counts = Search::run(&kinds, OnFailure::Rollback, depth - 1, counts);
    }
    println!(
        "{} states, {} moves, {} rows of the table, ends {:?}",
        counts.nodes,
        counts.moves,
        counts.rows.len(),
        counts.ends
    );
    assert!(counts.nodes > 10_000);
    let wanted: BTreeSet<_> = TABLE
        .iter()
        .flat_map(|(from, kind, tos)| tos.iter().map(|to| (*from, *kind, *to)))
        .collect();
    let missed: Vec<_> = wanted.difference(&counts.rows).collect();
    assert!(
        missed.is_empty(),
        "rows of the table that were never taken: {missed:?}"
    );
}
