//! Every prefix: the events of whole runs, cut after each one, and taken over by another owner.
//! Whatever was lost, the workflow comes to a rest that is legal and true.

use std::collections::BTreeMap;

use serde_json::json;
use workflow::decide::{Command, Effect, Found, decide};
use workflow::event::{Direction, Event, Left, Verdict};
use workflow::model::{OnFailure, StepId};
use workflow::reply::Reply;
use workflow::state::{State, Status, StepStatus, fold};

use crate::support::{Kind, context, definition, facts_of, id, person, prepared_of, review_of};

type World = BTreeMap<StepId, bool>;

struct Run {
    kinds: Vec<Kind>,
    /// The step that fails, cleanly.
    fails: Option<usize>,
    state: State,
    events: Vec<Event>,
    world: World,
    turns: u64,
}

impl Run {
    fn new(kinds: &[Kind], fails: Option<usize>) -> Self {
        let created = Event::Created {
            id: id(),
            facts: kinds.iter().map(|k| facts_of(*k)).collect(),
            definition: Box::new(definition(kinds, OnFailure::Rollback)),
            by: person(),
        };
        Self {
            kinds: kinds.to_vec(),
            fails,
            state: State::create(0, &created).unwrap(),
            events: vec![created],
            world: World::new(),
            turns: 0,
        }
    }

    fn turn(&mut self, command: Command) -> Vec<Effect> {
        self.turns += 1;
        let (events, effects) = decide(&self.state, command, &context(1000 + self.turns)).unwrap();
        for event in events {
            self.state.apply(0, &event).unwrap();
            self.events.push(event);
        }
        effects
    }

    /// Goes on until nobody has anything to do: a person approves, and tells the truth about
    /// what is unknown.
    fn finish(&mut self, mut effects: Vec<Effect>) {
        for _ in 0..200 {
            while let Some(effect) = effects.pop() {
                let command = self.answer(effect);
                effects.extend(self.turn(command));
            }
            let by = person();
            let command = match self.state.status() {
                Status::Pending => Command::Run {
                    by,
                    review: Box::new(review_of(&self.state, &self.kinds)),
                },
                Status::Awaiting => Command::Approve {
                    approval: self.state.approval().unwrap().id.clone(),
                    by,
                    comment: String::new(),
                    steps: Vec::new(),
                    facts: self.state.steps.iter().map(|s| s.facts.clone()).collect(),
                },
                Status::Paused => match self.state.unknown_steps().first() {
                    Some(step) => Command::Resolve {
                        step: step.clone(),
                        happened: self.world.get(step).copied().unwrap_or(false),
                        outputs: BTreeMap::new(),
                        by,
                        note: "Looked".to_owned(),
                    },
                    None => Command::Resume {
                        by,
                        review: Some(Box::new(review_of(&self.state, &self.kinds))),
                        probes: BTreeMap::new(),
                    },
                },
                _ => return,
            };
            effects = self.turn(command);
        }
        panic!("it never came to rest: {:#?}", self.state.phase);
    }

    fn answer(&mut self, effect: Effect) -> Command {
        match effect {
            Effect::Prepare { step, .. } => {
                let kind = self.kinds[self.state.position(&step).unwrap()];
                let found = Found {
                    facts: facts_of(kind).unwrap(),
                    prepared: prepared_of(kind, &step, false),
                };
                Command::Prepared {
                    step,
                    found: Ok(Box::new(found)),
                }
            }
            Effect::Send {
                step,
                direction,
                attempt,
                change,
                ..
            } => {
                let fails = direction == Direction::Do && self.state.position(&step) == self.fails;
                let reply = if fails {
                    Reply::Failure {
                        code: "vsphere.fault".to_owned(),
                        error: "It failed".to_owned(),
                        left: Left::Nothing,
                    }
                } else {
                    if change {
                        self.world.insert(step.clone(), direction == Direction::Do);
                    }
                    Reply::Success {
                        body: json!({"changed": true}),
                        sha256: "0".repeat(64),
                        size: 1,
                    }
                };
                Command::Replied {
                    step,
                    direction,
                    attempt,
                    took_ms: 1,
                    reply,
                }
            }
            Effect::Probe {
                step, direction, ..
            } => {
                let done = self.world.get(&step).copied().unwrap_or(false);
                Command::Probed {
                    step,
                    direction,
                    verdict: if done {
                        Verdict::InEffect
                    } else {
                        Verdict::NotInEffect
                    },
                }
            }
        }
    }
}

/// What was so after these events: the last intent of each step arrived, but for the very last
/// one, of which nobody knows.
fn world_after(events: &[Event], last_arrived: bool) -> World {
    let mut world = World::new();
    let mut open: BTreeMap<StepId, Direction> = BTreeMap::new();
    for event in events {
        match event {
            Event::Intent {
                step, direction, ..
            } => {
                open.insert(step.clone(), *direction);
            }
            Event::Outcome {
                step,
                direction,
                outcome: workflow::event::Outcome::Succeeded { .. },
                ..
            } if open.remove(step).is_some() => {
                world.insert(step.clone(), *direction == Direction::Do);
            }
            Event::Outcome { step, .. } => {
                open.remove(step);
            }
            _ => {}
        }
    }
    for (step, direction) in open {
        if last_arrived {
            world.insert(step, direction == Direction::Do);
        }
    }
    world
}

#[test]
fn p18_every_prefix_of_a_run_is_taken_over_and_comes_to_a_true_rest() {
    let mut prefixes = 0;
    let scripts: &[(&[Kind], Option<usize>)] = &[
        (
            &[
                Kind::Read,
                Kind::Write,
                Kind::Destroy,
                Kind::Gate,
                Kind::Write,
            ],
            None,
        ),
        (
            &[Kind::Write, Kind::NoUndo, Kind::Destroy, Kind::Write],
            Some(3),
        ),
        (
            &[Kind::Write, Kind::Write, Kind::Read, Kind::Write],
            Some(3),
        ),
        (&[Kind::Blind, Kind::Write], Some(1)),
    ];
    for (kinds, fails) in scripts {
        let mut whole = Run::new(kinds, *fails);
        whole.finish(Vec::new());
        for cut in 1..=whole.events.len() {
            for last_arrived in [false, true] {
                let events = whole.events[..cut].to_vec();
                let state = fold(events.iter().map(|e| (0, e))).unwrap().unwrap();
                let mut run = Run {
                    kinds: kinds.to_vec(),
                    fails: *fails,
                    world: world_after(&events, last_arrived),
                    state,
                    events,
                    turns: 0,
                };
                let effects = run.turn(Command::Adopt);
                run.finish(effects);
                check(&run, cut);
                prefixes += 1;
            }
        }
    }
    println!("{prefixes} prefixes");
    assert!(prefixes > 100);
}

fn check(run: &Run, cut: usize) {
    let status = run.state.status();
    assert!(
        matches!(
            status,
            Status::Completed | Status::RolledBack | Status::RollbackFailed | Status::Failed
        ),
        "cut after {cut}: {status:?}"
    );
    let residue = workflow::review::residue(&run.state);
    for (def, step) in run.state.definition.steps.iter().zip(&run.state.steps) {
        let done = run.world.get(&def.id).copied().unwrap_or(false);
        match step.status {
            StepStatus::Succeeded if step.changes() => assert!(done, "cut after {cut}: {def:?}"),
            StepStatus::RolledBack => assert!(!done, "cut after {cut}: {def:?}"),
            _ if done => {
                let said = residue.iter().any(|r| r["step"] == json!(def.id));
                assert!(
                    said,
                    "cut after {cut}: `{}` stays and nobody says so: {step:#?}",
                    def.id
                );
            }
            _ => {}
        }
    }
}
