//! Snapshots again: paths, repeats, reverts that can be undone, all of them, and what stands in the way.

use serde_json::{Value, json};

use crate::fake::{Reply, Seen};
use crate::hardware::SERVERS;
use crate::harm::{disk, neighbours, with};
use crate::scene::{Scene, failure, machine, property, success, wait};
use crate::support::{Lab, merge};

fn create(lab: &Lab, vm: &Value, name: &str) -> Value {
    let of = json!({ "moref": vm["moref"], "snapshot_name": name });
    lab.call("snapshot_create", of).ok()["snapshot"].clone()
}

fn list(lab: &Lab, vm: &Value) -> Value {
    lab.call("snapshot_list", json!({ "moref": vm["moref"] }))
        .ok()
}

fn meta(attempt: u64, preview: &Value) -> Value {
    json!({
        "pilothouse/key": "wf_1/a/do/0", "pilothouse/attempt": attempt,
        "pilothouse/target": preview["target"],
    })
}

#[test]
fn c9_a_path_tells_snapshots_of_one_name_apart() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    let one = create(&lab, &vm, "same");
    let two = create(&lab, &vm, "same");
    let three = create(&lab, &vm, "a%2fb");
    let find = |name: &str| {
        let of = json!({ "moref": vm["moref"], "snapshot_name": name });
        let found = lab.call("snapshot_list", of).ok();
        let rows = found["snapshots"].as_array().unwrap().clone();
        rows.iter()
            .map(|row| row["snapshot_id"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(find("same"), [one.clone(), two.clone()]);
    assert_eq!(find("same/same"), std::slice::from_ref(&two));
    assert_eq!(find("/same"), [one]);
    assert_eq!(find("/same/same"), std::slice::from_ref(&two));
    assert!(find("/same/same/same").is_empty());
    assert!(find("other/same").is_empty());
    assert_eq!(find("same/a%2fb"), std::slice::from_ref(&three));
    // A name with a slash in it goes before a path.
    assert_eq!(find("a/b"), [three]);
    let rows = list(&lab, &vm)["snapshots"].clone();
    assert_eq!(rows[2]["path"], "/same/same/a%2fb");
    let of = json!({ "moref": vm["moref"], "snapshot_name": "same/same" });
    let done = lab.call("snapshot_delete", of).ok();
    assert_eq!(done["target"]["snapshot"], two);
}

#[test]
fn a_repeated_deletion_by_name_finds_the_prepared_snapshot_gone_and_takes_no_other() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    let one = create(&lab, &vm, "s");
    let of = json!({ "moref": vm["moref"], "snapshot_name": "s" });
    let mut asked = of.clone();
    asked["preview"] = json!(true);
    let preview = lab.call("snapshot_delete", asked).ok();
    assert_eq!(preview["target"]["snapshot"], one);
    let first = lab
        .call_with("snapshot_delete", of.clone(), meta(1, &preview))
        .ok();
    assert!(first.get("found_done").is_none());
    // Meanwhile another one bears the name.
    let other = create(&lab, &vm, "s");
    let second = lab
        .call_with("snapshot_delete", of.clone(), meta(2, &preview))
        .ok();
    assert_eq!(second["found_done"], true);
    assert_eq!(second["target"], first["target"]);
    assert_eq!(list(&lab, &vm)["snapshots"][0]["snapshot_id"], other);
    // Nor does a first attempt take it for the one that was meant.
    for action in ["snapshot_delete", "snapshot_revert"] {
        let refused = lab.call_with(action, of.clone(), meta(1, &preview));
        refused.fails("target.changed", "none");
    }
    assert_eq!(list(&lab, &vm)["total"], 1);
}

#[test]
fn a_revert_with_a_safety_snapshot_can_be_undone() {
    for flags in SERVERS {
        let lab = Lab::new(flags);
        let vm = lab.vm();
        let base = create(&lab, &vm, "base");
        let of = json!({ "moref": vm["moref"], "snapshot_name": "base", "safety_snapshot": true });
        let mut asked = of.clone();
        asked["preview"] = json!(true);
        let preview = lab
            .call_with("snapshot_revert", asked, meta(1, &Value::Null))
            .ok();
        assert_eq!(preview["safety_snapshot"]["memory"], true);
        assert_eq!(preview["undo_kind"], "lossy");
        assert_eq!(preview["undo"]["snapshot_key"], "wf_1/a/do/0");
        assert_eq!(list(&lab, &vm)["total"], 1, "a preview takes none");
        let done = lab
            .call_with("snapshot_revert", of.clone(), meta(1, &preview))
            .ok();
        let safe = done["safety_snapshot"]["snapshot_id"].clone();
        assert_eq!(done["undo"]["snapshot_id"], safe);
        let listed = list(&lab, &vm);
        assert_eq!(listed["current_snapshot"], base);
        assert_eq!(listed["snapshots"][1]["name"], "Before the revert to base");
        // A second attempt finds it, and takes no other.
        let again = lab.call_with("snapshot_revert", of, meta(2, &preview)).ok();
        assert_eq!(again["safety_snapshot"]["snapshot_id"], safe);
        assert_eq!(list(&lab, &vm)["total"], 2);
        lab.server.call(preview["undo"].clone()).ok();
        assert_eq!(list(&lab, &vm)["current_snapshot"], safe);
        lab.no_session_is_left();
    }
}

#[test]
fn a_revert_that_fails_after_its_safety_snapshot_says_that_there_is_one() {
    let tree = property(
        "snapshot",
        "<currentSnapshot type=\"VirtualMachineSnapshot\">snapshot-1</currentSnapshot><rootSnapshotList>\
         <snapshot type=\"VirtualMachineSnapshot\">snapshot-1</snapshot><name>s</name>\
         <description></description></rootSnapshotList>",
    );
    let script = |seen: &Seen| match seen.method.as_str() {
        "RevertToSnapshot_Task" => Some(Reply::Fault("InsufficientResourcesFault", "")),
        "WaitForUpdatesEx" => Some(crate::scene::update(
            &(crate::scene::change("info.state", "<val>success</val>")
                + &crate::scene::change(
                    "info.result",
                    "<val type=\"VirtualMachineSnapshot\">snapshot-2</val>",
                )),
            "",
        )),
        _ => None,
    };
    let scene = Scene::new(move |_| machine("poweredOff") + &tree, script);
    let of = json!({ "snapshot_id": "snapshot-1", "safety_snapshot": true });
    let failed = scene.call("snapshot_revert", of);
    let body = failed.fails("vsphere.insufficient_resources", "partial");
    assert_eq!(body["safety_snapshot"], "snapshot-2");
    let sent = scene.fake.of("CreateSnapshot_Task");
    assert!(sent[0].body.contains("<memory>false</memory>"), "it is off");
    // If it cannot be taken, nothing is reverted.
    let scene = Scene::new(
        |_| {
            machine("poweredOff")
                + &property(
                    "snapshot",
                    "<rootSnapshotList><snapshot type=\"VirtualMachineSnapshot\">snapshot-1</snapshot>\
                     <name>s</name></rootSnapshotList>",
                )
        },
        wait(|| failure("SnapshotFault")),
    );
    let of = json!({ "snapshot_id": "snapshot-1", "safety_snapshot": true });
    scene
        .call("snapshot_revert", of)
        .fails("vsphere.snapshot_fault", "none");
    assert_eq!(scene.was_sent("RevertToSnapshot_Task"), 0);
}

#[test]
fn all_snapshots_go_at_once_and_are_listed_before() {
    for flags in SERVERS {
        let lab = Lab::new(flags);
        let vm = lab.vm();
        let of = json!({ "moref": vm["moref"] });
        let none = lab.call("snapshot_delete_all", of.clone()).ok();
        assert_eq!(none["changed"], false);
        for name in ["a", "b", "c"] {
            create(&lab, &vm, name);
        }
        let mut asked = of.clone();
        asked["preview"] = json!(true);
        let preview = lab.call("snapshot_delete_all", asked).ok();
        assert_eq!(preview["deletes_total"], 3);
        assert_eq!(preview["deletes"][2]["path"], "/a/b/c");
        assert!(crate::actions::holds(&lab, &preview, "before"));
        let done = lab.call("snapshot_delete_all", of).ok();
        assert_eq!(done["before"]["snapshots"], 3);
        assert_eq!(done["after"]["snapshots"], 0);
        assert!(crate::actions::holds(&lab, &preview, "after"));
        assert_eq!(list(&lab, &vm)["total"], 0);
        lab.no_session_is_left();
    }
}

/// A tree of so many snapshots, each below the one before.
fn tree(count: usize) -> String {
    if count == 0 {
        return String::new();
    }
    let inner = (1..=count).rev().fold(String::new(), |below, n| {
        let below = if below.is_empty() {
            below
        } else {
            format!("<childSnapshotList>{below}</childSnapshotList>")
        };
        format!(
            "<snapshot type=\"VirtualMachineSnapshot\">snapshot-{n}</snapshot><name>s{n}</name>\
             <description></description>{below}"
        )
    });
    property(
        "snapshot",
        &format!("<rootSnapshotList>{inner}</rootSnapshotList>"),
    )
}

#[test]
fn a_removal_of_all_that_fails_on_the_way_says_how_many_are_left() {
    let some = |seen: &Seen| machine("poweredOff") + &tree(if seen.nth < 3 { 3 } else { 1 });
    let scene = Scene::new(some, wait(|| failure("FileFault")));
    let body = scene.call("snapshot_delete_all", json!({}));
    assert_eq!(body.fails("vsphere.fault", "partial")["snapshots"], 1);
    let all = |_: &Seen| machine("poweredOff") + &tree(3);
    let scene = Scene::new(all, wait(|| failure("FileFault")));
    scene
        .call("snapshot_delete_all", json!({}))
        .fails("vsphere.fault", "none");
}

#[test]
fn snapshots_that_linked_clones_stand_on_are_not_deleted_unasked() {
    let files = &["[ds] web01/web01-000001.vmdk", "[ds] web01/web01.vmdk"];
    let own = with("poweredOff", &disk(2000, 0, files, ""), &tree(1));
    let others: &[(&str, &[&str])] =
        &[("vm-43", &["[ds] clone/clone.vmdk", "[ds] web01/web01.vmdk"])];
    let scene = Scene::new(
        move |_| own.clone(),
        move |seen| wait(success)(seen).or_else(|| neighbours(seen, others)),
    );
    for (action, more) in [
        ("snapshot_delete_all", json!({})),
        ("snapshot_delete", json!({ "snapshot_id": "snapshot-1" })),
    ] {
        let refused = scene.call(action, more.clone());
        let body = refused.fails("harm.found", "none");
        assert_eq!(body["findings"], json!(["linked_clones"]), "{action}");
        let mut named = more;
        merge(&mut named, &json!({ "override": ["linked_clones"] }));
        assert_eq!(scene.call(action, named).ok()["changed"], true);
    }
}

#[test]
fn disks_are_consolidated_where_that_is_needed() {
    for flags in SERVERS {
        let lab = Lab::new(flags);
        let vm = lab.vm();
        let none = lab
            .call("consolidate_disks", json!({ "moref": vm["moref"] }))
            .ok();
        assert_eq!(none["changed"], false);
        assert_eq!(none["before"]["consolidation_needed"], false);
    }
    // Needed until it is done: two reads were for the plan, and one was the first look at the task.
    let needed = |seen: &Seen| {
        let needed = if seen.nth < 3 { "true" } else { "false" };
        machine("poweredOff") + &property("runtime.consolidationNeeded", needed)
    };
    let scene = Scene::new(needed, wait(success));
    let done = scene.call("consolidate_disks", json!({})).ok();
    assert_eq!(done["after"]["consolidation_needed"], false);
    assert_eq!(scene.was_sent("ConsolidateVMDisks_Task"), 1);
    let always =
        |_: &Seen| machine("poweredOff") + &property("runtime.consolidationNeeded", "true");
    let scene = Scene::new(always, wait(|| Reply::Fault("ManagedObjectNotFound", "")));
    scene
        .call("consolidate_disks", json!({}))
        .fails("task.lost", "unknown");
    // Work on snapshots waits for it.
    let refused = scene.call("snapshot_create", json!({ "snapshot_name": "s" }));
    let body = refused.fails("harm.found", "none");
    assert_eq!(body["findings"], json!(["consolidation_needed"]));
}

#[test]
fn what_no_snapshot_can_hold_is_refused_before_it_is_sent() {
    let plain = disk(2000, 0, &["[ds] web01/web01.vmdk"], "");
    let independent = plain.replace("persistent", "independent_persistent");
    let raw = plain.replace("FlatVer2", "RawDiskMappingVer1").replace(
        "<diskMode>",
        "<compatibilityMode>physicalMode</compatibilityMode><diskMode>",
    );
    let bus = "<VirtualDevice xsi:type=\"ParaVirtualSCSIController\"><key>1000</key>\
               <sharedBus>physicalSharing</sharedBus></VirtualDevice>";
    let pci = "<VirtualDevice xsi:type=\"VirtualPCIPassthrough\"><key>13000</key></VirtualDevice>";
    let take = |power: &str, devices: String| {
        let own = with(power, &devices, "");
        let scene = Scene::new(move |_| own.clone(), wait(|| failure("SnapshotFault")));
        let answer = scene.call("snapshot_create", json!({ "snapshot_name": "s" }));
        // What is not refused here comes as far as the server.
        assert_eq!(
            scene.was_sent("CreateSnapshot_Task"),
            usize::from(answer.code() == "vsphere.snapshot_fault")
        );
        answer.code().to_owned()
    };
    for (on, off, devices) in [
        (true, false, independent),
        (true, true, raw),
        (true, true, plain.clone() + bus),
        (true, false, plain.clone() + pci),
        (false, false, plain),
    ] {
        let code = |refused: bool| {
            if refused {
                "snapshot.unsupported"
            } else {
                "vsphere.snapshot_fault"
            }
        };
        assert_eq!(take("poweredOn", devices.clone()), code(on), "{devices}");
        assert_eq!(take("poweredOff", devices.clone()), code(off), "{devices}");
    }
}

#[test]
fn what_memory_and_quiesce_mean_is_said() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    let words = |more: Value| {
        let mut of = json!({ "moref": vm["moref"], "snapshot_name": "s", "preview": true });
        merge(&mut of, &more);
        lab.call("snapshot_create", of).ok()["warnings"].to_string()
    };
    assert!(words(json!({})).contains("leaves the VM off"));
    assert!(words(json!({ "memory": true, "quiesce": true })).contains("no effect"));
    assert!(words(json!({ "quiesce": true })).contains("Tools do not run"));
    lab.call("power_off", json!({ "moref": vm["moref"] })).ok();
    assert!(words(json!({ "memory": true })).contains("no memory to keep"));
    assert_eq!(words(json!({})), "[]");
}

#[test]
fn a_lost_answer_to_a_removal_is_looked_after() {
    let lost = |seen: &Seen| seen.method.starts_with("Remove").then_some(Reply::Close);
    for (action, more) in [
        ("snapshot_delete", json!({ "snapshot_id": "snapshot-1" })),
        ("snapshot_delete_all", json!({})),
    ] {
        // Two reads were for the plan.
        let gone = |seen: &Seen| machine("poweredOff") + &tree(usize::from(seen.nth < 2));
        let done = Scene::new(gone, lost).call(action, more.clone()).ok();
        assert_eq!(done["changed"], true, "{action}");
        assert_eq!(done["after"]["snapshots"], 0);
        let there = |_: &Seen| machine("poweredOff") + &tree(1);
        let scene = Scene::new(there, lost);
        scene.call(action, more).is_lost();
    }
    let lost = |seen: &Seen| (seen.method == "Destroy_Task").then_some(Reply::Close);
    let gone = |seen: &Seen| {
        if seen.nth < 2 {
            machine("poweredOff")
        } else {
            String::new()
        }
    };
    let done = Scene::new(gone, lost).call("delete", json!({})).ok();
    assert_eq!(done["after"]["exists"], false);
    let scene = Scene::new(|_| machine("poweredOff"), lost);
    scene.call("delete", json!({})).is_lost();
}
