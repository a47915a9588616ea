//! The nouns: a workflow as it was written, and what the catalog says of its steps.
//!
//! Everything here is data. It is written once, by [`crate::define`], and never changes
//! afterwards: what happens to a workflow is in [`crate::event`] and [`crate::state`].

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use guard::digest::Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

mod terms;

pub use terms::{Approvers, Each, Group, Retry, WaitFor};

/// A moment: milliseconds since 1970-01-01T00:00:00Z. This room never reads a clock; it is told.
pub type Millis = i64;

/// What names a workflow everywhere: `wf_` and the 32 hex digits of a UUIDv7.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkflowId(pub String);

impl fmt::Display for WorkflowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What names a step within its workflow: `[a-z][a-z0-9_]*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(pub String);

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What names an approval: `ap_` and the 32 hex digits of a UUIDv7. Used once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ApprovalId(pub String);

impl fmt::Display for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a tool may do to the world. The order is the order of caution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Changes nothing.
    Read,
    /// Changes something, and destroys nothing.
    Write,
    /// May destroy: its own approval each time (P6).
    Destructive,
    /// Nobody said. Treated as destructive.
    Unknown,
}

impl Risk {
    /// Whether a step of this risk may change the world.
    #[must_use]
    pub fn changes(self) -> bool {
        self != Self::Read
    }

    /// Whether a step of this risk needs an approval of its own (P6).
    #[must_use]
    pub fn is_destructive(self) -> bool {
        matches!(self, Self::Destructive | Self::Unknown)
    }

    /// The word for it, as in the tables and the answers.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Destructive => "destructive",
            Self::Unknown => "unknown",
        }
    }
}

/// What repeating a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nothing: it only reads.
    Read,
    /// Nothing more than the first time.
    Idempotent,
    /// Something again. Also what is assumed where nobody said.
    Once,
}

impl Effect {
    /// The word for it, as in the tables and the answers.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Idempotent => "idempotent",
            Self::Once => "once",
        }
    }
}

/// One call of one tool of one companion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The companion's name in `companions.json`.
    pub skill: String,
    /// The tool's name in the companion's own `tools/list`.
    pub tool: String,
    /// The arguments; references are not resolved yet in a definition, and are in an intent.
    pub arguments: Map<String, Value>,
}

/// A workflow as its author wrote it, checked for form and with nothing resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// P14: 1 to 120 ordinary characters.
    pub name: String,
    /// P14: 0 to 2,000 ordinary characters.
    #[serde(default)]
    pub description: String,
    /// In the order in which they run; at least one.
    pub steps: Vec<StepDef>,
    /// Values for `${params.<name>}`.
    #[serde(default)]
    pub params: Map<String, Value>,
    /// What a failed step leads to.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// What a rejected approval leads to, once something was changed.
    #[serde(default)]
    pub on_reject: OnReject,
    /// How long an approval may stay open, in seconds (P7).
    pub approval_timeout_s: u32,
    /// How long an approval that was given may wait to be used, in seconds.
    #[serde(default = "hour")]
    pub execution_expiry_s: u32,
    /// Who has to say yes.
    #[serde(default, skip_serializing_if = "Approvers::is_anyone")]
    pub approvers: Approvers,
    /// Which of the steps run at the same time; in order, none within another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
}

fn hour() -> u32 {
    3600
}

impl Definition {
    /// The group that the step at this place belongs to.
    #[must_use]
    pub fn group_of(&self, place: usize) -> Option<&Group> {
        let after = self.groups.partition_point(|group| group.from <= place);
        let group = self.groups.get(after.checked_sub(1)?)?;
        (place < group.from + group.count).then_some(group)
    }

    /// The steps that are under way together with the one at this place: itself, its group, or its
    /// batch.
    #[must_use]
    pub fn window_of(&self, place: usize) -> Range<usize> {
        let Some(group) = self.group_of(place) else {
            return place..place + 1;
        };
        let end = group.from + group.count;
        match &group.each {
            None => group.from..end,
            Some(each) => {
                let batch = (each.batch as usize).max(1);
                let start = group.from + (place - group.from) / batch * batch;
                start..end.min(start + batch)
            }
        }
    }

    /// What the failure of the step at this place leads to.
    #[must_use]
    pub fn on_failure_of(&self, place: usize) -> OnFailure {
        match self.steps.get(place).map(|step| &step.deed) {
            Some(Deed::Call(call)) => call.on_failure.unwrap_or(self.on_failure),
            Some(Deed::Gate(_)) | None => self.on_failure,
        }
    }
}

/// What a failed step leads to (P8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The completed steps are undone at once, last first.
    #[default]
    Rollback,
    /// The workflow ends `failed`; what was done stays, and `rollback` by hand is there.
    Stop,
    /// The next step runs.
    Continue,
}

/// What a rejected approval leads to, once something was changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnReject {
    /// The completed steps are undone.
    #[default]
    Rollback,
    /// The workflow ends `cancelled`; what was done stays.
    Stop,
}

/// One step as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepDef {
    /// Unique within the workflow.
    pub id: StepId,
    /// P14; the id where none was given.
    pub name: String,
    /// P14.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// It runs only if this holds (CEL); else it is skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// What it does.
    #[serde(flatten)]
    pub deed: Deed,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// A call of a companion's tool.
    Call(Box<CallStep>),
    /// A pause for a person, with the message that the person reads.
    Gate(String),
}

/// A step that calls a companion's tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallStep {
    /// What is called.
    pub call: Call,
    /// The author's own inverse, used where the companion offers none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Call>,
    /// Short scalars of the answer that later steps may use, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, OutputDef>,
    /// The author's own check that the step is in effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Verify>,
    /// How long one attempt may take, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u32>,
    /// It has failed unless this holds once it answered (CEL).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
    /// How often it is tried again when it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// A read that is made until a condition holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_for: Option<WaitFor>,
    /// What its failure leads to, where that is not what the workflow says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// The item of the list that it stands for, where it was written for each item of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<Value>,
}

/// Where an output is found in an answer, and of which type it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputDef {
    /// A JSON Pointer (RFC 6901) into the structured content.
    pub pointer: String,
    /// The type that later steps may count on.
    #[serde(rename = "type", default)]
    pub kind: ScalarKind,
}

/// The type of an output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScalarKind {
    /// Text of at most 500 characters.
    #[default]
    String,
    /// A whole number within ±2^53.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
}

impl ScalarKind {
    /// The JSON Schema name of the type.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// A read that tells whether a change is in effect.
///
/// All of `after` hold: it is. All of `before` hold: it is not. Where `before` is empty, `after`
/// alone decides, since its author said what being in effect means and nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verify {
    /// What is called. Only ever a tool of risk `read`.
    pub call: Call,
    /// JSON Pointers into the answer, and the scalars found there while the change is in effect.
    pub after: BTreeMap<String, Value>,
    /// The same while it is not.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub before: BTreeMap<String, Value>,
}

/// How exact an undo is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UndoKind {
    /// Everything is as it was.
    Exact,
    /// Something is lost; the note says what.
    Lossy,
    /// It works under a condition; the note says which.
    Conditional,
    /// The author's own inverse: nobody vouches for how exact it is.
    Declared,
    /// There is none; the note says why.
    None,
}

impl UndoKind {
    /// The word for it, as in the answers.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Lossy => "lossy",
            Self::Conditional => "conditional",
            Self::Declared => "declared",
            Self::None => "none",
        }
    }
}

/// The inverse of a step, with the values from before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Undo {
    /// What is called.
    pub call: Call,
    /// How exact it is.
    pub kind: UndoKind,
    /// What is lost, or the condition.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// What repeating it does: one that got lost is sent again only where that is harmless.
    #[serde(default = "once")]
    pub effect: Effect,
}

fn once() -> Effect {
    Effect::Once
}

/// What a read-only call found out just before a change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Prepared {
    /// The object's identity; empty where the companion cannot say.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub target: Map<String, Value>,
    /// The values that will be overwritten.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub before: Map<String, Value>,
    /// The values that will be there.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub after: Map<String, Value>,
    /// The inverse, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
    /// Why there is no inverse.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub no_undo: String,
    /// How to tell whether the change is in effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Verify>,
    /// What a person should know, in plain sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What the live catalog says of one call: the companion and the tool as they are today.
///
/// Everything in it is part of the plan's digest: an approval is void once any of it changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// What the companion says it is: name, version and how it is started, as a digest.
    pub fingerprint: Digest,
    /// The tool's schema, annotations and table row, as a digest.
    pub tool: Digest,
    /// The action within the tool, where the tool has a table of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// What the call may do.
    pub risk: Risk,
    /// What repeating it does.
    pub effect: Effect,
    /// The boolean argument that turns the call into a preview of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<String>,
    /// The argument that selects the action, where the tool has a table of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select: Option<String>,
    /// The actions that the companion declares as inverses of this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inverses: Vec<String>,
}
