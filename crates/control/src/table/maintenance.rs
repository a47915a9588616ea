//! The maintenance of ESXi hosts.

use super::{Action, Argument, Effect, Kind, Needs, Platform, Risk, Run, accept};
use crate::action::maintenance;

/// The rows of this family, in the order in which they are published.
pub(super) const ROWS: &[&Action] = &[&ENTER_MAINTENANCE, &EXIT_MAINTENANCE, &RECONNECT_HOST];

/// The arguments of this family, in the order in which they are published.
pub(super) const ARGUMENTS: &[Argument] = &[
    Argument {
        name: "evacuate_powered_off",
        kind: Kind::Flag {
            default: Some(false),
        },
        doc: "Move VMs that are off to other hosts as well (DRS alone does it)",
    },
    Argument {
        name: "vsan_mode",
        kind: Kind::Word {
            allowed: &["ensureObjectAccessibility", "evacuateAllData", "noAction"],
            default: None,
        },
        doc: "What becomes of vSAN data on the host; required where there is any",
    },
];

const ENTER_MAINTENANCE: Action = Action {
    word: "enter_maintenance",
    aliases: &[
        "host_enter_maintenance",
        "enter_maintenance_mode",
        "maintenance_enter",
    ],
    doc: "Bring a host into maintenance; waits until no VM runs on it, at most timeout_s",
    risk: Risk::Destructive,
    effect: Effect::Idempotent,
    needs: Needs::Server,
    platform: Platform::Any,
    required: &["host_system"],
    own: &["evacuate_powered_off", "vsan_mode"],
    undo: &["exit_maintenance"],
    preview: true,
    probe: "maintenance state",
    api: &["EnterMaintenanceMode_Task"],
    check: accept,
    run: Run::Server(|call| Box::pin(maintenance::enter(call))),
};

const EXIT_MAINTENANCE: Action = Action {
    word: "exit_maintenance",
    aliases: &[
        "host_exit_maintenance",
        "exit_maintenance_mode",
        "maintenance_exit",
    ],
    doc: "Bring a host out of maintenance; its VMs do not come back by themselves",
    risk: Risk::Write,
    effect: Effect::Idempotent,
    needs: Needs::Server,
    platform: Platform::Any,
    required: &["host_system"],
    own: &[],
    undo: &["enter_maintenance"],
    preview: true,
    probe: "maintenance state",
    api: &["ExitMaintenanceMode_Task"],
    check: accept,
    run: Run::Server(|call| Box::pin(maintenance::exit(call))),
};

const RECONNECT_HOST: Action = Action {
    word: "reconnect_host",
    aliases: &["host_reconnect"],
    doc: "Connect a host again that the vCenter has lost or disconnected",
    risk: Risk::Write,
    effect: Effect::Idempotent,
    needs: Needs::Server,
    platform: Platform::VCenter,
    required: &["host_system"],
    own: &[],
    undo: &[],
    preview: true,
    probe: "connection state",
    api: &["ReconnectHost_Task"],
    check: accept,
    run: Run::Server(|call| Box::pin(maintenance::reconnect(call))),
};
