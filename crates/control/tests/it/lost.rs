//! After a lost answer: what is found out over a new connection, and what is never claimed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::fake::{Reply, Seen, ordinary};
use crate::scene::{Scene, change, failure, machine, property, success, update};

/// What our user's task of this method looks like on the server.
fn task(method: &str, user: &str, queued: &str) -> String {
    format!(
        "<returnval><key>task-7</key><task type=\"Task\">task-7</task><name>{method}</name>\
         <entity type=\"VirtualMachine\">vm-42</entity><queueTime>{queued}</queueTime>\
         <reason xsi:type=\"TaskReasonUser\"><userName>{user}</userName></reason></returnval>"
    )
}

const OURS: &str = "LAB\\user";
const LATER: &str = "2026-01-01T01:00:05.5+01:00";

/// A server that loses the answer to one method, and knows these tasks.
fn loses(
    method: &'static str,
    tasks: Vec<String>,
    waits: fn() -> Reply,
) -> impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static {
    move |seen| {
        match seen.method.as_str() {
        sent if sent == method => Some(Reply::Close),
        "RetrieveServiceContent" => {
            let Reply::Soap(content) = ordinary(seen) else {
                return None;
            };
            let manager = "<taskManager type=\"TaskManager\">TaskManager</taskManager><about>";
            Some(Reply::Soap(content.replace("<about>", manager)))
        }
        "CreateCollectorForTasks" => Some(Reply::Soap(
            "<CreateCollectorForTasksResponse xmlns=\"urn:vim25\"><returnval type=\"TaskHistoryCollector\">\
             session[1]t</returnval></CreateCollectorForTasksResponse>"
                .to_owned(),
        )),
        "ReadNextTasks" => Some(Reply::Soap(format!(
            "<ReadNextTasksResponse xmlns=\"urn:vim25\">{}</ReadNextTasksResponse>",
            tasks.concat()
        ))),
        "WaitForUpdatesEx" => Some(waits()),
        _ => None,
    }
    }
}

/// Running until the plan is made, and then off.
fn off_afterwards(seen: &Seen) -> String {
    machine(if seen.nth < 1 {
        "poweredOn"
    } else {
        "poweredOff"
    })
}

/// More time than a busy machine needs; what is to run out has less.
fn long() -> Value {
    json!({ "timeout_s": 60 })
}

fn on(_: &Seen) -> String {
    machine("poweredOn")
}

#[test]
fn c9_a_state_that_was_reached_is_found_after_a_lost_answer_and_nothing_is_sent_twice() {
    let scene = Scene::new(
        off_afterwards,
        loses("PowerOffVM_Task", Vec::new(), success),
    );
    let done = scene.call("power_off", long()).ok();
    assert_eq!(done["changed"], true);
    assert_eq!(done["lost_answer"]["found_by"], "state");
    assert_eq!(done["lost_answer"]["cause"], "connection.lost");
    assert_eq!(done["before"], json!({ "power_state": "poweredOn" }));
    assert_eq!(done["after"], json!({ "power_state": "poweredOff" }));
    assert_eq!(done["undo"]["action"], "power_on");
    assert_eq!(scene.was_sent("PowerOffVM_Task"), 1);
    assert_eq!(scene.was_sent("Login"), 2);
}

#[test]
fn c9_a_reset_is_found_by_the_one_task_that_is_ours_and_since_then() {
    let one = || vec![task("ResetVM_Task", "lab\\USER", LATER)];
    let done = Scene::new(on, loses("ResetVM_Task", one(), success))
        .call("reset", long())
        .ok();
    assert_eq!(done["lost_answer"]["found_by"], "task");
    assert_eq!(done["task"], "task-7");
    let elsewhere = task("ResetVM_Task", OURS, LATER).replace("vm-42", "vm-43");
    for (tasks, count, why) in [
        (Vec::new(), 0, "none at all"),
        (
            vec![task("ResetVM_Task", "LAB\\other", LATER)],
            0,
            "another user's",
        ),
        (vec![task("ResetVM_Task", "", LATER)], 0, "nobody's"),
        (
            vec![task("ResetVM_Task", OURS, "2025-12-31T23:59:59Z")],
            0,
            "an earlier one",
        ),
        (
            vec![task("ResetVM_Task", OURS, "soon")],
            0,
            "no time that can be read",
        ),
        (
            vec![task("PowerOffVM_Task", OURS, LATER)],
            0,
            "of another method",
        ),
        (vec![elsewhere], 0, "of another machine"),
        (
            [one(), one()].concat(),
            2,
            "two: nobody knows which of them is this call's",
        ),
    ] {
        let scene = Scene::new(on, loses("ResetVM_Task", tasks, success));
        let answer = scene.call("reset", long());
        let body = answer.fails("vsphere.lost_answer", "unknown");
        assert_eq!(body["found"]["tasks"], count, "{why}");
        assert_eq!(
            body["found"]["change_version"]["now"],
            "2026-01-01T00:00:00Z"
        );
        assert_eq!(scene.was_sent("ResetVM_Task"), 1, "{why}");
    }
}

#[test]
fn c9_a_task_that_failed_or_goes_on_is_said_as_it_is() {
    let one = || vec![task("PowerOffVM_Task", OURS, LATER)];
    // Failed, and the machine is as it was.
    let scene = Scene::new(
        on,
        loses("PowerOffVM_Task", one(), || failure("InvalidState")),
    );
    let answer = scene.call("power_off", long());
    assert_eq!(
        answer.fails("vsphere.invalid_state", "none")["task"],
        "task-7"
    );
    // Failed, and the machine is not as it was.
    let scene = Scene::new(
        off_afterwards,
        loses("PowerOffVM_Task", one(), || failure("InvalidState")),
    );
    scene
        .call("power_off", long())
        .fails("vsphere.invalid_state", "unknown");
    // Still at work: also if the state is there already.
    let running = || update(&change("info.state", "<val>running</val>"), "");
    let scene = Scene::new(off_afterwards, loses("PowerOffVM_Task", one(), running));
    let body = scene.call("power_off", json!({ "timeout_s": 8 })).ok();
    assert_eq!(
        (&body["outcome"], &body["task"]),
        (&json!("running"), &json!("task-7"))
    );
    let key = json!({ "pilothouse/key": "wf_1/a/do/0", "pilothouse/attempt": 1 });
    let scene = Scene::new(on, loses("PowerOffVM_Task", one(), running));
    scene
        .call_with("power_off", json!({ "timeout_s": 8 }), key)
        .fails("task.running", "unknown");
}

#[test]
fn c9_a_task_that_was_lost_from_sight_is_followed_again() {
    let logins = AtomicUsize::new(0);
    let script = move |seen: &Seen| match seen.method.as_str() {
        "Login" => {
            logins.fetch_add(1, Ordering::SeqCst);
            None
        }
        // Not over the old connection, however often it is tried.
        "WaitForUpdatesEx" if logins.load(Ordering::SeqCst) < 2 => Some(Reply::Close),
        "WaitForUpdatesEx" => Some(success()),
        _ => None,
    };
    let scene = Scene::new(on, script);
    let done = scene.call("reset", json!({ "timeout_s": 60 })).ok();
    assert_eq!(done["lost_answer"]["found_by"], "task");
    assert_eq!(done["task"], "task-7");
    assert_eq!(scene.was_sent("ResetVM_Task"), 1);
}

#[test]
fn c9_a_standalone_host_is_asked_for_its_recent_tasks() {
    let recent = |seen: &Seen| match seen.method.as_str() {
        "ResetVM_Task" => Some(Reply::Close),
        "WaitForUpdatesEx" => Some(success()),
        "RetrieveServiceContent" => {
            let Reply::Soap(content) = ordinary(seen) else {
                return None;
            };
            let manager = "<taskManager type=\"TaskManager\">ha-taskmgr</taskManager><about>";
            let content = content.replace("<about>", manager);
            Some(Reply::Soap(content.replace("VirtualCenter", "HostAgent")))
        }
        "RetrievePropertiesEx" if seen.body.contains(">ha-taskmgr</obj>") => Some(objects(
            "<objects><obj type=\"TaskManager\">ha-taskmgr</obj><propSet><name>recentTask</name><val>\
             <ManagedObjectReference type=\"Task\">task-7</ManagedObjectReference></val></propSet></objects>",
        )),
        "RetrievePropertiesEx" if seen.body.contains(">task-7</obj>") => {
            let info = task("", OURS, LATER)
                .replace(
                    "<name></name>",
                    "<descriptionId>VirtualMachine.reset</descriptionId>",
                )
                .replace("returnval>", "val>");
            Some(objects(&format!(
                "<objects><obj type=\"Task\">task-7</obj><propSet><name>info</name>{info}</propSet></objects>"
            )))
        }
        _ => None,
    };
    let done = Scene::new(on, recent).call("reset", long()).ok();
    assert_eq!(done["lost_answer"]["found_by"], "task");
}

fn objects(objects: &str) -> Reply {
    Reply::Soap(format!(
        "<RetrievePropertiesExResponse xmlns=\"urn:vim25\"><returnval>{objects}</returnval></RetrievePropertiesExResponse>"
    ))
}

#[test]
fn c9_without_a_second_connection_the_effect_is_unknown() {
    for reply in [Reply::Close, Reply::Fault("InvalidLogin", "")] {
        let script = move |seen: &Seen| match (seen.method.as_str(), seen.nth) {
            ("PowerOffVM_Task", _) => Some(Reply::Close),
            ("Login", 1) => Some(reply.clone()),
            _ => None,
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let fake = runtime.block_on(crate::fake::Fake::but(move |seen: &Seen| {
            script(seen).or_else(|| {
                let is_read = seen.method == "RetrievePropertiesEx";
                is_read.then(|| crate::scene::properties(seen, &machine("poweredOn")))
            })
        }));
        let home = crate::support::TestHome::new();
        let server = crate::support::Server::start(&home);
        let answer = server.call(json!({
            "action": "power_off", "moref": "vm-42", "timeout_s": 60, "host": "127.0.0.1", "port": fake.port,
            "user": "u", "password": "p"
        }));
        let body = answer.fails("vsphere.lost_answer", "unknown");
        assert!(
            body["found"]["connection"]
                .as_str()
                .unwrap()
                .starts_with("login.")
        );
        assert_eq!(fake.of("PowerOffVM_Task").len(), 1);
        assert_eq!(fake.of("Login").len(), 2, "once anew, and no more");
    }
}

/// Our machine, and with `made` a clone that bears a key.
fn inventory(seen: &Seen, made: Option<&str>) -> Option<Reply> {
    let source = format!(
        "<objects><obj type=\"VirtualMachine\">vm-42</obj>{}<propSet><name>parent</name>\
         <val type=\"Folder\">group-v3</val></propSet></objects>",
        machine("poweredOff")
    );
    let clone = made.map(|key| {
        format!(
            "<objects><obj type=\"VirtualMachine\">vm-99</obj>{}{}<propSet><name>config.extraConfig</name><val>\
             <OptionValue><key>pilothouse.key</key><value xsi:type=\"xsd:string\">{key}</value></OptionValue>\
             </val></propSet></objects>",
            property("name", "twin"),
            property("summary.config.instanceUuid", "5001-twin"),
        )
    });
    let folder = "<objects><obj type=\"Folder\">group-v3</obj><propSet><name>name</name><val>vm</val></propSet>\
                  <propSet><name>parent</name><val type=\"Datacenter\">dc-2</val></propSet></objects>";
    let everything = seen.body.contains(">group-d1</obj>");
    let machines = seen.body.contains("<type>VirtualMachine</type>");
    let mut found = String::new();
    if (everything && machines) || seen.body.contains(">vm-42</obj>") {
        found += &source;
    }
    if (everything && machines) || seen.body.contains(">vm-99</obj>") {
        found += &clone.unwrap_or_default();
    }
    if (everything && !machines) || seen.body.contains(">group-v3</obj>") {
        found += folder;
    }
    (seen.method == "RetrievePropertiesEx").then(|| objects(&found))
}

#[test]
fn c9_a_clone_whose_answer_was_lost_is_found_by_its_key_and_no_other_is_taken_for_it() {
    let key = json!({ "pilothouse/key": "wf_1/a/do/0", "pilothouse/attempt": 1 });
    for (made, found) in [("wf_1/a/do/0", true), ("wf_9/z/do/0", false)] {
        let sent = AtomicBool::new(false);
        let script = move |seen: &Seen| {
            if seen.method == "CloneVM_Task" {
                sent.store(true, Ordering::SeqCst);
                return Some(Reply::Close);
            }
            inventory(seen, sent.load(Ordering::SeqCst).then_some(made))
        };
        let scene = Scene::new(on, script);
        let answer = scene.call_with(
            "clone",
            json!({ "name": "twin", "timeout_s": 60 }),
            key.clone(),
        );
        let body = if found {
            let done = answer.ok();
            assert_eq!(done["lost_answer"]["found_by"], "key");
            assert_eq!(done["vm"]["moref"], "vm-99");
            assert_eq!(done["undo"]["moref"], "vm-99");
            assert_eq!(done["undo"]["instance_uuid"], "5001-twin");
            done
        } else {
            // Somebody else's of the same name: the count alone would say that it is there.
            answer.fails("vsphere.lost_answer", "unknown").clone()
        };
        let request = &scene.fake.of("CloneVM_Task")[0].body;
        assert!(
            request.contains(
                "<key>pilothouse.key</key><value xsi:type=\"xsd:string\">wf_1/a/do/0</value>"
            ),
            "{body}: {request}"
        );
    }
    // Without a key an inherited one is taken away.
    let scene = Scene::new(on, |seen: &Seen| {
        (seen.method == "CloneVM_Task")
            .then_some(Reply::Fault("InvalidState", ""))
            .or_else(|| inventory(seen, None))
    });
    scene
        .call("clone", json!({ "name": "twin", "timeout_s": 60 }))
        .fails("vsphere.invalid_state", "none");
    let request = &scene.fake.of("CloneVM_Task")[0].body;
    assert!(request.contains("<key>pilothouse.key</key><value xsi:type=\"xsd:string\"></value>"));
}

#[test]
fn a_linked_clone_is_asked_for_as_such() {
    let tree = "<propSet><name>snapshot</name><val><rootSnapshotList>\
        <snapshot type=\"VirtualMachineSnapshot\">snapshot-1</snapshot><name>s</name></rootSnapshotList></val></propSet>";
    let scene = Scene::new(on, move |seen: &Seen| {
        if seen.method == "CloneVM_Task" {
            return Some(Reply::Fault("DuplicateName", ""));
        }
        let Some(Reply::Soap(body)) = inventory(seen, None) else {
            return None;
        };
        let end = "<propSet><name>parent</name><val type=\"Folder\">";
        Some(Reply::Soap(body.replacen(end, &format!("{tree}{end}"), 1)))
    });
    let of = |linked: bool| json!({ "name": "twin", "snapshot_name": "s", "linked": linked, "timeout_s": 60 });
    scene
        .call("clone", of(true))
        .fails("vsphere.duplicate_name", "none");
    scene
        .call("clone", of(false))
        .fails("vsphere.duplicate_name", "none");
    let sent = scene.fake.of("CloneVM_Task");
    let moved = |at: usize, how: &str| sent[at].body.contains(&format!("<diskMoveType>{how}<"));
    assert!(moved(0, "createNewChildDiskBacking"));
    assert!(moved(1, "moveAllDiskBackingsAndDisallowSharing"));
    for one in &sent {
        assert!(
            one.body
                .contains("<snapshot type=\"VirtualMachineSnapshot\">snapshot-1</snapshot>")
        );
    }
}

#[test]
fn a_migration_that_the_server_would_refuse_is_not_sent() {
    let script = |seen: &Seen| match seen.method.as_str() {
        "RetrieveServiceContent" => {
            let Reply::Soap(content) = ordinary(seen) else {
                return None;
            };
            let checker = "<vmProvisioningChecker type=\"VirtualMachineProvisioningChecker\">ProvChecker\
                           </vmProvisioningChecker><about>";
            Some(Reply::Soap(content.replace("<about>", checker)))
        }
        "WaitForUpdatesEx" => {
            let result = "<val xsi:type=\"ArrayOfCheckResult\"><CheckResult><warning>\
                <fault xsi:type=\"DeviceBackedByX\"/><localizedMessage>mind the ISO</localizedMessage></warning><error>\
                <fault xsi:type=\"CannotAccessNetwork\"/><localizedMessage>no such net</localizedMessage></error>\
                </CheckResult></val>";
            let state = change("info.state", "<val>success</val>");
            Some(update(&(state + &change("info.result", result)), ""))
        }
        "RetrievePropertiesEx" if seen.body.contains("<type>Datastore</type>") => Some(objects(
            "<objects><obj type=\"Datastore\">datastore-2</obj><propSet><name>name</name><val>fast</val></propSet>\
             <propSet><name>summary.accessible</name><val>true</val></propSet></objects>",
        )),
        _ => None,
    };
    let scene = Scene::new(on, script);
    let answer = scene.call("migrate", json!({ "datastore": "fast", "timeout_s": 60 }));
    let body = answer.fails("vsphere.migration_fault", "none");
    assert_eq!(body["errors"], json!(["CannotAccessNetwork: no such net"]));
    assert_eq!(scene.was_sent("RelocateVM_Task"), 0);
    let preview = scene
        .call(
            "migrate",
            json!({ "datastore": "fast", "preview": true, "timeout_s": 60 }),
        )
        .ok();
    let first: &Value = &preview["warnings"][0];
    assert!(first.as_str().unwrap().contains("CannotAccessNetwork"));
    // A datastore that is away is not even checked.
    let scene = Scene::new(on, move |seen: &Seen| {
        let Reply::Soap(body) = script(seen)? else {
            return None;
        };
        Some(Reply::Soap(
            body.replace("<val>true</val>", "<val>false</val>"),
        ))
    });
    scene
        .call("migrate", json!({ "datastore": "fast", "timeout_s": 60 }))
        .fails("datastore.unusable", "none");
    assert_eq!(scene.was_sent("CheckRelocate_Task"), 0);
}
