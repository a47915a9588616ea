//! mark_template and mark_vm: a VM becomes a template, and back.

use serde_json::{Map, Value, json};
use vsphere::MoRef;

use crate::call::Call;
use crate::change::{self, Deed, Done, Plan, Undo, Verify};
use crate::destination;
use crate::failure::Failure;
use crate::machine::Machine;

const TEMPLATE: &str = "summary.config.template";

fn state(is_template: bool) -> Map<String, Value> {
    Map::from_iter([("template".to_owned(), json!(is_template))])
}

fn verify(call: &Call<'_>, machine: &Machine, after: bool) -> Option<Verify> {
    let pointed = |is: bool| Map::from_iter([("/vm/template".to_owned(), json!(is))]);
    Some(Verify {
        arguments: machine.arguments(call, "get_vm"),
        before: pointed(!after),
        after: pointed(after),
    })
}

/// A state that only a machine that is off can leave.
fn unfit(machine: &Machine) -> Option<Failure> {
    machine.unfit().or_else(|| must_be_off(machine))
}

/// The refusal for a machine that is not powered off.
pub(super) fn must_be_off(machine: &Machine) -> Option<Failure> {
    let power = machine.power_state();
    (power != "poweredOff").then(|| {
        Failure::new(
            "vsphere.invalid_power_state",
            format!("Power the VM off first: it is {power}; it is not powered off unasked"),
        )
        .with("power_state", power)
    })
}

/// Makes a template of a machine. Its pool is unset by that, so it is remembered for the undo.
pub(crate) async fn mark_template(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let machine = Machine::find(call, &["resourcePool", "runtime.host"]).await?;
    let is_template = machine.flag(TEMPLATE);
    let undo = match machine.reference_at("resourcePool") {
        Some(pool) => {
            let mut undo = machine.arguments(call, "mark_vm");
            undo.insert("resource_pool".to_owned(), json!(pool.id));
            if let Some(host) = machine.reference_at("runtime.host") {
                undo.insert("host_system".to_owned(), json!(host.id));
            }
            Undo::lossy(undo, "Its place in a vApp is not brought back")
        }
        None => Undo::none("Its resource pool cannot be read, and mark_vm needs one"),
    };
    let plan = Plan {
        target: machine.target(&call.server),
        changed: !is_template,
        before: state(is_template),
        after: state(true),
        undo,
        verify: verify(call, &machine, true),
        warnings: machine.warnings(),
        refusal: unfit(&machine),
        extra: Map::new(),
    };
    let deed = Mark {
        machine: machine.reference,
        into: Into::Template,
    };
    change::carry_out(call, plan, deed).await
}

/// Makes a machine of a template.
pub(crate) async fn mark_vm(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let machine = Machine::find(call, &[]).await?;
    let is_template = machine.flag(TEMPLATE);
    let host = destination::host(call).await?;
    let Some(pool) = destination::pool(call, host.as_ref()).await? else {
        return Err(destination::missing());
    };
    let mut warnings = machine.warnings();
    warnings.retain(|warning| warning != "It is a template");
    let plan = Plan {
        target: machine.target(&call.server),
        changed: is_template,
        before: state(is_template),
        after: state(false),
        undo: Undo::exact(machine.arguments(call, "mark_template")),
        verify: verify(call, &machine, false),
        warnings,
        refusal: unfit(&machine).or_else(|| destination::unfit(host.as_ref(), None)),
        extra: Map::new(),
    };
    let deed = Mark {
        machine: machine.reference,
        into: Into::Machine {
            pool,
            host: host.map(|host| host.reference),
        },
    };
    change::carry_out(call, plan, deed).await
}

/// What it becomes.
enum Into {
    Template,
    Machine { pool: MoRef, host: Option<MoRef> },
}

struct Mark {
    machine: MoRef,
    into: Into,
}

impl Deed for Mark {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let vm = &self.machine;
        match &self.into {
            Into::Template => {
                let asked = call.session.mark_as_template(vm);
                change::at_once(call, "MarkAsTemplate", asked).await?;
            }
            Into::Machine { pool, host } => {
                let asked = call
                    .session
                    .mark_as_virtual_machine(vm, pool, host.as_ref());
                change::at_once(call, "MarkAsVirtualMachine", asked).await?;
            }
        }
        Ok(Done::default())
    }
}
