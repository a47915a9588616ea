//! Who decides, and what they are asked.

use std::collections::BTreeMap;

use guard::digest::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{ApprovalId, Millis, StepId};

/// Who did something, and how we know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The name: authenticated only where `assurance` says so.
    pub name: String,
    /// How we know.
    pub assurance: Assurance,
    /// The connection's own account, which the name in an argument does not change.
    pub account: String,
}

/// How we know who decided. The order is the order of trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assurance {
    /// Somebody on the agent's own connection said so.
    Attested,
    /// The client says that it asked a person.
    Elicited,
    /// The transport authenticated the person.
    Authenticated,
    /// The person signed the digest.
    Signed,
}

impl Assurance {
    /// The word for it, as in the answers and in `config.toml`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Attested => "attested",
            Self::Elicited => "elicited",
            Self::Authenticated => "authenticated",
            Self::Signed => "signed",
        }
    }
}

/// A question to a person, bound to the digest of exactly what will run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    /// What names it. Used once.
    pub id: ApprovalId,
    /// What it is about.
    pub subject: Subject,
    /// SHA-256 of exactly what will run.
    pub digest: Digest,
    /// When it was asked.
    pub requested_at: Millis,
    /// When it is too late to answer.
    pub expires_at: Millis,
}

/// What an approval is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Subject {
    /// The whole workflow, before its first step (P5).
    Plan,
    /// One destructive step (P6).
    Step {
        /// Which.
        step: StepId,
    },
    /// A gate that the workflow's author put in.
    Gate {
        /// Which.
        step: StepId,
    },
    /// A rollback by hand.
    Rollback {
        /// What will be undone, in order.
        order: Vec<StepId>,
    },
    /// What a person says of a step whose effect is unknown, where more than one has to say it.
    Resolution {
        /// Which.
        step: StepId,
        /// Whether it took effect.
        happened: bool,
        /// Outputs that the person supplied.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        outputs: BTreeMap<String, Value>,
        /// Why they think so.
        note: String,
        /// Who says it.
        by: Principal,
    },
}

impl Subject {
    /// The word for it, as in the answers.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Step { .. } => "step",
            Self::Gate { .. } => "gate",
            Self::Rollback { .. } => "rollback",
            Self::Resolution { .. } => "resolution",
        }
    }

    /// Whether a no, or no answer, leaves the workflow where it was.
    #[must_use]
    pub fn returns(&self) -> bool {
        matches!(self, Self::Rollback { .. } | Self::Resolution { .. })
    }
}
