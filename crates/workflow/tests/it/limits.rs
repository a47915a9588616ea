//! What is exactly as large as it may be, and one more; and what looks like more than it is.

use guard::limit::DEFINITION_BYTES;
use serde_json::{Value, json};
use workflow::condition::{MACRO_VALUES, Place, check};
use workflow::define::define;
use workflow::judge::prepared;
use workflow::model::Definition;
use workflow::reference::{Scope, resolve_params};
use workflow::refusal::Refusal;

use crate::language::{BOUNDS, call_of, step_with, with_steps};
use crate::support::{Kind, call, facts_of};

fn of(raw: &Value) -> Result<Definition, Refusal> {
    define(raw.as_object().unwrap(), BOUNDS)
}

#[test]
fn p14_a_definition_may_take_as_many_bytes_as_are_allowed_and_not_one_more() {
    let padded = |bytes: usize| {
        json!({"name": "A workflow", "params": {"pad": "x".repeat(bytes)},
            "steps": [{"id": "ask", "gate": "Go on?"}]})
    };
    let room = DEFINITION_BYTES - padded(0).to_string().len();
    assert!(of(&padded(room)).is_ok());
    let refused = of(&padded(room + 1)).unwrap_err();
    assert_eq!(refused.code, "workflow.too_large");
}

#[test]
fn p14_a_list_may_take_as_many_bytes_written_out_as_are_allowed_and_not_one_more() {
    let text = "x".repeat(1000);
    let each =
        |params: &Value| json!({"id": "each", "skill": "fake", "tool": "store", "params": params});
    let most = 8 * DEFINITION_BYTES;
    let count = 7800;
    let one = each(&json!({"a": text, "b": "y"})).to_string().len();
    // Each has a number of its own behind the name of the step.
    let numbers: usize = (1..=count).map(|n| format!("_{n}").len()).sum();
    // The last item takes what is left.
    let listed = |last: usize| {
        let mut items = vec!["y".to_owned(); count];
        items[count - 1] = "y".repeat(last);
        let mut step = each(&json!({"a": text, "b": "${item}"}));
        step["for_each"] = json!(items);
        with_steps(json!([step]))
    };
    let room = 1 + most - count * one - numbers;
    assert_eq!(listed(room).unwrap().steps.len(), count);
    let refused = listed(room + 1).unwrap_err();
    assert_eq!(refused.code, "workflow.too_large");
}

/// What is said of a condition over a list of so many values.
fn said(condition: &str, values: usize) -> Result<(), String> {
    let definition = of(&json!({
        "name": "A workflow", "params": {"list": vec![1; values], "map": {"outputs": {"a": 1}}},
        "steps": [
            {"id": "first", "skill": "fake", "tool": "t", "outputs": {"text": "/text"}},
            {"id": "own", "skill": "fake", "tool": "t"},
        ],
    }))
    .unwrap();
    let place = Place {
        definition: &definition,
        scope: Scope::of(&definition, 1),
        answered: false,
    };
    check(condition, place)
}

#[test]
fn p14_a_macro_takes_as_many_values_as_are_allowed_and_without_one_there_may_be_more() {
    let some = "params.list.exists(x, x == 2)";
    // The list counts as a value itself.
    assert_eq!(said(some, MACRO_VALUES - 1), Ok(()));
    let refused = said(some, MACRO_VALUES).unwrap_err();
    assert!(
        refused.starts_with("Use a smaller `params.list`"),
        "{refused}"
    );
    assert_eq!(said("size(params.list) == 1", MACRO_VALUES), Ok(()));
}

#[test]
fn p14_only_steps_have_outputs_and_only_those_of_an_earlier_step_are_looked_for() {
    assert_eq!(said("steps.first.outputs.text == 'x'", 1), Ok(()));
    assert_eq!(said("params.map.outputs.a == 1", 1), Ok(()));
    assert!(said("steps.first.inputs.text == 'x'", 1).is_err());
}

#[test]
fn p13_a_literal_after_an_item_stays_a_literal() {
    for (written, resolved) in [("${item} $${x}", "a ${x}"), ("${item}$ {", "a$ {")] {
        let each = step_with(
            "each",
            &json!({"for_each": ["a"], "params": {"name": written}}),
        );
        let definition = with_steps(json!([each])).unwrap();
        let scope = Scope::of(&definition, 0);
        let arguments = &call_of(&definition, 0).call.arguments;
        let (found, _) = resolve_params(&definition, scope, arguments).unwrap();
        assert_eq!(found["name"], resolved, "{written}");
    }
}

#[test]
fn p12_what_a_companion_warns_of_is_kept_where_the_values_are_too_large() {
    let body = json!({
        "preview": true, "target": {"moref": "vm-1"}, "before": {"blob": "x".repeat(70_000)},
        "after": {}, "undo": null, "undo_kind": "none", "warnings": ["it is on"],
    });
    let found = prepared(&call("do"), &facts_of(Kind::Write).unwrap(), &body).unwrap();
    assert!(found.before.is_empty(), "the values are not kept");
    assert_eq!(found.warnings, ["it is on"]);
}

#[test]
fn p2_a_long_secret_in_what_a_companion_says_is_taken_out_whole_and_the_rest_is_kept() {
    let key = "hunter2".repeat(500);
    let body = json!({
        "preview": true, "target": {"moref": "vm-1"}, "before": {}, "after": {}, "undo": null,
        "undo_kind": "none",
        "warnings": [format!(
            "-----BEGIN RSA PRIVATE KEY-----\n{key}\n-----END RSA PRIVATE KEY----- it is on"
        )],
    });
    let found = prepared(&call("do"), &facts_of(Kind::Write).unwrap(), &body).unwrap();
    assert!(
        !found.warnings[0].contains("hunter2"),
        "{:?}",
        found.warnings
    );
    assert!(
        found.warnings[0].ends_with(" it is on"),
        "{:?}",
        found.warnings
    );
}
