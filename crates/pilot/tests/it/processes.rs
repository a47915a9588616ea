//! Several servers on one state directory, and one that was killed.

use serde_json::json;

use crate::support::{Home, Pilot, answer, decision, row, step, store, until};

#[test]
fn p18_two_servers_share_a_home() {
    let home = Home::new();
    let (mut one, mut two) = (home.pilot(), home.pilot());
    let id = one.create(json!([store("set_a", "set", "a", json!("1")), {"id": "ask", "gate": "Go on?"}, store("set_b", "set", "b", json!("2"))]));
    assert_eq!(two.ok("list_workflows", json!({}))["total"], 1);
    let plan = one.run(&id);
    // Decided here, asked there.
    let gate = two.approve(&plan);
    assert_eq!(gate["approval"]["kind"], "gate", "{gate}");
    assert_eq!(one.status(&id)["approval"]["id"], gate["approval"]["id"]);
    let done = one.approve(&gate);
    assert_eq!(done["outcome"], "completed", "{done}");
    two.refused("approve", decision(&gate), "approval.void");
    assert_eq!(home.deeds(), ["set_a/do", "set_b/do"]);
    let mut keys: Vec<_> = home
        .ledger()
        .iter()
        .map(|line| line["key"].clone())
        .collect();
    keys.dedup();
    assert_eq!(keys.len(), 2, "nothing was done twice");
    assert!(one.end().success() && two.end().success());
    let mut three = home.pilot();
    assert_eq!(
        three.ok("get_audit_log", json!({"verify": true}))["verified"],
        true
    );
}

#[test]
fn p18_of_two_that_decide_at_the_same_time_one_wins() {
    let home = Home::new();
    let (mut one, mut two) = (home.pilot(), home.pilot());
    for round in 0..10 {
        let id = one.create(json!([step("bump", "bump", json!({}))]));
        let plan = one.run(&id);
        let (here, there) = (
            one.begin_call("approve", decision(&plan)),
            two.begin_call("approve", decision(&plan)),
        );
        let answers = [one.wait(here).unwrap(), two.wait(there).unwrap()];
        let won = answers.iter().filter(|a| answer(a).is_ok()).count();
        assert_eq!(won, 1, "round {round}: {answers:?}");
        let lost = answers.iter().find_map(|a| answer(a).err()).unwrap();
        let code = lost["code"].as_str().unwrap();
        assert!(
            ["approval.void", "workflow.busy"].contains(&code),
            "round {round}: {lost}"
        );
        assert_eq!(home.deeds().len(), round + 1, "done once");
    }
}

#[test]
fn c4_many_workflows_run_beside_each_other() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let ids: Vec<String> = (0..40)
        .map(|i| {
            pilot.create(json!([
                store("set", "set", &format!("name_{i}"), json!(i)),
                store("look", "get", &format!("name_{i}"), json!(null)),
            ]))
        })
        .collect();
    let calls: Vec<u64> = ids
        .iter()
        .map(|id| pilot.begin_call("run_workflow", json!({"workflow_id": id})))
        .collect();
    let plans: Vec<_> = calls
        .into_iter()
        .map(|call| answer(&pilot.wait(call).unwrap()).unwrap())
        .collect();
    let calls: Vec<u64> = plans
        .iter()
        .map(|plan| pilot.begin_call("approve", decision(plan)))
        .collect();
    for (i, call) in calls.into_iter().enumerate() {
        let done = answer(&pilot.wait(call).unwrap()).unwrap();
        assert_eq!(done["outcome"], "completed", "{done}");
        assert_eq!(done["results"][1]["body"]["value"], i);
    }
    assert_eq!(home.deeds().len(), 40);
    assert_eq!(
        pilot.ok("get_audit_log", json!({"verify": true}))["verified"],
        true
    );
}

#[test]
fn p18_a_workflow_that_one_server_runs_is_seen_by_the_other() {
    let home = Home::new();
    let (mut one, mut two) = (home.pilot(), home.pilot());
    let mut hangs = store("look", "get", "a", json!(null));
    hangs["params"]["fault"] = json!("hang");
    hangs["timeout_s"] = json!(60);
    let id = one.create(json!([hangs]));
    let running = one.ok(
        "run_workflow",
        json!({"workflow_id": id, "wait_seconds": 0}),
    );
    assert_eq!(running["outcome"], "running");
    let seen = two.ok(
        "run_workflow",
        json!({"workflow_id": id, "wait_seconds": 0}),
    );
    assert_eq!(seen["outcome"], "running", "{seen}");
    one.kill();
    // Its owner is gone: the read is sent again, by the other.
    let taken = two.ok(
        "run_workflow",
        json!({"workflow_id": id, "wait_seconds": 0}),
    );
    assert_eq!(taken["outcome"], "running", "{taken}");
    let cancelled = two.ok(
        "cancel_workflow",
        json!({"workflow_id": id, "wait_seconds": 0}),
    );
    assert!(
        matches!(cancelled["outcome"].as_str(), Some("running" | "cancelled")),
        "{cancelled}"
    );
}

#[test]
fn p18_what_an_orphan_is_still_at_work_on_is_neither_probed_nor_sent_again_until_it_is_gone() {
    let home = Home::new();
    let mut one = home.pilot();
    let mut slow = store("set_a", "set", "a", json!("1"));
    slow["params"]["fault"] = json!("until_go");
    let id = one.create(json!([slow, store("set_b", "set", "b", json!("2"))]));
    let plan = one.run(&id);
    one.begin_call("approve", decision(&plan));
    until("the companion is at work", || home.waits());
    one.kill();
    let mut two = home.pilot();
    // Its owner is dead, and its owner's companion is not.
    let look = json!({"workflow_id": id, "wait_seconds": 0});
    for _ in 0..3 {
        let seen = two.ok("run_workflow", look.clone());
        assert_eq!(seen["outcome"], "running", "{seen}");
        assert_eq!(row(&seen, "set_a")["state"], "running", "{seen}");
    }
    two.refused("resume_workflow", look, "workflow.busy");
    let kinds = |pilot: &mut Pilot| -> Vec<String> {
        let rows = pilot.audit().into_iter();
        let own = rows.filter(|row| row["workflow"] == id.as_str());
        own.map(|row| row["kind"].as_str().unwrap().to_owned())
            .collect()
    };
    let so_far = kinds(&mut two);
    assert_eq!(
        so_far.iter().rfind(|k| *k != "call").unwrap(),
        "workflow.intent"
    );
    assert_eq!(home.deeds(), Vec::<String>::new());
    home.go();
    // Nobody has to ask for it again.
    let done = two.status(&id);
    assert_eq!(done["outcome"], "completed", "{done}");
    assert_eq!(home.deeds(), ["set_a/do", "set_b/do"], "done once");
    let all = kinds(&mut two);
    for kind in ["workflow.adopted", "workflow.probed"] {
        let times = all.iter().filter(|k| *k == kind).count();
        assert_eq!(times, 1, "{kind}: {all:?}");
    }
}

#[test]
fn p18_killed_after_the_intent_a_step_is_settled_by_a_probe() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let mut lost = store("set_a", "set", "a", json!("1"));
    // Done, and never answered.
    lost["params"]["fault"] = json!("lost");
    lost["params"]["fault_attempts"] = json!(1);
    let id = pilot.create(json!([lost, store("set_b", "set", "b", json!("2"))]));
    let plan = pilot.run(&id);
    pilot.begin_call("approve", decision(&plan));
    until("the change", || !home.ledger().is_empty());
    pilot.kill();
    let mut pilot = home.pilot();
    let seen = pilot.ok("get_workflow_status", json!({"workflow_id": id}));
    assert_eq!(seen["outcome"], "running", "{seen}");
    assert_eq!(row(&seen, "set_a")["state"], "running");
    assert!(seen["next"].as_str().unwrap().contains("run_workflow"));
    let mut answer = pilot.run(&id);
    while answer["outcome"] == "awaiting_approval" {
        answer = pilot.approve(&answer);
    }
    assert_eq!(answer["outcome"], "completed", "{answer}");
    assert_eq!(
        home.deeds(),
        ["set_a/do", "set_b/do"],
        "nothing was done twice"
    );
    assert_eq!(
        pilot.ok("get_audit_log", json!({"verify": true}))["verified"],
        true
    );
}

#[test]
fn p18_killed_after_the_intent_a_step_that_nothing_can_tell_of_is_unknown() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let id = pilot.create(json!([step("bump", "bump", json!({"fault": "lost"}))]));
    let plan = pilot.run(&id);
    pilot.begin_call("approve", decision(&plan));
    until("the change", || !home.ledger().is_empty());
    pilot.kill();
    let mut pilot = home.pilot();
    let paused = pilot.run(&id);
    assert_eq!(
        (&paused["outcome"], &paused["reason"]),
        (&json!("paused"), &json!("unknown")),
        "{paused}"
    );
    assert_eq!(row(&paused, "bump")["state"], "unknown");
    assert_eq!(home.deeds(), ["bump/do"], "it is not sent again");
}

#[test]
fn p12_after_a_restart_nothing_is_left_of_results() {
    let home = Home::new();
    home.set_store(&json!({"a": "1"}));
    let mut pilot = home.pilot();
    let id = pilot.create(json!([store("look", "get", "a", json!(null))]));
    let done = pilot.ok(
        "run_workflow",
        json!({"workflow_id": id, "wait_seconds": 0}),
    );
    drop(done);
    assert!(pilot.end().success());
    let mut pilot = home.pilot();
    let done = pilot.run(&id);
    assert_eq!(done["outcome"], "completed", "{done}");
    assert_eq!(done["results"], json!(null), "{done}");
}
