//! A step for each item of a list: what it becomes, and that an item stays what it is.

use serde_json::{Map, Value, json};
use workflow::define::define;
use workflow::model::{Call, Each};

use crate::language::{BOUNDS, Refused, arguments_of, call_of, ids, step, step_with, with_steps};

/// A list step over these items with these arguments: what each one is called with at last.
fn called_with(items: &Value, params: &Value) -> Vec<Value> {
    let each = json!({"id": "each", "skill": "fake", "tool": "store", "for_each": items,
        "params": params});
    let definition = with_steps(json!([each])).unwrap();
    (0..definition.steps.len())
        .map(|place| {
            let call: &Call = &call_of(&definition, place).call;
            let scope = workflow::reference::Scope::of(&definition, place);
            let (resolved, holes) =
                workflow::reference::resolve_params(&definition, scope, &call.arguments).unwrap();
            assert!(holes.is_empty());
            Value::Object(resolved)
        })
        .collect()
}

#[test]
fn p4_a_list_becomes_numbered_steps_in_batches() {
    let one = step_with(
        "each",
        &json!({"name": "Restart", "for_each": "${params.vms}", "batch": 2, "max_failures": 1,
            "params": {"name": "${item}", "n": "${index}", "text": "${index}: ${item}!"}}),
    );
    let definition = with_steps(json!([step("before"), one, step("after")])).unwrap();
    assert_eq!(
        ids(&definition),
        ["before", "each_1", "each_2", "each_3", "after"]
    );
    let names: Vec<&str> = definition.steps.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names[1..3], ["Restart (1 of 3)", "Restart (2 of 3)"]);
    assert_eq!(
        arguments_of(&definition, 3),
        json!({"name": "c", "n": 3, "text": "3: c!"})
    );
    let group = &definition.groups[0];
    assert_eq!((group.from, group.count, group.limit), (1, 3, 2));
    let each = Each {
        batch: 2,
        max_failures: 1,
    };
    assert_eq!(group.each, Some(each));
    assert_eq!(call_of(&definition, 2).item, Some(json!("b")));
    assert_eq!(call_of(&definition, 0).item, None);
    // One at a time, and none may fail, where nothing is said. A batch is not more than may run.
    let plain = with_steps(json!([step_with("each", &json!({"for_each": [1]}))])).unwrap();
    assert_eq!(plain.steps[0].name, "each_1");
    assert_eq!(plain.groups[0].limit, 1);
    let (batch, max_failures) = (1, 0);
    let none = Each {
        batch,
        max_failures,
    };
    assert_eq!(plain.groups[0].each, Some(none));
    let wide = json!([step_with("each", &json!({"for_each": [1], "batch": 256}))]);
    let wide = with_steps(wide).unwrap();
    assert_eq!(wide.groups[0].limit, 8);
}

#[test]
fn p13_an_item_stays_what_it_is() {
    let mut filled = 0;
    let object = json!({"a": "x", "n": 4, "b": true, "f": 1.5});
    for (item, written, wanted) in [
        // A whole text takes the value with its type.
        (json!("x"), "${item}", json!("x")),
        (json!(4), "${item}", json!(4)),
        (json!(true), "${item}", json!(true)),
        (json!(1.5), "${item}", json!(1.5)),
        (object.clone(), "${item}", object.clone()),
        (object.clone(), "${item.n}", json!(4)),
        (object.clone(), "${item.a}", json!("x")),
        (json!("x"), "${index}", json!(1)),
        // Within a longer one it is text.
        (json!("x"), "${item}.", json!("x.")),
        (json!("x"), ".${item}", json!(".x")),
        (json!(4), "${item}${item}", json!("44")),
        (
            object.clone(),
            "n=${item.n} b=${item.b}",
            json!("n=4 b=true"),
        ),
        (
            json!("x"),
            "${item} ${index} ${params.word}",
            json!("x 1 w"),
        ),
        // An escape is an escape.
        (json!("x"), "$${item}", json!("${item}")),
        (json!("x"), "$${item} ${item}", json!("${item} x")),
        // What an item holds is never read as a reference, nor as an escape.
        (json!("${params.word}"), "${item}", json!("${params.word}")),
        (
            json!("${params.word}"),
            "a ${item} b",
            json!("a ${params.word} b"),
        ),
        (json!("$${"), "${item}", json!("$${")),
        (json!("$${"), "<${item}>", json!("<$${>")),
        (json!("${"), "${item}", json!("${")),
        (json!("${item}"), "${item}", json!("${item}")),
        (json!("a}b{c$d"), "${item}", json!("a}b{c$d")),
        (
            json!({"a": "${params.word}"}),
            "${item.a}",
            json!("${params.word}"),
        ),
        (
            json!({"a": "${params.word}"}),
            "${item}",
            json!({"a": "${params.word}"}),
        ),
    ] {
        let called = called_with(
            &json!([item]),
            &json!({"x": written, "deep": [{"x": written}]}),
        );
        assert_eq!(called[0]["x"], wanted, "{item} in {written}");
        assert_eq!(called[0]["deep"][0]["x"], wanted, "{item} in {written}");
        filled += 1;
    }
    println!("{filled} items filled in");
    assert!(filled > 0);
    // In an undo and a verify as well, and the rest of the step is as written.
    let one = step_with(
        "each",
        &json!({"for_each": ["x"], "undo": {"tool": "t", "params": {"u": "${item}"}},
            "verify": {"tool": "t", "params": {"v": "${index}"}, "expect": {"/on": true}},
            "timeout_s": 7, "name": "Stop ${item}", "description": "vm ${item}, ${index}", "params": {"list": [1, null, true]}}),
    );
    let definition = with_steps(json!([one])).unwrap();
    let call = call_of(&definition, 0);
    assert_eq!(call.undo.as_ref().unwrap().arguments["u"], "x");
    assert_eq!(call.verify.as_ref().unwrap().call.arguments["v"], 1);
    assert_eq!(call.timeout_s, Some(7));
    assert_eq!(definition.steps[0].name, "Stop x (1 of 1)");
    assert_eq!(definition.steps[0].description, "vm x, 1");
    assert_eq!(arguments_of(&definition, 0)["list"], json!([1, null, true]));
}

#[test]
fn p13_two_parts_of_an_item_do_not_make_a_reference_together() {
    for (items, written) in [
        (
            json!([{"a": "$", "b": "{params.word}"}]),
            "${item.a}${item.b}",
        ),
        (json!(["$"]), "${item}{params.word}"),
        (json!(["5$"]), "${item}${params.word}"),
    ] {
        let each = step_with(
            "each",
            &json!({"for_each": items, "params": {"name": written}}),
        );
        // Either it is refused, or what the item holds stays what it is.
        let Ok(definition) = with_steps(json!([each])) else {
            continue;
        };
        let call = &call_of(&definition, 0).call;
        let scope = workflow::reference::Scope::of(&definition, 0);
        let (resolved, _) =
            workflow::reference::resolve_params(&definition, scope, &call.arguments).unwrap();
        let wanted = match written {
            "${item}${params.word}" => "5$w",
            _ => "${params.word}",
        };
        assert_eq!(resolved["name"], wanted, "{items} in {written}");
    }
}

#[test]
fn p13_what_is_no_list_of_items_is_refused() {
    let refused = Refused::default();
    let each = |more: Value| json!([step_with("each", &more)]);
    let list = "Pass a list of 1 to 10000 texts, numbers or flat objects";
    for items in [
        json!([]),
        json!([null]),
        json!([[1]]),
        json!([{}]),
        json!([{"a": [1]}]),
        json!([{"a": {"b": 1}}]),
        json!([{"a": null}]),
        json!([1, [2]]),
        json!({"a": 1}),
        json!(3),
        json!(null),
        json!("a"),
        json!("${params.n}"),
        json!("${params.word}"),
        json!("${params.empty}"),
        json!("${params.nothing}"),
        json!("${params.vms} "),
        json!("x${params.vms}"),
        json!("${steps.a.outputs.v}"),
        json!(vec![1; 10_001]),
    ] {
        refused.check(each(json!({"for_each": items})), "step.field", list);
    }
    let batch = "Pass a whole number of items from 1 to 256 at /steps/0/batch";
    for given in [json!(0), json!(257), json!("5"), json!(1.5)] {
        refused.check(
            each(json!({"for_each": [1], "batch": given})),
            "step.field",
            batch,
        );
    }
    let failures = "Pass a whole number of items from 0 to 10000 at /steps/0/max_failures";
    for given in [json!(-1), json!(10_001), json!("1")] {
        refused.check(
            each(json!({"for_each": [1], "max_failures": given})),
            "step.field",
            failures,
        );
    }
    let params = |written: &str| json!({"for_each": [{"a": 1}], "params": {"x": written}});
    for (written, says) in [
        (
            "${item.b}",
            "Pass a field that each item has: not `b`, at /steps/0/params",
        ),
        (
            "a ${item}",
            "Pass the whole of a text as `${item}`, or `${item.<field>}` at /steps/0/params",
        ),
        ("${item.a.b}", "Pass a field that each item has: not `a.b`,"),
    ] {
        refused.check(each(params(written)), "step.field", says);
    }
    for written in ["${items}", "${index.a}", "${item", "${}"] {
        refused.check(
            each(params(written)),
            "step.reference",
            "Write a reference as",
        );
    }
    refused.check(
        json!([{"id": "each", "gate": "Go on?", "for_each": [1]}]),
        "step.field",
        "Pass a step that calls a tool, not a gate, with `for_each`; nothing at /steps/0/for_each",
    );
    refused.check(
        json!([
            step("each_2"),
            step_with("each", &json!({"for_each": [1, 2]}))
        ]),
        "step.id",
        "`each_2` is used twice",
    );
    refused.check(
        json!([step("each"), step_with("each", &json!({"for_each": [1]}))]),
        "step.id",
        "`each` is used twice",
    );
    refused.check(
        json!([{"skill": "fake", "tool": "t", "for_each": [1]}]),
        "step.id",
        "Give the steps at /steps/0 an `id`",
    );
    refused.check(
        each(json!({"for_each": [1], "limit": 2})),
        "step.field",
        "Remove `limit`",
    );
    refused.check(
        each(json!({"for_each": ["a\u{0}"], "params": {"x": "${item}"}})),
        "step.unclean",
        "",
    );
    refused.print("lists");
    let most = with_steps(each(json!({"for_each": vec![1; 256], "batch": 256,
        "max_failures": 10_000})));
    assert_eq!(most.unwrap().steps.len(), 256);
}

#[test]
fn p2_a_list_that_would_become_too_large_is_refused_before_it_is_written_out() {
    let many = |count: usize, params: Value| {
        let mut raw = Map::new();
        let items: Vec<Value> = (0..count).map(|i| json!(format!("vm{i:05}"))).collect();
        raw.insert("name".to_owned(), json!("A"));
        raw.insert("params".to_owned(), json!({"vms": items}));
        let each = json!([{"id": "each", "skill": "fake", "tool": "store",
            "for_each": "${params.vms}", "params": params}]);
        raw.insert("steps".to_owned(), each);
        define(&raw, BOUNDS)
    };
    let long = "x".repeat(1000);
    assert_eq!(many(7000, json!({"a": long})).unwrap().steps.len(), 7000);
    let refusal = many(9000, json!({"a": long})).unwrap_err();
    assert_eq!(refusal.code, "workflow.too_large");
    assert!(
        refusal
            .message
            .starts_with("Split the list at /steps/0/for_each"),
        "{refusal:?}"
    );
    // Ten thousand steps is what a workflow may have, its other steps included.
    assert_eq!(many(10_000, json!({})).unwrap().steps.len(), 10_000);
    // Written where it is used, a list counts once, not once for each of its items.
    let items: Vec<Value> = (0..1000)
        .map(|i| json!(format!("virtual-machine-{i:05}")))
        .collect();
    let each = step_with(
        "each",
        &json!({"for_each": items, "params": {"name": "${item}"}}),
    );
    assert_eq!(with_steps(json!([each])).unwrap().steps.len(), 1000);
    // What an item brings in counts as often as it is used.
    let items: Vec<Value> = (0..20).map(|_| json!("y".repeat(20_000))).collect();
    let params: Map<String, Value> = (0..22)
        .map(|i| (format!("a{i}"), json!("${item}")))
        .collect();
    let each = step_with("each", &json!({"for_each": items, "params": params}));
    let refusal = with_steps(json!([each])).unwrap_err();
    assert_eq!(refusal.code, "workflow.too_large", "{refusal:?}");
}
