//! Small rules, each at its boundary: words, votes, deadlines, and which events name what.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};
use workflow::decide::{Command, Context, Effect, decide, due, next_deadline, step_digest};
use workflow::event::{
    Assurance, CancelCause, Direction, Event, Left, Outcome, Pause, RollbackCause, Subject, Verdict,
};
use workflow::judge;
use workflow::model::{
    ApprovalId, Approvers, Effect as Repeat, OutputDef, Risk, ScalarKind, StepId, UndoKind, Verify,
    WorkflowId,
};
use workflow::state::{State, Status, StepStatus, touched};

use crate::support::{
    Kind, Spec, call, context, definition, facts_of, id, person, prepared_of, review_of, step_id,
};

fn created(kinds: &[Kind]) -> State {
    let event = Event::Created {
        id: id(),
        definition: Box::new(definition(&Spec::of(kinds))),
        by: person(),
        facts: kinds.iter().map(|k| facts_of(*k)).collect(),
    };
    State::create(0, &event).unwrap()
}

/// Where it is asked about.
fn asked(kinds: &[Kind]) -> State {
    let mut state = created(kinds);
    let review = Box::new(review_of(&state, kinds));
    let run = Command::Run {
        by: person(),
        review,
    };
    for event in decide(&state, run, &context(1)).unwrap().0 {
        state.apply(0, &event).unwrap();
    }
    state
}

/// A word is what the same thing is called where it is stored.
#[test]
fn p11_a_word_in_an_answer_is_the_word_in_the_log() {
    fn same<T: Serialize + Copy>(values: &[T], word: fn(T) -> &'static str) -> usize {
        for value in values {
            assert_eq!(serde_json::to_value(value).unwrap(), json!(word(*value)));
        }
        values.len()
    }
    use Pause::{ApprovalExpired, ApprovalLapsed, Drift, Held, Recoveries, Settled, Unknown};
    let risks = [Risk::Read, Risk::Write, Risk::Destructive, Risk::Unknown];
    let trust = [
        Assurance::Attested,
        Assurance::Elicited,
        Assurance::Authenticated,
        Assurance::Signed,
    ];
    let kinds = [
        ScalarKind::String,
        ScalarKind::Integer,
        ScalarKind::Number,
        ScalarKind::Boolean,
    ];
    let undos = [
        UndoKind::Exact,
        UndoKind::Lossy,
        UndoKind::Conditional,
        UndoKind::Declared,
        UndoKind::None,
    ];
    let pauses = [
        ApprovalExpired,
        Drift,
        Unknown,
        Settled,
        ApprovalLapsed,
        Recoveries,
        Held,
    ];
    let words = same(&risks, Risk::word)
        + same(
            &[Repeat::Read, Repeat::Idempotent, Repeat::Once],
            Repeat::word,
        )
        + same(&trust, Assurance::word)
        + same(&kinds, ScalarKind::word)
        + same(&undos, UndoKind::word)
        + same(&pauses, Pause::word)
        + same(
            &[CancelCause::Cancelled, CancelCause::Rejected],
            CancelCause::word,
        )
        + same(&[Direction::Do, Direction::Undo], Direction::word);
    println!("{words} words");
    assert_eq!(words, 31);
    let statuses: BTreeSet<&str> = Status::ALL.into_iter().map(Status::word).collect();
    assert_eq!(statuses.len(), 10);
    assert!(statuses.iter().all(|word| word.len() > 5));
    assert_eq!(Status::Awaiting.word(), StepStatus::AwaitingApproval.word());
    assert_eq!(WorkflowId("wf_1".to_owned()).to_string(), "wf_1");
    assert_eq!(ApprovalId("ap_1".to_owned()).to_string(), "ap_1");
    assert_eq!(StepId("s".to_owned()).to_string(), "s");
    let rollback = Subject::Rollback { order: Vec::new() };
    assert_eq!((rollback.word(), rollback.returns()), ("rollback", true));
    assert_eq!(
        (Subject::Plan.word(), Subject::Plan.returns()),
        ("plan", false)
    );
}

#[test]
fn p18_only_a_change_that_is_sent_needs_its_commit_first() {
    let send = |change| Effect::Send {
        step: step_id(0),
        direction: Direction::Do,
        attempt: 1,
        key: String::new(),
        call: call("do"),
        target: None,
        change,
    };
    let wait = Effect::Wait {
        step: step_id(0),
        until: 1,
    };
    assert!(send(true).needs_commit());
    assert!(!send(false).needs_commit() && !wait.needs_commit());
}

/// An event that names a step that is not there is no event of this workflow.
#[test]
fn p18_an_event_of_a_step_that_is_not_there_is_not_applied() {
    let no = StepId("no".to_owned());
    let step = || no.clone();
    let approved = |covers| Event::Approved {
        approval: ApprovalId("ap_1".to_owned()),
        by: person(),
        comment: String::new(),
        covers,
    };
    let state = asked(&[Kind::Write]);
    let digest = state.approval().unwrap().digest;
    let events = vec![
        Event::GatePassed { step: step() },
        Event::Launched { step: step() },
        Event::Deferred { step: step() },
        Event::Failed { step: step() },
        Event::Probed {
            step: step(),
            direction: Direction::Do,
            verdict: Verdict::InEffect,
        },
        Event::Lapsed { step: Some(step()) },
        approved(BTreeMap::from([(step(), digest)])),
        Event::RollbackStarted {
            why: RollbackCause::ByHand,
            order: vec![step()],
        },
        Event::RollbackStarted {
            why: RollbackCause::StepFailed { step: step() },
            order: Vec::new(),
        },
    ];
    for event in &events {
        assert_eq!(event.steps(), vec![&no], "{event:?}");
        let error = state.clone().apply(0, event).unwrap_err();
        assert_eq!(error.why, "there is no such step", "{event:?}");
    }
    let found = touched(&[
        events[0].clone(),
        events[1].clone(),
        approved(BTreeMap::new()),
    ]);
    assert_eq!(found, BTreeSet::from([no]));
    // A review of another number of steps is none of this workflow.
    let review = Box::new(review_of(
        &created(&[Kind::Read, Kind::Read]),
        &[Kind::Read; 2],
    ));
    let error = state.clone().apply(0, &Event::Reviewed { review });
    assert!(error.unwrap_err().why.contains("another number of steps"));
}

#[test]
fn p7_a_deadline_is_over_when_its_moment_comes() {
    let state = asked(&[Kind::Write]);
    let until = state.approval().unwrap().expires_at;
    assert_eq!((next_deadline(&state), until), (Some(until), 300_000));
    assert!(due(&state, until - 1).is_empty());
    assert_eq!(due(&state, until).len(), 1);
    let mut expired = state.clone();
    expired.apply(until, &due(&state, until)[0]).unwrap();
    assert_eq!(
        (next_deadline(&expired), expired.status()),
        (None, Status::Paused)
    );
    assert!(due(&expired, i64::MAX).is_empty());
    // The time never goes back: what was over stays so.
    assert_eq!(expired.updated_at, until);
    expired
        .apply(0, &Event::Paused { why: Pause::Held })
        .unwrap_err();
    assert_eq!(expired.updated_at, until);
}

/// An approval that was given counts to its last moment, and no longer.
#[test]
fn p7_an_approval_is_used_within_its_time_or_not_at_all() {
    for (kinds, step) in [([Kind::Write], false), ([Kind::Destroy], true)] {
        for (late, stopped) in [(0, false), (1, true)] {
            let mut state = asked(&kinds);
            let mut now = 5;
            let mut effects = Vec::new();
            for _ in 0..1 + usize::from(step) {
                let approve = Command::Approve {
                    approval: state.approval().unwrap().id.clone(),
                    by: person(),
                    comment: String::new(),
                    steps: Vec::new(),
                    facts: kinds.iter().map(|k| facts_of(*k)).collect(),
                };
                effects = turn(&mut state, approve, now);
                assert!(matches!(effects[..], [Effect::Prepare { .. }]));
                if step && state.steps[0].approved.is_none() {
                    effects = turn(&mut state, prepared(kinds[0]), now);
                    now += 7;
                }
            }
            drop(effects);
            let given = if step {
                state.steps[0].approved_at
            } else {
                state.plan_approved_at
            };
            let at = given.unwrap() + 3_600_000 + late;
            // The plan's own time is told apart from the step's.
            state.plan_used = step;
            let effects = turn(&mut state, prepared(kinds[0]), at);
            assert_eq!(effects.is_empty(), stopped, "{kinds:?} {late}");
            let expected = if stopped {
                Status::Paused
            } else {
                Status::Running
            };
            assert_eq!(state.status(), expected, "{kinds:?} {late}");
        }
    }
}

fn prepared(kind: Kind) -> Command {
    Command::Prepared {
        step: step_id(0),
        found: Ok(Box::new(workflow::decide::Found {
            facts: facts_of(kind).unwrap(),
            prepared: prepared_of(kind, &step_id(0), false),
        })),
    }
}

fn turn(state: &mut State, command: Command, now: i64) -> Vec<Effect> {
    let context = Context {
        now,
        ..context(state.seq)
    };
    let (events, effects) = decide(state, command, &context).unwrap();
    for event in events {
        state.apply(now, &event).unwrap();
    }
    effects
}

#[test]
fn p6_what_both_want_of_those_who_decide_is_the_stricter_of_each() {
    let of = |quorum, exclude_requester| Approvers {
        quorum,
        exclude_requester,
    };
    for (a, b, both) in [
        (of(1, false), of(1, false), of(1, false)),
        (of(2, false), of(1, true), of(2, true)),
        (of(1, true), of(3, false), of(3, true)),
        (of(2, true), of(2, true), of(2, true)),
    ] {
        assert_eq!(a.and(b), both);
    }
    let anyone = [of(0, false), of(1, false)].map(|a| a.is_anyone());
    let somebody = [of(1, true), of(2, false)].map(|a| a.is_anyone());
    assert_eq!((anyone, somebody), ([true; 2], [false; 2]));
}

/// What is approved is bound to the plan, the deed, the call, and what was prepared.
#[test]
fn p6_a_digest_changes_with_each_thing_that_it_is_bound_to() {
    let state = asked(&[Kind::Destroy, Kind::Destroy]);
    let prepared = |drifted| prepared_of(Kind::Destroy, &step_id(0), drifted);
    let digest = |state: &State, place, action, drifted| {
        step_digest(state, &step_id(place), &call(action), &prepared(drifted))
    };
    let first = digest(&state, 0, "do", false);
    assert_eq!(first, digest(&state, 0, "do", false));
    let other_plan = digest(&created(&[Kind::Destroy]), 0, "do", false);
    let others = [
        digest(&state, 1, "do", false),
        digest(&state, 0, "undo", false),
        digest(&state, 0, "do", true),
        other_plan,
    ];
    assert!(others.iter().all(|other| *other != first));
}

#[test]
fn p12_a_deed_that_does_not_say_has_changed_something() {
    for (body, changed) in [
        (json!({}), true),
        (json!({"changed": true}), true),
        (json!({"changed": false}), false),
        (json!({"changed": "no"}), true),
    ] {
        assert_eq!(judge::changed(&body), changed, "{body}");
    }
    let verify = |before: Value| Verify {
        call: call("look"),
        after: BTreeMap::from([("/n".to_owned(), json!(2))]),
        before: serde_json::from_value(before).unwrap(),
    };
    let both = verify(json!({"/n": 1}));
    assert_eq!(both.after.len() + both.before.len(), 2);
}

/// What a failed step left decides whether a rollback looks at it.
#[test]
fn p8_what_left_nothing_is_not_undone() {
    for (left, undone) in [(Left::Nothing, 0), (Left::Something, 1), (Left::NotSaid, 1)] {
        let mut state = created(&[Kind::Write]);
        let outcome = Event::Outcome {
            step: step_id(0),
            direction: Direction::Do,
            attempt: 1,
            took_ms: None,
            outcome: Outcome::Failed {
                code: "vsphere.fault".to_owned(),
                error: "It failed".to_owned(),
                left,
            },
        };
        state.apply(0, &outcome).unwrap();
        assert_eq!(state.undo_order().len(), undone, "{left:?}");
        assert_eq!(state.blocking_failure(0..1), Some(0));
        assert_eq!((state.settled(), state.unknown_steps().len()), (1, 0));
    }
}

/// An output is what was declared, and at most so long.
#[test]
fn p12_an_output_fits_its_declaration_exactly() {
    let output = |kind, value: Value| {
        let def = OutputDef {
            pointer: "/v".to_owned(),
            kind,
        };
        let declared = BTreeMap::from([("v".to_owned(), def)]);
        let (found, _) = judge::outputs(&declared, &json!({"v": value}));
        found.contains_key("v")
    };
    for (kind, value, fits) in [
        (ScalarKind::Integer, json!(-1), true),
        (ScalarKind::Integer, json!(1), true),
        (ScalarKind::Integer, json!(1.5), false),
        (ScalarKind::Number, json!(1.5), true),
        (ScalarKind::Boolean, json!("true"), false),
        (ScalarKind::String, json!("x".repeat(500)), true),
        (ScalarKind::String, json!("x".repeat(501)), false),
    ] {
        assert_eq!(output(kind, value.clone()), fits, "{kind:?} {value}");
    }
}
