//! reconfigure: CPUs, memory, notes and custom attributes of a machine.

mod rules;
pub(crate) mod values;

use serde_json::{Map, Value, json};
use vsphere::{Object, Reconfigure};

use super::reconfig::{self, VERSION};
use crate::call::Call;
use crate::change::{self, Deed, Done, Plan, Undo, Verify};
use crate::failure::{Failure, nearest};
use crate::machine::{Machine, look};
use policy::answer::ErrorEffect;
use values::{ANNOTATION, ATTRIBUTES, AUTO_CORES, DEFINED, SET};

pub(crate) use rules::check;

/// What is read of the machine: the values, what the rules look at, and the version.
const PATHS: &[&str] = &[
    "config.hardware.numCPU",
    "config.hardware.memoryMB",
    "config.hardware.numCoresPerSocket",
    "config.annotation",
    VERSION,
    "config.cpuHotAddEnabled",
    "config.cpuHotRemoveEnabled",
    "config.memoryHotAddEnabled",
    "config.hotPlugMemoryIncrementSize",
    "config.hotPlugMemoryLimit",
    "config.memoryReservationLockedToMax",
    DEFINED,
    SET,
];

/// Sets what the call names.
pub(crate) async fn change(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let after = values::wanted(call.arguments);
    let attributes = after.get(ATTRIBUTES).and_then(Value::as_object);
    if attributes.is_some() && call.session.content().find("customFieldsManager").is_none() {
        return Err(Failure::new(
            "platform.unsupported",
            "Call it on the vCenter that manages this host, or leave out `attributes`: a standalone ESXi host has no custom attributes",
        )
        .with("platform", "esxi")
        .with("needs", "vcenter"));
    }
    let machine = Machine::find(call, &paths(call)).await?;
    if after.get("cores_per_socket") == Some(&json!(0)) && !knows_automatic(call) {
        return Err(Failure::new(
            "argument.out_of_range",
            "Pass `cores_per_socket` as 1 or more: only servers from 8.0 on choose it by themselves (0)",
        )
        .with("argument", "cores_per_socket"));
    }
    let defined = values::defined(&machine.object);
    for name in attributes.into_iter().flat_map(Map::keys) {
        if !defined.iter().any(|(_, known)| known == name) {
            return Err(unknown_attribute(name, &defined));
        }
    }
    let before = values::now(&machine.object, &after);
    if let Some(name) = before.iter().find(|(_, value)| value.is_null()) {
        return Err(Failure::new(
            "vm.unreadable",
            format!(
                "Let the user read the VM: `{}` cannot be read, so it is not changed",
                name.0
            ),
        ));
    }
    let changed = before != after;
    let mut refusal = machine.unfit();
    if changed {
        refusal = refusal
            .or_else(|| moved(call, &machine))
            .or_else(|| rules::hot(&machine, &before, &after));
    }
    let mut warnings = machine.warnings();
    warnings.extend(rules::objections(&machine, &before, &after));
    let plan = Plan {
        target: machine.target(&call.server),
        changed,
        undo: undo(call, &machine, &before, &after),
        verify: Some(Verify {
            arguments: machine.arguments(call, "get_vm"),
            before: values::pointed(&before),
            after: values::pointed(&after),
        }),
        before: before.clone(),
        after: after.clone(),
        warnings,
        refusal,
        extra: Map::new(),
    };
    let deed = Set {
        keys: defined,
        before,
        after,
        machine,
    };
    change::carry_out(call, plan, deed).await
}

/// Whether the server lets a VM's cores per socket follow its CPUs.
fn knows_automatic(call: &Call<'_>) -> bool {
    let major = call.session.api_version().split('.').next();
    major
        .and_then(|major| major.parse::<u32>().ok())
        .is_some_and(|major| major >= 8)
}

fn paths(call: &Call<'_>) -> Vec<&'static str> {
    let mut paths = PATHS.to_vec();
    // An older server refuses the whole request for a property that it does not know.
    if knows_automatic(call) {
        paths.push(AUTO_CORES);
    }
    paths
}

fn unknown_attribute(name: &str, defined: &[(i64, String)]) -> Failure {
    let names: Vec<&str> = defined.iter().map(|(_, name)| name.as_str()).collect();
    let shown: Vec<String> = names
        .iter()
        .take(100)
        .map(|name| guard::text::sanitize_to(name, 80))
        .collect();
    Failure::new(
        "attribute.unknown",
        format!(
            "Pass custom attributes that the vCenter has for VMs, or define it there first: there is no `{}`",
            guard::text::sanitize_to(name, 80)
        ),
    )
    .with("nearest", nearest(name, names))
    .with("allowed", shown)
}

/// The call that brings the old values back, and what it does not bring back.
fn undo(
    call: &Call<'_>,
    machine: &Machine,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
) -> Undo {
    let mut undo = machine.arguments(call, "reconfigure");
    let mut expect = Map::new();
    let mut lost = false;
    for (name, value) in before
        .iter()
        .filter(|(name, value)| after.get(*name) != Some(value))
    {
        let restored = match name.as_str() {
            ANNOTATION if value == &json!("") => ("clear_annotation", json!(true)),
            ANNOTATION if values::annotation_is_altered(&machine.object) => {
                lost = true;
                continue;
            }
            ATTRIBUTES => {
                let of = value.as_object().cloned().unwrap_or_default();
                let (kept, altered): (Map<_, _>, Map<_, _>) = of
                    .into_iter()
                    .partition(|(name, _)| !values::attribute_is_altered(&machine.object, name));
                lost |= !altered.is_empty();
                if kept.is_empty() {
                    continue;
                }
                (ATTRIBUTES, Value::Object(kept))
            }
            name => (name, value.clone()),
        };
        undo.insert(restored.0.to_owned(), restored.1);
        expect.insert(name.clone(), after[name].clone());
    }
    if lost && expect.is_empty() {
        return Undo::none(
            "The old text holds line breaks or is too long: no call can bring it back",
        );
    }
    let resizes = rules::SIZES
        .iter()
        .any(|(name, _)| expect.contains_key(*name));
    undo.insert("expect".to_owned(), Value::Object(expect));
    if lost {
        Undo::lossy(
            undo,
            "An old text holds line breaks or is too long: it is not brought back",
        )
    } else if resizes && machine.power_state() != "poweredOff" {
        Undo::conditional(
            undo,
            "A running VM cannot shrink: the undo needs it powered off",
        )
    } else {
        Undo::exact(undo)
    }
}

/// The refusal if a value that was expected is no longer there.
fn moved(call: &Call<'_>, machine: &Machine) -> Option<Failure> {
    let expect = call.arguments.fields("expect")?;
    let found = values::now(&machine.object, expect);
    if values::same(&found, expect) {
        return None;
    }
    Some(
        Failure::new(
            "vm.changed_since",
            "Look at the VM and decide anew: someone has changed it since, and that is not overwritten",
        )
        .with("expected", Value::Object(expect.clone()))
        .with("found", found)
        .with("target", machine.target(&call.server)),
    )
}

struct Set {
    machine: Machine,
    keys: Vec<(i64, String)>,
    before: Map<String, Value>,
    after: Map<String, Value>,
}

impl Set {
    /// What differs, for ReconfigVM_Task; nothing if that has nothing to do.
    fn spec(&self) -> Option<Reconfigure> {
        let differs = |name: &str| {
            let value = self.after.get(name)?;
            (self.before.get(name) != Some(value)).then_some(value)
        };
        let whole = |name: &str| differs(name).and_then(Value::as_u64);
        let small = |name: &str| whole(name).and_then(|value| u32::try_from(value).ok());
        let spec = Reconfigure {
            annotation: differs(ANNOTATION)
                .and_then(Value::as_str)
                .map(str::to_owned),
            cpus: small("cpu"),
            cores_per_socket: small("cores_per_socket"),
            memory_mib: whole("memory_mb"),
            ..Reconfigure::default()
        };
        (spec != Reconfigure::default()).then(|| Reconfigure {
            change_version: reconfig::version(&self.machine),
            ..spec
        })
    }

    /// The attributes that differ, with their keys.
    fn attributes(&self) -> Vec<(i64, &str, &str)> {
        let of = |map: &Map<String, Value>, name: &str| {
            map.get(ATTRIBUTES)
                .and_then(|all| all.get(name))
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let wanted = self.after.get(ATTRIBUTES).and_then(Value::as_object);
        wanted
            .into_iter()
            .flatten()
            .filter(|(name, _)| of(&self.before, name) != of(&self.after, name))
            .filter_map(|(name, value)| {
                let key = self.keys.iter().find(|(_, known)| known == name)?.0;
                Some((key, name.as_str(), value.as_str()?))
            })
            .collect()
    }

    /// Sets one attribute. A lost answer is looked after.
    async fn set_field(
        &self,
        call: &Call<'_>,
        (key, name, value): (i64, &str, &str),
    ) -> Result<(), Failure> {
        call.sent.change("SetField");
        let vm = &self.machine.reference;
        let Err(error) = call.session.set_field(vm, key, value).await else {
            return Ok(());
        };
        let failure = change::not_started(call, error);
        if failure.effect() == ErrorEffect::Unknown
            && let Some(now) = look(call.session, vm, &[DEFINED, SET]).await
            && values::attribute(&now, name).as_deref() == Some(value)
        {
            return Ok(());
        }
        Err(failure)
    }
}

impl Deed for Set {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let mut task = None;
        let mut done: Vec<&str> = Vec::new();
        let of_reconfig = |object: &Object| {
            let now = values::now(object, &self.after);
            let but_attributes = |map: &Map<String, Value>| {
                let mut map = map.clone();
                map.remove(ATTRIBUTES);
                map
            };
            but_attributes(&now) == but_attributes(&self.after)
        };
        if let Some(spec) = self.spec() {
            let sent =
                reconfig::send(call, &self.machine, &spec, &paths(call), of_reconfig).await?;
            task = sent.task;
            done.push("ReconfigVM_Task");
        }
        for attribute in self.attributes() {
            if let Err(failure) = self.set_field(call, attribute).await {
                let partly = failure.effect() == ErrorEffect::None && !done.is_empty();
                let failure = failure.with("attribute", attribute.1).with("done", done);
                return Err(if partly {
                    failure.leaving(ErrorEffect::Partial)
                } else {
                    failure
                });
            }
            done.push(attribute.1);
        }
        let now = look(call.session, &self.machine.reference, &paths(call)).await;
        let after = now.map(|object| values::now(&object, &self.after));
        let mut extra = Map::new();
        if let Some(after) = &after {
            // The server took it, and shows something else: that is not passed over.
            let other: Vec<&String> = after
                .iter()
                .filter(|(name, value)| self.after.get(*name) != Some(value))
                .map(|(name, _)| name)
                .collect();
            if !other.is_empty() {
                extra.insert("not_as_asked".to_owned(), json!(other));
            }
        }
        Ok(Done {
            after,
            task,
            extra,
            ..Done::default()
        })
    }
}
