//! What is undone, in which order, and what stays behind.

use serde_json::{Value, json};

use crate::support::{Home, failing, row, step, store};

#[test]
fn p8_what_was_done_is_undone_last_first_and_verified() {
    let home = Home::new();
    home.set_store(&json!({"a": "old", "c": "gone soon"}));
    let before = home.store();
    let mut pilot = home.pilot();
    let id = pilot.create(json!([
        store("set_a", "set", "a", json!("new")),
        store("set_b", "set", "b", json!("new")),
        store("rm_c", "unset", "c", json!(null)),
        failing("boom"),
        store("never", "set", "d", json!("x")),
    ]));
    let done = pilot.run_approving(&id);
    assert_eq!(done["outcome"], "rolled_back", "{done}");
    assert_eq!(
        home.deeds(),
        [
            "set_a/do",
            "set_b/do",
            "rm_c/do",
            "rm_c/undo",
            "set_b/undo",
            "set_a/undo"
        ]
    );
    assert_eq!(home.store(), before, "the values from before are back");
    assert_eq!(
        done["failure"],
        json!({"step": "boom", "code": "fake.broken", "error": "it broke"})
    );
    for id in ["set_a", "set_b", "rm_c"] {
        assert_eq!(row(&done, id)["state"], "rolled_back");
        assert_eq!(row(&done, id)["undo"]["verified"], true);
    }
    assert_eq!(row(&done, "never")["state"], "pending");
    assert!(done.get("residue").is_none(), "{done}");
}

#[test]
fn p9_undoing_leaves_the_same_trail_as_doing() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let id = pilot.create(json!([
        store("set_a", "set", "a", json!("1")),
        failing("boom")
    ]));
    pilot.run_approving(&id);
    let rows = pilot.audit();
    let of = |kind: &str, direction: &str| {
        let found: Vec<&Value> = rows
            .iter()
            .filter(|row| row["kind"] == kind && row["workflow"] == id.as_str())
            .filter(|row| {
                row["payload"]["step"] == "set_a" && row["payload"]["direction"] == direction
            })
            .collect();
        assert_eq!(found.len(), 1, "{kind} {direction}");
        found[0].clone()
    };
    for direction in ["do", "undo"] {
        let (intent, outcome) = (
            of("workflow.intent", direction),
            of("workflow.outcome", direction),
        );
        assert!(intent["seq"].as_u64() < outcome["seq"].as_u64());
        assert!(
            intent["payload"]["key"]
                .as_str()
                .unwrap()
                .ends_with(&format!("/set_a/{direction}/0"))
        );
    }
    let kinds: Vec<&str> = rows.iter().filter_map(|row| row["kind"].as_str()).collect();
    for kind in [
        "workflow.rollback_started",
        "workflow.undone",
        "workflow.rollback_ended",
    ] {
        assert!(kinds.contains(&kind), "{kind}");
    }
}

#[test]
fn p10_what_cannot_be_undone_is_said_first_with_why_and_what_stays() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let id = pilot.create(json!([
        store("set_a", "set", "a", json!("1")),
        store("mail", "send", "m", json!(null)),
        step("note", "note", json!({"text": "x"})),
        failing("boom"),
    ]));
    let done = pilot.run_approving(&id);
    assert_eq!(done["outcome"], "rolled_back", "{done}");
    assert_eq!(
        done.as_object().unwrap().keys().next().unwrap(),
        "residue",
        "it comes first"
    );
    for (id, why) in [
        ("mail", "a message that was sent cannot be taken back"),
        ("note", "undo"),
    ] {
        let row = row(&done, id);
        assert_eq!(row["state"], "rollback_skipped", "{row}");
        assert!(row["undo"]["why"].as_str().unwrap().contains(why), "{row}");
        assert!(!row["undo"]["stays"].as_str().unwrap().is_empty(), "{row}");
    }
    assert_eq!(done["residue"].as_array().unwrap().len(), 2, "{done}");
    assert_eq!(row(&done, "set_a")["state"], "rolled_back");
    assert!(done["next"].as_str().unwrap().contains("residue"));
    assert!(
        pilot
            .audit()
            .iter()
            .any(|row| row["kind"] == "workflow.undo_skipped")
    );
}

#[test]
fn p8_an_undo_that_fails_is_a_state_of_its_own_and_can_be_tried_again() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let mut set = store("set_a", "set", "a", json!("1"));
    set["undo"] = json!({"tool": "store", "params": {"action": "unset", "name": "a"}});
    // The undo that the companion gives for `note` is the step's own, which fails the first times.
    let mut note = step("note", "note", json!({"text": "x"}));
    note["undo"] = json!({"tool": "note", "params": {"text": "undone", "fault": "error_none", "fault_on": "undo", "fault_attempts": 1}});
    let id = pilot.create(json!([set, note, failing("boom")]));
    let done = pilot.run_approving(&id);
    assert_eq!(done["outcome"], "rollback_failed", "{done}");
    assert_eq!(done.as_object().unwrap().keys().next().unwrap(), "residue");
    assert_eq!(row(&done, "note")["state"], "rollback_failed");
    assert_eq!(
        row(&done, "set_a")["state"],
        "rolled_back",
        "the others are undone all the same"
    );
}

#[test]
fn p8_a_workflow_may_stop_instead_and_be_rolled_back_by_hand() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let id = pilot.create_with(
        json!([
            store("set_a", "set", "a", json!("1")),
            store("set_b", "set", "b", json!("2")),
            failing("boom")
        ]),
        json!({"on_failure": "stop"}),
    );
    let failed = pilot.run_approving(&id);
    assert_eq!(failed["outcome"], "failed", "{failed}");
    assert_eq!(failed["residue"].as_array().unwrap().len(), 2);
    assert!(failed["next"].as_str().unwrap().contains("rollback"));
    let asked = pilot.ok("rollback", json!({"workflow_id": id}));
    assert_eq!(asked["approval"]["kind"], "rollback", "{asked}");
    let order: Vec<&Value> = asked["approval"]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| &step["id"])
        .collect();
    assert_eq!(order, ["set_b", "set_a"]);
    assert_eq!(
        home.deeds(),
        ["set_a/do", "set_b/do"],
        "nothing is undone before it is approved"
    );
    let done = pilot.approve(&asked);
    assert_eq!(done["outcome"], "rolled_back", "{done}");
    assert_eq!(
        home.deeds(),
        ["set_a/do", "set_b/do", "set_b/undo", "set_a/undo"]
    );
    pilot.refused(
        "rollback",
        json!({"workflow_id": id}),
        "workflow.not_undoable",
    );
}

#[test]
fn p8_a_completed_workflow_can_be_undone_and_one_that_only_read_cannot() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let id = pilot.create(json!([store("set_a", "set", "a", json!("1"))]));
    assert_eq!(pilot.run_approving(&id)["outcome"], "completed");
    let asked = pilot.ok("rollback", json!({"workflow_id": id}));
    assert_eq!(pilot.approve(&asked)["outcome"], "rolled_back");
    assert_eq!(home.store(), json!({}));
    let id = pilot.create(json!([store("look", "get", "a", json!(null))]));
    assert_eq!(pilot.run(&id)["outcome"], "completed");
    pilot.refused(
        "rollback",
        json!({"workflow_id": id}),
        "workflow.nothing_to_undo",
    );
}

#[test]
fn p8_a_workflow_may_go_on_past_a_failure() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let id = pilot.create_with(
        json!([failing("boom"), store("set_a", "set", "a", json!("1"))]),
        json!({"on_failure": "continue"}),
    );
    let done = pilot.run_approving(&id);
    assert_eq!(done["outcome"], "completed", "{done}");
    assert_eq!(home.deeds(), ["set_a/do"]);
    assert_eq!(row(&done, "boom")["state"], "failed");
}

#[test]
fn p4_a_cancelled_workflow_does_nothing_more() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let id = pilot.create(json!([store("set_a", "set", "a", json!("1"))]));
    let plan = pilot.run(&id);
    let done = pilot.ok("cancel_workflow", json!({"workflow_id": id}));
    assert_eq!(
        (&done["outcome"], &done["reason"]),
        (&json!("cancelled"), &json!("cancelled"))
    );
    pilot.refused("approve", crate::support::decision(&plan), "approval.void");
    pilot.refused(
        "cancel_workflow",
        json!({"workflow_id": id}),
        "workflow.ended",
    );
    assert!(home.deeds().is_empty());
}

#[test]
fn p5_p8_what_an_undo_puts_back_is_shown_before_it_is_consented_to() {
    let home = Home::new();
    home.set_store(&json!({"a": "old"}));
    let mut pilot = home.pilot();
    let mut noted = step("noted", "note", json!({"text": "x"}));
    noted["undo"] = json!({"tool": "erase", "params": {"name": "a"}});
    let id = pilot.create(json!([store("set_a", "set", "a", json!("new")), noted]));
    let plan = pilot.run(&id);
    let steps = &plan["approval"]["steps"];
    assert_eq!(steps[0]["undo"], "set value = old (exact)", "{plan}");
    assert_eq!(
        steps[1]["undo"],
        "fake/erase {\"name\":\"a\"} (declared by the step, destructive, not asked about again)"
    );
    pilot.approve(&plan);
    let asked = pilot.ok("rollback", json!({"workflow_id": id}));
    let summary = asked["approval"]["summary"].to_string();
    assert!(
        summary.contains("`set_a`: set value = old (exact)"),
        "{asked}"
    );
}

#[test]
fn p8_what_a_step_says_it_did_is_undone_though_its_own_verify_does_not_show_it() {
    let home = Home::new();
    home.set_store(&json!({"a": "old", "b": "other"}));
    let mut pilot = home.pilot();
    let mut erase = step("erase_a", "erase", json!({"name": "a"}));
    // Looks in the wrong place, and does not say what is there while the step is not in effect.
    erase["verify"] = json!({"tool": "peek", "params": {"name": "b"}, "expect": {"/value": null}});
    erase["undo"] =
        json!({"tool": "store", "params": {"action": "set", "name": "a", "value": "old"}});
    let id = pilot.create(json!([erase, store("never", "set", "c", json!("x"))]));
    let done = pilot.run_approving(&id);
    assert_eq!(done["outcome"], "rolled_back", "{done}");
    assert_eq!(done["failure"]["code"], "step.not_verified", "{done}");
    assert_eq!(home.store(), json!({"a": "old", "b": "other"}));
    // The verify has never shown anything, so it does not show that it is undone either.
    assert_eq!(row(&done, "erase_a")["undo"]["verified"], false, "{done}");
    assert_eq!(done["residue"][0]["step"], "erase_a", "{done}");
}
