//! add_nic, remove_nic, connect_nic.

mod backing;

use serde_json::{Map, Value, json};
use vsphere::{DeviceChange, Object, Operation, Reconfigure};

use super::super::disk::{DEVICES, devices};
use super::super::reconfig;
use super::{
    AFTER_BACKING, Change, Kind, added, counted, is_set, key, mark, moved, of_kind, target, text,
    unmark,
};
use crate::argument::Arguments;
use crate::call::Call;
use crate::change::{self, Deed, Done, Plan, Undo, Verify};
use crate::failure::Failure;
use crate::harm::{self, Level};
use crate::machine::Machine;

/// The adapters that can be added: the argument's word, and the type.
const ADAPTERS: &[(&str, &str)] = &[
    ("vmxnet3", "VirtualVmxnet3"),
    ("e1000e", "VirtualE1000e"),
    ("e1000", "VirtualE1000"),
    ("vmxnet2", "VirtualVmxnet2"),
    ("pcnet32", "VirtualPCNet32"),
];

/// The values of an adapter that connect_nic sets.
const SWITCHES: &[(&str, &str)] = &[
    ("connected", "connectable.connected"),
    ("start_connected", "connectable.startConnected"),
];

/// The adapter with this key.
fn with_key(object: &Object, at: i64) -> Option<&vsphere::Value> {
    devices(object).find(|device| Kind::Nic.fits(device) && key(device) == at)
}

/// The adapter as a row.
pub(crate) fn row(device: &vsphere::Value) -> Map<String, Value> {
    let mut row = Map::new();
    row.insert("device_key".to_owned(), json!(key(device)));
    row.insert("label".to_owned(), json!(text(device, "deviceInfo.label")));
    row.insert("mac".to_owned(), json!(text(device, "macAddress")));
    row.insert("network".to_owned(), json!(backing::shown(device)));
    let kind = device.type_name().unwrap_or_default();
    let word = ADAPTERS
        .iter()
        .find(|(_, of)| *of == kind)
        .map(|(word, _)| *word);
    row.insert(
        "adapter".to_owned(),
        json!(word.map_or_else(|| guard::text::sanitize_to(kind, 60), str::to_owned)),
    );
    for (name, path) in SWITCHES {
        row.insert((*name).to_owned(), json!(is_set(device, path)));
    }
    row
}

fn count_in(object: &Object) -> usize {
    devices(object)
        .filter(|device| Kind::Nic.fits(device))
        .count()
}

const COUNTED: &str = "network_adapters";

/// Adds an adapter; under a key that was used before, finds the one that was added then.
pub(crate) async fn add(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let machine = super::find(call).await?;
    if let Some(mac) = call.arguments.text("replaces_mac")
        && let Some(device) = of_kind(&machine, Kind::Nic)
            .into_iter()
            .find(|device| text(device, "macAddress").eq_ignore_ascii_case(mac))
    {
        return still_there(call, &machine, device).await;
    }
    let network = backing::named(call).await?;
    let found = match call.key {
        Some(under) => added(&machine, Kind::Nic, under)?.map(key),
        None => None,
    };
    let old: Vec<i64> = of_kind(&machine, Kind::Nic).into_iter().map(key).collect();
    let count = old.len() - usize::from(found.is_some());
    let ((before, pointed_before), (after, pointed_after)) =
        (counted(COUNTED, count), counted(COUNTED, count + 1));
    let mut warnings = machine.warnings();
    let mut refusal = machine.unfit();
    if found.is_some() {
        warnings
            .push("It was added before under this key: it is found, not added twice".to_owned());
        refusal = None;
    }
    let undo = match call.key {
        None => Undo::none("Until it exists it has no key: the answer of the call names its undo"),
        Some(under) => {
            let mut undo = machine.arguments(call, "remove_nic");
            undo.insert("added_key".to_owned(), json!(under));
            Undo::exact(undo)
        }
    };
    let plan = Plan {
        target: machine.target(&call.server),
        changed: true,
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
        extra: Map::from_iter([("network".to_owned(), json!(network.name))]),
    };
    let is_on = machine.power_state() == "poweredOn";
    let word = call.arguments.text("adapter").unwrap_or(ADAPTERS[0].0);
    let kind = ADAPTERS.iter().find(|(known, _)| *known == word);
    let start = call.arguments.given_flag("start_connected").unwrap_or(true);
    let connected = call.arguments.given_flag("connected").unwrap_or(true) && is_on;
    let device = vsphere::Value::record(kind.map_or(ADAPTERS[0].1, |(_, kind)| *kind))
        .with("key", -102)
        .with("backing", network.backing)
        .with("connectable", connectable(start, connected))
        .with("addressType", "generated");
    let marked = call.key.map(|under| mark(under, &machine, Kind::Nic, ""));
    let spec = Reconfigure {
        extra: marked.into_iter().collect(),
        ..super::spec(
            &machine,
            DeviceChange {
                operation: Operation::Add,
                file: None,
                device,
            },
        )
    };
    let deed = Add {
        machine,
        spec,
        old,
        found,
    };
    change::carry_out(call, plan, deed).await
}

/// The adapter that was to be replaced was not taken off: nothing is to be done.
async fn still_there(
    call: &Call<'_>,
    machine: &Machine,
    device: &vsphere::Value,
) -> Result<Map<String, Value>, Failure> {
    let count = counted(COUNTED, of_kind(machine, Kind::Nic).len()).0;
    let plan = Plan {
        target: machine.target(&call.server),
        changed: false,
        before: count.clone(),
        after: count,
        undo: Undo::none("Nothing is added"),
        verify: None,
        warnings: machine.warnings(),
        refusal: None,
        extra: Map::from_iter([("network_adapter".to_owned(), Value::Object(row(device)))]),
    };
    change::carry_out(call, plan, super::Nothing).await
}

pub(super) fn connectable(start: bool, connected: bool) -> vsphere::Value {
    vsphere::Value::record("VirtualDeviceConnectInfo")
        .with("startConnected", start)
        .with("allowGuestControl", true)
        .with("connected", connected)
}

struct Add {
    machine: Machine,
    spec: Reconfigure,
    /// The keys of the adapters that were there before.
    old: Vec<i64>,
    /// The adapter that an earlier attempt under the same key added.
    found: Option<i64>,
}

impl Add {
    /// The new one; none if somebody else added one as well.
    fn new_in(&self, object: &Object) -> Option<i64> {
        let mut new = devices(object)
            .filter(|device| Kind::Nic.fits(device) && !self.old.contains(&key(device)));
        let one = new.next().map(key);
        one.filter(|_| new.next().is_none())
    }

    fn done(&self, call: &Call<'_>, object: &Object, at: i64, task: Option<String>) -> Done {
        let mut done = Done {
            after: Some(counted(COUNTED, count_in(object)).0),
            task,
            ..Done::default()
        };
        if let Some(device) = with_key(object, at) {
            let mut undo = self.machine.arguments(call, "remove_nic");
            undo.insert("device_key".to_owned(), json!(at));
            undo.insert(
                "expect".to_owned(),
                json!({ "mac": text(device, "macAddress") }),
            );
            if let Some(under) = call.key {
                undo.insert("added_key".to_owned(), json!(under));
            }
            done.undo = Some(Undo::exact(undo));
            done.extra
                .insert("network_adapter".to_owned(), Value::Object(row(device)));
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
        let is_there = |object: &Object| self.new_in(object).is_some();
        let sent = reconfig::send(call, &self.machine, &self.spec, &[DEVICES], is_there).await?;
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

/// Takes an adapter off a machine.
pub(crate) async fn remove(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let machine = super::find(call).await?;
    let device = super::choose(call, &machine, Kind::Nic)?;
    let harm = harm::check(call, &machine, Level::Hardware).await?;
    let count = of_kind(&machine, Kind::Nic).len();
    let left = count - usize::from(device.is_some());
    let ((before, pointed_before), (after, pointed_after)) =
        (counted(COUNTED, count), counted(COUNTED, left));
    let mut warnings = machine.warnings();
    warnings.extend(harm.warnings(call));
    let mut refusal = machine.unfit().or_else(|| harm.refusal(call));
    let mut extra = Map::new();
    let mut undo = Undo::none("There is no such adapter");
    if let Some(device) = device {
        let found = Map::from_iter([("mac".to_owned(), json!(text(device, "macAddress")))]);
        refusal = refusal.or_else(|| moved(call, &machine, &found));
        extra.insert("network_adapter".to_owned(), Value::Object(row(device)));
        undo = undo_of_removal(call, &machine, device);
    }
    let gone = device.map(key);
    let spec = device.map(|device| Reconfigure {
        extra: unmark(call),
        ..super::spec(
            &machine,
            DeviceChange {
                operation: Operation::Remove,
                file: None,
                device: device.clone(),
            },
        )
    });
    let plan = Plan {
        target: target(call, &machine, Kind::Nic, device),
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
    let deed = Change {
        machine,
        spec: spec.unwrap_or_default(),
        is_there: move |object: &Object| {
            object.get(DEVICES).is_some()
                && gone.is_none_or(|gone| with_key(object, gone).is_none())
        },
        after: |object: &Object| counted(COUNTED, count_in(object)).0,
    };
    change::carry_out(call, plan, deed).await
}

fn undo_of_removal(call: &Call<'_>, machine: &Machine, device: &vsphere::Value) -> Undo {
    let row = row(device);
    let word = row
        .get("adapter")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let (Some(network), true) = (
        backing::argument(device),
        ADAPTERS.iter().any(|(known, _)| *known == word),
    ) else {
        return Undo::none("An adapter of this kind is added again in the vSphere client");
    };
    let mut undo = machine.arguments(call, "add_nic");
    undo.insert("network".to_owned(), json!(network));
    for name in ["adapter", "connected", "start_connected"] {
        undo.insert(name.to_owned(), row[name].clone());
    }
    undo.insert("replaces_mac".to_owned(), row["mac"].clone());
    Undo::lossy(undo, "The adapter gets another MAC address")
}

/// connect_nic sets at least one thing.
pub(crate) fn check_connect(arguments: &Arguments) -> Result<(), Failure> {
    super::check_named(arguments)?;
    let sets = SWITCHES
        .iter()
        .any(|(name, _)| arguments.given(name).is_some())
        || arguments.text("network").is_some();
    if sets {
        return Ok(());
    }
    Err(Failure::new(
        "argument.missing",
        "Pass `connected`, `start_connected` or `network`: without one there is nothing to set",
    )
    .with("argument", "connected"))
}

/// Connects an adapter, disconnects it, or connects it to another network.
pub(crate) async fn connect(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let machine = super::find(call).await?;
    let Some(device) = super::choose(call, &machine, Kind::Nic)? else {
        return Err(super::not_found(&machine, Kind::Nic, "with that key"));
    };
    let network = match call.arguments.text("network") {
        Some(_) => Some(backing::named(call).await?),
        None => None,
    };
    let mut before = Map::new();
    let mut after = Map::new();
    for (name, path) in SWITCHES {
        if let Some(wanted) = call.arguments.given_flag(name) {
            before.insert((*name).to_owned(), json!(is_set(device, path)));
            after.insert((*name).to_owned(), json!(wanted));
        }
    }
    if let Some(network) = &network {
        before.insert("network".to_owned(), json!(backing::shown(device)));
        after.insert("network".to_owned(), json!(network.shown));
    }
    let harm = harm::check(call, &machine, Level::Hardware).await?;
    let mut warnings = machine.warnings();
    warnings.extend(harm.warnings(call));
    let found: Map<String, Value> = row(device);
    let refusal = machine
        .unfit()
        .or_else(|| harm.refusal(call))
        .or_else(|| not_on(&machine, &before, &after))
        .or_else(|| moved(call, &machine, &found));
    let at = key(device);
    let all = of_kind(&machine, Kind::Nic);
    let place = all.iter().position(|device| key(device) == at).unwrap_or(0);
    let pointed = |values: &Map<String, Value>| {
        let point = |(name, value): (&String, &Value)| {
            (format!("/vm/{COUNTED}/{place}/{name}"), value.clone())
        };
        values.iter().map(point).collect::<Map<_, _>>()
    };
    let spec = super::spec(
        &machine,
        DeviceChange {
            operation: Operation::Edit,
            file: None,
            device: edited(device, &after, network.map(|network| network.backing)),
        },
    );
    let plan = Plan {
        target: target(call, &machine, Kind::Nic, Some(device)),
        changed: before != after,
        undo: undo_of_connect(call, &machine, device, &before, &after),
        verify: Some(Verify {
            arguments: machine.arguments(call, "get_vm"),
            before: pointed(&before),
            after: pointed(&after),
        }),
        before,
        after: after.clone(),
        warnings,
        refusal,
        extra: Map::from_iter([("network_adapter".to_owned(), Value::Object(found))]),
    };
    let wanted = after.clone();
    let now = move |object: &Object| {
        let row = with_key(object, at).map(row).unwrap_or_default();
        let of = |name: &String| (name.clone(), row.get(name).cloned().unwrap_or_default());
        after.keys().map(of).collect::<Map<_, _>>()
    };
    let then = now.clone();
    let deed = Change {
        machine,
        spec,
        is_there: move |object: &Object| now(object) == wanted,
        after: then,
    };
    change::carry_out(call, plan, deed).await
}

/// A machine that does not run has nothing connected.
fn not_on(
    machine: &Machine,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
) -> Option<Failure> {
    let power = machine.power_state();
    let connects = after.get("connected") == Some(&json!(true))
        && before.get("connected") != after.get("connected");
    (connects && power != "poweredOn").then(|| {
        Failure::new(
            "vsphere.invalid_power_state",
            format!("Pass `start_connected`, or power the VM on first: it is {power}, and nothing is connected then"),
        )
        .with("power_state", power)
    })
}

/// The device as it was read, with what is to be changed.
fn edited(
    device: &vsphere::Value,
    after: &Map<String, Value>,
    backing: Option<vsphere::Value>,
) -> vsphere::Value {
    let mut connectable = device
        .get("connectable")
        .cloned()
        .unwrap_or_else(|| connectable(true, false));
    for (name, field, later) in [
        (
            "start_connected",
            "startConnected",
            &["allowGuestControl", "connected", "status"][..],
        ),
        ("connected", "connected", &["status"]),
    ] {
        if let Some(flag) = after.get(name).and_then(Value::as_bool) {
            connectable = connectable.replacing(field, flag, later);
        }
    }
    let mut device = device.clone();
    if let Some(backing) = backing {
        device = device.replacing("backing", backing, AFTER_BACKING);
    }
    device.replacing("connectable", connectable, &AFTER_BACKING[1..])
}

fn undo_of_connect(
    call: &Call<'_>,
    machine: &Machine,
    device: &vsphere::Value,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
) -> Undo {
    let mut undo = machine.arguments(call, "connect_nic");
    undo.insert("device_key".to_owned(), json!(key(device)));
    let mut expect = Map::from_iter([("mac".to_owned(), json!(text(device, "macAddress")))]);
    for (name, value) in before
        .iter()
        .filter(|(name, value)| after.get(*name) != Some(value))
    {
        let value = match name.as_str() {
            "network" => match backing::argument(device) {
                Some(network) => json!(network),
                None => {
                    return Undo::none("What it was connected to is no network that can be named");
                }
            },
            _ => value.clone(),
        };
        undo.insert(name.clone(), value);
        expect.insert(name.clone(), after[name].clone());
    }
    undo.insert("expect".to_owned(), Value::Object(expect));
    Undo::exact(undo)
}
