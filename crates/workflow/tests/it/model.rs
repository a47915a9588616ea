//! Exhaustive search: workflows of up to four steps, with everything that can happen at every
//! point, against a world that remembers what was really done.
//!
//! A node is a state, what is in flight, and the world. From each node every answer, every loss,
//! every answer that comes too late, every decision of a person, every deadline and every change of
//! owner is tried. The invariants of ARCHITECTURE.md are asserted in each node and on each move.
//! The number of nodes is printed, and is never zero.

mod cases;
mod invariants;
mod moves;
mod node;
mod people;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use workflow::decide::{Command, Context, decide};
use workflow::event::Event;
use workflow::model::Millis;
use workflow::state::{State, Status, TABLE};

use crate::support::{Kind, context, definition, facts_of, id, person};
use cases::Case;
use node::{Around, Flight, Node, Trail};

#[derive(Default)]
struct Counts {
    nodes: usize,
    moves: usize,
    rows: BTreeSet<(Status, &'static str, Status)>,
    kinds: BTreeSet<&'static str>,
    ends: BTreeMap<Status, usize>,
    late: BTreeMap<&'static str, usize>,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.nodes += other.nodes;
        self.moves += other.moves;
        self.rows.extend(other.rows);
        self.kinds.extend(other.kinds);
        for (end, count) in other.ends {
            *self.ends.entry(end).or_default() += count;
        }
        for (late, count) in other.late {
            *self.late.entry(late).or_default() += count;
        }
    }
}

struct Search {
    /// Hashes of the keys: the keys of millions of nodes take too much room.
    seen: HashSet<u64>,
    todo: Vec<Node>,
    counts: Counts,
    case: Case,
    kinds: Vec<Kind>,
    /// How the last move was come to, where `PILOTHOUSE_MODEL_TRAIL` is set.
    trail: Option<Arc<Trail>>,
    trails: bool,
}

impl Drop for Search {
    fn drop(&mut self) {
        if let (true, Some(trail)) = (std::thread::panicking(), &self.trail) {
            println!("{}:\n{trail}", self.case);
        }
    }
}

impl Search {
    fn run(case: &Case) -> Counts {
        let kinds = case.spec.kinds.clone();
        let created = Event::Created {
            id: id(),
            facts: kinds.iter().map(|k| facts_of(*k)).collect(),
            definition: Box::new(definition(&case.spec)),
            by: person(),
        };
        let mut search = Self {
            seen: HashSet::new(),
            todo: Vec::new(),
            counts: Counts::default(),
            case: case.clone(),
            kinds,
            trail: None,
            trails: variable("PILOTHOUSE_MODEL_TRAIL").is_some(),
        };
        search.push(Node {
            state: State::create(0, &created).unwrap(),
            around: Around::default(),
        });
        while let Some(node) = search.todo.pop() {
            if search.counts.nodes == case.at_most {
                break;
            }
            search.counts.nodes += 1;
            search.expand(&node);
        }
        println!("{:>8} states: {case}", search.counts.nodes);
        std::mem::take(&mut search.counts)
    }

    fn push(&mut self, node: Node) {
        if self.seen.insert(node.key()) {
            self.check(&node);
            self.todo.push(node);
        }
    }

    /// One turn, as the engine takes it, now.
    fn go(&mut self, state: &State, around: Around, command: Command) {
        self.go_at(state, around, command, 0);
    }

    /// The same, at another time. The time never goes back.
    fn go_at(&mut self, state: &State, mut around: Around, command: Command, now: Millis) {
        let context = Context {
            now,
            ..context(state.seq)
        };
        let what = self.trails.then(|| format!("{command:?}"));
        let Ok((events, effects)) = decide(state, command, &context) else {
            return;
        };
        if let Some(what) = what {
            let kinds: Vec<_> = events.iter().map(Event::kind).collect();
            let short = |text: String| text.chars().take(240).collect::<String>();
            let effects = short(format!("{effects:?}"));
            let what = format!("{}\n    {kinds:?} {effects}", short(what));
            let before = around.trail.take();
            self.trail = Some(Arc::new(Trail { before, what }));
            around.trail.clone_from(&self.trail);
        }
        self.counts.moves += 1;
        let mut next = state.clone();
        let at = now.max(state.updated_at);
        self.apply(&mut next, &mut around, &events, at);
        self.check_turn(state, &next, &events, &effects);
        let flights = effects.iter().map(|effect| Flight::of(&next, effect));
        around.in_flight.extend(flights);
        self.push(Node {
            state: next,
            around,
        });
    }

    fn apply(&mut self, state: &mut State, around: &mut Around, events: &[Event], at: Millis) {
        for event in events {
            self.check_event(state, around, event, at);
            let from = state.status();
            state.apply(at, event).unwrap();
            let kind = event.kind();
            // Serialising and reading back changes nothing: now and then, since it takes long.
            if self.counts.moves.is_multiple_of(101) || !self.counts.kinds.contains(kind) {
                let text = serde_json::to_string(event).unwrap();
                assert_eq!(&serde_json::from_str::<Event>(&text).unwrap(), event);
                self.counts.kinds.insert(kind);
            }
            let to = state.status();
            if from != to || matches!(event, Event::Resolved { .. }) {
                self.counts.rows.insert((from, kind, to));
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the room reads no environment; its longest test may"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// 1 in the suite; the larger, the longer. With 0 each search is cut short: it is what the mutants
/// are tested with first.
fn depth() -> u32 {
    variable("PILOTHOUSE_MODEL_DEPTH").map_or(1, |depth| depth.parse().unwrap())
}

#[test]
fn p18_nothing_lost_nothing_twice_nothing_pretended_in_any_order_of_events() {
    let depth = depth();
    let cases = cases::all(depth);
    let next = AtomicUsize::new(0);
    let total = Mutex::new(Counts::default());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let counts = Search::run(case);
                    total.lock().unwrap().add(counts);
                }
            });
        }
    });
    let counts = total.into_inner().unwrap();
    println!(
        "{} states, {} moves, {} cases, {} rows of the table, {} kinds of events, ends {:?}, \
         late answers {:?}",
        counts.nodes,
        counts.moves,
        cases.len(),
        counts.rows.len(),
        counts.kinds.len(),
        counts.ends,
        counts.late,
    );
    assert!(counts.nodes > 10_000);
    let wanted: BTreeSet<_> = TABLE
        .iter()
        .flat_map(|(from, kind, tos)| tos.iter().map(|to| (*from, *kind, *to)))
        .collect();
    let missed: Vec<_> = wanted.difference(&counts.rows).collect();
    assert!(
        depth == 0 || missed.is_empty(),
        "rows of the table that were never taken: {missed:?}"
    );
    let late = ["settles", "is recorded", "contradicts"];
    assert!(
        late.iter()
            .all(|what| depth == 0 || counts.late.contains_key(what))
    );
}
