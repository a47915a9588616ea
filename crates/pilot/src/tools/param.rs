//! Arguments of tools: what each may be, as it is checked and as it is published.

use serde_json::{Value, json};

/// The longest that a call may wait, in seconds.
const WAIT: u64 = 300;

/// One argument.
#[derive(Debug)]
pub(crate) struct Param {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
    /// What it is, as the end of a sentence that begins with its name.
    pub(crate) doc: &'static str,
}

/// What an argument may be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Names something.
    Id,
    /// A name of a person (P14).
    Name,
    /// Words of a person (P14).
    Text { needed: bool },
    /// One of these.
    Word(&'static [&'static str]),
    /// A whole number.
    Whole { least: u64, most: u64, default: u64 },
    /// True or false.
    Flag,
    /// Ids of steps.
    Ids,
    /// Fields with any values.
    Object,
    /// Part of a definition: its JSON Schema; what it says is checked by the room `workflow`.
    Defined(fn() -> Value),
}

impl Kind {
    /// What to pass, in words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Id | Self::Name | Self::Text { .. } | Self::Word(_) => "a string",
            Self::Whole { .. } => "a whole number",
            Self::Flag => "true or false",
            Self::Ids => "a list of step ids, such as [\"power_off\"]",
            Self::Object => "an object",
            Self::Defined(_) => "what its schema says",
        }
    }

    pub(super) fn schema(self) -> Value {
        match self {
            Self::Id | Self::Name | Self::Text { .. } => json!({"type": "string"}),
            Self::Word(words) => json!({"type": "string", "enum": words}),
            Self::Whole {
                least,
                most,
                default,
            } => {
                json!({"type": "integer", "minimum": least, "maximum": most, "default": default})
            }
            Self::Flag => json!({"type": "boolean"}),
            Self::Ids => json!({"type": "array", "items": {"type": "string"}}),
            Self::Object => json!({"type": "object"}),
            Self::Defined(schema) => schema(),
        }
    }
}

pub(super) const fn id(name: &'static str, doc: &'static str) -> Param {
    Param {
        name,
        kind: Kind::Id,
        required: true,
        doc,
    }
}

pub(super) const WORKFLOW: Param = id("workflow_id", "From create_workflow or list_workflows.");
pub(super) const APPROVAL: Param = id("approval_id", "From `approval.id` of the last answer.");
pub(super) const APPROVER: Param = Param {
    name: "approver",
    kind: Kind::Name,
    required: true,
    doc: "Name of the person who decided. Never decide for them.",
};
pub(super) const WAIT_SOME: Param = Param {
    name: "wait_seconds",
    kind: Kind::Whole {
        least: 0,
        most: WAIT,
        default: 25,
    },
    required: false,
    doc: "How long to wait for it to come to rest.",
};
/// For a tool that only looks.
pub(super) const WAIT_IF_ASKED: Param = Param {
    name: "wait_seconds",
    kind: Kind::Whole {
        least: 0,
        most: WAIT,
        default: 0,
    },
    required: false,
    doc: "How long to wait for it to come to rest.",
};
pub(super) const CURSOR: Param = Param {
    name: "cursor",
    kind: Kind::Id,
    required: false,
    doc: "`next_cursor` of the last page.",
};

pub(super) const STATES: &[&str] = &[
    "pending",
    "awaiting_approval",
    "running",
    "rolling_back",
    "paused",
    "completed",
    "failed",
    "cancelled",
    "rolled_back",
    "rollback_failed",
];

pub(super) fn text_schema() -> Value {
    json!({"type": "string"})
}

pub(super) fn object_schema() -> Value {
    json!({"type": "object"})
}

pub(super) fn steps_schema() -> Value {
    let text = json!({"type": "string"});
    json!({"type": "array", "minItems": 1, "items": {"type": "object", "required": ["id"], "properties": {
        "id": {"type": "string", "description": "[a-z][a-z0-9_]*"},
        "name": text,
        "description": text,
        "skill": text,
        "tool": text,
        "params": {"type": "object", "description": "The tool's arguments. `${params.x}` and `${steps.ID.outputs.x}` are replaced."},
        "undo": {"type": "object", "description": "{tool, params}: the inverse, where the companion offers none."},
        "outputs": {"type": "object", "description": "name → JSON Pointer into the answer, for later steps."},
        "verify": {"type": "object", "description": "{tool, params, expect: {pointer: value}}: a read that proves it."},
        "timeout_s": {"type": "integer"},
        "gate": {"type": "string", "description": "Instead of a call: pause and ask a person this."},
        "when": {"type": "string", "description": "CEL: skipped unless it holds, e.g. `steps.ID.outputs.x > 2 && params.y == 'on'`."},
        "expect": {"type": "string", "description": "CEL over `outputs.x`: else the step has failed."},
        "retry": {"type": "object", "description": "{count, backoff_s, max_backoff_s}: for reads and idempotent steps."},
        "wait_for": {"type": "object", "description": "{until: CEL over `outputs.x`, every_s, deadline_s}: repeats a read."},
        "on_failure": {"type": "string", "enum": ["rollback", "stop", "continue"]},
        "parallel": {"type": "array", "items": {"type": "object"}, "description": "Instead of a call: steps that run at the same time, none destructive."},
        "limit": {"type": "integer", "description": "With `parallel`: so many at once."},
        "for_each": {"description": "This step once for each item: a list, or `${params.x}` that is one. `${item}`, `${item.field}` and `${index}` are replaced."},
        "batch": {"type": "integer", "description": "With `for_each`: so many items at a time; 1 if not set."},
        "max_failures": {"type": "integer", "description": "With `for_each`: so many may fail; 0 if not set."},
        }, "additionalProperties": false}})
}

pub(super) fn quorum_schema() -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": 16, "default": 1})
}

pub(super) fn flag_schema() -> Value {
    json!({"type": "boolean", "default": false})
}

pub(super) fn on_failure_schema() -> Value {
    json!({"type": "string", "enum": ["rollback", "stop", "continue"], "default": "rollback"})
}

pub(super) fn on_reject_schema() -> Value {
    json!({"type": "string", "enum": ["rollback", "stop"], "default": "rollback"})
}

pub(super) fn seconds_schema() -> Value {
    json!({"type": "integer", "minimum": 1})
}

pub(super) const fn defined(
    name: &'static str,
    required: bool,
    schema: fn() -> Value,
    doc: &'static str,
) -> Param {
    Param {
        name,
        kind: Kind::Defined(schema),
        required,
        doc,
    }
}
