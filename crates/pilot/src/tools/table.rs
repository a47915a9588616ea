//! The tools: what each is called, takes, may do and answers. The list that clients get, the check
//! of arguments and the wrapper are all made from these rows.

use policy::guarded::Risk;

use super::param::{
    APPROVAL, APPROVER, CURSOR, Kind, Param, STATES, WAIT_IF_ASKED, WAIT_SOME, WORKFLOW, defined,
    flag_schema, id, object_schema, on_failure_schema, on_reject_schema, quorum_schema,
    seconds_schema, steps_schema, text_schema,
};

/// One tool.
#[derive(Debug)]
pub(crate) struct Tool {
    /// Its name.
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) title: &'static str,
    /// For agents: what it does, and when to use it.
    pub(crate) doc: &'static str,
    /// Which function serves it.
    pub(crate) which: Which,
    /// What it may do, for the wrapper.
    pub(crate) risk: Risk,
    /// Whether the same call again has no further effect.
    pub(crate) idempotent: bool,
    /// Whether companions, and so the world outside, may be reached.
    pub(crate) open_world: bool,
    /// Whether its arguments are a definition, with codes of its own.
    pub(crate) is_definition: bool,
    /// What it takes.
    pub(crate) params: &'static [Param],
    /// What it answers.
    pub(crate) shape: Shape,
}

/// The functions behind the tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Catalog,
    Create,
    Review,
    Run,
    Status,
    List,
    Approve,
    Reject,
    Rollback,
    Cancel,
    Resume,
    Resolve,
    Audit,
    Archive,
}

/// The shapes of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Catalog,
    Created,
    Review,
    Workflow,
    List,
    Audit,
    Archive,
}

/// All tools, in the order in which they are listed: the order of use.
pub(crate) const TABLE: &[Tool] = &[
    Tool {
        name: "get_skill_catalog",
        title: "What the companions can do",
        doc: "Lists the companions (skills), their tools and actions, with risk, effect and undo. Start here: steps of a workflow call these. Live: starts companions that do not run yet.",
        which: Which::Catalog,
        risk: Risk::Read,
        idempotent: true,
        open_world: true,
        is_definition: false,
        params: &[Param {
            name: "skill",
            kind: Kind::Id,
            required: false,
            doc: "Only this one.",
        }],
        shape: Shape::Catalog,
    },
    Tool {
        name: "create_workflow",
        title: "Create a workflow",
        doc: "Makes a workflow of steps that run in order. Checks every step against the live catalog; runs nothing. Pass no secrets: pass the name of a credential profile.",
        which: Which::Create,
        risk: Risk::Write,
        idempotent: false,
        open_world: true,
        is_definition: true,
        params: &[
            defined(
                "name",
                true,
                text_schema,
                "What it does, 1 to 120 characters.",
            ),
            // Asked for, and done without where it is missing.
            defined(
                "description",
                true,
                text_schema,
                "Why, up to 2,000 characters.",
            ),
            defined(
                "steps",
                true,
                steps_schema,
                "At least one. Each is a call (skill, tool, params), a gate, or `parallel` steps.",
            ),
            defined("params", false, object_schema, "Values for `${params.x}`."),
            defined(
                "on_failure",
                false,
                on_failure_schema,
                "What a failed step leads to.",
            ),
            defined(
                "on_reject",
                false,
                on_reject_schema,
                "What a rejection leads to, once something was changed.",
            ),
            defined(
                "approval_timeout_s",
                false,
                seconds_schema,
                "How long an approval stays open; 300 if not set.",
            ),
            defined(
                "execution_expiry_s",
                false,
                seconds_schema,
                "How long a given approval may wait to be used.",
            ),
            defined(
                "quorum",
                false,
                quorum_schema,
                "How many different authenticated people have to approve.",
            ),
            defined(
                "exclude_requester",
                false,
                flag_schema,
                "Whoever asks for it may not approve it.",
            ),
        ],
        shape: Shape::Created,
    },
    Tool {
        name: "review_workflow",
        title: "Review a workflow",
        doc: "Shows, before anything runs, what each step would touch and change, and how it would be undone. Changes nothing.",
        which: Which::Review,
        risk: Risk::Read,
        idempotent: true,
        open_world: true,
        is_definition: false,
        params: &[WORKFLOW, CURSOR],
        shape: Shape::Review,
    },
    Tool {
        name: "run_workflow",
        title: "Run a workflow",
        doc: "Begins a workflow, or takes one over that stands still. Reads run by themselves; anything else waits for approval. Answers once it rests, or after `wait_seconds`.",
        which: Which::Run,
        risk: Risk::Destructive,
        idempotent: true,
        open_world: true,
        is_definition: false,
        params: &[WORKFLOW, WAIT_SOME],
        shape: Shape::Workflow,
    },
    Tool {
        name: "get_workflow_status",
        title: "Where a workflow stands",
        doc: "Where a workflow stands, its open approval, and results not fetched yet (each is given out once).",
        which: Which::Status,
        risk: Risk::Read,
        idempotent: true,
        open_world: false,
        is_definition: false,
        params: &[WORKFLOW, WAIT_IF_ASKED],
        shape: Shape::Workflow,
    },
    Tool {
        name: "list_workflows",
        title: "List workflows",
        doc: "Workflows, the newest first.",
        which: Which::List,
        risk: Risk::Read,
        idempotent: true,
        open_world: false,
        is_definition: false,
        params: &[
            Param {
                name: "state",
                kind: Kind::Word(STATES),
                required: false,
                doc: "Only those in it.",
            },
            Param {
                name: "limit",
                kind: Kind::Whole {
                    least: 1,
                    most: 100,
                    default: 20,
                },
                required: false,
                doc: "Rows per page.",
            },
            CURSOR,
        ],
        shape: Shape::List,
    },
    Tool {
        name: "approve",
        title: "Approve",
        doc: "Records a person's yes to the open approval, and goes on. Show them `approval.summary` first.",
        which: Which::Approve,
        risk: Risk::Destructive,
        idempotent: false,
        open_world: true,
        is_definition: false,
        params: &[
            WORKFLOW,
            APPROVAL,
            APPROVER,
            Param {
                name: "steps",
                kind: Kind::Ids,
                required: false,
                doc: "Destructive steps that this decision covers as well, each named by the person.",
            },
            Param {
                name: "comment",
                kind: Kind::Text { needed: false },
                required: false,
                doc: "Theirs.",
            },
            WAIT_SOME,
        ],
        shape: Shape::Workflow,
    },
    Tool {
        name: "reject",
        title: "Reject",
        doc: "Records a person's no to the open approval. What was done is undone, unless on_reject is stop.",
        which: Which::Reject,
        risk: Risk::Destructive,
        idempotent: false,
        open_world: true,
        is_definition: false,
        params: &[
            WORKFLOW,
            APPROVAL,
            APPROVER,
            Param {
                name: "reason",
                kind: Kind::Text { needed: true },
                required: true,
                doc: "Why not.",
            },
        ],
        shape: Shape::Workflow,
    },
    Tool {
        name: "rollback",
        title: "Ask for a rollback",
        doc: "Asks to undo what a workflow at rest has done, last first; begins once that is approved.",
        which: Which::Rollback,
        risk: Risk::Write,
        idempotent: false,
        open_world: true,
        is_definition: false,
        params: &[WORKFLOW, WAIT_SOME],
        shape: Shape::Workflow,
    },
    Tool {
        name: "cancel_workflow",
        title: "Cancel a workflow",
        doc: "Stops a workflow; what is in flight is settled first, and what was done stays.",
        which: Which::Cancel,
        risk: Risk::Write,
        idempotent: true,
        open_world: true,
        is_definition: false,
        params: &[WORKFLOW, WAIT_SOME],
        shape: Shape::Workflow,
    },
    Tool {
        name: "resume_workflow",
        title: "Resume a workflow",
        doc: "Lets a paused workflow go on: probes unknown steps once, and asks anew for approvals.",
        which: Which::Resume,
        risk: Risk::Destructive,
        idempotent: false,
        open_world: true,
        is_definition: false,
        params: &[WORKFLOW, WAIT_SOME],
        shape: Shape::Workflow,
    },
    Tool {
        name: "resolve_step",
        title: "Say what became of a step",
        doc: "Records what a person found out about a step whose effect is unknown.",
        which: Which::Resolve,
        risk: Risk::Write,
        idempotent: false,
        open_world: false,
        is_definition: false,
        params: &[
            WORKFLOW,
            id("step", "Its id."),
            Param {
                name: "happened",
                kind: Kind::Flag,
                required: true,
                doc: "Whether it took effect.",
            },
            Param {
                name: "outputs",
                kind: Kind::Object,
                required: false,
                doc: "Its declared outputs, if it did.",
            },
            Param {
                name: "note",
                kind: Kind::Text { needed: true },
                required: true,
                doc: "How they know.",
            },
            APPROVER,
        ],
        shape: Shape::Workflow,
    },
    Tool {
        name: "get_audit_log",
        title: "The audit trail",
        doc: "The hash-chained record of all calls and events, oldest first. `verify` checks all of it.",
        which: Which::Audit,
        risk: Risk::Read,
        idempotent: true,
        open_world: false,
        is_definition: false,
        params: &[
            Param {
                name: "workflow_id",
                kind: Kind::Id,
                required: false,
                doc: "Only of this workflow.",
            },
            Param {
                name: "limit",
                kind: Kind::Whole {
                    least: 1,
                    most: 200,
                    default: 50,
                },
                required: false,
                doc: "Rows per page.",
            },
            CURSOR,
            Param {
                name: "verify",
                kind: Kind::Flag,
                required: false,
                doc: "Check the chain instead.",
            },
        ],
        shape: Shape::Audit,
    },
    Tool {
        name: "archive_workflows",
        title: "Archive old workflows",
        doc: "Moves workflows that ended long ago out of the database into a file that still verifies. They stay listed and audited, and cannot be rolled back any more.",
        which: Which::Archive,
        risk: Risk::Write,
        idempotent: true,
        open_world: false,
        is_definition: false,
        params: &[
            Param {
                name: "older_than_days",
                kind: Kind::Whole {
                    least: 0,
                    most: 36_500,
                    default: 365,
                },
                required: false,
                doc: "Since their last event. The operator sets the least.",
            },
            Param {
                name: "dry_run",
                kind: Kind::Flag,
                required: false,
                doc: "Only say how many there are.",
            },
        ],
        shape: Shape::Archive,
    },
];
