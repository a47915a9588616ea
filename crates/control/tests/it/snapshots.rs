//! Snapshots: keys, trees, and the choice of one.

use serde_json::{Value, json};

use crate::support::Lab;

fn key(name: &str) -> Value {
    json!({ "pilothouse/key": name, "pilothouse/attempt": 1 })
}

fn create(lab: &Lab, vm: &Value, name: &str) -> Value {
    lab.call(
        "snapshot_create",
        json!({ "moref": vm["moref"], "snapshot_name": name }),
    )
    .ok()
}

fn list(lab: &Lab, vm: &Value, more: Value) -> Value {
    let mut arguments = json!({ "moref": vm["moref"] });
    crate::support::merge(&mut arguments, &more);
    lab.call("snapshot_list", arguments).ok()
}

#[test]
fn a_snapshot_is_taken_once_for_one_key_and_found_afterwards() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    let arguments = json!({ "moref": vm["moref"], "snapshot_name": "s", "description": "mine" });
    let one = lab
        .call_with("snapshot_create", arguments.clone(), key("wf_1/a/do/0"))
        .ok();
    assert!(one.get("found_under_key").is_none());
    let two = lab
        .call_with("snapshot_create", arguments.clone(), key("wf_1/a/do/0"))
        .ok();
    assert_eq!(two["found_under_key"], true);
    assert_eq!(two["snapshot"], one["snapshot"]);
    for field in ["changed", "before", "after", "undo", "undo_kind", "target"] {
        assert_eq!(two[field], one[field], "{field}");
    }
    assert_eq!(list(&lab, &vm, json!({}))["total"], 1);
    // Another key is another deed, also under the same name.
    let three = lab
        .call_with("snapshot_create", arguments, key("wf_1/a/do/1"))
        .ok();
    assert_ne!(three["snapshot"], one["snapshot"]);
    let found = list(&lab, &vm, json!({ "snapshot_key": "wf_1/a/do/0" }));
    assert_eq!(found["matching"], 1);
    assert_eq!(found["snapshots"][0]["snapshot_id"], one["snapshot"]);
    let description = found["snapshots"][0]["description"].as_str().unwrap();
    assert_eq!(description, "mine [pilothouse:wf_1/a/do/0]");
    // A key that another one begins with does not match it.
    assert_eq!(
        list(&lab, &vm, json!({ "snapshot_key": "wf_1/a/do/" }))["matching"],
        0
    );
    assert_eq!(
        list(&lab, &vm, json!({ "snapshot_key": "wf_1/a/do/2" }))["matching"],
        0
    );
}

#[test]
fn a_description_cannot_pass_a_snapshot_off_as_one_that_was_taken_under_a_key() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    let mut arguments = json!({
        "moref": vm["moref"], "snapshot_name": "s", "description": "mine [pilothouse:wf_1/a/do/0]"
    });
    for preview in [true, false] {
        arguments["preview"] = json!(preview);
        let refused = lab.call("snapshot_create", arguments.clone());
        let body = refused.fails("argument.out_of_range", "none");
        assert_eq!(body["argument"], "description");
    }
    assert_eq!(list(&lab, &vm, json!({}))["total"], 0);
}

#[test]
fn the_undo_in_a_preview_names_the_snapshot_by_its_key() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    let asked = json!({ "moref": vm["moref"], "snapshot_name": "s", "preview": true });
    let preview = lab
        .call_with("snapshot_create", asked, key("wf_1/a/do/0"))
        .ok();
    assert_eq!(preview["undo"]["snapshot_key"], "wf_1/a/do/0");
    assert_eq!(preview["verify"]["before"], json!({ "/matching": 0 }));
    assert_eq!(preview["verify"]["after"], json!({ "/matching": 1 }));
    let undo = preview["undo"].clone();
    // Nothing there yet: nothing to undo, and no error.
    assert_eq!(lab.server.call(undo.clone()).ok()["changed"], false);
    let arguments = json!({ "moref": vm["moref"], "snapshot_name": "s" });
    lab.call_with("snapshot_create", arguments, key("wf_1/a/do/0"))
        .ok();
    assert_eq!(lab.server.call(undo).ok()["changed"], true);
    assert_eq!(list(&lab, &vm, json!({}))["total"], 0);
}

#[test]
fn c9_a_name_that_several_snapshots_bear_is_refused_and_a_reference_chooses() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    let one = create(&lab, &vm, "same");
    let two = create(&lab, &vm, "same");
    for action in ["snapshot_revert", "snapshot_delete"] {
        let refused = lab.call(
            action,
            json!({ "moref": vm["moref"], "snapshot_name": "same" }),
        );
        let body = refused.fails("snapshot.ambiguous", "none");
        assert_eq!(body["candidates"].as_array().unwrap().len(), 2);
        assert_eq!(body["candidates"][1]["path"], "/same/same");
    }
    let unknown = lab.call(
        "snapshot_delete",
        json!({ "moref": vm["moref"], "snapshot_name": "sane" }),
    );
    assert_eq!(
        unknown.fails("snapshot.not_found", "none")["nearest"][0],
        "same"
    );
    lab.call(
        "snapshot_revert",
        json!({ "moref": vm["moref"], "snapshot_id": "snapshot-999" }),
    )
    .fails("snapshot.not_found", "none");
    let chosen =
        json!({ "moref": vm["moref"], "snapshot_name": "same", "snapshot_id": two["snapshot"] });
    lab.call("snapshot_delete", chosen).ok();
    let left = list(&lab, &vm, json!({}));
    assert_eq!(left["total"], 1);
    assert_eq!(left["snapshots"][0]["snapshot_id"], one["snapshot"]);
}

#[test]
fn deleting_with_children_lists_and_takes_the_whole_subtree_and_without_leaves_them() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    let root = create(&lab, &vm, "root");
    create(&lab, &vm, "middle");
    create(&lab, &vm, "leaf");
    let of = json!({ "moref": vm["moref"], "snapshot_name": "middle" });
    let mut asked = of.clone();
    asked["preview"] = json!(true);
    let alone = lab.call("snapshot_delete", asked.clone()).ok();
    assert_eq!(alone["deletes_total"], 1);
    assert_eq!(alone["after"]["snapshots"], 2);
    assert!(alone["warnings"].to_string().contains("below it stay"));
    asked["remove_children"] = json!(true);
    let whole = lab.call("snapshot_delete", asked).ok();
    assert_eq!(whole["deletes_total"], 2);
    assert_eq!(whole["deletes"][1]["name"], "leaf");
    let done = lab.call("snapshot_delete", of).ok();
    assert_eq!(done["after"]["snapshots"], 2);
    assert_eq!(done["undo_kind"], "none");
    let all =
        json!({ "moref": vm["moref"], "snapshot_id": root["snapshot"], "remove_children": true });
    lab.call("snapshot_delete", all).ok();
    assert_eq!(list(&lab, &vm, json!({}))["total"], 0);
}

#[test]
fn a_revert_says_where_it_leads_and_cannot_be_undone() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    let one = create(&lab, &vm, "one");
    let two = create(&lab, &vm, "two");
    let of = json!({ "moref": vm["moref"], "snapshot_name": "one" });
    let mut asked = of.clone();
    asked["preview"] = json!(true);
    let preview = lab.call("snapshot_revert", asked).ok();
    assert_eq!(preview["before"]["current_snapshot"], two["snapshot"]);
    assert_eq!(preview["after"]["current_snapshot"], one["snapshot"]);
    assert_eq!(preview["undo_kind"], "none");
    let done = lab.call("snapshot_revert", of).ok();
    assert_eq!(done["after"]["current_snapshot"], one["snapshot"]);
    assert_eq!(done["undo"], Value::Null);
    let listed = list(&lab, &vm, json!({}));
    assert_eq!(listed["current_snapshot"], one["snapshot"]);
    lab.no_session_is_left();
}
