//! An undo, sent again and taken over, and what counts as another object.

use std::collections::BTreeMap;

use workflow::decide::{ATTEMPTS, Command, Effect, Found, RECOVERIES, Unfit};
use workflow::event::{Direction, Left, Verdict};
use workflow::model::{Effect as Repeat, Prepared, UndoKind};
use workflow::state::{Status, StepStatus};

use crate::flow::{Flow, failure, lost, success};
use crate::support::{
    AFTER, Kind, Spec, definition, facts_of, other_companion, person, prepared_from, prepared_of,
    step_id,
};
use Kind::{Destroy, Retry, Shown, Verified, Write};

/// A workflow whose only step is being undone.
fn undoing(kind: Kind) -> Flow {
    let flow = Flow::of(&[kind]).run().yes().prepared(0);
    let flow = if kind.asks() {
        flow.yes().prepared(0)
    } else {
        flow
    };
    let flow = flow.replied(0, Direction::Do, success());
    let flow = match flow.status() {
        Status::Running => flow.to(probed(Direction::Do, Verdict::InEffect)),
        _ => flow,
    };
    flow.to(Command::Rollback { by: person() }).yes()
}

fn probed(direction: Direction, verdict: Verdict) -> Command {
    Command::Probed {
        step: step_id(0),
        direction,
        verdict,
    }
}

fn sends(flow: &Flow) -> bool {
    matches!(flow.effects[..], [Effect::Send { .. }])
}

/// A lost undo that is seen not to have happened is sent again, so often, where it may be.
#[test]
fn p8_a_lost_undo_is_sent_again_so_often_where_it_may_be() {
    let mut flow = undoing(Write);
    for attempt in 1..=ATTEMPTS {
        assert_eq!(flow.state.steps[0].undo_attempt, attempt);
        flow = flow.replied(0, Direction::Undo, lost());
        flow = flow.to(probed(Direction::Undo, Verdict::InEffect));
        assert_eq!(sends(&flow), attempt < ATTEMPTS, "{attempt}");
    }
    assert_eq!(flow.status(), Status::RollbackFailed);
    let why = flow.state.steps[0].undo_why.clone().unwrap();
    assert!(why.contains("still in effect (step.unknown"), "{why}");
    // One that answered is not, and neither is one that may be done only once.
    for (kind, reply) in [
        (Write, failure(Left::NotSaid)),
        (Write, success()),
        (Destroy, lost()),
    ] {
        let flow = undoing(kind).replied(0, Direction::Undo, reply.clone());
        let flow = flow.to(probed(Direction::Undo, Verdict::InEffect));
        assert!(!sends(&flow), "{kind:?} {reply:?}");
        assert_eq!(flow.status(), Status::RollbackFailed);
    }
    // What was lost and is seen to be gone is undone.
    let flow = undoing(Write).replied(0, Direction::Undo, lost());
    let flow = flow.to(probed(Direction::Undo, Verdict::NotInEffect));
    assert_eq!(flow.state.steps[0].undo_verified, Some(true));
}

/// Reports of another step, or of one whose undo is in flight or over, change nothing.
#[test]
fn p8_a_look_that_nobody_waits_for_changes_nothing() {
    let gone = || probed(Direction::Undo, Verdict::NotInEffect);
    let in_flight = undoing(Write).to(gone());
    assert!(in_flight.events.is_empty() && in_flight.effects.is_empty());
    let over = undoing(Write).replied(0, Direction::Undo, success());
    let over = over.to(gone()).to(gone());
    assert!(over.events.is_empty(), "{:?}", over.events);
    // A step that failed is looked at before its undo is sent: that look is none of an undo.
    let looking = Flow::of(&[Write]).run().yes().prepared(0);
    let looking = looking.replied(0, Direction::Do, failure(Left::Something));
    assert!(looking.to(gone()).events.is_empty());
}

/// An undo is taken over so often, and then nobody knows.
#[test]
fn p18_an_undo_is_taken_over_so_often_and_then_it_failed() {
    let mut flow = undoing(Write);
    for _ in 1..=RECOVERIES {
        flow = flow.to(Command::Adopt);
        assert!(matches!(flow.effects[..], [Effect::Probe { .. }]));
    }
    let flow = flow.to(Command::Adopt);
    assert_eq!(flow.status(), Status::RollbackFailed);
    let why = flow.state.steps[0].undo_why.clone().unwrap();
    assert!(why.contains("ended over it"), "{why}");
}

/// A verify that says only what is there while a change is in effect cannot show that what it did
/// not show in the first place is gone.
#[test]
fn p8_what_was_not_seen_there_is_not_seen_to_be_gone() {
    for (kind, verified) in [(Shown, false), (Verified, true)] {
        let flow = Flow::of(&[kind]).run().yes().prepared(0);
        let flow = flow.replied(0, Direction::Do, success());
        let unclear = Verdict::Unclear { why: String::new() };
        let flow = flow.to(probed(Direction::Do, unclear));
        assert!(flow.state.steps[0].claimed);
        let flow = flow.replied(0, Direction::Undo, success());
        let flow = flow.to(probed(Direction::Undo, Verdict::NotInEffect));
        assert_eq!(
            flow.state.steps[0].undo_verified,
            Some(verified),
            "{kind:?}"
        );
    }
    // What was seen there is.
    let flow = undoing(Shown).replied(0, Direction::Undo, success());
    let flow = flow.to(probed(Direction::Undo, Verdict::NotInEffect));
    assert_eq!(flow.state.steps[0].undo_verified, Some(true));
}

fn found(kind: Kind, prepared: Prepared) -> Command {
    Command::Prepared {
        step: step_id(0),
        found: Ok(Box::new(Found {
            facts: facts_of(kind).unwrap(),
            prepared,
        })),
    }
}

/// Names and paths are words: the same object under another name is the same object.
#[test]
fn p6_another_name_is_no_other_object() {
    let named = |key: &str, value: &str| {
        let mut prepared = prepared_of(Write, &step_id(0), false);
        let value = serde_json::json!(value);
        prepared.target.insert(key.to_owned(), value);
        prepared
    };
    for (key, value, drift) in [
        ("name", "web2", false),
        ("path", "/DC0/vm/web2", false),
        ("moref", "vm-2", true),
        ("uuid", "x", true),
    ] {
        let flow = Flow::of(&[Write]).run().yes();
        let flow = flow.to(found(Write, named(key, value)));
        assert_eq!(sends(&flow), !drift, "{key}");
    }
}

/// Before it is tried again, a step finds what was there, or what it did itself; nothing else.
#[test]
fn p18_a_retry_finds_what_was_there_or_what_the_first_try_did() {
    for (before, drift) in [(2, false), (AFTER, false), (3, true)] {
        let flow = Flow::of(&[Retry]).run().yes().prepared(0);
        let flow = flow.replied(0, Direction::Do, failure(Left::Something));
        let until = flow.state.steps[0].retry_at.unwrap();
        let mut flow = flow;
        flow.state.updated_at = until;
        let flow = flow.to(Command::Woke {
            step: step_id(0),
            until,
        });
        assert!(matches!(flow.effects[..], [Effect::Prepare { .. }]));
        let flow = flow.to(found(Retry, prepared_from(Retry, &step_id(0), before)));
        assert_eq!(sends(&flow), !drift, "{before}");
        let kept = flow.state.steps[0].prepared.clone().unwrap();
        assert_eq!(kept.before["cpu"], 2, "what was there before all of them");
    }
}

/// Only a step that failed and may be repeated is tried again, and only where nothing else stops.
#[test]
fn p18_what_is_not_tried_again() {
    let fails = |kind: Kind| {
        let flow = Flow::of(&[kind]).run().yes();
        flow.to(Command::Prepared {
            step: step_id(0),
            found: Err(Unfit::new("vm.not_found", "There is none")),
        })
    };
    assert!(fails(Retry).state.steps[0].retry_at.is_some());
    assert_eq!(fails(Write).status(), Status::Failed);
    let flow = Flow::of(&[Retry]).run().yes().prepared(0);
    let cancelled = flow.to(Command::Cancel { by: person() });
    let over = cancelled.replied(0, Direction::Do, failure(Left::Nothing));
    assert_eq!(over.status(), Status::Cancelled);
    assert_eq!(over.state.steps[0].status, StepStatus::Failed);
    // As often as its author wants: once.
    let mut flow = fails(Retry);
    let until = flow.state.steps[0].retry_at.unwrap();
    flow.state.updated_at = until;
    let flow = flow.to(Command::Woke {
        step: step_id(0),
        until,
    });
    let flow = flow.to(Command::Prepared {
        step: step_id(0),
        found: Err(Unfit::new("vm.not_found", "There is none")),
    });
    assert_eq!(
        (flow.status(), flow.state.steps[0].retries),
        (Status::Failed, 1)
    );
    let outputs: BTreeMap<String, serde_json::Value> = flow.state.steps[0].outputs.clone();
    assert!(outputs.is_empty());
}

/// How exact an offered undo is, is what the companion says; whether it may be repeated, what the
/// prepared one of the same action may.
#[test]
fn p8_an_offered_undo_is_as_exact_as_it_is_said_to_be() {
    let (facts, known) = (
        facts_of(Write).unwrap(),
        prepared_of(Write, &step_id(0), false),
    );
    let offer = |kind: &str, note: Option<&str>, action: &str| {
        let mut body = serde_json::json!({
            "undo": {"action": action, "moref": "s0"}, "undo_kind": kind});
        if let Some(note) = note {
            body["undo_note"] = serde_json::json!(note);
        }
        let facts = workflow::model::Facts {
            inverses: vec!["undo".to_owned(), "other".to_owned()],
            ..facts.clone()
        };
        workflow::judge::offered(&crate::support::call("do"), &facts, &known, &body)
    };
    for (kind, expected) in [
        ("exact", UndoKind::Exact),
        ("lossy", UndoKind::Lossy),
        ("conditional", UndoKind::Conditional),
        ("whatever", UndoKind::Declared),
    ] {
        let undo = offer(kind, Some("the disk is gone"), "undo").unwrap();
        assert_eq!((undo.kind, undo.effect), (expected, Repeat::Idempotent));
        assert_eq!(undo.note, "the disk is gone");
        assert_eq!(undo.call.arguments["moref"], "s0");
    }
    assert!(offer("none", None, "undo").is_none());
    let other = offer("exact", None, "other").unwrap();
    assert_eq!((other.note.as_str(), other.effect), ("", Repeat::Once));
}

/// Who decided is kept of the last sixteen decisions.
#[test]
fn p5_the_last_decisions_are_kept() {
    let other = || Found {
        facts: other_companion(facts_of(Write).unwrap()),
        prepared: prepared_of(Write, &step_id(0), false),
    };
    let mut flow = Flow::of(&[Write]).run();
    for count in 1..=20 {
        let asked = flow.state.approval().unwrap().id.clone();
        flow = flow.yes();
        assert_eq!(flow.state.decisions.len(), count.min(16));
        let last = flow.state.decisions.back().unwrap();
        assert_eq!((&last.0, last.1, &last.2), (&asked, "approved", &person()));
        flow = flow.to(Command::Prepared {
            step: step_id(0),
            found: Ok(Box::new(other())),
        });
        let review = Some(flow.review());
        flow = flow.to(Command::Resume {
            by: person(),
            review,
            probes: BTreeMap::new(),
        });
    }
}

/// What is still to be undone is counted down, and steps are read from both ends.
#[test]
fn p8_what_is_left_to_undo_is_counted() {
    let flow = undoing(Write);
    assert_eq!(
        (flow.state.queue.len(), flow.state.queue.is_empty()),
        (1, false)
    );
    let flow = flow.replied(0, Direction::Undo, success());
    let flow = flow.to(probed(Direction::Undo, Verdict::NotInEffect));
    assert_eq!(
        (flow.state.queue.len(), flow.state.queue.is_empty()),
        (0, true)
    );
    let three = Flow::of(&[Write; 3]);
    let mut steps = three.state.steps.iter();
    assert!(steps.next_back().is_some());
    assert_eq!(steps.by_ref().count(), 2, "each of them once");
}

/// The next undo is not begun by a process that is about to end.
#[test]
fn p18_a_rollback_goes_on_in_another_process() {
    let kinds = [Kind::Own, Kind::Own];
    let flow = Flow::of(&kinds).run().yes().prepared(0);
    let flow = flow.replied(0, Direction::Do, success()).prepared(1);
    let flow = flow.replied(1, Direction::Do, success());
    let mut flow = flow.to(Command::Rollback { by: person() }).yes();
    flow.closing = true;
    let mut flow = flow.replied(1, Direction::Undo, success());
    assert_eq!(flow.state.steps[1].status, StepStatus::RolledBack);
    assert!(flow.effects.is_empty(), "{:?}", flow.effects);
    flow.closing = false;
    assert!(sends(&flow.to(Command::Adopt)));
}

/// What could not be told once is looked at again by another owner, and that look counts.
#[test]
fn p18_another_owner_looks_again_at_what_could_not_be_told() {
    let kinds = [Write, Write];
    let spec = Spec::of(&kinds).group(0, 2, 2, None);
    let flow = Flow::written(&kinds, definition(&spec)).run().yes();
    let flow = flow.prepared(0).prepared(1);
    let flow = flow.replied(0, Direction::Do, lost());
    let unclear = Verdict::Unclear { why: String::new() };
    let flow = flow.to(probed(Direction::Do, unclear));
    assert!(flow.state.steps[0].is_stuck());
    let flow = flow.to(Command::Adopt);
    assert_eq!(flow.effects.len(), 2, "both are looked at");
    let flow = flow.to(probed(Direction::Do, Verdict::InEffect));
    assert_eq!(flow.state.steps[0].status, StepStatus::Succeeded);
}

/// The answer of a read that nobody waits for any more changes nothing.
#[test]
fn p4_the_answer_of_a_read_comes_too_late() {
    let flow = Flow::of(&[Kind::Read]).run().prepared(0);
    let flow = flow.to(Command::Cancel { by: person() });
    assert_eq!(flow.status(), Status::Cancelled);
    let late = Command::Replied {
        step: step_id(0),
        direction: Direction::Do,
        attempt: 1,
        key: flow.state.key(&step_id(0), Direction::Do),
        took_ms: 1,
        reply: success(),
    };
    assert!(flow.to(late).events.is_empty());
}
