//! Every prefix: the events of whole runs, cut after each one, and taken over by another owner.
//! Whatever was lost, the workflow comes to a rest that is legal and true.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use workflow::decide::{Command, Context, Effect, Found, decide};
use workflow::event::{Direction, Event, Left, Outcome, Verdict};
use workflow::model::{Each, Millis, OnFailure, StepId};
use workflow::reply::Reply;
use workflow::state::{State, Status, StepStatus, fold};

use crate::support::{
    AFTER, Kind, Spec, context, definition, facts_of, id, person, prepared_from, review_of, step_id,
};
use Kind::{
    After, Blind, Destroy, Gate, Never, NoUndo, Optional, Own, Read, Retry, RetryDestroy,
    Unexpected, Verified, Wait, Write,
};

type World = BTreeMap<StepId, bool>;

/// What a person does to a run beside approving.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Person {
    /// Nothing.
    Approves,
    /// Undoes what is completed.
    RollsBack,
    /// Says no to the second question.
    Rejects,
}

/// A workflow, and what goes wrong in it.
#[derive(Clone)]
struct Script {
    spec: Spec,
    /// Steps whose first answers are failures: so many.
    fails: BTreeMap<usize, u32>,
    person: Person,
}

impl Script {
    fn of(spec: Spec) -> Self {
        Self {
            spec,
            fails: BTreeMap::new(),
            person: Person::Approves,
        }
    }

    fn fails(mut self, place: usize, times: u32) -> Self {
        self.fails.insert(place, times);
        self
    }

    fn person(self, person: Person) -> Self {
        Self { person, ..self }
    }
}

struct Run {
    script: Script,
    state: State,
    events: Vec<(Millis, Event)>,
    /// How many events there were after each turn.
    turns: Vec<usize>,
    world: World,
    now: Millis,
    decided: u32,
}

impl Run {
    fn new(script: &Script) -> Self {
        let kinds = &script.spec.kinds;
        let created = Event::Created {
            id: id(),
            facts: kinds.iter().map(|k| facts_of(*k)).collect(),
            definition: Box::new(definition(&script.spec)),
            by: person(),
        };
        Self {
            script: script.clone(),
            state: State::create(0, &created).unwrap(),
            events: vec![(0, created)],
            turns: vec![1],
            world: World::new(),
            now: 0,
            decided: 0,
        }
    }

    /// What another owner finds after these events.
    fn cut(&self, cut: usize, arrived: &BTreeSet<StepId>) -> Self {
        let events = self.events[..cut].to_vec();
        let state = fold(events.iter().map(|(at, e)| (*at, e)))
            .unwrap()
            .unwrap();
        Self {
            script: self.script.clone(),
            world: world_after(&events, arrived),
            now: state.updated_at,
            state,
            events,
            turns: Vec::new(),
            // Whoever says no has said it, or not yet.
            decided: 0,
        }
    }

    fn turn(&mut self, command: Command) -> Vec<Effect> {
        let context = Context {
            now: self.now,
            ..context(1000 + self.events.len() as u64)
        };
        let (events, effects) = decide(&self.state, command, &context).unwrap();
        for event in events {
            self.state.apply(self.now, &event).unwrap();
            self.events.push((self.now, event));
        }
        self.turns.push(self.events.len());
        effects
    }

    /// Goes on until nobody has anything to do: a person approves, and tells the truth about
    /// what is unknown.
    fn finish(&mut self, mut effects: Vec<Effect>) {
        for _ in 0..200 {
            while !effects.is_empty() {
                let command = self.answer(effects.remove(0));
                effects.extend(self.turn(command));
            }
            let by = person();
            let review = || Box::new(review_of(&self.state, &self.script.spec.kinds));
            let command = match self.state.status() {
                Status::Pending => Command::Run {
                    by,
                    review: review(),
                },
                Status::Awaiting => {
                    self.decided += 1;
                    let approval = self.state.approval().unwrap().id.clone();
                    if self.script.person == Person::Rejects && self.decided == 2 {
                        Command::Reject {
                            approval,
                            by,
                            reason: String::new(),
                        }
                    } else {
                        Command::Approve {
                            approval,
                            by,
                            comment: String::new(),
                            steps: Vec::new(),
                            facts: self.state.steps.iter().map(|s| s.facts.clone()).collect(),
                        }
                    }
                }
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
                        review: Some(review()),
                        probes: BTreeMap::new(),
                    },
                },
                Status::Completed if self.script.person == Person::RollsBack => {
                    if self.state.undo_order().is_empty() {
                        return;
                    }
                    Command::Rollback { by }
                }
                _ => return,
            };
            effects = self.turn(command);
        }
        panic!("it never came to rest: {:#?}", self.state.phase);
    }

    fn answer(&mut self, effect: Effect) -> Command {
        match effect {
            Effect::Prepare { step, .. } => {
                let kind = self.script.spec.kinds[self.state.position(&step).unwrap()];
                let done = self.world.get(&step).copied().unwrap_or(false);
                let found = Found {
                    facts: facts_of(kind).unwrap(),
                    prepared: prepared_from(kind, &step, if done { AFTER } else { 2 }),
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
                key,
                change,
                ..
            } => {
                let place = self.state.position(&step).unwrap();
                let failures = self.script.fails.get(&place).copied().unwrap_or(0);
                let fails = direction == Direction::Do && attempt <= failures;
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
                    success(true)
                };
                Command::Replied {
                    step,
                    direction,
                    attempt,
                    key,
                    took_ms: 1,
                    reply,
                }
            }
            Effect::Wait { step, until } => {
                self.now = self.now.max(until);
                Command::Woke { step, until }
            }
            Effect::Poll {
                step, attempt, key, ..
            } => {
                let place = self.state.position(&step).unwrap();
                Command::Replied {
                    step,
                    direction: Direction::Do,
                    attempt,
                    key,
                    took_ms: 1,
                    reply: success(!self.script.fails.contains_key(&place)),
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

fn success(on: bool) -> Reply {
    Reply::Success {
        body: json!({"vm": {"on": on}, "changed": true}),
        sha256: "0".repeat(64),
        size: 1,
    }
}

/// What was sent and has no outcome after these events.
fn open_after(events: &[(Millis, Event)]) -> BTreeMap<StepId, Direction> {
    let mut open = BTreeMap::new();
    for (_, event) in events {
        match event {
            Event::Intent {
                step, direction, ..
            } => {
                open.insert(step.clone(), *direction);
            }
            Event::Outcome { step, .. } => {
                open.remove(step);
            }
            _ => {}
        }
    }
    open
}

/// What is so after these events: what has an outcome is as that says, and of what has none these
/// arrived.
fn world_after(events: &[(Millis, Event)], arrived: &BTreeSet<StepId>) -> World {
    let mut world = World::new();
    for (i, (_, event)) in events.iter().enumerate() {
        if let Event::Outcome {
            step,
            direction,
            outcome: Outcome::Succeeded { .. },
            ..
        } = event
            && open_after(&events[..i]).contains_key(step)
        {
            world.insert(step.clone(), *direction == Direction::Do);
        }
    }
    for (step, direction) in open_after(events) {
        if arrived.contains(&step) {
            world.insert(step, direction == Direction::Do);
        }
    }
    world
}

/// Every choice of these.
fn choices(of: &[StepId]) -> Vec<BTreeSet<StepId>> {
    let chosen = |bits: u32| {
        let taken = of.iter().enumerate().filter(|(i, _)| bits & (1 << i) != 0);
        taken.map(|(_, step)| step.clone()).collect()
    };
    (0..1 << of.len()).map(chosen).collect()
}

fn scripts() -> Vec<Script> {
    let each = |batch, max_failures| {
        Some(Each {
            batch,
            max_failures,
        })
    };
    let of = |kinds: &[Kind]| Script::of(Spec::of(kinds));
    let group = |kinds: &[Kind], from, count, limit, each| {
        Script::of(Spec::of(kinds).group(from, count, limit, each))
    };
    vec![
        of(&[Read, Write, Destroy, Gate, Write]),
        of(&[Write, NoUndo, Destroy, Write]).fails(3, 1),
        of(&[Write, Write, Read, Write]).fails(3, 1),
        of(&[Blind, Write]).fails(1, 1),
        of(&[Write, Own, Verified, Destroy]).person(Person::RollsBack),
        of(&[Write, Destroy, Write]).person(Person::Rejects),
        of(&[Read, Destroy]).person(Person::Rejects),
        Script::of(Spec::of(&[Write, Wait]).on_failure(OnFailure::Stop)).fails(1, 1),
        // Conditions: of the answer, and of what went before.
        of(&[Write, Never, After, Gate, Unexpected]),
        of(&[Optional, After, Wait, Write]).fails(0, 1),
        of(&[Write, Destroy, Wait, Write]).fails(2, 1),
        // What is tried again works, or does not.
        of(&[Write, Retry, RetryDestroy]).fails(1, 1).fails(2, 1),
        of(&[Write, Retry, Write]).fails(1, 2),
        // At the same time.
        group(&[Write, Write, Write, Destroy, Read], 1, 3, 2, None).person(Person::RollsBack),
        group(&[Gate, Write, Retry, Verified, Write], 1, 3, 3, None).fails(2, 2),
        group(&[Write, Retry, Retry, Read], 1, 2, 2, None)
            .fails(1, 1)
            .fails(2, 1),
        // One for each item, in batches.
        group(&[Write; 5], 0, 5, 2, each(2, 1))
            .fails(1, 1)
            .person(Person::RollsBack),
        group(&[Write; 5], 0, 5, 2, each(2, 1))
            .fails(1, 1)
            .fails(2, 1),
        group(&[Destroy; 4], 0, 4, 2, each(2, 0)).fails(3, 1),
        group(&[Write, Retry, Retry, Retry], 1, 3, 3, each(3, 0))
            .fails(1, 1)
            .fails(3, 2),
    ]
}

#[test]
fn p18_every_prefix_of_a_run_is_taken_over_and_comes_to_a_true_rest() {
    let (mut prefixes, mut within) = (0, 0);
    let mut rests: BTreeMap<Status, usize> = BTreeMap::new();
    let mut kinds: BTreeSet<&'static str> = BTreeSet::new();
    for script in scripts() {
        let mut whole = Run::new(&script);
        whole.finish(Vec::new());
        check(&whole, "whole");
        kinds.extend(whole.events.iter().map(|(_, event)| event.kind()));
        for cut in 1..=whole.events.len() {
            let together = whole.turns.contains(&cut);
            // A no and what follows from it are one turn: half of it is no log of ours.
            if matches!(whole.events[cut - 1].1, Event::Rejected { .. }) {
                assert!(!together);
                continue;
            }
            let open: Vec<StepId> = open_after(&whole.events[..cut]).into_keys().collect();
            for arrived in choices(&open) {
                let mut run = whole.cut(cut, &arrived);
                let effects = run.turn(Command::Adopt);
                run.finish(effects);
                check(&run, &format!("cut after {cut}, arrived {arrived:?}"));
                *rests.entry(run.state.status()).or_default() += 1;
                prefixes += 1;
                within += usize::from(!together);
            }
        }
    }
    println!("{prefixes} prefixes, {within} of them within a turn, rests {rests:?}");
    assert!(prefixes > 600 && within > 100, "{prefixes}, {within}");
    assert!(rests.len() >= 5, "{rests:?}");
    for kind in [
        "launched",
        "retry_scheduled",
        "wait_started",
        "skipped",
        "unexpected",
    ] {
        assert!(kinds.contains(kind), "no run has `{kind}`");
    }
}

fn check(run: &Run, what: &str) {
    let kinds = &run.script.spec.kinds;
    let status = run.state.status();
    let rest = matches!(
        status,
        Status::Completed
            | Status::RolledBack
            | Status::RollbackFailed
            | Status::Failed
            | Status::Cancelled
    );
    assert!(rest, "{kinds:?} {what}: {status:?}");
    // The log that is left behind tells the same.
    let again = fold(run.events.iter().map(|(at, e)| (*at, e))).unwrap();
    assert_eq!(again.as_ref(), Some(&run.state), "{kinds:?} {what}");
    let residue = workflow::review::residue(&run.state);
    for (place, step) in run.state.steps.iter().enumerate() {
        let id = step_id(place);
        let done = run.world.get(&id).copied().unwrap_or(false);
        let at = || format!("{kinds:?} {what}: step {place}: {step:#?}");
        match step.status {
            StepStatus::Succeeded if step.changes() => assert!(done, "{}", at()),
            StepStatus::Pending | StepStatus::Skipped | StepStatus::RolledBack => {
                assert!(!done, "{}", at());
            }
            StepStatus::Running | StepStatus::AwaitingApproval | StepStatus::RollingBack => {
                panic!("not at rest: {}", at());
            }
            _ if done => {
                let said = residue.iter().any(|r| r["step"] == json!(id));
                assert!(said, "it stays and nobody says so: {}", at());
            }
            _ => {}
        }
    }
}
