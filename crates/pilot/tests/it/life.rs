//! Waiting, progress, cancelled calls, and an orderly end.

use serde_json::{Value, json};

use crate::support::{Home, step, store, until};

#[test]
fn a_client_that_wants_progress_is_told_while_it_waits() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let mut hangs = store("look", "get", "a", json!(null));
    hangs["params"]["fault"] = json!("hang");
    let id = pilot.create(json!([step("peek", "peek", json!({"name": "a"})), hangs]));
    let call = json!({
        "name": "run_workflow", "arguments": {"workflow_id": id, "wait_seconds": 2},
        "_meta": {"progressToken": "p-1"},
    });
    let answered = pilot.request("tools/call", call).unwrap();
    assert_eq!(answered["structuredContent"]["outcome"], "running");
    let told: Vec<&Value> = pilot
        .notes
        .iter()
        .filter(|note| note["method"] == "notifications/progress")
        .collect();
    assert!(told.len() >= 2, "{told:?}");
    let progress: Vec<f64> = told
        .iter()
        .map(|note| note["params"]["progress"].as_f64().unwrap())
        .collect();
    assert!(
        progress.windows(2).all(|pair| pair[0] < pair[1]),
        "it only grows: {progress:?}"
    );
    assert!(
        told.iter()
            .all(|note| note["params"]["progressToken"] == "p-1")
    );
    assert!(
        told.iter()
            .any(|note| note["params"]["message"] == "1 of 2 steps are settled"),
        "{told:?}"
    );
}

#[test]
fn p18_a_call_that_is_cancelled_leaves_what_it_began() {
    let home = Home::new();
    let mut pilot = home.pilot();
    // Both reads are answered once both are there, so the first waits for the second workflow.
    let look = || json!([step("look", "peek", json!({"name": "a", "barrier": 2}))]);
    let (first, second) = (pilot.create(look()), pilot.create(look()));
    let call = pilot.begin_call(
        "run_workflow",
        json!({"workflow_id": first, "wait_seconds": 60}),
    );
    loop {
        // It has begun once its state says so.
        if pilot.ok("get_workflow_status", json!({"workflow_id": first}))["outcome"] == "running" {
            break;
        }
    }
    pilot.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": call}}));
    assert_eq!(pilot.run(&second)["outcome"], "completed");
    let done = pilot.status(&first);
    assert_eq!(done["outcome"], "completed", "the work went on: {done}");
    assert!(done["results"].is_array(), "and its results were kept");
    let rows = pilot.audit();
    let cancelled: Vec<&Value> = rows
        .iter()
        .filter(|row| row["payload"]["outcome"] == "cancelled")
        .collect();
    assert_eq!(cancelled.len(), 1);
    assert_eq!(cancelled[0]["payload"]["tool"], "run_workflow");
}

#[test]
fn p18_the_end_of_the_input_settles_what_is_in_flight() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let mut late = store("set_a", "set", "a", json!("1"));
    // Done, and answered by nobody: the step's own time ends the wait.
    late["params"]["fault"] = json!("lost");
    late["timeout_s"] = json!(1);
    let id = pilot.create(json!([late, store("set_b", "set", "b", json!("2"))]));
    let plan = pilot.run(&id);
    pilot.begin_call("approve", crate::support::decision(&plan));
    until("the call", || !home.ledger().is_empty());
    assert!(pilot.end().success());
    assert_eq!(home.deeds(), ["set_a/do"], "nothing new was begun");
    let mut pilot = home.pilot();
    let mut answer = pilot.run(&id);
    while matches!(answer["outcome"].as_str(), Some("awaiting_approval")) {
        answer = pilot.approve(&answer);
    }
    assert_eq!(answer["outcome"], "completed", "{answer}");
    assert_eq!(
        home.deeds(),
        ["set_a/do", "set_b/do"],
        "and nothing was done twice"
    );
}

#[test]
fn those_who_wait_are_answered_at_the_end() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let mut hangs = store("look", "get", "a", json!(null));
    hangs["params"]["fault"] = json!("hang");
    hangs["timeout_s"] = json!(2);
    let id = pilot.create(json!([hangs]));
    let call = pilot.begin_call(
        "run_workflow",
        json!({"workflow_id": id, "wait_seconds": 300}),
    );
    loop {
        if pilot.ok("get_workflow_status", json!({"workflow_id": id}))["outcome"] == "running" {
            break;
        }
    }
    pilot.signal("TERM");
    let answered = pilot.wait(call).unwrap();
    assert!(
        answered["structuredContent"]["outcome"].is_string(),
        "{answered}"
    );
    assert!(pilot.ended().success());
}

#[test]
fn it_ends_well_however_it_is_told_to() {
    for how in ["eof", "TERM", "INT"] {
        for used in [false, true] {
            let home = Home::new();
            let mut pilot = if used { home.pilot() } else { home.fresh() };
            // It listens for signals once it has answered.
            pilot.request("ping", json!({})).unwrap();
            if used {
                let id = pilot.create(json!([store("set_a", "set", "a", json!("1"))]));
                pilot.run_approving(&id);
            }
            let children = format!("/proc/{0}/task/{0}/children", pilot.pid());
            let companions = std::fs::read_to_string(children).unwrap();
            let status = if how == "eof" {
                pilot.end()
            } else {
                pilot.signal(how);
                pilot.ended()
            };
            assert!(status.success(), "{how}, used: {used}: {status}");
            for companion in companions.split_whitespace() {
                assert!(
                    !std::path::Path::new(&format!("/proc/{companion}")).exists(),
                    "{how}: a companion lives on"
                );
            }
        }
    }
}

#[test]
fn what_is_logged_goes_to_standard_error_and_nothing_is_by_default() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let id = pilot.create(json!([store("set_a", "set", "a", json!("1"))]));
    pilot.run_approving(&id);
    pilot.signal("TERM");
    assert!(pilot.ended().success());
    assert_eq!(pilot.log(), "");
}
