//! reconfigure: the number of CPUs and the memory of a machine.

use serde_json::{Map, Value, json};
use vsphere::{MoRef, Object, Reconfigure};

use crate::argument::{self, Arguments};
use crate::call::Call;
use crate::change::{self, Deed, Done, Ended, Plan, Undo, Verify};
use crate::failure::Failure;
use crate::machine::{Machine, look};

/// What can be set: the argument, and the property that holds it.
const FIELDS: [(&str, &str); 2] = [
    ("cpu", "config.hardware.numCPU"),
    ("memory_mb", "config.hardware.memoryMB"),
];

/// What is read besides, for the warnings and for the server's own comparison.
const MORE: &[&str] = &[
    "config.hardware.numCPU",
    "config.hardware.memoryMB",
    "config.hardware.numCoresPerSocket",
    "config.changeVersion",
    "config.cpuHotAddEnabled",
    "config.memoryHotAddEnabled",
];

/// At least one value is to be set; `expect` may hold the same fields alone.
pub(crate) fn check(arguments: &Arguments) -> Result<(), Failure> {
    if FIELDS
        .iter()
        .all(|(name, _)| arguments.whole(name).is_none())
    {
        return Err(Failure::new(
            "argument.missing",
            "Pass `cpu` or `memory_mb`, or both: without one there is nothing to set",
        )
        .with("argument", "cpu"));
    }
    let Some(expect) = arguments.fields("expect") else {
        return Ok(());
    };
    for (name, value) in expect {
        if !FIELDS.iter().any(|(field, _)| field == name) || whole(value).is_none() {
            return Err(Failure::new(
                "argument.wrong_type",
                "Pass `expect` as an object with `cpu` and `memory_mb`, each a whole number",
            )
            .with("argument", "expect"));
        }
    }
    Ok(())
}

fn whole(value: &Value) -> Option<i64> {
    value.as_number().and_then(argument::whole)
}

/// Sets CPUs and memory.
pub(crate) async fn change(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let machine = Machine::find(call, MORE).await?;
    let wanted = |name: &str| call.arguments.whole(name);
    let mut before = Map::new();
    let mut after = Map::new();
    for (name, path) in FIELDS {
        if let Some(value) = wanted(name) {
            let Some(now) = machine.whole(path) else {
                return Err(Failure::new(
                    "vm.unreadable",
                    format!(
                        "Let the user read the VM's hardware: `{name}` cannot be read, so it is not changed"
                    ),
                ));
            };
            before.insert(name.to_owned(), json!(now));
            after.insert(name.to_owned(), json!(value));
        }
    }
    let changed = before != after;
    let running = machine.power_state() != "poweredOff";
    let mut undo_call = machine.arguments(call, "reconfigure");
    undo_call.extend(before.clone());
    undo_call.insert("expect".to_owned(), Value::Object(after.clone()));
    let undo = if running {
        Undo::conditional(
            undo_call,
            "A running VM cannot shrink: the undo needs it powered off",
        )
    } else {
        Undo::exact(undo_call)
    };
    let mut refusal = machine.unfit();
    if changed && let Some(moved) = moved(call.arguments, &machine, call) {
        refusal = Some(moved);
    }
    let mut warnings = machine.warnings();
    warnings.extend(objections(&machine, &before, &after));
    let plan = Plan {
        target: machine.target(&call.server),
        changed,
        verify: Some(Verify {
            arguments: machine.arguments(call, "get_vm"),
            before: pointed(&before),
            after: pointed(&after),
        }),
        before,
        after,
        undo,
        warnings,
        refusal,
        extra: Map::new(),
    };
    let spec = Reconfigure {
        change_version: machine
            .object
            .text("config.changeVersion")
            .filter(|text| !text.is_empty())
            .map(str::to_owned),
        cpus: wanted("cpu").and_then(|cpus| u32::try_from(cpus).ok()),
        memory_mib: wanted("memory_mb").and_then(|memory| u64::try_from(memory).ok()),
    };
    change::carry_out(
        call,
        plan,
        Resize {
            machine: machine.reference,
            spec,
        },
    )
    .await
}

/// The refusal if a value that was expected is no longer there.
fn moved(arguments: &Arguments, machine: &Machine, call: &Call<'_>) -> Option<Failure> {
    let expect = arguments.fields("expect")?;
    let found: Map<String, Value> = FIELDS
        .iter()
        .filter(|(name, _)| expect.contains_key(*name))
        .map(|(name, path)| ((*name).to_owned(), json!(machine.whole(path))))
        .collect();
    let same = expect
        .iter()
        .all(|(name, value)| found.get(name).and_then(Value::as_i64) == whole(value));
    if same {
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

/// What the server is likely to object to.
fn objections(
    machine: &Machine,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let step = |name: &str| Some((before.get(name)?.as_i64()?, after.get(name)?.as_i64()?));
    if machine.power_state() != "poweredOff" {
        for (name, hot_add) in [
            ("cpu", "config.cpuHotAddEnabled"),
            ("memory_mb", "config.memoryHotAddEnabled"),
        ] {
            match step(name) {
                Some((now, then)) if then < now => {
                    warnings.push(format!(
                        "The server may refuse it now: `{name}` cannot shrink while the VM runs"
                    ));
                }
                Some((now, then)) if then > now && !machine.flag(hot_add) => {
                    warnings.push(format!("The server may refuse it now: `{name}` cannot grow while the VM runs, hot-add is off"));
                }
                _ => {}
            }
        }
    }
    let cores = machine
        .whole("config.hardware.numCoresPerSocket")
        .unwrap_or(1)
        .max(1);
    if let Some((_, cpus)) = step("cpu")
        && cpus % cores != 0
    {
        warnings.push(format!(
            "The server may refuse it: {cpus} CPUs do not divide into sockets of {cores} cores"
        ));
    }
    warnings
}

fn pointed(values: &Map<String, Value>) -> Map<String, Value> {
    values
        .iter()
        .map(|(name, value)| (format!("/vm/{name}"), value.clone()))
        .collect()
}

fn values(object: &Object, spec: &Reconfigure) -> Map<String, Value> {
    let set = [spec.cpus.is_some(), spec.memory_mib.is_some()];
    FIELDS
        .iter()
        .zip(set)
        .filter(|(_, set)| *set)
        .map(|((name, path), _)| {
            (
                (*name).to_owned(),
                json!(object.get(path).and_then(vsphere::Value::as_i64)),
            )
        })
        .collect()
}

struct Resize {
    machine: MoRef,
    spec: Reconfigure,
}

impl Deed for Resize {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let vm = &self.machine;
        let start = call.session.reconfigure(vm, &self.spec);
        let (ended, task) = change::through_task(call, "ReconfigVM_Task", vm, start).await?;
        let now = look(call.session, vm, &FIELDS.map(|(_, path)| path)).await;
        let after = now.map(|object| values(&object, &self.spec));
        if matches!(ended, Ended::Forgotten) {
            let wanted = [
                self.spec.cpus.map(i64::from),
                self.spec.memory_mib.and_then(|mib| i64::try_from(mib).ok()),
            ];
            let there = after.as_ref().is_some_and(|after| {
                FIELDS.iter().zip(wanted).all(|((name, _), wanted)| {
                    wanted.is_none() || after.get(*name).and_then(Value::as_i64) == wanted
                })
            });
            if !there {
                return Err(change::forgotten("ReconfigVM_Task", &task));
            }
        }
        Ok(Done {
            after,
            task: Some(task),
            ..Done::default()
        })
    }
}
