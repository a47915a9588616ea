//! Taking snapshots away: one, all, and what a removal left behind.

use serde_json::{Map, Value, json};
use vsphere::MoRef;

use super::super::tree::{SNAPSHOT, Tree};
use super::{SHOWN, counted, expected, looked_up, matching, prepared, targeted, tree_now};
use crate::call::Call;
use crate::change::{self, Deed, Done, Ended, Plan, Undo, Verify};
use crate::failure::Failure;
use crate::harm::{self, Level};
use crate::machine::{Machine, look};
use policy::answer::ErrorEffect;

/// Deletes a snapshot, with `remove_children` everything below it.
pub(crate) async fn delete(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let machine = Machine::find(call, &["snapshot"]).await?;
    let tree = Tree::of(&machine.object);
    let children = call.arguments.flag("remove_children");
    let chosen = match prepared(call) {
        // What was prepared decides, also when a name has come to mean another one, or none.
        Some(id) if call.is_repeated => tree.place_of(id),
        _ => tree.choose(call.arguments)?,
    };
    if !call.is_repeated {
        expected(call, &machine, chosen.map(|at| &tree.all[at]))?;
    }
    let harm = harm::check(call, &machine, Level::Files).await?;
    let going = match chosen {
        Some(at) if children => tree.subtree(at),
        Some(at) => vec![at],
        None => Vec::new(),
    };
    let count = tree.all.len();
    let mut warnings = machine.warnings();
    warnings.extend(harm.warnings(call));
    let mut extra = Map::new();
    if let Some(at) = chosen {
        extra.insert(
            "deletes".to_owned(),
            going.iter().take(SHOWN).map(|at| tree.row(*at)).collect(),
        );
        extra.insert("deletes_total".to_owned(), json!(going.len()));
        let below = tree.subtree(at).len() - 1;
        if below > 0 && !children {
            warnings.push(format!(
                "{below} snapshots below it stay, and keep its changes"
            ));
        }
        if machine.flag("runtime.consolidationNeeded") {
            warnings.push("Its disks need consolidation".to_owned());
        }
    }
    let id = chosen.map(|at| tree.all[at].id.clone());
    let verify = id.as_deref().map(|id| Verify {
        arguments: looked_up(call, &machine, "snapshot_id", id),
        before: matching(1),
        after: matching(0),
    });
    let plan = Plan {
        target: targeted(&machine, call, chosen.map(|at| &tree.all[at])),
        changed: chosen.is_some(),
        before: counted(count),
        after: counted(count - going.len()),
        undo: Undo::none(
            "A deleted snapshot cannot be brought back; the VM itself keeps its present state",
        ),
        verify,
        warnings,
        refusal: machine.unfit().or_else(|| harm.refusal(call)),
        extra,
    };
    let snapshot = MoRef::new(SNAPSHOT, id.unwrap_or_default());
    change::carry_out(
        call,
        plan,
        Delete {
            machine: machine.reference,
            snapshot,
            children,
        },
    )
    .await
}

struct Delete {
    machine: MoRef,
    snapshot: MoRef,
    children: bool,
}

impl Delete {
    /// Whether the server says soon that the snapshot is gone, of a machine that is there.
    async fn is_seen_gone(&self, call: &Call<'_>) -> bool {
        let now = look(call.session, &self.machine, &["name", "snapshot"]).await;
        now.is_some_and(|object| object.get("name").is_some() && !self.is_in(&Tree::of(&object)))
    }

    fn is_in(&self, tree: &Tree) -> bool {
        tree.all
            .iter()
            .any(|snapshot| snapshot.id == self.snapshot.id)
    }
}

impl Deed for Delete {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let start = call.session.remove_snapshot(&self.snapshot, self.children);
        match change::through_task(call, "RemoveSnapshot_Task", &self.machine, start).await {
            Ok((Ended::Success(_), task)) => {
                let now = look(call.session, &self.machine, &["snapshot"]).await;
                let after = now.map(|object| counted(Tree::of(&object).all.len()));
                Ok(Done {
                    after,
                    task: Some(task),
                    ..Done::default()
                })
            }
            Ok((Ended::Forgotten, task)) => {
                let tree = tree_now(call, &self.machine).await?;
                if self.is_in(&tree) {
                    return Err(change::forgotten("RemoveSnapshot_Task", &task));
                }
                Ok(Done {
                    after: Some(counted(tree.all.len())),
                    task: Some(task),
                    ..Done::default()
                })
            }
            // Its absence is what was asked for, also where nobody heard of it.
            Err(failure)
                if failure.code() == "connection.lost" && self.is_seen_gone(call).await =>
            {
                Ok(Done::default())
            }
            // The snapshot goes first, then the disks are consolidated: the second can fail alone.
            Err(failure) if failure.effect() == ErrorEffect::None => {
                match tree_now(call, &self.machine).await {
                    Ok(tree) if self.is_in(&tree) => Err(failure),
                    Ok(_) => Err(failure.leaving(ErrorEffect::Partial)),
                    Err(_) => Err(failure.leaving(ErrorEffect::Unknown)),
                }
            }
            Err(failure) => Err(failure),
        }
    }
}

/// Deletes all snapshots of a machine.
pub(crate) async fn delete_all(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let machine = Machine::find(call, &["snapshot"]).await?;
    let tree = Tree::of(&machine.object);
    let harm = harm::check(call, &machine, Level::Files).await?;
    let count = tree.all.len();
    let mut warnings = machine.warnings();
    warnings.extend(harm.warnings(call));
    if count > 0 {
        warnings
            .push("Merging large disks takes hours, and slows the VM down meanwhile".to_owned());
    }
    let deletes = (0..count.min(SHOWN)).map(|at| tree.row(at)).collect();
    let total = |count: usize| Map::from_iter([("/total".to_owned(), json!(count))]);
    let plan = Plan {
        target: machine.target(&call.server),
        changed: count > 0,
        before: counted(count),
        after: counted(0),
        undo: Undo::none(
            "Deleted snapshots cannot be brought back; the VM itself keeps its present state",
        ),
        verify: Some(Verify {
            arguments: machine.arguments(call, "snapshot_list"),
            before: total(count),
            after: total(0),
        }),
        warnings,
        refusal: machine.unfit().or_else(|| harm.refusal(call)),
        extra: Map::from_iter([
            ("deletes".to_owned(), Value::Array(deletes)),
            ("deletes_total".to_owned(), json!(count)),
        ]),
    };
    let deed = DeleteAll {
        machine: machine.reference,
        count,
    };
    change::carry_out(call, plan, deed).await
}

struct DeleteAll {
    machine: MoRef,
    /// How many there were.
    count: usize,
}

impl Deed for DeleteAll {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        const METHOD: &str = "RemoveAllSnapshots_Task";
        let start = call.session.remove_all_snapshots(&self.machine);
        match change::through_task(call, METHOD, &self.machine, start).await {
            Ok((ended, task)) => {
                let now = look(call.session, &self.machine, &["snapshot"]).await;
                let left = now.map(|object| Tree::of(&object).all.len());
                if matches!(ended, Ended::Forgotten) && left != Some(0) {
                    return Err(change::forgotten(METHOD, &task));
                }
                Ok(Done {
                    after: left.map(counted),
                    task: Some(task),
                    ..Done::default()
                })
            }
            Err(failure) if failure.code() == "connection.lost" => {
                let now = look(call.session, &self.machine, &["name", "snapshot"]).await;
                let gone = now.is_some_and(|object| {
                    object.get("name").is_some() && Tree::of(&object).all.is_empty()
                });
                if gone {
                    Ok(Done::default())
                } else {
                    Err(failure)
                }
            }
            // One goes after the other: those before the one that failed are gone.
            Err(failure) if failure.effect() == ErrorEffect::None => {
                match tree_now(call, &self.machine).await {
                    Ok(tree) if tree.all.len() == self.count => Err(failure),
                    Ok(tree) => Err(failure
                        .leaving(ErrorEffect::Partial)
                        .with("snapshots", tree.all.len())),
                    Err(_) => Err(failure.leaving(ErrorEffect::Unknown)),
                }
            }
            Err(failure) => Err(failure),
        }
    }
}

const NEEDED: &str = "runtime.consolidationNeeded";

/// Merges the disks that a removed snapshot left behind.
pub(crate) async fn consolidate(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let machine = Machine::find(call, &[]).await?;
    let harm = harm::check(call, &machine, Level::Files).await?;
    let needed = |is: bool| Map::from_iter([("consolidation_needed".to_owned(), json!(is))]);
    let pointed = |is: bool| Map::from_iter([("/vm/consolidation_needed".to_owned(), json!(is))]);
    let mut warnings = machine.warnings();
    warnings.extend(harm.warnings(call));
    let plan = Plan {
        target: machine.target(&call.server),
        changed: machine.flag(NEEDED),
        before: needed(machine.flag(NEEDED)),
        after: needed(false),
        undo: Undo::none("Merged disks cannot be parted again; nothing in them is changed"),
        verify: Some(Verify {
            arguments: machine.arguments(call, "get_vm"),
            before: pointed(true),
            after: pointed(false),
        }),
        warnings,
        refusal: machine.unfit().or_else(|| harm.refusal(call)),
        extra: Map::new(),
    };
    let deed = Consolidate {
        machine: machine.reference,
    };
    change::carry_out(call, plan, deed).await
}

struct Consolidate {
    machine: MoRef,
}

impl Deed for Consolidate {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        const METHOD: &str = "ConsolidateVMDisks_Task";
        let start = call.session.consolidate_disks(&self.machine);
        let (ended, task) = change::through_task(call, METHOD, &self.machine, start).await?;
        let now = look(call.session, &self.machine, &[NEEDED]).await;
        let still = now.map(|object| {
            let flag = object.get(NEEDED).and_then(vsphere::Value::as_bool);
            flag.unwrap_or(false)
        });
        if matches!(ended, Ended::Forgotten) && still != Some(false) {
            return Err(change::forgotten(METHOD, &task));
        }
        Ok(Done {
            after: still
                .map(|still| Map::from_iter([("consolidation_needed".to_owned(), json!(still))])),
            task: Some(task),
            ..Done::default()
        })
    }
}
