//! What no simulator does on demand: tasks that hang, ask, vanish or fail halfway, and
//! servers that are out of order.

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::fake::{Fake, Reply, Seen};
use crate::scene::{QUESTION, Scene, change, failure, machine, property, success, update, wait};
use crate::support::{Server, TestHome};

#[test]
fn c11_a_task_that_does_not_end_in_time_is_unknown_and_named() {
    let running = || {
        let percent = change("info.progress", "<val>42</val>");
        update(&(change("info.state", "<val>running</val>") + &percent), "")
    };
    let scene = Scene::new(|_| machine("poweredOn"), wait(running));
    // To a person it is no error, and no success either.
    let body = scene.call("power_off", json!({})).ok();
    assert_eq!(body["outcome"], "running");
    assert_eq!(body["effect"], "unknown");
    assert_eq!(body["task"], "task-7");
    assert_eq!(body["progress"], 42);
    assert_eq!(body["undo"]["action"], "power_on");
    assert!(body.get("changed").is_none() && body.get("after").is_none());
    assert_eq!(scene.was_sent("PowerOffVM_Task"), 1);
    // Whoever calls under a key would take what is no error for the end.
    let first = json!({ "pilothouse/key": "wf_1/a/do/0", "pilothouse/attempt": 1 });
    let answer = scene.call_with("power_off", json!({}), first);
    let body = answer.fails("task.running", "unknown");
    assert_eq!(body["outcome"], "running");
    assert_eq!(body["task"], "task-7");
    assert_eq!(scene.was_sent("PowerOffVM_Task"), 2);
}

#[test]
fn c11_a_machine_that_asks_something_under_a_task_is_said() {
    let asks = || {
        let running = change("info.state", "<val>running</val>");
        update(&running, &change("runtime.question", QUESTION))
    };
    let scene = Scene::new(|_| machine("poweredOn"), wait(asks));
    let answer = scene.call("power_off", json!({}));
    let body = answer.fails("vm.question", "unknown");
    assert_eq!(body["question"]["text"], "Keep it?");
    assert_eq!(
        body["question"]["choices"][0],
        json!({ "key": "0", "label": "Yes" })
    );
    assert_eq!(body["task"], "task-7");
}

#[test]
fn a_machine_that_waits_for_an_answer_or_is_disconnected_is_not_touched() {
    let asking = machine("poweredOn")
        + &format!("<propSet><name>runtime.question</name>{QUESTION}</propSet>");
    let scene = Scene::new(move |_| asking.clone(), |_| None);
    scene
        .call("power_off", json!({}))
        .fails("vm.question", "none");
    assert_eq!(scene.was_sent("PowerOffVM_Task"), 0);
    let gone = machine("poweredOn").replace(">connected<", ">disconnected<");
    let scene = Scene::new(move |_| gone.clone(), |_| None);
    let answer = scene.call("power_off", json!({}));
    assert_eq!(
        answer.fails("vm.not_connected", "none")["connection_state"],
        "disconnected"
    );
    assert_eq!(scene.was_sent("PowerOffVM_Task"), 0);
    let preview = scene.call("power_off", json!({ "preview": true })).ok();
    assert!(
        preview["warnings"][0]
            .as_str()
            .unwrap()
            .starts_with("It would be refused now")
    );
}

#[test]
fn a_machine_whose_state_cannot_be_read_is_not_changed() {
    for path in ["runtime.powerState", "runtime.connectionState"] {
        let hidden = machine("poweredOn").replace(
            &property(path, if path.ends_with("powerState") { "poweredOn" } else { "connected" }),
            &format!(
                "<missingSet><path>{path}</path><fault><fault xsi:type=\"NoPermission\"/></fault></missingSet>"
            ),
        );
        let scene = Scene::new(move |_| hidden.clone(), |_| None);
        scene
            .call("power_off", json!({}))
            .fails("vm.unreadable", "none");
        assert_eq!(scene.was_sent("PowerOffVM_Task"), 0, "{path}");
    }
}

/// What `pilot` says beside a call when it makes it for the second time.
fn again() -> Value {
    json!({ "pilothouse/key": "wf_1/a/do/0", "pilothouse/attempt": 2 })
}

#[test]
fn a_repeated_attempt_in_the_way_of_the_first_one_does_not_say_that_nothing_happens() {
    // The server says so at once, or by the task.
    let at_once = |seen: &Seen| {
        (seen.method == "PowerOffVM_Task").then_some(Reply::Fault("TaskInProgress", ""))
    };
    let scenes = [
        Scene::new(|_| machine("poweredOn"), at_once),
        Scene::new(|_| machine("poweredOn"), wait(|| failure("TaskInProgress"))),
    ];
    for scene in scenes {
        let first = scene.call("power_off", json!({}));
        first.fails("vsphere.busy", "none");
        let second = scene.call_with("power_off", json!({}), again());
        second.fails("vsphere.busy", "unknown");
    }
}

#[test]
fn a_change_that_somebody_else_was_faster_with_is_no_failure() {
    // Running when it was planned, off when the server looked.
    let off = |seen: &Seen| {
        machine(if seen.nth < 1 {
            "poweredOn"
        } else {
            "poweredOff"
        })
    };
    for action in ["power_off", "shutdown_guest"] {
        let refuses = |seen: &Seen| {
            ["PowerOffVM_Task", "ShutdownGuest"]
                .contains(&seen.method.as_str())
                .then_some(Reply::Fault("InvalidPowerState", ""))
        };
        let done = Scene::new(off, refuses).call(action, json!({})).ok();
        assert_eq!(done["changed"], false, "{action}");
        assert_eq!(done["after"], json!({ "power_state": "poweredOff" }));
        assert_eq!(done["undo"], Value::Null);
        // Perhaps it was the first attempt of this very call.
        let scene = Scene::new(off, refuses);
        let done = scene.call_with(action, json!({}), again()).ok();
        assert_eq!(done["changed"], true, "{action}");
        assert_eq!(done["found_done"], true, "{action}");
    }
    let refuses = |seen: &Seen| {
        (seen.method == "PowerOffVM_Task").then_some(Reply::Fault("InvalidPowerState", ""))
    };
    let scene = Scene::new(|_| machine("suspended"), refuses);
    let answer = scene.call("power_off", json!({}));
    answer.fails("vsphere.invalid_power_state", "none");
}

#[test]
fn a_change_that_is_done_is_said_to_be_however_slow_the_server_is_afterwards() {
    let script = |seen: &Seen| match seen.method.as_str() {
        "WaitForUpdatesEx" => Some(success()),
        // One was for the plan, one was the first look at the task.
        "RetrievePropertiesEx" if seen.nth >= 2 => Some(Reply::Hang),
        _ => None,
    };
    let scene = Scene::new(|_| machine("poweredOn"), script);
    let done = scene.call("power_off", json!({})).ok();
    assert_eq!(done["changed"], true);
    assert_eq!(done["after"]["power_state"], "poweredOff");
    assert_eq!(done["undo"]["action"], "power_on");
}

#[test]
fn a_task_that_the_server_has_forgotten_is_judged_by_its_effect() {
    let forgotten = || Reply::Fault("ManagedObjectNotFound", "");
    // Off once the task was looked at.
    let off = |seen: &Seen| {
        machine(if seen.nth < 2 {
            "poweredOn"
        } else {
            "poweredOff"
        })
    };
    let scene = Scene::new(off, wait(forgotten));
    let done = scene.call("power_off", json!({})).ok();
    assert_eq!(done["after"]["power_state"], "poweredOff");
    let scene = Scene::new(|_| machine("poweredOn"), wait(forgotten));
    let answer = scene.call("power_off", json!({}));
    assert_eq!(answer.fails("task.lost", "unknown")["task"], "task-7");
    // A reset leaves nothing that could tell.
    let answer = scene.call("reset", json!({}));
    answer.fails("task.lost", "unknown");
}

#[test]
fn c11_a_failed_task_keeps_the_fault_and_its_words_are_sanitised() {
    let scene = Scene::new(|_| machine("poweredOn"), wait(|| failure("TaskInProgress")));
    let answer = scene.call("power_off", json!({}));
    let body = answer.fails("vsphere.busy", "none");
    assert_eq!(body["fault"]["type"], "TaskInProgress");
    assert_eq!(body["fault"]["message"], "said the server");
    assert_eq!(body["task"], "task-7");
    assert!(!body.to_string().contains('\u{202e}'));
}

#[test]
fn a_deletion_that_fails_on_the_way_is_not_said_to_have_done_nothing() {
    let scene = Scene::new(|_| machine("poweredOff"), wait(|| failure("FileFault")));
    scene
        .call("delete", json!({}))
        .fails("vsphere.fault", "unknown");
    let scene = Scene::new(
        |_| machine("poweredOff"),
        wait(|| failure("InvalidPowerState")),
    );
    scene
        .call("delete", json!({}))
        .fails("vsphere.invalid_power_state", "none");
}

#[test]
fn a_snapshot_that_is_gone_after_a_failed_deletion_is_said() {
    let with = machine("poweredOff")
        + "<propSet><name>snapshot</name><val><currentSnapshot type=\"VirtualMachineSnapshot\">snapshot-1\
           </currentSnapshot><rootSnapshotList><snapshot type=\"VirtualMachineSnapshot\">snapshot-1</snapshot>\
           <name>s</name><description></description></rootSnapshotList></val></propSet>";
    let kept = with.clone();
    let of = json!({ "snapshot_id": "snapshot-1" });
    let gone = move |seen: &Seen| {
        if seen.nth < 2 {
            with.clone()
        } else {
            machine("poweredOff")
        }
    };
    let scene = Scene::new(gone, wait(|| failure("FileFault")));
    scene
        .call("snapshot_delete", of.clone())
        .fails("vsphere.fault", "partial");
    let scene = Scene::new(move |_| kept.clone(), wait(|| failure("FileFault")));
    scene
        .call("snapshot_delete", of)
        .fails("vsphere.fault", "none");
}

#[test]
fn a_reconfiguration_is_bound_to_the_version_that_was_read() {
    let script = |seen: &Seen| match seen.method.as_str() {
        "ReconfigVM_Task" => Some(Reply::Fault("ConcurrentAccess", "")),
        _ => None,
    };
    let scene = Scene::new(|_| machine("poweredOff"), script);
    let answer = scene.call("reconfigure", json!({ "cpu": 4 }));
    answer.fails("vsphere.concurrent_access", "none");
    let sent = scene.fake.of("ReconfigVM_Task");
    assert_eq!(sent.len(), 1);
    assert!(
        sent[0]
            .body
            .contains("<changeVersion>2026-01-01T00:00:00Z</changeVersion>")
    );
    assert!(sent[0].body.contains("<numCPUs>4</numCPUs>"));
    assert!(
        !sent[0].body.contains("memoryMB"),
        "only what was asked for is set"
    );
}

#[test]
fn a_change_is_sent_once_even_when_its_answer_is_lost() {
    let script = |seen: &Seen| match seen.method.as_str() {
        "PowerOffVM_Task" => Some(Reply::Close),
        "WaitForUpdatesEx" => Some(success()),
        _ => None,
    };
    let scene = Scene::new(|_| machine("poweredOn"), script);
    let answer = scene.call("power_off", json!({}));
    let body = answer.fails("vsphere.lost_answer", "unknown");
    assert_eq!(body["call"], "PowerOffVM_Task");
    assert_eq!(body["cause"]["code"], "connection.lost");
    assert_eq!(scene.was_sent("PowerOffVM_Task"), 1);
}

#[test]
fn c11_a_missing_permission_names_the_privilege() {
    const DETAIL: &str = "<object type=\"VirtualMachine\">vm-42</object>\
        <privilegeId>VirtualMachine.Interact.PowerOff</privilegeId>";
    let script = |seen: &Seen| {
        (seen.method == "PowerOffVM_Task").then_some(Reply::Fault("NoPermission", DETAIL))
    };
    let scene = Scene::new(|_| machine("poweredOn"), script);
    let answer = scene.call("power_off", json!({}));
    let body = answer.fails("vsphere.no_permission", "none");
    assert_eq!(
        body["fault"]["detail"]["privilegeId"],
        "VirtualMachine.Interact.PowerOff"
    );
}

#[test]
fn c11_a_server_that_is_out_of_order_is_said() {
    let busy = |seen: &Seen| {
        (seen.method == "RetrieveServiceContent")
            .then(|| Reply::http("503 Service Unavailable", "", "", 0))
    };
    let scene = Scene::new(|_| String::new(), busy);
    assert_eq!(
        scene
            .call("power_off", json!({}))
            .fails("host.http", "none")["status"],
        503
    );
    let other = |seen: &Seen| {
        (seen.method == "RetrieveServiceContent").then(|| {
            Reply::http(
                "200 OK",
                "Content-Type: text/html\r\n",
                "<html>It works!</html>",
                0,
            )
        })
    };
    let scene = Scene::new(|_| String::new(), other);
    scene
        .call("power_off", json!({}))
        .fails("host.not_vsphere", "none");
}

#[test]
fn c3_a_login_whose_answer_was_lost_is_said() {
    let script = |seen: &Seen| (seen.method == "Login").then_some(Reply::Close);
    let runtime = Runtime::new().unwrap();
    let fake = runtime.block_on(Fake::but(script));
    let home = TestHome::new();
    let server = Server::start(&home);
    let answer = server.call(json!({
        "action": "about", "host": "127.0.0.1", "port": fake.port, "user": "u", "password": "p"
    }));
    assert_eq!(
        answer.fails("login.lost", "none")["session"],
        "possibly_left"
    );
}

#[test]
fn a_refused_login_is_asked_of_the_server_once() {
    let script = |seen: &Seen| (seen.method == "Login").then_some(Reply::Fault("InvalidLogin", ""));
    let runtime = Runtime::new().unwrap();
    let fake = runtime.block_on(Fake::but(script));
    let home = TestHome::new();
    let server = Server::start(&home);
    for _ in 0..5 {
        let about = json!({
            "action": "about", "host": "127.0.0.1", "port": fake.port, "user": "u", "password": "p"
        });
        server.call(about).fails("login.refused", "none");
    }
    assert_eq!(fake.of("Login").len(), 1);
}

/// So many machines that their rows are larger than any answer may be.
fn crowd(seen: &Seen) -> Option<Reply> {
    if seen.method != "RetrievePropertiesEx" || !seen.body.contains("VirtualMachine") {
        return None;
    }
    let everything = seen.body.contains(">group-d1</obj>");
    let guest = "g".repeat(450);
    let objects: String = (0..2_000)
        .filter(|n| everything || seen.body.contains(&format!(">vm-{n}</obj>")))
        .map(|n| {
            let properties = property("name", &format!("web{n:05}"))
                + &property("runtime.powerState", "poweredOn")
                + &property("summary.config.guestFullName", &guest);
            format!("<objects><obj type=\"VirtualMachine\">vm-{n}</obj>{properties}</objects>")
        })
        .collect();
    Some(Reply::Soap(format!(
        "<RetrievePropertiesExResponse xmlns=\"urn:vim25\"><returnval>{objects}</returnval></RetrievePropertiesExResponse>"
    )))
}

#[test]
fn c10_no_answer_is_larger_than_the_hard_cap_whatever_was_asked_for() {
    let scene = Scene::new(|_| String::new(), crowd);
    let ask = |more: Value| {
        let mut all = json!({ "moref": null, "timeout_s": 60 });
        crate::support::merge(&mut all, &more);
        scene.call("list_vms", all).ok()
    };
    let mut seen = 0;
    let mut cursor = Value::Null;
    loop {
        let page = ask(json!({ "limit": 10_000, "cursor": cursor }));
        assert!(page.to_string().chars().count() <= 500_000);
        assert_eq!(page["total"], 2_000);
        let rows = page["vms"].as_array().unwrap();
        assert_eq!(rows[0]["name"], format!("web{seen:05}"));
        assert_eq!(page["returned"], rows.len());
        seen += rows.len();
        cursor = page["next_cursor"].clone();
        assert_eq!(page["truncated"], !cursor.is_null());
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(seen, 2_000);
    // Without being asked for more, an answer fits an agent's context.
    assert!(ask(json!({})).to_string().chars().count() <= 60_000);
}
