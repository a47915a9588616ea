//! Devices of the simulator's machines: there and back, twice, and refused.

use serde_json::{Value, json};

use crate::hardware::{SERVERS, off, there_and_back};
use crate::support::{Lab, merge};

fn under(key: &str) -> Value {
    json!({ "pilothouse/key": key, "pilothouse/attempt": 1 })
}

fn of(vm: &Value, more: Value) -> Value {
    let mut arguments = json!({ "moref": vm["moref"] });
    merge(&mut arguments, &more);
    arguments
}

#[test]
fn a_disk_is_added_and_taken_off_again_and_its_file_stays() {
    for flags in SERVERS {
        let lab = Lab::new(flags);
        let vm = lab.vm();
        let (preview, done) = there_and_back(&lab, &vm, "add_disk", json!({ "size_mb": 16 }));
        assert_eq!(preview["undo_kind"], "lossy");
        assert_eq!(preview["undo"]["added_key"], "wf_1/add_disk/do/0");
        assert_eq!(done["disk"]["capacity_bytes"], 16 << 20);
        assert_eq!(done["disk"]["thin"], true);
        assert_eq!(done["undo"]["expect"]["file"], done["disk"]["file"]);
        assert_eq!(preview["new_disk"]["unit"], done["disk"]["unit"]);
        assert!(done["disk"]["file"].as_str().unwrap().ends_with(".vmdk"));
        // The file is there to be attached again.
        let again = there_and_back(
            &lab,
            &vm,
            "add_disk",
            json!({ "path": done["disk"]["file"] }),
        );
        assert_eq!(again.0["undo_kind"], "exact");
    }
}

#[test]
fn a_disk_goes_to_the_datastore_that_is_named() {
    let lab = Lab::new(&["-vm", "1", "-ds", "2"]);
    let vm = lab.vm();
    let more = json!({ "size_gb": 1, "thin": false, "datastore": "LocalDS_1" });
    let done = lab.call("add_disk", of(&vm, more)).ok();
    let file = done["disk"]["file"].as_str().unwrap();
    assert!(file.starts_with("[LocalDS_1] "), "{file}");
    assert_eq!(done["disk"]["thin"], false);
    let unknown = json!({ "size_gb": 1, "datastore": "LocalDS_7" });
    lab.call("add_disk", of(&vm, unknown))
        .fails("object.not_found", "none");
}

#[test]
fn what_was_added_under_a_key_is_found_and_not_added_twice() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    for (action, more, total, field) in [
        ("add_disk", json!({ "size_mb": 16 }), "disks_total", "disk"),
        (
            "add_nic",
            json!({ "network": "VM Network" }),
            "network_adapters_total",
            "network_adapter",
        ),
    ] {
        let key = format!("wf_1/{action}/do/0");
        let count = lab.look(&vm)[total].as_i64().unwrap();
        let first = lab
            .call_with(action, of(&vm, more.clone()), under(&key))
            .ok();
        let second = lab
            .call_with(action, of(&vm, more.clone()), under(&key))
            .ok();
        assert!(first.get("found_under_key").is_none());
        assert_eq!(second["found_under_key"], true, "{second}");
        for name in ["changed", "before", "after", "undo", "undo_kind", field] {
            assert_eq!(second[name], first[name], "{action}: {name}");
        }
        assert_eq!(lab.look(&vm)[total], count + 1);
        // Another key is another one.
        let other = format!("wf_1/{action}/do/1");
        lab.call_with(action, of(&vm, more), under(&other)).ok();
        assert_eq!(lab.look(&vm)[total], count + 2);
        // The undo takes off the very one, whatever came after it.
        lab.server.call(first["undo"].clone()).ok();
        let left = lab.look(&vm);
        assert_eq!(left[total], count + 1);
        let still = |row: &Value| row["device_key"] == first[field]["device_key"];
        let rows = left[if action == "add_disk" {
            "disks"
        } else {
            "network_adapters"
        }]
        .clone();
        assert!(!rows.as_array().unwrap().iter().any(still), "{rows}");
    }
}

#[test]
fn a_disk_that_is_taken_off_is_attached_again_by_the_undo_or_destroyed_if_asked() {
    for flags in SERVERS {
        let lab = Lab::new(flags);
        let vm = off(&lab);
        let added = lab.call("add_disk", of(&vm, json!({ "size_mb": 16 }))).ok();
        let disk = json!({ "device_key": added["disk"]["device_key"] });
        let mut asked = of(&vm, disk.clone());
        asked["preview"] = json!(true);
        let preview = lab.call("remove_disk", asked.clone()).ok();
        assert_eq!(preview["undo_kind"], "exact");
        assert_eq!(preview["target"]["file"], added["disk"]["file"]);
        let done = lab.call("remove_disk", of(&vm, disk.clone())).ok();
        assert_eq!(done["before"]["disks"], 2);
        assert_eq!(done["after"]["disks"], 1);
        let back = lab.server.call(done["undo"].clone()).ok();
        assert_eq!(back["disk"]["file"], added["disk"]["file"]);
        assert_eq!(back["disk"]["unit"], added["disk"]["unit"]);
        assert_eq!(lab.server.call(done["undo"].clone()).ok()["changed"], false);
        // Now for good.
        let mut all = of(
            &vm,
            json!({ "device_key": back["disk"]["device_key"], "destroy_file": true }),
        );
        let gone = lab.call("remove_disk", all.clone()).ok();
        assert_eq!(gone["undo"], Value::Null);
        assert_eq!(gone["undo_kind"], "none");
        assert_eq!(lab.look(&vm)["disks_total"], 1);
        all["preview"] = json!(true);
        assert_eq!(lab.call("remove_disk", all).ok()["changed"], false);
        let label = of(&vm, json!({ "device_label": "no such disk" }));
        let refused = lab.call("remove_disk", label);
        let body = refused.fails("device.not_found", "none");
        assert_eq!(body["candidates"].as_array().unwrap().len(), 1);
        lab.no_session_is_left();
    }
}

#[test]
fn a_repeated_removal_takes_nothing_that_came_in_the_place_of_the_prepared_one() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    let add = || lab.call("add_disk", of(&vm, json!({ "size_mb": 16 }))).ok()["disk"].clone();
    let disk = add();
    let remove = of(&vm, json!({ "device_key": disk["device_key"] }));
    let mut asked = remove.clone();
    asked["preview"] = json!(true);
    let target = lab.call("remove_disk", asked).ok()["target"].clone();
    let meta = |attempt: u64| json!({ "pilothouse/key": "wf_1/a/do/0", "pilothouse/attempt": attempt, "pilothouse/target": target });
    lab.call_with("remove_disk", remove.clone(), meta(1)).ok();
    let other = add();
    assert_eq!(
        other["device_key"], disk["device_key"],
        "the case that is meant"
    );
    let again = lab.call_with("remove_disk", remove.clone(), meta(2)).ok();
    assert_eq!(again["found_done"], true, "{again}");
    assert_eq!(again["target"], target);
    let refused = lab.call_with("remove_disk", remove, meta(1));
    refused.fails("target.changed", "none");
    assert_eq!(lab.look(&vm)["disks_total"], 2);
}

#[test]
fn a_disk_grows_to_the_size_that_is_named_and_never_shrinks() {
    for flags in SERVERS {
        let lab = Lab::new(flags);
        let vm = off(&lab);
        let disk = lab.look(&vm)["disks"][0].clone();
        let size = disk["capacity_bytes"].as_i64().unwrap();
        let gb = size / (1 << 30) + 2;
        let grow = of(
            &vm,
            json!({ "device_key": disk["device_key"], "size_gb": gb }),
        );
        let mut asked = grow.clone();
        asked["preview"] = json!(true);
        let preview = lab.call("grow_disk", asked).ok();
        assert_eq!(preview["before"]["capacity_bytes"], size);
        assert_eq!(preview["undo_kind"], "none");
        assert!(crate::actions::holds(&lab, &preview, "before"));
        let done = lab.call("grow_disk", grow.clone()).ok();
        assert_eq!(done["after"]["capacity_bytes"], gb << 30);
        assert!(crate::actions::holds(&lab, &preview, "after"));
        assert_eq!(lab.call("grow_disk", grow).ok()["changed"], false);
        let less = json!({ "device_key": disk["device_key"], "size_mb": 1 });
        let refused = lab.call("grow_disk", of(&vm, less));
        refused.fails("argument.out_of_range", "none");
        lab.call("snapshot_create", of(&vm, json!({ "snapshot_name": "s" })))
            .ok();
        let more = json!({ "device_key": disk["device_key"], "size_gb": gb + 1 });
        lab.call("grow_disk", of(&vm, more))
            .fails("device.has_snapshots", "none");
        assert_eq!(lab.look(&vm)["disks"][0]["capacity_bytes"], gb << 30);
    }
}

#[test]
fn an_adapter_is_added_to_each_kind_of_network_and_taken_off_again() {
    for (flags, network) in [
        (SERVERS[0], "VM Network"),
        (SERVERS[0], "DC0_DVPG0"),
        (SERVERS[1], "VM Network"),
    ] {
        let lab = Lab::new(flags);
        let vm = lab.vm();
        let more = json!({ "network": network, "adapter": "e1000e", "start_connected": false });
        let (preview, done) = there_and_back(&lab, &vm, "add_nic", more);
        assert_eq!(preview["undo_kind"], "exact");
        let nic = &done["network_adapter"];
        assert_eq!(nic["adapter"], "e1000e", "{done}");
        assert_eq!(nic["start_connected"], false);
        assert_eq!(done["undo"]["expect"]["mac"], nic["mac"]);
        // Off, and on again: the network is the same, the address another.
        let first = lab.look(&vm)["network_adapters"][0].clone();
        let gone = lab
            .call(
                "remove_nic",
                of(&vm, json!({ "device_key": first["device_key"] })),
            )
            .ok();
        assert_eq!(gone["undo_kind"], "lossy");
        assert_eq!(lab.look(&vm)["network_adapters_total"], 0);
        let back = lab.server.call(gone["undo"].clone()).ok();
        assert_eq!(back["network_adapter"]["network"], first["network"]);
        assert_eq!(back["network_adapter"]["adapter"], first["adapter"]);
        lab.no_session_is_left();
    }
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    let uplinks = lab.call(
        "add_nic",
        of(&vm, json!({ "network": "DVS0-DVUplinks-11" })),
    );
    assert!(["network.unusable", "object.not_found"].contains(&uplinks.code()));
}

#[test]
fn an_adapter_is_disconnected_and_connected_to_another_network_and_back() {
    for flags in SERVERS {
        let lab = Lab::new(flags);
        let vm = lab.vm();
        let nic = lab.look(&vm)["network_adapters"][0].clone();
        let on = nic["connected"].as_bool().unwrap();
        let more = json!({ "device_key": nic["device_key"], "connected": !on, "start_connected": !nic["start_connected"].as_bool().unwrap() });
        let (preview, _) = there_and_back(&lab, &vm, "connect_nic", more);
        assert_eq!(preview["undo_kind"], "exact");
        if flags == SERVERS[0] {
            let more = json!({ "device_label": nic["label"], "network": "VM Network" });
            there_and_back(&lab, &vm, "connect_nic", more);
        }
        // Somebody else's change is not overwritten.
        let flip = |to: bool| {
            let more = json!({ "device_key": nic["device_key"], "start_connected": to });
            lab.call("connect_nic", of(&vm, more)).ok()
        };
        let start = nic["start_connected"].as_bool().unwrap();
        let done = flip(!start);
        flip(start);
        let refused = lab.server.call(done["undo"].clone());
        // What the undo would do is done already.
        assert_eq!(refused.ok()["changed"], false);
        let mut undo = done["undo"].clone();
        undo["connected"] = json!(!on);
        let refused = lab.server.call(undo);
        let body = refused.fails("vm.changed_since", "none");
        assert_eq!(body["found"]["start_connected"], start);
        lab.call("power_off", of(&vm, json!({}))).ok();
        if !lab.look(&vm)["network_adapters"][0]["connected"]
            .as_bool()
            .unwrap()
        {
            let more = json!({ "device_key": nic["device_key"], "connected": true });
            lab.call("connect_nic", of(&vm, more))
                .fails("vsphere.invalid_power_state", "none");
        }
    }
}

#[test]
fn what_is_not_said_about_a_device_is_asked_for_before_anything_is_contacted() {
    let lab = Lab::new(&["-vm", "1"]);
    for (action, more, code) in [
        ("add_disk", json!({}), "argument.missing"),
        (
            "add_disk",
            json!({ "size_gb": 1, "size_mb": 1 }),
            "argument.out_of_range",
        ),
        (
            "add_disk",
            json!({ "size_gb": 1, "path": "[ds] a.vmdk" }),
            "argument.out_of_range",
        ),
        (
            "add_disk",
            json!({ "path": "a.vmdk" }),
            "argument.out_of_range",
        ),
        ("add_disk", json!({ "size_gb": 0 }), "argument.out_of_range"),
        ("remove_disk", json!({}), "argument.missing"),
        (
            "grow_disk",
            json!({ "device_key": 2000 }),
            "argument.missing",
        ),
        ("grow_disk", json!({ "size_gb": 2 }), "argument.missing"),
        ("add_nic", json!({}), "argument.missing"),
        (
            "add_nic",
            json!({ "network": "n", "adapter": "e1000f" }),
            "argument.out_of_range",
        ),
        ("remove_nic", json!({}), "argument.missing"),
        (
            "connect_nic",
            json!({ "device_key": 4000 }),
            "argument.missing",
        ),
        ("mount_iso", json!({}), "argument.missing"),
        (
            "mount_iso",
            json!({ "path": "folder/a.iso" }),
            "argument.out_of_range",
        ),
        (
            "mount_iso",
            json!({ "path": "[] a.iso" }),
            "argument.out_of_range",
        ),
        ("answer_question", json!({}), "argument.missing"),
    ] {
        let mut all = json!({ "moref": "vm-1" });
        merge(&mut all, &more);
        let refused = lab.call(action, all);
        assert_eq!(refused.fails(code, "none")["code"], code, "{action}");
    }
}
