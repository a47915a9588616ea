//! Virtual machines: reading them, their size, their end.

use super::{Action, Effect, Name, Needs, Risk};

pub(super) const LIST_VMS: Action = Action {
    name: Name::ListVms,
    word: "list_vms",
    doc: "List VMs with path, power state, size, guest and address; vm_name, vm_uuid or moref narrows it",
    risk: Risk::Read,
    effect: Effect::Read,
    needs: Needs::Server,
    required: &[],
    own: &[
        "vm_uuid",
        "vm_name",
        "moref",
        "instance_uuid",
        "limit",
        "cursor",
    ],
    undo: &[],
    preview: false,
    api: &[],
};

pub(super) const GET_VM: Action = Action {
    name: Name::GetVm,
    word: "get_vm",
    doc: "One VM in detail: state, hardware, disks, networks, guest, snapshots",
    risk: Risk::Read,
    effect: Effect::Read,
    needs: Needs::Machine,
    required: &[],
    own: &[],
    undo: &[],
    preview: false,
    api: &[],
};

pub(super) const RECONFIGURE: Action = Action {
    name: Name::Reconfigure,
    word: "reconfigure",
    doc: "Set the number of CPUs and the memory of a VM (cpu, memory_mb; at least one)",
    risk: Risk::Destructive,
    effect: Effect::Idempotent,
    needs: Needs::Machine,
    required: &[],
    own: &["cpu", "memory_mb", "expect"],
    undo: &["reconfigure"],
    preview: true,
    api: &["ReconfigVM_Task"],
};

pub(super) const DELETE: Action = Action {
    name: Name::Delete,
    word: "delete",
    doc: "Delete a powered-off VM with all its disks and snapshots; cannot be undone",
    risk: Risk::Destructive,
    effect: Effect::Idempotent,
    needs: Needs::Machine,
    required: &[],
    own: &[],
    undo: &[],
    preview: true,
    api: &["Destroy_Task"],
};
