//! What people ask of a process, each under an account of its own, so that the events tell what
//! came of it.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::Engine;
use serde_json::{Map, Value, json};
use workflow::event::{Assurance, Principal};
use workflow::model::{ApprovalId, StepId, WorkflowId};
use workflow::refusal::Refusal;

use crate::gate::LONG;
use crate::world::{OPEN_S, World};

/// One process with its engine.
#[derive(Clone)]
pub(crate) struct Seat {
    pub(crate) world: World,
    pub(crate) engine: Engine<World>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ask {
    Approve,
    Reject,
    Cancel,
    /// The clock of the process passes the deadline, and somebody looks.
    Expire,
    Run,
    Resume,
    Resolve,
    Rollback,
    /// Another workflow on the same object is made, begun and approved.
    Create,
    /// The process ends in an orderly way.
    Close,
    /// The process ends where it stands.
    Kill,
}

pub(crate) const ASKS: [Ask; 11] = [
    Ask::Approve,
    Ask::Reject,
    Ask::Cancel,
    Ask::Expire,
    Ask::Run,
    Ask::Resume,
    Ask::Resolve,
    Ask::Rollback,
    Ask::Create,
    Ask::Close,
    Ask::Kill,
];

impl Ask {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Cancel => "cancel",
            Self::Expire => "expire",
            Self::Run => "run",
            Self::Resume => "resume",
            Self::Resolve => "resolve",
            Self::Rollback => "rollback",
            Self::Create => "create",
            Self::Close => "close",
            Self::Kill => "kill",
        }
    }

    /// Whether it ends its process.
    pub(crate) fn ends(self) -> bool {
        matches!(self, Self::Close | Self::Kill)
    }

    /// The events under the account of whoever asked, one of which is there when it was
    /// acknowledged; empty where it may have had nothing to do.
    pub(crate) fn events(self) -> &'static [&'static str] {
        match self {
            Self::Approve => &["approved"],
            Self::Reject => &["rejected"],
            Self::Cancel => &["cancelled", "cancel_requested"],
            Self::Resolve => &["resolved"],
            Self::Rollback => &["approval_requested"],
            Self::Create => &["created"],
            Self::Resume => &["resumed", "approval_requested", "adopted"],
            Self::Expire | Self::Run | Self::Close | Self::Kill => &[],
        }
    }
}

/// One ask in a round.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) ask: Ask,
    /// By which process.
    pub(crate) at: usize,
    /// How many turns it waits before it begins.
    pub(crate) delay: usize,
    /// The account that its events bear.
    pub(crate) account: String,
}

/// What is asked about.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) id: WorkflowId,
    /// The approval that was open when everybody began.
    pub(crate) approval: ApprovalId,
    /// The name of the object.
    pub(crate) object: String,
}

pub(crate) fn person(account: &str) -> Principal {
    Principal {
        name: "ann".to_owned(),
        assurance: Assurance::Attested,
        account: account.to_owned(),
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it is written as an object"),
    }
}

/// A destructive step that may be done once, a gate, and a write that may be done once.
pub(crate) fn definition(name: &str) -> Map<String, Value> {
    object(json!({"name": "A race", "steps": [
        {"id": "wipe", "skill": "fake", "tool": "store", "params": {"action": "erase", "name": name}},
        {"id": "ask", "gate": "Go on?"},
        {"id": "tell", "skill": "fake", "tool": "store",
         "params": {"action": "send", "name": format!("mail_{name}"), "value": 1}},
    ]}))
}

/// A write that may be done once, and one that may be repeated.
pub(crate) fn writes(name: &str) -> Map<String, Value> {
    object(json!({"name": "A race", "steps": [
        {"id": "tell", "skill": "fake", "tool": "store",
         "params": {"action": "send", "name": format!("mail_{name}"), "value": 1}},
        {"id": "put", "skill": "fake", "tool": "store",
         "params": {"action": "set", "name": name, "value": 3}},
    ]}))
}

/// One write on the same object.
fn another(name: &str) -> Map<String, Value> {
    object(json!({"name": "Another", "steps": [
        {"id": "grab", "skill": "fake", "tool": "store",
         "params": {"action": "set", "name": name, "value": 7}},
    ]}))
}

impl Asked {
    /// Asks, and says what was answered.
    pub(crate) async fn play(&self, seat: &Seat, about: &About) -> Result<(), Refusal> {
        for _ in 0..self.delay {
            drop(seat.world.turn("wait").await);
        }
        let (engine, id, by) = (&seat.engine, &about.id, person(&self.account));
        match self.ask {
            Ask::Approve => approve(engine, about, by).await,
            Ask::Reject => {
                let approval = about.approval.clone();
                engine.reject(id, approval, by, "No".to_owned()).await
            }
            Ask::Cancel => engine.cancel(id, by).await,
            Ask::Expire => {
                let past = Duration::from_secs(u64::from(OPEN_S)) + Duration::from_millis(1);
                let past = i64::try_from(past.as_millis()).unwrap();
                seat.world.0.clock.send_modify(|now| *now += past);
                engine.show(id).await.map(|_| ())
            }
            Ask::Run => engine.run(id, &by).await,
            Ask::Resume => engine.resume(id, by).await,
            Ask::Resolve => {
                let (step, note) = (StepId("tell".to_owned()), "Seen".to_owned());
                let (happened, none) = (seat.world.looks(id, &step), BTreeMap::new());
                engine.resolve(id, step, happened, none, by, note).await
            }
            Ask::Rollback => engine.rollback(id, by).await,
            Ask::Create => {
                let made = engine.create(by.clone(), &another(&about.object)).await?;
                let id = made.state.id.clone();
                engine.run(&id, &by).await?;
                let shown = engine.show(&id).await?;
                let Some(open) = shown.state.approval() else {
                    return Ok(());
                };
                let approval = open.id.clone();
                engine
                    .approve(&id, approval, by, String::new(), Vec::new())
                    .await
            }
            Ask::Close => {
                let settled = engine.close(LONG).await;
                assert!(settled, "something was in flight for ever");
                seat.world.end();
                Ok(())
            }
            Ask::Kill => {
                seat.world.end();
                Ok(())
            }
        }
    }
}

async fn approve(engine: &Engine<World>, about: &About, by: Principal) -> Result<(), Refusal> {
    let approval = about.approval.clone();
    engine
        .approve(&about.id, approval, by, String::new(), Vec::new())
        .await
}

/// Whether the process still lives.
pub(crate) fn lives(seat: &Seat) -> bool {
    !seat.world.is_dead()
}
