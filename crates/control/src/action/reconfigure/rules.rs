//! What reconfigure takes, and what a machine that runs does not.

use serde_json::{Map, Value};

use super::values::{ANNOTATION, ATTRIBUTES};
use crate::argument::{self, Arguments};
use crate::failure::Failure;
use crate::machine::Machine;

/// The sizes: the argument, and the property that holds it.
pub(super) const SIZES: &[(&str, &str)] = &[
    ("cpu", "config.hardware.numCPU"),
    ("cores_per_socket", "config.hardware.numCoresPerSocket"),
    ("memory_mb", "config.hardware.memoryMB"),
];

/// The longest value of a custom attribute.
const LONGEST: usize = 4_000;

/// At least one value is to be set; `expect` may hold the same fields alone.
pub(crate) fn check(arguments: &Arguments) -> Result<(), Failure> {
    let attributes = arguments.fields(ATTRIBUTES);
    let sets = SIZES
        .iter()
        .any(|(name, _)| arguments.whole(name).is_some())
        || arguments.text(ANNOTATION).is_some()
        || arguments.flag("clear_annotation")
        || attributes.is_some_and(|attributes| !attributes.is_empty());
    if !sets {
        return Err(Failure::new(
            "argument.missing",
            "Pass `cpu`, `cores_per_socket`, `memory_mb`, `annotation` or `attributes`: without one there is nothing to set",
        )
        .with("argument", "cpu"));
    }
    if arguments.text(ANNOTATION).is_some() && arguments.flag("clear_annotation") {
        return Err(Failure::new(
            "argument.out_of_range",
            "Pass `annotation` or `clear_annotation`: both cannot be done",
        )
        .with("argument", "clear_annotation"));
    }
    if arguments.whole("memory_mb").is_some_and(|mb| mb % 4 != 0) {
        return Err(Failure::new(
            "argument.out_of_range",
            "Pass `memory_mb` as a multiple of 4: a VM's memory comes in steps of 4 MB",
        )
        .with("argument", "memory_mb"));
    }
    if let Some(attributes) = attributes {
        texts(ATTRIBUTES, attributes)?;
    }
    let Some(expect) = arguments.fields("expect") else {
        return Ok(());
    };
    for (name, value) in expect {
        let fits = match name.as_str() {
            ANNOTATION => value.is_string(),
            ATTRIBUTES => match value.as_object() {
                Some(attributes) => texts("expect", attributes).is_ok(),
                None => false,
            },
            name => {
                let whole = value.as_number().and_then(argument::whole);
                SIZES.iter().any(|(size, _)| *size == name) && whole.is_some()
            }
        };
        if !fits {
            return Err(Failure::new(
                "argument.wrong_type",
                "Pass `expect` as an object with `cpu`, `cores_per_socket` and `memory_mb`, each a whole number, `annotation`, a text, and `attributes`, texts by name",
            )
            .with("argument", "expect"));
        }
    }
    Ok(())
}

/// Attributes are texts; an empty one takes the value away.
fn texts(name: &'static str, attributes: &Map<String, Value>) -> Result<(), Failure> {
    for (field, value) in attributes {
        let Some(text) = value.as_str() else {
            return Err(Failure::new(
                "argument.wrong_type",
                format!(
                    "Pass each of `{name}` as a string, also numbers: `{}` is none",
                    guard::text::sanitize_to(field, 80)
                ),
            )
            .with("argument", name));
        };
        if text.chars().count() > LONGEST {
            return Err(Failure::new(
                "argument.too_long",
                format!("Shorten what is in `{name}` to {LONGEST} characters each"),
            )
            .with("argument", name));
        }
    }
    Ok(())
}

/// Both values of a size that is to be changed.
fn step(name: &str, before: &Map<String, Value>, after: &Map<String, Value>) -> Option<(i64, i64)> {
    let step = (before.get(name)?.as_i64()?, after.get(name)?.as_i64()?);
    (step.0 != step.1).then_some(step)
}

/// Why a machine that is not off does not take it now.
pub(super) fn hot(
    machine: &Machine,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
) -> Option<Failure> {
    let step = |name: &str| step(name, before, after);
    let state = machine.power_state();
    let resizes = SIZES.iter().any(|(name, _)| step(name).is_some());
    if state == "poweredOff" || !resizes {
        return None;
    }
    let refused = |name: &str, why: String| {
        let remedy = "Power the VM off first (`power_off`), change it, and power it on again";
        Failure::new(
            "vsphere.hot_plug_not_supported",
            format!("{remedy}: the VM is {state}, and {why}"),
        )
        .with("argument", name)
        .with("power_state", state.as_str())
    };
    if state != "poweredOn" {
        return Some(refused(
            "cpu",
            "its size changes only while it is off".to_owned(),
        ));
    }
    if step("cores_per_socket").is_some() {
        return Some(refused(
            "cores_per_socket",
            "the cores per socket change only while it is off".to_owned(),
        ));
    }
    match step("cpu") {
        Some((now, then)) if then < now && !machine.flag("config.cpuHotRemoveEnabled") => {
            return Some(refused(
                "cpu",
                format!("a running VM does not shrink from {now} to {then} CPUs"),
            ));
        }
        Some((now, then)) if then > now && !machine.flag("config.cpuHotAddEnabled") => {
            return Some(refused("cpu", "hot-add of CPUs is off for it".to_owned()));
        }
        _ => {}
    }
    let (now, then) = step("memory_mb")?;
    if then < now {
        return Some(refused(
            "memory_mb",
            format!("a running VM does not shrink from {now} to {then} MB"),
        ));
    }
    if !machine.flag("config.memoryHotAddEnabled") {
        return Some(refused(
            "memory_mb",
            "hot-add of memory is off for it".to_owned(),
        ));
    }
    let increment = machine.whole("config.hotPlugMemoryIncrementSize");
    if let Some(increment) = increment.filter(|size| *size > 0 && (then - now) % size != 0) {
        let below = now + (then - now) / increment * increment;
        return Some(
            refused(
                "memory_mb",
                format!(
                    "its memory grows in steps of {increment} MB alone: {below} or {} MB would do",
                    below + increment
                ),
            )
            .with("increment_mb", increment),
        );
    }
    let limit = machine.whole("config.hotPlugMemoryLimit");
    limit
        .filter(|limit| *limit > 0 && then > *limit)
        .map(|limit| {
            refused(
                "memory_mb",
                format!("its memory grows to {limit} MB at most while it runs"),
            )
            .with("limit_mb", limit)
        })
}

/// What the server is likely to object to, and what comes with the change.
pub(super) fn objections(
    machine: &Machine,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let then = |name: &str, path: &str| {
        let wanted = after.get(name).and_then(Value::as_i64);
        wanted.or_else(|| machine.whole(path)).unwrap_or(1)
    };
    let changes = |name: &str| step(name, before, after).is_some();
    if changes("cpu") || changes("cores_per_socket") {
        let cpus = then("cpu", "config.hardware.numCPU");
        let cores = then("cores_per_socket", "config.hardware.numCoresPerSocket");
        let automatic = after
            .get("cores_per_socket")
            .is_none_or(|cores| cores.as_i64() == Some(0))
            && machine.flag(super::AUTO_CORES);
        if cores > 0 && cpus % cores != 0 && !automatic {
            warnings.push(format!(
                "The server may refuse it: {cpus} CPUs do not divide into sockets of {cores} cores"
            ));
        }
    }
    if changes("memory_mb") && machine.flag("config.memoryReservationLockedToMax") {
        warnings.push("All its memory is reserved: the reservation changes with it".to_owned());
    }
    warnings
}
