//! Every decision: `decide(&State, Command) -> (events, effects)` or a refusal.
//!
//! Pure: what time it is and which ids are fresh is in the [`Context`]. The engine commits the
//! events, and only then performs the effects; each effect comes back as one of the reporting
//! commands. A command that is refused changes nothing.
//!
//! - `approval`: questions to a person, their answers, their deadlines.
//! - `forward`: the steps, one after the other; `send`: what is asked before each is sent; `drift`:
//!   what stops them; `outcome`: what came of them.
//! - `back`: the rollback.
//! - `again`: going on after a pause, or after another owner.

mod again;
mod approval;
mod back;
mod drift;
mod forward;
mod outcome;
mod send;
mod turn;

use std::collections::BTreeMap;

use guard::digest::Digest;
use serde_json::{Map, Value};

pub use approval::{due, next_deadline};
pub use forward::call_to_prepare;
pub use outcome::{not_yet, probe_of};

use crate::event::{Assurance, Direction, Event, Left, Principal, Review, Verdict};
use crate::model::{ApprovalId, Approvers, Call, Facts, Millis, Prepared, StepId, Verify};
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::state::State;
use turn::Turn;

/// How often a call that may be repeated is sent in all, where answers get lost.
pub const ATTEMPTS: u32 = 3;

/// How often a step is taken over by another owner before a person is asked.
pub const RECOVERIES: u32 = 3;

/// What a decision may know beside the state.
#[derive(Clone, Debug)]
pub struct Context {
    /// What time it is.
    pub now: Millis,
    /// An id for an approval, should one be asked for.
    pub approval: ApprovalId,
    /// Any number, another one each time: what is tried again at the same time shall not be.
    pub jitter: u64,
    /// The operator's rules.
    pub rules: Rules,
    /// The process is about to end: what is in flight is settled, and nothing new is begun.
    pub closing: bool,
}

/// The operator's rules on approvals, from `config.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The plan needs an approval only when a step is destructive, not for any change (P5).
    pub plan_only_if_destructive: bool,
    /// A decision with less is refused.
    pub min_assurance: Assurance,
    /// Who has to say yes, whatever a workflow says.
    pub approvers: Approvers,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            plan_only_if_destructive: false,
            min_assurance: Assurance::Attested,
            approvers: Approvers::default(),
        }
    }
}

/// What somebody wants, or what an effect reports.
#[derive(Clone, Debug)]
pub enum Command {
    /// Begin. The review was made just before.
    Run {
        /// Who.
        by: Principal,
        /// What a look at the whole showed.
        review: Box<Review>,
    },
    /// Yes.
    Approve {
        /// To which question.
        approval: ApprovalId,
        /// Who.
        by: Principal,
        /// What they add.
        comment: String,
        /// Steps that the decision names.
        steps: Vec<StepId>,
        /// The catalog's word on each step now; a plan is void when it differs from the review's.
        facts: Vec<Option<Facts>>,
    },
    /// No.
    Reject {
        /// To which question.
        approval: ApprovalId,
        /// Who.
        by: Principal,
        /// Why.
        reason: String,
    },
    /// Stop.
    Cancel {
        /// Who.
        by: Principal,
    },
    /// Undo what was done.
    Rollback {
        /// Who.
        by: Principal,
    },
    /// Go on after a pause.
    Resume {
        /// Who.
        by: Principal,
        /// A new look at the whole, where the plan is to be approved anew.
        review: Option<Box<Review>>,
        /// What probes of the unknown steps showed just now.
        probes: BTreeMap<StepId, Verdict>,
    },
    /// A person says what became of a step whose effect is unknown.
    Resolve {
        /// Which.
        step: StepId,
        /// Whether it took effect.
        happened: bool,
        /// Its outputs, where they are known.
        outputs: BTreeMap<String, Value>,
        /// Who.
        by: Principal,
        /// Why they think so.
        note: String,
    },
    /// Take over what another owner left.
    Adopt,
    /// Report of [`Effect::Prepare`].
    Prepared {
        /// Which step.
        step: StepId,
        /// What was found, or why it cannot be done.
        found: Result<Box<Found>, Unfit>,
    },
    /// Report of [`Effect::Send`].
    Replied {
        /// Which step.
        step: StepId,
        /// There or back.
        direction: Direction,
        /// Of which attempt.
        attempt: u32,
        /// The key of the deed: attempts are counted anew when a person says that it did not happen.
        key: String,
        /// How long it took, in milliseconds.
        took_ms: u64,
        /// What came of it.
        reply: Reply,
    },
    /// Report of [`Effect::Wait`].
    Woke {
        /// Which step.
        step: StepId,
        /// What it waited for.
        until: Millis,
    },
    /// A step's intent could not be recorded, since another workflow holds the object.
    Held {
        /// Which step.
        step: StepId,
    },
    /// Report of [`Effect::Probe`].
    Probed {
        /// Which step.
        step: StepId,
        /// There or back.
        direction: Direction,
        /// What it showed.
        verdict: Verdict,
    },
}

/// What is known of a step right before it is sent.
#[derive(Clone, Debug)]
pub struct Found {
    /// The catalog's word on it now.
    pub facts: Facts,
    /// What a preview showed; empty where the companion has none.
    pub prepared: Prepared,
}

/// Why a step cannot be sent. It was not.
#[derive(Clone, Debug)]
pub struct Unfit {
    /// The companion's code, or ours.
    pub code: String,
    /// Sanitised text.
    pub error: String,
    /// What looking at it may have left behind: nothing, unless a preview was answered as none.
    pub left: Left,
}

impl Unfit {
    /// Found out without touching anything.
    #[must_use]
    pub fn new(code: impl Into<String>, error: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            error: error.into(),
            left: Left::Nothing,
        }
    }
}

/// What the engine is to do once the events are durable.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Check a call against the live catalog and, where the tool has previews, ask for one.
    Prepare {
        /// Which step.
        step: StepId,
        /// With every reference resolved.
        call: Call,
        /// The key that the change will have.
        key: String,
    },
    /// Send a call. A change has its intent among the events of this very turn.
    Send {
        /// Which step.
        step: StepId,
        /// There or back.
        direction: Direction,
        /// Which attempt.
        attempt: u32,
        /// The key of the deed.
        key: String,
        /// With every reference resolved.
        call: Call,
        /// The identity that was prepared.
        target: Option<Map<String, Value>>,
        /// Whether it may change the world.
        change: bool,
    },
    /// Make a read until its condition holds ([`not_yet`]), or until the deadline; report the last
    /// answer as that of [`Effect::Send`].
    Poll {
        /// Which step.
        step: StepId,
        /// Which attempt.
        attempt: u32,
        /// The key of the deed.
        key: String,
        /// With every reference resolved.
        call: Call,
        /// How long between two reads, in seconds.
        every_s: u32,
        /// When it is too late.
        deadline: Millis,
    },
    /// Report back at that time.
    Wait {
        /// Which step.
        step: StepId,
        /// When.
        until: Millis,
    },
    /// Find out by a read whether a change is in effect.
    Probe {
        /// Which step.
        step: StepId,
        /// There or back.
        direction: Direction,
        /// How.
        verify: Verify,
    },
}

impl Effect {
    /// Whether the events so far must be durable before this is done.
    #[must_use]
    pub fn needs_commit(&self) -> bool {
        matches!(self, Self::Send { change: true, .. })
    }
}

/// Which sending an answer belongs to.
#[derive(Clone, Copy)]
struct Of {
    attempt: u32,
    /// Of the deed that the step is about now, and not of one that a person has settled since.
    is_current: bool,
}

/// What follows from a command.
///
/// # Errors
/// [`Refusal`], when the transition table has no such move from here; the state is as before.
pub fn decide(
    state: &State,
    command: Command,
    context: &Context,
) -> Result<(Vec<Event>, Vec<Effect>), Refusal> {
    let mut turn = Turn::new(state.clone(), context);
    match command {
        Command::Run { by: _, review } => approval::run(&mut turn, *review)?,
        Command::Approve {
            approval,
            by,
            comment,
            steps,
            facts,
        } => approval::approve(&mut turn, approval, by, comment, &steps, &facts)?,
        Command::Reject {
            approval,
            by,
            reason,
        } => approval::reject(&mut turn, approval, by, reason)?,
        Command::Cancel { by } => approval::cancel(&mut turn, by)?,
        Command::Rollback { by: _ } => back::ask(&mut turn)?,
        Command::Resume { by, review, probes } => again::resume(&mut turn, by, review, &probes)?,
        Command::Resolve {
            step,
            happened,
            outputs,
            by,
            note,
        } => again::resolve(&mut turn, step, happened, outputs, by, note)?,
        Command::Adopt => again::adopt(&mut turn),
        Command::Prepared { step, found } => send::prepared(&mut turn, &step, found),
        Command::Replied {
            step,
            direction,
            attempt,
            key,
            took_ms,
            reply,
        } => {
            let of = Of {
                attempt,
                is_current: key == turn.state.key(&step, direction),
            };
            match direction {
                Direction::Do => outcome::replied(&mut turn, &step, of, took_ms, &reply),
                Direction::Undo => back::replied(&mut turn, &step, of, took_ms, &reply),
            }
        }
        Command::Probed {
            step,
            direction,
            verdict,
        } => match direction {
            Direction::Do => outcome::probed(&mut turn, &step, verdict),
            Direction::Undo => back::probed(&mut turn, &step, verdict),
        },
        Command::Woke { step, until } => forward::woke(&mut turn, &step, until),
        Command::Held { step } => send::held(&mut turn, &step),
    }
    Ok(turn.end())
}

/// The digest that an approval of the plan is bound to.
pub(crate) fn approval_digest(state: &State, steps: &[crate::event::StepReview]) -> Digest {
    approval::plan_digest(state, steps)
}

/// The undo that a rollback would use for a step now.
pub(crate) fn undo_for_show(
    state: &State,
    step: &StepId,
) -> Result<crate::model::Undo, (String, String)> {
    back::undo_of(state, step)
}

/// The digest that an approval of one step is bound to: the plan, the key, what will be sent, and
/// what was prepared.
#[must_use]
pub fn step_digest(state: &State, step: &StepId, call: &Call, prepared: &Prepared) -> Digest {
    guard::digest::digest(
        "pilothouse/step/1",
        &serde_json::json!({
            "plan": state.review.as_ref().map(|r| r.digest),
            "key": state.key(step, Direction::Do),
            "call": call,
            "prepared": prepared,
        }),
    )
}
