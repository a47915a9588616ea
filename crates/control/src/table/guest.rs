//! Programs within a guest.

use super::{Action, Argument, Effect, Kind, Needs, Platform, Risk, Run, accept};
use crate::action::guest;

/// The rows of this family, in the order in which they are published.
pub(super) const ROWS: &[&Action] = &[&GUEST_RUN, &GUEST_LIST_PROCESSES];

/// The arguments of this family, in the order in which they are published.
pub(super) const ARGUMENTS: &[Argument] = &[
    Argument {
        name: "guest_profile",
        kind: Kind::Text { longest: 64 },
        doc: "Saved account within the guest (vmware-control credential save NAME --guest)",
    },
    Argument {
        name: "program",
        kind: Kind::Text { longest: 1_000 },
        doc: "Whole path of a program in the guest",
    },
    Argument {
        name: "program_arguments",
        kind: Kind::Text { longest: 8_000 },
        doc: "Its arguments, as one text; on Linux a shell reads it",
    },
    Argument {
        name: "directory",
        kind: Kind::Text { longest: 1_000 },
        doc: "Directory in the guest to start the program in",
    },
    Argument {
        name: "capture",
        kind: Kind::Flag {
            default: Some(false),
        },
        doc: "Fetch what the program writes, through a temporary file in the guest",
    },
];

const GUEST_RUN: Action = Action {
    word: "guest_run",
    aliases: &["run_in_guest", "guest_exec", "start_program"],
    doc: "Run a program in the guest and wait for its exit code; capture fetches its output",
    risk: Risk::Destructive,
    effect: Effect::Once,
    needs: Needs::Machine,
    platform: Platform::Any,
    required: &["guest_profile", "program"],
    own: &["program_arguments", "directory", "capture"],
    undo: &[],
    preview: true,
    probe: "none",
    api: &[
        "StartProgramInGuest",
        "CreateTemporaryFileInGuest",
        "DeleteFileInGuest",
    ],
    check: accept,
    run: Run::Server(|call| Box::pin(guest::run(call))),
};

const GUEST_LIST_PROCESSES: Action = Action {
    word: "guest_list_processes",
    aliases: &["guest_ps", "list_guest_processes", "list_processes"],
    doc: "List the processes in the guest, with exit code where one has ended",
    risk: Risk::Read,
    effect: Effect::Read,
    needs: Needs::Machine,
    platform: Platform::Any,
    required: &["guest_profile"],
    own: &["limit", "cursor"],
    undo: &[],
    preview: false,
    probe: "",
    api: &[],
    check: accept,
    run: Run::Server(|call| Box::pin(guest::processes(call))),
};
