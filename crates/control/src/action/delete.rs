//! delete: a machine with all its disks and snapshots.

use serde_json::{Map, Value, json};
use vsphere::MoRef;

use super::disk::{self, DEVICES, Disk};
use super::tree::Tree;
use crate::call::Call;
use crate::change::{self, Deed, Done, Ended, Plan, Undo, Verify};
use crate::failure::Failure;
use crate::machine::{Machine, reread};
use policy::answer::ErrorEffect;

/// How many disks and snapshots are listed that go with it; the totals are always there.
const SHOWN: usize = 100;

/// Faults that say that the server refused the deletion before it began.
const REFUSED: &[&str] = &[
    "vsphere.busy",
    "vsphere.no_permission",
    "vsphere.not_authenticated",
    "vsphere.object_gone",
    "vsphere.invalid_power_state",
    "vsphere.invalid_state",
    "vsphere.method_disabled",
    "vsphere.restricted_licence",
    "vsphere.host_not_connected",
    "vsphere.not_supported",
];

/// Deletes a machine.
pub(crate) async fn change(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let machine = match Machine::find(call, &["snapshot", DEVICES]).await {
        Ok(machine) => machine,
        Err(failure) => return done_before(call, &failure).ok_or(failure),
    };
    let disks = disk::all(&machine.object);
    let tree = Tree::of(&machine.object);
    let power = machine.power_state();
    let mut warnings = machine.warnings();
    if power != "poweredOff" {
        warnings.push(format!(
            "The server may refuse it now: the VM is {power}; it is not powered off unasked"
        ));
    }
    if machine.object.is_unreadable(DEVICES) {
        warnings.push(
            "Its disks cannot be read with this user: they are deleted all the same".to_owned(),
        );
    }
    if !disks.is_empty() || !tree.all.is_empty() {
        warnings.push(format!(
            "Deleted with it: {} disk(s), {} snapshot(s); detach first what must live",
            disks.len(),
            tree.all.len()
        ));
    }
    for disk in &disks {
        if let Some(note) = disk.note {
            warnings.push(format!("{}: {note}", disk.label));
        }
    }
    warnings.truncate(SHOWN);
    let mut before = Map::from_iter([("exists".to_owned(), json!(true))]);
    before.insert("power_state".to_owned(), json!(power));
    before.insert("disks".to_owned(), json!(disks.len()));
    before.insert("snapshots".to_owned(), json!(tree.all.len()));
    let pointed = |total: usize| Map::from_iter([("/total".to_owned(), json!(total))]);
    let destroys = json!({
        "disks": disks.iter().take(SHOWN).map(Disk::row).collect::<Vec<_>>(),
        "disks_total": disks.len(),
        "snapshots": (0..tree.all.len().min(SHOWN)).map(|at| tree.row(at)).collect::<Vec<_>>(),
        "snapshots_total": tree.all.len(),
    });
    let plan = Plan {
        target: machine.target(&call.server),
        changed: true,
        before,
        after: gone(),
        undo: Undo::none("A deleted VM cannot be brought back, nor can its disks"),
        verify: Some(Verify {
            arguments: machine.arguments(call, "list_vms"),
            before: pointed(1),
            after: pointed(0),
        }),
        warnings,
        refusal: machine.unfit(),
        extra: Map::from_iter([("destroys".to_owned(), destroys)]),
    };
    change::carry_out(
        call,
        plan,
        Delete {
            machine: machine.reference,
        },
    )
    .await
}

/// The answer to a repeated attempt whose very machine is no longer there: the attempt before
/// may have deleted it.
fn done_before(call: &Call<'_>, failure: &Failure) -> Option<Map<String, Value>> {
    let target = call.expected_target?;
    let named = target.get("moref")?.as_str();
    let is_it = named == call.arguments.text("moref")
        && target.get("server")?.as_str() == Some(&call.server);
    let is_repeated = call.is_repeated && !call.is_preview();
    (is_repeated && is_it && failure.code() == "vm.not_found")
        .then(|| change::found_done(call.row.word, Value::Object(target.clone()), gone()))
}

fn gone() -> Map<String, Value> {
    Map::from_iter([("exists".to_owned(), json!(false))])
}

struct Delete {
    machine: MoRef,
}

impl Deed for Delete {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let vm = &self.machine;
        match change::through_task(call, "Destroy_Task", vm, call.session.destroy(vm)).await {
            Ok((Ended::Success(_), task)) => Ok(Done {
                task: Some(task),
                ..Done::default()
            }),
            Ok((Ended::Forgotten, task)) => {
                let now = reread(call.session, vm, &["name"])
                    .await
                    .map_err(|failure| call.sent.mark(failure))?;
                match now {
                    None => Ok(Done {
                        task: Some(task),
                        ..Done::default()
                    }),
                    Some(_) => Err(change::forgotten("Destroy_Task", &task)),
                }
            }
            // A deletion that failed on the way may have taken disks with it.
            Err(failure)
                if failure.effect() == ErrorEffect::None && !REFUSED.contains(&failure.code()) =>
            {
                Err(failure.leaving(ErrorEffect::Unknown))
            }
            Err(failure) => Err(failure),
        }
    }
}
