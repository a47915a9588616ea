//! What no simulator does on demand, on the scripted fake: tasks that are cancelled or not, guests
//! that restart or sleep, alarms that are raised, hosts with vSAN, accounts that may not.

use serde_json::{Value, json};

use crate::fake::{Reply, Seen};
use crate::scene::{Scene, change, failure, machine, property, success, update};

/// An answer with these objects, whatever was asked for.
fn objects(objects: &str) -> Reply {
    Reply::Soap(format!(
        "<RetrievePropertiesExResponse xmlns=\"urn:vim25\"><returnval>{objects}</returnval></RetrievePropertiesExResponse>"
    ))
}

/// Managers that the fake does not have by itself.
fn content(seen: &Seen) -> Option<Reply> {
    let more = "<alarmManager type=\"AlarmManager\">AlarmManager</alarmManager>\
        <authorizationManager type=\"AuthorizationManager\">AuthorizationManager</authorizationManager>\
        <eventManager type=\"EventManager\">EventManager</eventManager>";
    (seen.method == "RetrieveServiceContent").then(|| match crate::fake::ordinary(seen) {
        Reply::Soap(text) => Reply::Soap(text.replace("<about>", &format!("{more}<about>"))),
        other => other,
    })
}

fn task(state: &str, cancelable: bool) -> Reply {
    objects(&format!(
        "<objects><obj type=\"Task\">task-7</obj><propSet><name>info</name><val>\
         <key>task-7</key><task type=\"Task\">task-7</task><descriptionId>VirtualMachine.clone</descriptionId>\
         <state>{state}</state><cancelable>{cancelable}</cancelable></val></propSet></objects>"
    ))
}

fn failed_task(kind: &str) -> Reply {
    objects(&format!(
        "<objects><obj type=\"Task\">task-7</obj><propSet><name>info</name><val>\
         <key>task-7</key><task type=\"Task\">task-7</task><state>error</state>\
         <error><fault xsi:type=\"{kind}\"/><localizedMessage>over</localizedMessage></error>\
         </val></propSet></objects>"
    ))
}

fn cancelling(
    cancelable: bool,
    end: fn() -> Reply,
) -> impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static {
    move |seen| match seen.method.as_str() {
        "RetrievePropertiesEx" => Some(task("running", cancelable)),
        "WaitForUpdatesEx" => Some(end()),
        _ => None,
    }
}

/// Calls it for the task rather than for the machine.
fn cancel(scene: &Scene, more: Value) -> crate::support::Answer {
    let mut all = json!({ "moref": null, "task": "task-7" });
    crate::support::merge(&mut all, &more);
    scene.call("cancel_task", all)
}

#[test]
fn a_cancelled_task_is_waited_for_until_the_server_says_that_it_was_cancelled() {
    let scene = Scene::new(
        |_| String::new(),
        cancelling(true, || failure("RequestCanceled")),
    );
    let preview = cancel(&scene, json!({ "preview": true })).ok();
    assert_eq!(preview["verify"]["arguments"]["action"], "get_task");
    assert_eq!(scene.was_sent("CancelTask"), 0);
    let done = cancel(&scene, json!({})).ok();
    assert_eq!(done["changed"], true);
    assert_eq!(done["after"]["error"], "RequestCanceled");
    assert_eq!(scene.was_sent("CancelTask"), 1);
}

#[test]
fn a_task_that_ends_by_itself_first_was_not_cancelled() {
    let scene = Scene::new(|_| String::new(), cancelling(true, success));
    let done = cancel(&scene, json!({})).ok();
    assert_eq!(done["changed"], false);
    assert_eq!(done["after"], json!({ "state": "success" }));
    let scene = Scene::new(|_| String::new(), cancelling(true, || failure("FileFault")));
    let done = cancel(&scene, json!({})).ok();
    assert_eq!(done["changed"], false);
    assert_eq!(done["after"]["error"], "FileFault");
}

#[test]
fn a_task_that_goes_on_or_cannot_be_cancelled_is_never_said_to_be_cancelled() {
    let running = || update(&change("info.state", "<val>running</val>"), "");
    let scene = Scene::new(|_| String::new(), cancelling(true, running));
    let answer = cancel(&scene, json!({}));
    assert_eq!(answer.fails("call.timeout", "unknown")["task"], "task-7");
    let scene = Scene::new(|_| String::new(), cancelling(false, running));
    cancel(&scene, json!({})).fails("task.not_cancelable", "none");
    assert_eq!(scene.was_sent("CancelTask"), 0);
    let lost = |seen: &Seen| match seen.method.as_str() {
        "CancelTask" => Some(Reply::Close),
        "RetrievePropertiesEx" => Some(task("running", true)),
        _ => None,
    };
    let scene = Scene::new(|_| String::new(), lost);
    cancel(&scene, json!({})).is_lost();
    assert_eq!(scene.was_sent("CancelTask"), 1);
}

#[test]
fn c9_a_task_that_failed_by_itself_is_not_taken_for_cancelled_when_the_answer_is_lost() {
    let lost = |kind: &'static str| {
        let script = move |seen: &Seen| match seen.method.as_str() {
            "CancelTask" => Some(Reply::Close),
            "RetrievePropertiesEx" if seen.nth == 0 => Some(task("running", true)),
            "RetrievePropertiesEx" => Some(failed_task(kind)),
            _ => None,
        };
        cancel(&Scene::new(|_| String::new(), script), json!({}))
    };
    lost("FileFault").is_lost();
    let done = lost("RequestCanceled").ok();
    assert_eq!(done["changed"], true);
    assert_eq!(done["lost_answer"]["found_by"], "state");
}

/// A machine whose Tools are so.
fn guest(power: &str, tools: &str) -> String {
    machine(power) + &property("guest.toolsRunningStatus", tools)
}

const UP: &str = "guestToolsRunning";
const DOWN: &str = "guestToolsNotRunning";

#[test]
fn a_restart_is_done_when_the_guest_has_gone_and_come_back() {
    let state = |seen: &Seen| guest("poweredOn", if seen.nth == 2 { DOWN } else { UP });
    let scene = Scene::new(state, |_| None);
    let done = scene.call("reboot_guest", json!({ "timeout_s": 20 })).ok();
    assert_eq!(done["changed"], true);
    assert_eq!(done["undo_kind"], "none");
    assert_eq!(scene.was_sent("RebootGuest"), 1);
    assert!(scene.was_sent("RetrievePropertiesEx") >= 4);
}

#[test]
fn a_guest_that_does_not_do_as_asked_is_unknown_and_never_forced() {
    for (action, method) in [
        ("reboot_guest", "RebootGuest"),
        ("standby_guest", "StandbyGuest"),
    ] {
        let scene = Scene::new(|_| guest("poweredOn", UP), |_| None);
        let answer = scene.call(action, json!({}));
        assert_eq!(answer.fails("call.timeout", "unknown")["call"], method);
        assert_eq!(scene.was_sent(method), 1);
        for forced in ["ResetVM_Task", "SuspendVM_Task", "PowerOffVM_Task"] {
            assert_eq!(scene.was_sent(forced), 0, "{action}: {forced}");
        }
        let sent = method.to_owned();
        let lost = move |seen: &Seen| (seen.method == sent).then_some(Reply::Close);
        let scene = Scene::new(|_| guest("poweredOn", UP), lost);
        scene.call(action, json!({})).is_lost();
        assert_eq!(scene.was_sent(method), 1, "a change is sent once");
        let scene = Scene::new(|_| guest("poweredOn", DOWN), |_| None);
        scene
            .call(action, json!({}))
            .fails("vsphere.tools_unavailable", "none");
        assert_eq!(scene.was_sent(method), 0);
    }
}

#[test]
fn a_guest_that_sleeps_is_suspended_or_stays_on_as_the_machine_is_set() {
    let state = |seen: &Seen| {
        guest(
            if seen.nth < 2 {
                "poweredOn"
            } else {
                "suspended"
            },
            UP,
        )
    };
    let scene = Scene::new(state, |_| None);
    let done = scene.call("standby_guest", json!({ "timeout_s": 20 })).ok();
    assert_eq!(done["after"]["power_state"], "suspended");
    assert_eq!(done["undo"]["action"], "power_on");
    assert_eq!(
        scene.call("standby_guest", json!({})).ok()["changed"],
        false
    );
    let stays = |seen: &Seen| {
        let guest_state = if seen.nth < 2 { "running" } else { "standby" };
        guest("poweredOn", UP)
            + &property("config.defaultPowerOps.standbyAction", "powerOnSuspend")
            + &property("guest.guestState", guest_state)
    };
    let scene = Scene::new(stays, |_| None);
    let done = scene.call("standby_guest", json!({ "timeout_s": 20 })).ok();
    assert_eq!(done["after"]["power_state"], "poweredOn");
    assert_eq!(done["after"]["guest_state"], "standby");
    assert_eq!(done["undo"], Value::Null);
}

/// Two alarms, the first acknowledged as soon as that was asked for.
fn alarms(seen: &Seen, asked: bool) -> Option<Reply> {
    if let Some(reply) = content(seen) {
        return Some(reply);
    }
    if seen.method != "RetrievePropertiesEx" {
        return None;
    }
    let one = |key: &str, status: &str, seen: bool| {
        format!(
            "<AlarmState><key>{key}</key><entity type=\"VirtualMachine\">vm-42</entity><alarm type=\"Alarm\">alarm-1</alarm>\
             <overallStatus>{status}</overallStatus><time>2026-01-01T00:00:00Z</time><acknowledged>{seen}</acknowledged></AlarmState>"
        )
    };
    Some(if seen.body.contains("triggeredAlarmState") {
        objects(&format!(
            "<objects><obj type=\"Folder\">group-d1</obj><propSet><name>triggeredAlarmState</name><val>{}{}</val></propSet></objects>",
            one("alarm-1.vm-42", "yellow", asked),
            one("alarm-2.vm-42", "red", false)
        ))
    } else if seen.body.contains("info.name") {
        objects(&format!(
            "<objects><obj type=\"Alarm\">alarm-1</obj>{}</objects>",
            property("info.name", "CPU \u{202e}usage")
        ))
    } else {
        objects(&format!(
            "<objects><obj type=\"VirtualMachine\">vm-42</obj>{}</objects>",
            property("name", "web01")
        ))
    })
}

#[test]
fn alarms_that_are_raised_are_listed_worst_first_and_acknowledged_once() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let asked = AtomicBool::new(false);
    let scene = Scene::new(
        |_| String::new(),
        move |seen| {
            if seen.method == "AcknowledgeAlarm" {
                asked.store(true, Ordering::SeqCst);
            }
            alarms(seen, asked.load(Ordering::SeqCst))
        },
    );
    let none = json!({ "moref": null });
    let listed = scene.call("list_alarms", none).ok();
    assert_eq!((&listed["red"], &listed["yellow"]), (&json!(1), &json!(1)));
    assert_eq!(listed["alarms"][0]["status"], "red");
    let yellow = &listed["alarms"][1];
    assert_eq!(yellow["alarm"], "CPU usage");
    assert_eq!(yellow["entity"]["name"], "web01");
    assert_eq!(yellow["acknowledged"], false);
    let of = json!({ "moref": null, "alarm_key": yellow["alarm_key"] });
    let mut preview = of.clone();
    preview["preview"] = json!(true);
    let preview = scene.call("acknowledge_alarm", preview).ok();
    assert_eq!(preview["verify"]["after"]["/alarms/0/acknowledged"], true);
    assert_eq!(scene.was_sent("AcknowledgeAlarm"), 0);
    let done = scene.call("acknowledge_alarm", of.clone()).ok();
    assert_eq!(done["after"]["acknowledged"], true);
    assert_eq!(done["undo_kind"], "none");
    assert_eq!(scene.call("acknowledge_alarm", of).ok()["changed"], false);
    assert_eq!(scene.was_sent("AcknowledgeAlarm"), 1);
}

/// A host in a cluster, with what is set of it.
fn host(seen: &Seen, vsan: bool, drs: &str) -> Option<Reply> {
    if seen.method != "RetrievePropertiesEx" {
        return None;
    }
    let cluster = "<propSet><name>parent</name><val type=\"ClusterComputeResource\">domain-c1</val></propSet>";
    let vms = "<propSet><name>vm</name><val><ManagedObjectReference type=\"VirtualMachine\">vm-42</ManagedObjectReference></val></propSet>";
    Some(if seen.body.contains("configurationEx") {
        objects(&format!(
            "<objects><obj type=\"ClusterComputeResource\">domain-c1</obj><propSet><name>configurationEx</name><val>\
             <dasConfig><enabled>true</enabled><admissionControlEnabled>true</admissionControlEnabled></dasConfig>\
             <drsConfig><enabled>true</enabled><defaultVmBehavior>{drs}</defaultVmBehavior></drsConfig></val></propSet></objects>"
        ))
    } else if seen.body.contains(">vm-42</obj>") {
        objects(&format!(
            "<objects><obj type=\"VirtualMachine\">vm-42</obj>{}{}</objects>",
            property("name", "web01"),
            property("runtime.powerState", "poweredOn")
        ))
    } else if seen.body.contains("HostSystem") {
        objects(&format!(
            "<objects><obj type=\"HostSystem\">host-1</obj>{cluster}{vms}{}{}{}{}</objects>",
            property("name", "esx01"),
            property("runtime.inMaintenanceMode", "false"),
            property("runtime.connectionState", "connected"),
            property("config.vsanHostConfig.enabled", &vsan.to_string())
        ))
    } else {
        objects("")
    })
}

#[test]
fn what_becomes_of_vsan_data_is_never_chosen_for_the_caller_and_no_wait_is_for_ever() {
    let script = |seen: &Seen| match seen.method.as_str() {
        "WaitForUpdatesEx" => Some(success()),
        _ => host(seen, true, "manual"),
    };
    let scene = Scene::new(|_| String::new(), script);
    let of = |more: Value| {
        let mut all = json!({ "moref": null, "host_system": "esx01" });
        crate::support::merge(&mut all, &more);
        all
    };
    let warned = scene
        .call("enter_maintenance", of(json!({ "preview": true })))
        .ok();
    let warnings = warned["warnings"].to_string();
    for words in ["DRS is manual", "admission control", "`vsan_mode`"] {
        assert!(warnings.contains(words), "{words}: {warnings}");
    }
    scene
        .call("enter_maintenance", of(json!({})))
        .fails("host.vsan_mode_missing", "none");
    assert_eq!(scene.was_sent("EnterMaintenanceMode_Task"), 0);
    scene
        .call("enter_maintenance", of(json!({ "vsan_mode": "all" })))
        .fails("argument.out_of_range", "none");
    let with = of(json!({ "vsan_mode": "ensureObjectAccessibility", "timeout_s": 1 }));
    scene.call("enter_maintenance", with).ok();
    let sent = scene.fake.of("EnterMaintenanceMode_Task");
    assert!(
        sent[0]
            .body
            .contains("<objectAction>ensureObjectAccessibility<")
    );
    assert!(
        sent[0].body.contains("<timeout>1</timeout>"),
        "0 would be for ever"
    );
}

#[test]
fn a_maintenance_that_fails_after_machines_were_moved_is_partial() {
    let script = |seen: &Seen| match seen.method.as_str() {
        "WaitForUpdatesEx" => Some(failure("Timedout")),
        _ => host(seen, false, "fullyAutomated"),
    };
    let scene = Scene::new(|_| String::new(), script);
    let of = json!({ "moref": null, "host_system": "host-1" });
    let answer = scene.call("enter_maintenance", of);
    answer.fails("vsphere.fault", "partial");
}

#[test]
fn a_privilege_that_is_missing_is_named() {
    let script = |seen: &Seen| {
        content(seen).or_else(|| {
            (seen.method == "HasPrivilegeOnEntities").then(|| {
                Reply::Soap(
                    "<HasPrivilegeOnEntitiesResponse xmlns=\"urn:vim25\"><returnval>\
                     <entity type=\"VirtualMachine\">vm-42</entity>\
                     <privAvailability><privId>VirtualMachine.Interact.PowerOn</privId><isGranted>false</isGranted></privAvailability>\
                     </returnval></HasPrivilegeOnEntitiesResponse>"
                        .to_owned(),
                )
            })
        })
    };
    let scene = Scene::new(|_| machine("poweredOff"), script);
    let answer = scene
        .call("check_access", json!({ "actions": ["power_on"] }))
        .ok();
    assert_eq!(answer["actions"][0]["allowed"], false);
    assert_eq!(
        answer["actions"][0]["missing"],
        json!(["VirtualMachine.Interact.PowerOn"])
    );
}

#[test]
fn events_are_read_where_a_server_has_no_collectors() {
    let script = |seen: &Seen| {
        content(seen).or_else(|| match seen.method.as_str() {
            "CreateCollectorForEvents" => Some(Reply::Fault("NotSupported", "")),
            "QueryEvents" => Some(Reply::Soap(
                "<QueryEventsResponse xmlns=\"urn:vim25\">\
                 <returnval xsi:type=\"EventEx\"><key>1</key><createdTime>2026-01-01T00:00:00Z</createdTime>\
                 <eventTypeId>com.example.event</eventTypeId><severity>warning</severity></returnval>\
                 <returnval xsi:type=\"VmPoweredOnEvent\"><key>2</key><createdTime>2026-01-02T00:00:00Z</createdTime>\
                 <fullFormattedMessage>went \u{202e}on</fullFormattedMessage></returnval></QueryEventsResponse>"
                    .to_owned(),
            )),
            _ => None,
        })
    };
    let scene = Scene::new(|_| String::new(), script);
    let listed = scene
        .call(
            "list_events",
            json!({ "moref": null, "since": "2025-12-31" }),
        )
        .ok();
    assert_eq!(listed["total"], 2);
    assert_eq!(listed["events"][0]["type"], "VmPoweredOnEvent");
    assert_eq!(listed["events"][0]["message"], "went on");
    assert_eq!(listed["events"][1]["type"], "com.example.event");
    assert_eq!(listed["events"][1]["severity"], "warning");
    let sent = &scene.fake.of("QueryEvents")[0].body;
    assert!(
        sent.contains("<beginTime>2025-12-31T00:00:00Z</beginTime>"),
        "{sent}"
    );
    assert!(!sent.contains("<type>"), "{sent}");
}
