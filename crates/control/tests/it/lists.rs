//! Lists of the inventory: what they hold, sorted, in pages, and how one machine is named.

use serde_json::{Value, json};

use crate::outside::soap;
use crate::support::Lab;

/// An inventory with something of every kind.
pub(crate) fn lab() -> Lab {
    Lab::new(&[
        "-vm", "2", "-pool", "1", "-app", "1", "-folder", "1", "-pod", "1", "-pg", "1", "-ds", "2",
    ])
}

pub(crate) fn rows<'a>(answer: &'a Value, field: &str) -> &'a Vec<Value> {
    answer[field]
        .as_array()
        .unwrap_or_else(|| panic!("{answer}"))
}

pub(crate) fn names<'a>(answer: &'a Value, field: &str) -> Vec<&'a str> {
    let names = rows(answer, field)
        .iter()
        .map(|row| row["name"].as_str().unwrap());
    names.collect()
}

#[test]
fn every_list_shows_each_object_once_with_path_and_reference() {
    let lab = lab();
    for (action, field, column) in [
        ("list_vms", "vms", "power_state"),
        ("list_hosts", "hosts", "cluster"),
        ("list_clusters", "clusters", "kind"),
        ("list_datacenters", "datacenters", "status"),
        ("list_datastores", "datastores", "type"),
        ("list_networks", "networks", "kind"),
        ("list_resource_pools", "resource_pools", "owner"),
        ("list_folders", "folders", "holds"),
    ] {
        let answer = lab.call(action, json!({})).ok();
        let rows = rows(&answer, field);
        assert!(!rows.is_empty(), "{answer}");
        assert_eq!(answer["total"], rows.len(), "{answer}");
        assert_eq!(answer["truncated"], false);
        let mut references: Vec<&str> = rows
            .iter()
            .map(|row| row["moref"].as_str().unwrap())
            .collect();
        references.sort_unstable();
        references.dedup();
        assert_eq!(references.len(), rows.len(), "{answer}");
        for row in rows {
            assert!(row["path"].as_str().unwrap().starts_with('/'), "{row}");
            assert!(row["unreadable"].is_null(), "{action}: {row}");
        }
        assert!(
            rows.iter().any(|row| !row[column].is_null()),
            "{action}: {answer}"
        );
        // Everything that is known of them, and only how many there are.
        let full = lab.call(action, json!({ "detail": "full" })).ok();
        assert_eq!(full["total"], rows.len(), "{full}");
        assert!(full.to_string().len() >= answer.to_string().len(), "{full}");
        let summary = lab.call(action, json!({ "detail": "summary" })).ok();
        assert_eq!(summary["total"], rows.len(), "{summary}");
        assert!(
            summary[field].is_null() && summary["counts"].is_object(),
            "{summary}"
        );
        for counts in summary["counts"].as_object().unwrap().values() {
            let counts = counts.as_object().unwrap().values();
            let sum: u64 = counts.map(|count| count.as_u64().unwrap()).sum();
            assert_eq!(json!(sum), summary["total"], "{summary}");
        }
    }
    lab.no_session_is_left();
}

#[test]
fn clusters_networks_and_hosts_say_what_kind_they_are_of() {
    let lab = lab();
    let clusters = lab.call("list_clusters", json!({ "detail": "full" })).ok();
    let cluster = rows(&clusters, "clusters")
        .iter()
        .find(|row| row["kind"] == "cluster")
        .unwrap();
    assert!(cluster["drs"].is_boolean(), "{cluster}");
    assert!(cluster["hosts"].as_u64().unwrap() >= 1);
    assert!(
        rows(&clusters, "clusters")
            .iter()
            .any(|row| row["kind"] == "host")
    );
    let networks = lab.call("list_networks", json!({})).ok();
    for kind in ["standard", "distributed"] {
        let found = rows(&networks, "networks")
            .iter()
            .find(|row| row["kind"] == kind);
        assert!(found.is_some(), "{kind}: {networks}");
    }
    let group = rows(&networks, "networks")
        .iter()
        .find(|row| row["kind"] == "distributed")
        .unwrap();
    assert!(
        group["portgroup_key"].is_string() && group["switch"].is_string(),
        "{group}"
    );
    let folders = lab.call("list_folders", json!({})).ok();
    assert!(
        rows(&folders, "folders")
            .iter()
            .any(|row| row["kind"] == "datastore_cluster"),
        "{folders}"
    );
    let pools = lab.call("list_resource_pools", json!({})).ok();
    assert!(
        rows(&pools, "resource_pools")
            .iter()
            .any(|row| row["kind"] == "vapp"),
        "{pools}"
    );
    let hosts = lab.call("list_hosts", json!({})).ok();
    let host = &rows(&hosts, "hosts")[0];
    for by in [
        host["name"].clone(),
        host["path"].clone(),
        host["moref"].clone(),
    ] {
        let one = lab.call("get_host", json!({ "host_system": by })).ok();
        assert_eq!(one["target"]["moref"], host["moref"]);
        assert_eq!(one["host"]["connection_state"], "connected");
        assert!(one["host"]["datastores"].is_array(), "{one}");
    }
    let wrong = lab.call("get_host", json!({ "host_system": "no such host" }));
    wrong.fails("object.not_found", "none");
    lab.call("get_host", json!({}))
        .fails("argument.missing", "none");
}

#[test]
fn c10_a_list_is_sorted_by_a_column_in_both_orders_and_paged_in_either() {
    let lab = Lab::new(&["-vm", "3"]);
    let all = lab.call("list_vms", json!({})).ok();
    for (at, vm) in rows(&all, "vms").iter().enumerate() {
        // Two of each size, and 8 before 16 as numbers.
        let cpu = [8, 16, 2][at % 3];
        lab.call("power_off", json!({ "moref": vm["moref"] })).ok();
        lab.call("reconfigure", json!({ "moref": vm["moref"], "cpu": cpu }))
            .ok();
    }
    for (sort, expected) in [
        ("cpu", [2, 2, 8, 8, 16, 16]),
        ("-cpu", [16, 16, 8, 8, 2, 2]),
    ] {
        let mut seen = Vec::new();
        let mut cursor = Value::Null;
        loop {
            let page = lab
                .call(
                    "list_vms",
                    json!({ "sort": sort, "limit": 1, "cursor": cursor }),
                )
                .ok();
            seen.extend(rows(&page, "vms").clone());
            cursor = page["next_cursor"].clone();
            if cursor.is_null() {
                break;
            }
            let other = lab.call("list_vms", json!({ "cursor": cursor }));
            other.fails("cursor.other_list", "none");
        }
        let cpus: Vec<i64> = seen.iter().map(|vm| vm["cpu"].as_i64().unwrap()).collect();
        assert_eq!(cpus, expected, "{sort}");
        let mut morefs: Vec<&str> = seen
            .iter()
            .map(|vm| vm["moref"].as_str().unwrap())
            .collect();
        morefs.sort_unstable();
        morefs.dedup();
        assert_eq!(morefs.len(), 6);
    }
    let descending = lab.call("list_vms", json!({ "sort": "-name" })).ok();
    let mut reversed = names(&all, "vms");
    reversed.reverse();
    assert_eq!(names(&descending, "vms"), reversed);
}

#[test]
fn c10_pages_lose_nothing_and_repeat_nothing_while_machines_come_and_go() {
    let lab = Lab::new(&["-vm", "4", "-standalone-host", "0"]);
    let all = lab.call("list_vms", json!({})).ok();
    let all = rows(&all, "vms").clone();
    let first = lab.call("list_vms", json!({ "limit": 2 })).ok();
    // The last row of the page itself goes, and so does one that was not shown yet.
    for gone in [&all[1], &all[2]] {
        lab.call("power_off", json!({ "moref": gone["moref"] }))
            .ok();
        lab.call("delete", json!({ "moref": gone["moref"] })).ok();
    }
    let rest = lab
        .call("list_vms", json!({ "cursor": first["next_cursor"] }))
        .ok();
    assert_eq!(rest["total"], 2);
    assert_eq!(rows(&rest, "vms").len(), 1);
    assert_eq!(rest["vms"][0]["moref"], all[3]["moref"]);
    assert_eq!(rest["next_cursor"], Value::Null);
}

#[test]
fn c9_a_machine_is_named_by_its_path_wherever_one_is_named() {
    let lab = lab();
    let all = lab.call("list_vms", json!({})).ok();
    for vm in rows(&all, "vms") {
        let found = lab.call("get_vm", json!({ "vm_path": vm["path"] })).ok();
        assert_eq!(found["vm"]["moref"], vm["moref"], "{vm}");
    }
    let vm = &rows(&all, "vms")[0];
    let reference = vsphere::MoRef::new("VirtualMachine", vm["moref"].as_str().unwrap());
    crate::outside::rename(&lab.vcsim, &reference, "a%2fb");
    let path = vm["path"].as_str().unwrap();
    let path = format!("{}/a%2Fb", &path[..path.rfind('/').unwrap()]);
    let off = lab.call("power_off", json!({ "vm_path": path })).ok();
    assert_eq!(off["changed"], true);
    assert_eq!(off["target"]["moref"], vm["moref"]);
    let listed = lab.call("list_vms", json!({ "vm_path": path })).ok();
    assert_eq!(listed["total"], 1);
    let both = lab.call(
        "get_vm",
        json!({ "moref": vm["moref"], "vm_path": "/DC0/vm/another" }),
    );
    both.fails("vm.identifiers_disagree", "none");
    lab.call("get_vm", json!({ "vm_path": "/DC0/vm/none" }))
        .fails("vm.not_found", "none");
    lab.no_session_is_left();
}

#[test]
fn find_vm_finds_by_name_address_and_uuid() {
    let lab = Lab::new(&["-vm", "2"]);
    let vm = lab.vm();
    let set = format!(
        "<ReconfigVM_Task xmlns=\"urn:vim25\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
         xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\"><_this type=\"VirtualMachine\">{}</_this><spec>\
         <extraConfig><key>SET.guest.ipAddress</key><value xsi:type=\"xsd:string\">10.1.2.3</value></extraConfig>\
         <extraConfig><key>SET.guest.hostName</key><value xsi:type=\"xsd:string\">Web01.example.com</value></extraConfig>\
         </spec></ReconfigVM_Task>",
        vm["moref"].as_str().unwrap()
    );
    soap(&lab.vcsim, &[set]);
    let one = lab.call("get_vm", json!({ "moref": vm["moref"] })).ok();
    let mac = one["vm"]["network_adapters"][0]["mac"].as_str().unwrap();
    for by in [
        json!({ "ip": "10.1.2.3" }),
        json!({ "dns_name": "web01.EXAMPLE.com." }),
        json!({ "dns_name": "web01.*", "ip": "10.1.2.3" }),
        json!({ "mac": mac.to_uppercase().replace(':', "-") }),
        json!({ "uuid": vm["instance_uuid"] }),
        json!({ "uuid": vm["bios_uuid"], "name_glob": "*" }),
        json!({ "name_glob": vm["name"].as_str().unwrap().to_lowercase() }),
    ] {
        let found = lab.call("find_vm", by.clone()).ok();
        assert_eq!(found["total"], 1, "{by}: {found}");
        assert_eq!(found["vms"][0]["moref"], vm["moref"], "{by}");
    }
    let all = lab.call("find_vm", json!({ "name_glob": "*_vm?" })).ok();
    assert_eq!(all["total"], 4);
    for by in [
        json!({ "ip": "10.1.2.4" }),
        json!({ "uuid": "no", "name_glob": "*" }),
    ] {
        assert_eq!(lab.call("find_vm", by).ok()["total"], 0);
    }
    assert_eq!(lab.call("list_templates", json!({})).ok()["total"], 0);
    let template = format!(
        "<MarkAsTemplate xmlns=\"urn:vim25\"><_this type=\"VirtualMachine\">{}</_this></MarkAsTemplate>",
        vm["moref"].as_str().unwrap()
    );
    lab.call("power_off", json!({ "moref": vm["moref"] })).ok();
    soap(&lab.vcsim, &[template]);
    let templates = lab.call("list_templates", json!({})).ok();
    assert_eq!(templates["total"], 1);
    assert_eq!(templates["vms"][0]["template"], true);
}

#[test]
fn c2_a_standalone_host_lists_everything_too() {
    let lab = Lab::new(&["-esx", "-vm", "2"]);
    for (action, field) in [
        ("list_vms", "vms"),
        ("list_hosts", "hosts"),
        ("list_clusters", "clusters"),
        ("list_datacenters", "datacenters"),
        ("list_datastores", "datastores"),
        ("list_networks", "networks"),
        ("list_resource_pools", "resource_pools"),
        ("list_folders", "folders"),
    ] {
        for detail in ["rows", "full"] {
            let answer = lab.call(action, json!({ "detail": detail })).ok();
            assert!(!rows(&answer, field).is_empty(), "{action}: {answer}");
        }
    }
    let vm = lab.vm();
    let host = lab.call("list_hosts", json!({})).ok()["hosts"][0]["name"].clone();
    assert!(lab.call("get_host", json!({ "host_system": host })).ok()["host"].is_object());
    let found = lab.call("get_vm", json!({ "vm_path": vm["path"] })).ok();
    assert_eq!(found["vm"]["moref"], vm["moref"]);
    let filter = json!({ "host": host, "name": vm["name"] });
    assert_eq!(
        lab.call("list_vms", json!({ "filter": filter })).ok()["total"],
        1
    );
    // It keeps no custom attributes.
    let none = lab.call("list_vms", json!({ "filter": { "attribute:Owner": "x" } }));
    none.fails("filter.unknown", "none");
    assert_eq!(lab.call("list_templates", json!({})).ok()["total"], 0);
    assert_eq!(
        lab.call("find_vm", json!({ "name_glob": "*" })).ok()["total"],
        2
    );
    lab.no_session_is_left();
}
