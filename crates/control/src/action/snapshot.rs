//! snapshot_list, snapshot_create, snapshot_revert, snapshot_delete, snapshot_delete_all,
//! consolidate_disks.

mod remove;
mod revert;
mod take;

use serde_json::{Map, Value, json};
use vsphere::MoRef;

use super::disk::DEVICES;
use super::tree::{MARK, Snapshot, Tree};
use super::{moment, old};
use crate::argument::Arguments;
use crate::call::Call;
use crate::change::{self, Deed, Done, Plan, Undo, Verify};
use crate::failure::Failure;
use crate::harm::{self, Level};
use crate::listing::Listing;
use crate::machine::{Machine, reread};

pub(crate) use remove::{consolidate, delete, delete_all};
pub(crate) use revert::revert;

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
    let machine = Machine::find(call, &["snapshot", old::LAYOUT]).await?;
    let tree = Tree::of(&machine.object);
    let sizes = old::sizes(&tree, machine.object.get(old::LAYOUT));
    let now = moment::now(call).await?;
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
    let mut answer = listing.answer(|id| {
        tree.place_of(id)
            .map(|at| old::aged(&tree, at, now, &sizes))
    });
    answer.insert("target".to_owned(), machine.target(&call.server));
    answer.insert("current_snapshot".to_owned(), json!(tree.current));
    if let Some(matching) = matching {
        answer.insert("matching".to_owned(), json!(matching.len()));
    }
    Ok(answer)
}

/// Takes a snapshot; under a key that was used before, finds the one that was taken then.
pub(crate) async fn create(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let more = ["snapshot", DEVICES, "guest.toolsRunningStatus"];
    let machine = Machine::find(call, &more).await?;
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
    let harm = harm::check(call, &machine, Level::State).await?;
    let harm = harm.and_consolidation(&machine);
    let mut warnings = machine.warnings();
    warnings.extend(harm.warnings(call));
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
    warnings.extend(take::notes(&machine, memory, quiesce));
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
            machine
                .unfit()
                .or_else(|| take::unsupported(&machine))
                .or_else(|| harm.refusal(call))
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
}

impl Deed for Create {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        if let Some(id) = &self.found {
            return Ok(self.done(call, id, None));
        }
        let (id, task) = take::take(
            call,
            &self.machine,
            &take::Wanted {
                name: &self.name,
                words: call.arguments.text("description").unwrap_or_default(),
                memory: self.memory,
                quiesce: self.quiesce,
            },
        )
        .await?;
        Ok(self.done(call, &id, Some(task)))
    }
}

/// The target of a change of one snapshot: the machine, and which snapshot.
fn targeted(machine: &Machine, call: &Call<'_>, snapshot: Option<&Snapshot>) -> Value {
    let mut target = machine.target(&call.server);
    // One that is gone is still the one that was prepared.
    let gone = prepared(call).filter(|_| call.is_repeated);
    if let Some(id) = snapshot.map(|snapshot| snapshot.id.as_str()).or(gone) {
        target["snapshot"] = json!(id);
    }
    target
}

/// The snapshot that was prepared.
fn prepared<'a>(call: &'a Call<'_>) -> Option<&'a str> {
    call.expected_target?.get("snapshot")?.as_str()
}

/// Refuses another snapshot than the one that was prepared: names can come to mean another one.
fn expected(
    call: &Call<'_>,
    machine: &Machine,
    snapshot: Option<&Snapshot>,
) -> Result<(), Failure> {
    match (prepared(call), snapshot) {
        (Some(id), Some(snapshot)) if id != snapshot.id => Err(Failure::new(
            "target.changed",
            "Prepare the call again and look at its target: it is not the snapshot that was meant before",
        )
        .with("expected", id)
        .with("found", targeted(machine, call, Some(snapshot)))),
        _ => Ok(()),
    }
}

async fn tree_now(call: &Call<'_>, vm: &MoRef) -> Result<Tree, Failure> {
    let object = reread(call.session, vm, &["snapshot"])
        .await
        .map_err(|failure| call.sent.mark(failure))?;
    Ok(object.as_ref().map(Tree::of).unwrap_or_default())
}
