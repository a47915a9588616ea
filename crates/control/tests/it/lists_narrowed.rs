//! Lists of the inventory, narrowed by a filter and by fields, and what they refuse.

use serde_json::{Value, json};

use crate::lists::{lab, rows};
use crate::outside::soap;
use crate::support::Lab;

#[test]
fn c10_a_list_is_narrowed_by_everything_that_filter_knows() {
    let lab = lab();
    let all = lab.call("list_vms", json!({})).ok();
    let total = all["total"].as_u64().unwrap();
    let count = |filter: Value| {
        let answer = lab.call("list_vms", json!({ "filter": filter })).ok();
        answer["total"].as_u64().unwrap()
    };
    let first = &rows(&all, "vms")[0];
    let off = json!({ "moref": first["moref"] });
    lab.call("power_off", off).ok();
    assert_eq!(count(json!({ "state": "off" })), 1);
    assert_eq!(count(json!({ "state": "poweredOn" })), total - 1);
    assert_eq!(count(json!({ "name": "*_vm0" })) * 2, total);
    assert_eq!(count(json!({ "name": "no such*" })), 0);
    assert_eq!(count(json!({ "name": "", "state": null })), total);
    assert_eq!(count(json!({ "template": true })), 0);
    assert_eq!(count(json!({ "template": false })), total);
    // What lies on each host is all there is; the same for the clusters.
    for (list, field, key) in [
        ("list_hosts", "hosts", "host"),
        ("list_clusters", "clusters", "cluster"),
    ] {
        let parts = lab.call(list, json!({})).ok();
        let mut sum = 0;
        for part in rows(&parts, field) {
            let by_path = count(json!({ key: part["path"] }));
            assert_eq!(by_path, count(json!({ key: part["moref"] })), "{part}");
            sum += by_path;
        }
        assert_eq!(sum, total, "{key}");
    }
    for (key, value) in [
        ("datacenter", "DC0"),
        ("datastore", "LocalDS_0"),
        ("network", "DC0_DVPG0"),
    ] {
        let some = count(json!({ key: value }));
        assert!((1..=total).contains(&some), "{key}: {some}");
    }
    let path = first["path"].as_str().unwrap();
    let folder = &path[..path.rfind('/').unwrap()];
    let in_folder = rows(&all, "vms")
        .iter()
        .filter(|vm| vm["path"].as_str().unwrap().starts_with(folder));
    assert_eq!(count(json!({ "folder": folder })), in_folder.count() as u64);
    assert_eq!(
        count(json!({ "folder": folder, "datacenter": "DC0", "state": "off" })),
        1
    );
    let host = first["host"].as_str().unwrap();
    assert_eq!(count(json!({ "state": "off", "host": host })), 1);
    // The others are narrowed in the same way.
    for (action, filter, at_least) in [
        (
            "list_hosts",
            json!({ "state": "connected", "maintenance": false }),
            2,
        ),
        ("list_hosts", json!({ "cluster": "DC0_C0" }), 1),
        (
            "list_datastores",
            json!({ "accessible": true, "host": host }),
            1,
        ),
        ("list_networks", json!({ "name": "*dvpg*" }), 1),
        ("list_networks", json!({ "cluster": "DC0_C0" }), 1),
        ("list_resource_pools", json!({ "cluster": "DC0_C0" }), 1),
        ("list_folders", json!({ "datacenter": "DC0" }), 4),
        (
            "list_clusters",
            json!({ "datacenter": "DC0", "name": "DC0_C*" }),
            1,
        ),
        ("list_datacenters", json!({ "name": "dc?" }), 1),
    ] {
        let answer = lab.call(action, json!({ "filter": filter })).ok();
        assert!(
            answer["total"].as_u64().unwrap() >= at_least,
            "{action} {filter}: {answer}"
        );
    }
    lab.no_session_is_left();
}

#[test]
fn c10_vms_are_found_by_annotation_and_custom_attribute() {
    let lab = Lab::new(&["-vm", "2"]);
    let vm = lab.vm();
    let moref = vm["moref"].as_str().unwrap();
    let content = soap(&lab.vcsim, &[
        "<AddCustomFieldDef xmlns=\"urn:vim25\"><_this type=\"CustomFieldsManager\">CustomFieldsManager</_this>\
         <name>Owner</name><moType>VirtualMachine</moType></AddCustomFieldDef>".to_owned(),
    ]);
    let key = content[1]
        .split("<key>")
        .nth(1)
        .and_then(|rest| rest.split('<').next())
        .unwrap();
    soap(
        &lab.vcsim,
        &[
            format!(
                "<SetField xmlns=\"urn:vim25\"><_this type=\"CustomFieldsManager\">CustomFieldsManager</_this>\
             <entity type=\"VirtualMachine\">{moref}</entity><key>{key}</key><value>team &amp; blue</value></SetField>"
            ),
            format!(
                "<ReconfigVM_Task xmlns=\"urn:vim25\"><_this type=\"VirtualMachine\">{moref}</_this>\
             <spec><annotation>nightly backup</annotation></spec></ReconfigVM_Task>"
            ),
        ],
    );
    for filter in [
        json!({ "annotation": "*backup*" }),
        json!({ "attribute:Owner": "team*" }),
        json!({ "attribute:Owner": "team & blue", "annotation": "nightly*" }),
    ] {
        let found = lab.call("list_vms", json!({ "filter": filter })).ok();
        assert_eq!(found["total"], 1, "{filter}: {found}");
        assert_eq!(found["vms"][0]["moref"], vm["moref"]);
    }
    let one = lab.call("get_vm", json!({ "moref": moref })).ok();
    assert_eq!(one["vm"]["attributes"], json!({ "Owner": "team & blue" }));
    assert_eq!(one["vm"]["annotation"], "nightly backup");
    let other = lab.call("list_vms", json!({ "filter": { "attribute:Ownr": "x" } }));
    assert_eq!(other.fails("filter.unknown", "none")["nearest"][0], "Owner");
}

#[test]
fn c11_what_a_list_does_not_know_is_refused_with_what_it_knows() {
    let lab = Lab::new(&["-vm", "0"]);
    for (action, arguments, code, nearest) in [
        (
            "list_vms",
            json!({ "filter": { "stat": "on" } }),
            "filter.unknown",
            "state",
        ),
        (
            "list_hosts",
            json!({ "filter": { "datastor": "x" } }),
            "filter.unknown",
            "",
        ),
        (
            "list_vms",
            json!({ "filter": { "attribute:": "x" } }),
            "filter.unknown",
            "",
        ),
        (
            "list_vms",
            json!({ "sort": "-memory" }),
            "sort.unknown",
            "memory_mb",
        ),
        (
            "list_vms",
            json!({ "fields": ["powerState"] }),
            "field.unknown",
            "runtime.powerState",
        ),
        (
            "list_hosts",
            json!({ "fields": ["runtime.conectionState"] }),
            "field.unknown",
            "runtime.connectionState",
        ),
        (
            "list_vms",
            json!({ "filter": { "template": "yes" } }),
            "argument.wrong_type",
            "",
        ),
        (
            "list_vms",
            json!({ "filter": { "name": 7 } }),
            "argument.wrong_type",
            "",
        ),
        (
            "list_vms",
            json!({ "filter": "web*" }),
            "argument.wrong_type",
            "",
        ),
        (
            "list_vms",
            json!({ "detail": "everything" }),
            "argument.out_of_range",
            "",
        ),
        (
            "list_vms",
            json!({ "detail": "summary", "fields": ["name"] }),
            "argument.not_taken",
            "",
        ),
        (
            "get_vm",
            json!({ "moref": "vm-1", "fields": ["config.nme"] }),
            "field.unknown",
            "config.name",
        ),
        ("find_vm", json!({}), "argument.missing", ""),
        (
            "find_vm",
            json!({ "ip": "10.0.0" }),
            "argument.out_of_range",
            "",
        ),
        (
            "find_vm",
            json!({ "mac": "10.0.0.1" }),
            "argument.out_of_range",
            "",
        ),
        (
            "get_vm",
            json!({ "vm_path": "DC0/vm/x" }),
            "argument.out_of_range",
            "",
        ),
    ] {
        let answer = lab.call(action, arguments.clone());
        let body = answer.fails(code, "none");
        if !nearest.is_empty() {
            assert_eq!(body["nearest"][0], nearest, "{arguments}: {body}");
        }
    }
    for filter in [
        json!({ "host": "no such" }),
        json!({ "folder": "/DC0/vm/no" }),
    ] {
        lab.call("list_vms", json!({ "filter": filter }))
            .fails("object.not_found", "none");
    }
    lab.no_session_is_left();
}

#[test]
fn c10_exactly_the_fields_that_are_asked_for_come_with_their_types() {
    let lab = Lab::new(&["-vm", "1"]);
    let fields = json!([
        "config.hardware.numCPU",
        "runtime.host",
        "summary.config.template",
        "config.files",
        "network"
    ]);
    let answer = lab
        .call("list_vms", json!({ "fields": fields, "limit": 1 }))
        .ok();
    let row = &answer["vms"][0];
    assert!(
        row["power_state"].is_null() && row["moref"].is_string(),
        "{row}"
    );
    let fields = &row["fields"];
    assert_eq!(fields.as_object().unwrap().len(), 5, "{row}");
    assert_eq!(fields["config.hardware.numCPU"], 1);
    assert_eq!(fields["summary.config.template"], false);
    assert!(
        fields["runtime.host"]
            .as_str()
            .unwrap()
            .starts_with("HostSystem:")
    );
    assert!(fields["config.files"]["vmPathName"].is_string());
    assert!(fields["network"].is_array());
    // What may hold secrets comes only when it is asked for by itself.
    let moref = row["moref"].clone();
    let set = format!(
        "<ReconfigVM_Task xmlns=\"urn:vim25\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
         xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\"><_this type=\"VirtualMachine\">{}</_this><spec><extraConfig>\
         <key>guestinfo.token</key><value xsi:type=\"xsd:string\">hush-hush</value></extraConfig></spec></ReconfigVM_Task>",
        moref.as_str().unwrap()
    );
    soap(&lab.vcsim, &[set]);
    let whole = lab
        .call("get_vm", json!({ "moref": moref, "fields": ["config"] }))
        .ok();
    assert!(whole["vm"]["fields"]["config"].is_object(), "{whole}");
    assert!(!whole.to_string().contains("hush-hush"));
    let exact = lab
        .call(
            "get_vm",
            json!({ "moref": moref, "fields": ["config.extraConfig"] }),
        )
        .ok();
    assert!(exact.to_string().contains("hush-hush"), "{exact}");
    // A type's own fields are not asked of its siblings.
    let networks = lab
        .call(
            "list_networks",
            json!({ "fields": ["key", "summary.accessible"] }),
        )
        .ok();
    assert!(
        rows(&networks, "networks")
            .iter()
            .any(|row| row["fields"]["key"].is_string()),
        "{networks}"
    );
    lab.no_session_is_left();
}
