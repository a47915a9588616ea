//! VMs that a call makes: from another, from a template, from nothing.

use serde_json::{Value, json};

use crate::outside::soap;
use crate::placing::{clustered, vm_folder};
use crate::support::Lab;

fn key(name: &str) -> Value {
    json!({ "pilothouse/key": name, "pilothouse/attempt": 1 })
}

fn total(lab: &Lab, name: &str) -> Value {
    lab.call("list_vms", json!({ "vm_name": name })).ok()["total"].clone()
}

#[test]
fn a_clone_is_made_once_for_one_key_and_its_undo_deletes_it_and_no_other() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    let of = json!({ "moref": vm["moref"], "name": "twin" });
    let mut asked = of.clone();
    asked["preview"] = json!(true);
    let shown = lab.call_with("clone", asked, key("wf_1/a/do/0")).ok();
    assert_eq!(total(&lab, "twin"), 0, "a preview makes nothing");
    assert_eq!(shown["target"]["path"], "/DC0/vm/twin");
    assert_eq!(shown["target"]["source"], vm["moref"]);
    assert_eq!(shown["undo"]["vm_key"], "wf_1/a/do/0");
    let one = lab.call_with("clone", of.clone(), key("wf_1/a/do/0")).ok();
    let clone = &one["vm"];
    assert_eq!(clone["name"], "twin");
    assert_ne!(clone["instance_uuid"], vm["instance_uuid"]);
    assert_eq!(one["undo"]["moref"], clone["moref"]);
    assert_eq!(one["undo"]["instance_uuid"], clone["instance_uuid"]);
    assert_eq!(total(&lab, "twin"), shown["verify"]["after"]["/total"]);
    // The same key finds it, another is another deed, and the name is taken.
    let two = lab.call_with("clone", of.clone(), key("wf_1/a/do/0")).ok();
    assert_eq!(two["found_under_key"], true);
    assert_eq!(two["vm"], *clone);
    assert_eq!(two["undo"], one["undo"]);
    let other = lab.call_with("clone", of, key("wf_1/a/do/1"));
    other.fails("vsphere.duplicate_name", "none");
    // Whoever claims another key does not delete it.
    let mut wrong = one["undo"].clone();
    wrong["vm_key"] = json!("wf_1/a/do/1");
    lab.server.call(wrong).fails("target.changed", "none");
    let mut wrong = shown["undo"].clone();
    wrong["vm_key"] = json!("wf_1/a/do/1");
    lab.server.call(wrong).fails("vm.not_found", "none");
    // The prepared undo finds it by its name and key.
    lab.server.call(shown["undo"].clone()).ok();
    assert_eq!(total(&lab, "twin"), 0);
    assert_eq!(lab.look(&vm)["moref"], vm["moref"]);
    lab.no_session_is_left();
}

#[test]
fn a_clone_of_a_clone_does_not_pass_for_what_was_made_under_the_first_key() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    let one = json!({ "moref": vm["moref"], "name": "one" });
    let one = lab.call_with("clone", one, key("wf_1/a/do/0")).ok();
    let two = json!({ "moref": one["vm"]["moref"], "name": "two" });
    let two = lab.call("clone", two).ok();
    assert!(two["undo"].get("vm_key").is_none());
    let mut undo = two["undo"].clone();
    undo["vm_key"] = json!("wf_1/a/do/0");
    lab.server.call(undo).fails("target.changed", "none");
    lab.server.call(two["undo"].clone()).ok();
    assert_eq!(total(&lab, "one"), 1);
}

#[test]
fn a_clone_goes_where_the_call_says_and_runs_if_it_says_so() {
    let lab = Lab::new(&["-vm", "1", "-ds", "2"]);
    let parent = vm_folder(&lab);
    let body = format!(
        "<CreateFolder xmlns=\"urn:vim25\"><_this type=\"Folder\">{parent}</_this><name>apps</name></CreateFolder>"
    );
    soap(&lab.vcsim, &[body]);
    let vm = clustered(&lab);
    let of = json!({
        "moref": vm["moref"], "name": "twin", "folder": "/DC0/vm/apps", "datastore": "LocalDS_1",
        "host_system": "DC0_C0_H1", "power_on": true
    });
    let done = lab.call("clone", of).ok();
    let now = lab.look(&done["vm"]);
    assert_eq!(now["path"], "/DC0/vm/apps/twin");
    assert_eq!(now["host"], "DC0_C0_H1");
    assert_eq!(now["power_state"], "poweredOn");
    assert!(now["vmx_path"].as_str().unwrap().starts_with("[LocalDS_1]"));
    // It runs: its undo says that it must be off, and does not power it off.
    assert_eq!(done["undo_kind"], "conditional");
    lab.server
        .call(done["undo"].clone())
        .fails("vsphere.invalid_power_state", "none");
    lab.call(
        "clone",
        json!({ "moref": vm["moref"], "name": "y", "linked": true }),
    )
    .fails("snapshot.missing_identifier", "none");
    lab.call(
        "clone",
        json!({ "moref": vm["moref"], "name": "y", "linked": true, "snapshot_name": "none" }),
    )
    .fails("snapshot.not_found", "none");
}

#[test]
fn a_template_is_marked_deployed_and_made_a_machine_again() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = clustered(&lab);
    let of = json!({ "moref": vm["moref"] });
    lab.call("mark_template", of.clone())
        .fails("vsphere.invalid_power_state", "none");
    lab.call("power_off", of.clone()).ok();
    let deploy = json!({ "moref": vm["moref"], "name": "new", "cluster": "DC0_C0", "host_system": "DC0_C0_H0" });
    lab.call("deploy_template", deploy.clone())
        .fails("vm.not_a_template", "none");
    let marked = lab.call("mark_template", of.clone()).ok();
    assert_eq!(lab.look(&vm)["template"], true);
    assert_eq!(lab.call("mark_template", of.clone()).ok()["changed"], false);
    lab.call(
        "deploy_template",
        json!({ "moref": vm["moref"], "name": "new" }),
    )
    .fails("argument.missing", "none");
    lab.call("clone", json!({ "moref": vm["moref"], "name": "new" }))
        .fails("argument.missing", "none");
    let made = lab.call("deploy_template", deploy).ok();
    assert_eq!(lab.look(&made["vm"])["template"], false);
    lab.server.call(made["undo"].clone()).ok();
    assert_eq!(total(&lab, "new"), 0);
    // The undo knows the pool and the host, which the template has lost.
    lab.server.call(marked["undo"].clone()).ok();
    let now = lab.look(&vm);
    assert_eq!(now["template"], false);
    assert_eq!(now["host"], vm["host"]);
    lab.call("power_on", of.clone()).ok();
    lab.call("mark_vm", of).fails("argument.missing", "none");
}

#[test]
fn a_machine_is_made_from_nothing_and_deleted_by_its_undo() {
    for (flags, more) in [
        (
            &["-vm", "1"][..],
            json!({ "cluster": "DC0_C0", "host_system": "DC0_C0_H0" }),
        ),
        (
            &["-esx", "-vm", "1"],
            json!({ "host_system": "localhost.localdomain" }),
        ),
    ] {
        let lab = Lab::new(flags);
        let mut of =
            json!({ "name": "fresh", "datastore": "LocalDS_0", "cpu": 2, "memory_mb": 512 });
        crate::support::merge(&mut of, &more);
        let mut asked = of.clone();
        asked["preview"] = json!(true);
        let shown = lab.call_with("create_vm", asked, key("wf_1/a/do/0")).ok();
        assert_eq!(shown["after"]["guest_id"], "otherGuest64");
        assert_eq!(total(&lab, "fresh"), 0);
        let one = lab
            .call_with("create_vm", of.clone(), key("wf_1/a/do/0"))
            .ok();
        let now = lab.look(&one["vm"]);
        assert_eq!((&now["cpu"], &now["memory_mb"]), (&json!(2), &json!(512)));
        let two = lab
            .call_with("create_vm", of.clone(), key("wf_1/a/do/0"))
            .ok();
        assert_eq!(two["vm"], one["vm"]);
        lab.call("create_vm", of)
            .fails("vsphere.duplicate_name", "none");
        assert_eq!(total(&lab, "fresh"), 1);
        lab.server.call(one["undo"].clone()).ok();
        assert_eq!(total(&lab, "fresh"), 0);
        lab.no_session_is_left();
    }
    // Where there is one place only, it need not be said.
    let of = json!({ "name": "fresh", "datastore": "LocalDS_0", "preview": true });
    let lab = Lab::new(&["-esx", "-vm", "1"]);
    assert_eq!(
        lab.call("create_vm", of.clone()).ok()["warnings"],
        json!([])
    );
    let lab = Lab::new(&["-vm", "1"]);
    lab.call("create_vm", of).fails("argument.missing", "none");
}
