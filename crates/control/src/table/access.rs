//! What an account may do.

use super::{Action, Argument, Effect, Kind, Needs, Platform, Risk, Run};
use crate::action::access;

/// The rows of this family, in the order in which they are published.
pub(super) const ROWS: &[&Action] = &[&CHECK_ACCESS];

/// The arguments of this family, in the order in which they are published.
pub(super) const ARGUMENTS: &[Argument] = &[
    Argument {
        name: "actions",
        kind: Kind::Texts {
            most: 80,
            longest: 40,
        },
        doc: "Actions of this tool to check; without it, all that fit the object",
    },
    Argument {
        name: "privileges",
        kind: Kind::Texts {
            most: 100,
            longest: 120,
        },
        doc: "vSphere privileges to check, e.g. VirtualMachine.Interact.PowerOn",
    },
];

const CHECK_ACCESS: Action = Action {
    word: "check_access",
    aliases: &["check_privileges", "has_privilege", "my_permissions"],
    doc: "What this account may do on an object (without one: at the root), action by action",
    risk: Risk::Read,
    effect: Effect::Read,
    needs: Needs::Server,
    platform: Platform::Any,
    required: &[],
    own: &[
        "vm_uuid",
        "vm_name",
        "moref",
        "instance_uuid",
        "host_system",
        "cluster",
        "datacenter",
        "datastore",
        "network",
        "resource_pool",
        "folder",
        "actions",
        "privileges",
    ],
    undo: &[],
    preview: false,
    probe: "",
    api: &[],
    check: access::check,
    run: Run::Server(|call| Box::pin(access::check_access(call))),
};
