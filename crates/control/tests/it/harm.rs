//! Looking before harm: what hangs on a machine is shown, and refuses what would harm it. The
//! simulator has nothing of the kind: a scripted fake does.

use serde_json::{Value, json};

use crate::fake::{Reply, Seen};
use crate::scene::{Scene, machine, property, success};
use crate::support::Lab;

/// A disk as a server shows it, on a file and the files below that.
pub(crate) fn disk(key: u32, unit: u32, files: &[&str], more: &str) -> String {
    let mut backing = String::new();
    for file in files.iter().rev() {
        let ty = "xsi:type=\"VirtualDiskFlatVer2BackingInfo\"";
        let parent = if backing.is_empty() {
            String::new()
        } else {
            format!("<parent {ty}>{backing}</parent>")
        };
        backing = format!("<fileName>{file}</fileName><diskMode>persistent</diskMode>{parent}");
    }
    format!(
        "<VirtualDevice xsi:type=\"VirtualDisk\"><key>{key}</key><deviceInfo><label>Hard disk {key}</label>\
         <summary>s</summary></deviceInfo><backing xsi:type=\"VirtualDiskFlatVer2BackingInfo\">{backing}</backing>\
         <controllerKey>1000</controllerKey><unitNumber>{unit}</unitNumber><capacityInKB>1048576</capacityInKB>\
         <capacityInBytes>1073741824</capacityInBytes>{more}</VirtualDevice>"
    )
}

/// Our machine with these devices and properties, in a datastore.
pub(crate) fn with(power: &str, devices: &str, more: &str) -> String {
    let store = "<ManagedObjectReference type=\"Datastore\">datastore-1</ManagedObjectReference>";
    machine(power)
        + &property("config.hardware.device", devices)
        + &property("config.files.vmPathName", "[ds] web01/web01.vmx")
        + &property("datastore", store)
        + more
}

/// The other machines of the datastore: each with one disk on these files.
pub(crate) fn neighbours(seen: &Seen, others: &[(&str, &[&str])]) -> Option<Reply> {
    if seen.method != "RetrievePropertiesEx" {
        return None;
    }
    let mut objects = String::new();
    if seen.body.contains(">datastore-1</obj>") {
        let vms: String = ["vm-42"]
            .iter()
            .chain(others.iter().map(|(id, _)| id))
            .map(|id| {
                format!(
                    "<ManagedObjectReference type=\"VirtualMachine\">{id}</ManagedObjectReference>"
                )
            })
            .collect();
        objects = format!(
            "<objects><obj type=\"Datastore\">datastore-1</obj>{}</objects>",
            property("vm", &vms)
        );
    } else {
        for (id, files) in others {
            if seen.body.contains(&format!(">{id}</obj>")) {
                objects += &format!(
                    "<objects><obj type=\"VirtualMachine\">{id}</obj>{}{}</objects>",
                    property("name", &format!("name of {id}")),
                    property("config.hardware.device", &disk(2000, 0, files, ""))
                );
            }
        }
        if objects.is_empty() {
            return None;
        }
    }
    Some(Reply::Soap(format!(
        "<RetrievePropertiesExResponse xmlns=\"urn:vim25\"><returnval>{objects}</returnval></RetrievePropertiesExResponse>"
    )))
}

fn ends(seen: &Seen) -> Option<Reply> {
    (seen.method == "WaitForUpdatesEx").then(success)
}

fn names(body: &Value) -> Vec<&str> {
    let findings = body["findings"].as_array().unwrap();
    findings.iter().filter_map(Value::as_str).collect()
}

const FILES: &[&str] = &["[ds] web01/web01-000001.vmdk", "[ds] web01/web01.vmdk"];

#[test]
fn a_machine_that_others_stand_on_is_not_deleted_unless_the_findings_are_named() {
    let own = with("poweredOff", &disk(2000, 0, FILES, ""), "");
    let others: &[(&str, &[&str])] = &[
        ("vm-43", &["[ds] clone/clone.vmdk", "[ds] web01/web01.vmdk"]),
        ("vm-44", &["[ds] web01/web01-000001.vmdk"]),
        ("vm-45", &["[ds] other/other.vmdk"]),
    ];
    let scene = Scene::new(
        move |_| own.clone(),
        move |seen| ends(seen).or_else(|| neighbours(seen, others)),
    );
    let refused = scene.call("delete", json!({}));
    let body = refused.fails("harm.found", "none");
    assert_eq!(names(body), ["linked_clones", "shared_disks"]);
    assert_eq!(
        body["details"][0]["about"],
        json!([{ "moref": "vm-43", "name": "name of vm-43" }])
    );
    assert_eq!(body["details"][1]["about"][0]["moref"], "vm-44");
    // The preview shows the same, and warns.
    let preview = scene.call("delete", json!({ "preview": true })).ok();
    assert_eq!(preview["hangs_on_it"]["findings"], body["details"]);
    assert_eq!(
        preview["hangs_on_it"]["disks"][0]["stands_on"],
        "[ds] web01/web01.vmdk"
    );
    assert!(
        preview["warnings"][0]
            .as_str()
            .unwrap()
            .starts_with("It would be refused now")
    );
    // One of two named is not enough.
    let half = scene.call("delete", json!({ "override": ["linked_clones"] }));
    assert_eq!(names(half.fails("harm.found", "none")), ["shared_disks"]);
    assert_eq!(scene.was_sent("Destroy_Task"), 0);
    let both = json!({ "override": ["linked_clones", "shared_disks"] });
    let done = scene.call("delete", both).ok();
    assert_eq!(done["changed"], true);
    assert!(done["warnings"].to_string().contains("linked clone"));
    assert_eq!(scene.was_sent("Destroy_Task"), 1);
}

#[test]
fn a_linked_clone_itself_harms_nobody_when_it_is_deleted() {
    let own = with(
        "poweredOff",
        &disk(
            2000,
            0,
            &["[ds] web01/web01.vmdk", "[ds] base/base.vmdk"],
            "",
        ),
        "",
    );
    let others: &[(&str, &[&str])] = &[
        (
            "vm-43",
            &["[ds] sibling/sibling.vmdk", "[ds] base/base.vmdk"],
        ),
        (
            "vm-44",
            &["[ds] base/base-000001.vmdk", "[ds] base/base.vmdk"],
        ),
    ];
    let scene = Scene::new(
        move |_| own.clone(),
        move |seen| ends(seen).or_else(|| neighbours(seen, others)),
    );
    assert_eq!(scene.call("delete", json!({})).ok()["changed"], true);
}

#[test]
fn what_cannot_be_looked_at_is_said_and_not_taken_for_harmless() {
    let own = with("poweredOff", &disk(2000, 0, FILES, ""), "");
    let scene = Scene::new(
        move |_| own.clone(),
        |seen| {
            let of_store =
                seen.method == "RetrievePropertiesEx" && seen.body.contains(">datastore-1</obj>");
            of_store.then_some(Reply::Fault("NoPermission", ""))
        },
    );
    let refused = scene.call("delete", json!({}));
    assert_eq!(
        names(refused.fails("harm.found", "none")),
        ["unknown_clones"]
    );
}

#[test]
fn disks_that_are_more_than_a_file_and_replication_are_found() {
    let raw = disk(2000, 0, &["[ds] web01/raw.vmdk"], "").replace("FlatVer2", "RawDiskMappingVer1");
    let first = disk(
        2001,
        1,
        &["[ds] fcd/a.vmdk"],
        "<vDiskId><id>fcd-1</id></vDiskId>",
    );
    let shared = disk(2002, 2, &["[ds] web01/s.vmdk"], "").replace(
        "<diskMode>",
        "<sharing>sharingMultiWriter</sharing><diskMode>",
    );
    let more = property("config.repConfig", "<generation>1</generation>")
        + &property("config.keyId", "<keyId>k</keyId>");
    let own = with("poweredOff", &(raw + &first + &shared), &more);
    let scene = Scene::new(move |_| own.clone(), ends);
    let refused = scene.call("delete", json!({}));
    let found = names(refused.fails("harm.found", "none")).join(" ");
    assert_eq!(
        found,
        "raw_devices first_class_disks shared_disks replication"
    );
    let preview = scene.call("delete", json!({ "preview": true })).ok();
    // Encryption is said, and no danger to anybody else.
    assert!(
        preview["warnings"].to_string().contains("encrypted"),
        "{preview}"
    );
    assert!(!found.contains("encrypted"));
}

#[test]
fn the_running_state_of_what_others_manage_is_not_taken_away_unasked() {
    let agent = property(
        "summary.config.managedBy",
        "<extensionKey>com.vmware.agent</extensionKey><type>t</type>",
    ) + &property("runtime.faultToleranceState", "running")
        + &property(
            "disabledMethod",
            "<string>ResetVM_Task</string><string>Rename_Task</string>",
        );
    let own = machine("poweredOn") + &agent;
    let off = machine("poweredOff") + &agent;
    let scene = Scene::new(move |_| own.clone(), ends);
    for (action, findings) in [
        ("power_off", "managed_by fault_tolerance"),
        ("suspend", "managed_by fault_tolerance"),
        ("reset", "managed_by fault_tolerance method_disabled"),
    ] {
        let refused = scene.call(action, json!({}));
        let body = refused.fails("harm.found", "none");
        assert_eq!(names(body).join(" "), findings, "{action}");
    }
    assert!(
        scene
            .fake
            .seen()
            .iter()
            .all(|seen| !seen.method.ends_with("VM_Task"))
    );
    let named = json!({ "override": ["managed_by", "fault_tolerance", "method_disabled"] });
    scene.call("reset", named).ok();
    assert_eq!(scene.was_sent("ResetVM_Task"), 1);
    // An undo is not stopped by what hung on the machine before it as well.
    let scene = Scene::new(move |_| off.clone(), ends);
    let preview = scene.call("power_on", json!({ "preview": true })).ok();
    assert_eq!(
        preview["undo"]["override"],
        json!(["managed_by", "fault_tolerance"])
    );
}

#[test]
fn an_ordinary_machine_of_a_simulator_has_nothing_that_would_be_harmed() {
    for flags in [&["-vm", "2"][..], &["-esx", "-vm", "2"]] {
        let lab = Lab::new(flags);
        let vm = lab.vm();
        let of = json!({ "moref": vm["moref"] });
        let mut asked = of.clone();
        asked["preview"] = json!(true);
        for action in ["reset", "suspend", "power_off"] {
            let preview = lab.call(action, asked.clone()).ok();
            assert_eq!(preview["warnings"], json!([]), "{action}");
        }
        lab.call("power_off", of.clone()).ok();
        let preview = lab.call("delete", asked).ok();
        assert_eq!(preview["hangs_on_it"]["findings"], json!([]), "{preview}");
        assert_eq!(preview["hangs_on_it"]["disks_total"], 1);
        assert_eq!(lab.call("delete", of).ok()["changed"], true);
    }
}
