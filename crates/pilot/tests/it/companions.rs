//! Companions that end, hang, or print noise; and what a person says of a step that nobody knows
//! the effect of.

use serde_json::{Value, json};

use crate::support::{Home, decision, row, step, store};

#[test]
fn a_companion_that_does_not_start_is_said_and_nothing_is_stored() {
    let home = Home::with_fake(&[("FAKE_MODE", "exit_start")]);
    let mut pilot = home.pilot();
    let refused = pilot.refused(
        "create_workflow",
        json!({"name": "x", "description": "", "steps": [store("look", "get", "a", json!(null))]}),
        "companion.unavailable",
    );
    assert_eq!(refused["step"], "look");
    assert_eq!(pilot.ok("list_workflows", json!({}))["total"], 0);
    let catalog = pilot.ok("get_skill_catalog", json!({"skill": "fake"}));
    assert_eq!(catalog["skills"][0]["state"], "failed");
    assert!(
        !catalog["skills"][0]["why"]
            .as_str()
            .unwrap()
            .contains('\u{1b}')
    );
}

#[test]
fn p1_noise_of_a_companion_never_reaches_standard_output() {
    let home = Home::with_fake(&[("FAKE_MODE", "noise")]);
    home.set_store(&json!({"a": "1"}));
    let mut pilot = home.pilot();
    // Every line that is no message fails the client of the tests.
    let id = pilot.create(json!([step(
        "look",
        "peek",
        json!({"name": "a", "fault": "noise"})
    )]));
    let done = pilot.run(&id);
    assert_eq!(done["results"][0]["body"]["value"], "1", "{done}");
}

#[test]
fn p18_a_companion_that_ends_after_the_change_is_probed() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let mut set = store("set_a", "set", "a", json!("1"));
    set["params"]["fault"] = json!("exit_after");
    set["params"]["fault_attempts"] = json!(1);
    let id = pilot.create(json!([set, store("set_b", "set", "b", json!("2"))]));
    let done = pilot.run_approving(&id);
    assert_eq!(done["outcome"], "completed", "{done}");
    assert_eq!(
        home.deeds(),
        ["set_a/do", "set_b/do"],
        "nothing was done twice"
    );
}

#[test]
fn p18_a_step_of_unknown_effect_pauses_until_a_person_says() {
    let home = Home::new();
    let mut pilot = home.pilot();
    // Nothing can tell whether it happened: no preview, no verify, and it may be done only once.
    let steps = json!([
        step(
            "bump",
            "bump",
            json!({"fault": "exit_after", "fault_attempts": 1})
        ),
        store("set_a", "set", "a", json!("1")),
    ]);
    let id = pilot.create(steps.clone());
    let paused = pilot.run_approving(&id);
    assert_eq!(
        (&paused["outcome"], &paused["reason"]),
        (&json!("paused"), &json!("unknown")),
        "{paused}"
    );
    assert_eq!(row(&paused, "bump")["state"], "unknown");
    assert_eq!(paused["residue"][0]["step"], "bump");
    assert!(paused["next"].as_str().unwrap().contains("resolve_step"));
    assert_eq!(home.deeds(), ["bump/do"]);
    pilot.refused(
        "resume_workflow",
        json!({"workflow_id": id}),
        "step.still_unknown",
    );
    let found = json!({"workflow_id": id, "step": "bump", "happened": true, "note": "It is in the ledger.", "approver": "Alice"});
    for (field, value, code) in [
        ("step", json!("set_a"), "step.not_unknown"),
        ("happened", json!("yes"), "argument.wrong_type"),
        ("note", json!(""), "argument.missing"),
        (
            "outputs",
            json!({"x": ["no", "scalar"]}),
            "argument.wrong_type",
        ),
        ("outputs", json!({"password": "hunter2"}), "argument.secret"),
    ] {
        let mut wrong = found.clone();
        wrong[field] = value;
        pilot.refused("resolve_step", wrong, code);
    }
    let settled = pilot.ok("resolve_step", found);
    assert_eq!(settled["reason"], "settled", "{settled}");
    assert!(
        settled["assurance"]
            .as_str()
            .unwrap()
            .contains("`attested`")
    );
    let mut answer = pilot.ok("resume_workflow", json!({"workflow_id": id}));
    while answer["outcome"] == "awaiting_approval" {
        answer = pilot.approve(&answer);
    }
    assert_eq!(answer["outcome"], "completed", "{answer}");
    assert_eq!(home.deeds(), ["bump/do", "set_a/do"]);

    let id = pilot.create(steps);
    pilot.run_approving(&id);
    let not = json!({"workflow_id": id, "step": "bump", "happened": false, "note": "It is not there.", "approver": "Alice"});
    pilot.ok("resolve_step", not);
    let mut answer = pilot.ok("resume_workflow", json!({"workflow_id": id}));
    while answer["outcome"] == "awaiting_approval" {
        answer = pilot.approve(&answer);
    }
    let keys: Vec<Value> = home
        .ledger()
        .iter()
        .filter(|l| l["tool"] == "bump")
        .map(|l| l["key"].clone())
        .collect();
    assert!(
        keys.last()
            .unwrap()
            .as_str()
            .unwrap()
            .ends_with("/bump/do/1"),
        "a new generation: {keys:?}"
    );
}

#[test]
fn a_companion_that_hangs_holds_up_nothing_else() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let mut hangs = store("look", "get", "a", json!(null));
    hangs["params"]["fault"] = json!("hang");
    let stuck = pilot.create(json!([hangs.clone()]));
    let running = pilot.ok(
        "run_workflow",
        json!({"workflow_id": stuck, "wait_seconds": 0}),
    );
    assert_eq!(running["outcome"], "running", "{running}");
    assert!(
        running["next"]
            .as_str()
            .unwrap()
            .contains("get_workflow_status")
    );
    let id = pilot.create(json!([store("set_a", "set", "a", json!("1"))]));
    assert_eq!(pilot.run_approving(&id)["outcome"], "completed");

    // A step's own time ends it.
    hangs["timeout_s"] = json!(1);
    let id = pilot.create_with(json!([hangs]), json!({"on_failure": "stop"}));
    let mut done = pilot.run(&id);
    while done["outcome"] == "running" {
        done = pilot.status(&id);
    }
    assert_eq!(done["outcome"], "failed", "{done}");
    assert_eq!(row(&done, "look")["code"], "companion.lost", "{done}");
}

#[test]
fn p15_what_a_rule_denies_runs_for_nobody() {
    let home = Home::new();
    home.write("config.toml", "[rules]\ndeny = [\"fake/store/un*\"]\n");
    let mut pilot = home.pilot();
    let refused = pilot.call(
        "create_workflow",
        json!({"name": "x", "steps": [store("rm", "unset", "a", json!(null))]}),
    );
    let refused = refused.unwrap_err();
    assert_eq!(refused["rule"], "fake/store/un*", "{refused}");
    assert!(home.deeds().is_empty());
    let id = pilot.create(json!([store("set_a", "set", "a", json!("1"))]));
    let plan = pilot.run(&id);
    assert_eq!(pilot.ok("approve", decision(&plan))["outcome"], "completed");
}

#[test]
fn p18_where_a_preview_was_none_it_is_not_said_that_nothing_was_changed() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let mut set = store("set_a", "set", "a", json!("1"));
    set["params"]["fault"] = json!("no_preview");
    set["params"]["fault_on"] = json!("preview");
    let id = pilot.create(json!([set]));
    let plan = pilot.run(&id);
    assert!(
        plan["approval"]["summary"]
            .to_string()
            .contains("companion.no_preview"),
        "{plan}"
    );
    let done = pilot.approve(&plan);
    assert_eq!(done["failure"]["code"], "companion.no_preview", "{done}");
    assert_eq!(
        done["residue"][0]["stays"], "whatever the failed call may have changed",
        "{done}"
    );
    assert_eq!(
        home.deeds(),
        Vec::<String>::new(),
        "nothing was sent after that"
    );
}

#[test]
fn p8_a_workflow_that_went_on_past_a_failure_says_so_at_its_end() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let half = step(
        "half",
        "note",
        json!({"text": "x", "fault": "error_partial"}),
    );
    let id = pilot.create_with(
        json!([half, store("set_b", "set", "b", json!("2"))]),
        json!({"on_failure": "continue"}),
    );
    let done = pilot.run_approving(&id);
    assert_eq!(done["outcome"], "completed", "{done}");
    assert_eq!(done["residue"][0]["step"], "half", "{done}");
    assert!(
        done["next"]
            .as_str()
            .unwrap()
            .contains("1 step(s) that failed"),
        "{done}"
    );
}
