//! Changes: preview, deed, undo, and the state before that is back.

use serde_json::{Value, json};

use crate::support::{Answer, Lab};

/// The state that the actions of this version can change.
fn state(lab: &Lab, vm: &Value) -> Value {
    let vm = lab.look(vm);
    json!({ "power_state": vm["power_state"], "cpu": vm["cpu"], "memory_mb": vm["memory_mb"], "snapshots": vm["snapshots"] })
}

/// Whether every pointer of a verify's side holds.
pub(crate) fn holds(lab: &Lab, preview: &Value, side: &str) -> bool {
    let verify = &preview["verify"];
    let answer = lab.server.call(verify["arguments"].clone()).ok();
    verify[side]
        .as_object()
        .unwrap()
        .iter()
        .all(|(pointer, value)| answer.pointer(pointer) == Some(value))
}

/// Previews, does, verifies and undoes one change, and compares each promise with the state.
fn there_and_back(lab: &Lab, vm: &Value, action: &str, more: Value, undo: &str, kind: &str) {
    let before = state(lab, vm);
    let mut arguments = json!({ "moref": vm["moref"], "instance_uuid": vm["instance_uuid"] });
    crate::support::merge(&mut arguments, &more);
    let mut asked = arguments.clone();
    asked["preview"] = json!(true);
    let meta = json!({ "pilothouse/key": "wf_1/step/do/0", "pilothouse/attempt": 1 });

    let preview = lab.call_with(action, asked, meta.clone()).ok();
    assert_eq!(preview["preview"], true);
    assert_eq!(preview["action"], action);
    assert_eq!(preview["changed"], true);
    assert_eq!(preview["target"]["moref"], vm["moref"]);
    assert_eq!(preview["target"]["instance_uuid"], vm["instance_uuid"]);
    assert_eq!(preview["target"]["path"], vm["path"]);
    assert_eq!(preview["undo"]["action"], undo, "{preview}");
    assert_eq!(preview["undo_kind"], kind, "{preview}");
    assert_eq!(preview["undo"]["credential_profile"], "lab");
    assert_eq!(preview["undo"]["moref"], vm["moref"]);
    assert!(preview["undo"].get("password").is_none());
    assert_eq!(state(lab, vm), before, "a preview changed something");
    assert!(holds(lab, &preview, "before"), "{preview}");
    assert!(!holds(lab, &preview, "after"), "{preview}");

    let mut with_target = meta.clone();
    with_target["pilothouse/target"] = preview["target"].clone();
    let done = lab.call_with(action, arguments.clone(), with_target).ok();
    assert_eq!(done["changed"], true);
    assert_eq!(done["target"], preview["target"]);
    assert_eq!(done["before"], preview["before"]);
    assert_eq!(done["after"], preview["after"]);
    assert_eq!(done["undo"]["action"], undo);
    assert_eq!(done["undo_kind"], kind);
    assert!(holds(lab, &preview, "after"), "{preview}");
    assert!(!holds(lab, &preview, "before"), "{preview}");
    assert_ne!(state(lab, vm), before);

    let undone = lab.server.call(done["undo"].clone()).ok();
    assert_eq!(undone["changed"], true, "{undone}");
    assert_eq!(
        state(lab, vm),
        before,
        "{action}: the undo did not bring everything back"
    );
    // A second time it finds nothing to do, or no longer the object.
    let again = lab.server.call(done["undo"].clone());
    assert_eq!(again.ok()["changed"], false);
    assert_eq!(state(lab, vm), before);
}

#[test]
fn the_undo_of_each_change_brings_back_what_was_before() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    there_and_back(&lab, &vm, "power_off", json!({}), "power_on", "lossy");
    there_and_back(&lab, &vm, "suspend", json!({}), "power_on", "exact");
    let snapshot = json!({ "snapshot_name": "before" });
    there_and_back(
        &lab,
        &vm,
        "snapshot_create",
        snapshot,
        "snapshot_delete",
        "exact",
    );
    lab.call("power_off", json!({ "moref": vm["moref"] })).ok();
    there_and_back(&lab, &vm, "power_on", json!({}), "power_off", "lossy");
    let size = json!({ "cpu": 4, "memory_mb": 256 });
    there_and_back(&lab, &vm, "reconfigure", size, "reconfigure", "exact");
    lab.call("power_on", json!({ "moref": vm["moref"] })).ok();
    lab.call("suspend", json!({ "moref": vm["moref"] })).ok();
    // A resumed machine is suspended again, not powered off.
    there_and_back(&lab, &vm, "power_on", json!({}), "suspend", "lossy");
    lab.no_session_is_left();
}

#[test]
fn what_is_already_so_is_not_changed_and_has_no_undo() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    let now = lab.look(&vm);
    for (action, more) in [
        ("power_on", json!({})),
        (
            "reconfigure",
            json!({ "cpu": now["cpu"], "memory_mb": now["memory_mb"] }),
        ),
        ("snapshot_delete", json!({ "snapshot_id": "snapshot-999" })),
        ("snapshot_delete", json!({ "snapshot_key": "wf_1/a/do/0" })),
    ] {
        let mut arguments = json!({ "moref": vm["moref"] });
        crate::support::merge(&mut arguments, &more);
        let done = lab.call(action, arguments.clone()).ok();
        assert_eq!(done["changed"], false, "{action}");
        assert_eq!(done["undo"], Value::Null, "{action}");
        assert_eq!(done["undo_kind"], "none", "{action}");
        assert_eq!(done["before"], done["after"], "{action}");
        arguments["preview"] = json!(true);
        let preview = lab.call(action, arguments).ok();
        assert_eq!(preview["changed"], false, "{action}");
        assert_eq!(preview["undo"], Value::Null, "{action}");
        assert_eq!(preview["verify"], Value::Null, "{action}");
    }
}

#[test]
fn a_repeated_attempt_that_finds_everything_done_does_not_deny_the_first_one() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    let of = json!({ "moref": vm["moref"] });
    let mut asked = of.clone();
    asked["preview"] = json!(true);
    let meta = |attempt: u64, preview: &Value| {
        json!({
            "pilothouse/key": "wf_1/a/do/0", "pilothouse/attempt": attempt,
            "pilothouse/target": preview["target"],
        })
    };
    let mut deleted = Value::Null;
    for action in ["power_off", "delete"] {
        let preview = lab.call(action, asked.clone()).ok();
        deleted = preview.clone();
        let first = lab.call_with(action, of.clone(), meta(1, &preview)).ok();
        assert!(first.get("found_done").is_none());
        let second = lab.call_with(action, of.clone(), meta(2, &preview)).ok();
        assert_eq!(second["changed"], true, "{action}");
        assert_eq!(second["found_done"], true, "{action}");
        assert_eq!(second["target"], first["target"], "{action}");
        assert_eq!(second["after"], first["after"], "{action}");
        // What was before is not known any more: the undo that was prepared stays the undo.
        assert_eq!(second["before"], json!({}), "{action}");
        assert_eq!(second["undo"], Value::Null, "{action}");
        assert!(second["undo_note"].is_string(), "{action}");
    }
    // However the call names it.
    for named in ["vm_name", "vm_uuid"] {
        let value = if named == "vm_name" {
            &vm["name"]
        } else {
            &vm["instance_uuid"]
        };
        let mut by = json!({});
        by[named] = value.clone();
        let again = lab.call_with("delete", by.clone(), meta(2, &deleted)).ok();
        assert_eq!(again["found_done"], true, "{named}");
        // A first attempt has nothing to have been done before it.
        lab.call_with("delete", by, meta(1, &deleted))
            .fails("vm.not_found", "none");
    }
    // Another machine that is not there, or one of another server, was not deleted by anyone.
    let mut other = json!({ "target": { "server": "another", "moref": vm["moref"] } });
    let refused = lab.call_with("delete", of.clone(), meta(2, &other));
    refused.fails("vm.not_found", "none");
    other["target"]["moref"] = json!("vm-999");
    let refused = lab.call_with("delete", of.clone(), meta(2, &other));
    refused.fails("vm.not_found", "none");
    lab.call_with("delete", of, json!({ "pilothouse/attempt": 2 }))
        .fails("vm.not_found", "none");
}

#[test]
fn reset_has_no_undo_and_says_why() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    let preview = lab
        .call("reset", json!({ "moref": vm["moref"], "preview": true }))
        .ok();
    assert_eq!(preview["undo"], Value::Null);
    assert_eq!(preview["undo_kind"], "none");
    assert!(preview["undo_note"].is_string());
    assert_eq!(preview["verify"], Value::Null);
    let done = lab.call("reset", json!({ "moref": vm["moref"] })).ok();
    assert_eq!(done["changed"], true);
    assert!(done["task"].as_str().unwrap().starts_with("task-"));
}

#[test]
fn shutdown_guest_waits_until_the_machine_is_off() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    let done = lab
        .call(
            "shutdown_guest",
            json!({ "moref": vm["moref"], "timeout_s": 20 }),
        )
        .ok();
    assert_eq!(done["after"]["power_state"], "poweredOff");
    assert_eq!(done["undo"]["action"], "power_on");
    assert_eq!(lab.look(&vm)["power_state"], "poweredOff");
    // Off already: nothing to ask for.
    let again = lab
        .call("shutdown_guest", json!({ "moref": vm["moref"] }))
        .ok();
    assert_eq!(again["changed"], false);
}

#[test]
fn c11_a_fault_of_the_server_keeps_its_type_and_words_and_changes_nothing() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    let refused: Answer = lab.call("delete", json!({ "moref": vm["moref"] }));
    // This one is seen before it is sent.
    let body = refused.fails("vsphere.invalid_power_state", "none");
    assert_eq!(body["power_state"], "poweredOn");
    assert!(body["fault"].is_null(), "{body}");
    lab.call("power_off", json!({ "moref": vm["moref"] })).ok();
    for action in ["suspend", "reset"] {
        let of = json!({ "moref": vm["moref"] });
        let refused = lab.call(action, of.clone());
        let body = refused.fails("vsphere.invalid_power_state", "none");
        assert_eq!(body["fault"]["type"], "InvalidPowerState", "{action}");
        assert!(body["error"].as_str().unwrap().starts_with("Bring the VM"));
        assert_eq!(body["fault"]["detail"]["existingState"], "poweredOff");
        // What an earlier step may put right is only a warning of the preview.
        let mut asked = of;
        asked["preview"] = json!(true);
        let preview = lab.call(action, asked).ok();
        assert!(
            preview["warnings"].to_string().contains("may refuse"),
            "{action}: {preview}"
        );
        // Powering it on would not bring this state back.
        assert_eq!(preview["undo"], Value::Null, "{action}");
    }
    lab.no_session_is_left();
}

#[test]
fn delete_shows_what_goes_with_it_and_is_found_by_reference_alone() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    let of = json!({ "moref": vm["moref"], "instance_uuid": vm["instance_uuid"] });
    lab.call(
        "snapshot_create",
        json!({ "moref": vm["moref"], "snapshot_name": "s" }),
    )
    .ok();
    let mut asked = of.clone();
    asked["preview"] = json!(true);
    let running = lab.call("delete", asked.clone()).ok();
    let warning = running["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("It would be refused now"), "{warning}");
    lab.call("power_off", of.clone()).ok();
    let preview = lab.call("delete", asked.clone()).ok();
    assert_eq!(preview["undo"], Value::Null);
    assert_eq!(preview["destroys"]["disks_total"], 1);
    assert!(
        preview["destroys"]["disks"][0]["file"]
            .as_str()
            .unwrap()
            .contains(".vmdk")
    );
    assert_eq!(preview["destroys"]["snapshots_total"], 1);
    assert!(holds(&lab, &preview, "before"));
    let done = lab.call("delete", of.clone()).ok();
    assert_eq!(done["changed"], true);
    assert_eq!(done["after"]["exists"], false);
    assert!(holds(&lab, &preview, "after"));
    lab.call("delete", of.clone()).fails("vm.not_found", "none");
    lab.call("delete", asked).fails("vm.not_found", "none");
    lab.no_session_is_left();
}

#[test]
fn an_undo_overwrites_only_what_it_expects_to_find() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    lab.call("power_off", json!({ "moref": vm["moref"] })).ok();
    let done = lab
        .call("reconfigure", json!({ "moref": vm["moref"], "cpu": 4 }))
        .ok();
    assert_eq!(done["undo"]["expect"], json!({ "cpu": 4 }));
    // Someone else sets another value meanwhile.
    lab.call("reconfigure", json!({ "moref": vm["moref"], "cpu": 6 }))
        .ok();
    let refused = lab.server.call(done["undo"].clone());
    let body = refused.fails("vm.changed_since", "none");
    assert_eq!(body["expected"], json!({ "cpu": 4 }));
    assert_eq!(body["found"], json!({ "cpu": 6 }));
    assert_eq!(lab.look(&vm)["cpu"], 6);
    let mut asked = done["undo"].clone();
    asked["preview"] = json!(true);
    let preview = lab.server.call(asked).ok();
    assert!(
        preview["warnings"][0]
            .as_str()
            .unwrap()
            .starts_with("It would be refused now")
    );
}

#[test]
fn the_undo_of_a_running_machines_growth_says_its_condition() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    let preview = lab
        .call(
            "reconfigure",
            json!({ "moref": vm["moref"], "cpu": 8, "preview": true }),
        )
        .ok();
    assert_eq!(preview["undo_kind"], "conditional");
    assert!(
        preview["undo_note"]
            .as_str()
            .unwrap()
            .contains("powered off")
    );
    assert!(
        preview["warnings"].to_string().contains("hot-add"),
        "{preview}"
    );
}

#[test]
fn a_target_that_is_not_the_prepared_one_is_not_touched() {
    let lab = Lab::new(&["-vm", "1"]);
    let all = lab.call("list_vms", json!({})).ok();
    let (one, two) = (&all["vms"][0], &all["vms"][1]);
    let preview = lab
        .call(
            "power_off",
            json!({ "moref": one["moref"], "preview": true }),
        )
        .ok();
    let target = |field: &str, value: &str| {
        let mut target = preview["target"].clone();
        target[field] = json!(value);
        json!({ "pilothouse/target": target })
    };
    let mut number = target("server", "x");
    number["pilothouse/target"]["server"] = json!(7);
    for meta in [
        number,
        target("server", "00000000-0000-0000-0000-000000000000"),
        target("moref", two["moref"].as_str().unwrap()),
        target("instance_uuid", two["instance_uuid"].as_str().unwrap()),
    ] {
        let refused = lab.call_with("power_off", json!({ "moref": one["moref"] }), meta);
        let body = refused.fails("target.changed", "none");
        assert_eq!(body["found"]["moref"], one["moref"]);
    }
    // Nor does a preview.
    let mut asked = json!({ "moref": one["moref"], "preview": true });
    asked["instance_uuid"] = two["instance_uuid"].clone();
    lab.call("power_off", asked).fails("target.changed", "none");
    // The same name on another machine does not pass for it either.
    let refused = lab.call_with(
        "power_off",
        json!({ "vm_name": two["name"] }),
        json!({ "pilothouse/target": preview["target"] }),
    );
    refused.fails("target.changed", "none");
    assert_eq!(lab.look(one)["power_state"], "poweredOn");
    assert_eq!(lab.look(two)["power_state"], "poweredOn");
}
