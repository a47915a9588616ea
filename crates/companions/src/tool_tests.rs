#![expect(clippy::unwrap_used, reason = "a test may panic")]

use super::*;

fn tools(raw: Value) -> Tools {
    Tools::read(
        raw.as_array().unwrap().clone(),
        Vec::new(),
        &Scrub::default(),
    )
}

fn nature(name: &str, annotations: Value, arguments: Value) -> (Risk, Effect) {
    let tools = tools(
        json!([{"name": name, "inputSchema": {"type": "object"}, "annotations": annotations}]),
    );
    let nature = tools.by_name[name].nature(arguments.as_object().unwrap());
    (nature.risk, nature.effect)
}

#[test]
fn p4_a_tool_that_says_nothing_is_destructive_and_done_once() {
    for annotations in [
        json!(null),
        json!({}),
        json!("x"),
        json!({"readOnlyHint": "true"}),
        json!({"title": "x"}),
    ] {
        assert_eq!(
            nature("vm_list", annotations, json!({})),
            (Risk::Destructive, Effect::Once)
        );
    }
}

#[test]
fn p4_annotations_lower_the_risk_and_names_only_raise_it() {
    let read = json!({"readOnlyHint": true});
    let write = json!({"destructiveHint": false, "idempotentHint": true});
    assert_eq!(
        nature("vm_list", read.clone(), json!({})),
        (Risk::Read, Effect::Read)
    );
    assert_eq!(
        nature("vm_tag", write.clone(), json!({})),
        (Risk::Write, Effect::Idempotent)
    );
    assert_eq!(
        nature("vm_delete", read, json!({})),
        (Risk::Destructive, Effect::Once)
    );
    assert_eq!(
        nature("vm_power_off", write.clone(), json!({})),
        (Risk::Destructive, Effect::Idempotent)
    );
    assert_eq!(
        nature("vm", write, json!({"action": "destroy"})),
        (Risk::Destructive, Effect::Idempotent)
    );
}

#[test]
fn p4_destruction_is_heard_in_words_and_not_in_parts_of_them() {
    for name in [
        "delete",
        "vm_delete",
        "deleteVM",
        "vm-power-off",
        "powerOff",
        "poweroff_vm",
        "deletevm",
        "snapshot.remove",
        "ShutdownGuest",
        "shut_down",
        "drops",
        "forceStop",
        "kill",
        "disk_format",
    ] {
        assert!(sounds_destructive(name), "{name}");
    }
    for name in [
        "vm_information",
        "get_vm",
        "enforce_policy",
        "list_backdrops",
        "transformation",
        "power_on",
        "skill",
    ] {
        assert!(!sounds_destructive(name), "{name}");
    }
}

#[test]
fn a_malformed_table_is_a_finding_and_the_annotations_count() {
    let tools = tools(
        json!([{"name": "x", "inputSchema": {"type": "object"}, "_meta": {KEY: {"version": 9}}}]),
    );
    assert!(tools.by_name["x"].table.is_none());
    assert!(
        tools.findings[0].contains("is not used"),
        "{:?}",
        tools.findings
    );
    assert_eq!(
        tools.by_name["x"].nature(&Map::new()).risk,
        Risk::Destructive
    );
}

#[test]
fn tools_that_cannot_be_used_are_left_out_and_said() {
    let tools = tools(json!([
        {"name": "a\u{202E}b", "inputSchema": {}}, {"inputSchema": {}}, 5,
        {"name": "ok", "inputSchema": {}, "description": "one\u{1b}[31m\ntwo"},
        {"name": "ok", "inputSchema": {"type": "string"}}, {"name": "bare"},
    ]));
    assert_eq!(tools.by_name.keys().collect::<Vec<_>>(), ["bare", "ok"]);
    assert_eq!(tools.findings.len(), 5, "{:?}", tools.findings);
    assert_eq!(tools.by_name["ok"].description, "one[31m two");
    assert_eq!(*tools.by_name["ok"].schema, json!({}));
}

#[test]
fn p5_the_digest_of_a_tool_covers_schema_annotations_and_row() {
    let table = |risk: &str| {
        json!({KEY: {"version": 1, "select": "action", "rows": {
        "a": {"risk": risk, "effect": "once"}, "b": {"risk": "read", "effect": "read"}}}})
    };
    let tool = |schema: Value, annotations: Value, meta: Value| {
        tools(
            json!([{"name": "x", "inputSchema": schema, "annotations": annotations, "_meta": meta}]),
        )
    };
    let digest = |tools: &Tools, action: &str| {
        let tool = &tools.by_name["x"];
        let digest = tool.digest(Some(action));
        assert_eq!(
            digest,
            tool.digest(Some(action)),
            "the same when asked again"
        );
        assert_eq!(digest, tool.work_out(Some(action)));
        digest
    };
    let base = tool(json!({}), json!({}), table("write"));
    let base_a = digest(&base, "a");
    assert_eq!(
        base_a,
        digest(&tool(json!({}), json!({}), table("write")), "a")
    );
    assert_ne!(base_a, digest(&base, "b"));
    assert_ne!(
        base_a,
        digest(&tool(json!({"a": 1}), json!({}), table("write")), "a")
    );
    assert_ne!(
        base_a,
        digest(&tool(json!({}), json!({"title": "x"}), table("write")), "a")
    );
    assert_ne!(
        base_a,
        digest(&tool(json!({}), json!({}), table("destructive")), "a")
    );
    assert_eq!(
        digest(&base, "b"),
        digest(&tool(json!({}), json!({}), table("destructive")), "b")
    );
    assert_ne!(digest(&base, "b"), digest(&base, "not there"));
    assert_eq!(digest(&base, "not there"), base.by_name["x"].digest(None));
}

#[test]
fn p5_the_preview_of_a_change_is_a_read() {
    let tools = tools(
        json!([{"name": "x", "inputSchema": {}, "_meta": {KEY: {"version": 1, "select": "action",
        "preview": "preview", "rows": {
            "set": {"risk": "write", "effect": "once", "preview": true, "undo": ["set"]},
            "raw": {"risk": "write", "effect": "once"}}}}}]),
    );
    let tool = &tools.by_name["x"];
    let facts = |action, arguments: Value| {
        tool.facts(
            Digest::of_bytes(b""),
            Some(action),
            arguments.as_object().unwrap(),
        )
    };
    let set = facts("set", json!({}));
    assert_eq!((set.risk, set.effect), (Risk::Write, Effect::Once));
    assert_eq!(
        (set.preview.as_deref(), set.select.as_deref()),
        (Some("preview"), Some("action"))
    );
    assert_eq!(set.inverses, ["set"]);
    assert_eq!(facts("set", json!({"preview": true})).risk, Risk::Read);
    assert_eq!(facts("set", json!({"preview": "true"})).risk, Risk::Write);
    let raw = facts("raw", json!({"preview": true}));
    assert_eq!(
        (raw.risk, raw.preview),
        (Risk::Write, None),
        "it declares no preview"
    );
}
