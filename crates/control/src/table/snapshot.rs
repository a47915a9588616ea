//! Snapshots of a virtual machine.

use super::argument::NAME;
use super::{Action, Argument, Effect, Kind, Needs, Platform, Risk, Run, accept};
use crate::action::snapshot;

/// The rows of this family, in the order in which they are published.
pub(super) const ROWS: &[&Action] = &[&LIST, &CREATE, &REVERT, &DELETE, &DELETE_ALL, &CONSOLIDATE];

/// The arguments of this family, in the order in which they are published.
pub(super) const ARGUMENTS: &[Argument] = &[
    Argument {
        name: "snapshot_name",
        kind: NAME,
        doc: "Snapshot by exact name, or by path, e.g. parent/child; refused if several bear it",
    },
    Argument {
        name: "snapshot_id",
        kind: Kind::Text { longest: 80 },
        doc: "Snapshot by reference, e.g. snapshot-7",
    },
    Argument {
        name: "snapshot_key",
        kind: Kind::Text { longest: 200 },
        doc: "Snapshot by the key it was created under",
    },
    Argument {
        name: "description",
        kind: Kind::Text { longest: 250 },
        doc: "Description of the new snapshot",
    },
    Argument {
        name: "memory",
        kind: Kind::Flag {
            default: Some(false),
        },
        doc: "Include memory in the snapshot",
    },
    Argument {
        name: "quiesce",
        kind: Kind::Flag {
            default: Some(false),
        },
        doc: "Quiesce guest file systems first",
    },
    Argument {
        name: "safety_snapshot",
        kind: Kind::Flag {
            default: Some(false),
        },
        doc: "Take a snapshot first (with memory if the VM runs), to be able to come back",
    },
    Argument {
        name: "remove_children",
        kind: Kind::Flag {
            default: Some(false),
        },
        doc: "Delete the snapshots below it too",
    },
];

const LIST: Action = Action {
    word: "snapshot_list",
    aliases: &["list_snapshots", "vm_snapshot_list"],
    doc: "List a VM's snapshots; a snapshot argument counts those that match",
    risk: Risk::Read,
    effect: Effect::Read,
    needs: Needs::Machine,
    platform: Platform::Any,
    required: &[],
    own: &[
        "snapshot_name",
        "snapshot_id",
        "snapshot_key",
        "limit",
        "cursor",
    ],
    undo: &[],
    preview: false,
    probe: "",
    api: &[],
    check: accept,
    run: Run::Server(|call| Box::pin(snapshot::list(call))),
};

const CREATE: Action = Action {
    word: "snapshot_create",
    aliases: &["create_snapshot", "take_snapshot", "vm_snapshot_create"],
    doc: "Take a snapshot of a VM",
    risk: Risk::Write,
    effect: Effect::Once,
    needs: Needs::Machine,
    platform: Platform::Any,
    required: &["snapshot_name"],
    own: &["description", "memory", "quiesce", "override"],
    undo: &["snapshot_delete"],
    preview: true,
    probe: "key in the description",
    api: &["CreateSnapshot_Task"],
    check: snapshot::check_description,
    run: Run::Server(|call| Box::pin(snapshot::create(call))),
};

const REVERT: Action = Action {
    word: "snapshot_revert",
    aliases: &[
        "revert_snapshot",
        "revert_to_snapshot",
        "vm_snapshot_revert",
    ],
    doc: "Put a VM back to a snapshot (snapshot_name, _id or _key); what came after it is lost",
    risk: Risk::Destructive,
    effect: Effect::Once,
    needs: Needs::Machine,
    platform: Platform::Any,
    required: &[],
    own: &[
        "snapshot_name",
        "snapshot_id",
        "snapshot_key",
        "safety_snapshot",
        "override",
    ],
    undo: &["snapshot_revert"],
    preview: true,
    probe: "current snapshot, history of tasks",
    api: &["RevertToSnapshot_Task", "CreateSnapshot_Task"],
    check: snapshot::check,
    run: Run::Server(|call| Box::pin(snapshot::revert(call))),
};

const DELETE: Action = Action {
    word: "snapshot_delete",
    aliases: &[
        "delete_snapshot",
        "remove_snapshot",
        "snapshot_remove",
        "vm_snapshot_delete",
    ],
    doc: "Delete a snapshot (snapshot_name, _id or _key); the VM keeps its present state",
    risk: Risk::Destructive,
    effect: Effect::Idempotent,
    needs: Needs::Machine,
    platform: Platform::Any,
    required: &[],
    own: &[
        "snapshot_name",
        "snapshot_id",
        "snapshot_key",
        "remove_children",
        "override",
    ],
    undo: &[],
    preview: true,
    probe: "absence of the snapshot",
    api: &["RemoveSnapshot_Task"],
    check: snapshot::check,
    run: Run::Server(|call| Box::pin(snapshot::delete(call))),
};

const DELETE_ALL: Action = Action {
    word: "snapshot_delete_all",
    aliases: &[
        "delete_all_snapshots",
        "remove_all_snapshots",
        "snapshot_remove_all",
        "vm_snapshot_delete_all",
    ],
    doc: "Delete all snapshots of a VM and merge their disks; the VM keeps its present state",
    risk: Risk::Destructive,
    effect: Effect::Idempotent,
    needs: Needs::Machine,
    platform: Platform::Any,
    required: &[],
    own: &["override"],
    undo: &[],
    preview: true,
    probe: "absence of snapshots",
    api: &["RemoveAllSnapshots_Task"],
    check: accept,
    run: Run::Server(|call| Box::pin(snapshot::delete_all(call))),
};

const CONSOLIDATE: Action = Action {
    word: "consolidate_disks",
    aliases: &["consolidate", "vm_consolidate", "consolidate_vm_disks"],
    doc: "Merge the disks that a removed snapshot left behind, if the VM needs it",
    risk: Risk::Destructive,
    effect: Effect::Idempotent,
    needs: Needs::Machine,
    platform: Platform::Any,
    required: &[],
    own: &["override"],
    undo: &[],
    preview: true,
    probe: "runtime.consolidationNeeded",
    api: &["ConsolidateVMDisks_Task"],
    check: accept,
    run: Run::Server(|call| Box::pin(snapshot::consolidate(call))),
};
