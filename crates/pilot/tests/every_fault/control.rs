//! The drivers over every action of `vmware-control` that changes something, on the simulator.
//!
//! A deed that ends half way cannot be had from the simulator, which has no such faults. The two
//! ends of it can: the undo that a preview offered, after a deed that was never done, and after one
//! that was done and whose answer nobody read.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::drivers::{Companion, Count, HALF, ONCE, Row, TWICE, UNDO_TWICE};
use crate::pool;
use crate::support::{Home, pilot};
use crate::vcsim::Vcsim;

/// What is not driven here, and why.
const NOT_DRIVEN: &[(&str, &str)] = &[
    ("consolidate_disks", "no machine of the simulator needs it"),
    ("mount_iso", "the simulator's machines have no CD drive"),
    ("eject_iso", "the simulator's machines have no CD drive"),
    ("answer_question", "the simulator's machines ask nothing"),
    ("reboot_guest", "the simulator's guests have no Tools"),
    ("standby_guest", "the simulator's guests have no Tools"),
    ("guest_run", "the simulator's guests have no Tools"),
    ("cancel_task", "the simulator's tasks end at once"),
    ("acknowledge_alarm", "the simulator raises no alarm"),
    ("reconnect_host", "the simulator's hosts are connected"),
    ("migrate", "the machine has one host and one datastore"),
    ("move_to_folder", "there is one folder of machines"),
    ("deploy_template", "a clone, which is driven"),
    ("mark_vm", "driven as the undo of mark_template"),
    (
        "unregister",
        "the simulator registers a machine without its devices",
    ),
    ("register", "what unregister leaves, and its undo"),
];

/// The program, built where it is not there.
fn program() -> PathBuf {
    let pilot = pilot();
    let profile = pilot.parent().unwrap();
    let program = profile.join("vmware-control");
    if !program.exists() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["build", "--quiet", "-p", "control", "--target-dir"])
            .arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(
            cargo.status().unwrap().success(),
            "vmware-control was not built"
        );
    }
    program
}

/// A simulator with one machine, and the program before it.
struct Lab {
    companion: Companion,
    vcsim: Vcsim,
    _home: Home,
}

/// A state that a machine is brought into before an action is tried on it.
const STATES: &[&[&str]] = &[
    &[],
    &["power_off"],
    &["suspend"],
    &["snapshot_create"],
    &["snapshot_create", "power_off"],
    &["enter_maintenance"],
];

/// A host without the machine.
const HOST: &str = "DC0_C0_H2";

impl Lab {
    fn new() -> (Self, Vec<Row>) {
        let home = Home::new();
        let vcsim = Vcsim::start(&["-vm", "1"]);
        let mut command = Command::new(program());
        command
            .arg("mcp")
            .env("PILOTHOUSE_PRIVILEGES", "UNSANDBOXED_EXEC");
        let (companion, rows) = Companion::start(&home, command);
        let mut lab = Self {
            companion,
            vcsim,
            _home: home,
        };
        lab.save("lab");
        (lab, rows)
    }

    /// Saves a profile for the simulator.
    fn save(&mut self, profile: &str) {
        let port = self.vcsim.port;
        self.ok(&json!({
            "action": "credential_save", "credential_profile": profile, "host": Vcsim::HOST,
            "port": port, "user": Vcsim::USER, "password": Vcsim::PASSWORD,
        }));
    }

    /// The machine that is worked on, if it is still there.
    fn machine(&mut self) -> Option<Value> {
        let list = self.ok(&json!({"action": "list_vms", "credential_profile": "lab"}));
        let mut machines = list["vms"].as_array().unwrap().iter();
        machines.find(|vm| vm["name"] == "DC0_H0_VM0").cloned()
    }

    fn ok(&mut self, arguments: &Value) -> Value {
        let key = self.companion.key("do");
        match self.companion.call(arguments, &key, 1) {
            Ok(answer) => answer,
            Err(error) => panic!("{arguments} was refused: {error}"),
        }
    }

    /// What the actions can change: the machine, its snapshots, the profiles.
    fn world(&mut self) -> Value {
        let profiles = self.ok(&json!({"action": "credential_list"}))["profiles"].clone();
        let Some(machine) = self.machine() else {
            return json!({"machine": null, "profiles": profiles});
        };
        let look = |action: &str| json!({"action": action, "credential_profile": "lab", "moref": machine["moref"]});
        let seen = self.ok(&look("get_vm"))["vm"].clone();
        let snapshots = self.ok(&look("snapshot_list"))["snapshots"].clone();
        let list = |action: &str| json!({"action": action, "credential_profile": "lab"});
        let hosts = self.ok(&list("list_hosts"))["hosts"].clone();
        let all = self.ok(&list("list_vms"))["vms"].clone();
        json!({
            "hosts": every(&hosts, &["name", "in_maintenance"]),
            "all": every(&all, &["name", "template"]),
            "machine": {"power_state": seen["power_state"], "cpu": seen["cpu"], "memory_mb": seen["memory_mb"]},
            "disks": every(&seen["disks"], &["unit"]),
            // The simulator forgets the size of a file that is attached again.
            "size": seen["disks"][0]["capacity_bytes"],
            "adapters": every(&seen["network_adapters"], &["network", "adapter", "start_connected"]),
            "snapshots": names(&snapshots), "profiles": profiles,
        })
    }

    /// The arguments of an action: those that every one of its kind takes, and those that it wants.
    fn arguments(&mut self, row: &Row, machine: &Value) -> Value {
        let takes = |name: &str| {
            row.says["arguments"]
                .as_array()
                .unwrap()
                .iter()
                .any(|a| a == name)
        };
        let mut arguments = json!({"action": row.action});
        if row.action.starts_with("credential_") {
            arguments["credential_profile"] = "more".into();
            if takes("password") {
                for (name, value) in [
                    ("host", json!(Vcsim::HOST)),
                    ("port", json!(self.vcsim.port)),
                    ("user", json!(Vcsim::USER)),
                    ("password", json!(Vcsim::PASSWORD)),
                ] {
                    arguments[name] = value;
                }
            }
            return arguments;
        }
        arguments["credential_profile"] = "lab".into();
        for name in ["moref", "instance_uuid"] {
            if takes(name) {
                arguments[name] = machine[name].clone();
            }
        }
        let mut known = json!({"snapshot_name": "before", "cpu": 4, "memory_mb": 512});
        for (action, name, value) in [
            ("add_disk", "size_mb", json!(16)),
            ("grow_disk", "size_gb", json!(100)),
            ("add_nic", "network", json!("VM Network")),
            ("connect_nic", "start_connected", json!(false)),
            ("enter_maintenance", "host_system", json!(HOST)),
            ("exit_maintenance", "host_system", json!(HOST)),
            ("rename", "new_name", json!("renamed")),
            ("clone", "name", json!("copy")),
            ("create_vm", "name", json!("made")),
            ("create_vm", "host_system", json!("DC0_H0")),
            ("create_vm", "datastore", json!("LocalDS_0")),
        ] {
            if action == row.action {
                known[name] = value;
            }
        }
        let devices = match row.action.as_str() {
            "remove_disk" | "grow_disk" => Some("disks"),
            "remove_nic" | "connect_nic" => Some("network_adapters"),
            _ => None,
        };
        if let Some(devices) = devices {
            if row.action == "remove_disk" {
                // The first disk of the simulator's machines shares its unit with the CD drive.
                self.ok(&json!({"action": "add_disk", "credential_profile": "lab",
                    "moref": machine["moref"], "size_mb": 16}));
            }
            let look =
                json!({"action": "get_vm", "credential_profile": "lab", "moref": machine["moref"]});
            let found = self.ok(&look)["vm"][devices].clone();
            let last = found.as_array().and_then(|all| all.last());
            known["device_key"] = last.unwrap()["device_key"].clone();
        }
        for name in row.says["required"].as_array().unwrap() {
            let name = name.as_str().unwrap();
            assert!(
                known.get(name).is_some(),
                "give `{name}` of the new action {} a value here",
                row.action
            );
        }
        for (name, value) in known.as_object().unwrap() {
            if takes(name) {
                arguments[name] = value.clone();
            }
        }
        arguments
    }
}

/// These fields of each row.
fn every(rows: &Value, fields: &[&str]) -> Value {
    let rows = rows.as_array().map_or(&[][..], Vec::as_slice);
    rows.iter()
        .map(|row| {
            fields
                .iter()
                .map(|field| row[*field].clone())
                .collect::<Value>()
        })
        .collect()
}

fn names(snapshots: &Value) -> Value {
    let rows = snapshots.as_array().map_or(&[][..], Vec::as_slice);
    rows.iter().map(|row| row["name"].clone()).collect()
}

/// A machine of its own for one try, brought into a state, if the action would change something in
/// it: with its row, its arguments and its preview.
fn ready(action: &str, state: &[&str]) -> Option<(Lab, Row, Value, Value)> {
    let (mut lab, rows) = Lab::new();
    let machine = lab.machine().unwrap();
    if action == "credential_delete" {
        lab.save("more");
    }
    for step in state {
        let mut deed =
            json!({"action": step, "credential_profile": "lab", "moref": machine["moref"]});
        if *step == "snapshot_create" {
            deed["snapshot_name"] = "before".into();
        }
        if *step == "enter_maintenance" {
            deed = json!({"action": step, "credential_profile": "lab", "host_system": HOST});
        }
        lab.ok(&deed);
    }
    let row = rows.into_iter().find(|row| row.action == action)?;
    let arguments = lab.arguments(&row, &machine);
    let before = lab.world();
    let preview = lab.companion.preview(&arguments).ok()?;
    assert_eq!(
        lab.world(),
        before,
        "a preview of {action} changed something"
    );
    // A revert has an undo only if it is asked to take a snapshot first.
    let may_have_none = !row.has_undo() || action == "snapshot_revert";
    let changes = preview["changed"] == true && (preview["undo"].is_object() || may_have_none);
    changes.then_some((lab, row, arguments, preview))
}

/// Undoes it twice under one key, and compares the world with what it was.
fn undo_twice(lab: &mut Lab, undo: &Value, before: &Value, what: &str) {
    let key = lab.companion.key("undo");
    for attempt in 1..=2 {
        if let Err(error) = lab.companion.call(undo, &key, attempt) {
            panic!("{what}: undone {attempt} times: {error}");
        }
        assert_eq!(lab.world(), *before, "{what}: undone {attempt} times");
    }
}

#[test]
fn p8_p18_what_vmware_control_declares_holds_when_it_is_done_twice_and_not_at_all() {
    let (lab, rows) = Lab::new();
    drop(lab);
    let mut actions: Vec<String> = rows.into_iter().map(|row| row.action).collect();
    actions.retain(|action| {
        let why = NOT_DRIVEN.iter().find(|(name, _)| name == action);
        if let Some((_, why)) = why {
            println!("not driven: {action}: {why}");
        }
        why.is_none()
    });
    let mut count = Count::default();
    let drove = pool::run(
        "actions of vmware-control",
        &actions,
        Clone::clone,
        |action| drive(action),
    );
    for (driver, what) in drove.into_iter().flatten() {
        count.drove(driver, &what);
    }
    count.end("vmware-control", &[ONCE, TWICE, UNDO_TWICE, HALF]);
}

/// Drives an action in the first state in which it changes something, and says what was driven.
fn drive(action: &str) -> Result<Vec<(&'static str, String)>, String> {
    let found = STATES.iter().find_map(|state| drive_in(action, state));
    found.ok_or_else(|| {
        "it changes nothing in any of these states: bring the machine into another, or say in \
         NOT_DRIVEN why it cannot be driven"
            .to_owned()
    })
}

fn drive_in(action: &str, state: &[&str]) -> Option<Vec<(&'static str, String)>> {
    let (mut lab, row, arguments, preview) = ready(action, state)?;
    let mut drove = vec![(ONCE, action.to_owned())];
    let before = lab.world();
    let undo = &preview["undo"];
    if undo.is_object() {
        // Never done: whoever undoes it finds nothing to do, or is refused.
        let key = lab.companion.key("undo");
        let answer = lab.companion.call(undo, &key, 1);
        assert_eq!(
            lab.world(),
            before,
            "{action}: an undo of what was not done: {answer:?}"
        );
        drove.push((HALF, format!("{action}, not done")));
    }
    let key = lab.companion.key("do");
    let done = match lab.companion.call(&arguments, &key, 1) {
        Ok(done) => done,
        // The preview may not see what the server will say.
        Err(error) if error["effect"] == "none" => {
            println!("{action} after {state:?}: {error}");
            assert_eq!(lab.world(), before, "{action}: {error}");
            return None;
        }
        Err(error) => panic!("{action}: {error}"),
    };
    let after = lab.world();
    if row.is_idempotent() || row.has_undo() {
        // What makes something finds under its key what it made.
        let again = lab.companion.call(&arguments, &key, 2);
        assert_eq!(
            lab.world(),
            after,
            "{action}: twice is another thing than once: {again:?}"
        );
        // What is named and no longer there is refused, which changes nothing either.
        if let Err(error) = &again {
            assert_eq!(error["effect"], "none", "{action}: {error}");
            println!("{action}, a second time: {error}");
        }
        drove.push((TWICE, action.to_owned()));
    }
    if undo.is_object() {
        // The answer may offer a more exact one, such as that of the snapshot which it made.
        undo_twice(&mut lab, &done["undo"], &before, action);
        drove.push((UNDO_TWICE, action.to_owned()));
        // It names what is made by the key that the preview was asked with.
        let key = lab.companion.previewed.clone();
        let again = lab.companion.call(&arguments, &key, 1);
        assert!(again.is_ok(), "{action} anew: {again:?}");
        undo_twice(&mut lab, undo, &before, &format!("{action}, as previewed"));
        drove.push((HALF, format!("{action}, answer not read")));
    }
    Some(drove)
}
