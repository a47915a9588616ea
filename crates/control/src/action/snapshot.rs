//! snapshot_list, snapshot_create, snapshot_revert, snapshot_delete.

use serde_json::{Map, Value, json};
use vsphere::MoRef;

use super::tree::{MARK, SNAPSHOT, Tree, mark};
use crate::argument::Arguments;
use crate::call::Call;
use crate::change::{self, Deed, Done, Ended, Plan, Undo, Verify};
use crate::failure::Failure;
use crate::listing::Listing;
use crate::machine::{Machine, look, reread};
use policy::answer::ErrorEffect;

/// How many snapshots a change lists that go with it.
const SHOWN: usize = 100;

/// An action on one snapshot must say which.
pub(crate) fn check(arguments: &Arguments) -> Result<(), Failure> {
    let named = ["snapshot_name", "snapshot_id", "snapshot_key"]
        .iter()
        .any(|name| arguments.text(name).is_some());
    if named {
        return Ok(());
    }
    Err(Failure::new(
        "snapshot.missing_identifier",
        "Pass `snapshot_name`, or the `snapshot_id` that `snapshot_list` shows: without one it is not clear which snapshot is meant",
    ))
}

/// A description that bears a key of its own would be found as what was made under that key.
pub(crate) fn check_description(arguments: &Arguments) -> Result<(), Failure> {
    let bears_a_key = |text: &str| text.contains(MARK);
    if !arguments.text("description").is_some_and(bears_a_key) {
        return Ok(());
    }
    Err(Failure::new(
        "argument.out_of_range",
        format!("Leave `{MARK}` out of `description`: it marks the snapshots that were taken under a key"),
    )
    .with("argument", "description"))
}

/// The snapshots of a machine.
pub(crate) async fn list(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let machine = Machine::find(call, &["snapshot"]).await?;
    let tree = Tree::of(&machine.object);
    let matching = tree.matching(call.arguments);
    let shown: Vec<usize> = match &matching {
        Some(matching) => matching.clone(),
        None => (0..tree.all.len()).collect(),
    };
    // Sorted as the tree is: parents before their children.
    let keys = shown
        .iter()
        .map(|at| (format!("{at:06}"), tree.all[*at].id.clone()))
        .collect();
    let listing = Listing::new(call, "snapshots", keys)?;
    let mut answer = listing.answer(|id| tree.place_of(id).map(|at| tree.row(at)));
    answer.insert("target".to_owned(), machine.target(&call.server));
    answer.insert("current_snapshot".to_owned(), json!(tree.current));
    if let Some(matching) = matching {
        answer.insert("matching".to_owned(), json!(matching.len()));
    }
    Ok(answer)
}

/// Takes a snapshot; under a key that was used before, finds the one that was taken then.
pub(crate) async fn create(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let machine = Machine::find(call, &["snapshot"]).await?;
    let tree = Tree::of(&machine.object);
    let name = call
        .arguments
        .text("snapshot_name")
        .unwrap_or_default()
        .to_owned();
    let found = call
        .key
        .and_then(|key| tree.under_key(key))
        .map(|snapshot| snapshot.id.clone());
    // What was before the deed, also when it is looked at a second time.
    let count = tree.all.len() - usize::from(found.is_some());
    let mut warnings = machine.warnings();
    if machine.flag("runtime.consolidationNeeded") {
        warnings.push("Its disks need consolidation first".to_owned());
    }
    if found.is_some() {
        warnings
            .push("It was taken before under this key: it is found, not taken twice".to_owned());
    } else if tree.all.iter().any(|snapshot| snapshot.name == name) {
        warnings.push(
            "Another snapshot bears the same name: name it by `snapshot_id` later".to_owned(),
        );
    }
    let memory = call.arguments.flag("memory");
    let quiesce = call.arguments.flag("quiesce");
    if memory && quiesce {
        warnings.push("`quiesce` has no effect together with `memory`".to_owned());
    }
    let undo = match (call.key, &found) {
        (_, Some(id)) => Undo::exact(deletion(call, &machine, "snapshot_id", id)),
        (Some(key), None) => Undo::exact(deletion(call, &machine, "snapshot_key", key)),
        (None, None) => Undo::conditional(
            deletion(call, &machine, "snapshot_name", &name),
            "Until it exists it has no reference: the answer of the call names it by its own",
        ),
    };
    let verify = call.key.map(|key| Verify {
        arguments: looked_up(call, &machine, "snapshot_key", key),
        before: matching(0),
        after: matching(1),
    });
    let mut after = counted(count + 1);
    after.insert("snapshot_name".to_owned(), json!(name));
    let plan = Plan {
        target: machine.target(&call.server),
        changed: true,
        before: counted(count),
        after,
        undo,
        verify,
        warnings,
        refusal: if found.is_some() {
            None
        } else {
            machine.unfit()
        },
        extra: Map::new(),
    };
    let deed = Create {
        name,
        found,
        memory,
        quiesce,
        machine,
    };
    change::carry_out(call, plan, deed).await
}

fn counted(snapshots: usize) -> Map<String, Value> {
    Map::from_iter([("snapshots".to_owned(), json!(snapshots))])
}

fn matching(count: usize) -> Map<String, Value> {
    Map::from_iter([("/matching".to_owned(), json!(count))])
}

fn deletion(call: &Call<'_>, machine: &Machine, by: &str, value: &str) -> Map<String, Value> {
    let mut arguments = machine.arguments(call, "snapshot_delete");
    arguments.insert(by.to_owned(), json!(value));
    arguments
}

fn looked_up(call: &Call<'_>, machine: &Machine, by: &str, value: &str) -> Map<String, Value> {
    let mut arguments = machine.arguments(call, "snapshot_list");
    arguments.insert(by.to_owned(), json!(value));
    arguments
}

struct Create {
    name: String,
    found: Option<String>,
    memory: bool,
    quiesce: bool,
    machine: Machine,
}

impl Create {
    fn done(&self, call: &Call<'_>, id: &str, task: Option<String>) -> Done {
        let id = guard::text::sanitize_to(id, 80);
        let mut extra = Map::new();
        extra.insert("snapshot".to_owned(), json!(id));
        if self.found.is_some() {
            extra.insert("found_under_key".to_owned(), json!(true));
        }
        let undo = Undo::exact(deletion(call, &self.machine, "snapshot_id", &id));
        Done {
            task,
            undo: Some(undo),
            extra,
            ..Done::default()
        }
    }

    /// What the description says: the caller's words, then the key.
    fn description(&self, call: &Call<'_>) -> String {
        let words = call.arguments.text("description").unwrap_or_default();
        match call.key {
            None => words.to_owned(),
            Some(key) if words.is_empty() => mark(key),
            Some(key) => format!("{words} {}", mark(key)),
        }
    }
}

impl Deed for Create {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        if let Some(id) = &self.found {
            return Ok(self.done(call, id, None));
        }
        let vm = &self.machine.reference;
        let description = self.description(call);
        let start =
            call.session
                .create_snapshot(vm, &self.name, &description, self.memory, self.quiesce);
        let ended = change::through_task(call, "CreateSnapshot_Task", vm, start).await;
        let (ended, task) = match ended {
            Ok(ended) => ended,
            Err(failure) => return Err(self.left_behind(call, failure).await),
        };
        let id = match ended {
            Ended::Success(result) => result
                .and_then(|value| value.as_moref())
                .map(|moref| moref.id),
            Ended::Forgotten => None,
        };
        // Without a reference in the answer, the key finds it.
        let id = match (id, call.key) {
            (Some(id), _) => Some(id),
            (None, Some(key)) => tree_now(call, vm)
                .await?
                .under_key(key)
                .map(|snapshot| snapshot.id.clone()),
            (None, None) => None,
        };
        match id {
            Some(id) => Ok(self.done(call, &id, Some(task))),
            None => Err(change::forgotten("CreateSnapshot_Task", &task)),
        }
    }
}

impl Create {
    /// A failed task may have left a snapshot all the same.
    async fn left_behind(&self, call: &Call<'_>, failure: Failure) -> Failure {
        let (ErrorEffect::None, Some(key)) = (failure.effect(), call.key) else {
            return failure;
        };
        match tree_now(call, &self.machine.reference).await {
            Ok(tree) => match tree.under_key(key) {
                Some(snapshot) => failure
                    .leaving(ErrorEffect::Partial)
                    .with("snapshot", snapshot.id.as_str()),
                None => failure,
            },
            // The server refused or failed it; that nothing can be read now does not make it so.
            Err(_) => failure,
        }
    }
}

async fn tree_now(call: &Call<'_>, vm: &MoRef) -> Result<Tree, Failure> {
    let object = reread(call.session, vm, &["snapshot"])
        .await
        .map_err(|failure| call.sent.mark(failure))?;
    Ok(object.as_ref().map(Tree::of).unwrap_or_default())
}

/// Puts a machine back to a snapshot.
pub(crate) async fn revert(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let machine = Machine::find(call, &["snapshot"]).await?;
    let tree = Tree::of(&machine.object);
    let Some(at) = tree.choose(call.arguments)? else {
        return Err(tree.not_found(call.arguments));
    };
    let snapshot = &tree.all[at];
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
    warnings.push(
        "Everything that was done since the snapshot was taken is lost: disks, settings, memory"
            .to_owned(),
    );
    let pointed = |id: Option<&str>| Map::from_iter([("/current_snapshot".to_owned(), json!(id))]);
    let plan = Plan {
        target: machine.target(&call.server),
        changed: true,
        before,
        after,
        undo: Undo::none(
            "What came after the snapshot is gone; take a snapshot first to be able to come back",
        ),
        verify: Some(Verify {
            arguments: machine.arguments(call, "snapshot_list"),
            before: pointed(tree.current.as_deref()),
            after: pointed(Some(&snapshot.id)),
        }),
        warnings,
        refusal: machine.unfit(),
        extra: Map::from_iter([("snapshot".to_owned(), tree.row(at))]),
    };
    let deed = Revert {
        machine: machine.reference.clone(),
        snapshot: snapshot.reference(),
    };
    change::carry_out(call, plan, deed).await
}

struct Revert {
    machine: MoRef,
    snapshot: MoRef,
}

impl Deed for Revert {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let start = call.session.revert_to_snapshot(&self.snapshot, false);
        let (ended, task) =
            change::through_task(call, "RevertToSnapshot_Task", &self.machine, start).await?;
        if matches!(ended, Ended::Forgotten) {
            // Being at the snapshot does not tell whether the machine was put back to it.
            return Err(change::forgotten("RevertToSnapshot_Task", &task));
        }
        let paths = ["runtime.powerState", "snapshot"];
        let now = look(call.session, &self.machine, &paths).await;
        let after = now.map(|object| {
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
        Ok(Done {
            after,
            task: Some(task),
            ..Done::default()
        })
    }
}

/// Deletes a snapshot, with `remove_children` everything below it.
pub(crate) async fn delete(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let machine = Machine::find(call, &["snapshot"]).await?;
    let tree = Tree::of(&machine.object);
    let children = call.arguments.flag("remove_children");
    let chosen = tree.choose(call.arguments)?;
    let going = match chosen {
        Some(at) if children => tree.subtree(at),
        Some(at) => vec![at],
        None => Vec::new(),
    };
    let count = tree.all.len();
    let mut warnings = machine.warnings();
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
        target: machine.target(&call.server),
        changed: chosen.is_some(),
        before: counted(count),
        after: counted(count - going.len()),
        undo: Undo::none(
            "A deleted snapshot cannot be brought back; the VM itself keeps its present state",
        ),
        verify,
        warnings,
        refusal: machine.unfit(),
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
