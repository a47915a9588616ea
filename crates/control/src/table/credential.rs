//! Connection profiles: encrypted on this machine, per operating-system user.

use super::{Action, Effect, Needs, Platform, Risk, Run, accept};

/// The rows of this family, in the order in which they are published.
pub(super) const ROWS: &[&Action] = &[&SAVE, &LIST, &CHECK, &DELETE];

const SAVE: Action = Action {
    word: "credential_save",
    aliases: &["save_credential"],
    doc: "Save a connection profile and pin the server's certificate; better done in a terminal: `vmware-control credential save`",
    risk: Risk::Write,
    effect: Effect::Idempotent,
    needs: Needs::Home,
    platform: Platform::Any,
    required: &["credential_profile", "host", "user", "password"],
    own: &["port", "verify_ssl", "timeout_s"],
    undo: &["credential_delete"],
    preview: true,
    probe: "the profile",
    api: &[],
    check: accept,
    run: Run::Local(|local, row, arguments| Box::pin(local.save(row, arguments))),
};

const LIST: Action = Action {
    word: "credential_list",
    aliases: &["list_credentials"],
    doc: "List saved profiles: name, host, user; never a password",
    risk: Risk::Read,
    effect: Effect::Read,
    needs: Needs::Home,
    platform: Platform::Any,
    required: &[],
    own: &["credential_profile", "limit", "cursor"],
    undo: &[],
    preview: false,
    probe: "",
    api: &[],
    check: accept,
    run: Run::Local(|local, row, arguments| Box::pin(local.list(row, arguments))),
};

const CHECK: Action = Action {
    word: "credential_check",
    aliases: &["check_credential", "test_credential"],
    doc: "Log in with a saved profile and log out again",
    risk: Risk::Read,
    effect: Effect::Read,
    needs: Needs::Home,
    platform: Platform::Any,
    required: &["credential_profile"],
    own: &["timeout_s"],
    undo: &[],
    preview: false,
    probe: "",
    api: &[],
    check: accept,
    run: Run::Local(|local, row, arguments| Box::pin(local.check(row, arguments))),
};

const DELETE: Action = Action {
    word: "credential_delete",
    aliases: &["delete_credential"],
    doc: "Delete a saved profile; its password cannot be recovered",
    risk: Risk::Destructive,
    effect: Effect::Idempotent,
    needs: Needs::Home,
    platform: Platform::Any,
    required: &["credential_profile"],
    own: &[],
    undo: &[],
    preview: true,
    probe: "absence of the profile",
    api: &[],
    check: accept,
    run: Run::Local(|local, row, arguments| Box::pin(local.delete(row, arguments))),
};
