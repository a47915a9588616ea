//! What an answer brings with it: an undo, outputs, another try, and what it leaves behind.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use workflow::decide::{ATTEMPTS, Command, Effect, Found};
use workflow::event::{Direction, Event, Left, Verdict};
use workflow::model::{Deed, UndoKind};
use workflow::reply::Reply;
use workflow::review::residue;
use workflow::state::{Status, StepStatus};

use crate::flow::{Flow, cancel, failure, lost, success};
use crate::support::{Kind, Spec, definition, facts_of, person, prepared_of, step_id};
use Kind::{Destroy, Optional, Own, Read, Retry, Write};

fn answer(body: Value) -> Reply {
    Reply::Success {
        body,
        sha256: "0".repeat(64),
        size: 1,
    }
}

fn probed(verdict: Verdict) -> Command {
    Command::Probed {
        step: step_id(0),
        direction: Direction::Do,
        verdict,
    }
}

fn attempt(flow: &Flow) -> Option<u32> {
    match flow.effects[..] {
        [Effect::Send { attempt, .. }] => Some(attempt),
        _ => None,
    }
}

/// The undo that an answer offers is used, unless an earlier attempt may have changed something.
#[test]
fn p8_an_offered_undo_takes_the_place_of_the_prepared_one() {
    let offers = || {
        answer(json!({"undo_kind": "exact",
        "undo": {"action": "undo", "moref": "s0", "cpu": 7}}))
    };
    let undoes = |flow: Flow| {
        let flow = flow.to(Command::Rollback { by: person() }).yes();
        match &flow.effects[..] {
            [Effect::Send { call, .. }] => call.arguments["cpu"].clone(),
            other => panic!("{other:?}"),
        }
    };
    let sent = || Flow::of(&[Write]).run().yes().prepared(0);
    assert_eq!(undoes(sent().replied(0, Direction::Do, offers())), 7);
    assert_eq!(undoes(sent().replied(0, Direction::Do, success())), 2);
    let again = sent().replied(0, Direction::Do, lost());
    let again = again.to(probed(Verdict::NotInEffect));
    assert_eq!(attempt(&again), Some(2));
    assert_eq!(undoes(again.replied(0, Direction::Do, offers())), 2);
}

/// What changed nothing is not undone.
#[test]
fn p8_what_says_that_it_changed_nothing_is_not_undone() {
    for (body, undone) in [
        (json!({"changed": false}), 0),
        (json!({"changed": true}), 1),
    ] {
        let flow = Flow::of(&[Write]).run().yes().prepared(0);
        let flow = flow.replied(0, Direction::Do, answer(body));
        assert_eq!(flow.status(), Status::Completed);
        assert_eq!(flow.state.undo_order().len(), undone);
    }
}

/// What gets lost is sent so often: a read at once, a change once it is seen not to be in effect,
/// and never what may be done only once.
#[test]
fn p18_what_gets_lost_is_sent_so_often() {
    let mut read = Flow::of(&[Read]).run().prepared(0);
    let mut change = Flow::of(&[Write]).run().yes().prepared(0);
    for count in 1..=ATTEMPTS {
        assert_eq!(
            (attempt(&read), attempt(&change)),
            (Some(count), Some(count))
        );
        let key = read.state.key(&step_id(0), Direction::Do);
        read = read.to(Command::Replied {
            step: step_id(0),
            direction: Direction::Do,
            attempt: count,
            key,
            took_ms: 1,
            reply: lost(),
        });
        change = change.replied(0, Direction::Do, lost());
        change = change.to(probed(Verdict::NotInEffect));
    }
    assert_eq!((read.status(), attempt(&read)), (Status::Failed, None));
    assert_eq!((change.status(), attempt(&change)), (Status::Paused, None));
    let once = Flow::of(&[Destroy])
        .run()
        .yes()
        .prepared(0)
        .yes()
        .prepared(0);
    let once = once.replied(0, Direction::Do, lost());
    let once = once.to(probed(Verdict::NotInEffect));
    assert_eq!((once.status(), attempt(&once)), (Status::Paused, None));
    // A look that nobody waits for, at a step that is in flight, changes nothing.
    let flight = Flow::of(&[Write]).run().yes().prepared(0);
    assert!(flight.to(probed(Verdict::NotInEffect)).events.is_empty());
    let settled = Flow::of(&[Write, Write]).run().yes().prepared(0);
    let settled = settled.replied(0, Direction::Do, success());
    assert!(settled.to(probed(Verdict::NotInEffect)).events.is_empty());
}

/// A person said that the change did not happen, and it was sent anew: its attempts are counted anew.
/// The answer of the first deed is not taken for that of the second.
#[test]
fn p18_an_answer_of_a_deed_that_was_settled_is_not_taken_for_the_next_ones() {
    let sent_anew = || {
        let flow = Flow::of(&[Destroy])
            .run()
            .yes()
            .prepared(0)
            .yes()
            .prepared(0);
        let old = flow.state.key(&step_id(0), Direction::Do);
        let flow = flow.replied(0, Direction::Do, lost());
        let flow = flow.to(probed(Verdict::NotInEffect));
        assert_eq!(flow.status(), Status::Paused);
        let flow = flow.to(Command::Resolve {
            step: step_id(0),
            happened: false,
            outputs: BTreeMap::new(),
            by: person(),
            note: "I looked".to_owned(),
        });
        let review = Some(flow.review());
        let flow = flow.to(Command::Resume {
            by: person(),
            review,
            probes: BTreeMap::new(),
        });
        let flow = flow.prepared(0).yes().prepared(0);
        assert_eq!(flow.state.steps[0].in_flight, Some(Direction::Do));
        assert_ne!(flow.state.key(&step_id(0), Direction::Do), old);
        (flow, old)
    };
    for (reply, against) in [(success(), true), (failure(Left::Nothing), false)] {
        let (flow, key) = sent_anew();
        let late = Command::Replied {
            step: step_id(0),
            direction: Direction::Do,
            attempt: flow.state.steps[0].attempt,
            key,
            took_ms: 1,
            reply,
        };
        let after = flow.to(late);
        assert_eq!(after.kinds_of_events(), ["late_reply"]);
        assert!(matches!(
            after.events[..],
            [Event::LateReply { contradicts, .. }] if contradicts == against
        ));
        assert_eq!(after.state.steps[0].in_flight, Some(Direction::Do));
    }
}

/// An answer of another attempt is recorded, and flagged where it contradicts.
#[test]
fn p18_an_answer_of_another_attempt_settles_nothing() {
    let late = |flow: Flow, attempt, reply| {
        let key = flow.state.key(&step_id(0), Direction::Do);
        flow.to(Command::Replied {
            step: step_id(0),
            direction: Direction::Do,
            attempt,
            key,
            took_ms: 1,
            reply,
        })
    };
    let flow = Flow::of(&[Write]).run().yes().prepared(0);
    let flow = late(flow, 9, success());
    assert_eq!(flow.kinds_of_events(), ["late_reply"]);
    assert_eq!(flow.state.steps[0].in_flight, Some(Direction::Do));
    let failed = || {
        let flow = Flow::of(&[Write]).run().yes().prepared(0);
        flow.replied(0, Direction::Do, failure(Left::Nothing))
    };
    let done = || {
        let flow = Flow::of(&[Write]).run().yes().prepared(0);
        flow.replied(0, Direction::Do, success())
    };
    for (flow, reply, against) in [
        (failed(), success(), true),
        (failed(), failure(Left::Something), false),
        (done(), success(), false),
        (done(), failure(Left::Nothing), true),
        (done(), failure(Left::NotSaid), false),
    ] {
        let flow = late(flow, 1, reply.clone());
        let [Event::LateReply { contradicts, .. }] = flow.events[..] else {
            panic!("{:?}", flow.events);
        };
        assert_eq!(contradicts, against, "{reply:?}");
    }
    // Of a read nothing is kept.
    let read = Flow::of(&[Read]).run().prepared(0);
    let read = late(read, 1, success());
    assert!(late(read, 1, failure(Left::Nothing)).events.is_empty());
}

/// Each reason not to try again is enough.
#[test]
fn p18_each_reason_not_to_try_again_is_enough() {
    let with = |when: Option<&str>, expect: Option<&str>| {
        let mut written = definition(&Spec::of(&[Retry]));
        written.steps[0].when = when.map(str::to_owned);
        if let Deed::Call(call) = &mut written.steps[0].deed {
            call.expect = expect.map(str::to_owned);
        }
        Flow::written(&[Retry], written).run().yes()
    };
    let condition = with(Some("params.nothing > 1"), None);
    assert_eq!(condition.status(), Status::Failed);
    let found = Found {
        facts: facts_of(Retry).unwrap(),
        prepared: prepared_of(Retry, &step_id(0), false),
    };
    let sent = with(None, Some("!outputs.on")).to(Command::Prepared {
        step: step_id(0),
        found: Ok(Box::new(found)),
    });
    // It says that it did it, and what it was to bring about is not so: that is undone.
    let claimed = sent.replied(0, Direction::Do, success());
    assert_eq!(claimed.status(), Status::RollingBack);
    assert_eq!(claimed.state.steps[0].retries, 0);
    // It may not be repeated, whatever its author wants: since it was written, the tool has changed.
    let flow = Flow::written(&[Destroy], definition(&Spec::of(&[Retry])));
    let flow = flow.run().yes().prepared(0);
    let flow = flow.yes().prepared(0);
    let once = flow.replied(0, Direction::Do, failure(Left::Nothing));
    assert_eq!(
        (once.status(), once.state.steps[0].retries),
        (Status::Failed, 0)
    );
    // It is to end.
    let flow = Flow::of(&[Retry]).run().yes().prepared(0).to(cancel());
    let over = flow.replied(0, Direction::Do, failure(Left::Nothing));
    assert_eq!(
        (over.status(), over.state.steps[0].retries),
        (Status::Cancelled, 0)
    );
    // Another member of its group failed.
    let kinds = [Write, Retry];
    let spec = Spec::of(&kinds).group(0, 2, 2, None);
    let flow = Flow::written(&kinds, definition(&spec)).run().yes();
    let flow = flow.prepared(0).prepared(1);
    let flow = flow.replied(0, Direction::Do, failure(Left::Nothing));
    assert_eq!(flow.status(), Status::Running);
    let flow = flow.replied(1, Direction::Do, failure(Left::Nothing));
    assert_eq!(
        (flow.status(), flow.state.steps[1].retries),
        (Status::Failed, 0)
    );
}

/// What stays behind is said, with why, and what does not is not.
#[test]
fn p10_what_stays_behind_is_said_with_why() {
    let back = |flow: Flow| flow.to(Command::Rollback { by: person() }).yes();
    let of = |flow: &Flow| -> BTreeMap<String, String> {
        let entries = residue(&flow.state);
        let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let line = |entry: &Value| {
            (
                text(entry, "step"),
                text(entry, "stays") + " | " + &text(entry, "why"),
            )
        };
        entries.iter().map(line).collect()
    };
    let own = Flow::of(&[Own]).run().yes().prepared(0);
    let own = back(own.replied(0, Direction::Do, success()));
    let own = own.replied(0, Direction::Undo, success());
    assert!(of(&own)["s0"].contains("if the companion is right"));
    for (kind, note, words) in [
        (
            UndoKind::Lossy,
            "the disk is gone",
            Some("the disk is gone | its undo is lossy"),
        ),
        (UndoKind::Lossy, "", None),
        (UndoKind::Exact, "the disk is gone", None),
    ] {
        let mut prepared = prepared_of(Write, &step_id(0), false);
        let undo = prepared.undo.as_mut().unwrap();
        (undo.kind, undo.note) = (kind, note.to_owned());
        let flow = Flow::of(&[Write]).run().yes().to(Command::Prepared {
            step: step_id(0),
            found: Ok(Box::new(Found {
                facts: facts_of(Write).unwrap(),
                prepared,
            })),
        });
        let flow = back(flow.replied(0, Direction::Do, success()));
        let flow = flow
            .replied(0, Direction::Undo, success())
            .to(Command::Probed {
                step: step_id(0),
                direction: Direction::Undo,
                verdict: Verdict::NotInEffect,
            });
        assert_eq!(flow.state.steps[0].status, StepStatus::RolledBack);
        assert_eq!(
            of(&flow).get("s0").map(String::as_str),
            words,
            "{kind:?} {note}"
        );
    }
    // A failure that was gone on after, and one that left nothing.
    for (left, said) in [(Left::Something, true), (Left::Nothing, false)] {
        let flow = Flow::of(&[Optional, Read]).run().yes().prepared(0);
        let flow = flow.replied(0, Direction::Do, failure(left));
        assert!(of(&flow).is_empty(), "it is not over");
        let flow = flow.prepared(1).replied(1, Direction::Do, success());
        assert_eq!(flow.status(), Status::Completed);
        assert_eq!(of(&flow).contains_key("s0"), said, "{left:?}");
    }
    // What was done and not undone, once it is over; what changed nothing is not.
    for (changed, said) in [(true, true), (false, false)] {
        let flow = Flow::of(&[Write, Destroy]).run().yes().prepared(0);
        let flow = flow.replied(0, Direction::Do, answer(json!({"changed": changed})));
        let flow = flow.prepared(1).to(Command::Cancel { by: person() });
        assert_eq!(flow.status(), Status::Cancelled);
        assert_eq!(of(&flow).contains_key("s0"), said);
    }
    let done = Flow::of(&[Write]).run().yes().prepared(0);
    assert!(of(&done.replied(0, Direction::Do, success())).is_empty());
}

/// A read that waits for a condition is made until that holds, within its time.
#[test]
fn p4_a_read_that_waits_is_polled() {
    let flow = Flow::of(&[Kind::Wait]).run().prepared(0);
    let [
        Effect::Poll {
            every_s,
            deadline,
            attempt,
            ..
        },
    ] = flow.effects[..]
    else {
        panic!("{:?}", flow.effects);
    };
    assert_eq!((every_s, deadline, attempt), (1, 10_000, 1));
}

/// What is sent names the object that was prepared, where that is known.
#[test]
fn p6_what_is_sent_names_the_object() {
    for (kind, known) in [(Write, true), (Own, false)] {
        let flow = Flow::of(&[kind]).run().yes().prepared(0);
        let [Effect::Send { target, .. }] = &flow.effects[..] else {
            panic!("{:?}", flow.effects);
        };
        assert_eq!(target.is_some(), known, "{kind:?}");
    }
}

/// After a pause the members of a group that were begun are begun anew.
#[test]
fn p18_a_group_goes_on_after_a_pause() {
    let kinds = [Write, Write];
    let spec = Spec::of(&kinds).group(0, 2, 2, None);
    let flow = Flow::written(&kinds, definition(&spec)).run().yes();
    let flow = flow.prepared(0).replied(0, Direction::Do, success());
    let flow = flow.to(Command::Held { step: step_id(1) });
    assert_eq!(flow.state.phase.reason(), Some("held"));
    let flow = flow.to(Command::Resume {
        by: person(),
        review: None,
        probes: BTreeMap::new(),
    });
    assert!(
        matches!(flow.effects[..], [Effect::Prepare { .. }]),
        "{:?}",
        flow.effects
    );
}

/// The names of tools, and how many outputs there are, end where they are said to.
#[test]
fn p14_the_bounds_of_a_step_are_exact() {
    let defined = |tool: &str, outputs: usize| {
        let outputs: serde_json::Map<String, Value> = (0..outputs)
            .map(|i| (format!("o{i}"), json!("/o")))
            .collect();
        let raw = json!({"name": "A workflow", "steps": [
            {"id": "s", "skill": "fake", "tool": tool, "outputs": outputs}]});
        let bounds = workflow::define::Bounds {
            approval_timeout_s: 300,
            max_approval_timeout_s: 3600,
            execution_expiry_s: 3600,
            max_parallel: 8,
        };
        workflow::define::define(raw.as_object().unwrap(), bounds).is_ok()
    };
    let most = guard::limit::OUTPUTS;
    for (tool, outputs, fits) in [
        ("t".to_owned(), 0, true),
        (String::new(), 0, false),
        ("t".repeat(128), most, true),
        ("t".repeat(129), 0, false),
        ("t".repeat(140), 0, false),
        ("t t".to_owned(), 0, false),
        ("t".to_owned(), most + 1, false),
        ("t".to_owned(), most + 3, false),
    ] {
        assert_eq!(defined(&tool, outputs), fits, "{} {outputs}", tool.len());
    }
}
