//! The server itself and what it is made of.

use super::{Action, Effect, Name, Needs, Risk};

pub(super) const ABOUT: Action = Action {
    name: Name::About,
    word: "about",
    doc: "Product, version and identity of the server",
    risk: Risk::Read,
    effect: Effect::Read,
    needs: Needs::Server,
    required: &[],
    own: &[],
    undo: &[],
    preview: false,
    api: &[],
};

pub(super) const LIST_HOSTS: Action = Action {
    name: Name::ListHosts,
    word: "list_hosts",
    doc: "List hosts with state, load, version and maintenance mode",
    risk: Risk::Read,
    effect: Effect::Read,
    needs: Needs::Server,
    required: &[],
    own: &["limit", "cursor"],
    undo: &[],
    preview: false,
    api: &[],
};

pub(super) const LIST_DATASTORES: Action = Action {
    name: Name::ListDatastores,
    word: "list_datastores",
    doc: "List datastores with capacity, free space and accessibility",
    risk: Risk::Read,
    effect: Effect::Read,
    needs: Needs::Server,
    required: &[],
    own: &["limit", "cursor"],
    undo: &[],
    preview: false,
    api: &[],
};

pub(super) const LIST_SESSIONS: Action = Action {
    name: Name::ListSessions,
    word: "list_sessions",
    doc: "List the sessions logged in to the server, this call's own included",
    risk: Risk::Read,
    effect: Effect::Read,
    needs: Needs::Server,
    required: &[],
    own: &["limit", "cursor"],
    undo: &[],
    preview: false,
    api: &[],
};
