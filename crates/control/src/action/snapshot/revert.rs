//! Putting a machine back to a snapshot, with a snapshot of what is lost by it if that is wanted.

use serde_json::{Map, Value, json};
use vsphere::MoRef;

use super::super::disk::{self, DEVICES, Disk};
use super::super::tree::{Snapshot, Tree};
use super::{expected, take, targeted};
use crate::call::Call;
use crate::change::{self, Deed, Done, Ended, Plan, Undo, Verify};
use crate::failure::Failure;
use crate::harm::{self, Level};
use crate::machine::{Machine, look};
use policy::answer::ErrorEffect;

/// Puts a machine back to a snapshot.
pub(crate) async fn revert(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let machine = Machine::find(call, &["snapshot", DEVICES]).await?;
    let tree = Tree::of(&machine.object);
    let Some(at) = tree.choose(call.arguments)? else {
        return Err(tree.not_found(call.arguments));
    };
    let snapshot = &tree.all[at];
    expected(call, &machine, Some(snapshot))?;
    let harm = harm::check(call, &machine, Level::State).await?;
    let harm = harm.and_consolidation(&machine);
    let safety = call.arguments.flag("safety_snapshot").then(|| Safety {
        name: safety_name(snapshot),
        found: call
            .key
            .and_then(|key| tree.under_key(key))
            .map(|snapshot| snapshot.id.clone()),
        memory: machine.power_state() == "poweredOn",
    });
    let power = if snapshot.has_memory() {
        "poweredOn"
    } else {
        "poweredOff"
    };
    let mut before = Map::from_iter([("power_state".to_owned(), json!(machine.power_state()))]);
    before.insert("current_snapshot".to_owned(), json!(tree.current));
    let mut after = Map::from_iter([("power_state".to_owned(), json!(power))]);
    after.insert("current_snapshot".to_owned(), json!(snapshot.id));
    let mut warnings = machine.warnings();
    warnings.extend(harm.warnings(call));
    warnings.extend(losses(&machine, snapshot, safety.is_some()));
    let pointed = |id: Option<&str>| Map::from_iter([("/current_snapshot".to_owned(), json!(id))]);
    let mut refusal = machine.unfit().or_else(|| harm.refusal(call));
    let mut extra = Map::from_iter([("snapshot".to_owned(), tree.row(at))]);
    if let Some(safety) = &safety {
        if safety.found.is_none() {
            refusal = refusal.or_else(|| take::unsupported(&machine));
        }
        extra.insert(
            "safety_snapshot".to_owned(),
            json!({ "name": safety.name, "memory": safety.memory }),
        );
    }
    let plan = Plan {
        target: targeted(&machine, call, Some(snapshot)),
        changed: true,
        before,
        after,
        undo: safety.as_ref().map_or_else(
            || {
                Undo::none(
                    "What came after the snapshot is gone; pass `safety_snapshot` to be able to come back",
                )
            },
            |safety| safety.undo(call, &machine),
        ),
        verify: Some(Verify {
            arguments: machine.arguments(call, "snapshot_list"),
            before: pointed(tree.current.as_deref()),
            after: pointed(Some(&snapshot.id)),
        }),
        warnings,
        refusal,
        extra,
    };
    let snapshot = snapshot.reference();
    let deed = Revert {
        machine,
        snapshot,
        safety,
    };
    change::carry_out(call, plan, deed).await
}

/// What a person should know before it.
fn losses(machine: &Machine, snapshot: &Snapshot, is_safe: bool) -> Vec<String> {
    let mut losses = vec![if is_safe {
        "What was done since the snapshot was taken leaves the VM; the safety snapshot keeps it"
            .to_owned()
    } else {
        "Everything that was done since the snapshot was taken is lost: disks, settings, memory"
            .to_owned()
    }];
    if machine.power_state() == "poweredOn" && !snapshot.has_memory() {
        losses.push("The snapshot holds no memory: the VM is off afterwards".to_owned());
    }
    if disk::all(&machine.object).iter().any(Disk::is_independent) {
        losses.push("Its independent disks stay as they are".to_owned());
    }
    losses
}

/// The snapshot that is taken before the revert.
struct Safety {
    name: String,
    /// The one that an earlier attempt under the same key took.
    found: Option<String>,
    memory: bool,
}

/// As vSphere allows: names have at most 80 characters.
fn safety_name(of: &Snapshot) -> String {
    guard::text::sanitize_to(&format!("Before the revert to {}", of.name), 80)
}

impl Safety {
    /// The way back, as long as the snapshot has no reference.
    fn undo(&self, call: &Call<'_>, machine: &Machine) -> Undo {
        match (&self.found, call.key) {
            (Some(id), _) => back(call, machine, "snapshot_id", id),
            (None, Some(key)) => back(call, machine, "snapshot_key", key),
            (None, None) => Undo::conditional(
                back_to(call, machine, "snapshot_name", &self.name),
                "Until the safety snapshot exists it has no reference: the answer of the call names it by its own",
            ),
        }
    }
}

fn back_to(call: &Call<'_>, machine: &Machine, by: &str, value: &str) -> Map<String, Value> {
    let mut arguments = machine.arguments(call, "snapshot_revert");
    arguments.insert(by.to_owned(), json!(value));
    arguments
}

fn back(call: &Call<'_>, machine: &Machine, by: &str, value: &str) -> Undo {
    Undo::lossy(
        back_to(call, machine, by, value),
        "What is done after the revert is lost; the safety snapshot stays until it is deleted",
    )
}

struct Revert {
    machine: Machine,
    snapshot: MoRef,
    safety: Option<Safety>,
}

impl Revert {
    /// Takes the safety snapshot, unless an earlier attempt did.
    async fn make_safe(&self, call: &Call<'_>) -> Result<Option<String>, Failure> {
        let Some(safety) = &self.safety else {
            return Ok(None);
        };
        if let Some(id) = &safety.found {
            return Ok(Some(id.clone()));
        }
        let wanted = take::Wanted {
            name: &safety.name,
            words: "",
            memory: safety.memory,
            quiesce: false,
        };
        let (id, _) = take::take(call, &self.machine, &wanted).await?;
        Ok(Some(id))
    }
}

impl Deed for Revert {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let vm = &self.machine.reference;
        let safe = self.make_safe(call).await?;
        let start = call.session.revert_to_snapshot(&self.snapshot, false);
        let ended = change::through_task(call, "RevertToSnapshot_Task", vm, start).await;
        let ended = ended.map_err(|failure| match &safe {
            None => failure,
            Some(id) => {
                let nothing_else = failure.effect() == ErrorEffect::None;
                let failure = failure.with("safety_snapshot", id.as_str());
                if nothing_else {
                    failure.leaving(ErrorEffect::Partial)
                } else {
                    failure
                }
            }
        });
        let (ended, task) = ended?;
        if matches!(ended, Ended::Forgotten) {
            // Being at the snapshot does not tell whether the machine was put back to it.
            return Err(change::forgotten("RevertToSnapshot_Task", &task));
        }
        let paths = ["runtime.powerState", "snapshot"];
        let after = look(call.session, vm, &paths).await.map(|object| {
            let power =
                guard::text::sanitize(object.text("runtime.powerState").unwrap_or("unknown"));
            Map::from_iter([
                ("power_state".to_owned(), json!(power)),
                (
                    "current_snapshot".to_owned(),
                    json!(Tree::of(&object).current),
                ),
            ])
        });
        let mut done = Done {
            after,
            task: Some(task),
            ..Done::default()
        };
        if let (Some(id), Some(safety)) = (safe, &self.safety) {
            done.undo = Some(back(call, &self.machine, "snapshot_id", &id));
            let shown = json!({
                "name": safety.name, "memory": safety.memory, "snapshot_id": id,
            });
            done.extra.insert("safety_snapshot".to_owned(), shown);
        }
        Ok(done)
    }
}
