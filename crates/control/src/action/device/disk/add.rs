//! add_disk: a new disk, or a file that is there already.

use serde_json::{Map, Value, json};
use vsphere::{DeviceChange, FileOperation, Object, Operation, Reconfigure};

use super::super::super::disk::{self, DEVICES, Disk, devices};
use super::super::super::reconfig;
use super::super::{Kind, added, counted, key, mark, place, text, whole};
use super::{check_size, size};
use crate::argument::Arguments;
use crate::call::Call;
use crate::change::{self, Deed, Done, Plan, Undo, Verify};
use crate::failure::Failure;
use crate::machine::Machine;
use crate::object::{DATASTORE, Found};

/// Controllers that take disks, the better ones first: a part of the type's name, and how many units.
const CONTROLLERS: &[(&str, i64)] = &[
    ("ParaVirtualSCSIController", 16),
    ("SCSIController", 16),
    ("VirtualLsiLogic", 16),
    ("VirtualBusLogic", 16),
    ("NVMEController", 15),
    ("AHCIController", 30),
    ("SATAController", 30),
    ("IDEController", 2),
];

/// The unit that a SCSI controller has for itself.
const OWN_UNIT: i64 = 7;

/// A new disk has a size; a file that is attached has one already.
pub(crate) fn check(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.text("path").is_none() {
        return check_size(arguments);
    }
    super::super::cdrom::check_path(arguments)?;
    for name in ["size_gb", "size_mb", "thin", "datastore"] {
        if arguments.given(name).is_some() {
            return Err(Failure::new(
                "argument.out_of_range",
                format!("Leave out `{name}`, or `path`: a file that is attached is as it is"),
            )
            .with("argument", name));
        }
    }
    Ok(())
}

/// Adds a disk; under a key that was used before, finds the one that was added then.
pub(crate) async fn add(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let machine = super::super::find(call).await?;
    let attached = call.arguments.text("path").map(guard::text::sanitize);
    let all = disk::all(&machine.object);
    if let Some(file) = &attached
        && let Some(disk) = all.iter().find(|disk| disk.file == *file)
    {
        return there_already(call, &machine, disk, all.len()).await;
    }
    let found = match call.key {
        Some(under) => added(&machine, Kind::Disk, under)?.map(key),
        None => None,
    };
    let count = all.len() - usize::from(found.is_some());
    let ((before, pointed_before), (after, pointed_after)) =
        (counted("disks", count), counted("disks", count + 1));
    let mut warnings = machine.warnings();
    let slot = free_slot(&machine, call.arguments);
    let mut refusal = machine.unfit();
    let (slot, device) = match (found, slot) {
        (Some(_), _) => {
            warnings.push(
                "It was added before under this key: it is found, not added twice".to_owned(),
            );
            refusal = None;
            (Slot::default(), None)
        }
        (None, Err(failure)) => {
            refusal = refusal.or(Some(failure));
            (Slot::default(), None)
        }
        (None, Ok(slot)) => {
            let store = datastore(call, &machine, &mut warnings).await?;
            (slot, Some(new_disk(call.arguments, slot, &store)))
        }
    };
    let plan = Plan {
        target: machine.target(&call.server),
        changed: true,
        before,
        after,
        undo: planned_undo(call, &machine),
        verify: Some(Verify {
            arguments: machine.arguments(call, "get_vm"),
            before: pointed_before,
            after: pointed_after,
        }),
        warnings,
        refusal,
        extra: Map::from_iter([(
            "new_disk".to_owned(),
            json!({
                "controller_key": slot.controller, "unit": slot.unit,
                "capacity_bytes": size(call.arguments), "file": attached,
            }),
        )]),
    };
    let deed = Add {
        spec: device.map(|device| spec(call, &machine, slot, device)),
        old: all.iter().map(|disk| disk.key).collect(),
        machine,
        slot,
        found,
    };
    change::carry_out(call, plan, deed).await
}

/// The file is a disk of the machine already.
async fn there_already(
    call: &Call<'_>,
    machine: &Machine,
    disk: &Disk,
    count: usize,
) -> Result<Map<String, Value>, Failure> {
    let plan = Plan {
        target: machine.target(&call.server),
        changed: false,
        before: counted("disks", count).0,
        after: counted("disks", count).0,
        undo: Undo::none("Nothing is added"),
        verify: None,
        warnings: machine.warnings(),
        refusal: None,
        extra: Map::from_iter([("disk".to_owned(), disk.row())]),
    };
    change::carry_out(call, plan, super::super::Nothing).await
}

/// Where a disk hangs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Slot {
    controller: i64,
    unit: i64,
}

impl Slot {
    fn place(self) -> String {
        format!("{}:{}", self.controller, self.unit)
    }
}

/// A place for the disk: the one that the call names, or the first that is free.
fn free_slot(machine: &Machine, arguments: &Arguments) -> Result<Slot, Failure> {
    let wanted = arguments.whole("controller_key");
    let unit = arguments.whole("unit");
    let mut fitting: Vec<(usize, &vsphere::Value, i64)> = devices(&machine.object)
        .filter_map(|device| {
            let name = device.type_name()?;
            let rank = CONTROLLERS
                .iter()
                .position(|(kind, _)| name.contains(kind))?;
            Some((rank, device, CONTROLLERS[rank].1))
        })
        .filter(|(_, device, _)| match wanted {
            Some(wanted) => key(device) == wanted,
            None => {
                let sharing = text(device, "sharedBus");
                let is_ide = device.type_name().is_some_and(|name| name.contains("IDE"));
                // A running machine takes no disk at an IDE controller, and others see a shared one.
                ["", "noSharing"].contains(&sharing.as_str())
                    && !(is_ide && machine.power_state() != "poweredOff")
            }
        })
        .collect();
    fitting.sort_by_key(|(rank, device, _)| (*rank, key(device)));
    for (_, controller, units) in &fitting {
        let own = whole(controller, "scsiCtlrUnitNumber").unwrap_or(OWN_UNIT);
        let is_scsi = controller.get("sharedBus").is_some()
            || controller
                .type_name()
                .is_some_and(|name| name.contains("SCSI"));
        let taken: Vec<i64> = devices(&machine.object)
            .filter(|device| whole(device, "controllerKey") == Some(key(controller)))
            .filter_map(|device| whole(device, "unitNumber"))
            .collect();
        let is_free = |at: i64| !(taken.contains(&at) || is_scsi && at == own);
        let free = match unit {
            Some(unit) => Some(unit).filter(|unit| is_free(*unit)),
            None => (0..*units).find(|at| is_free(*at)),
        };
        if let Some(unit) = free {
            return Ok(Slot {
                controller: key(controller),
                unit,
            });
        }
    }
    let all: Vec<i64> = fitting.iter().map(|(_, device, _)| key(device)).collect();
    Err(Failure::new(
        "device.no_free_unit",
        "Pass another `controller_key` or `unit`, or add a controller in the vSphere client: none that fits has a free unit",
    )
    .with("controllers", all))
}

/// The datastore that the disk goes to, as `[name]`; without one the machine's own.
async fn datastore(
    call: &Call<'_>,
    machine: &Machine,
    warnings: &mut Vec<String>,
) -> Result<String, Failure> {
    let Some(named) = call.arguments.text("datastore") else {
        let own = machine
            .object
            .text("config.files.vmPathName")
            .unwrap_or_default();
        let end = own.find(']').map_or(0, |at| at + 1);
        return Ok(own[..end].to_owned());
    };
    let store = Found::named(call, &DATASTORE, named, &["summary.freeSpace"]).await?;
    let free = store
        .object
        .get("summary.freeSpace")
        .and_then(vsphere::Value::as_i64);
    if let (Some(free), Some(size)) = (free, size(call.arguments))
        && free < size
    {
        warnings.push(format!(
            "The datastore has {free} bytes free, the disk may become {size}"
        ));
    }
    Ok(format!(
        "[{}]",
        store.object.text("name").unwrap_or_default()
    ))
}

/// The device as it is sent.
fn new_disk(arguments: &Arguments, slot: Slot, store: &str) -> vsphere::Value {
    let backing = vsphere::Value::record("VirtualDiskFlatVer2BackingInfo");
    let backing = match arguments.text("path") {
        Some(path) => backing
            .with("fileName", path)
            .with("diskMode", "persistent"),
        None => backing
            .with("fileName", store)
            .with("diskMode", "persistent")
            .with(
                "thinProvisioned",
                arguments.given_flag("thin").unwrap_or(true),
            ),
    };
    let disk = vsphere::Value::record("VirtualDisk")
        .with("key", -101)
        .with("backing", backing)
        .with("controllerKey", slot.controller)
        .with("unitNumber", slot.unit);
    // Of a file that is attached the server knows the size.
    let bytes = size(arguments).unwrap_or(0);
    disk.with("capacityInKB", bytes / 1024)
        .with("capacityInBytes", bytes)
}

fn spec(call: &Call<'_>, machine: &Machine, slot: Slot, device: vsphere::Value) -> Reconfigure {
    let is_new = call.arguments.text("path").is_none();
    let marked = call
        .key
        .map(|under| mark(under, machine, Kind::Disk, &slot.place()));
    Reconfigure {
        extra: marked.into_iter().collect(),
        ..super::super::spec(
            machine,
            DeviceChange {
                operation: Operation::Add,
                file: is_new.then_some(FileOperation::Create),
                device,
            },
        )
    }
}

/// The undo as long as the disk has no key of its own.
fn planned_undo(call: &Call<'_>, machine: &Machine) -> Undo {
    let Some(under) = call.key else {
        return Undo::none("Until it exists it has no key: the answer of the call names its undo");
    };
    let mut undo = machine.arguments(call, "remove_disk");
    undo.insert("added_key".to_owned(), json!(under));
    kind(call, undo)
}

fn kind(call: &Call<'_>, undo: Map<String, Value>) -> Undo {
    if call.arguments.text("path").is_some() {
        Undo::exact(undo)
    } else {
        Undo::lossy(
            undo,
            "The disk is taken off; its file stays, and with it what was written",
        )
    }
}

struct Add {
    machine: Machine,
    spec: Option<Reconfigure>,
    /// The keys of the disks that were there before.
    old: Vec<i64>,
    slot: Slot,
    /// The disk that an earlier attempt under the same key added.
    found: Option<i64>,
}

impl Add {
    /// The new disk, by its place and by not having been there before.
    fn new_in(&self, object: &Object) -> Option<i64> {
        devices(object)
            .filter(|device| Kind::Disk.fits(device) && !self.old.contains(&key(device)))
            .find(|device| place(device) == self.slot.place())
            .map(key)
    }

    fn done(&self, call: &Call<'_>, object: &Object, at: i64, task: Option<String>) -> Done {
        let mut done = Done {
            after: Some(counted("disks", disk::all(object).len()).0),
            task,
            ..Done::default()
        };
        if let Some(disk) = super::with_key(object, at) {
            let mut undo = self.machine.arguments(call, "remove_disk");
            undo.insert("device_key".to_owned(), json!(at));
            undo.insert("expect".to_owned(), json!({ "file": disk.file }));
            if let Some(under) = call.key {
                undo.insert("added_key".to_owned(), json!(under));
            }
            done.undo = Some(kind(call, undo));
            done.extra.insert("disk".to_owned(), disk.row());
        }
        done
    }
}

impl Deed for Add {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        if let Some(at) = self.found {
            let mut done = self.done(call, &self.machine.object, at, None);
            done.extra.insert("found_under_key".to_owned(), json!(true));
            return Ok(done);
        }
        let Some(spec) = &self.spec else {
            // A plan without one was refused.
            return Err(Failure::new(
                "internal.error",
                "Report this: a disk without a place was about to be added",
            ));
        };
        let is_there = |object: &Object| self.new_in(object).is_some();
        let sent = reconfig::send(call, &self.machine, spec, &[DEVICES], is_there).await?;
        let new = sent
            .object
            .as_ref()
            .and_then(|object| Some((object, self.new_in(object)?)));
        Ok(match new {
            Some((object, at)) => self.done(call, object, at, sent.task),
            None => Done {
                task: sent.task,
                ..Done::default()
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_of_controllers_are_found_by_their_types() {
        let of = |name: &str| CONTROLLERS.iter().find(|(kind, _)| name.contains(kind));
        for (name, units) in [
            ("ParaVirtualSCSIController", 16),
            ("VirtualLsiLogicSASController", 16),
            ("VirtualBusLogicController", 16),
            ("VirtualNVMEController", 15),
            ("VirtualAHCIController", 30),
            ("VirtualIDEController", 2),
        ] {
            assert_eq!(of(name).map(|(_, units)| *units), Some(units), "{name}");
        }
        assert!(of("VirtualPS2Controller").is_none());
        assert!(of("VirtualUSBXHCIController").is_none());
    }
}
