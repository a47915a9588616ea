//! What the world and the owners do in a node.

use serde_json::json;
use workflow::decide::{Command, Effect, Found, Unfit, decide, due};
use workflow::event::{Direction, Event, Left, Outcome, Verdict};
use workflow::reply::Reply;
use workflow::state::{State, Step, StepStatus};

use super::Search;
use super::node::{Around, Flight, Late, Node, key_of};
use crate::support::{AFTER, context, facts_of, other_companion, prepared_from, step_id, verdicts};

/// So long that an approval that was given is too old.
const DAY: i64 = 24 * 3600 * 1000;

impl Search {
    /// Everything that can happen next.
    pub(super) fn expand(&mut self, node: &Node) {
        for i in 0..node.around.in_flight.len() {
            let mut around = node.around.clone();
            let flight = around.in_flight.remove(i);
            self.answer(&node.state, &around, flight);
        }
        for i in 0..node.around.late.len() {
            let mut around = node.around.clone();
            let late = around.late.remove(i);
            self.late(&node.state, around, late);
        }
        self.people(node);
        if self.may_surprise(node) && node.state.status().is_busy() {
            self.crash(node);
        }
        let events = due(&node.state, i64::MAX);
        if !events.is_empty() {
            let (mut state, mut around) = (node.state.clone(), node.around.clone());
            let at = state.updated_at;
            self.apply(&mut state, &mut around, &events, at);
            self.push(Node { state, around });
        }
    }

    pub(super) fn may_surprise(&self, node: &Node) -> bool {
        node.around.surprises < self.case.surprises
    }

    /// The owner is gone: what was in flight may or may not arrive, and another takes over. The
    /// answers may still come.
    fn crash(&mut self, node: &Node) {
        let flights = node.around.in_flight.iter().copied();
        let changes: Vec<Flight> = flights.filter(|f| f.is_change()).collect();
        for arrived in 0..1_u32 << changes.len() {
            let mut around = node.around.clone();
            around.surprises += 1;
            around.in_flight.clear();
            for (i, flight) in changes.iter().enumerate() {
                let arrived = arrived & (1 << i) != 0;
                self.lose(&node.state, &mut around, *flight, arrived);
            }
            self.go(&node.state, around, Command::Adopt);
        }
    }

    /// Nobody hears the answer of a call now; it may come later.
    fn lose(&self, state: &State, around: &mut Around, flight: Flight, arrived: bool) {
        let Flight::Send {
            place,
            direction,
            attempt,
            change: true,
        } = flight
        else {
            return;
        };
        if arrived {
            around.world.set(place, direction);
        }
        if around.kept < self.case.late {
            around.kept += 1;
            around.late.push(Late {
                key: key_of(state, place, direction),
                attempt,
                arrived,
            });
        }
    }

    /// An answer comes when nobody waits for it any more.
    ///
    /// Of the very deed and attempt that is in flight that does not come: the engine reports each call once.
    fn late(&mut self, state: &State, around: Around, late: Late) {
        let (place, direction, generation) = late.key;
        let reply = if late.arrived {
            success()
        } else {
            failure(Left::Nothing)
        };
        for reply in [reply, lost()] {
            let command = Command::Replied {
                step: step_id(place),
                direction,
                attempt: late.attempt,
                key: format!(
                    "{}/{}/{}/{generation}",
                    state.id,
                    step_id(place),
                    direction.word()
                ),
                took_ms: 1,
                reply,
            };
            let (events, effects) = decide(state, command.clone(), &context(state.seq)).unwrap();
            let what = late_means(state, late, &events, &effects);
            *self.counts.late.entry(what).or_default() += 1;
            self.go(state, around.clone(), command);
        }
    }

    fn answer(&mut self, state: &State, around: &Around, flight: Flight) {
        let step = step_id(flight.place());
        match flight {
            Flight::Prepare(place) => self.prepare(state, around, place),
            Flight::Send {
                place,
                direction,
                attempt,
                change,
            } => {
                for (arrived, reply) in replies(change) {
                    let mut around = around.clone();
                    if matches!(reply, Reply::Lost { .. }) {
                        self.lose(state, &mut around, flight, arrived);
                    } else if change && arrived {
                        around.world.set(place, direction);
                    }
                    let command = Command::Replied {
                        step: step.clone(),
                        direction,
                        attempt,
                        key: state.key(&step, direction),
                        took_ms: 1,
                        reply,
                    };
                    self.go(state, around, command);
                }
            }
            Flight::Wait { until, .. } => {
                self.go_at(state, around.clone(), Command::Woke { step, until }, until);
            }
            Flight::Poll { attempt, .. } => {
                let mut polls = replies(false);
                polls.push((false, not_yet()));
                for (_, reply) in polls {
                    let command = Command::Replied {
                        step: step.clone(),
                        direction: Direction::Do,
                        attempt,
                        key: state.key(&step, Direction::Do),
                        took_ms: 1,
                        reply,
                    };
                    self.go(state, around.clone(), command);
                }
            }
            Flight::Probe { place, direction } => {
                for verdict in verdicts(around.world.done(place)) {
                    let command = Command::Probed {
                        step: step.clone(),
                        direction,
                        verdict,
                    };
                    self.go(state, around.clone(), command);
                }
            }
        }
    }

    /// What a look at a step right before it is sent may come to.
    fn prepare(&mut self, state: &State, around: &Around, place: usize) {
        let (kind, step) = (self.kinds[place], step_id(place));
        let facts = facts_of(kind).unwrap();
        let there = if around.world.done(place) { AFTER } else { 2 };
        let found = |before, facts| Command::Prepared {
            step: step.clone(),
            found: Ok(Box::new(Found {
                facts,
                prepared: prepared_from(kind, &step, before),
            })),
        };
        self.go(state, around.clone(), found(there, facts.clone()));
        // Somebody else changed the value, or the companion.
        self.go(state, around.clone(), found(3, facts.clone()));
        let other = other_companion(facts.clone());
        self.go(state, around.clone(), found(there, other));
        // An approval that was given was not used in time.
        self.go_at(state, around.clone(), found(there, facts), DAY);
        let unfit = Command::Prepared {
            step: step.clone(),
            found: Err(Unfit::new("vm.not_found", "There is none")),
        };
        self.go(state, around.clone(), unfit);
        // The store refused the intent: another workflow holds the object.
        self.go(state, around.clone(), Command::Held { step });
    }
}

/// What a late answer came to. It settles a step of which nobody knows, where nothing runs;
/// everything else is recorded, and nothing is done.
fn late_means(state: &State, late: Late, events: &[Event], effects: &[Effect]) -> &'static str {
    let (place, direction, _) = late.key;
    let step: &Step = &state.steps[place];
    assert!(
        effects.is_empty(),
        "a late answer does something: {effects:?}"
    );
    // A success that is to be looked into settles nothing by itself.
    let call = state.call_of(&step_id(place)).unwrap();
    let looked_into = call.verify.is_some() || call.expect.is_some();
    let known = |outcome: &Outcome| match outcome {
        Outcome::Succeeded { .. } => !looked_into,
        Outcome::Failed { .. } => true,
        Outcome::Unknown { .. } => false,
    };
    let settles = direction == Direction::Do
        && step.status == StepStatus::Unknown
        && step.attempt == late.attempt
        && key_of(state, place, direction) == late.key
        && !state.status().is_busy()
        && state.approval().is_none();
    match events {
        [Event::Outcome { outcome, .. }] => {
            assert!(settles && known(outcome), "a late answer settles {step:#?}");
            "settles"
        }
        [
            Event::LateReply {
                contradicts,
                outcome,
                ..
            },
        ] => {
            assert!(!settles || !known(outcome), "it settles nothing: {step:#?}");
            let said = matches!(outcome, Outcome::Succeeded { .. });
            let against = match (direction, step.status) {
                // Another deed took its place, since somebody said that it did not happen.
                _ if key_of(state, place, direction) != late.key => said,
                (Direction::Do, StepStatus::Failed)
                | (Direction::Undo, StepStatus::RollbackFailed) => said,
                (Direction::Do, StepStatus::Succeeded) => matches!(outcome, Outcome::Failed { .. }),
                _ => false,
            };
            assert_eq!(*contradicts, against, "{outcome:?} of {step:#?}");
            if against {
                "contradicts"
            } else {
                "is recorded"
            }
        }
        other => panic!("a late answer leads to {other:?}"),
    }
}

fn success() -> Reply {
    Reply::Success {
        body: json!({"vm": {"on": true}, "changed": true}),
        sha256: "0".repeat(64),
        size: 2,
    }
}

/// The answer of a read whose condition does not hold.
fn not_yet() -> Reply {
    Reply::Success {
        body: json!({"vm": {"on": false}}),
        sha256: "0".repeat(64),
        size: 2,
    }
}

fn failure(left: Left) -> Reply {
    Reply::Failure {
        code: "vsphere.fault".to_owned(),
        error: "It failed".to_owned(),
        left,
    }
}

fn lost() -> Reply {
    Reply::Lost {
        why: "nobody answered".to_owned(),
    }
}

/// Every answer, with whether the call took effect.
fn replies(change: bool) -> Vec<(bool, Reply)> {
    let mut replies = vec![
        (true, success()),
        (false, failure(Left::Nothing)),
        (false, lost()),
    ];
    if change {
        replies.extend([
            (true, lost()),
            (true, failure(Left::Something)),
            (true, failure(Left::NotSaid)),
            (false, failure(Left::NotSaid)),
        ]);
    }
    replies
}

/// What probes of these steps may show, each of them the truth or nothing.
pub(super) fn every_verdict(done: &[bool]) -> Vec<Vec<Verdict>> {
    let mut all = vec![Vec::new()];
    for done in done {
        let longer = |before: &Vec<Verdict>| {
            let before = before.clone();
            let with = move |verdict| [before.clone(), vec![verdict]].concat();
            verdicts(*done).into_iter().map(with)
        };
        all = all.iter().flat_map(longer).collect();
    }
    all
}
