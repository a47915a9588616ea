//! add_disk, remove_disk, grow_disk.

mod add;

use serde_json::{Map, Value, json};
use vsphere::{DeviceChange, FileOperation, Object, Operation, Reconfigure};

use super::super::disk::{self, DEVICES, Disk};
use super::{Change, Kind, counted, key, moved, of_kind, target, unmark};
use crate::argument::Arguments;
use crate::call::Call;
use crate::change::{self, Plan, Undo, Verify};
use crate::failure::Failure;
use crate::harm::{self, Level};
use crate::machine::Machine;

pub(crate) use add::{add, check as check_add};

const GIB: i64 = 1 << 30;
const MIB: i64 = 1 << 20;

/// The size that the call names, in bytes.
fn size(arguments: &Arguments) -> Option<i64> {
    let of = |name: &str, unit: i64| arguments.whole(name).map(|size| size.saturating_mul(unit));
    of("size_gb", GIB).or_else(|| of("size_mb", MIB))
}

/// One size, in one unit.
fn check_size(arguments: &Arguments) -> Result<(), Failure> {
    match (arguments.whole("size_gb"), arguments.whole("size_mb")) {
        (Some(_), Some(_)) => Err(Failure::new(
            "argument.out_of_range",
            "Pass `size_gb` or `size_mb`: both cannot be the size",
        )
        .with("argument", "size_mb")),
        (None, None) => Err(Failure::new(
            "argument.missing",
            "Pass `size_gb` or `size_mb`: without one the size is not known",
        )
        .with("argument", "size_gb")),
        _ => Ok(()),
    }
}

/// What grow_disk needs.
pub(crate) fn check_grow(arguments: &Arguments) -> Result<(), Failure> {
    super::check_named(arguments)?;
    check_size(arguments)
}

/// The disk with this key.
fn with_key(object: &Object, at: i64) -> Option<Disk> {
    disk::all(object).into_iter().find(|disk| disk.key == at)
}

/// Takes a disk off a machine; its file goes only if that is asked for.
pub(crate) async fn remove(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let machine = super::find(call).await?;
    let device = super::choose(call, &machine, Kind::Disk)?;
    let shown = device.and_then(|device| with_key(&machine.object, key(device)));
    let destroys = call.arguments.flag("destroy_file");
    let level = if destroys {
        Level::Files
    } else {
        Level::Hardware
    };
    let harm = harm::check(call, &machine, level).await?;
    let count = of_kind(&machine, Kind::Disk).len();
    let left = count - usize::from(device.is_some());
    let ((before, pointed_before), (after, pointed_after)) =
        (counted("disks", count), counted("disks", left));
    let mut warnings = machine.warnings();
    warnings.extend(harm.warnings(call));
    let mut refusal = machine.unfit().or_else(|| harm.refusal(call));
    let mut extra = Map::new();
    if let Some(disk) = &shown {
        let found = Map::from_iter([("file".to_owned(), json!(disk.file))]);
        refusal = refusal.or_else(|| moved(call, &machine, &found));
        extra.insert("disk".to_owned(), disk.row());
        if destroys {
            let why = "they hold the disk whose file is to be destroyed";
            refusal = refusal.or_else(|| super::has_snapshots(&machine, why));
            if let Some(note) = disk.note() {
                warnings.push(format!("{}: {note}", disk.label));
            }
        } else {
            warnings.push(format!("The file stays: {}", disk.file));
        }
    }
    extra.insert("destroys_file".to_owned(), json!(destroys));
    let undo = shown.as_ref().map_or_else(
        || Undo::none("There is no such disk"),
        |disk| undo_of_removal(call, &machine, disk, destroys),
    );
    let plan = Plan {
        target: target(call, &machine, Kind::Disk, device),
        changed: device.is_some(),
        before,
        after,
        undo,
        verify: Some(Verify {
            arguments: machine.arguments(call, "get_vm"),
            before: pointed_before,
            after: pointed_after,
        }),
        warnings,
        refusal,
        extra,
    };
    let gone = device.map(key);
    let spec = device.map(|device| Reconfigure {
        extra: unmark(call),
        ..super::spec(
            &machine,
            DeviceChange {
                operation: Operation::Remove,
                file: destroys.then_some(FileOperation::Destroy),
                device: device.clone(),
            },
        )
    });
    let deed = Change {
        machine,
        spec: spec.unwrap_or_default(),
        is_there: move |object: &Object| {
            object.get(DEVICES).is_some()
                && gone.is_none_or(|gone| with_key(object, gone).is_none())
        },
        after: |object: &Object| counted("disks", disk::all(object).len()).0,
    };
    change::carry_out(call, plan, deed).await
}

/// The way back for a disk that is taken off.
fn undo_of_removal(call: &Call<'_>, machine: &Machine, disk: &Disk, destroys: bool) -> Undo {
    if destroys {
        return Undo::none("A disk whose file is destroyed cannot be brought back");
    }
    if disk.is_raw_device() {
        return Undo::none("A raw device is mapped again in the vSphere client");
    }
    let mut undo = machine.arguments(call, "add_disk");
    undo.insert("path".to_owned(), json!(disk.file));
    for (name, value) in [("controller_key", disk.controller_key), ("unit", disk.unit)] {
        if let Some(value) = value {
            undo.insert(name.to_owned(), json!(value));
        }
    }
    let is_plain = disk.mode == "persistent" && !disk.is_shared() && disk.parents.is_empty();
    if is_plain {
        Undo::exact(undo)
    } else {
        Undo::lossy(
            undo,
            "The file is attached again as an ordinary disk: without its mode, its sharing and its place in the snapshots",
        )
    }
}

/// Makes a disk larger.
pub(crate) async fn grow(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let machine = super::find(call).await?;
    let wanted = size(call.arguments).unwrap_or_default();
    let Some(device) = super::choose(call, &machine, Kind::Disk)? else {
        return Err(super::not_found(&machine, Kind::Disk, "with that key"));
    };
    let at = key(device);
    let all = disk::all(&machine.object);
    let place = all.iter().position(|disk| disk.key == at).unwrap_or(0);
    let shown = &all[place];
    let Some(now) = shown.capacity_bytes else {
        return Err(Failure::new(
            "vm.unreadable",
            "Let the user read the VM: the disk's size cannot be read, so it is not changed",
        ));
    };
    let harm = harm::check(call, &machine, Level::Hardware).await?;
    let mut warnings = machine.warnings();
    warnings.extend(harm.warnings(call));
    warnings.push(
        "The guest does not see more of it until its partition and file system grow".to_owned(),
    );
    let refusal = machine
        .unfit()
        .or_else(|| harm.refusal(call))
        .or_else(|| smaller(now, wanted))
        .or_else(|| super::has_snapshots(&machine, "a disk with snapshots does not grow"))
        .or_else(|| stands_on_another(shown));
    let capacity = |bytes: i64| Map::from_iter([("capacity_bytes".to_owned(), json!(bytes))]);
    let pointed =
        |bytes: i64| Map::from_iter([(format!("/vm/disks/{place}/capacity_bytes"), json!(bytes))]);
    let plan = Plan {
        target: target(call, &machine, Kind::Disk, Some(device)),
        changed: now != wanted,
        before: capacity(now),
        after: capacity(wanted),
        undo: Undo::none("A disk does not shrink again"),
        verify: Some(Verify {
            arguments: machine.arguments(call, "get_vm"),
            before: pointed(now),
            after: pointed(wanted),
        }),
        warnings,
        refusal,
        extra: Map::from_iter([("disk".to_owned(), shown.row())]),
    };
    let larger = device
        .clone()
        .replacing("capacityInKB", wanted / 1024, &["capacityInBytes"])
        .replacing(
            "capacityInBytes",
            wanted,
            &[
                "shares",
                "storageIOAllocation",
                "diskObjectId",
                "vFlashCacheConfigInfo",
                "iofilter",
                "vDiskId",
            ],
        );
    let spec = super::spec(
        &machine,
        DeviceChange {
            operation: Operation::Edit,
            file: None,
            device: larger,
        },
    );
    let capacity_of = move |object: &Object| with_key(object, at)?.capacity_bytes;
    let deed = Change {
        machine,
        spec,
        is_there: move |object: &Object| capacity_of(object) == Some(wanted),
        after: move |object: &Object| capacity(capacity_of(object).unwrap_or(wanted)),
    };
    change::carry_out(call, plan, deed).await
}

fn smaller(now: i64, wanted: i64) -> Option<Failure> {
    (wanted < now).then(|| {
        Failure::new(
            "argument.out_of_range",
            format!(
                "Pass the new size of the whole disk, more than {} MB: a disk does not shrink",
                now / MIB
            ),
        )
        .with("capacity_bytes", now)
    })
}

fn stands_on_another(disk: &Disk) -> Option<Failure> {
    let parent = disk.parents.first()?;
    Some(
        Failure::new(
            "device.linked",
            format!("Copy the VM whole first: the disk stands on `{parent}`, and such a disk does not grow"),
        )
        .with("stands_on", parent.as_str()),
    )
}
