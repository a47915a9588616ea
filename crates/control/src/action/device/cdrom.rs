//! mount_iso, eject_iso.

use serde_json::{Map, Value, json};
use vsphere::{DeviceChange, Object, Operation};

use super::super::disk::devices;
use super::nic::connectable;
use super::{AFTER_BACKING, Change, Kind, is_set, key, moved, of_kind, target, text};
use crate::argument::Arguments;
use crate::call::Call;
use crate::change::{self, Plan, Undo, Verify};
use crate::failure::Failure;
use crate::harm::{self, Level};
use crate::machine::Machine;

/// The drive as a row.
pub(crate) fn row(device: &vsphere::Value) -> Map<String, Value> {
    let mut row = Map::new();
    row.insert("device_key".to_owned(), json!(key(device)));
    row.insert("label".to_owned(), json!(text(device, "deviceInfo.label")));
    row.insert("iso".to_owned(), json!(iso(device)));
    for (name, path) in [
        ("connected", "connectable.connected"),
        ("start_connected", "connectable.startConnected"),
    ] {
        row.insert(name.to_owned(), json!(is_set(device, path)));
    }
    row
}

/// The file in a drive; empty if there is none.
fn iso(device: &vsphere::Value) -> String {
    let backing = device.get("backing").and_then(vsphere::Value::type_name);
    if backing == Some("VirtualCdromIsoBackingInfo") {
        text(device, "backing.fileName")
    } else {
        String::new()
    }
}

/// The drives of a machine as rows.
pub(crate) fn rows(object: &Object) -> Vec<Value> {
    devices(object)
        .filter(|device| Kind::Cdrom.fits(device))
        .map(|device| Value::Object(row(device)))
        .collect()
}

/// A path on a datastore begins with its name in brackets.
pub(crate) fn check_path(arguments: &Arguments) -> Result<(), Failure> {
    let path = arguments.text("path").unwrap_or_default();
    let rest = path.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    if rest.is_some_and(|(store, file)| !store.is_empty() && !file.trim().is_empty()) {
        return Ok(());
    }
    Err(Failure::new(
        "argument.out_of_range",
        "Pass `path` with its datastore, as `[ds] folder/file`",
    )
    .with("argument", "path"))
}

/// Puts an ISO file into a drive.
pub(crate) async fn mount(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let machine = super::find(call).await?;
    let is_on = machine.power_state() == "poweredOn";
    let path = call.arguments.text("path").unwrap_or_default();
    let start = call.arguments.given_flag("start_connected").unwrap_or(true);
    let connected = call.arguments.given_flag("connected").unwrap_or(true) && is_on;
    let backing = vsphere::Value::record("VirtualCdromIsoBackingInfo").with("fileName", path);
    set(call, machine, path, start, connected, backing).await
}

/// Takes the ISO file out of a drive.
pub(crate) async fn eject(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let machine = super::find(call).await?;
    let backing = vsphere::Value::record("VirtualCdromRemotePassthroughBackingInfo")
        .with("deviceName", "")
        .with("exclusive", false);
    set(call, machine, "", false, false, backing).await
}

async fn set(
    call: &Call<'_>,
    machine: Machine,
    path: &str,
    start: bool,
    connected: bool,
    backing: vsphere::Value,
) -> Result<Map<String, Value>, Failure> {
    let Some(device) = super::choose(call, &machine, Kind::Cdrom)? else {
        return Err(super::not_found(&machine, Kind::Cdrom, "with that key"));
    };
    let at = key(device);
    let before = values(device);
    let mut after = before.clone();
    after.insert("iso".to_owned(), json!(path));
    // An empty drive may well be connected to a client's: there is nothing to take out of it.
    if !(path.is_empty() && before["iso"] == json!("")) {
        after.insert("connected".to_owned(), json!(connected));
        after.insert("start_connected".to_owned(), json!(start));
    }
    let harm = harm::check(call, &machine, Level::Hardware).await?;
    let mut warnings = machine.warnings();
    warnings.extend(harm.warnings(call));
    if machine.power_state() == "poweredOn" && before["iso"] != json!("") {
        warnings.push(
            "A guest that has locked the drive makes the VM ask: `answer_question` answers"
                .to_owned(),
        );
    }
    let refusal = machine
        .unfit()
        .or_else(|| harm.refusal(call))
        .or_else(|| moved(call, &machine, &before));
    let place = of_kind(&machine, Kind::Cdrom)
        .iter()
        .position(|device| key(device) == at)
        .unwrap_or(0);
    let pointed = |values: &Map<String, Value>| {
        let point = |(name, value): (&String, &Value)| {
            (format!("/vm/cdroms/{place}/{name}"), value.clone())
        };
        values.iter().map(point).collect::<Map<_, _>>()
    };
    let edited = device
        .clone()
        .replacing("backing", backing, AFTER_BACKING)
        .replacing(
            "connectable",
            connectable(start, connected),
            &AFTER_BACKING[1..],
        );
    let spec = super::spec(
        &machine,
        DeviceChange {
            operation: Operation::Edit,
            file: None,
            device: edited,
        },
    );
    let plan = Plan {
        target: target(call, &machine, Kind::Cdrom, Some(device)),
        changed: before != after,
        undo: undo(call, &machine, at, &before, &after),
        verify: Some(Verify {
            arguments: machine.arguments(call, "get_vm"),
            before: pointed(&before),
            after: pointed(&after),
        }),
        before,
        after: after.clone(),
        warnings,
        refusal,
        extra: Map::new(),
    };
    let now = move |object: &Object| {
        devices(object)
            .find(|device| key(device) == at)
            .map(values)
            .unwrap_or_default()
    };
    let deed = Change {
        machine,
        spec,
        is_there: move |object: &Object| now(object) == after,
        after: now,
    };
    change::carry_out(call, plan, deed).await
}

/// What is set: the file, and how the drive is connected.
fn values(device: &vsphere::Value) -> Map<String, Value> {
    let mut row = row(device);
    row.retain(|name, _| ["iso", "connected", "start_connected"].contains(&name.as_str()));
    row
}

fn undo(
    call: &Call<'_>,
    machine: &Machine,
    at: i64,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
) -> Undo {
    let had_file = before["iso"] != json!("");
    let mut undo = machine.arguments(call, if had_file { "mount_iso" } else { "eject_iso" });
    undo.insert("device_key".to_owned(), json!(at));
    undo.insert("expect".to_owned(), json!({ "iso": after["iso"] }));
    if had_file {
        undo.insert("path".to_owned(), before["iso"].clone());
        for name in ["connected", "start_connected"] {
            undo.insert(name.to_owned(), before[name].clone());
        }
        return Undo::exact(undo);
    }
    let was_idle = before["connected"] == json!(false) && before["start_connected"] == json!(false);
    if was_idle {
        Undo::exact(undo)
    } else {
        Undo::lossy(undo, "The drive is empty and disconnected afterwards")
    }
}
