//! Processes on one home: real journals and owners, a clock each that the test moves, and one fake
//! companion, named as such, that keeps its own ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::ports::{
    Batch, Clock, Dispatch, Ids, JournalError, Listed, Outgoing, Owners, Ports, Recorded, Unfit,
};
use engine::{Engine, Settings};
use journal::{ClaimError, Journal, Owner};
use rusqlite::{Connection, OptionalExtension as _};
use serde_json::{Value, json};
use tokio::sync::watch;
use workflow::decide::Rules;
use workflow::define::Bounds;
use workflow::event::Direction;
use workflow::model::{
    ApprovalId, Call, Effect, Facts, Millis, Risk, ScalarKind, StepId, WorkflowId,
};
use workflow::reply::Reply;

use crate::gate::{Gate, Pass};

/// How long an approval is open, in seconds.
pub(crate) const OPEN_S: u32 = 300;

/// A change that reached the companion.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) workflow: WorkflowId,
    pub(crate) step: String,
    pub(crate) direction: Direction,
    pub(crate) key: String,
    pub(crate) attempt: u32,
    pub(crate) once: bool,
    /// Whether it was done.
    pub(crate) done: bool,
    /// Which process sent it.
    pub(crate) by: String,
    /// What the home said of the owner at that moment: who, and in which epoch.
    pub(crate) owner: Option<(String, i64)>,
    /// Which workflow held the object at that moment.
    pub(crate) held_by: Option<String>,
    /// How far the audit chain was at that moment.
    pub(crate) audit_seq: i64,
}

/// What all processes of a round share.
pub(crate) struct Outside {
    pub(crate) gate: Arc<Gate>,
    /// A look at the home past the journal.
    pub(crate) sql: Arc<Mutex<Connection>>,
    pub(crate) ledger: Mutex<Vec<Sent>>,
    pub(crate) values: Mutex<BTreeMap<String, i64>>,
    /// The answer of this step gets lost once; whether it is done all the same.
    pub(crate) loses: Mutex<Option<(&'static str, bool)>>,
    /// Only what is destructive is asked about.
    pub(crate) trusting: bool,
    pub(crate) round: u64,
    pub(crate) ids: AtomicU64,
}

/// One process.
pub(crate) struct Process {
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) journal: Journal,
    owner: Mutex<Option<Arc<Owner>>>,
    pub(crate) clock: watch::Sender<Millis>,
    dead: AtomicBool,
    outside: Arc<Outside>,
}

/// A process as the engine sees the world.
#[derive(Clone)]
pub(crate) struct World(pub(crate) Arc<Process>);

impl World {
    pub(crate) fn new(
        index: usize,
        (journal, owner): (Journal, Owner),
        now: Millis,
        outside: &Arc<Outside>,
    ) -> Self {
        Self(Arc::new(Process {
            index,
            name: owner.process().to_owned(),
            journal: journal.owned_by(&owner),
            owner: Mutex::new(Some(Arc::new(owner))),
            clock: watch::Sender::new(now),
            dead: AtomicBool::new(false),
            outside: Arc::clone(outside),
        }))
    }

    pub(crate) fn engine(&self) -> Engine<Self> {
        Engine::new(
            self.clone(),
            Settings {
                rules: Rules {
                    plan_only_if_destructive: self.0.outside.trusting,
                    ..Rules::default()
                },
                bounds: Bounds {
                    approval_timeout_s: OPEN_S,
                    max_approval_timeout_s: 3600,
                    execution_expiry_s: 36_000,
                    max_parallel: 8,
                },
                deciders: 0,
                linger: Duration::from_millis(20),
                call_timeout: Duration::from_secs(5),
                read_timeout: Duration::from_secs(5),
            },
        )
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.0.dead.load(Ordering::SeqCst)
    }

    /// The process ends where it stands: it does nothing any more, and its lock is free.
    pub(crate) fn end(&self) {
        self.0.dead.store(true, Ordering::SeqCst);
        self.0.owner.lock().unwrap().take();
    }

    /// Waits for its turn; a dead process waits for ever.
    pub(crate) async fn turn(&self, call: &'static str) -> Pass {
        self.alive().await;
        let pass = self.0.outside.gate.pass(self.0.index, call).await;
        if self.is_dead() {
            drop(pass);
            pending::<()>().await;
            unreachable!("a dead process does nothing")
        }
        pass
    }

    /// What a person sees who looks whether a step was done.
    pub(crate) fn looks(&self, workflow: &WorkflowId, step: &StepId) -> bool {
        let ledger = self.0.outside.ledger.lock().unwrap();
        ledger.iter().any(|sent| {
            let forward = sent.direction == Direction::Do;
            sent.done && forward && sent.workflow == *workflow && sent.step == step.0
        })
    }

    async fn alive(&self) {
        if self.is_dead() {
            pending::<()>().await;
        }
    }

    fn owner(&self) -> Option<Arc<Owner>> {
        self.0.owner.lock().unwrap().clone()
    }
}

impl Ports for World {
    type Journal = Self;
    type Owners = Self;
    type Dispatch = Self;
    type Clock = Self;
    type Ids = Self;

    fn journal(&self) -> &Self {
        self
    }
    fn owners(&self) -> &Self {
        self
    }
    fn dispatch(&self) -> &Self {
        self
    }
    fn clock(&self) -> &Self {
        self
    }
    fn ids(&self) -> &Self {
        self
    }
}

impl engine::ports::Journal for World {
    async fn append(&self, batch: Batch) -> Result<(), JournalError> {
        let _pass = self.turn("append").await;
        self.0.journal.append(batch).await
    }

    async fn holders(
        &self,
        objects: BTreeSet<String>,
    ) -> Result<BTreeMap<String, WorkflowId>, JournalError> {
        let _pass = self.turn("holders").await;
        self.0.journal.holders(objects).await
    }

    async fn load(&self, workflow: &WorkflowId) -> Result<Vec<Recorded>, JournalError> {
        let _pass = self.turn("load").await;
        self.0.journal.load(workflow).await
    }

    async fn last_seq(&self, workflow: &WorkflowId) -> Result<u64, JournalError> {
        let _pass = self.turn("last_seq").await;
        self.0.journal.last_seq(workflow).await
    }

    async fn list(
        &self,
        states: Vec<String>,
        after: Option<WorkflowId>,
        limit: u32,
    ) -> Result<(Vec<Listed>, u64), JournalError> {
        self.0.journal.list(states, after, limit).await
    }
}

impl Owners for World {
    async fn claim(&self, workflow: &WorkflowId) -> Result<bool, JournalError> {
        let _pass = self.turn("claim").await;
        let Some(owner) = self.owner() else {
            return Ok(false);
        };
        match self.0.journal.claim(workflow, &owner, self.now()).await {
            Ok(_epoch) => Ok(true),
            Err(ClaimError::Owned { .. }) => Ok(false),
            Err(ClaimError::Journal(error)) => Err(error),
            Err(missing @ ClaimError::Missing { .. }) => panic!("{missing}"),
        }
    }

    async fn release(&self, workflow: &WorkflowId) -> Result<(), JournalError> {
        let _pass = self.turn("release").await;
        match self.owner() {
            Some(owner) => self.0.journal.release(workflow, &owner).await.map(|_| ()),
            None => Ok(()),
        }
    }
}

impl Dispatch for World {
    // What the catalog says is always the same: whoever asks first makes no difference.
    async fn describe(
        &self,
        call: &Call,
        _holes: &BTreeMap<String, ScalarKind>,
    ) -> Result<Facts, Unfit> {
        Ok(facts(call))
    }

    async fn call(&self, outgoing: Outgoing) -> Reply {
        let _pass = self.turn("call").await;
        self.0.outside.answer(&self.0.name, &outgoing)
    }
}

impl Clock for World {
    fn now(&self) -> Millis {
        *self.0.clock.borrow()
    }

    async fn until(&self, at: Millis) {
        // The sender lives as long as `self`: there is no other end to this.
        let _ = self.0.clock.subscribe().wait_for(|now| *now >= at).await;
        self.alive().await;
    }
}

impl Ids for World {
    fn workflow(&self) -> WorkflowId {
        WorkflowId(format!("wf_{}_{}", self.0.outside.round, self.number()))
    }

    fn approval(&self) -> ApprovalId {
        ApprovalId(format!("ap_{}_{}", self.0.outside.round, self.number()))
    }

    fn number(&self) -> u64 {
        self.0.outside.ids.fetch_add(1, Ordering::SeqCst)
    }
}

fn facts(call: &Call) -> Facts {
    let action = call.arguments["action"].as_str().unwrap();
    let (risk, effect) = match action {
        "get" => (Risk::Read, Effect::Read),
        "erase" => (Risk::Destructive, Effect::Once),
        "send" => (Risk::Write, Effect::Once),
        _ => (Risk::Write, Effect::Idempotent),
    };
    let preview = call.arguments.get("preview") == Some(&Value::Bool(true));
    Facts {
        fingerprint: guard::digest::Digest::of_bytes(b"fake"),
        tool: guard::digest::Digest::of_bytes(b"store"),
        action: Some(action.to_owned()),
        risk: if preview { Risk::Read } else { risk },
        effect: if preview { Effect::Read } else { effect },
        preview: (risk != Risk::Read).then(|| "preview".to_owned()),
        select: Some("action".to_owned()),
        inverses: vec!["set".to_owned()],
    }
}

impl Outside {
    fn answer(&self, by: &str, outgoing: &Outgoing) -> Reply {
        let arguments = &outgoing.call.arguments;
        let action = arguments["action"].as_str().unwrap();
        let name = arguments["name"].as_str().unwrap();
        let now = self.values.lock().unwrap().get(name).copied();
        let now = now.unwrap_or(40);
        let to = match action {
            "get" => return success(json!({"value": now})),
            "erase" => 0,
            _ => arguments["value"].as_i64().unwrap(),
        };
        let mail = action == "send";
        let target = json!({"moref": name});
        if arguments.get("preview") == Some(&Value::Bool(true)) {
            let undo = json!({"action": "set", "name": name, "value": now, "moref": name});
            return success(json!({
                "preview": true,
                "target": target,
                "before": {"value": now},
                "after": {"value": to},
                "undo": if mail { Value::Null } else { undo },
                "undo_kind": if mail { "none" } else { "exact" },
                "undo_note": if mail { "what was sent stays sent" } else { "" },
                "verify": {
                    "arguments": {"action": "get", "name": name},
                    "before": {"/value": now},
                    "after": {"/value": to},
                },
            }));
        }
        let step = outgoing.step.0.as_str();
        let mut loses = self.loses.lock().unwrap();
        let lost = loses.take_if(|(at, _)| *at == step && outgoing.direction == Direction::Do);
        drop(loses);
        let done = lost.is_none_or(|(_, done)| done);
        if done {
            self.values.lock().unwrap().insert(name.to_owned(), to);
        }
        let Value::Object(target) = target else {
            unreachable!("it is written as an object")
        };
        let sent = self.sent(
            by,
            outgoing,
            done,
            &workflow::hold::object(&target).unwrap(),
        );
        self.ledger.lock().unwrap().push(sent);
        if lost.is_some() {
            return Reply::Lost {
                why: "nobody answered".to_owned(),
            };
        }
        success(json!({"changed": now != to}))
    }

    fn sent(&self, by: &str, outgoing: &Outgoing, done: bool, object: &str) -> Sent {
        let sql = self.sql.lock().unwrap();
        let workflow = &outgoing.workflow;
        let owner = sql
            .prepare_cached(
                "SELECT process, epoch FROM owner WHERE workflow = ?1 AND process IS NOT NULL",
            )
            .unwrap()
            .query_row([&workflow.0], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .unwrap();
        let held_by = sql
            .prepare_cached("SELECT workflow FROM held WHERE object = ?1")
            .unwrap()
            .query_row([object], |row| row.get(0))
            .optional()
            .unwrap();
        let audit_seq = sql
            .prepare_cached("SELECT max(audit_seq) FROM event")
            .unwrap()
            .query_row([], |row| row.get(0))
            .unwrap();
        Sent {
            workflow: workflow.clone(),
            step: outgoing.step.0.clone(),
            direction: outgoing.direction,
            key: outgoing.meta.key.clone(),
            attempt: outgoing.meta.attempt,
            once: outgoing.facts.effect == Effect::Once,
            done,
            by: by.to_owned(),
            owner,
            held_by,
            audit_seq,
        }
    }
}

fn success(body: Value) -> Reply {
    let bytes = body.to_string();
    Reply::Success {
        sha256: guard::digest::sha256_hex(bytes.as_bytes()),
        size: bytes.len() as u64,
        body,
    }
}
