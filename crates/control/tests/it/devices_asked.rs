//! What the simulator's machines do not have: CD drives, full controllers, shared buses, linked disks,
//! opaque networks, questions. A scripted fake has them.

use serde_json::json;

use crate::fake::{Reply, Seen};
use crate::harm::{disk, with};
use crate::scene::{QUESTION, Scene, machine, property, success, wait};

const CONTROLLER: &str = "<VirtualDevice xsi:type=\"ParaVirtualSCSIController\"><key>1000</key>\
    <sharedBus>noSharing</sharedBus><scsiCtlrUnitNumber>7</scsiCtlrUnitNumber></VirtualDevice>";

fn disks(units: impl Iterator<Item = u32>) -> String {
    units
        .map(|unit| disk(2000 + unit, unit, &[&format!("[ds] web01/{unit}.vmdk")], ""))
        .collect()
}

fn scene(power: &str, devices: &str) -> Scene {
    let own = with(power, devices, "");
    Scene::new(move |_| own.clone(), wait(success))
}

fn sent(scene: &Scene) -> String {
    scene
        .fake
        .of("ReconfigVM_Task")
        .last()
        .unwrap()
        .body
        .clone()
}

#[test]
fn a_new_disk_takes_the_first_free_unit_but_the_controllers_own() {
    let add = json!({ "size_gb": 1 });
    let seven = scene("poweredOn", &(CONTROLLER.to_owned() + &disks(0..7)));
    let preview = seven
        .call("add_disk", json!({ "size_gb": 1, "preview": true }))
        .ok();
    assert_eq!(preview["new_disk"]["unit"], 8);
    seven.call("add_disk", add.clone()).ok();
    let body = sent(&seven);
    for part in [
        "<changeVersion>2026-01-01T00:00:00Z</changeVersion>",
        "<operation>add</operation><fileOperation>create</fileOperation>",
        "<controllerKey>1000</controllerKey><unitNumber>8</unitNumber>",
        "<fileName>[ds]</fileName>",
        "<capacityInKB>1048576</capacityInKB>",
    ] {
        assert!(body.contains(part), "{part}: {body}");
    }
    // Full, and the second one is shared with others: none is taken unasked.
    let shared = CONTROLLER
        .replace("1000", "1001")
        .replace("noSharing", "physicalSharing");
    let all = CONTROLLER.to_owned() + &disks((0..16).filter(|unit| *unit != 7)) + &shared;
    let full = scene("poweredOn", &all);
    full.call("add_disk", add)
        .fails("device.no_free_unit", "none");
    let named = json!({ "size_gb": 1, "controller_key": 1001, "unit": 3 });
    full.call("add_disk", named).ok();
    assert!(sent(&full).contains("<controllerKey>1001</controllerKey><unitNumber>3</unitNumber>"));
    for taken in [
        json!({ "unit": 7 }),
        json!({ "unit": 0, "controller_key": 1000 }),
    ] {
        let mut of = json!({ "size_gb": 1 });
        crate::support::merge(&mut of, &taken);
        full.call("add_disk", of)
            .fails("device.no_free_unit", "none");
    }
    assert_eq!(full.was_sent("ReconfigVM_Task"), 1);
}

#[test]
fn a_linked_disk_does_not_grow_and_a_device_is_sent_back_as_it_was_read() {
    let linked = disk(
        2000,
        0,
        &["[ds] web01/web01.vmdk", "[ds] base/base.vmdk"],
        "",
    );
    let refused =
        scene("poweredOff", &linked).call("grow_disk", json!({ "device_key": 2000, "size_gb": 2 }));
    let body = refused.fails("device.linked", "none");
    assert_eq!(body["stands_on"], "[ds] base/base.vmdk");
    let more = "<shares><shares>1000</shares><level>normal</level></shares>\
                <newField xsi:type=\"SomethingOfTomorrow\"><a>1 &amp; 2</a></newField>";
    let plain = scene(
        "poweredOff",
        &disk(2000, 0, &["[ds] web01/a &amp; b.vmdk"], more),
    );
    plain
        .call("grow_disk", json!({ "device_key": 2000, "size_gb": 2 }))
        .ok();
    let body = sent(&plain);
    for part in [
        "<operation>edit</operation><device xsi:type=\"VirtualDisk\"><key>2000</key>",
        "<backing xsi:type=\"VirtualDiskFlatVer2BackingInfo\"><fileName>[ds] web01/a &amp; b.vmdk</fileName>",
        "<capacityInKB>2097152</capacityInKB><capacityInBytes>2147483648</capacityInBytes>",
        "<newField xsi:type=\"SomethingOfTomorrow\"><a>1 &amp; 2</a></newField>",
    ] {
        assert!(body.contains(part), "{part}: {body}");
    }
}

#[test]
fn a_disk_with_snapshots_or_clones_is_detached_and_not_destroyed() {
    let tree = property(
        "snapshot",
        "<rootSnapshotList><name>s</name></rootSnapshotList>",
    );
    let own = with(
        "poweredOff",
        &disk(2000, 0, &["[ds] web01/a.vmdk"], ""),
        &tree,
    );
    let scene = Scene::new(move |_| own.clone(), wait(success));
    let all = json!({ "device_key": 2000, "destroy_file": true });
    scene
        .call("remove_disk", all)
        .fails("device.has_snapshots", "none");
    scene
        .call("remove_disk", json!({ "device_key": 2000 }))
        .ok();
    let body = sent(&scene);
    assert!(
        body.contains("<operation>remove</operation><device"),
        "{body}"
    );
    assert!(!body.contains("fileOperation"), "{body}");
    let expect = json!({ "device_key": 2000, "expect": { "file": "[ds] other.vmdk" } });
    let refused = scene.call("remove_disk", expect);
    assert_eq!(
        refused.fails("vm.changed_since", "none")["found"]["file"],
        "[ds] web01/a.vmdk"
    );
}

#[test]
fn a_lost_answer_to_an_addition_is_looked_after() {
    // One read was for the plan: the machine and its place.
    let grown = |seen: &Seen| {
        let devices = CONTROLLER.to_owned() + &disks(0..if seen.nth < 1 { 1 } else { 2 });
        with("poweredOff", &devices, "")
    };
    let script = |seen: &Seen| (seen.method == "ReconfigVM_Task").then_some(Reply::Close);
    let scene = Scene::new(grown, script);
    let done = scene.call("add_disk", json!({ "size_gb": 1 })).ok();
    assert_eq!(done["disk"]["device_key"], 2001, "{done}");
    assert_eq!(done["undo"]["device_key"], 2001);
    assert_eq!(scene.was_sent("ReconfigVM_Task"), 1);
    let own = with("poweredOff", CONTROLLER, "");
    let scene = Scene::new(move |_| own.clone(), script);
    scene
        .call("add_disk", json!({ "size_gb": 1 }))
        .fails("vsphere.lost_answer", "unknown");
}

/// A CD drive with this backing.
fn drive(backing: &str, connected: bool) -> String {
    format!(
        "<VirtualDevice xsi:type=\"VirtualCdrom\"><key>16000</key><deviceInfo><label>CD/DVD drive 1</label>\
         <summary>s</summary></deviceInfo>{backing}<connectable><migrateConnect>unset</migrateConnect>\
         <startConnected>{connected}</startConnected><allowGuestControl>true</allowGuestControl>\
         <connected>{connected}</connected></connectable><controllerKey>15000</controllerKey>\
         <unitNumber>0</unitNumber></VirtualDevice>"
    )
}

const EMPTY: &str = "<backing xsi:type=\"VirtualCdromRemotePassthroughBackingInfo\"><deviceName></deviceName></backing>";
const FULL: &str =
    "<backing xsi:type=\"VirtualCdromIsoBackingInfo\"><fileName>[ds] old.iso</fileName></backing>";

#[test]
fn an_iso_file_is_mounted_exchanged_and_ejected_with_its_undo() {
    let empty = scene("poweredOn", &drive(EMPTY, false));
    let mounted = empty
        .call("mount_iso", json!({ "path": "[ds] new.iso" }))
        .ok();
    assert_eq!(
        mounted["before"],
        json!({ "iso": "", "connected": false, "start_connected": false })
    );
    assert_eq!(mounted["undo"]["action"], "eject_iso");
    assert_eq!(mounted["undo_kind"], "exact");
    let body = sent(&empty);
    assert!(body.contains("<backing xsi:type=\"VirtualCdromIsoBackingInfo\"><fileName>[ds] new.iso</fileName></backing>"), "{body}");
    assert!(body.contains("<connected>true</connected>"), "{body}");
    let nothing = empty.call("eject_iso", json!({})).ok();
    assert_eq!(nothing["changed"], false);
    let full = scene("poweredOff", &drive(FULL, true));
    let preview = full
        .call(
            "mount_iso",
            json!({ "path": "[ds] new.iso", "preview": true }),
        )
        .ok();
    // It does not run: the drive is connected when it starts.
    assert_eq!(preview["after"]["connected"], false);
    assert_eq!(preview["undo"]["path"], "[ds] old.iso");
    assert_eq!(preview["undo"]["expect"]["iso"], "[ds] new.iso");
    let ejected = full
        .call("eject_iso", json!({ "device_label": "CD/DVD drive 1" }))
        .ok();
    assert_eq!(ejected["undo"]["path"], "[ds] old.iso");
    assert_eq!(ejected["undo"]["start_connected"], true);
    assert!(sent(&full).contains("VirtualCdromRemotePassthroughBackingInfo"));
    let stale = json!({ "path": "[ds] a.iso", "expect": { "iso": "[ds] other.iso" } });
    full.call("mount_iso", stale)
        .fails("vm.changed_since", "none");
    let two = drive(FULL, true) + &drive(FULL, true).replace("16000", "16001");
    scene("poweredOff", &two)
        .call("eject_iso", json!({}))
        .fails("device.ambiguous", "none");
    scene("poweredOff", "<VirtualDevice/>")
        .call("mount_iso", json!({ "path": "[ds] a.iso" }))
        .fails("device.not_found", "none");
}

#[test]
fn an_adapter_is_connected_to_an_opaque_network_by_its_id_and_kind() {
    let networks = |seen: &Seen| {
        if seen.method != "RetrievePropertiesEx" || seen.body.contains(">vm-42</obj>") {
            return None;
        }
        let of = |wanted: &str| seen.body.contains(wanted);
        let summary = property(
            "summary",
            "<name>nsx</name><opaqueNetworkId>id-1</opaqueNetworkId><opaqueNetworkType>nsx.LogicalSwitch</opaqueNetworkType>",
        );
        let group = property("key", "dvportgroup-9") + &property("config.uplink", "true");
        let mut objects = String::new();
        for (kind, id, name, more) in [
            ("OpaqueNetwork", "network-o1", "nsx", summary),
            (
                "DistributedVirtualPortgroup",
                "dvportgroup-9",
                "uplinks",
                group,
            ),
        ] {
            if of(&format!(">{id}</obj>")) || of("<type>Network</type>") {
                objects += &format!(
                    "<objects><obj type=\"{kind}\">{id}</obj>{}{more}</objects>",
                    property("name", name)
                );
            }
        }
        (!objects.is_empty()).then(|| {
            Reply::Soap(format!(
                "<RetrievePropertiesExResponse xmlns=\"urn:vim25\"><returnval>{objects}</returnval></RetrievePropertiesExResponse>"
            ))
        })
    };
    let own = with("poweredOn", CONTROLLER, "");
    let scene = Scene::new(
        move |_| own.clone(),
        move |seen| wait(success)(seen).or_else(|| networks(seen)),
    );
    scene.call("add_nic", json!({ "network": "nsx" })).ok();
    let body = sent(&scene);
    assert!(
        body.contains("<device xsi:type=\"VirtualVmxnet3\">"),
        "{body}"
    );
    assert!(
        body.contains("<opaqueNetworkId>id-1</opaqueNetworkId><opaqueNetworkType>nsx.LogicalSwitch</opaqueNetworkType>"),
        "{body}"
    );
    let refused = scene.call("add_nic", json!({ "network": "uplinks" }));
    refused.fails("network.unusable", "none");
}

fn asking() -> String {
    machine("poweredOn") + &format!("<propSet><name>runtime.question</name>{QUESTION}</propSet>")
}

#[test]
fn c11_a_question_is_answered_by_key_or_label_and_only_the_one_that_is_meant() {
    for said in ["0", "yes"] {
        // One read was for the plan; then it is answered.
        let scene = Scene::new(
            |seen| {
                if seen.nth < 1 {
                    asking()
                } else {
                    machine("poweredOn")
                }
            },
            |_| None,
        );
        let done = scene
            .call(
                "answer_question",
                json!({ "choice": said, "question_id": "7" }),
            )
            .ok();
        assert_eq!(done["changed"], true);
        assert_eq!(done["question"]["text"], "Keep it?");
        assert_eq!(done["undo_kind"], "none");
        let sent = scene.fake.of("AnswerVM");
        assert!(
            sent[0]
                .body
                .contains("<questionId>7</questionId><answerChoice>0</answerChoice>")
        );
    }
    let scene = Scene::new(|_| asking(), |_| None);
    let refused = scene.call("answer_question", json!({ "choice": "perhaps" }));
    let body = refused.fails("argument.out_of_range", "none");
    assert_eq!(body["question"]["choices"][0]["label"], "Yes");
    scene
        .call(
            "answer_question",
            json!({ "choice": "0", "question_id": "8" }),
        )
        .fails("question.other", "none");
    assert_eq!(scene.was_sent("AnswerVM"), 0);
    // It is still asked afterwards: the server's word counts, and what is asked now is shown by it alone.
    let vm = scene.call("get_vm", json!({})).ok()["vm"].clone();
    assert_eq!(vm["waits_for_answer"], true);
    assert_eq!(vm["question_choices"][0]["key"], "0");
    let quiet = Scene::new(|_| machine("poweredOn"), |_| None);
    let nothing = quiet.call("answer_question", json!({ "choice": "0" })).ok();
    assert_eq!(nothing["changed"], false);
    assert_eq!(quiet.was_sent("AnswerVM"), 0);
}

#[test]
fn a_lost_answer_to_an_answer_is_looked_after() {
    let lost = |seen: &Seen| (seen.method == "AnswerVM").then_some(Reply::Close);
    let answered = |seen: &Seen| {
        if seen.nth < 1 {
            asking()
        } else {
            machine("poweredOn")
        }
    };
    let scene = Scene::new(answered, lost);
    assert_eq!(
        scene.call("answer_question", json!({ "choice": "0" })).ok()["changed"],
        true
    );
    let scene = Scene::new(|_| asking(), lost);
    scene
        .call("answer_question", json!({ "choice": "0" }))
        .fails("vsphere.lost_answer", "unknown");
    assert_eq!(scene.was_sent("AnswerVM"), 1);
}
