//! What waits for a person, and what a person's decision covers.

use serde_json::json;

use crate::support::{Home, decision, failing, row, step, store, until};

#[test]
fn p6_reads_run_by_themselves() {
    let home = Home::new();
    home.set_store(&json!({"a": "one"}));
    let mut pilot = home.pilot();
    let id = pilot.create(json!([
        store("look", "get", "a", json!(null)),
        step("peek", "peek", json!({"name": "a"}))
    ]));
    let done = pilot.run(&id);
    assert_eq!(done["outcome"], "completed", "{done}");
    assert_eq!(done["results"][0]["step"], "look");
    assert_eq!(done["results"][0]["body"]["value"], "one");
    assert_eq!(done["results"][1]["body"]["value"], "one");
    let again = pilot.status(&id);
    assert!(
        again.get("results").is_none(),
        "each result is given out once: {again}"
    );
}

#[test]
fn p5_a_plan_is_shown_and_nothing_runs_before_it_is_approved() {
    let home = Home::new();
    home.set_store(&json!({"a": "old"}));
    let mut pilot = home.pilot();
    let id = pilot.create(json!([
        store("look", "get", "a", json!(null)),
        store("set_a", "set", "a", json!("new")),
        store("send", "send", "m", json!(null)),
    ]));
    let seen = pilot.ok("review_workflow", json!({"workflow_id": id}));
    assert_eq!(seen["state"], "pending");
    let asked = pilot.run(&id);
    assert_eq!(asked["outcome"], "awaiting_approval");
    let approval = &asked["approval"];
    assert_eq!(approval["kind"], "plan");
    assert_eq!(
        approval["digest"], seen["digest"],
        "what was reviewed is what is asked about"
    );
    let set = &approval["steps"][1];
    assert_eq!(set["target"]["name"], "a", "{set}");
    assert_eq!(set["changes"], json!(["value: old → new"]));
    assert_eq!(set["undo"], "set value = old (exact)");
    assert_eq!(
        approval["steps"][2]["undo"],
        "none: a message that was sent cannot be taken back"
    );
    let summary = approval["summary"].to_string();
    assert!(
        summary.contains("value: old → new") && summary.contains("undone at once"),
        "{summary}"
    );
    assert!(
        approval["assurance"]
            .as_str()
            .unwrap()
            .contains("`attested`")
    );
    assert!(
        asked["next"]
            .as_str()
            .unwrap()
            .contains(approval["id"].as_str().unwrap())
    );
    assert_eq!(
        home.ledger(),
        Vec::<serde_json::Value>::new(),
        "nothing ran"
    );
    assert!(home.deeds().is_empty());

    let done = pilot.approve(&asked);
    assert_eq!(done["outcome"], "completed", "{done}");
    assert!(
        done["assurance"]
            .as_str()
            .unwrap()
            .starts_with("recorded as `attested`")
    );
    assert_eq!(home.deeds(), ["set_a/do", "send/do"]);
}

#[test]
fn p4_p6_each_destructive_step_asks_again() {
    let home = Home::new();
    home.set_store(&json!({"a": "1", "b": "2"}));
    let mut pilot = home.pilot();
    let id = pilot.create(json!([
        store("rm_a", "unset", "a", json!(null)),
        store("rm_b", "unset", "b", json!(null))
    ]));
    let plan = pilot.run(&id);
    let first = pilot.approve(&plan);
    assert_eq!(
        (
            &first["approval"]["kind"],
            &first["approval"]["steps"][0]["id"]
        ),
        (&json!("step"), &json!("rm_a"))
    );
    assert_eq!(row(&first, "rm_a")["state"], "awaiting_approval");
    assert!(home.deeds().is_empty());
    let second = pilot.approve(&first);
    assert_eq!(second["approval"]["steps"][0]["id"], "rm_b");
    assert_eq!(home.deeds(), ["rm_a/do"]);
    let done = pilot.approve(&second);
    assert_eq!(done["outcome"], "completed", "{done}");
    assert_eq!(home.deeds(), ["rm_a/do", "rm_b/do"]);
    assert_eq!(home.store(), json!({}));
}

#[test]
fn p6_a_tool_that_says_nothing_of_itself_asks_as_well() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let id = pilot.create(json!([step("plain", "plain", json!({"text": "x"}))]));
    let plan = pilot.run(&id);
    let asked = pilot.approve(&plan);
    assert_eq!(asked["approval"]["kind"], "step", "{asked}");
    assert!(home.deeds().is_empty());
}

#[test]
fn p6_one_decision_covers_the_steps_that_it_names_and_no_others() {
    let home = Home::new();
    home.set_store(&json!({"a": "1", "b": "2", "c": "3"}));
    let mut pilot = home.pilot();
    let id = pilot.create(json!([
        store("rm_a", "unset", "a", json!(null)),
        store("rm_b", "unset", "b", json!(null)),
        store("rm_c", "unset", "c", json!(null)),
    ]));
    let plan = pilot.run(&id);
    let mut named = decision(&plan);
    named["steps"] = json!(["rm_a", "rm_c", "nobody"]);
    let refused = pilot.refused("approve", named.clone(), "approval.steps");
    assert_eq!(refused["step"], "nobody");
    named["steps"] = json!(["rm_a", "rm_c"]);
    named["comment"] = json!("These two are fine.");
    let asked = pilot.ok("approve", named);
    assert_eq!(asked["approval"]["steps"][0]["id"], "rm_b", "{asked}");
    assert_eq!(home.deeds(), ["rm_a/do"]);
    let done = pilot.approve(&asked);
    assert_eq!(done["outcome"], "completed", "{done}");
    assert_eq!(home.deeds(), ["rm_a/do", "rm_b/do", "rm_c/do"]);
}

#[test]
fn p6_an_approval_is_good_once_and_for_what_it_is_about() {
    let home = Home::new();
    home.set_store(&json!({"a": "1"}));
    let mut pilot = home.pilot();
    let id = pilot.create(json!([store("rm_a", "unset", "a", json!(null))]));
    let other = pilot.create(json!([store("rm_a", "unset", "a", json!(null))]));
    let plan = pilot.run(&id);
    let of_other = pilot.run(&other);
    // Of another workflow, made up, or used before.
    let mut wrong = decision(&of_other);
    wrong["workflow_id"] = json!(id);
    let refused = pilot.refused("approve", wrong, "approval.void");
    assert_eq!(refused["open"], plan["approval"]["id"]);
    let mut made_up = decision(&plan);
    made_up["approval_id"] = json!("ap_00000000000000000000000000000000");
    pilot.refused("approve", made_up.clone(), "approval.void");
    made_up["reason"] = json!("no");
    pilot.refused("reject", made_up, "approval.void");
    let step = pilot.approve(&plan);
    pilot.refused("approve", decision(&plan), "approval.void");
    assert!(home.deeds().is_empty());
    pilot.approve(&step);
    assert_eq!(home.deeds(), ["rm_a/do"]);
}

#[test]
fn p6_what_changed_since_the_approval_is_asked_about_anew() {
    let home = Home::new();
    home.set_store(&json!({"a": "1"}));
    let mut pilot = home.pilot();
    let id = pilot.create(json!([store("rm_a", "unset", "a", json!(null))]));
    let plan = pilot.run(&id);
    let asked = pilot.approve(&plan);
    home.set_store(&json!({"a": "somebody else's"}));
    let paused = pilot.approve(&asked);
    assert_eq!(
        (&paused["outcome"], &paused["reason"]),
        (&json!("paused"), &json!("drift")),
        "{paused}"
    );
    assert!(!paused["drift"].as_array().unwrap().is_empty());
    assert!(home.deeds().is_empty(), "nothing was sent");
    let plan = pilot.ok("resume_workflow", json!({"workflow_id": id}));
    let asked = pilot.approve(&plan);
    assert!(
        asked["approval"]["summary"]
            .to_string()
            .contains("somebody else's"),
        "{asked}"
    );
    assert_eq!(pilot.approve(&asked)["outcome"], "completed");
}

#[test]
fn p4_a_gate_waits_for_a_person() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let id = pilot.create(json!([
        step("one", "note", json!({"text": "1"})),
        {"id": "ask", "gate": "Is the site still up?"},
        step("two", "note", json!({"text": "2"})),
    ]));
    let plan = pilot.run(&id);
    let gate = pilot.approve(&plan);
    assert_eq!(gate["approval"]["kind"], "gate");
    assert_eq!(
        gate["approval"]["summary"],
        json!(["Gate `ask`: Is the site still up?"])
    );
    assert_eq!(home.deeds(), ["one/do"]);
    let done = pilot.approve(&gate);
    assert_eq!(done["outcome"], "completed");
    assert_eq!(home.deeds(), ["one/do", "two/do"]);
}

#[test]
fn p4_a_plan_that_is_rejected_is_cancelled() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let id = pilot.create(json!([store("set_a", "set", "a", json!("1"))]));
    let plan = pilot.run(&id);
    let mut no = decision(&plan);
    no["reason"] = json!("Not today.");
    let rejected = pilot.ok("reject", no);
    assert_eq!(
        (&rejected["outcome"], &rejected["reason"]),
        (&json!("cancelled"), &json!("rejected")),
        "{rejected}"
    );
    assert!(rejected.get("residue").is_none());
    assert!(
        rejected["assurance"]
            .as_str()
            .unwrap()
            .contains("`attested`")
    );
    assert_eq!(rejected["decisions"][0]["decision"], "rejected");
    assert!(home.deeds().is_empty());
}

#[test]
fn p8_a_step_that_is_rejected_undoes_what_was_done() {
    let home = Home::new();
    home.set_store(&json!({"b": "1"}));
    let mut pilot = home.pilot();
    let steps = json!([
        store("set_a", "set", "a", json!("1")),
        store("rm_b", "unset", "b", json!(null))
    ]);
    let id = pilot.create(steps.clone());
    let plan = pilot.run(&id);
    let mut no = decision(&pilot.approve(&plan));
    no["reason"] = json!("Not this one.");
    let rejected = pilot.ok("reject", no);
    assert_eq!(rejected["outcome"], "rolled_back", "{rejected}");
    assert_eq!(home.deeds(), ["set_a/do", "set_a/undo"]);
    assert_eq!(home.store(), json!({"b": "1"}));

    let id = pilot.create_with(steps, json!({"on_reject": "stop"}));
    let plan = pilot.run(&id);
    let mut no = decision(&pilot.approve(&plan));
    no["reason"] = json!("Not this one.");
    let stopped = pilot.ok("reject", no);
    assert_eq!(stopped["outcome"], "cancelled", "{stopped}");
    assert_eq!(
        stopped["residue"][0]["step"], "set_a",
        "what stays behind is said"
    );
    assert_eq!(home.store(), json!({"a": "1", "b": "1"}));
}

#[test]
fn p7_an_approval_expires_and_resuming_asks_anew() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let id = pilot.create_with(
        json!([store("set_a", "set", "a", json!("1"))]),
        json!({"approval_timeout_s": 1}),
    );
    let plan = pilot.run(&id);
    let pilot = std::cell::RefCell::new(pilot);
    until("the expiry", || {
        pilot.borrow_mut().status(&id)["outcome"] == "paused"
    });
    let mut pilot = pilot.into_inner();
    let paused = pilot.status(&id);
    assert_eq!(paused["reason"], "approval_expired");
    pilot.refused("approve", decision(&plan), "approval.void");
    assert!(home.deeds().is_empty());
    let again = pilot.ok("resume_workflow", json!({"workflow_id": id}));
    assert_eq!(again["approval"]["kind"], "plan", "{again}");
    assert_ne!(again["approval"]["id"], plan["approval"]["id"]);
}

#[test]
fn p5_an_operator_may_ask_about_destructive_plans_only_and_for_better_assurance() {
    let home = Home::new();
    home.write(
        "config.toml",
        "plan_approval = \"destructive\"\nmin_assurance = \"authenticated\"\n",
    );
    home.set_store(&json!({"a": "1"}));
    let mut pilot = home.pilot();
    let id = pilot.create(json!([store("set_a", "set", "a", json!("2"))]));
    assert_eq!(pilot.run(&id)["outcome"], "completed");
    let id = pilot.create(json!([store("rm_a", "unset", "a", json!(null))]));
    let plan = pilot.run(&id);
    let refused = pilot.refused("approve", decision(&plan), "approval.assurance");
    assert_eq!(refused["required"], "authenticated");
    let mut no = decision(&plan);
    no["reason"] = json!("x");
    pilot.refused("reject", no, "approval.assurance");
    assert_eq!(home.deeds(), ["set_a/do"]);
}

#[test]
fn p5_an_undo_that_may_destroy_is_asked_about_though_its_step_is_not() {
    let home = Home::new();
    home.write("config.toml", "plan_approval = \"destructive\"\n");
    home.set_store(&json!({"a": "1"}));
    let mut pilot = home.pilot();
    let mut noted = step("noted", "note", json!({"text": "x"}));
    noted["undo"] = json!({"tool": "erase", "params": {"name": "a"}});
    let id = pilot.create(json!([noted, failing("boom")]));
    let plan = pilot.run(&id);
    assert_eq!(plan["approval"]["kind"], "plan", "{plan}");
    assert!(
        plan["approval"]["summary"]
            .to_string()
            .contains("destructive, not asked about again"),
        "{plan}"
    );
    assert_eq!(home.deeds(), Vec::<String>::new());
}

#[test]
fn p4_the_account_of_a_decision_is_the_connections_own() {
    let home = Home::new();
    let mut pilot = home.pilot_as("agent\u{202E}x", "7");
    let id = pilot.create(json!([
        store("set_a", "set", "a", json!("1")),
        failing("boom")
    ]));
    let plan = pilot.run(&id);
    let mut named = decision(&plan);
    named["approver"] = json!("os:somebody");
    let done = pilot.ok("approve", named.clone());
    let decided = &done["decisions"][0];
    assert_eq!(
        (&decided["approver"], &decided["assurance"]),
        (&json!("os:somebody"), &json!("attested"))
    );
    let account = decided["account"].as_str().unwrap();
    assert!(account.ends_with(" via stdio (agentx/7)"), "{account}");
    for field in ["account", "assurance", "principal"] {
        let mut more = named.clone();
        more[field] = json!("signed");
        pilot.refused("approve", more, "argument.unknown");
    }
}

#[test]
fn p6_a_persons_words_are_taken_as_they_are_or_not_at_all() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let id = pilot.create(json!([store("set_a", "set", "a", json!("1"))]));
    let plan = pilot.run(&id);
    for (field, value, code) in [
        ("approver", json!("Al\u{202E}ice"), "argument.unclean"),
        ("approver", json!("<b>Alice</b>"), "argument.unclean"),
        ("approver", json!("  "), "argument.unclean"),
        ("approver", json!(null), "argument.missing"),
        ("approver", json!(["Alice"]), "argument.wrong_type"),
        ("comment", json!("fine\u{200b}"), "argument.unclean"),
        ("comment", json!("x".repeat(2001)), "argument.unclean"),
        (
            "comment",
            json!("Bearer abcdefghijklmnopqrstuvwxyz"),
            "argument.secret",
        ),
        ("steps", json!("set_a"), "argument.wrong_type"),
    ] {
        let mut wrong = decision(&plan);
        wrong[field] = value;
        pilot.refused("approve", wrong, code);
    }
    let mut no = decision(&plan);
    pilot.refused("reject", no.clone(), "argument.missing");
    no["reason"] = json!("  ");
    pilot.refused("reject", no, "argument.missing");
    assert_eq!(
        pilot.status(&id)["approval"]["id"],
        plan["approval"]["id"],
        "it is still open"
    );
}
