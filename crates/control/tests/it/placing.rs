//! Where a VM is: its name, its folder, its host, its registration; and the way back.

use serde_json::{Value, json};
use vsphere::FilterSpec;

use crate::outside::{rename, soap, with_session};
use crate::support::{Lab, merge};

/// The id of the only folder for VMs.
pub(crate) fn vm_folder(lab: &Lab) -> String {
    with_session(&lab.vcsim, |session| async move {
        let root = session.content().need("rootFolder")?;
        let spec = FilterSpec::inventory(&root, &[("Datacenter", &["vmFolder"])]);
        let all = session.collect(&[spec]).await?;
        let folder = all[0].get("vmFolder").and_then(vsphere::Value::as_moref);
        Ok(folder.expect("a datacenter has a folder for VMs").id)
    })
}

/// Makes a folder for VMs.
fn make_folder(lab: &Lab, name: &str) {
    let parent = vm_folder(lab);
    let body = format!(
        "<CreateFolder xmlns=\"urn:vim25\"><_this type=\"Folder\">{parent}</_this><name>{name}</name></CreateFolder>"
    );
    soap(&lab.vcsim, &[body]);
}

fn previewed(lab: &Lab, action: &str, arguments: &Value) -> Value {
    let mut asked = arguments.clone();
    asked["preview"] = json!(true);
    lab.call(action, asked).ok()
}

/// The machine in the cluster, which has several hosts.
pub(crate) fn clustered(lab: &Lab) -> Value {
    let all = lab.call("list_vms", json!({})).ok();
    let all = all["vms"].as_array().unwrap();
    let found = all
        .iter()
        .find(|vm| vm["name"].as_str().unwrap().contains("_C0_"));
    found.expect("a VM in the cluster").clone()
}

#[test]
fn c9_a_rename_is_shown_done_verified_and_undone() {
    for flags in [&["-vm", "1"][..], &["-esx", "-vm", "1"]] {
        let lab = Lab::new(flags);
        let vm = lab.vm();
        let of = json!({ "moref": vm["moref"], "new_name": "a/b \\ 100% <ü&\"'>" });
        let shown = previewed(&lab, "rename", &of);
        assert_eq!(shown["before"]["name"], vm["name"]);
        assert_eq!(shown["after"]["name"], of["new_name"]);
        assert_eq!(
            lab.look(&vm)["name"],
            vm["name"],
            "a preview changes nothing"
        );
        let done = lab.call("rename", of.clone()).ok();
        assert_eq!(done["after"]["name"], of["new_name"]);
        assert_eq!(done["undo_kind"], "exact");
        assert_eq!(done["undo"], shown["undo"]);
        assert_eq!(
            lab.look(&vm)["name"],
            shown["verify"]["after"]["/vm/name"],
            "the read that verifies sees it"
        );
        assert_eq!(lab.call("rename", of).ok()["changed"], false);
        lab.server.call(done["undo"].clone()).ok();
        assert_eq!(lab.look(&vm)["name"], vm["name"]);
        lab.no_session_is_left();
    }
}

#[test]
fn c9_an_undo_of_a_rename_does_not_overwrite_a_later_name() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    let of = json!({ "moref": vm["moref"], "new_name": "mine" });
    let done = lab.call("rename", of).ok();
    let reference = vsphere::MoRef::new("VirtualMachine", vm["moref"].as_str().unwrap());
    rename(&lab.vcsim, &reference, "theirs");
    let refused = lab.server.call(done["undo"].clone());
    let body = refused.fails("vm.changed_since", "none");
    assert_eq!(body["found"]["name"], "theirs");
    assert_eq!(lab.look(&vm)["name"], "theirs");
}

#[test]
fn c9_a_name_that_is_taken_or_cannot_be_is_refused_before_anything_is_sent() {
    let lab = Lab::new(&["-vm", "2"]);
    let all = lab.call("list_vms", json!({})).ok();
    let (one, two) = (&all["vms"][0], &all["vms"][1]);
    let of = |name: &str| json!({ "moref": one["moref"], "new_name": name });
    let refused = lab.call("rename", of(two["name"].as_str().unwrap()));
    let body = refused.fails("vsphere.duplicate_name", "none");
    assert_eq!(body["moref"], two["moref"]);
    lab.call("rename", of(&"x".repeat(81)))
        .fails("argument.too_long", "none");
    lab.call("rename", of(" x"))
        .fails("argument.out_of_range", "none");
    lab.call("rename", json!({ "moref": one["moref"] }))
        .fails("argument.missing", "none");
    // Eighty characters, each escaped, still fit.
    lab.call("rename", of(&"%2f".repeat(80))).ok();
    assert_eq!(lab.look(one)["name"], "/".repeat(80));
}

#[test]
fn a_move_to_another_folder_leads_back_unless_it_was_moved_again() {
    let lab = Lab::new(&["-vm", "1"]);
    for name in ["apps", "old"] {
        make_folder(&lab, name);
    }
    let vm = lab.vm();
    let of = json!({ "moref": vm["moref"], "folder": "/DC0/vm/apps" });
    let shown = previewed(&lab, "move_to_folder", &of);
    let done = lab.call("move_to_folder", of.clone()).ok();
    let path = format!("/DC0/vm/apps/{}", vm["name"].as_str().unwrap());
    assert_eq!(done["after"]["path"], path);
    assert_eq!(shown["verify"]["after"]["/vm/path"], path);
    assert_eq!(lab.look(&vm)["path"], path);
    assert_eq!(lab.call("move_to_folder", of).ok()["changed"], false);
    let elsewhere = json!({ "moref": vm["moref"], "folder": "old" });
    lab.call("move_to_folder", elsewhere).ok();
    lab.server
        .call(done["undo"].clone())
        .fails("vm.changed_since", "none");
    let back = json!({ "moref": vm["moref"], "folder": "apps" });
    lab.call("move_to_folder", back).ok();
    lab.server.call(done["undo"].clone()).ok();
    assert_eq!(lab.look(&vm)["path"], vm["path"]);
    lab.call(
        "move_to_folder",
        json!({ "moref": vm["moref"], "folder": "/DC0/host" }),
    )
    .fails("argument.out_of_range", "none");
    lab.call(
        "move_to_folder",
        json!({ "moref": vm["moref"], "folder": "aps" }),
    )
    .fails("object.not_found", "none");
}

/// A host of the cluster that is not the machine's own.
pub(crate) fn another_host(of: &Value) -> String {
    let own = of["host"].as_str().unwrap();
    let hosts = ["DC0_C0_H0", "DC0_C0_H1"];
    (*hosts.iter().find(|host| **host != own).unwrap()).to_owned()
}

#[test]
fn a_migration_to_another_host_is_checked_done_and_undone() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = clustered(&lab);
    let of = json!({ "moref": vm["moref"], "host_system": another_host(&vm) });
    let shown = previewed(&lab, "migrate", &of);
    assert_eq!(shown["before"]["host_system"], vm["host"]);
    assert_eq!(shown["after"]["host_system"], of["host_system"]);
    assert_eq!(
        shown["warnings"],
        json!([]),
        "the server's check finds nothing"
    );
    let done = lab.call("migrate", of.clone()).ok();
    assert_eq!(done["undo_kind"], "lossy");
    assert_eq!(lab.look(&vm)["host"], of["host_system"]);
    assert_eq!(lab.call("migrate", of.clone()).ok()["changed"], false);
    lab.server.call(done["undo"].clone()).ok();
    assert_eq!(lab.look(&vm)["host"], vm["host"]);
    // Back already: the same undo again would overwrite nothing of its own.
    lab.server.call(done["undo"].clone()).ok();
    // To a host of another compute resource, its pool is taken with it.
    let out = json!({ "moref": vm["moref"], "host_system": "/DC0/host/DC0_H0/DC0_H0" });
    let done = lab.call("migrate", out).ok();
    assert!(done["after"]["resource_pool"].is_string());
    assert!(done["undo"]["resource_pool"].is_string());
    lab.server.call(done["undo"].clone()).ok();
    assert_eq!(lab.look(&vm)["host"], vm["host"]);
}

#[test]
fn a_migration_to_a_host_in_maintenance_is_refused() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = clustered(&lab);
    let to = another_host(&vm);
    let host = with_session(&lab.vcsim, |session| {
        let to = to.clone();
        async move {
            let root = session.content().need("rootFolder")?;
            let spec = FilterSpec::inventory(&root, &[("HostSystem", &["name"])]);
            let all = session.collect(&[spec]).await?;
            let found = all.iter().find(|host| host.text("name") == Some(&to));
            Ok(found.unwrap().reference.id.clone())
        }
    });
    let body = format!(
        "<EnterMaintenanceMode_Task xmlns=\"urn:vim25\"><_this type=\"HostSystem\">{host}</_this>\
         <timeout>1</timeout></EnterMaintenanceMode_Task>"
    );
    soap(&lab.vcsim, &[body]);
    let of = json!({ "moref": vm["moref"], "host_system": to });
    crate::support::eventually("the host is in maintenance", || {
        let shown = previewed(&lab, "migrate", &of);
        shown["warnings"].to_string().contains("maintenance")
    });
    lab.call("migrate", of).fails("host.in_maintenance", "none");
    assert_eq!(lab.look(&vm)["host"], vm["host"]);
}

#[test]
fn a_migration_to_another_datastore_leads_back_to_the_old_one() {
    let lab = Lab::new(&["-vm", "1", "-ds", "2"]);
    let vm = clustered(&lab);
    let of = |name: &str| json!({ "moref": vm["moref"], "datastore": name });
    let shown = previewed(&lab, "migrate", &of("LocalDS_1"));
    assert_eq!(shown["before"]["datastore"], "LocalDS_0");
    let done = lab.call("migrate", of("LocalDS_1")).ok();
    assert_eq!(done["after"]["datastore"], "LocalDS_1");
    lab.server.call(done["undo"].clone()).ok();
    let again = previewed(&lab, "migrate", &of("LocalDS_1"));
    assert_eq!(again["before"]["datastore"], "LocalDS_0");
    lab.call("migrate", json!({ "moref": vm["moref"] }))
        .fails("argument.missing", "none");
    lab.call(
        "migrate",
        json!({ "moref": vm["moref"], "disk_datastores": { "9": "LocalDS_1" } }),
    )
    .fails("argument.out_of_range", "none");
}

#[test]
fn an_unregistered_machine_is_registered_again_where_it_was() {
    for flags in [&["-vm", "1"][..], &["-esx", "-vm", "1"]] {
        let lab = Lab::new(flags);
        let vm = lab.vm();
        let of = json!({ "moref": vm["moref"] });
        lab.call("unregister", of.clone())
            .fails("vsphere.invalid_power_state", "none");
        lab.call("power_off", of.clone()).ok();
        let done = lab.call("unregister", of.clone()).ok();
        assert_eq!(done["undo_kind"], "lossy");
        lab.call("get_vm", of.clone()).fails("vm.not_found", "none");
        let back = lab.server.call(done["undo"].clone()).ok();
        let now = lab.look(&back["vm"]);
        assert_eq!((&now["name"], &now["path"]), (&vm["name"], &vm["path"]));
        assert_ne!(
            now["moref"], vm["moref"],
            "a new reference, as the undo says"
        );
        // Registered already: nothing is to do, and the machine is named.
        let again = lab.server.call(done["undo"].clone()).ok();
        assert_eq!(again["changed"], false);
        assert_eq!(again["vm"]["moref"], back["vm"]["moref"]);
        // The undo of the registration names the new machine and its file.
        let undo = &back["undo"];
        assert_eq!(undo["moref"], back["vm"]["moref"]);
        let mut other = undo.clone();
        merge(
            &mut other,
            &json!({ "path": "[LocalDS_0] other/other.vmx" }),
        );
        lab.server.call(other).fails("target.changed", "none");
        lab.server.call(undo.clone()).ok();
        lab.no_session_is_left();
    }
}

#[test]
fn a_file_that_is_no_machines_is_not_registered() {
    let lab = Lab::new(&["-vm", "1"]);
    for path in ["web01.vmx", "[ds]", "[ds] web01/web01.vmdk"] {
        lab.call("register", json!({ "path": path }))
            .fails("argument.out_of_range", "none");
    }
    // With several compute resources it has to be said where.
    lab.call("register", json!({ "path": "[LocalDS_0] x/x.vmx" }))
        .fails("argument.missing", "none");
}

#[test]
fn what_only_a_vcenter_can_do_is_refused_on_a_standalone_host() {
    let lab = Lab::new(&["-esx", "-vm", "1"]);
    let vm = lab.vm();
    for (action, more) in [
        ("move_to_folder", json!({ "folder": "vm" })),
        ("migrate", json!({ "datastore": "LocalDS_0" })),
        ("clone", json!({ "name": "x" })),
        (
            "deploy_template",
            json!({ "name": "x", "resource_pool": "Resources" }),
        ),
        ("mark_template", json!({})),
        ("mark_vm", json!({ "resource_pool": "Resources" })),
    ] {
        let mut of = json!({ "moref": vm["moref"] });
        merge(&mut of, &more);
        lab.call(action, of).fails("platform.unsupported", "none");
    }
}
