//! The server itself.

use super::{Action, Effect, Needs, Platform, Risk, Run, accept};
use crate::action::inventory;

/// The rows of this family, in the order in which they are published.
pub(super) const ROWS: &[&Action] = &[&ABOUT, &LIST_SESSIONS];

const ABOUT: Action = Action {
    word: "about",
    aliases: &["get_about", "server_info", "get_version"],
    doc: "Product, version and identity of the server",
    risk: Risk::Read,
    effect: Effect::Read,
    needs: Needs::Server,
    platform: Platform::Any,
    required: &[],
    own: &[],
    undo: &[],
    preview: false,
    probe: "",
    api: &[],
    check: accept,
    run: Run::Server(|call| Box::pin(async { Ok(inventory::about(call)) })),
};

const LIST_SESSIONS: Action = Action {
    word: "list_sessions",
    aliases: &["get_sessions"],
    doc: "List the sessions logged in to the server, this call's own included",
    risk: Risk::Read,
    effect: Effect::Read,
    needs: Needs::Server,
    platform: Platform::Any,
    required: &[],
    own: &["limit", "cursor"],
    undo: &[],
    preview: false,
    probe: "",
    api: &[],
    check: accept,
    run: Run::Server(|call| Box::pin(inventory::sessions(call))),
};
