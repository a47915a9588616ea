//! What lies on a datastore.

use super::{Action, Argument, Effect, Kind, Needs, Platform, Risk, Run};
use crate::action::browse;

/// The rows of this family, in the order in which they are published.
pub(super) const ROWS: &[&Action] = &[&BROWSE_DATASTORE];

/// The arguments of this family, in the order in which they are published.
pub(super) const ARGUMENTS: &[Argument] = &[Argument {
    name: "pattern",
    kind: Kind::Text { longest: 255 },
    doc: "Only files whose name fits, e.g. *.iso",
}];

const BROWSE_DATASTORE: Action = Action {
    word: "browse_datastore",
    aliases: &["datastore_browse", "list_files", "datastore_ls"],
    doc: "List one folder of a datastore (datastore, path, pattern): kind, size and time of each file",
    risk: Risk::Read,
    effect: Effect::Read,
    needs: Needs::Server,
    platform: Platform::Any,
    required: &[],
    own: &["datastore", "path", "pattern", "limit", "cursor"],
    undo: &[],
    preview: false,
    probe: "",
    api: &[],
    check: browse::check,
    run: Run::Server(|call| Box::pin(browse::browse(call))),
};
