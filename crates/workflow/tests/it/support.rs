//! Small workflows, and what a companion would say of their steps.

use std::collections::BTreeMap;

use guard::digest::Digest;
use serde_json::{Map, Value, json};
use workflow::decide::{Context, Rules};
use workflow::event::{Assurance, Preview, Principal, Review, Verdict};
use workflow::model::{
    ApprovalId, Approvers, Call, CallStep, Deed, Definition, Each, Effect, Facts, Group, OnFailure,
    OnReject, OutputDef, Prepared, Retry, Risk, ScalarKind, StepDef, StepId, Undo, UndoKind,
    Verify, WaitFor, WorkflowId,
};
use workflow::review::{Look, review};
use workflow::state::State;

/// Where a probe looks.
pub(crate) const POINTER: &str = "/vm/on";

/// A kind of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only reads.
    Read,
    /// It may be repeated, is covered by the plan, and has an exact undo.
    Write,
    /// It asks, may be done only once, and has an undo.
    Destroy,
    /// It asks, may be repeated, and has no undo.
    NoUndo,
    /// A person decides.
    Gate,
    /// Its companion has no previews, and nothing can tell whether it took effect.
    Blind,
    /// A write that is tried again once when it fails.
    Retry,
    /// It asks, may be repeated, and is tried again once when it fails.
    RetryDestroy,
    /// A read that waits for a condition.
    Wait,
    /// A write whose condition does not hold.
    Never,
    /// A write whose answer is never what it was to bring about.
    Unexpected,
    /// A write whose failure the workflow goes on after.
    Optional,
    /// A write that runs only if the first step succeeded, and whose answer has to be right.
    After,
    /// A write whose own verify is made after each answer, and can deny it.
    Verified,
    /// The same, but its verify says only what is there when it is done.
    Shown,
    /// A write without a preview and with an undo of its author: nothing can be read back.
    Own,
}

/// A small workflow.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) kinds: Vec<Kind>,
    pub(crate) on_failure: OnFailure,
    pub(crate) approvers: Approvers,
    pub(crate) groups: Vec<Group>,
}

impl Spec {
    pub(crate) fn of(kinds: &[Kind]) -> Self {
        Self {
            kinds: kinds.to_vec(),
            on_failure: OnFailure::Rollback,
            approvers: Approvers::default(),
            groups: Vec::new(),
        }
    }

    pub(crate) fn on_failure(self, on_failure: OnFailure) -> Self {
        Self { on_failure, ..self }
    }

    /// So many different people have to say yes.
    pub(crate) fn quorum(self, quorum: u32) -> Self {
        let approvers = Approvers {
            quorum,
            exclude_requester: true,
        };
        Self { approvers, ..self }
    }

    /// These steps at the same time; as items of a list where a batch is given.
    pub(crate) fn group(
        mut self,
        from: usize,
        count: usize,
        limit: u32,
        each: Option<Each>,
    ) -> Self {
        self.groups.push(Group {
            id: StepId(format!("g{from}")),
            from,
            count,
            limit,
            each,
        });
        self
    }
}

impl Kind {
    /// Whether it needs an approval of its own.
    pub(crate) fn asks(self) -> bool {
        matches!(
            self,
            Self::Destroy | Self::NoUndo | Self::Blind | Self::RetryDestroy
        )
    }

    /// Whether its companion has no previews.
    fn is_dark(self) -> bool {
        matches!(self, Self::Blind | Self::Own)
    }
}

/// Scalars of a verify.
fn scalar(on: bool) -> BTreeMap<String, Value> {
    BTreeMap::from([(POINTER.to_owned(), Value::Bool(on))])
}

/// A verify that says what is there while the change is in effect, and what else.
fn look(before: BTreeMap<String, Value>) -> Verify {
    Verify {
        call: call("look"),
        before,
        after: scalar(true),
    }
}

pub(crate) fn id() -> WorkflowId {
    WorkflowId("wf_1".to_owned())
}

pub(crate) fn step_id(i: usize) -> StepId {
    StepId(format!("s{i}"))
}

/// Somebody whom the transport authenticated.
pub(crate) fn authenticated(name: &str) -> Principal {
    Principal {
        name: name.to_owned(),
        assurance: Assurance::Authenticated,
        account: format!("{name} via https"),
    }
}

pub(crate) fn person() -> Principal {
    Principal {
        name: "ann".to_owned(),
        assurance: Assurance::Attested,
        account: "ann via stdio".to_owned(),
    }
}

pub(crate) fn context(seed: u64) -> Context {
    Context {
        now: 0,
        approval: ApprovalId(format!("ap_{seed}")),
        jitter: seed,
        rules: Rules::default(),
        closing: false,
    }
}

pub(crate) fn definition(spec: &Spec) -> Definition {
    Definition {
        name: "A workflow".to_owned(),
        description: String::new(),
        steps: spec
            .kinds
            .iter()
            .enumerate()
            .map(|(i, kind)| StepDef {
                id: step_id(i),
                name: step_id(i).0,
                description: String::new(),
                when: match kind {
                    Kind::Never => Some("1 > 2".to_owned()),
                    Kind::After => Some("steps.s0.status == 'succeeded'".to_owned()),
                    _ => None,
                },
                deed: match kind {
                    Kind::Gate => Deed::Gate("Go on?".to_owned()),
                    _ => Deed::Call(Box::new(CallStep {
                        call: call("do"),
                        undo: (*kind == Kind::Own).then(|| call("undo")),
                        outputs: BTreeMap::from([(
                            "on".to_owned(),
                            OutputDef {
                                pointer: POINTER.to_owned(),
                                kind: ScalarKind::Boolean,
                            },
                        )]),
                        verify: match kind {
                            Kind::Verified => Some(look(scalar(false))),
                            Kind::Shown => Some(look(BTreeMap::new())),
                            _ => None,
                        },
                        timeout_s: None,
                        expect: match kind {
                            Kind::Unexpected => Some("!outputs.on".to_owned()),
                            Kind::After => Some("outputs.on".to_owned()),
                            _ => None,
                        },
                        retry: matches!(kind, Kind::Retry | Kind::RetryDestroy).then_some(Retry {
                            count: 1,
                            backoff_s: 1,
                            max_backoff_s: 1,
                        }),
                        wait_for: (*kind == Kind::Wait).then(|| WaitFor {
                            until: "outputs.on".to_owned(),
                            every_s: 1,
                            deadline_s: 10,
                        }),
                        on_failure: (*kind == Kind::Optional).then_some(OnFailure::Continue),
                        item: None,
                    })),
                },
            })
            .collect(),
        params: Map::new(),
        on_failure: spec.on_failure,
        on_reject: OnReject::Rollback,
        approval_timeout_s: 300,
        execution_expiry_s: 3600,
        approvers: spec.approvers,
        groups: spec.groups.clone(),
    }
}

pub(crate) fn call(action: &str) -> Call {
    Call {
        skill: "control".to_owned(),
        tool: "vmware_control".to_owned(),
        arguments: Map::from_iter([("action".to_owned(), json!(action))]),
    }
}

pub(crate) fn facts_of(kind: Kind) -> Option<Facts> {
    let (risk, effect) = match kind {
        Kind::Gate => return None,
        Kind::Read | Kind::Wait => (Risk::Read, Effect::Read),
        Kind::Write
        | Kind::Retry
        | Kind::Never
        | Kind::Unexpected
        | Kind::Optional
        | Kind::After
        | Kind::Verified
        | Kind::Shown
        | Kind::Own => (Risk::Write, Effect::Idempotent),
        Kind::Destroy => (Risk::Destructive, Effect::Once),
        Kind::NoUndo | Kind::RetryDestroy => (Risk::Destructive, Effect::Idempotent),
        Kind::Blind => (Risk::Unknown, Effect::Once),
    };
    Some(Facts {
        fingerprint: Digest::of_bytes(b"companion"),
        tool: Digest::of_bytes(b"tool"),
        action: Some("do".to_owned()),
        risk,
        effect,
        preview: (!kind.is_dark()).then(|| "preview".to_owned()),
        select: Some("action".to_owned()),
        inverses: vec!["undo".to_owned()],
    })
}

pub(crate) fn other_companion(facts: Facts) -> Facts {
    Facts {
        fingerprint: Digest::of_bytes(b"another companion"),
        ..facts
    }
}

/// The value that every change makes of what was there.
pub(crate) const AFTER: u64 = 4;

pub(crate) fn prepared_of(kind: Kind, step: &StepId, drifted: bool) -> Prepared {
    prepared_from(kind, step, if drifted { 3 } else { 2 })
}

/// What a preview shows of a step, with what is there before it. The undo brings that back.
pub(crate) fn prepared_from(kind: Kind, step: &StepId, before: u64) -> Prepared {
    if kind.is_dark() || matches!(kind, Kind::Read | Kind::Wait | Kind::Gate) {
        return Prepared::default();
    }
    let mut undo = call("undo");
    undo.arguments.insert("cpu".to_owned(), json!(before));
    Prepared {
        target: Map::from_iter([("moref".to_owned(), json!(step))]),
        before: Map::from_iter([("cpu".to_owned(), json!(before))]),
        after: Map::from_iter([("cpu".to_owned(), json!(AFTER))]),
        undo: (kind != Kind::NoUndo).then(|| Undo {
            call: undo,
            kind: UndoKind::Exact,
            note: String::new(),
            effect: match kind {
                Kind::Destroy => Effect::Once,
                _ => Effect::Idempotent,
            },
        }),
        no_undo: String::new(),
        verify: (!matches!(kind, Kind::Verified | Kind::Shown)).then(|| look(scalar(false))),
        warnings: Vec::new(),
    }
}

pub(crate) fn review_of(state: &State, kinds: &[Kind]) -> Review {
    let found = kinds
        .iter()
        .enumerate()
        .map(|(i, kind)| {
            let facts = facts_of(*kind);
            let preview = match kind {
                Kind::Read | Kind::Wait | Kind::Gate => Preview::NotNeeded,
                Kind::Blind | Kind::Own => Preview::NotPossible {
                    why: "no previews".to_owned(),
                },
                _ => Preview::Shown {
                    prepared: Box::new(prepared_of(*kind, &step_id(i), false)),
                },
            };
            Look {
                facts,
                preview,
                undo_risk: None,
                held_by: None,
            }
        })
        .collect();
    review(state, found)
}

/// What a truthful probe may say: the truth, or nothing.
pub(crate) fn verdicts(done: bool) -> Vec<Verdict> {
    let truth = if done {
        Verdict::InEffect
    } else {
        Verdict::NotInEffect
    };
    vec![
        truth,
        Verdict::Unclear {
            why: "it could not be read".to_owned(),
        },
    ]
}
