//! Over the whole table: an undo is a call of this same tool that would be taken.

use serde_json::{Map, Value, json};

use crate::placing::{another_host, clustered};
use crate::support::Lab;

/// A value for each argument that a change may need; what names an object names one that is there.
fn sample(lab: &Lab, vm: &Value, snapshot: &Value, argument: &str) -> Option<Value> {
    Some(match argument {
        "moref" => vm["moref"].clone(),
        "name" | "new_name" => json!("fresh"),
        "folder" => json!("/DC0/vm"),
        "datastore" => json!("LocalDS_0"),
        "host_system" => json!(another_host(vm)),
        "resource_pool" => json!("/DC0/host/DC0_C0/Resources"),
        "network" => json!("VM Network"),
        "snapshot_id" => snapshot.clone(),
        "snapshot_name" => json!("s"),
        "path" => json!("[LocalDS_0] none/none.vmx"),
        "cpu" => json!(2),
        "host" => json!("127.0.0.1"),
        "port" => json!(lab.vcsim.port),
        _ => return None,
    })
}

/// Which of the arguments that an action may take it is given.
fn arguments(
    lab: &Lab,
    vm: &Value,
    snapshot: &Value,
    word: &str,
    row: &Value,
) -> Map<String, Value> {
    let mut given = Map::new();
    let required = row["required"].as_array().unwrap();
    let taken = row["arguments"].as_array().unwrap();
    let wanted: &[&str] = match word {
        "reconfigure" => &["moref", "cpu"],
        "migrate" => &["moref", "host_system"],
        "snapshot_revert" | "snapshot_delete" => &["moref", "snapshot_id"],
        "mark_vm" | "deploy_template" => &["moref", "resource_pool"],
        "register" | "create_vm" => &["resource_pool", "folder"],
        _ => &["moref"],
    };
    let names = wanted
        .iter()
        .copied()
        .filter(|name| taken.iter().any(|taken| taken == name))
        .chain(required.iter().filter_map(Value::as_str));
    for name in names {
        if let Some(value) = sample(lab, vm, snapshot, name) {
            given.insert(name.to_owned(), value);
        }
    }
    given
}

/// Whether the tool would take these arguments, whatever then becomes of the call.
fn is_taken(lab: &Lab, call: &Value) -> bool {
    let mut asked = call.clone();
    asked["preview"] = json!(true);
    let answer = lab.server.call(asked);
    let code = answer.body["code"].as_str().unwrap_or_default();
    !["argument.", "action.", "vm.missing", "connection."]
        .iter()
        .any(|start| code.starts_with(start))
}

#[test]
fn c9_every_undo_of_the_table_is_an_action_of_it_with_arguments_that_it_takes() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = clustered(&lab);
    let of = json!({ "moref": vm["moref"], "snapshot_name": "s" });
    let snapshot = lab.call("snapshot_create", of).ok()["snapshot"].clone();
    let tools = lab.server.request("tools/list", json!({}));
    let tool = &tools["result"]["tools"][0];
    let rows = tool["_meta"]["pilothouse/table"]["rows"]
        .as_object()
        .unwrap();
    let key = json!({ "pilothouse/key": "wf_1/a/do/0", "pilothouse/attempt": 1 });
    let mut seen = Vec::new();
    for (word, row) in rows {
        let is_change = row["risk"] != "read" && row["preview"] == true;
        let has_undo = !row["undo"].as_array().unwrap().is_empty();
        if !is_change || !has_undo || word.starts_with("credential_") {
            continue;
        }
        let mut given = arguments(&lab, &vm, &snapshot, word, row);
        given.insert("preview".to_owned(), json!(true));
        // In both power states, with a key and without one.
        for power in ["power_on", "power_off"] {
            lab.call(power, json!({ "moref": vm["moref"] })).ok();
            for meta in [json!({}), key.clone()] {
                let answer = lab.call_with(word, Value::Object(given.clone()), meta);
                let undo = &answer.body["undo"];
                let Some(action) = undo["action"].as_str() else {
                    continue;
                };
                let inverse = rows.get(action);
                let inverse = inverse.unwrap_or_else(|| panic!("{word}: no action {action}"));
                assert!(
                    row["undo"].as_array().unwrap().contains(&json!(action)),
                    "{word} does not declare {action}"
                );
                let taken = inverse["arguments"].as_array().unwrap();
                for name in undo.as_object().unwrap().keys() {
                    assert!(
                        name == "action" || taken.contains(&json!(name)),
                        "{word}: {name}"
                    );
                }
                assert!(is_taken(&lab, undo), "{word}: {undo}");
                seen.push(word.clone());
            }
        }
    }
    seen.dedup();
    for word in [
        "clone",
        "create_vm",
        "mark_template",
        "migrate",
        "power_off",
        "power_on",
        "reconfigure",
        "rename",
        "snapshot_create",
        "suspend",
        "unregister",
    ] {
        assert!(
            seen.iter().any(|seen| seen == word),
            "{word} showed no undo: {seen:?}"
        );
    }
}
