//! rename and move_to_folder: where a VM stands in the inventory.

use serde_json::{Map, Value, json};
use vsphere::{MoRef, Object};

use crate::argument::Arguments;
use crate::call::Call;
use crate::change::{self, Deed, Done, Ended, Plan, Undo, Verify};
use crate::failure::Failure;
use crate::machine::{Machine, decoded, look, shown_name};
use crate::{destination, expect, name};

/// What rename checks of its arguments.
pub(crate) fn check_rename(arguments: &Arguments) -> Result<(), Failure> {
    name::check(arguments, "new_name")?;
    expect::check(arguments, &["name"])
}

/// What move_to_folder checks of its arguments.
pub(crate) fn check_move(arguments: &Arguments) -> Result<(), Failure> {
    expect::check(arguments, &["folder"])
}

fn one(name: &str, value: &str) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), json!(value))])
}

/// Gives a machine another name.
pub(crate) async fn rename(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let machine = Machine::find(call, &[]).await?;
    let wanted = call.arguments.text("new_name").unwrap_or_default();
    let (now, then) = (machine.name(), shown_name(wanted));
    let raw = machine.object.text("name").unwrap_or_default();
    let changed = decoded(raw) != decoded(wanted);
    let target = machine.target(&call.server);
    let mut refusal = machine.unfit();
    if changed {
        if let Some(folder) = destination::parent(&machine.object)
            && let Some(taken) =
                name::taken(call, &folder, wanted, Some(&machine.reference)).await?
        {
            refusal = Some(taken);
        }
        let found = one("name", &now);
        refusal = expect::moved(call.arguments, &found, &target).or(refusal);
    }
    let mut undo = machine.arguments(call, "rename");
    undo.insert("new_name".to_owned(), json!(now));
    undo.insert("expect".to_owned(), Value::Object(one("name", &then)));
    let plan = Plan {
        target,
        changed,
        before: one("name", &now),
        after: one("name", &then),
        undo: if now == decoded(raw) {
            Undo::exact(undo)
        } else {
            Undo::lossy(
                undo,
                "Characters of the old name that cannot be shown are lost",
            )
        },
        verify: Some(Verify {
            arguments: machine.arguments(call, "get_vm"),
            before: one("/vm/name", &now),
            after: one("/vm/name", &then),
        }),
        warnings: machine.warnings(),
        refusal,
        extra: Map::new(),
    };
    let deed = Rename {
        machine: machine.reference,
        name: wanted.to_owned(),
    };
    change::carry_out(call, plan, deed).await
}

struct Rename {
    machine: MoRef,
    name: String,
}

impl Deed for Rename {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let vm = &self.machine;
        let sent = name::sent(&self.name);
        let start = call.session.rename(vm, &sent);
        let (ended, task) = change::through_task(call, "Rename_Task", vm, start).await?;
        let now = look(call.session, vm, &["name"]).await;
        let raw = now.as_ref().and_then(|now| now.text("name"));
        if matches!(ended, Ended::Forgotten) && raw.map(decoded) != Some(decoded(&self.name)) {
            return Err(change::forgotten("Rename_Task", &task));
        }
        Ok(Done {
            after: raw.map(|raw| one("name", &shown_name(raw))),
            task: Some(task),
            ..Done::default()
        })
    }
}

/// Moves a machine into another folder.
pub(crate) async fn move_to_folder(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let machine = Machine::find(call, &[]).await?;
    // The table says that it is required.
    let Some(folder) = destination::folder(call).await? else {
        return Err(Failure::new("argument.missing", "Pass `folder`").with("argument", "folder"));
    };
    let target = machine.target(&call.server);
    let raw = machine.object.text("name").unwrap_or_default();
    let present = destination::parent(&machine.object);
    let changed = present.as_ref() != Some(&folder.reference);
    let mut refusal = machine.unfit();
    if changed {
        refusal = name::taken(call, &folder.reference, raw, Some(&machine.reference))
            .await?
            .or(refusal);
        let found = present.as_ref().map(|folder| folder.id.as_str());
        let found = Map::from_iter([("folder".to_owned(), json!(found))]);
        refusal = expect::moved(call.arguments, &found, &target).or(refusal);
    }
    let undo = match &present {
        Some(present) => {
            let mut undo = machine.arguments(call, "move_to_folder");
            undo.insert("folder".to_owned(), json!(present.id));
            undo.insert(
                "expect".to_owned(),
                Value::Object(one("folder", &folder.moref())),
            );
            Undo::exact(undo)
        }
        None => Undo::none("It lay in no folder that can be seen, as a VM of a vApp does"),
    };
    let then = destination::path_in(&folder, raw);
    let plan = Plan {
        target,
        changed,
        before: one("path", &machine.path),
        after: one("path", &then),
        undo,
        verify: Some(Verify {
            arguments: machine.arguments(call, "get_vm"),
            before: one("/vm/path", &machine.path),
            after: one("/vm/path", &then),
        }),
        warnings: machine.warnings(),
        refusal,
        extra: Map::new(),
    };
    let deed = Move {
        machine: machine.reference,
        folder: folder.reference,
    };
    change::carry_out(call, plan, deed).await
}

struct Move {
    machine: MoRef,
    folder: MoRef,
}

impl Deed for Move {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let vm = &self.machine;
        let start = call.session.move_into_folder(&self.folder, vm);
        let (ended, task) = change::through_task(call, "MoveIntoFolder_Task", vm, start).await?;
        if matches!(ended, Ended::Forgotten) {
            let now: Option<Object> = look(call.session, vm, &["parent"]).await;
            if now.as_ref().and_then(destination::parent).as_ref() != Some(&self.folder) {
                return Err(change::forgotten("MoveIntoFolder_Task", &task));
            }
        }
        Ok(Done {
            task: Some(task),
            ..Done::default()
        })
    }
}
