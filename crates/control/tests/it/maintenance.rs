//! Hosts enter and leave maintenance, and are connected again.

use serde_json::{Value, json};

use crate::outside::soap;
use crate::support::Lab;

fn host(lab: &Lab) -> Value {
    lab.call("list_hosts", json!({})).ok()["hosts"][0].clone()
}

#[test]
fn a_host_enters_maintenance_and_its_undo_brings_it_back() {
    for flags in [&["-vm", "0", "-host", "2"][..], &["-esx", "-vm", "0"]] {
        let lab = Lab::new(flags);
        let before = host(&lab);
        let arguments = json!({ "host_system": before["moref"] });
        let mut asked = arguments.clone();
        asked["preview"] = json!(true);
        let preview = lab.call("enter_maintenance", asked).ok();
        assert_eq!(preview["changed"], true);
        assert_eq!(preview["target"]["moref"], before["moref"]);
        assert_eq!(preview["undo"]["action"], "exit_maintenance");
        assert_eq!(preview["undo_kind"], "exact");
        assert_eq!(
            host(&lab)["in_maintenance"],
            false,
            "a preview changes nothing"
        );
        let meta = json!({ "pilothouse/target": preview["target"] });
        let done = lab
            .call_with("enter_maintenance", arguments.clone(), meta)
            .ok();
        assert_eq!(done["changed"], true);
        assert_eq!(done["after"], json!({ "in_maintenance": true }));
        assert!(done["task"].is_string(), "{done}");
        assert_eq!(host(&lab)["in_maintenance"], true);
        let again = lab.call("enter_maintenance", arguments).ok();
        assert_eq!(again["changed"], false);
        assert_eq!(again["undo"], Value::Null);
        let undone = lab.server.call(done["undo"].clone()).ok();
        assert_eq!(undone["changed"], true);
        assert_eq!(undone["undo"]["action"], "enter_maintenance");
        assert_eq!(undone["undo_kind"], "conditional");
        assert_eq!(host(&lab)["in_maintenance"], false);
        assert_eq!(lab.server.call(done["undo"].clone()).ok()["changed"], false);
        lab.no_session_is_left();
    }
}

#[test]
fn machines_that_run_on_a_host_are_counted_and_who_moves_them_is_said() {
    let words = |preview: &Value| preview["warnings"].to_string();
    let lab = Lab::new(&["-vm", "2"]);
    let vm = lab.vm();
    let of = json!({ "host_system": vm["host"], "preview": true });
    let preview = lab.call("enter_maintenance", of).ok();
    assert!(preview["vms"]["running"].as_u64() > Some(0), "{preview}");
    assert!(
        preview["vms"]["running_names"]
            .to_string()
            .contains(vm["name"].as_str().unwrap()),
        "{preview}"
    );
    assert_eq!(preview["undo_kind"], "lossy");
    assert!(words(&preview).contains("VMs run on it"), "{preview}");
    let alone = Lab::new(&["-esx", "-vm", "1"]);
    let of = json!({ "host_system": host(&alone)["moref"], "preview": true });
    let preview = alone.call("enter_maintenance", of).ok();
    assert_eq!(preview["evacuated_by"], "nobody");
    assert!(
        words(&preview).contains("never moves them away"),
        "{preview}"
    );
}

#[test]
fn a_host_that_was_disconnected_is_connected_again_and_not_changed_before() {
    let lab = Lab::new(&["-vm", "0"]);
    let id = host(&lab)["moref"].as_str().unwrap().to_owned();
    let of = json!({ "host_system": id });
    assert_eq!(
        lab.call("reconnect_host", of.clone()).ok()["changed"],
        false
    );
    let disconnect = format!(
        "<DisconnectHost_Task xmlns=\"urn:vim25\"><_this type=\"HostSystem\">{id}</_this></DisconnectHost_Task>"
    );
    soap(&lab.vcsim, &[disconnect]);
    crate::support::eventually("the host is disconnected", || {
        host(&lab)["connection_state"] == "disconnected"
    });
    lab.call("enter_maintenance", of.clone())
        .fails("vsphere.host_not_connected", "none");
    assert_eq!(host(&lab)["in_maintenance"], false);
    let done = lab.call("reconnect_host", of).ok();
    assert_eq!(done["before"]["connection_state"], "disconnected");
    assert_eq!(done["after"]["connection_state"], "connected");
    assert_eq!(host(&lab)["connection_state"], "connected");
    let esx = Lab::new(&["-esx", "-vm", "0"]);
    esx.call(
        "reconnect_host",
        json!({ "host_system": host(&esx)["moref"] }),
    )
    .fails("platform.unsupported", "none");
}
