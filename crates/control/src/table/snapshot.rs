//! Snapshots of a virtual machine.

use super::{Action, Effect, Name, Needs, Risk};

pub(super) const LIST: Action = Action {
    name: Name::SnapshotList,
    word: "snapshot_list",
    doc: "List a VM's snapshots; a snapshot argument counts those that match",
    risk: Risk::Read,
    effect: Effect::Read,
    needs: Needs::Machine,
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
    api: &[],
};

pub(super) const CREATE: Action = Action {
    name: Name::SnapshotCreate,
    word: "snapshot_create",
    doc: "Take a snapshot of a VM",
    risk: Risk::Write,
    effect: Effect::Once,
    needs: Needs::Machine,
    required: &["snapshot_name"],
    own: &["description", "memory", "quiesce"],
    undo: &["snapshot_delete"],
    preview: true,
    api: &["CreateSnapshot_Task"],
};

pub(super) const REVERT: Action = Action {
    name: Name::SnapshotRevert,
    word: "snapshot_revert",
    doc: "Put a VM back to a snapshot (snapshot_name, _id or _key); what came after it is lost",
    risk: Risk::Destructive,
    effect: Effect::Once,
    needs: Needs::Machine,
    required: &[],
    own: &["snapshot_name", "snapshot_id", "snapshot_key"],
    undo: &[],
    preview: true,
    api: &["RevertToSnapshot_Task"],
};

pub(super) const DELETE: Action = Action {
    name: Name::SnapshotDelete,
    word: "snapshot_delete",
    doc: "Delete a snapshot (snapshot_name, _id or _key); the VM keeps its present state",
    risk: Risk::Destructive,
    effect: Effect::Idempotent,
    needs: Needs::Machine,
    required: &[],
    own: &[
        "snapshot_name",
        "snapshot_id",
        "snapshot_key",
        "remove_children",
    ],
    undo: &[],
    preview: true,
    api: &["RemoveSnapshot_Task"],
};
