//! The devices of a machine: how one is meant, and how one that was added is found again.
//!
//! What is added under a key leaves a mark in the machine's `extraConfig`, in the same change: a
//! second attempt finds it there and adds nothing. The removal of the device takes the mark away.

pub(crate) mod cdrom;
pub(crate) mod disk;
pub(crate) mod nic;

use serde_json::{Map, Value, json};
use vsphere::{Object, Reconfigure};

use super::disk::{DEVICES, devices};
use super::reconfig::{self, VERSION};
use crate::argument::Arguments;
use crate::call::Call;
use crate::change::{Deed, Done};
use crate::failure::{Failure, nearest};
use crate::machine::Machine;

const EXTRA: &str = "config.extraConfig";

/// How the marks are called that tell what was added under a key.
const MARK: &str = "pilothouse.added.";

/// A kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Disk,
    Nic,
    Cdrom,
}

impl Kind {
    fn noun(self) -> &'static str {
        match self {
            Kind::Disk => "disk",
            Kind::Nic => "network adapter",
            Kind::Cdrom => "CD drive",
        }
    }

    fn fits(self, device: &vsphere::Value) -> bool {
        match self {
            Kind::Disk => device.type_name() == Some("VirtualDisk"),
            Kind::Nic => device.get("macAddress").is_some() || device.get("addressType").is_some(),
            Kind::Cdrom => device.type_name() == Some("VirtualCdrom"),
        }
    }

    /// What tells a device from another one that got its key later.
    fn identity(self) -> (&'static str, &'static str) {
        match self {
            Kind::Disk => ("file", "backing.fileName"),
            Kind::Nic => ("mac", "macAddress"),
            Kind::Cdrom => ("label", "deviceInfo.label"),
        }
    }
}

/// The order of a device's fields in the API's schema, from the one that may be missing on.
pub(super) const AFTER_BACKING: &[&str] =
    &["connectable", "slotInfo", "controllerKey", "unitNumber"];

/// An action on one device must say which.
pub(crate) fn check_named(arguments: &Arguments) -> Result<(), Failure> {
    let named = arguments.whole("device_key").is_some()
        || arguments.text("device_label").is_some()
        || arguments.given("added_key").is_some();
    if named {
        return Ok(());
    }
    Err(Failure::new(
        "argument.missing",
        "Pass `device_key` or `device_label`, as `get_vm` shows them: without one it is not clear which device is meant",
    )
    .with("argument", "device_key"))
}

/// The machine, read with its devices.
pub(super) async fn find(call: &Call<'_>) -> Result<Machine, Failure> {
    let mut paths = vec![DEVICES, VERSION, "snapshot", "config.files.vmPathName"];
    if call.key.is_some() || call.arguments.given("added_key").is_some() {
        paths.push(EXTRA);
    }
    let machine = Machine::find(call, &paths).await?;
    if machine.object.get(DEVICES).is_none() {
        return Err(Failure::new(
            "vm.unreadable",
            "Let the user read the VM: its devices cannot be read, so none is changed",
        ));
    }
    Ok(machine)
}

/// All devices of a kind.
pub(super) fn of_kind(machine: &Machine, kind: Kind) -> Vec<&vsphere::Value> {
    devices(&machine.object)
        .filter(|device| kind.fits(device))
        .collect()
}

/// The key of a device.
pub(super) fn key(device: &vsphere::Value) -> i64 {
    whole(device, "key").unwrap_or_default()
}

pub(super) fn whole(device: &vsphere::Value, path: &str) -> Option<i64> {
    device.at(path).and_then(vsphere::Value::as_i64)
}

pub(super) fn text(device: &vsphere::Value, path: &str) -> String {
    guard::text::sanitize(device.text_at(path).unwrap_or_default())
}

pub(super) fn is_set(device: &vsphere::Value, path: &str) -> bool {
    device.at(path).and_then(vsphere::Value::as_bool) == Some(true)
}

/// The device that the call means; `None` if it is not there, and was named by what no other can have.
pub(super) fn choose<'m>(
    call: &Call<'_>,
    machine: &'m Machine,
    kind: Kind,
) -> Result<Option<&'m vsphere::Value>, Failure> {
    let all = of_kind(machine, kind);
    if let Some((at, said)) = prepared(call, kind).filter(|_| call.is_repeated) {
        // What was prepared decides, and not what has come in its place.
        return Ok(all
            .into_iter()
            .find(|device| key(device) == at && identity(kind, device) == said));
    }
    let arguments = call.arguments;
    let chosen = if let Some(at) = arguments.whole("device_key") {
        let found = devices(&machine.object).find(|device| key(device) == at);
        if found.is_some_and(|device| !kind.fits(device)) {
            return Err(not_found(machine, kind, &format!("with key {at}")));
        }
        found
    } else if let Some(label) = arguments.text("device_label") {
        let labelled: Vec<_> = all
            .iter()
            .filter(|device| text(device, "deviceInfo.label") == label)
            .collect();
        match labelled.as_slice() {
            [one] => Some(**one),
            [] => return Err(not_found(machine, kind, &format!("labelled `{label}`"))),
            _ => return Err(ambiguous(machine, kind)),
        }
    } else if let Some(under) = arguments.given("added_key").and_then(Value::as_str) {
        added(machine, kind, under)?
    } else {
        match all.as_slice() {
            [one] => Some(*one),
            [] => return Err(not_found(machine, kind, "at all")),
            _ => return Err(ambiguous(machine, kind)),
        }
    };
    if let (Some((at, said)), Some(device)) = (prepared(call, kind), chosen)
        && (key(device) != at || identity(kind, device) != said)
    {
        return Err(Failure::new(
            "target.changed",
            "Prepare the call again and look at its target: it is not the device that was meant before",
        )
        .with("expected", json!({ "device": at, kind.identity().0: said }))
        .with("found", target(call, machine, kind, Some(device))));
    }
    Ok(chosen)
}

fn identity(kind: Kind, device: &vsphere::Value) -> String {
    text(device, kind.identity().1)
}

/// The device that was prepared: key and identity.
fn prepared(call: &Call<'_>, kind: Kind) -> Option<(i64, String)> {
    let target = call.expected_target?;
    let said = target.get(kind.identity().0)?.as_str()?;
    Some((target.get("device")?.as_i64()?, said.to_owned()))
}

/// The target of a change of one device: the machine, and which device.
pub(super) fn target(
    call: &Call<'_>,
    machine: &Machine,
    kind: Kind,
    device: Option<&vsphere::Value>,
) -> Value {
    let mut target = machine.target(&call.server);
    let gone = prepared(call, kind).filter(|_| call.is_repeated);
    let named = device
        .map(|device| (key(device), identity(kind, device)))
        .or(gone);
    if let Some((at, said)) = named {
        target["device"] = json!(at);
        target[kind.identity().0] = json!(said);
    }
    target
}

/// What `expect` says of the device that is no longer so: a later change of somebody else's.
pub(super) fn moved(
    call: &Call<'_>,
    machine: &Machine,
    found: &Map<String, Value>,
) -> Option<Failure> {
    let expect = call.arguments.fields("expect")?;
    let same = expect
        .iter()
        .all(|(name, value)| found.get(name) == Some(value));
    (!same).then(|| {
        Failure::new(
            "vm.changed_since",
            "Look at the VM and decide anew: someone has changed it since, and that is not overwritten",
        )
        .with("expected", Value::Object(expect.clone()))
        .with("found", Value::Object(found.clone()))
        .with("target", machine.target(&call.server))
    })
}

/// The devices of a kind, as an error shows them.
fn shown(machine: &Machine, kind: Kind) -> Vec<Value> {
    of_kind(machine, kind)
        .into_iter()
        .take(64)
        .map(|device| {
            json!({
                "device_key": key(device),
                "label": text(device, "deviceInfo.label"),
                kind.identity().0: identity(kind, device),
            })
        })
        .collect()
}

fn not_found(machine: &Machine, kind: Kind, said: &str) -> Failure {
    let labels: Vec<String> = of_kind(machine, kind)
        .into_iter()
        .map(|device| text(device, "deviceInfo.label"))
        .collect();
    Failure::new(
        "device.not_found",
        format!(
            "Pass a {} of those in `candidates`: the VM has none {said}",
            kind.noun()
        ),
    )
    .with("nearest", nearest(said, labels.iter().map(String::as_str)))
    .with("candidates", shown(machine, kind))
}

fn ambiguous(machine: &Machine, kind: Kind) -> Failure {
    Failure::new(
        "device.ambiguous",
        format!(
            "Pass the `device_key` of one of those in `candidates`: more than one {} fits, and none is chosen for you",
            kind.noun()
        ),
    )
    .with("candidates", shown(machine, kind))
}

/// The name of the mark that an addition under a key leaves.
fn mark_of(under: &str) -> String {
    let digest = guard::digest::digest("pilothouse/added/1", &json!(under)).to_hex();
    format!("{MARK}{}", &digest[..16])
}

/// The entry that marks an addition: the keys that were there before, and where it is put.
pub(super) fn mark(under: &str, machine: &Machine, kind: Kind, at: &str) -> (String, String) {
    let keys: Vec<String> = of_kind(machine, kind)
        .into_iter()
        .map(|device| key(device).to_string())
        .collect();
    (mark_of(under), format!("{at};{}", keys.join(",")))
}

/// The entry that takes the mark away, if the call named the device by it.
pub(super) fn unmark(call: &Call<'_>) -> Vec<(String, String)> {
    let under = call.arguments.given("added_key").and_then(Value::as_str);
    under
        .map(|under| (mark_of(under), String::new()))
        .into_iter()
        .collect()
}

/// The device that was added under a key, if it is there.
///
/// # Errors
///
/// `device.ambiguous` where more than one has come since.
pub(super) fn added<'m>(
    machine: &'m Machine,
    kind: Kind,
    under: &str,
) -> Result<Option<&'m vsphere::Value>, Failure> {
    let name = mark_of(under);
    let entries = machine.object.get(EXTRA).into_iter();
    let mut entries = entries.flat_map(vsphere::Value::items);
    let Some(value) = entries
        .find(|entry| entry.text_at("key") == Some(&name))
        .and_then(|entry| entry.text_at("value"))
        .filter(|value| !value.is_empty())
    else {
        return Ok(None);
    };
    let (at, before) = value.split_once(';').unwrap_or((value, ""));
    let before: Vec<&str> = before.split(',').collect();
    let mut new: Vec<&vsphere::Value> = of_kind(machine, kind)
        .into_iter()
        .filter(|device| !before.contains(&key(device).to_string().as_str()))
        .collect();
    if !at.is_empty() {
        new.retain(|device| place(device) == at);
    }
    match new.as_slice() {
        [one] => Ok(Some(*one)),
        [] => Ok(None),
        _ => Err(ambiguous(machine, kind)),
    }
}

/// Where a device hangs, as `1000:1`.
pub(super) fn place(device: &vsphere::Value) -> String {
    let part = |name: &str| whole(device, name).unwrap_or(-1);
    format!("{}:{}", part("controllerKey"), part("unitNumber"))
}

/// A configuration that changes this one device.
pub(super) fn spec(machine: &Machine, change: vsphere::DeviceChange) -> Reconfigure {
    Reconfigure {
        change_version: reconfig::version(machine),
        devices: vec![change],
        ..Reconfigure::default()
    }
}

/// A refusal because of snapshots.
pub(super) fn has_snapshots(machine: &Machine, why: &str) -> Option<Failure> {
    machine.object.get("snapshot").map(|_| {
        Failure::new(
            "device.has_snapshots",
            format!("Delete the VM's snapshots first (`snapshot_delete_all`): {why}"),
        )
    })
}

/// How many devices there are, as a before, an after, and as `get_vm` shows it.
pub(super) fn counted(name: &str, count: usize) -> (Map<String, Value>, Map<String, Value>) {
    (
        Map::from_iter([(name.to_owned(), json!(count))]),
        Map::from_iter([(format!("/vm/{name}_total"), json!(count))]),
    )
}

/// A change of a device that is sent, and looked for.
pub(super) struct Change<T, A> {
    pub(super) machine: Machine,
    pub(super) spec: Reconfigure,
    /// Whether it is in effect, by the devices.
    pub(super) is_there: T,
    /// What the answer says of the devices afterwards.
    pub(super) after: A,
}

impl<T, A> Deed for Change<T, A>
where
    T: Fn(&Object) -> bool + Send + Sync,
    A: Fn(&Object) -> Map<String, Value> + Send + Sync,
{
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let sent =
            reconfig::send(call, &self.machine, &self.spec, &[DEVICES], &self.is_there).await?;
        Ok(Done {
            after: sent.object.as_ref().map(&self.after),
            task: sent.task,
            ..Done::default()
        })
    }
}

/// A change of which nothing is to be done.
pub(super) struct Nothing;

impl Deed for Nothing {
    async fn perform(&self, _: &Call<'_>) -> Result<Done, Failure> {
        Ok(Done {
            already: true,
            ..Done::default()
        })
    }
}
