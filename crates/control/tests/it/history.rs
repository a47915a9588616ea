//! What has happened and what lies around: events, tasks, old snapshots, files, access.

use serde_json::{Value, json};

use crate::outside::soap;
use crate::support::Lab;

/// A vCenter, and a standalone host.
const BOTH: [&[&str]; 2] = [&["-vm", "1"], &["-esx", "-vm", "1"]];

fn times(rows: &Value) -> Vec<String> {
    rows.as_array()
        .unwrap()
        .iter()
        .map(|row| row["time"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn c10_events_come_newest_first_and_pages_lose_and_repeat_none() {
    for flags in BOTH {
        let lab = Lab::new(flags);
        let vm = lab.vm();
        let before = lab.call("list_events", json!({})).ok();
        lab.call("power_off", json!({ "moref": vm["moref"] })).ok();
        let all = lab.call("list_events", json!({})).ok();
        assert!(
            all["total"].as_u64() > before["total"].as_u64(),
            "{flags:?}"
        );
        assert_eq!(all["older_left_out"], false);
        let mut sorted = times(&all["events"]);
        sorted.sort_by(|a, b| b.cmp(a));
        assert_eq!(times(&all["events"]), sorted);

        let mut seen = Vec::new();
        // What each call itself adds comes before the first page, and is in none of the later ones.
        let mut page = lab.call("list_events", json!({ "limit": 5 })).ok();
        loop {
            for event in page["events"].as_array().unwrap() {
                seen.push(event["key"].as_i64().unwrap());
            }
            let cursor = page["next_cursor"].clone();
            if cursor.is_null() {
                break;
            }
            let next = json!({ "limit": 5, "cursor": cursor });
            page = lab.call("list_events", next).ok();
        }
        let oldest: Vec<i64> = all["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["key"].as_i64().unwrap())
            .collect();
        let from = seen.iter().position(|key| *key == oldest[0]).unwrap();
        assert_eq!(&seen[from..], &oldest[..], "{flags:?}");
        lab.no_session_is_left();
    }
}

#[test]
fn events_are_narrowed_to_an_object_a_type_and_a_time() {
    for flags in BOTH {
        let lab = Lab::new(flags);
        let vm = lab.vm();
        lab.call("power_off", json!({ "moref": vm["moref"] })).ok();
        let kinds = json!(["vim.event.VmPoweredOffEvent"]);
        let off = json!({ "moref": vm["moref"], "event_types": kinds, "since": "1h" });
        let found = lab.call("list_events", off).ok();
        assert_eq!(found["total"], 1, "{found}");
        let event = &found["events"][0];
        assert_eq!(event["type"], "VmPoweredOffEvent");
        assert_eq!(event["vm"]["moref"], vm["moref"]);
        assert_eq!(event["vm"]["name"], vm["name"]);
        assert_eq!(found["target"]["moref"], vm["moref"]);
        let host = lab.call("list_hosts", json!({})).ok()["hosts"][0].clone();
        let of_host = json!({ "host_system": vm["host"], "event_types": kinds });
        assert_eq!(lab.call("list_events", of_host).ok()["total"], 1, "{host}");
        let before = json!({ "event_types": kinds, "until": "2020-01-01" });
        assert_eq!(lab.call("list_events", before).ok()["total"], 0);
    }
}

#[test]
fn a_time_that_is_none_and_two_objects_at_once_are_refused() {
    let lab = Lab::new(&["-vm", "1"]);
    let wrong = |arguments: Value| lab.call("list_events", arguments).code().to_owned();
    assert_eq!(
        wrong(json!({ "since": "yesterday" })),
        "argument.out_of_range"
    );
    let turned = json!({ "since": "1h", "until": "2h" });
    assert_eq!(wrong(turned), "argument.out_of_range");
    let two = json!({ "vm_name": "a", "host_system": "b" });
    assert_eq!(wrong(two), "argument.conflict");
    let none = json!({ "host_system": "nowhere" });
    assert_eq!(wrong(none), "object.not_found");
}

#[test]
fn tasks_come_newest_first_and_one_is_shown_by_its_id() {
    for flags in BOTH {
        let lab = Lab::new(flags);
        let vm = lab.vm();
        let done = lab.call("power_off", json!({ "moref": vm["moref"] })).ok();
        let of_vm = lab
            .call("list_tasks", json!({ "moref": vm["moref"], "limit": 1 }))
            .ok();
        let newest = &of_vm["tasks"][0];
        assert_eq!(newest["task"], done["task"], "{of_vm}");
        assert_eq!(newest["operation"], "VirtualMachine.powerOff");
        assert_eq!(newest["state"], "success");
        assert_eq!(newest["entity"]["moref"], vm["moref"]);
        // Where there is no history, it says so.
        assert_eq!(of_vm["note"].is_string(), flags.contains(&"-esx"));
        let all = lab.call("list_tasks", json!({})).ok();
        let ids: Vec<&Value> = all["tasks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|task| &task["task"])
            .collect();
        assert_eq!(ids.iter().filter(|id| **id == &done["task"]).count(), 1);
        let failed = json!({ "task_state": "error" });
        assert_eq!(lab.call("list_tasks", failed).ok()["total"], 0);

        let task = json!({ "task": done["task"] });
        let one = lab.call("get_task", task.clone()).ok();
        assert_eq!(one["task"]["task"], done["task"]);
        assert_eq!(one["task"]["state"], "success");
        lab.call("get_task", json!({ "task": "task-99999" }))
            .fails("task.not_found", "none");
        // What has ended is not cancelled.
        let over = lab.call("cancel_task", task).ok();
        assert_eq!(over["changed"], false);
        assert_eq!(over["after"]["state"], "success");
        assert_eq!(over["undo"], Value::Null);
    }
}

#[test]
fn a_task_that_failed_says_why() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    let id = vm["moref"].as_str().unwrap();
    // The simulator takes it and lets the task fail, since the machine runs.
    let destroy = format!(
        "<Destroy_Task xmlns=\"urn:vim25\"><_this type=\"VirtualMachine\">{id}</_this></Destroy_Task>"
    );
    soap(&lab.vcsim, &[destroy]);
    let failed = || {
        let of = json!({ "moref": id, "task_state": "error" });
        lab.call("list_tasks", of).ok()["tasks"].clone()
    };
    crate::support::eventually("the task has failed", || failed()[0].is_object());
    let task = json!({ "task": failed()[0]["task"] });
    let shown = lab.call("get_task", task).ok();
    assert_eq!(shown["task"]["state"], "error");
    assert_eq!(shown["task"]["error"]["type"], "InvalidPowerState");
}

#[test]
fn old_snapshots_are_found_over_all_machines_with_age_path_and_size() {
    for flags in BOTH {
        let lab = Lab::new(flags);
        let vm = lab.vm();
        for name in ["first", "second"] {
            let of = json!({ "moref": vm["moref"], "snapshot_name": name });
            lab.call("snapshot_create", of).ok();
        }
        let young = lab.call("list_old_snapshots", json!({})).ok();
        assert_eq!(young["older_than_days"], 7);
        assert_eq!((&young["total"], &young["vms"]), (&json!(0), &json!(0)));
        let all = lab
            .call("list_old_snapshots", json!({ "older_than_days": 0 }))
            .ok();
        assert_eq!(all["total"], 2, "{all}");
        assert_eq!(all["vms"], 1);
        let (first, second) = (&all["snapshots"][0], &all["snapshots"][1]);
        assert_eq!(first["name"], "first");
        assert_eq!(second["path"], "/first/second");
        assert_eq!(second["vm"]["moref"], vm["moref"]);
        assert_eq!(second["vm"]["path"], vm["path"]);
        assert_eq!(second["age_days"], 0.0);
        assert!(second["size_bytes"].is_i64(), "{second}");
        let listed = lab
            .call("snapshot_list", json!({ "moref": vm["moref"] }))
            .ok();
        for field in ["age_days", "size_bytes", "quiesced", "power_state"] {
            assert_eq!(listed["snapshots"][1][field], second[field], "{field}");
        }
        lab.no_session_is_left();
    }
}

#[test]
fn a_folder_of_a_datastore_is_listed_and_never_left() {
    for flags in BOTH {
        let lab = Lab::new(flags);
        let vm = lab.vm();
        let datastore = lab.call("list_datastores", json!({})).ok()["datastores"][0].clone();
        let top = lab
            .call(
                "browse_datastore",
                json!({ "datastore": datastore["name"] }),
            )
            .ok();
        let folder = top["files"]
            .as_array()
            .unwrap()
            .iter()
            .find(|file| file["name"] == vm["name"])
            .unwrap_or_else(|| panic!("{top}"));
        assert_eq!(folder["kind"], "folder");
        let within = lab
            .call("browse_datastore", json!({ "path": folder["path"] }))
            .ok();
        assert!(within["total"].as_u64() > Some(1), "{within}");
        let fitting = json!({ "path": folder["path"], "pattern": "*.vmx" });
        let fitting = lab.call("browse_datastore", fitting).ok();
        assert_eq!(fitting["total"], 1, "{fitting}");
        assert!(
            fitting["files"][0]["path"]
                .as_str()
                .unwrap()
                .ends_with(".vmx")
        );
        let fails = |arguments: Value, code: &str| {
            lab.call("browse_datastore", arguments).fails(code, "none");
        };
        let nowhere = json!({ "datastore": datastore["name"], "path": "nowhere" });
        fails(nowhere, "datastore.no_such_folder");
        let out = json!({ "datastore": datastore["name"], "path": "a/../.." });
        fails(out, "argument.out_of_range");
        let other = json!({ "datastore": datastore["name"], "path": "[other] a" });
        fails(other, "argument.conflict");
        fails(json!({}), "argument.missing");
        lab.no_session_is_left();
    }
}

#[test]
fn what_the_account_may_do_is_said_action_by_action() {
    for flags in BOTH {
        let lab = Lab::new(flags);
        let vm = lab.vm();
        let of_vm = lab
            .call("check_access", json!({ "moref": vm["moref"] }))
            .ok();
        let row = |answer: &Value, action: &str| {
            answer["actions"]
                .as_array()
                .unwrap()
                .iter()
                .find(|row| row["action"] == action)
                .cloned()
        };
        assert_eq!(row(&of_vm, "power_on").unwrap()["allowed"], true);
        assert_eq!(row(&of_vm, "enter_maintenance"), None, "{of_vm}");
        // What only a vCenter has is not said of a host.
        let on_vcenter = !flags.contains(&"-esx");
        assert_eq!(row(&of_vm, "acknowledge_alarm").is_some(), on_vcenter);
        let host = json!({ "host_system": vm["host"], "actions": ["enter_maintenance"] });
        let host = lab.call("check_access", host).ok();
        assert_eq!(row(&host, "enter_maintenance").unwrap()["allowed"], true);
        assert_eq!(host["privileges"]["Host.Config.Maintenance"], true);
        let wrong = lab.call("check_access", json!({ "actions": ["power_onn"] }));
        let body = wrong.fails("argument.out_of_range", "none");
        assert_eq!(body["nearest"][0], "power_on");
    }
}

#[test]
fn alarms_are_a_matter_of_the_vcenter() {
    let lab = Lab::new(&["-vm", "1"]);
    let none = lab.call("list_alarms", json!({})).ok();
    assert_eq!((&none["total"], &none["red"]), (&json!(0), &json!(0)));
    let of = json!({ "alarm_key": "alarm-1.vm-2" });
    lab.call("acknowledge_alarm", of.clone())
        .fails("alarm.not_found", "none");
    let host = Lab::new(&["-esx", "-vm", "1"]);
    for action in ["list_alarms", "acknowledge_alarm"] {
        host.call(action, of.clone())
            .fails("platform.unsupported", "none");
    }
}
