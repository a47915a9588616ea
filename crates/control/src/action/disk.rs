//! The disks of a machine, as they are shown.

use serde_json::{Map, Value, json};
use vsphere::Object;

/// Where a machine's devices are, with its disks among them.
pub(crate) const DEVICES: &str = "config.hardware.device";

/// How many files below a disk are followed; a chain that is longer turns in a circle.
const DEEPEST: usize = 256;

/// One disk.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) key: i64,
    pub(crate) label: String,
    pub(crate) file: String,
    /// The files that it stands on, the nearest first.
    pub(crate) parents: Vec<String>,
    pub(crate) capacity_bytes: Option<i64>,
    pub(crate) mode: String,
    pub(crate) controller_key: Option<i64>,
    pub(crate) unit: Option<i64>,
    thin: Option<bool>,
    sharing: String,
    /// Of a raw device.
    compatibility: String,
    is_raw_device: bool,
    is_first_class: bool,
}

/// The disks of an object that was read with [`DEVICES`].
pub(crate) fn all(object: &Object) -> Vec<Disk> {
    devices(object)
        .filter(|device| device.type_name() == Some("VirtualDisk"))
        .map(Disk::read)
        .collect()
}

/// The devices of an object that was read with [`DEVICES`].
pub(crate) fn devices(object: &Object) -> impl Iterator<Item = &vsphere::Value> {
    let devices = object.get(DEVICES);
    devices.into_iter().flat_map(vsphere::Value::items)
}

impl Disk {
    fn read(device: &vsphere::Value) -> Self {
        let text = |path: &str| guard::text::sanitize(device.text_at(path).unwrap_or_default());
        let whole = |name: &str| device.get(name).and_then(vsphere::Value::as_i64);
        // Hosts before 5.5 know it in kilobytes alone.
        let in_kilobytes = || whole("capacityInKB").map(|kb| kb.saturating_mul(1024));
        let backing = device.get("backing").and_then(vsphere::Value::type_name);
        let mut parents = Vec::new();
        let mut below = device.at("backing.parent");
        while let Some(parent) = below.filter(|_| parents.len() < DEEPEST) {
            parents.push(guard::text::sanitize(
                parent.text_at("fileName").unwrap_or_default(),
            ));
            below = parent.get("parent");
        }
        Self {
            key: whole("key").unwrap_or_default(),
            label: text("deviceInfo.label"),
            file: text("backing.fileName"),
            parents,
            capacity_bytes: whole("capacityInBytes").or_else(in_kilobytes),
            mode: text("backing.diskMode"),
            controller_key: whole("controllerKey"),
            unit: whole("unitNumber"),
            thin: device
                .at("backing.thinProvisioned")
                .and_then(vsphere::Value::as_bool),
            sharing: text("backing.sharing"),
            compatibility: text("backing.compatibilityMode"),
            is_raw_device: backing.is_some_and(|backing| backing.contains("RawDiskMapping")),
            is_first_class: ["vDiskObjectId", "vDiskId.id"]
                .iter()
                .any(|path| device.text_at(path).is_some_and(|id| !id.is_empty())),
        }
    }

    /// Whether it is a mapping of a LUN.
    pub(crate) fn is_raw_device(&self) -> bool {
        self.is_raw_device
    }

    /// Whether it is one that the guest addresses itself.
    pub(crate) fn is_physical_device(&self) -> bool {
        self.is_raw_device && self.compatibility == "physicalMode"
    }

    /// Whether it has an identity of its own, beside its machine.
    pub(crate) fn is_first_class(&self) -> bool {
        self.is_first_class
    }

    /// Whether several machines may write to it.
    pub(crate) fn is_shared(&self) -> bool {
        self.sharing == "sharingMultiWriter"
    }

    /// Whether snapshots leave it out.
    pub(crate) fn is_independent(&self) -> bool {
        self.mode.starts_with("independent")
    }

    /// What a person should know before it is deleted with its machine.
    pub(crate) fn note(&self) -> Option<&'static str> {
        if self.is_raw_device {
            Some("a raw device: the mapping is deleted, what is on the LUN stays")
        } else if self.is_first_class {
            Some("a first-class disk, which others may use")
        } else if self.is_shared() {
            Some("shared with other VMs")
        } else {
            None
        }
    }

    /// The disk as a row; what is not known is left out.
    pub(crate) fn row(&self) -> Value {
        let mut row = Map::from_iter([
            ("label".to_owned(), json!(self.label)),
            ("device_key".to_owned(), json!(self.key)),
        ]);
        let sharing = Some(self.sharing.as_str()).filter(|sharing| *sharing != "sharingNone");
        let is = |flag: bool| flag.then_some(true);
        for (name, value) in [
            ("controller_key", json!(self.controller_key)),
            ("unit", json!(self.unit)),
            ("capacity_bytes", json!(self.capacity_bytes)),
            ("file", json!(self.file)),
            ("stands_on", json!(self.parents.first())),
            ("mode", json!(self.mode)),
            ("thin", json!(self.thin)),
            ("sharing", json!(sharing)),
            ("raw_device", json!(is(self.is_raw_device))),
            ("first_class", json!(is(self.is_first_class))),
        ] {
            if !value.is_null() && value != json!("") {
                row.insert(name.to_owned(), value);
            }
        }
        Value::Object(row)
    }
}
