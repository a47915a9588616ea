//! The steps of the demo's workflows, as an agent writes them.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::scenario::Machine;
use super::stage::{Cast, PROFILE};

/// Creates a workflow, and returns its id.
pub(super) async fn create(
    cast: &Cast<'_>,
    name: &str,
    description: &str,
    steps: Vec<Value>,
) -> Result<String> {
    define(
        cast,
        json!({"name": name, "description": description, "steps": steps}),
    )
    .await
}

/// Creates a workflow as it is written, and returns its id.
pub(super) async fn define(cast: &Cast<'_>, definition: Value) -> Result<String> {
    let made = cast.agent.ask("create_workflow", definition).await?;
    Ok(made["workflow_id"]
        .as_str()
        .context("`create_workflow` gave no id")?
        .to_owned())
}

/// A step of the companion `control`, with the profile filled in.
fn step(id: &str, name: &str, mut params: Value) -> Value {
    params["credential_profile"] = PROFILE.into();
    json!({"id": id, "name": name, "skill": "control", "tool": "vmware_control", "params": params})
}

pub(super) fn list() -> Value {
    step(
        "list",
        "Which machines are there?",
        json!({"action": "list_vms"}),
    )
}

pub(super) fn snapshot(number: usize, machine: &Machine, name: &str) -> Value {
    step(
        &format!("snapshot_{number}"),
        &format!("Snapshot {}", machine.name),
        json!({"action": "snapshot_create", "vm_uuid": machine.uuid, "snapshot_name": name}),
    )
}

pub(super) fn power_off(number: usize, machine: &Machine) -> Value {
    step(
        &format!("power_off_{number}"),
        &format!("Power off {}", machine.name),
        json!({"action": "power_off", "vm_uuid": machine.uuid}),
    )
}

pub(super) fn power_on(number: usize, machine: &Machine) -> Value {
    step(
        &format!("power_on_{number}"),
        &format!("Power on {}", machine.name),
        json!({"action": "power_on", "vm_uuid": machine.uuid}),
    )
}

pub(super) fn reset(number: usize, machine: &Machine) -> Value {
    step(
        &format!("reset_{number}"),
        &format!("Reset {}", machine.name),
        json!({"action": "reset", "vm_uuid": machine.uuid}),
    )
}

pub(super) fn reconfigure(number: usize, machine: &Machine, cpu: u64, memory_mb: u64) -> Value {
    step(
        &format!("reconfigure_{number}"),
        &format!("Resize {}", machine.name),
        json!({"action": "reconfigure", "vm_uuid": machine.uuid, "cpu": cpu, "memory_mb": memory_mb}),
    )
}

pub(super) fn verify(number: usize, machine: &Machine) -> Value {
    step(
        &format!("verify_{number}"),
        &format!("Look at {}", machine.name),
        json!({"action": "get_vm", "vm_uuid": machine.uuid}),
    )
}
