//! delete: a machine with all its disks and snapshots.

use serde_json::{Map, Value, json};
use vsphere::MoRef;

use super::disk::Disk;
use super::tree::Tree;
use crate::argument::Arguments;
use crate::call::Call;
use crate::change::{self, Deed, Done, Ended, Plan, Undo, Verify};
use crate::failure::Failure;
use crate::harm::{self, Level};
use crate::machine::{LOOK, Machine, decoded, reread};
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
    let machine = match Machine::find(call, &["snapshot"]).await {
        Ok(machine) => machine,
        Err(failure) => return done_before(call, &failure).ok_or(failure),
    };
    let harm = harm::check(call, &machine, Level::Whole).await?;
    let disks = harm.disks();
    let tree = Tree::of(&machine.object);
    let power = machine.power_state();
    let mut warnings = machine.warnings();
    warnings.extend(harm.warnings(call));
    if !harm.knows_disks() {
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
    for disk in disks {
        if let Some(note) = disk.note() {
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
        refusal: machine
            .unfit()
            .or_else(|| not_off(&power))
            .or_else(|| harm.refusal(call)),
        extra: Map::from_iter([
            ("destroys".to_owned(), destroys),
            ("hangs_on_it".to_owned(), Value::Object(harm.shown())),
        ]),
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

/// A machine that is not off is not deleted, and not powered off unasked.
fn not_off(power: &str) -> Option<Failure> {
    (power != "poweredOff").then(|| {
        Failure::new(
            "vsphere.invalid_power_state",
            format!("Power the VM off first (`power_off`): it is {power}, and only a VM that is off is deleted"),
        )
        .with("power_state", power)
    })
}

/// The answer to a repeated attempt whose very machine is no longer there: the attempt before
/// may have deleted it.
fn done_before(call: &Call<'_>, failure: &Failure) -> Option<Map<String, Value>> {
    let is_repeated = call.is_repeated && !call.is_preview();
    if !is_repeated || failure.code() != "vm.not_found" {
        return None;
    }
    let target = match call.expected_target {
        Some(target) => {
            let is_it = target.get("moref")?.is_string()
                && target.get("server")?.as_str() == Some(&call.server)
                && is_named(call.arguments, target);
            is_it.then(|| target.clone())?
        }
        // Such as an undo: reference and instance UUID together name one machine for good, and so
        // does the key that it was made under.
        None => {
            let text = |name: &str| call.arguments.text(name);
            let named = match (text("moref"), text("instance_uuid"), text("vm_key")) {
                (Some(moref), Some(uuid), _) => [("moref", moref), ("instance_uuid", uuid)],
                (None, _, Some(key)) => [("vm_key", key), ("name", text("vm_name")?)],
                _ => return None,
            };
            let mut target = Map::from_iter([("server".to_owned(), json!(call.server))]);
            target.extend(named.map(|(name, value)| (name.to_owned(), json!(value))));
            target
        }
    };
    Some(change::found_done(
        call.row.word,
        Value::Object(target),
        gone(),
    ))
}

/// Whether the call names the machine that was prepared, however it names it.
fn is_named(arguments: &Arguments, target: &Map<String, Value>) -> bool {
    let is = |field: &str, given: &str| {
        target
            .get(field)
            .and_then(Value::as_str)
            .is_some_and(|text| text.eq_ignore_ascii_case(given))
    };
    match (
        arguments.text("moref"),
        arguments.text("vm_uuid"),
        arguments.text("vm_name"),
    ) {
        (Some(moref), _, _) => is("moref", moref),
        // A BIOS uuid is not in the target: the machine that it named cannot be told any more.
        (None, Some(uuid), _) => is("instance_uuid", uuid),
        (None, None, Some(name)) => target
            .get("name")
            .and_then(Value::as_str)
            .is_some_and(|of_target| decoded(of_target) == decoded(name)),
        (None, None, None) => false,
    }
}

fn gone() -> Map<String, Value> {
    Map::from_iter([("exists".to_owned(), json!(false))])
}

/// Whether the server says soon that it does not know the machine.
async fn is_gone(call: &Call<'_>, vm: &MoRef) -> bool {
    let looked = tokio::time::timeout(LOOK, reread(call.session, vm, &["name"])).await;
    matches!(looked, Ok(Ok(None)))
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
            // Gone is gone, also where nobody heard of it.
            Err(failure) if failure.effect() == ErrorEffect::Unknown && is_gone(call, vm).await => {
                Ok(Done::default())
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
