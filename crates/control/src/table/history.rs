//! What has happened, and what is under way: events and tasks.

use super::{Action, Argument, Effect, Kind, Needs, Platform, Risk, Run, accept};
use crate::action::{cancel, history};

/// The rows of this family, in the order in which they are published.
pub(super) const ROWS: &[&Action] = &[&LIST_EVENTS, &LIST_TASKS, &GET_TASK, &CANCEL_TASK];

/// The arguments of this family, in the order in which they are published.
pub(super) const ARGUMENTS: &[Argument] = &[
    Argument {
        name: "since",
        kind: Kind::Text { longest: 60 },
        doc: "Not before this time (2026-01-31T10:00:00Z), or not older than 30m, 24h, 7d",
    },
    Argument {
        name: "until",
        kind: Kind::Text { longest: 60 },
        doc: "Not after this time, written as since",
    },
    Argument {
        name: "event_types",
        kind: Kind::Texts {
            most: 20,
            longest: 120,
        },
        doc: "Only events of these types, e.g. VmPoweredOnEvent",
    },
    Argument {
        name: "task_state",
        kind: Kind::Word {
            allowed: &["queued", "running", "success", "error"],
            default: None,
        },
        doc: "Only tasks in this state",
    },
];

const LIST_EVENTS: Action = Action {
    word: "list_events",
    aliases: &["events", "get_events", "event_list", "query_events"],
    doc: "List events, newest first; narrowed to one object (with what is below it), a time, or types",
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
        "since",
        "until",
        "event_types",
        "limit",
        "cursor",
    ],
    undo: &[],
    preview: false,
    probe: "",
    api: &[],
    check: history::check,
    run: Run::Server(|call| Box::pin(history::events(call))),
};

const LIST_TASKS: Action = Action {
    word: "list_tasks",
    aliases: &["tasks", "get_tasks", "task_list", "recent_tasks"],
    doc: "List tasks, newest first; narrowed to one object, a time, or task_state",
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
        "since",
        "until",
        "task_state",
        "limit",
        "cursor",
    ],
    undo: &[],
    preview: false,
    probe: "",
    api: &[],
    check: history::check,
    run: Run::Server(|call| Box::pin(history::tasks(call))),
};

const GET_TASK: Action = Action {
    word: "get_task",
    aliases: &["task_info", "task_get", "task_status"],
    doc: "One task: state, progress, object, user, error",
    risk: Risk::Read,
    effect: Effect::Read,
    needs: Needs::Server,
    platform: Platform::Any,
    required: &["task"],
    own: &[],
    undo: &[],
    preview: false,
    probe: "",
    api: &[],
    check: accept,
    run: Run::Server(|call| Box::pin(history::task(call))),
};

const CANCEL_TASK: Action = Action {
    word: "cancel_task",
    aliases: &["task_cancel", "abort_task", "stop_task"],
    doc: "Ask a task to stop, and wait for its end; what it has done already stays",
    risk: Risk::Destructive,
    effect: Effect::Idempotent,
    needs: Needs::Server,
    platform: Platform::Any,
    required: &["task"],
    own: &[],
    undo: &[],
    preview: true,
    probe: "state of the task",
    api: &["CancelTask"],
    check: accept,
    run: Run::Server(|call| Box::pin(cancel::task(call))),
};
