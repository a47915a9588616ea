//! What does not fit is refused before anything runs, with what would fit.

use serde_json::{Value, json};

use crate::support::{Home, step, store};

fn refused(steps: Value, code: &str) -> Value {
    let home = Home::new();
    let mut pilot = home.pilot();
    let refused = pilot.refused(
        "create_workflow",
        json!({"name": "x", "description": "", "steps": steps}),
        code,
    );
    assert_eq!(
        pilot.ok("list_workflows", json!({}))["total"],
        0,
        "nothing is stored"
    );
    assert!(home.deeds().is_empty(), "nothing ran");
    refused
}

#[test]
fn a_step_on_what_does_not_exist_is_refused_with_the_nearest() {
    let mut other = step("a", "note", json!({"text": "x"}));
    other["skill"] = json!("fale");
    assert_eq!(
        refused(json!([other]), "step.unknown_skill")["nearest"],
        json!(["fake"])
    );
    let tool = step("a", "notes", json!({"text": "x"}));
    assert_eq!(
        refused(json!([tool]), "step.unknown_tool")["nearest"],
        json!(["note"])
    );
    let action = store("a", "sett", "x", json!("1"));
    assert_eq!(
        refused(json!([action]), "step.unknown_action")["nearest"],
        json!(["set"])
    );
}

#[test]
fn arguments_that_do_not_fit_the_schema_run_nothing() {
    let good = store("good", "set", "a", json!("1"));
    for (params, pointer) in [
        (json!({"size": "large"}), "/size"),
        (json!({"size": 11}), "/size"),
        (json!({"size": 1, "kind": "wide"}), "/kind"),
        (json!({"size": 1, "label": "hunter2hunter2"}), "/label"),
        (json!({}), ""),
        (json!({"size": 1, "sise": 2}), ""),
    ] {
        let found = refused(
            json!([good, step("bad", "strict", params.clone())]),
            "step.arguments",
        );
        assert_eq!(
            (&found["step"], &found["pointer"]),
            (&json!("bad"), &json!(pointer)),
            "{params}: {found}"
        );
        assert!(
            !found.to_string().contains("hunter2"),
            "no value is repeated: {found}"
        );
    }
}

#[test]
fn references_are_checked_by_their_declared_type() {
    let mut first = store("first", "set", "a", json!("1"));
    first["outputs"] =
        json!({"size": {"pointer": "/after/size", "type": "integer"}, "name": "/after/name"});
    let uses = |what: &str| step("second", "strict", json!({"size": what}));
    refused(
        json!([first, uses("${steps.first.outputs.name}")]),
        "step.arguments",
    );
    refused(
        json!([first, uses("${steps.first.outputs.nothing}")]),
        "step.reference",
    );
    refused(
        json!([uses("${steps.first.outputs.size}"), first]),
        "step.reference",
    );
    refused(json!([first, uses("${params.size}")]), "step.reference");
    let home = Home::new();
    let mut pilot = home.pilot();
    pilot.create(json!([first, uses("${steps.first.outputs.size}")]));
    pilot.create_with(
        json!([uses("${params.size}")]),
        json!({"params": {"size": 3}}),
    );
}

#[test]
fn p8_a_declared_output_is_what_a_later_step_uses() {
    let home = Home::new();
    home.set_store(&json!({"a": "one"}));
    let mut pilot = home.pilot();
    let mut look = store("look", "get", "a", json!(null));
    look["outputs"] = json!({"was": "/value"});
    let id = pilot.create_with(
        json!([
            look,
            store(
                "copy",
                "set",
                "b",
                json!("${steps.look.outputs.was}-${params.x}")
            )
        ]),
        json!({"params": {"x": "two"}}),
    );
    let done = pilot.run_approving(&id);
    assert_eq!(done["outcome"], "completed", "{done}");
    assert_eq!(home.store(), json!({"a": "one", "b": "one-two"}));
    assert_eq!(
        crate::support::row(&done, "look")["outputs"],
        json!({"was": "one"})
    );
}

#[test]
fn p14_names_are_checked_and_the_character_is_named() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let gate = json!([{"id": "a", "gate": "Go on?"}]);
    for (field, value, code, word) in [
        ("name", json!("a\u{202E}b"), "workflow.name", "U+202E"),
        ("name", json!("<b>"), "workflow.name", "U+003C"),
        ("name", json!("`x`"), "workflow.name", "backtick"),
        ("name", json!("x".repeat(121)), "workflow.name", "120"),
        ("name", json!(" "), "workflow.name", "character"),
        (
            "description",
            json!("a\nb"),
            "workflow.description",
            "U+000A",
        ),
        (
            "description",
            json!("x".repeat(2001)),
            "workflow.description",
            "2000",
        ),
        (
            "steps",
            json!([{"id": "Upper", "gate": "x"}]),
            "step.id",
            "`U`",
        ),
        (
            "steps",
            json!([{"id": "a", "gate": "x"}, {"id": "a", "gate": "y"}]),
            "step.id",
            "twice",
        ),
        (
            "steps",
            json!([{"id": "a", "name": "\u{200b}", "gate": "x"}]),
            "step.name",
            "U+200B",
        ),
        (
            "steps",
            json!([{"id": "a", "gate": ""}]),
            "step.field",
            "message",
        ),
        ("steps", json!([]), "workflow.steps", "at least one"),
        ("steps", json!({"a": 1}), "workflow.steps", "list"),
        ("on_failure", json!("undo"), "workflow.field", "rollback"),
        ("approval_timeout_s", json!(0), "workflow.field", "seconds"),
    ] {
        let mut definition =
            json!({"name": "Ordinary – ä 日本 (50 %)", "description": "x", "steps": gate});
        definition[field] = value;
        let refused = pilot.refused("create_workflow", definition, code);
        assert!(
            refused["error"].as_str().unwrap().contains(word),
            "{field}: {refused}"
        );
    }
    pilot.create_with(
        gate,
        json!({"name": "Ordinary – ä 日本 (50 %)", "description": ""}),
    );
}

#[test]
fn p13_a_value_that_sanitising_would_alter_is_refused_and_not_altered() {
    let found = refused(
        json!([store("a", "set", "web\u{202E}01", json!("1"))]),
        "step.unclean",
    );
    assert_eq!(found["pointer"], "/steps/0/params/name");
    assert!(
        found["error"].as_str().unwrap().contains("U+202E"),
        "{found}"
    );
    // What comes from a companion at run time as well: the step fails, and nothing is sent.
    let home = Home::new();
    home.set_store(&json!({"a": "web\u{202E}01"}));
    let mut pilot = home.pilot();
    let mut look = store("look", "get", "a", json!(null));
    look["outputs"] = json!({"name": "/value"});
    let id = pilot.create(json!([
        look,
        store("copy", "set", "${steps.look.outputs.name}", json!("1"))
    ]));
    let done = pilot.run_approving(&id);
    assert_eq!(done["outcome"], "failed", "{done}");
    assert!(home.deeds().is_empty());
}

#[test]
fn what_is_missing_unknown_or_of_another_type_is_named() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let unknown = pilot.refused(
        "run_workflow",
        json!({"workflow_id": "wf_1", "wait": 3}),
        "argument.unknown",
    );
    assert_eq!(unknown["nearest"], json!(["wait_seconds"]));
    assert_eq!(unknown["allowed"], json!(["workflow_id", "wait_seconds"]));
    let unknown = pilot.refused(
        "create_workflow",
        json!({"name": "x", "step": []}),
        "argument.unknown",
    );
    assert_eq!(unknown["nearest"], json!(["steps"]));
    for (tool, arguments, code) in [
        ("run_workflow", json!({}), "argument.missing"),
        (
            "run_workflow",
            json!({"workflow_id": null}),
            "argument.missing",
        ),
        (
            "run_workflow",
            json!({"workflow_id": 7}),
            "argument.wrong_type",
        ),
        (
            "run_workflow",
            json!({"workflow_id": "wf_1"}),
            "workflow.unknown",
        ),
        (
            "run_workflow",
            json!({"workflow_id": "wf_1", "wait_seconds": 301}),
            "argument.out_of_range",
        ),
        (
            "run_workflow",
            json!({"workflow_id": "wf_1", "wait_seconds": -1}),
            "argument.out_of_range",
        ),
        (
            "run_workflow",
            json!({"workflow_id": "wf_1", "wait_seconds": 0.5}),
            "argument.out_of_range",
        ),
        (
            "run_workflow",
            json!({"workflow_id": "wf_1", "wait_seconds": "5"}),
            "argument.wrong_type",
        ),
        (
            "run_workflow",
            json!({"workflow_id": "x".repeat(129)}),
            "argument.unclean",
        ),
        (
            "review_workflow",
            json!({"workflow_id": "wf_1"}),
            "workflow.unknown",
        ),
        (
            "get_workflow_status",
            json!({"workflow_id": "wf_1"}),
            "workflow.unknown",
        ),
        (
            "cancel_workflow",
            json!({"workflow_id": "' OR 1=1 --"}),
            "workflow.unknown",
        ),
        (
            "rollback",
            json!({"workflow_id": "wf_1"}),
            "workflow.unknown",
        ),
        (
            "resume_workflow",
            json!({"workflow_id": "wf_1"}),
            "workflow.unknown",
        ),
        (
            "list_workflows",
            json!({"limit": 0}),
            "argument.out_of_range",
        ),
        (
            "list_workflows",
            json!({"state": "done"}),
            "argument.out_of_range",
        ),
        ("list_workflows", json!({"cursor": "7"}), "cursor.invalid"),
        ("get_audit_log", json!({"cursor": "x"}), "cursor.invalid"),
        ("get_audit_log", json!({"verify": 1}), "argument.wrong_type"),
    ] {
        pilot.refused(tool, arguments, code);
    }
    let id = pilot.create(json!([store("look", "get", "a", json!(null))]));
    pilot.refused(
        "review_workflow",
        json!({"workflow_id": id, "cursor": "1"}),
        "cursor.invalid",
    );
    pilot.refused(
        "resume_workflow",
        json!({"workflow_id": id}),
        "workflow.not_paused",
    );
    assert_eq!(
        pilot.ok(
            "run_workflow",
            json!({"workflow_id": id, "wait_seconds": 25.0})
        )["outcome"],
        "completed"
    );
}
