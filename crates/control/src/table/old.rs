//! What has been forgotten: snapshots that are old.

use super::{Action, Argument, Effect, Kind, Needs, Platform, Risk, Run, accept};
use crate::action::old;

/// The rows of this family, in the order in which they are published.
pub(super) const ROWS: &[&Action] = &[&LIST_OLD_SNAPSHOTS];

/// The arguments of this family, in the order in which they are published.
pub(super) const ARGUMENTS: &[Argument] = &[Argument {
    name: "older_than_days",
    kind: Kind::Whole {
        least: 0,
        most: 36_500,
        default: Some(old::DEFAULT_DAYS),
    },
    doc: "Only snapshots of at least this age in days; 0 shows all",
}];

const LIST_OLD_SNAPSHOTS: Action = Action {
    word: "list_old_snapshots",
    aliases: &["old_snapshots", "list_all_snapshots", "find_old_snapshots"],
    doc: "List snapshots of all VMs older than older_than_days, oldest first, with size where told",
    risk: Risk::Read,
    effect: Effect::Read,
    needs: Needs::Server,
    platform: Platform::Any,
    required: &[],
    own: &["older_than_days", "limit", "cursor"],
    undo: &[],
    preview: false,
    probe: "",
    api: &[],
    check: accept,
    run: Run::Server(|call| Box::pin(old::list(call))),
};
