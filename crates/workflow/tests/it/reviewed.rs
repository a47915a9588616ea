//! What a person reads: of a step, of a plan, of a rollback, and what stays behind.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use workflow::decide::{Command, Found};
use workflow::event::{Direction, Event, Preview, Subject, UndoFrom};
use workflow::model::{Call, Facts, OnFailure, Prepared, Risk, StepId, Undo, UndoKind};
use workflow::review::{
    Look, approval_summary, changes, findings, headline, review, step_summary, undo_from,
};
use workflow::state::State;

use crate::flow::{Flow, success};
use crate::support::{
    Kind, Spec, call, definition, facts_of, id, other_companion, person, prepared_of, review_of,
    step_id,
};

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn prepared() -> Prepared {
    prepared_of(Kind::Write, &step_id(0), false)
}

fn shown(prepared: Prepared) -> Preview {
    Preview::Shown {
        prepared: Box::new(prepared),
    }
}

/// A workflow of one write, with what a look at it showed.
fn reviewed(preview: Preview, change: impl Fn(&mut workflow::model::CallStep)) -> State {
    with(&[Kind::Write], Some((preview, None)), change)
}

fn with(
    kinds: &[Kind],
    look: Option<(Preview, Option<Risk>)>,
    change: impl Fn(&mut workflow::model::CallStep),
) -> State {
    let mut written = definition(&Spec::of(kinds));
    if let workflow::model::Deed::Call(call) = &mut written.steps[0].deed {
        change(call);
    }
    let created = Event::Created {
        id: id(),
        definition: Box::new(written),
        by: person(),
        facts: kinds.iter().map(|k| facts_of(*k)).collect(),
    };
    let mut state = State::create(0, &created).unwrap();
    let found = match look {
        None => review_of(&state, kinds),
        Some((preview, undo_risk)) => {
            let look = Look {
                facts: facts_of(kinds[0]),
                preview,
                undo_risk,
                held_by: None,
            };
            review(&state, vec![look])
        }
    };
    let event = Event::Reviewed {
        review: Box::new(found),
    };
    state.apply(0, &event).unwrap();
    state
}

#[test]
fn p5_where_an_undo_comes_from_is_told_before_anything_ran() {
    let facts = facts_of(Kind::Write).unwrap();
    let bare = |inverses: &[&str], preview: bool| Facts {
        inverses: inverses.iter().map(|i| (*i).to_owned()).collect(),
        preview: preview.then(|| "preview".to_owned()),
        ..facts.clone()
    };
    let no_undo = Prepared {
        undo: None,
        ..prepared()
    };
    let no_change = Prepared {
        before: prepared().after,
        ..no_undo.clone()
    };
    let nothing_said = Prepared {
        before: Map::new(),
        after: Map::new(),
        ..no_undo.clone()
    };
    let plain = definition(&Spec::of(&[Kind::Write])).steps[0].deed.clone();
    let own = definition(&Spec::of(&[Kind::Own])).steps[0].deed.clone();
    let gate = definition(&Spec::of(&[Kind::Gate])).steps[0].deed.clone();
    use UndoFrom::{Companion, NotNeeded, Nowhere, Step};
    for (deed, facts, preview, expected) in [
        (
            &plain,
            Some(bare(&["undo"], true)),
            shown(prepared()),
            Companion,
        ),
        (
            &plain,
            Some(bare(&["undo"], true)),
            shown(no_undo.clone()),
            Nowhere,
        ),
        (&own, Some(bare(&["undo"], true)), shown(no_undo), Step),
        (
            &plain,
            Some(bare(&["undo"], true)),
            shown(no_change.clone()),
            Companion,
        ),
        (&plain, Some(bare(&[], true)), shown(no_change), Nowhere),
        (
            &plain,
            Some(bare(&["undo"], true)),
            shown(nothing_said),
            Nowhere,
        ),
        (
            &plain,
            Some(bare(&["undo"], true)),
            Preview::NotNeeded,
            Companion,
        ),
        (&plain, Some(bare(&[], true)), Preview::NotNeeded, Nowhere),
        (
            &plain,
            Some(bare(&["undo"], false)),
            Preview::NotNeeded,
            Nowhere,
        ),
        (&own, Some(bare(&["undo"], false)), Preview::NotNeeded, Step),
        (&own, facts_of(Kind::Read), Preview::NotNeeded, NotNeeded),
        (&own, None, Preview::NotNeeded, NotNeeded),
        (&gate, None, Preview::NotNeeded, NotNeeded),
    ] {
        let found = undo_from(deed, facts.as_ref(), &preview);
        assert_eq!(found, expected, "{deed:?} {facts:?} {preview:?}");
    }
}

#[test]
fn p5_a_line_says_what_is_called_and_on_what() {
    let facts = facts_of(Kind::Write);
    let on = |target: Value| Prepared {
        target: object(target),
        ..Prepared::default()
    };
    for (facts, prepared, line) in [
        (None, None, "control/vmware_control"),
        (facts.clone(), None, "control/vmware_control do"),
        (
            facts.clone(),
            Some(Prepared::default()),
            "control/vmware_control do",
        ),
        (
            facts.clone(),
            Some(on(
                json!({"moref": "vm-1", "name": "web", "path": "/DC0/vm/web"}),
            )),
            "control/vmware_control do on web (/DC0/vm/web)",
        ),
        (
            None,
            Some(on(json!({"moref": "vm-1"}))),
            "control/vmware_control on vm-1",
        ),
        (None, Some(on(json!({"id": 1}))), "control/vmware_control"),
    ] {
        let found = headline(&call("do"), facts.as_ref(), prepared.as_ref());
        assert_eq!(found, line);
    }
    let values = Prepared {
        before: object(json!({"cpu": 2, "same": 1, "gone": "x", "null": null})),
        after: object(json!({"cpu": 4, "same": 1, "new": "y", "null": 0})),
        ..Prepared::default()
    };
    let lines = ["cpu: 2 → 4", "gone: x → –", "null: – → 0", "new: – → y"];
    assert_eq!(changes(&values), lines);
}

#[test]
fn p5_a_step_is_said_with_what_it_changes_and_what_puts_it_back() {
    let state = reviewed(shown(prepared()), |_| {});
    let summary = step_summary(&state, &step_id(0));
    assert_eq!(
        summary,
        json!({
            "id": "s0", "what": "control/vmware_control do on s0", "risk": "write",
            "effect": "idempotent", "arguments": {"action": "do"}, "target": {"moref": "s0"},
            "changes": ["cpu: 2 → 4"], "undo": "undo cpu = 2 (exact)",
        })
    );
    assert_eq!(step_summary(&state, &StepId("no".to_owned())), Value::Null);
    // Nothing to change now, warnings, and an undo with a note and nothing new to say.
    let mut other = prepared();
    other.before.clone_from(&other.after);
    other.warnings = vec!["It is old".to_owned()];
    let mut back = call("undo");
    back.arguments.insert("vm".to_owned(), json!("s0"));
    back.arguments.insert("guard".to_owned(), json!({"cpu": 4}));
    back.arguments
        .insert("mark".to_owned(), json!("wf_1/s0/do/0"));
    other.undo = Some(Undo {
        call: back,
        kind: UndoKind::Lossy,
        note: "the disk is gone".to_owned(),
        effect: workflow::model::Effect::Once,
    });
    let summary = step_summary(&reviewed(shown(other), |_| {}), &step_id(0));
    assert_eq!(
        summary["changes"],
        json!(["nothing, as it is now; an earlier step may alter that"])
    );
    assert_eq!(summary["warnings"], json!(["It is old"]));
    assert_eq!(summary["undo"], "undo (lossy: the disk is gone)");
    // What cannot be shown is said, and so is what there is no undo for.
    let why = Preview::NotPossible {
        why: "no previews".to_owned(),
    };
    let summary = step_summary(&reviewed(why, |_| {}), &step_id(0));
    assert_eq!(summary["not_shown"], "no previews");
    assert_eq!(
        summary["undo"],
        "the companion tells it when the step's turn comes"
    );
    let refused = Preview::Refused {
        code: "vm.not_found".to_owned(),
        error: "There is none".to_owned(),
    };
    let summary = step_summary(&reviewed(refused, |_| {}), &step_id(0));
    assert_eq!(summary["not_shown"], "vm.not_found: There is none");
    let mut none = prepared();
    none.undo = None;
    let summary = step_summary(&reviewed(shown(none.clone()), |_| {}), &step_id(0));
    assert_eq!(summary["undo"], "none: no undo is declared for it");
    none.no_undo = "it is gone".to_owned();
    let summary = step_summary(&reviewed(shown(none), |_| {}), &step_id(0));
    assert_eq!(summary["undo"], "none: it is gone");
}

#[test]
fn p5_the_undo_of_the_author_is_shown_with_its_risk() {
    for (risk, words) in [
        (None, "(declared by the step)"),
        (Some(Risk::Write), "(declared by the step)"),
        (
            Some(Risk::Destructive),
            "(declared by the step, destructive, not asked about again)",
        ),
    ] {
        let why = Preview::NotPossible {
            why: "no previews".to_owned(),
        };
        let state = with(&[Kind::Own], Some((why, risk)), |_| {});
        let undo = &step_summary(&state, &step_id(0))["undo"];
        let expected = format!("control/vmware_control {{\"action\":\"undo\"}} {words}");
        assert_eq!(*undo, json!(expected));
    }
}

#[test]
fn p5_a_plan_is_said_in_order_and_with_what_a_rollback_would_do() {
    let kinds = [
        Kind::Read,
        Kind::Write,
        Kind::NoUndo,
        Kind::Gate,
        Kind::Blind,
    ];
    let state = with(&kinds, None, |_| {});
    let lines = approval_summary(&state, &Subject::Plan);
    let text = lines.join("\n");
    for (i, expected) in [
        "`A workflow`: 5 step(s), of which 3 change something and 2 destroy or interrupt \
         something; each of those asks again.",
        "- s0 [read]: control/vmware_control do",
        "- s1 [write]: control/vmware_control do on s1",
        "    cpu: 2 → 4",
        "    undo: undo cpu = 2 (exact)",
        "- s2 [destructive]: control/vmware_control do on s2",
        "    cpu: 2 → 4",
        "    undo: none: no undo is declared for it",
        "- s3: waits for a person: Go on?",
        "- s4 [unknown]: control/vmware_control do",
        "    with: {\"action\":\"do\"}",
        "    not shown: no previews",
        "    undo: none: no undo is declared for it",
        "If a step fails, those that completed before it are undone at once, in this order: `s1`; \
         what cannot be undone stays: `s4`, `s2`. Approving this plan consents to that.",
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(lines.get(i).map(String::as_str), Some(expected), "{text}");
    }
    assert_eq!(lines.len(), 14, "{text}");
    let last = |policy| {
        let spec = Spec::of(&[Kind::Read]).on_failure(policy);
        let created = Event::Created {
            id: id(),
            definition: Box::new(definition(&spec)),
            by: person(),
            facts: vec![facts_of(Kind::Read)],
        };
        let state = State::create(0, &created).unwrap();
        approval_summary(&state, &Subject::Plan).pop().unwrap()
    };
    assert!(last(OnFailure::Stop).contains("what was done stays"));
    assert!(last(OnFailure::Continue).contains("the next one runs all the same"));
    let nothing = "If a step fails, those that completed before it are undone at once. Approving \
                   this plan consents to that.";
    assert_eq!(last(OnFailure::Rollback), nothing);
}

#[test]
fn p5_a_plan_that_is_asked_about_anew_names_only_what_is_left_to_do() {
    let flow = Flow::of(&[Kind::Write, Kind::Write])
        .run()
        .yes()
        .prepared(0);
    let flow = flow.replied(0, Direction::Do, success());
    let found = Found {
        facts: other_companion(facts_of(Kind::Write).unwrap()),
        prepared: prepared_of(Kind::Write, &step_id(1), false),
    };
    let flow = flow.to(Command::Prepared {
        step: step_id(1),
        found: Ok(Box::new(found)),
    });
    let review = Some(flow.review());
    let flow = flow.to(Command::Resume {
        by: person(),
        review,
        probes: BTreeMap::new(),
    });
    assert_eq!(flow.state.phase.reason(), Some("plan"));
    let lines = approval_summary(&flow.state, &Subject::Plan);
    assert!(lines[0].starts_with("`A workflow`: 1 step(s)"), "{lines:?}");
    assert!(lines[1].starts_with("- s1 [write]"), "{lines:?}");
}

#[test]
fn p5_a_plan_that_destroys_nothing_does_not_say_so() {
    let state = with(&[Kind::Write], None, |_| {});
    let lines = approval_summary(&state, &Subject::Plan);
    assert_eq!(
        lines[0],
        "`A workflow`: 1 step(s), of which 1 change something."
    );
}

/// What was prepared when the turn came is what is said, and no more what the review saw.
#[test]
fn p6_what_was_prepared_takes_the_place_of_what_the_review_saw() {
    let unseen = [
        Preview::NotPossible {
            why: "no previews".to_owned(),
        },
        Preview::Refused {
            code: "vm.not_found".to_owned(),
            error: "There is none".to_owned(),
        },
        shown(prepared()),
    ];
    for preview in unseen {
        let mut state = reviewed(preview, |_| {});
        let mut same = prepared();
        same.before.clone_from(&same.after);
        let event = Event::StepPrepared {
            step: step_id(0),
            prepared: Box::new(same),
        };
        state.apply(0, &event).unwrap();
        let summary = step_summary(&state, &step_id(0));
        let said = |name: &str| summary.get(name).is_some();
        assert!(!said("not_shown") && !said("changes"), "{summary}");
    }
}

#[test]
fn p5_a_long_plan_names_a_hundred_steps_and_counts_the_others() {
    for (count, more) in [(100, None), (101, Some("1 more")), (130, Some("30 more"))] {
        let kinds = vec![Kind::Write; count];
        let state = with(&kinds, None, |_| {});
        let lines = approval_summary(&state, &Subject::Plan);
        let named = lines.iter().filter(|l| l.starts_with("- s")).count();
        assert_eq!(named, 100.min(count));
        let counted = lines.iter().find(|l| l.starts_with("… and"));
        let rest = lines.last().unwrap();
        match more {
            None => assert!(counted.is_none() && !rest.contains("more"), "{rest}"),
            Some(more) => {
                assert!(counted.unwrap().contains(more), "{counted:?}");
                assert!(rest.contains(&format!(" and {more}")), "{rest}");
            }
        }
    }
}

#[test]
fn p6_p9_each_question_is_said_with_what_it_is_about() {
    let state = with(&[Kind::Destroy, Kind::Gate, Kind::Read], None, |_| {});
    let step = approval_summary(&state, &Subject::Step { step: step_id(0) });
    assert_eq!(step[0], "Destructive step `s0` is about to run.");
    assert_eq!(
        step[1],
        "- s0 [destructive]: control/vmware_control do on s0"
    );
    let gate = approval_summary(&state, &Subject::Gate { step: step_id(1) });
    assert_eq!(gate, ["Gate `s1`: Go on?"]);
    assert!(approval_summary(&state, &Subject::Gate { step: step_id(2) }).is_empty());
    for (happened, words) in [
        (true, "that it took effect"),
        (false, "it did not take effect"),
    ] {
        let subject = Subject::Resolution {
            step: step_id(0),
            happened,
            outputs: std::collections::BTreeMap::new(),
            note: "I looked".to_owned(),
            by: person(),
        };
        let lines = approval_summary(&state, &subject);
        assert!(
            lines[0].contains(words) && lines[0].ends_with(": I looked"),
            "{lines:?}"
        );
    }
    let order = vec![step_id(0)];
    let lines = approval_summary(&state, &Subject::Rollback { order });
    assert_eq!(lines[0], "Rollback of 1 step(s), in this order:");
    assert_eq!(
        lines[1],
        "- `s0`: cannot be undone: no undo is declared for it"
    );
    let own = with(&[Kind::Own], None, |_| {});
    let order = vec![step_id(0)];
    let lines = approval_summary(&own, &Subject::Rollback { order });
    assert_eq!(lines[1], "- `s0`: undo (declared)");
}

#[test]
fn p5_what_should_be_known_of_a_definition_is_found() {
    let said = |kind: Kind, change: fn(&mut workflow::model::CallStep)| {
        let mut written = definition(&Spec::of(&[kind]));
        if let workflow::model::Deed::Call(call) = &mut written.steps[0].deed {
            change(call);
        }
        let facts = vec![facts_of(kind)];
        findings(&written, &facts).join("\n")
    };
    let undo: fn(&mut workflow::model::CallStep) = |call| {
        call.undo = Some(Call {
            tool: "back".to_owned(),
            ..call.call.clone()
        });
    };
    let verify: fn(&mut workflow::model::CallStep) = |call| {
        call.verify = Some(workflow::model::Verify {
            call: call.call.clone(),
            after: std::collections::BTreeMap::new(),
            before: std::collections::BTreeMap::new(),
        });
    };
    assert_eq!(said(Kind::Write, |_| {}), "");
    assert_eq!(said(Kind::Gate, |_| {}), "");
    assert_eq!(said(Kind::Read, |_| {}), "");
    assert!(said(Kind::Read, undo).contains("its `undo` is never used"));
    assert!(said(Kind::Write, undo).contains("only where the companion offers none"));
    let blind = said(Kind::Blind, |_| {});
    for words in ["is not known", "cannot be undone", "nothing can tell"] {
        assert!(blind.contains(words), "{blind}");
    }
    assert!(!said(Kind::Blind, verify).contains("nothing can tell"));
    assert!(!said(Kind::Own, |_| {}).contains("only where the companion"));
}
