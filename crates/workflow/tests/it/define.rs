//! From what a caller wrote to a definition: what is refused, with which code, and what is not echoed.

use serde_json::{Map, Value, json};
use workflow::define::{Bounds, define};
use workflow::model::{Deed, Definition, OnFailure};
use workflow::refusal::Refusal;

const BOUNDS: Bounds = Bounds {
    approval_timeout_s: 300,
    max_approval_timeout_s: 3600,
    execution_expiry_s: 3600,
    max_parallel: 8,
};

fn base() -> Value {
    json!({
        "name": "Resize the web server",
        "description": "Two more CPUs.",
        "params": {"vm": "web01"},
        "steps": [
            {"id": "look", "skill": "control", "tool": "vmware_control",
             "params": {"action": "get_vm", "vm_name": "${params.vm}", "credential_profile": "lab"},
             "outputs": {"uuid": "/vm/uuid", "cpus": {"pointer": "/vm/cpu", "type": "integer"}}},
            {"id": "ask", "gate": "Is the maintenance window open?"},
            {"id": "grow", "skill": "control", "tool": "vmware_control",
             "params": {"action": "reconfigure", "vm_uuid": "${steps.look.outputs.uuid}", "cpu": 4}},
        ],
    })
}

fn of(raw: &Value) -> Result<Definition, Refusal> {
    let Value::Object(raw) = raw else {
        unreachable!("the tests write objects")
    };
    define(raw, BOUNDS)
}

/// The base with one place changed (JSON Pointer; the last part may be new).
fn with(pointer: &str, value: Value) -> Value {
    let mut raw = base();
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    match raw.pointer_mut(parent).unwrap() {
        Value::Object(map) => {
            map.insert(last.to_owned(), value);
        }
        Value::Array(list) => match last.parse::<usize>() {
            Ok(i) if i < list.len() => list[i] = value,
            _ => list.push(value),
        },
        _ => unreachable!("the parent is an object or a list"),
    }
    raw
}

#[test]
fn p14_an_ordinary_definition_passes() {
    let definition = of(&base()).unwrap();
    assert_eq!(definition.on_failure, OnFailure::Rollback);
    assert_eq!(definition.approval_timeout_s, 300);
    assert_eq!(definition.steps.len(), 3);
    assert_eq!(definition.steps[0].name, "look");
    assert!(matches!(&definition.steps[1].deed, Deed::Gate(message) if message.contains("window")));
    let again: Definition =
        serde_json::from_str(&serde_json::to_string(&definition).unwrap()).unwrap();
    assert_eq!(again, definition);
}

#[test]
fn p2_a_literal_secret_anywhere_is_refused_and_not_echoed() {
    let secrets = [
        ("/params/password", json!("hunter2-canary")),
        (
            "/params/nested",
            json!({"a": [{"apiKey": "hunter2-canary"}]}),
        ),
        ("/steps/0/params/token", json!("hunter2-canary")),
        (
            "/steps/0/params/x",
            json!("Bearer hunter2-canary-0123456789"),
        ),
        (
            "/steps/0/undo",
            json!({"tool": "t", "params": {"private_key": "hunter2-canary"}}),
        ),
        (
            "/description",
            json!("-----BEGIN RSA PRIVATE KEY-----\nhunter2-canary"),
        ),
        (
            "/steps/1/gate",
            json!("use eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.hunter2-canary_0123456789"),
        ),
        ("/unknown", json!({"kubeconfig": "hunter2-canary"})),
    ];
    for (pointer, value) in secrets {
        let refusal = of(&with(pointer, value)).unwrap_err();
        assert_eq!(refusal.code, "workflow.secret", "{pointer}: {refusal:?}");
        assert!(
            refusal.message.contains("credential_profile"),
            "{pointer}: {refusal:?}"
        );
        assert!(
            !format!("{refusal:?}").contains("canary"),
            "{pointer}: {refusal:?}"
        );
    }
}

#[test]
fn p2_a_secret_does_not_come_in_by_a_reference() {
    let mut raw = with("/params/harmless", json!("hunter2-canary"));
    raw["steps"][0]["params"]["password"] = json!("${params.harmless}");
    let refusal = of(&raw).unwrap_err();
    assert_eq!(refusal.code, "workflow.secret");
    assert!(!format!("{refusal:?}").contains("canary"));
}

#[test]
fn p14_every_slip_has_its_code_and_is_said_where_it_is() {
    let slips = [
        ("/name", json!(""), "workflow.name"),
        ("/name", json!(7), "workflow.name"),
        ("/name", json!("a`b"), "workflow.name"),
        ("/name", json!("a\u{202e}b"), "workflow.name"),
        ("/name", json!("x".repeat(121)), "workflow.name"),
        (
            "/description",
            json!("x".repeat(2001)),
            "workflow.description",
        ),
        ("/description", json!("<b>"), "workflow.description"),
        ("/steps", json!([]), "workflow.steps"),
        ("/steps", json!("none"), "workflow.steps"),
        ("/steps/0", json!("none"), "step.field"),
        ("/surprise", json!(1), "workflow.field"),
        ("/on_failure", json!("explode"), "workflow.field"),
        ("/approval_timeout_s", json!(0), "workflow.field"),
        ("/approval_timeout_s", json!(3601), "workflow.field"),
        ("/approval_timeout_s", json!("300"), "workflow.field"),
        ("/params", json!([]), "workflow.field"),
        ("/steps/0/id", json!("Look"), "step.id"),
        ("/steps/0/id", json!("ask"), "step.id"),
        ("/steps/0/id", json!(null), "step.id"),
        ("/steps/0/name", json!("a\u{0}b"), "step.name"),
        ("/steps/0/surprise", json!(1), "step.field"),
        ("/steps/0/skill", json!(null), "step.field"),
        ("/steps/0/tool", json!("rm -rf /"), "step.field"),
        ("/steps/0/params", json!("none"), "step.field"),
        ("/steps/0/timeout_s", json!(-1), "step.field"),
        ("/steps/0/outputs", json!({"Uuid": "/a"}), "step.field"),
        ("/steps/0/outputs", json!({"uuid": "a"}), "step.field"),
        (
            "/steps/0/outputs",
            json!({"uuid": {"pointer": "/a", "type": "list"}}),
            "step.field",
        ),
        (
            "/steps/0/verify",
            json!({"tool": "t", "params": {}}),
            "step.field",
        ),
        (
            "/steps/0/verify",
            json!({"tool": "t", "expect": {"/a": {}}}),
            "step.field",
        ),
        ("/steps/0/undo", json!("power_on"), "step.field"),
        ("/steps/1/tool", json!("vmware_control"), "step.field"),
        ("/steps/1/gate", json!("  "), "step.field"),
        (
            "/steps/0/params/vm_name",
            json!("web\u{200b}01"),
            "step.unclean",
        ),
        (
            "/steps/0/params/vm_name",
            json!("${params.nothing}"),
            "step.reference",
        ),
        (
            "/steps/0/params/vm_name",
            json!("${params.vm"),
            "step.reference",
        ),
        (
            "/steps/0/params/vm_name",
            json!("${env.HOME}"),
            "step.reference",
        ),
        (
            "/steps/0/params/vm_name",
            json!("${steps.grow.outputs.x}"),
            "step.reference",
        ),
        (
            "/steps/2/params/vm_uuid",
            json!("${steps.look.outputs.x}"),
            "step.reference",
        ),
        (
            "/steps/2/params/vm_uuid",
            json!("${steps.grow.outputs.x}"),
            "step.reference",
        ),
    ];
    for (pointer, value, code) in slips {
        let refusal = of(&with(pointer, value.clone())).unwrap_err();
        assert_eq!(refusal.code, code, "{pointer} = {value}: {refusal:?}");
        assert!(!refusal.message.is_empty());
        let text = format!(
            "{} {}",
            refusal.message,
            Value::Object(refusal.extra.clone())
        );
        assert!(
            guard::text::sanitize_to(&text, 10_000) == text,
            "{pointer}: {text:?}"
        );
    }
}

#[test]
fn p14_names_in_any_language_pass() {
    for name in [
        "Größe ändern: web01 (2 → 4)",
        "サーバーの再起動",
        "رفع المعالج",
        "Zoë's “test” — 50 % & more!",
    ] {
        of(&with("/name", json!(name))).unwrap();
    }
}

#[test]
fn p13_a_reference_takes_the_type_of_its_value_and_text_takes_it_as_text() {
    use workflow::reference::{Reference, resolve};
    let arguments: Map<String, Value> = serde_json::from_value(json!({
        "whole": "${params.n}", "text": "n=${params.n}!", "literal": "$${params.n}", "list": ["${params.n}"],
    }))
    .unwrap();
    let resolved = resolve(&arguments, &|reference, _| {
        assert_eq!(*reference, Reference::Param("n".to_owned()));
        Ok(json!(4))
    })
    .unwrap();
    assert_eq!(
        Value::Object(resolved),
        json!({"whole": 4, "text": "n=4!", "literal": "${params.n}", "list": [4]})
    );
}

#[test]
fn p2_a_workflow_that_is_too_large_is_refused() {
    let many: Vec<Value> = (0..10_001)
        .map(|i| json!({"id": format!("s{i}"), "gate": "?"}))
        .collect();
    assert_eq!(
        of(&with("/steps", json!(many))).unwrap_err().code,
        "workflow.steps"
    );
    let long = "x".repeat(2 * 1024 * 1024);
    assert_eq!(
        of(&with("/params/long", json!(long))).unwrap_err().code,
        "workflow.too_large"
    );
}
