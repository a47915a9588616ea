//! check_access: what this account may do on an object, action by action.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::entity;
use crate::argument::Arguments;
use crate::call::Call;
use crate::failure::{Failure, nearest};
use crate::fault;
use crate::table::{Platform, actions};

/// What an action needs (the privileges of vSphere 6.5 to 9).
struct Need {
    action: &'static str,
    /// The type of the object that it works on.
    on: &'static str,
    /// On that object.
    privileges: &'static [&'static str],
    /// On other objects that come with it: the host, pool, folder, datastore or network.
    elsewhere: &'static [&'static str],
}

const fn need(
    action: &'static str,
    on: &'static str,
    privileges: &'static [&'static str],
    elsewhere: &'static [&'static str],
) -> Need {
    Need {
        action,
        on,
        privileges,
        elsewhere,
    }
}

const VM: &str = "VirtualMachine";
const HOST: &str = "HostSystem";
const FOLDER: &str = "Folder";
const DATASTORE: &str = "Datastore";
const ANY: &str = "";

/// Every action that needs more than to see the object.
const NEEDS: &[Need] = &[
    need("power_on", VM, &["VirtualMachine.Interact.PowerOn"], &[]),
    need("power_off", VM, &["VirtualMachine.Interact.PowerOff"], &[]),
    need(
        "shutdown_guest",
        VM,
        &["VirtualMachine.Interact.PowerOff"],
        &[],
    ),
    need(
        "standby_guest",
        VM,
        &["VirtualMachine.Interact.Suspend"],
        &[],
    ),
    need("reboot_guest", VM, &["VirtualMachine.Interact.Reset"], &[]),
    need("reset", VM, &["VirtualMachine.Interact.Reset"], &[]),
    need("suspend", VM, &["VirtualMachine.Interact.Suspend"], &[]),
    need(
        "snapshot_create",
        VM,
        &["VirtualMachine.State.CreateSnapshot"],
        &[],
    ),
    need(
        "snapshot_revert",
        VM,
        &["VirtualMachine.State.RevertToSnapshot"],
        &[],
    ),
    need(
        "snapshot_delete",
        VM,
        &["VirtualMachine.State.RemoveSnapshot"],
        &[],
    ),
    need(
        "snapshot_delete_all",
        VM,
        &["VirtualMachine.State.RemoveSnapshot"],
        &[],
    ),
    need(
        "consolidate_disks",
        VM,
        &["VirtualMachine.State.RemoveSnapshot"],
        &[],
    ),
    need(
        "answer_question",
        VM,
        &["VirtualMachine.Interact.AnswerQuestion"],
        &[],
    ),
    need(
        "reconfigure",
        VM,
        &[
            "VirtualMachine.Config.CPUCount",
            "VirtualMachine.Config.Memory",
            "VirtualMachine.Config.Annotation",
        ],
        &[],
    ),
    need("rename", VM, &["VirtualMachine.Config.Rename"], &[]),
    need(
        "move_to_folder",
        VM,
        &["VirtualMachine.Inventory.Move"],
        &[],
    ),
    need(
        "add_disk",
        VM,
        &["VirtualMachine.Config.AddNewDisk"],
        &["Datastore.AllocateSpace"],
    ),
    need(
        "remove_disk",
        VM,
        &["VirtualMachine.Config.RemoveDisk"],
        &[],
    ),
    need("grow_disk", VM, &["VirtualMachine.Config.DiskExtend"], &[]),
    need(
        "add_nic",
        VM,
        &["VirtualMachine.Config.AddRemoveDevice"],
        &["Network.Assign"],
    ),
    need(
        "remove_nic",
        VM,
        &["VirtualMachine.Config.AddRemoveDevice"],
        &[],
    ),
    need(
        "connect_nic",
        VM,
        &[
            "VirtualMachine.Config.EditDevice",
            "VirtualMachine.Interact.DeviceConnection",
        ],
        &[],
    ),
    need(
        "mount_iso",
        VM,
        &[
            "VirtualMachine.Interact.SetCDMedia",
            "VirtualMachine.Interact.DeviceConnection",
        ],
        &["Datastore.Browse"],
    ),
    need(
        "eject_iso",
        VM,
        &[
            "VirtualMachine.Interact.SetCDMedia",
            "VirtualMachine.Interact.DeviceConnection",
        ],
        &[],
    ),
    need(
        "migrate",
        VM,
        &["Resource.HotMigrate", "Resource.ColdMigrate"],
        &["Resource.AssignVMToPool", "Datastore.AllocateSpace"],
    ),
    need(
        "clone",
        VM,
        &["VirtualMachine.Provisioning.Clone"],
        &[
            "VirtualMachine.Inventory.CreateFromExisting",
            "Resource.AssignVMToPool",
            "Datastore.AllocateSpace",
            "Network.Assign",
        ],
    ),
    need(
        "deploy_template",
        VM,
        &["VirtualMachine.Provisioning.DeployTemplate"],
        &[
            "VirtualMachine.Inventory.CreateFromExisting",
            "Resource.AssignVMToPool",
            "Datastore.AllocateSpace",
            "Network.Assign",
        ],
    ),
    need(
        "mark_template",
        VM,
        &["VirtualMachine.Provisioning.MarkAsTemplate"],
        &[],
    ),
    need(
        "mark_vm",
        VM,
        &["VirtualMachine.Provisioning.MarkAsVM"],
        &["Resource.AssignVMToPool"],
    ),
    need("delete", VM, &["VirtualMachine.Inventory.Delete"], &[]),
    need(
        "unregister",
        VM,
        &["VirtualMachine.Inventory.Unregister"],
        &[],
    ),
    need(
        "guest_run",
        VM,
        &[
            "VirtualMachine.GuestOperations.Execute",
            "VirtualMachine.GuestOperations.Query",
        ],
        &[],
    ),
    need(
        "guest_list_processes",
        VM,
        &["VirtualMachine.GuestOperations.Query"],
        &[],
    ),
    need(
        "register",
        FOLDER,
        &["VirtualMachine.Inventory.Register"],
        &["Resource.AssignVMToPool"],
    ),
    need(
        "create_vm",
        FOLDER,
        &["VirtualMachine.Inventory.Create"],
        &[
            "Resource.AssignVMToPool",
            "Datastore.AllocateSpace",
            "Network.Assign",
        ],
    ),
    need("enter_maintenance", HOST, &["Host.Config.Maintenance"], &[]),
    need("exit_maintenance", HOST, &["Host.Config.Maintenance"], &[]),
    need("reconnect_host", HOST, &["Host.Config.Connection"], &[]),
    need("browse_datastore", DATASTORE, &["Datastore.Browse"], &[]),
    need("cancel_task", ANY, &["Global.CancelTask"], &[]),
    need("acknowledge_alarm", ANY, &["Alarm.Acknowledge"], &[]),
    need("list_sessions", ANY, &["Sessions.TerminateSession"], &[]),
];

/// The actions that were asked for exist and need a privilege, and at most one object is named.
///
/// # Errors
///
/// `argument.conflict`, `argument.out_of_range`.
pub(crate) fn check(arguments: &Arguments) -> Result<(), Failure> {
    entity::check(arguments)?;
    for given in arguments.texts("actions") {
        if NEEDS.iter().all(|need| need.action != given) {
            let words = || NEEDS.iter().map(|need| need.action);
            return Err(Failure::new(
                "argument.out_of_range",
                format!(
                    "Pass `actions` of those in `allowed`: `{given}` is none, or needs no privilege beyond reading"
                ),
            )
            .with("argument", "actions")
            .with("nearest", nearest(given, words()))
            .with("allowed", words().collect::<Vec<_>>()));
        }
    }
    Ok(())
}

/// What the account may do on the named object, or at the root of the inventory.
pub(crate) async fn check_access(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let (reference, target) = match entity::named(call).await? {
        Some(entity) => (entity.reference, entity.target),
        None => {
            let root = call
                .session
                .content()
                .need("rootFolder")
                .map_err(fault::failure)?;
            let id = guard::text::sanitize(&root.id);
            let target =
                json!({ "server": call.server, "type": "Folder", "moref": id, "path": "/" });
            (root, target)
        }
    };
    let asked = call.arguments.texts("actions");
    let given = call.arguments.texts("privileges");
    let vcenter = call.session.about().is_vcenter();
    // Below a container lies everything; on an object, its own actions count.
    let is_leaf = [VM, HOST, DATASTORE].contains(&reference.kind.as_str());
    let fits = |need: &&Need| {
        if asked.is_empty() {
            let is_ours = actions()
                .any(|row| row.word == need.action && (row.platform == Platform::Any || vcenter));
            is_ours && given.is_empty() && (!is_leaf || need.on == reference.kind || need.on == ANY)
        } else {
            asked.contains(&need.action)
        }
    };
    let needs: Vec<&Need> = NEEDS.iter().filter(fits).collect();
    let mut privileges: Vec<&str> = needs
        .iter()
        .flat_map(|need| need.privileges)
        .copied()
        .chain(given.iter().copied())
        .collect();
    privileges.sort_unstable();
    privileges.dedup();
    let granted: HashMap<String, bool> = call
        .session
        .has_privileges(&reference, &privileges)
        .await
        .map_err(fault::failure)?
        .into_iter()
        .map(|one| (one.privilege, one.is_granted))
        .collect();
    let is_granted = |privilege: &str| granted.get(privilege).copied();
    let rows: Vec<Value> = needs
        .iter()
        .map(|need| {
            let missing: Vec<&str> = need
                .privileges
                .iter()
                .copied()
                .filter(|privilege| is_granted(privilege) != Some(true))
                .collect();
            let mut row = json!({ "action": need.action, "allowed": missing.is_empty() });
            if !missing.is_empty() {
                row["missing"] = json!(missing);
            }
            if !need.elsewhere.is_empty() {
                row["needs_elsewhere"] = json!(need.elsewhere);
            }
            row
        })
        .collect();
    let privileges: Map<String, Value> = privileges
        .iter()
        .map(|privilege| ((*privilege).to_owned(), json!(is_granted(privilege))))
        .collect();
    let mut answer = Map::new();
    answer.insert("action".to_owned(), json!(call.row.word));
    answer.insert("target".to_owned(), target);
    answer.insert(
        "user".to_owned(),
        json!(guard::text::sanitize(&call.session.user().user_name)),
    );
    answer.insert("actions".to_owned(), Value::Array(rows));
    answer.insert("privileges".to_owned(), Value::Object(privileges));
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Needs;

    #[test]
    fn every_change_on_a_server_says_which_privileges_it_needs() {
        for row in actions().filter(|row| row.changes() && row.needs != Needs::Home) {
            assert!(
                NEEDS.iter().any(|need| need.action == row.word),
                "add `{}` to NEEDS",
                row.word
            );
        }
        for (at, need) in NEEDS.iter().enumerate() {
            assert!(
                NEEDS[at + 1..]
                    .iter()
                    .all(|other| other.action != need.action),
                "{} is there twice",
                need.action
            );
            assert!(!need.privileges.is_empty(), "{}", need.action);
        }
    }
}
