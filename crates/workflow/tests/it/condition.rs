//! Conditions: what they may be, what they hold of, and that an error never counts as true.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use workflow::condition::{CHARS, DEPTH, OPERATORS, Place, check, holds};
use workflow::define::{Bounds, define};
use workflow::event::{Direction, Event, Outcome};
use workflow::model::{Definition, StepId, WorkflowId};
use workflow::reference::Scope;
use workflow::state::State;

use crate::support::person;

/// The place of the step that the conditions stand in.
const OWN: usize = 2;

fn written() -> Definition {
    let call = |id: &str, more: Value| {
        let mut step = json!({"id": id, "skill": "fake", "tool": "t"});
        let fields = more.as_object().unwrap().clone();
        step.as_object_mut().unwrap().extend(fields);
        step
    };
    let outputs = json!({"outputs": {
        "text": "/text", "n": {"pointer": "/n", "type": "integer"},
        "on": {"pointer": "/on", "type": "boolean"}, "half": {"pointer": "/h", "type": "number"}}});
    let raw = json!({
        "name": "A workflow",
        "params": {"n": 3, "neg": -3, "half": 0.5, "s": "web-01", "flag": true, "none": null,
            "list": [1, 2, 3], "names": ["a", "b"], "map": {"a": 1}, "no": false,
            "vms": [{"name": "x", "cpu": 2}]},
        "steps": [
            call("first", outputs.clone()),
            {"id": "ask", "gate": "Go on?"},
            call("own", outputs.clone()),
            call("later", outputs),
            call("each", json!({"for_each": "${params.vms}"})),
        ],
    });
    let bounds = Bounds {
        approval_timeout_s: 300,
        max_approval_timeout_s: 3600,
        execution_expiry_s: 3600,
        max_parallel: 8,
    };
    define(raw.as_object().unwrap(), bounds).unwrap()
}

/// What is said of a condition in a step, before it ran or after.
fn said_at(condition: &str, place: usize, answered: bool) -> Result<(), String> {
    let definition = written();
    let scope = Scope::of(&definition, place);
    let place = Place {
        definition: &definition,
        scope: if answered { scope.after() } else { scope },
        answered,
    };
    check(condition, place)
}

fn said(condition: &str) -> Result<(), String> {
    said_at(condition, OWN, false)
}

/// The workflow after its first step was done, or before.
pub(crate) fn state(done: bool) -> State {
    let definition = written();
    let facts = definition.steps.iter().map(|_| None).collect();
    let created = Event::Created {
        id: WorkflowId("wf_1".to_owned()),
        definition: Box::new(definition),
        by: person(),
        facts,
    };
    let mut state = State::create(0, &created).unwrap();
    if done {
        let values = [("text", json!("ok")), ("n", json!(7)), ("on", json!(true))];
        let outcome = Event::Outcome {
            step: StepId("first".to_owned()),
            direction: Direction::Do,
            attempt: 1,
            took_ms: None,
            outcome: Outcome::Succeeded {
                sha256: "0".repeat(64),
                size: 1,
                changed: false,
                outputs: values.map(|(k, v)| (k.to_owned(), v)).into_iter().collect(),
                missing: vec!["half: it is not there".to_owned()],
                undo: None,
            },
        };
        state.apply(0, &outcome).unwrap();
    }
    state
}

fn own() -> StepId {
    StepId("own".to_owned())
}

/// What a condition comes to: true, false, or that it cannot be told.
fn comes_to(state: &State, condition: &str) -> Option<bool> {
    holds(state, &own(), condition, None).ok()
}

#[test]
fn p14_a_condition_may_use_what_is_named_and_nothing_else() {
    let mut passed = 0;
    for condition in [
        "true",
        "params.n == 3",
        "params.flag && !params.no || params.n > 2",
        "params.s.startsWith('web') && params.s.endsWith('1') && params.s.contains('-')",
        "size(params.list) == 3 && params.list.size() == 3",
        "1 in params.list",
        "params.list.all(x, x > 0)",
        "params.list.exists(x, x == 2)",
        "params.list.exists_one(x, x == 2)",
        "params.list.map(x, x * 2) == [2, 4, 6]",
        "params.list.filter(x, x > 1).size() == 2",
        "has(params.map.a)",
        "params.map.a == 1 && params.map['a'] == 1 && params.list[0] == 1",
        "steps.first.outputs.n == 7",
        "steps.first.outputs.on",
        "steps.first.status == 'succeeded'",
        "steps.ask.status == 'succeeded'",
        "has(steps.first.outputs.text)",
        "int('3') == 3 && double('1.5') > 1.0 && string(3) == '3' && uint(3) == 3u",
        "params.n > 2 ? true : false",
        "{'a': 1}.a == 1",
    ] {
        assert_eq!(said(condition), Ok(()), "{condition}");
        passed += 1;
    }
    for condition in ["outputs.n == 7", "outputs.on", "has(outputs.text)"] {
        assert_eq!(said_at(condition, OWN, true), Ok(()), "{condition}");
        passed += 1;
    }
    // A step sees its own outcome once it answered.
    assert_eq!(said_at("steps.own.outputs.n == 7", OWN, true), Ok(()));
    for condition in ["item.name == 'x'", "item.cpu > 1"] {
        assert_eq!(said_at(condition, 4, false), Ok(()), "{condition}");
        passed += 1;
    }
    println!("{passed} conditions passed");
    assert!(passed > 0);
}

#[test]
fn p14_every_slip_in_a_condition_is_said() {
    let only_before = "Use `outputs` in `expect` and `until` only: before a step runs it has none";
    let not_known = |name: &str| format!("`{name}` is not known here");
    let not_among = |name: &str| format!("`{name}` is not among it");
    let earlier = |id: &str| format!("Refer to an earlier step: the condition names `{id}`");
    let macros = "Use only one of `all`, `exists`, `exists_one`, `map` and `filter`";
    let one_line = "Write the condition in one line, without control characters";
    let slips: Vec<(&str, String)> = vec![
        ("", "Write a CEL expression".to_owned()),
        ("params.n ==", "Write a CEL expression".to_owned()),
        ("params.n = 3", "Write a CEL expression".to_owned()),
        ("(params.flag", "Write a CEL expression".to_owned()),
        ("params.flag\n", one_line.to_owned()),
        ("params.s == 'a\\'", one_line.to_owned()),
        ("params.`s` == 'a'", one_line.to_owned()),
        ("params.s == '\u{0}'", one_line.to_owned()),
        ("params.s == '\u{202e}'", one_line.to_owned()),
        ("outputs.n == 7", only_before.to_owned()),
        ("outputs == {}", only_before.to_owned()),
        (
            "item == 1",
            "Use `item` only in a step with `for_each`".to_owned(),
        ),
        (
            "params.nothing",
            "Add `nothing` to `params`: the condition uses it".to_owned(),
        ),
        ("!params.nothing", "Add `nothing` to `params`".to_owned()),
        (
            "1 in [params.nothing]",
            "Add `nothing` to `params`".to_owned(),
        ),
        (
            "{'a': params.nothing} == {}",
            "Add `nothing` to `params`".to_owned(),
        ),
        (
            "{params.nothing: 1} == {}",
            "Add `nothing` to `params`".to_owned(),
        ),
        (
            "params.list.all(x, params.nothing)",
            "Add `nothing` to `params`".to_owned(),
        ),
        (
            "params.nothing.all(x, true)",
            "Add `nothing` to `params`".to_owned(),
        ),
        (
            "has(params.nothing)",
            "Add `nothing` to `params`".to_owned(),
        ),
        (
            "params.s.contains(params.nothing)",
            "Add `nothing` to `params`".to_owned(),
        ),
        (
            "params.nothing.a == 1",
            "Add `nothing` to `params`".to_owned(),
        ),
        ("steps.later.outputs.n == 1", earlier("later")),
        ("steps.later.status == 'failed'", earlier("later")),
        ("steps.own.status == 'failed'", earlier("own")),
        ("steps.none.outputs.n == 1", earlier("none")),
        ("steps.none == 1", earlier("none")),
        (
            "steps.first.outputs.other == 1",
            "Declare `other` in the `outputs` of step `first`: the condition uses it".to_owned(),
        ),
        (
            "steps.ask.outputs.n == 1",
            "Declare `n` in the `outputs` of step `ask`".to_owned(),
        ),
        (
            "steps.first.error == ''",
            "Use `steps.first.outputs.<name>` or `steps.first.status`".to_owned(),
        ),
        ("x == 1", not_known("x")),
        ("env.HOME == ''", not_known("env")),
        ("now > 1", not_known("now")),
        ("params.list.all(x, y > 1)", not_known("y")),
        ("params.list.all(x, true) && x == 1", not_known("x")),
        ("params.s.matches('a.*')", not_among("matches")),
        ("duration('1s') == duration('1s')", not_among("duration")),
        (
            "timestamp('2026-01-01T00:00:00Z') == 1",
            not_among("timestamp"),
        ),
        ("run('a')", not_among("run")),
        ("params.s.run()", not_among("run")),
        ("bytes('a') == b'a'", not_among("bytes")),
        ("Foo{a: 1} == 1", "and no types".to_owned()),
        (
            "params.list.all(x, params.list.exists(y, y == x))",
            macros.to_owned(),
        ),
        (
            "params.list.map(x, params.list.map(y, y)) == []",
            macros.to_owned(),
        ),
    ];
    for (condition, says) in &slips {
        let refused = said(condition).unwrap_err();
        assert!(refused.contains(says.as_str()), "{condition}: {refused}");
        assert!(guard::text::is_clean(&refused), "{condition}: {refused}");
    }
    for (condition, says) in [
        (
            "outputs.other",
            "Declare `other` in the step's `outputs`: the condition uses it",
        ),
        ("item == 1", "Use `item` only in a step with `for_each`"),
    ] {
        let refused = said_at(condition, OWN, true).unwrap_err();
        assert!(refused.contains(says), "{condition}: {refused}");
    }
    println!("{} slips", slips.len() + 2);
}

#[test]
fn p14_all_steps_at_once_cannot_be_named() {
    // Only the steps that are named are known when it is evaluated: of all of them nothing could
    // be said, and `all` of nothing is true.
    for condition in [
        "steps.all(s, steps[s].status == 'succeeded')",
        "size(steps) == 0",
        "steps == {}",
        "steps['first'].status == 'succeeded'",
        "!('first' in steps)",
    ] {
        assert!(said(condition).is_err(), "{condition}");
    }
}

#[test]
fn p14_the_limits_of_a_condition_are_exact() {
    let padded = |length: usize| format!("params.s != '{}'", "ä".repeat(length - 14));
    assert_eq!(padded(CHARS).chars().count(), CHARS);
    assert_eq!(said(&padded(CHARS)), Ok(()));
    let refused = said(&padded(CHARS + 1)).unwrap_err();
    assert_eq!(refused, "Shorten the condition to at most 300 characters");
    for (open, close) in [("(", ")"), ("[", "]"), ("{'a':", "}")] {
        let nested =
            |depth: usize| format!("{}true{} != []", open.repeat(depth), close.repeat(depth));
        assert_eq!(said(&nested(DEPTH)), Ok(()), "{open}");
        let refused = said(&nested(DEPTH + 1)).unwrap_err();
        assert_eq!(refused, "Nest brackets at most 4 deep", "{open}");
    }
    // Beside each other they are not deeper.
    assert_eq!(said("(((true))) && (((true))) && (((true)))"), Ok(()));
    let most = 2 * OPERATORS;
    for operator in ["!", "-"] {
        let chain = |count: usize| format!("{}1 == 1", operator.repeat(count - 2));
        let passed = said(&chain(most));
        assert!(passed.is_ok(), "{operator}: {passed:?}");
        let refused = said(&chain(most + 1)).unwrap_err();
        assert!(
            refused.contains("too many operators"),
            "{operator}: {refused}"
        );
    }
    for operator in [
        "+", "-", "*", "/", "%", ",", "<", ">", "=", "&", "|", "?", "!", ".",
    ] {
        let refused = said(&operator.repeat(most + 1)).unwrap_err();
        assert!(
            refused.contains("too many operators"),
            "{operator}: {refused}"
        );
        let counted = said(&operator.repeat(most)).unwrap_err();
        assert!(
            !counted.contains("too many operators"),
            "{operator}: {counted}"
        );
    }
}

#[test]
fn p14_brackets_in_a_text_do_not_hide_how_deep_the_others_are() {
    // Each text closes what is open, as far as counting goes: the parser would go far deeper.
    let group = "((((')))) '+";
    let condition = format!("{}'a'{} == 'a'", group.repeat(12), "))))".repeat(12));
    assert!(condition.chars().count() <= CHARS, "{}", condition.len());
    let checked = std::thread::Builder::new()
        .stack_size(64 * 1024 * 1024)
        .spawn(move || said(&condition))
        .unwrap()
        .join()
        .unwrap();
    assert_eq!(checked, Err("Nest brackets at most 4 deep".to_owned()));
}

#[test]
fn p14_a_condition_holds_does_not_or_cannot_be_told() {
    let (done, undone) = (state(true), state(false));
    let table: &[(&str, Option<bool>)] = &[
        ("true", Some(true)),
        ("false", Some(false)),
        ("params.n == 3", Some(true)),
        ("params.n > 2", Some(true)),
        ("params.n > 3", Some(false)),
        (
            "params.n >= 3 && params.n <= 3 && params.n != 4",
            Some(true),
        ),
        ("params.n < 3", Some(false)),
        ("params.neg == -3 && params.neg < 0", Some(true)),
        ("params.half == 0.5 && params.half < 1.0", Some(true)),
        ("params.none == null", Some(true)),
        ("params.s == 'web-01'", Some(true)),
        ("params.s.startsWith('db')", Some(false)),
        ("2 in params.list", Some(true)),
        ("4 in params.list", Some(false)),
        ("params.list.exists(x, x > 2)", Some(true)),
        ("params.list.all(x, x > 2)", Some(false)),
        ("size(params.list) == 3", Some(true)),
        ("has(params.map.a)", Some(true)),
        ("has(params.map.b)", Some(false)),
        ("steps.first.outputs.n == 7", Some(true)),
        ("steps.first.outputs.n > 7", Some(false)),
        ("steps.first.outputs.text == 'ok'", Some(true)),
        ("steps.first.outputs.on", Some(true)),
        ("steps.first.status == 'succeeded'", Some(true)),
        ("steps.ask.status == 'pending'", Some(true)),
        // What is not there is neither true nor false, and has() tells.
        ("steps.first.outputs.half > 0.0", None),
        ("!(steps.first.outputs.half > 0.0)", None),
        ("has(steps.first.outputs.half)", Some(false)),
        ("params.map.b == 1", None),
        ("params.list[7] == 1", None),
        ("params.n / 0 == 1", None),
        ("params.s > 3", None),
        ("params.s + 1 == ''", None),
        ("int(params.s) == 1", None),
        // A condition that is no truth value is none.
        ("params.n", None),
        ("params.s", None),
        ("params.none", None),
        ("'true'", None),
        ("1", None),
        ("params.list", None),
        // What is not declared, or was never allowed, is an error here as well.
        ("outputs.n == 1", None),
        ("item == 1", None),
        ("nothing", None),
        ("((((((true))))))", None),
        ("true ==", None),
        ("", None),
    ];
    for (condition, wanted) in table {
        assert_eq!(comes_to(&done, condition), *wanted, "{condition}");
    }
    // Before the first step ran there is nothing to compare.
    assert_eq!(comes_to(&undone, "steps.first.outputs.n == 7"), None);
    assert_eq!(comes_to(&undone, "has(steps.first.outputs.n)"), Some(false));
    assert_eq!(
        comes_to(&undone, "steps.first.status == 'pending'"),
        Some(true)
    );
    // Its own outputs, where it has answered.
    let mine = BTreeMap::from([("n".to_owned(), json!(4)), ("on".to_owned(), json!(false))]);
    let after = |condition: &str| holds(&done, &own(), condition, Some(&mine)).ok();
    assert_eq!(after("outputs.n == 4"), Some(true));
    assert_eq!(after("outputs.on"), Some(false));
    assert_eq!(after("outputs.text == ''"), None);
    assert_eq!(after("outputs.n > steps.first.outputs.n"), Some(false));
    // The item of a list.
    let each = StepId("each_1".to_owned());
    let of_item = |condition: &str| holds(&done, &each, condition, None).ok();
    assert_eq!(of_item("item.name == 'x' && item.cpu == 2"), Some(true));
    assert_eq!(of_item("item.cpu > 2"), Some(false));
    assert_eq!(of_item("item.nothing"), None);
    // A step that was skipped says so.
    let mut skipped = undone;
    skipped
        .apply(
            0,
            &Event::Skipped {
                step: StepId("first".to_owned()),
                why: "no".to_owned(),
            },
        )
        .unwrap();
    assert_eq!(
        comes_to(&skipped, "steps.first.status == 'skipped'"),
        Some(true)
    );
    assert_eq!(comes_to(&skipped, "steps.first.outputs.on"), None);
    let why = holds(&done, &own(), "params.n", None).unwrap_err();
    assert_eq!(why, "it is neither true nor false");
    println!("{} conditions evaluated", table.len() + 14);
}

#[test]
fn p14_a_number_is_a_number_wherever_it_comes_from() {
    let state = state(true);
    for condition in [
        "params.n + 1 == 4",
        "params.n - 4 == -1",
        "params.n * 2 - 1 == 5",
        "params.n % 2 == 1",
        "params.n + params.neg == 0",
        "steps.first.outputs.n + 1 == 8",
        "steps.first.outputs.n - params.n == 4",
        "size(params.list) == params.n",
        "size(params.list) + 1 > params.n",
        "params.list.map(x, x + 1) == [2, 3, 4]",
        "params.list.exists(x, x - 3 == 0)",
    ] {
        let comes_to = holds(&state, &own(), condition, None);
        assert_eq!(comes_to, Ok(true), "{condition}");
    }
}

#[test]
fn p14_a_function_is_refused_whatever_letters_its_name_has() {
    for condition in ["run_it('a')", "_run('a')", "params.s.run_it()", "_()"] {
        let refused = said(condition).unwrap_err();
        assert!(
            refused.contains("is not among it"),
            "{condition}: {refused}"
        );
    }
}
