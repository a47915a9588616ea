//! Under which terms steps run, in plain words, and the arithmetic behind them.

use std::sync::Arc;

use serde_json::{Value, json};
use workflow::decide::{Command, decide};
use workflow::define::{Bounds, define, fits};
use workflow::event::{Event, Subject};
use workflow::model::{
    Definition, Each, Effect, Facts, Group, OnFailure, Retry, Risk, StepId, WorkflowId,
};
use workflow::review::{approval_summary, step_summary, terms};
use workflow::state::State;

use crate::support::{Kind, Spec, context, definition, facts_of, id, person, review_of, step_id};

fn read(raw: &Value) -> Definition {
    let bounds = Bounds {
        approval_timeout_s: 300,
        max_approval_timeout_s: 3600,
        execution_expiry_s: 3600,
        max_parallel: 8,
    };
    define(raw.as_object().unwrap(), bounds).unwrap()
}

#[test]
fn p5_each_term_is_said_in_plain_words() {
    let step = |id: &str, more: Value| {
        let mut step = json!({"id": id, "skill": "fake", "tool": "t", "outputs": {"on": "/on"}});
        step.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        step
    };
    let definition = read(&json!({"name": "A", "params": {"n": 1}, "steps": [
        step("plain", json!({})),
        step("when", json!({"when": "params.n > 2"})),
        {"id": "gate", "gate": "Go on?", "when": "params.n > 3"},
        step("wait", json!({"wait_for": {"until": "outputs.on == 'x'", "every_s": 7,
            "deadline_s": 70}})),
        step("expect", json!({"expect": "outputs.on != 'y'"})),
        step("retry", json!({"retry": {"count": 3, "backoff_s": 2, "max_backoff_s": 9}})),
        step("timeout", json!({"timeout_s": 11})),
        step("rollback", json!({"on_failure": "rollback"})),
        step("stop", json!({"on_failure": "stop"})),
        step("continue", json!({"on_failure": "continue"})),
        {"id": "both", "limit": 2, "parallel": [step("a", json!({})), step("b", json!({}))]},
        step("each", json!({"for_each": [1, 2, 3], "batch": 2})),
        step("some", json!({"for_each": [1], "max_failures": 4, "when": "item == 1",
            "timeout_s": 5})),
    ]}));
    let wanted: &[(&str, &[&str])] = &[
        ("plain", &[]),
        ("when", &["runs only if: params.n > 2"]),
        ("gate", &["runs only if: params.n > 3"]),
        (
            "wait",
            &["is read every 7 s until: outputs.on == 'x'; fails after 70 s"],
        ),
        (
            "expect",
            &["fails unless, once it answered: outputs.on != 'y'"],
        ),
        (
            "retry",
            &[
                "if it fails it is tried again, at most 3 time(s), after 2 s and then longer, up \
               to 9 s",
            ],
        ),
        ("timeout", &["one attempt may take 11 s"]),
        ("rollback", &[]),
        (
            "stop",
            &["if it fails, the workflow stops and what was done stays"],
        ),
        (
            "continue",
            &["if it fails, the next step runs all the same"],
        ),
        (
            "a",
            &["one of 2 steps of `both` that run at the same time, at most 2 at once"],
        ),
        (
            "b",
            &["one of 2 steps of `both` that run at the same time, at most 2 at once"],
        ),
        (
            "each_1",
            &["item 1 of 3 of `each`, 2 at a time; none may fail"],
        ),
        (
            "each_2",
            &["item 2 of 3 of `each`, 2 at a time; none may fail"],
        ),
        (
            "each_3",
            &["item 3 of 3 of `each`, 2 at a time; none may fail"],
        ),
        (
            "some_1",
            &[
                "item 1 of 1 of `some`, 1 at a time; 4 may fail",
                "runs only if: item == 1",
                "one attempt may take 5 s",
            ],
        ),
    ];
    assert_eq!(definition.steps.len(), wanted.len());
    for (place, (id, lines)) in wanted.iter().enumerate() {
        assert_eq!(definition.steps[place].id.0, *id);
        assert_eq!(terms(&definition, place), *lines, "{id}");
    }
    assert_eq!(terms(&definition, wanted.len()), Vec::<String>::new());
    // What differs from the workflow is said, whatever the workflow says.
    let other = Definition {
        on_failure: OnFailure::Stop,
        ..definition
    };
    let undone = "if it fails, what completed before it is undone";
    assert_eq!(terms(&other, 7), [undone]);
    assert_eq!(terms(&other, 8), Vec::<String>::new());
    println!("{} terms", wanted.len());
}

/// A workflow whose plan is to be approved, with a hold on its first step.
fn asked(spec: &Spec, held: bool) -> State {
    let kinds = &spec.kinds;
    let created = Event::Created {
        id: id(),
        definition: Box::new(definition(spec)),
        by: person(),
        facts: kinds.iter().map(|kind| facts_of(*kind)).collect(),
    };
    let mut state = State::create(0, &created).unwrap();
    let mut review = review_of(&state, kinds);
    if held {
        review.steps[0].held_by = Some(WorkflowId("wf_other".to_owned()));
    }
    let run = Command::Run {
        by: person(),
        review: Box::new(review),
    };
    let (events, _) = decide(&state, run, &context(1)).unwrap();
    for event in &events {
        state.apply(0, event).unwrap();
    }
    state
}

#[test]
fn p5_the_plan_shows_the_terms_who_decides_and_who_is_at_work() {
    let lines = |spec: &Spec, held: bool| approval_summary(&asked(spec, held), &Subject::Plan);
    let kinds = [Kind::Retry, Kind::Wait, Kind::Never];
    let plain = lines(&Spec::of(&kinds), false);
    let has = |lines: &[String], line: &str| {
        assert!(lines.iter().any(|l| l == line), "{line}: {lines:#?}");
    };
    has(
        &plain,
        "    is read every 1 s until: outputs.on; fails after 10 s",
    );
    has(&plain, "    runs only if: 1 > 2");
    has(
        &plain,
        "    if it fails it is tried again, at most 1 time(s), after 1 s and then longer, up to \
         1 s",
    );
    let anybody = |lines: &[String]| !lines.iter().any(|l| l.contains("Each approval needs"));
    assert!(anybody(&plain));
    assert!(!plain.iter().any(|l| l.contains("wait: ")));
    let held = lines(&Spec::of(&kinds), true);
    has(
        &held,
        "    wait: workflow wf_other is changing this object now",
    );
    let mut quorum = Spec::of(&kinds).quorum(2);
    has(
        &lines(&quorum, false),
        "Each approval needs a yes of 2 authenticated people (not the one who asked for it).",
    );
    quorum.approvers.exclude_requester = false;
    has(
        &lines(&quorum, false),
        "Each approval needs a yes of 2 authenticated people.",
    );
    // A gate shows its terms as well, and so does a step on its own.
    let mut state = asked(&Spec::of(&[Kind::Gate, Kind::Destroy]), true);
    let mut with_when = (*state.definition).clone();
    with_when.steps[0].when = Some("1 < 2".to_owned());
    state.definition = Arc::new(with_when);
    has(
        &approval_summary(&state, &Subject::Plan),
        "    runs only if: 1 < 2",
    );
    let summary = step_summary(&state, &step_id(0));
    assert_eq!(summary["terms"], json!(["runs only if: 1 < 2"]));
    assert_eq!(summary["gate"], "Go on?");
    assert_eq!(step_summary(&state, &step_id(1)).get("terms"), None);
    let resolution = Subject::Resolution {
        step: step_id(0),
        happened: false,
        outputs: std::collections::BTreeMap::new(),
        note: "I looked".to_owned(),
        by: person(),
    };
    assert_eq!(
        approval_summary(&state, &resolution),
        ["Step `s0`, whose effect is unknown: ann says that it did not take effect: I looked"]
    );
}

#[test]
fn p18_the_wait_before_a_retry_doubles_to_its_cap_with_jitter_within_its_upper_half() {
    let mut computed = 0_u64;
    for (backoff_s, max_backoff_s) in [(1, 1), (1, 60), (2, 9), (5, 3600), (3600, 3600), (7, 7)] {
        let retry = Retry {
            count: 20,
            backoff_s,
            max_backoff_s,
        };
        for retries in 0..70_u32 {
            let doubled = u128::from(backoff_s) << retries.min(60);
            let whole = i64::try_from(doubled.min(u128::from(max_backoff_s)) * 1000).unwrap();
            let (mut least, mut most) = (i64::MAX, i64::MIN);
            for jitter in [
                0,
                1,
                499,
                500,
                501,
                12_345,
                u64::MAX / 2,
                u64::MAX - 1,
                u64::MAX,
            ] {
                let waits = retry.wait_ms(retries, jitter);
                assert!(
                    (whole / 2..=whole).contains(&waits),
                    "{retry:?} {retries} {waits}"
                );
                least = least.min(waits);
                most = most.max(waits);
                computed += 1;
            }
            assert_eq!(least, whole / 2, "no jitter is half of it");
            let all = u64::try_from(whole - whole / 2).unwrap();
            assert_eq!(
                retry.wait_ms(retries, all),
                whole,
                "and the most is all of it"
            );
            assert_eq!(retry.wait_ms(retries, all + 1), whole / 2);
            assert!(most > least);
        }
    }
    // The extremes of the types.
    let retry = |backoff_s, max_backoff_s| Retry {
        count: u32::MAX,
        backoff_s,
        max_backoff_s,
    };
    assert_eq!(retry(0, 0).wait_ms(u32::MAX, u64::MAX), 0);
    let most = i64::from(u32::MAX) * 1000;
    for retries in [0, 31, 32, 33, 63, 64, u32::MAX] {
        for jitter in [0, 1, u64::MAX] {
            let waits = retry(u32::MAX, u32::MAX).wait_ms(retries, jitter);
            assert!(
                (most / 2..=most).contains(&waits),
                "{retries} {jitter} {waits}"
            );
            computed += 1;
        }
    }
    println!("{computed} waits computed");
    assert!(computed > 0);
}

#[test]
fn p18_which_steps_belong_together_is_exact_at_every_boundary() {
    let each = |batch| {
        Some(Each {
            batch,
            max_failures: 0,
        })
    };
    // 0 alone, 1..4 a group, 4 alone, 5..12 a list in batches of 3, 12..13 a group, and its end.
    let spec = Spec::of(&[Kind::Write; 14])
        .group(1, 3, 2, None)
        .group(5, 7, 3, each(3))
        .group(12, 1, 1, None);
    let definition = definition(&spec);
    let group = |place: usize| definition.group_of(place).map(|g| g.id.0.as_str());
    let wanted = [
        (None, 0..1),
        (Some("g1"), 1..4),
        (Some("g1"), 1..4),
        (Some("g1"), 1..4),
        (None, 4..5),
        (Some("g5"), 5..8),
        (Some("g5"), 5..8),
        (Some("g5"), 5..8),
        (Some("g5"), 8..11),
        (Some("g5"), 8..11),
        (Some("g5"), 8..11),
        (Some("g5"), 11..12),
        (Some("g12"), 12..13),
        (None, 13..14),
    ];
    for (place, (id, window)) in wanted.iter().enumerate() {
        assert_eq!(group(place), *id, "{place}");
        assert_eq!(definition.window_of(place), *window, "{place}");
    }
    assert_eq!(group(14), None);
    assert_eq!(group(usize::MAX), None);
    let without = Definition {
        groups: Vec::new(),
        ..definition
    };
    assert_eq!(without.group_of(0), None);
    assert_eq!(without.window_of(3), 3..4);
    // One at a time, all at once, and a batch of nothing, which a damaged log may hold.
    for (batch, wanted) in [(1, 3..4), (2, 3..5), (3, 1..4), (9, 1..5), (0, 3..4)] {
        let spec = Spec::of(&[Kind::Write; 5]).group(1, 4, 1, each(batch));
        assert_eq!(
            super::support::definition(&spec).window_of(3),
            wanted,
            "{batch}"
        );
    }
    println!("{} places", wanted.len());
}

#[test]
fn p8_what_a_failure_leads_to_is_the_steps_own_word_where_it_has_one() {
    let kinds = [Kind::Write, Kind::Optional, Kind::Gate];
    for workflow in [OnFailure::Rollback, OnFailure::Stop, OnFailure::Continue] {
        let definition = definition(&Spec::of(&kinds).on_failure(workflow));
        assert_eq!(definition.on_failure_of(0), workflow);
        assert_eq!(definition.on_failure_of(1), OnFailure::Continue);
        assert_eq!(definition.on_failure_of(2), workflow, "of a gate");
        assert_eq!(definition.on_failure_of(3), workflow, "past the end");
    }
}

#[test]
fn p6_p18_what_a_tool_may_do_decides_what_a_step_may_be() {
    let spec = Spec::of(&[
        Kind::Write,
        Kind::Retry,
        Kind::Wait,
        Kind::Gate,
        Kind::Write,
    ])
    .group(0, 1, 1, None)
    .group(
        4,
        1,
        1,
        Some(Each {
            batch: 1,
            max_failures: 0,
        }),
    );
    let definition = definition(&spec);
    let (parallel, retry, wait, gate, item) = (0, 1, 2, 3, 4);
    let (mut refused, mut passed) = (0, 0);
    for risk in [Risk::Read, Risk::Write, Risk::Destructive, Risk::Unknown] {
        for effect in [Effect::Read, Effect::Idempotent, Effect::Once] {
            let facts = Facts {
                risk,
                effect,
                ..facts_of(Kind::Write).unwrap()
            };
            for place in [parallel, retry, wait, gate, item, 5] {
                let wanted = if place == parallel && risk.is_destructive() {
                    Some(("step.parallel", "Take step `s0` out of the parallel steps"))
                } else if place == retry && effect == Effect::Once {
                    Some(("step.retry", "Remove `retry` from step `s1`"))
                } else if place == wait && risk != Risk::Read {
                    Some(("step.wait_for", "Use a tool that only reads in step `s2`"))
                } else {
                    None
                };
                let found = fits(&definition, place, &facts).err();
                let seen = found.as_ref().map(|refusal| refusal.code);
                assert_eq!(
                    seen,
                    wanted.map(|(code, _)| code),
                    "{place} {risk:?} {effect:?}"
                );
                if let (Some(refusal), Some((_, says))) = (&found, wanted) {
                    assert!(refusal.message.starts_with(says), "{refusal:?}");
                    let step = step_id(place);
                    assert_eq!(refusal.extra.get("step"), Some(&json!(step)));
                    refused += 1;
                } else {
                    passed += 1;
                }
            }
        }
    }
    println!("{refused} refused, {passed} passed");
    assert!(refused > 0 && passed > 0);
}

#[test]
fn p11_what_was_stored_before_the_language_grew_is_read_as_it_was_meant() {
    let facts = json!({
        "fingerprint": guard::digest::Digest::of_bytes(b"a"),
        "tool": guard::digest::Digest::of_bytes(b"b"), "risk": "write", "effect": "once"});
    let event: Event = serde_json::from_value(json!({
        "event": "created", "id": "wf_1",
        "definition": {"name": "Old", "approval_timeout_s": 300, "steps": [
            {"id": "a", "name": "a", "call": {"call": {
                "skill": "fake", "tool": "t", "arguments": {"x": 1}}}},
            {"id": "b", "name": "b", "gate": "Go on?"},
        ]},
        "by": person(), "facts": [facts, null],
    }))
    .unwrap();
    let state = State::create(7, &event).unwrap();
    let old = &state.definition;
    assert_eq!(old.execution_expiry_s, 3600);
    assert!(old.approvers.is_anyone());
    assert_eq!(
        (old.approvers.quorum, &old.groups),
        (1, &Vec::<Group>::new())
    );
    assert_eq!(old.on_failure, OnFailure::Rollback);
    assert!(old.steps.iter().all(|step| step.when.is_none()));
    let call = state.call_of(&StepId("a".to_owned())).unwrap();
    assert_eq!((call.retry, call.on_failure), (None, None));
    assert_eq!(
        (&call.wait_for, &call.expect, &call.item),
        (&None, &None, &None)
    );
    assert_eq!(old.window_of(1), 1..2);
    // And what is not said is not written either, so that an old program reads a plain workflow.
    let written = serde_json::to_value(&event).unwrap();
    let written = &written["definition"];
    for name in ["approvers", "groups"] {
        assert_eq!(written.get(name), None, "{name}");
    }
    for name in ["when", "expect", "retry", "wait_for", "on_failure", "item"] {
        assert_eq!(written["steps"][0].get(name), None, "{name}");
        assert_eq!(written["steps"][0]["call"].get(name), None, "{name}");
    }
    // What is said comes back as it was.
    let spec = Spec::of(&[
        Kind::Retry,
        Kind::Wait,
        Kind::Never,
        Kind::Optional,
        Kind::Unexpected,
    ])
    .quorum(3)
    .group(
        0,
        2,
        2,
        Some(Each {
            batch: 2,
            max_failures: 1,
        }),
    );
    let new = definition(&spec);
    let again: Definition = serde_json::from_value(serde_json::to_value(&new).unwrap()).unwrap();
    assert_eq!(again, new);
    let lapsed: Event = serde_json::from_value(json!({"event": "lapsed"})).unwrap();
    assert_eq!(lapsed, Event::Lapsed { step: None });
    let review: Event = serde_json::from_value(json!({"event": "reviewed", "review": {
        "digest": guard::digest::Digest::of_bytes(b"a"),
        "steps": [{"facts": null, "preview": {"is": "not_needed"}, "undo_from": "not_needed"}]}}))
    .unwrap();
    let Event::Reviewed { review } = review else {
        unreachable!("it is one")
    };
    assert_eq!(review.steps[0].held_by, None);
}
