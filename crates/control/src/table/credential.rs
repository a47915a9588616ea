//! Connection profiles: encrypted on this machine, per operating-system user.

use super::{Action, Effect, Name, Needs, Risk};

pub(super) const SAVE: Action = Action {
    name: Name::CredentialSave,
    word: "credential_save",
    doc: "Save a connection profile and pin the server's certificate; better done in a terminal: `vmware-control credential save`",
    risk: Risk::Write,
    effect: Effect::Idempotent,
    needs: Needs::Home,
    required: &["credential_profile", "host", "user", "password"],
    own: &["port", "verify_ssl", "timeout_s"],
    undo: &["credential_delete"],
    preview: true,
    api: &[],
};

pub(super) const LIST: Action = Action {
    name: Name::CredentialList,
    word: "credential_list",
    doc: "List saved profiles: name, host, user; never a password",
    risk: Risk::Read,
    effect: Effect::Read,
    needs: Needs::Home,
    required: &[],
    own: &["credential_profile", "limit", "cursor"],
    undo: &[],
    preview: false,
    api: &[],
};

pub(super) const CHECK: Action = Action {
    name: Name::CredentialCheck,
    word: "credential_check",
    doc: "Log in with a saved profile and log out again",
    risk: Risk::Read,
    effect: Effect::Read,
    needs: Needs::Home,
    required: &["credential_profile"],
    own: &["timeout_s"],
    undo: &[],
    preview: false,
    api: &[],
};

pub(super) const DELETE: Action = Action {
    name: Name::CredentialDelete,
    word: "credential_delete",
    doc: "Delete a saved profile; its password cannot be recovered",
    risk: Risk::Destructive,
    effect: Effect::Idempotent,
    needs: Needs::Home,
    required: &["credential_profile"],
    own: &[],
    undo: &[],
    preview: true,
    api: &[],
};
