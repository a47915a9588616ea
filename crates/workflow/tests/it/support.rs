//! Small workflows, and what a companion would say of their steps.

use std::collections::BTreeMap;

use guard::digest::Digest;
use serde_json::{Map, Value, json};
use workflow::decide::{Context, Rules};
use workflow::event::{Assurance, Preview, Principal, Review, Verdict};
use workflow::model::{
    ApprovalId, Call, CallStep, Deed, Definition, Effect, Facts, OnFailure, OnReject, Prepared,
    Risk, StepDef, StepId, Undo, UndoKind, Verify, WorkflowId,
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
}

impl Kind {
    /// Whether it needs an approval of its own.
    pub(crate) fn asks(self) -> bool {
        matches!(self, Self::Destroy | Self::NoUndo | Self::Blind)
    }
}

pub(crate) fn id() -> WorkflowId {
    WorkflowId("wf_1".to_owned())
}

pub(crate) fn step_id(i: usize) -> StepId {
    StepId(format!("s{i}"))
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
        rules: Rules::default(),
        closing: false,
    }
}

pub(crate) fn definition(kinds: &[Kind], on_failure: OnFailure) -> Definition {
    Definition {
        name: "A workflow".to_owned(),
        description: String::new(),
        steps: kinds
            .iter()
            .enumerate()
            .map(|(i, kind)| StepDef {
                id: step_id(i),
                name: step_id(i).0,
                description: String::new(),
                deed: match kind {
                    Kind::Gate => Deed::Gate("Go on?".to_owned()),
                    _ => Deed::Call(Box::new(CallStep {
                        call: call("do"),
                        undo: None,
                        outputs: BTreeMap::new(),
                        verify: None,
                        timeout_s: None,
                    })),
                },
            })
            .collect(),
        params: Map::new(),
        on_failure,
        on_reject: OnReject::Rollback,
        approval_timeout_s: 300,
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
        Kind::Read => (Risk::Read, Effect::Read),
        Kind::Write => (Risk::Write, Effect::Idempotent),
        Kind::Destroy => (Risk::Destructive, Effect::Once),
        Kind::NoUndo => (Risk::Destructive, Effect::Idempotent),
        Kind::Blind => (Risk::Unknown, Effect::Once),
    };
    Some(Facts {
        fingerprint: Digest::of_bytes(b"companion"),
        tool: Digest::of_bytes(b"tool"),
        action: Some("do".to_owned()),
        risk,
        effect,
        preview: (kind != Kind::Blind).then(|| "preview".to_owned()),
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

pub(crate) fn prepared_of(kind: Kind, step: &StepId, drifted: bool) -> Prepared {
    if matches!(kind, Kind::Read | Kind::Gate | Kind::Blind) {
        return Prepared::default();
    }
    let scalar = |v: bool| BTreeMap::from([(POINTER.to_owned(), Value::Bool(v))]);
    Prepared {
        target: Map::from_iter([("moref".to_owned(), json!(step))]),
        before: Map::from_iter([("cpu".to_owned(), json!(if drifted { 3 } else { 2 }))]),
        after: Map::from_iter([("cpu".to_owned(), json!(4))]),
        undo: (kind != Kind::NoUndo).then(|| Undo {
            call: call("undo"),
            kind: UndoKind::Exact,
            note: String::new(),
            effect: match kind {
                Kind::Destroy => Effect::Once,
                _ => Effect::Idempotent,
            },
        }),
        no_undo: String::new(),
        verify: Some(Verify {
            call: call("look"),
            before: scalar(false),
            after: scalar(true),
        }),
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
                Kind::Read | Kind::Gate => Preview::NotNeeded,
                Kind::Blind => Preview::NotPossible {
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
