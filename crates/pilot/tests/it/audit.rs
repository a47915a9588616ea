//! One row for each call, in a chain that tells when it was tampered with.

use serde_json::{Value, json};

use crate::support::{Home, store};

#[test]
fn p15_each_call_leaves_one_row_whatever_came_of_it() {
    let home = Home::new();
    let mut pilot = home.pilot_as("agent", "7");
    let id = pilot.create(json!([store("look", "get", "a", json!(null))]));
    pilot.run(&id);
    pilot.refused(
        "run_workflow",
        json!({"workflow_id": "wf_nobody"}),
        "workflow.unknown",
    );
    pilot.refused("run_workflow", json!({"workflow": id}), "argument.unknown");
    pilot.refused("approve", json!([1]), "argument.wrong_type");
    let rows = pilot.audit();
    let calls: Vec<&Value> = rows.iter().filter(|row| row["kind"] == "call").collect();
    let told: Vec<(&str, &str)> = calls
        .iter()
        .map(|row| {
            (
                row["payload"]["tool"].as_str().unwrap(),
                row["payload"]["outcome"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("create_workflow", "ok"),
            ("run_workflow", "ok"),
            ("run_workflow", "error"),
            ("run_workflow", "error"),
            ("approve", "error"),
        ]
    );
    assert_eq!(calls[2]["payload"]["code"], "workflow.unknown");
    assert_eq!(calls[1]["workflow"], id.as_str());
    assert!(
        calls[2].get("workflow").is_none(),
        "what is no id is none of a row's"
    );
    for row in &calls {
        assert_eq!(row["payload"]["client"], "agent/7");
        assert!(row["actor"].as_str().unwrap().starts_with("os:"));
        assert!(row["at"].as_str().unwrap().ends_with('Z'));
    }
    let seqs: Vec<u64> = rows
        .iter()
        .map(|row| row["seq"].as_u64().unwrap())
        .collect();
    assert!(seqs.iter().copied().eq(1..=rows.len() as u64), "{seqs:?}");
    let of_one = pilot.ok("get_audit_log", json!({"workflow_id": id}));
    assert!(
        of_one["rows"]
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["workflow"] == id.as_str())
    );
}

#[test]
fn p15_the_trail_is_verified_and_an_altered_row_is_found() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let id = pilot.create(json!([store("set_a", "set", "a", json!("1"))]));
    pilot.run_approving(&id);
    let whole = pilot.ok("get_audit_log", json!({"verify": true}));
    assert_eq!(whole["verified"], true, "{whole}");
    assert!(whole["checked"].as_u64().unwrap() > 5);
    assert_eq!(whole["head"]["hash"].as_str().unwrap().len(), 64);
    assert!(whole.get("broken").is_none());
    assert!(pilot.end().success());

    let path = home.root().join("pilot.db");
    let mut bytes = std::fs::read(&path).unwrap();
    // The name of the workflow, as it stands in the event: a row's payload then has another hash.
    let name = b"\"name\":\"A test\"";
    let at = bytes
        .windows(name.len())
        .position(|window| window == name)
        .unwrap();
    bytes[at + 9] = b'B';
    std::fs::write(&path, bytes).unwrap();
    let mut pilot = home.pilot();
    let broken = pilot.ok("get_audit_log", json!({"verify": true}));
    assert_eq!(broken["verified"], false, "{broken}");
    assert!(broken["broken"]["seq"].as_u64().unwrap() > 0, "{broken}");
    assert!(broken["next"].as_str().unwrap().contains("operator"));
}

#[test]
fn p15_the_trace_of_a_call_is_kept_on_its_row() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let params =
        json!({"name": "list_workflows", "arguments": {}, "_meta": {"traceparent": trace}});
    pilot.request("tools/call", params).unwrap();
    assert_eq!(pilot.audit()[0]["payload"]["traceparent"], trace);
}

#[test]
fn p15_a_large_payload_is_cut_in_what_is_shown_and_not_in_what_is_kept() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let steps: Vec<Value> = (0..100)
        .map(|i| {
            store(
                &format!("look_{i}"),
                "get",
                &format!("name_{i}"),
                json!(null),
            )
        })
        .collect();
    pilot.create(json!(steps));
    let rows = pilot.audit();
    let made = rows
        .iter()
        .find(|row| row["kind"] == "workflow.created")
        .unwrap();
    assert_eq!(made["payload_truncated"], true);
    assert!(made["payload"].to_string().len() < 3_000);
    assert_eq!(
        pilot.ok("get_audit_log", json!({"verify": true}))["verified"],
        true
    );
}
