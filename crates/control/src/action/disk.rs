//! The disks of a machine, as they are shown.

use serde_json::{Map, Value, json};
use vsphere::Object;

/// Where a machine's devices are, with its disks among them.
pub(super) const DEVICES: &str = "config.hardware.device";

/// One disk.
pub(super) struct Disk {
    pub(super) label: String,
    file: String,
    capacity_bytes: Option<i64>,
    mode: String,
    thin: Option<bool>,
    /// What a person should know before it is deleted with its machine.
    pub(super) note: Option<&'static str>,
}

/// The disks of an object that was read with [`DEVICES`].
pub(super) fn all(object: &Object) -> Vec<Disk> {
    let devices = object.get(DEVICES);
    let devices = devices.into_iter().flat_map(vsphere::Value::items);
    devices
        .filter(|device| device.type_name() == Some("VirtualDisk"))
        .map(Disk::read)
        .collect()
}

impl Disk {
    fn read(device: &vsphere::Value) -> Self {
        let text = |path: &str| guard::text::sanitize(device.text_at(path).unwrap_or_default());
        let whole = |name: &str| device.get(name).and_then(vsphere::Value::as_i64);
        // Hosts before 5.5 know it in kilobytes alone.
        let in_kilobytes = || whole("capacityInKB").map(|kb| kb.saturating_mul(1024));
        Self {
            label: text("deviceInfo.label"),
            file: text("backing.fileName"),
            capacity_bytes: whole("capacityInBytes").or_else(in_kilobytes),
            mode: text("backing.diskMode"),
            thin: device
                .at("backing.thinProvisioned")
                .and_then(vsphere::Value::as_bool),
            note: note(device),
        }
    }

    /// The disk as a row; what is not known is left out.
    pub(super) fn row(&self) -> Value {
        let mut row = Map::from_iter([("label".to_owned(), json!(self.label))]);
        for (name, value) in [
            ("capacity_bytes", json!(self.capacity_bytes)),
            ("file", json!(self.file)),
            ("mode", json!(self.mode)),
            ("thin", json!(self.thin)),
        ] {
            if !value.is_null() && value != json!("") {
                row.insert(name.to_owned(), value);
            }
        }
        Value::Object(row)
    }
}

fn note(device: &vsphere::Value) -> Option<&'static str> {
    let backing = device.get("backing").and_then(vsphere::Value::type_name);
    let is_first_class = ["vDiskObjectId", "vDiskId.id"]
        .iter()
        .any(|path| device.text_at(path).is_some_and(|id| !id.is_empty()));
    if backing.is_some_and(|backing| backing.contains("RawDiskMapping")) {
        Some("a raw device: the mapping is deleted, what is on the LUN stays")
    } else if is_first_class {
        Some("a first-class disk, which others may use")
    } else if device.text_at("backing.sharing") == Some("sharingMultiWriter") {
        Some("shared with other VMs")
    } else {
        None
    }
}
