//! References: what is one, what it may name, and which value it takes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use workflow::event::{Direction, Event, Outcome};
use workflow::model::{Definition, ScalarKind, StepId};
use workflow::reference::{
    Reference, ReferenceError, Scope, find, resolve, resolve_all, resolve_params,
};
use workflow::state::State;

use crate::support::{Kind, Spec, definition, facts_of, id, person, step_id};

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn written() -> Definition {
    let mut written = definition(&Spec::of(&[Kind::Read, Kind::Gate, Kind::Write]));
    written.params = object(json!({"n": 3, "s": "web", "list": [1], "none": null}));
    written
}

/// After its first step answered, where it did.
fn state(answered: bool) -> State {
    let kinds = [Kind::Read, Kind::Gate, Kind::Write];
    let created = Event::Created {
        id: id(),
        definition: Box::new(written()),
        by: person(),
        facts: kinds.iter().map(|k| facts_of(*k)).collect(),
    };
    let mut state = State::create(0, &created).unwrap();
    let outcome = Event::Outcome {
        step: step_id(0),
        direction: Direction::Do,
        attempt: 1,
        took_ms: None,
        outcome: Outcome::Succeeded {
            sha256: "0".repeat(64),
            size: 1,
            changed: false,
            outputs: BTreeMap::from([("on".to_owned(), json!(true))]),
            missing: vec!["gone: the answer has nothing at `/gone`".to_owned()],
            undo: None,
        },
    };
    if answered {
        state.apply(0, &outcome).unwrap();
    }
    state
}

#[test]
fn p13_what_is_a_reference_is_exact() {
    let param = |name: &str| Reference::Param(name.to_owned());
    let output = |step: &str, name: &str| Reference::Output(StepId(step.to_owned()), name.into());
    for (text, expected) in [
        ("${params.a}", vec![(param("a"), true)]),
        ("${params.a-B_9}", vec![(param("a-B_9"), true)]),
        ("x${params.a}", vec![(param("a"), false)]),
        ("${params.a}x", vec![(param("a"), false)]),
        (
            "${params.a}${steps.s.outputs.o}",
            vec![(param("a"), false), (output("s", "o"), false)],
        ),
        ("${steps.s.outputs.o}", vec![(output("s", "o"), true)]),
        ("$${params.a}", vec![]),
        ("$$${params.a}", vec![]),
        ("a $ b } {", vec![]),
        ("", vec![]),
    ] {
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(reference, whole)| ("/k/0/~1".to_owned(), reference, whole))
            .collect();
        let value = json!({"k": [{"/": text}], "n": 1, "t": true, "z": null});
        assert_eq!(find(&value), Ok(expected), "{text}");
    }
    for text in [
        "${params.a",
        "${params.}",
        "${params}",
        "${params.a b}",
        "${params.a.b}",
        "${other.a}",
        "${steps..outputs.o}",
        "${steps.s.outputs.}",
        "${steps.s.outputs.o o}",
        "${steps.s s.outputs.o}",
        "${steps.s.inputs.o}",
        "${}",
    ] {
        let error = find(&json!({"k": text})).unwrap_err();
        let place = "`/k`".to_owned();
        assert!(matches!(error, ReferenceError::Form { .. }), "{text}");
        assert!(error.to_string().contains(&place) || error.to_string().contains("/k"));
    }
}

#[test]
fn p13_a_value_takes_the_place_of_its_reference() {
    let state = state(true);
    let arguments = object(json!({
        "whole": "${params.n}", "list": "${params.list}", "none": "${params.none}",
        "within": "a${params.n}b${params.s}c${steps.s0.outputs.on}",
        "literal": "$${params.n} and ${params.s}", "deep": [{"k": "${params.s}"}],
        "plain": "x", "number": 7,
    }));
    let expected = object(json!({
        "whole": 3, "list": [1], "none": null, "within": "a3bwebctrue",
        "literal": "${params.n} and web", "deep": [{"k": "web"}], "plain": "x", "number": 7,
    }));
    assert_eq!(resolve_all(&state, &arguments), Ok(expected));
    let said = |text: &str| {
        let arguments = object(json!({"k": text}));
        resolve_all(&state, &arguments).unwrap_err().to_string()
    };
    for (text, words) in [
        ("${params.m}", "Add `m` to `params`"),
        ("x${params.list}", "`params.list` as a whole argument"),
        ("x${params.none}", "`params.none` as a whole argument"),
        ("${steps.no.outputs.on}", "names `no`, which is not one"),
        (
            "${steps.s0.outputs.gone}",
            "`gone` (gone: the answer has nothing",
        ),
        (
            "${steps.s0.outputs.off}",
            "no output `off`, since it is succeeded",
        ),
        (
            "${steps.s2.outputs.on}",
            "no output `on`, since it is pending",
        ),
    ] {
        assert!(said(text).contains(words), "{text}: {}", said(text));
    }
    let of_output = resolve(&object(json!({"k": "x${steps.s0.outputs.on}"})), &|_, _| {
        Ok(json!([1]))
    });
    let error = of_output.unwrap_err().to_string();
    assert!(
        error.contains("`steps.s0.outputs.on` as a whole"),
        "{error}"
    );
}

#[test]
fn p13_an_output_that_is_not_known_yet_leaves_a_hole_of_its_type() {
    let mut written = written();
    let scope = Scope::of(&written, 2);
    let arguments = object(json!({
        "whole": "${steps.s0.outputs.on}", "within": "x${steps.s0.outputs.on}", "n": "${params.n}",
    }));
    let (resolved, holes) = resolve_params(&written, scope, &arguments).unwrap();
    let expected = object(json!({
        "whole": "${steps.s0.outputs.on}", "within": "x${steps.s0.outputs.on}", "n": 3,
    }));
    assert_eq!(resolved, expected);
    let kinds = [
        ("/whole", ScalarKind::Boolean),
        ("/within", ScalarKind::String),
    ];
    assert_eq!(holes, kinds.map(|(at, kind)| (at.to_owned(), kind)).into());
    let refused = |written: &Definition, scope, text: &str| {
        let arguments = object(json!({"k": text}));
        resolve_params(written, scope, &arguments).unwrap_err()
    };
    let own = "${steps.s2.outputs.on}";
    assert!(matches!(
        refused(&written, scope, own),
        ReferenceError::NoStep { .. }
    ));
    let after = object(json!({"k": own}));
    assert!(resolve_params(&written, scope.after(), &after).is_ok());
    for name in ["${steps.s0.outputs.off}", "${steps.s1.outputs.on}"] {
        assert!(matches!(
            refused(&written, scope, name),
            ReferenceError::NoOutput { .. }
        ));
    }
    assert!(matches!(
        refused(&written, scope, "${params.m}"),
        ReferenceError::NoParam { .. }
    ));
    // Members of a group do not see each other.
    written.groups = Spec::of(&[]).group(0, 3, 3, None).groups;
    let within = Scope::of(&written, 2);
    let first = "${steps.s0.outputs.on}";
    assert!(matches!(
        refused(&written, within, first),
        ReferenceError::NoStep { .. }
    ));
}
