//! Fakes, named as such: a companion with a ledger of its own, a store that fails when it is told
//! to, and a clock that a test moves. The real ones are tried in `pilot`.

mod companion;
mod written;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::ports::{
    Batch, Clock, Dispatch, Hold, Ids, Journal, JournalError, Listed, Outgoing, Own, Owners, Ports,
    Recorded, StepRow, Unfit, WorkflowRow,
};
use engine::{Engine, Settings};
use serde_json::{Map, Value, json};
use workflow::decide::Rules;
use workflow::define::Bounds;
use workflow::event::{Assurance, Event, Principal};
use workflow::model::{ApprovalId, Call, Facts, Millis, ScalarKind, StepId, WorkflowId};
use workflow::reply::Reply;

pub(crate) use companion::{FakeCompanion, Fault};
pub(crate) use written::{
    ListAsked, approve, authenticated, begin, get, list_of, set, step_with, until, workflow,
};

/// A store in memory that fails when it is told to.
#[derive(Default)]
pub(crate) struct FakeJournal {
    /// What is durable.
    pub(crate) stored: Mutex<BTreeMap<WorkflowId, Vec<Recorded>>>,
    rows: Mutex<BTreeMap<WorkflowId, WorkflowRow>>,
    /// Of each step its row.
    pub(crate) steps: Mutex<BTreeMap<(WorkflowId, u64), StepRow>>,
    /// Which workflow holds which object.
    held: Mutex<BTreeMap<String, WorkflowId>>,
    /// How many transactions there were.
    pub(crate) commits: AtomicU64,
    /// How often a workflow was read.
    pub(crate) loads: AtomicU64,
    /// How many were asked for.
    pub(crate) asked: AtomicU64,
    /// Which of them fail, counted from 1.
    pub(crate) fails: Mutex<BTreeSet<u64>>,
    /// All from this one on fail; 0 is none.
    pub(crate) fails_from: AtomicU64,
    /// All of these workflows fail.
    pub(crate) refuses: Mutex<BTreeSet<WorkflowId>>,
    /// Of these steps an intent is stored, and said not to be.
    pub(crate) lies_about: Mutex<BTreeSet<StepId>>,
    /// Nothing can be read.
    pub(crate) blind: AtomicBool,
    /// What was listed last.
    pub(crate) listed: Mutex<Option<ListAsked>>,
}

impl FakeJournal {
    /// The kinds of a workflow's events, in order.
    pub(crate) fn kinds(&self, id: &WorkflowId) -> Vec<&'static str> {
        let stored = self.stored.lock().unwrap();
        stored[id].iter().map(|r| r.event.kind()).collect()
    }

    /// How often an event of this kind is among them.
    pub(crate) fn count(&self, id: &WorkflowId, kind: &str) -> usize {
        self.kinds(id).iter().filter(|k| **k == kind).count()
    }
}

fn full() -> JournalError {
    JournalError::Store {
        code: "store.full",
        message: "Free some space".to_owned(),
    }
}

/// Everything that a process shares with the ones before and after it.
#[derive(Default)]
pub(crate) struct Outside {
    pub(crate) journal: FakeJournal,
    pub(crate) companion: FakeCompanion,
    owners: Mutex<HashMap<WorkflowId, u64>>,
    /// Processes that are dead.
    pub(crate) dead: Mutex<BTreeSet<u64>>,
    now: AtomicI64,
    ids: AtomicU64,
    /// How often a process tried to become an owner by itself.
    pub(crate) claims: AtomicU64,
    /// Whoever holds this lets nobody become one.
    pub(crate) claiming: tokio::sync::Mutex<()>,
    /// Whoever holds this keeps process 1 from storing anything.
    pub(crate) storing: tokio::sync::Mutex<()>,
}

impl Outside {
    /// Moves the clock.
    pub(crate) fn pass(&self, by: Duration) {
        self.now
            .fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Which process sends the calls of a workflow.
    pub(crate) fn owner(&self, id: &WorkflowId) -> Option<u64> {
        self.owners.lock().unwrap().get(id).copied()
    }
}

/// One process.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) outside: Arc<Outside>,
    process: u64,
}

impl World {
    /// A new process on the same outside.
    pub(crate) fn process(outside: &Arc<Outside>, process: u64) -> Engine<Self> {
        Self::process_with(outside, process, |_| {})
    }

    /// The same, with other settings.
    pub(crate) fn process_with(
        outside: &Arc<Outside>,
        process: u64,
        change: impl FnOnce(&mut Settings),
    ) -> Engine<Self> {
        let world = Self {
            outside: Arc::clone(outside),
            process,
        };
        let mut settings = Settings {
            rules: Rules::default(),
            bounds: Bounds {
                approval_timeout_s: 300,
                max_approval_timeout_s: 3600,
                execution_expiry_s: 3600,
                max_parallel: 8,
            },
            deciders: 0,
            linger: Duration::from_millis(20),
            call_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(5),
        };
        change(&mut settings);
        Engine::new(world, settings)
    }

    fn is_dead(&self) -> bool {
        self.outside.dead.lock().unwrap().contains(&self.process)
    }

    /// A dead process does nothing any more.
    async fn alive(&self) {
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
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

impl Journal for World {
    async fn append(&self, batch: Batch) -> Result<(), JournalError> {
        self.alive().await;
        if self.process == 1 {
            drop(self.outside.storing.lock().await);
        }
        let journal = &self.outside.journal;
        let asked = journal.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let from = journal.fails_from.load(Ordering::SeqCst);
        if journal.fails.lock().unwrap().contains(&asked) || (from > 0 && asked >= from) {
            return Err(full());
        }
        if journal.refuses.lock().unwrap().contains(&batch.workflow) {
            return Err(full());
        }
        let lies = batch.events.iter().any(|recorded| {
            matches!(&recorded.event, Event::Intent { step, .. }
                if journal.lies_about.lock().unwrap().remove(step))
        });
        let mut stored = journal.stored.lock().unwrap();
        let events = stored.entry(batch.workflow.clone()).or_default();
        if batch.events[0].seq != events.len() as u64 + 1 {
            return Err(JournalError::Conflict);
        }
        // Nothing of a batch is there where any of it cannot be.
        let mut held = journal.held.lock().unwrap();
        if let Hold::Take(objects) = &batch.hold {
            let of_another = objects
                .iter()
                .find_map(|object| held.get(object).filter(|by| **by != batch.workflow));
            if let Some(by) = of_another {
                return Err(JournalError::Held { by: by.clone() });
            }
        }
        let own = batch.own;
        if own == Own::Take && !self.own(&batch.workflow) {
            return Err(JournalError::Owned);
        }
        match batch.hold {
            Hold::Keep => {}
            Hold::Take(objects) => {
                held.extend(objects.into_iter().map(|o| (o, batch.workflow.clone())));
            }
            Hold::Release => held.retain(|_, by| *by != batch.workflow),
        }
        events.extend(batch.events);
        let row = |row: StepRow| ((batch.workflow.clone(), row.index), row);
        let mut steps = journal.steps.lock().unwrap();
        steps.extend(batch.steps.into_iter().map(row));
        if own == Own::Give {
            self.disown(&batch.workflow);
        }
        journal.commits.fetch_add(1, Ordering::SeqCst);
        journal
            .rows
            .lock()
            .unwrap()
            .insert(batch.workflow, batch.row);
        if lies { Err(full()) } else { Ok(()) }
    }

    async fn holders(
        &self,
        objects: BTreeSet<String>,
    ) -> Result<BTreeMap<String, WorkflowId>, JournalError> {
        let held = self.outside.journal.held.lock().unwrap();
        Ok(held
            .iter()
            .filter(|(object, _)| objects.contains(*object))
            .map(|(object, by)| (object.clone(), by.clone()))
            .collect())
    }

    async fn load(&self, workflow: &WorkflowId) -> Result<Vec<Recorded>, JournalError> {
        self.outside.journal.loads.fetch_add(1, Ordering::SeqCst);
        let stored = self.outside.journal.stored.lock().unwrap();
        Ok(stored.get(workflow).cloned().unwrap_or_default())
    }

    async fn last_seq(&self, workflow: &WorkflowId) -> Result<u64, JournalError> {
        if self.outside.journal.blind.load(Ordering::SeqCst) {
            return Err(full());
        }
        let stored = self.outside.journal.stored.lock().unwrap();
        Ok(stored.get(workflow).map_or(0, |events| events.len() as u64))
    }

    async fn list(
        &self,
        states: Vec<String>,
        after: Option<WorkflowId>,
        limit: u32,
    ) -> Result<(Vec<Listed>, u64), JournalError> {
        *self.outside.journal.listed.lock().unwrap() = Some((states, after, limit));
        let rows = self.outside.journal.rows.lock().unwrap();
        let listed: Vec<Listed> = rows
            .iter()
            .map(|(id, row)| Listed {
                workflow: id.clone(),
                row: row.clone(),
            })
            .collect();
        let total = listed.len() as u64;
        Ok((listed, total))
    }
}

impl World {
    /// Makes this process the owner, unless another living one is.
    fn own(&self, workflow: &WorkflowId) -> bool {
        let mut owners = self.outside.owners.lock().unwrap();
        let dead = self.outside.dead.lock().unwrap();
        let owner = owners.get(workflow).copied().filter(|o| !dead.contains(o));
        if owner.is_some_and(|o| o != self.process) {
            return false;
        }
        owners.insert(workflow.clone(), self.process);
        true
    }

    fn disown(&self, workflow: &WorkflowId) {
        let mut owners = self.outside.owners.lock().unwrap();
        if owners.get(workflow) == Some(&self.process) {
            owners.remove(workflow);
        }
    }
}

impl Owners for World {
    async fn claim(&self, workflow: &WorkflowId) -> Result<bool, JournalError> {
        self.outside.claims.fetch_add(1, Ordering::SeqCst);
        let _free = self.outside.claiming.lock().await;
        Ok(self.own(workflow))
    }

    async fn release(&self, workflow: &WorkflowId) -> Result<(), JournalError> {
        self.disown(workflow);
        Ok(())
    }
}

impl Dispatch for World {
    async fn describe(
        &self,
        call: &Call,
        _holes: &BTreeMap<String, ScalarKind>,
    ) -> Result<Facts, Unfit> {
        if call.skill != "fake" {
            return Err(Unfit {
                code: "step.unknown_skill",
                message: "Name a companion that is listed".to_owned(),
                extra: Map::new(),
            });
        }
        match *self.outside.companion.unfit.lock().unwrap() {
            Some(code) => Err(Unfit {
                code,
                message: "It is not there".to_owned(),
                extra: Map::new(),
            }),
            None => Ok(self.outside.companion.facts(call)),
        }
    }

    async fn call(&self, outgoing: Outgoing) -> Reply {
        // Others go on meanwhile.
        tokio::task::yield_now().await;
        self.alive().await;
        let companion = &self.outside.companion;
        let n = companion.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let freeze = companion.freeze_after.load(Ordering::SeqCst);
        let _visit = companion.visits.come(&outgoing.call).await;
        companion.sent.lock().unwrap().push(outgoing.clone());
        companion.held.stay(&outgoing).await;
        let reply = companion.answer(&outgoing);
        if freeze > 0 && n == freeze {
            // The process dies with the answer on its way.
            self.outside.dead.lock().unwrap().insert(self.process);
        }
        self.alive().await;
        reply
    }
}

impl Clock for World {
    fn now(&self) -> Millis {
        self.outside.now.load(Ordering::SeqCst)
    }

    async fn until(&self, at: Millis) {
        while self.now() < at && !self.is_dead() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Ids for World {
    fn workflow(&self) -> WorkflowId {
        WorkflowId(format!(
            "wf_{}",
            self.outside.ids.fetch_add(1, Ordering::SeqCst)
        ))
    }

    fn approval(&self) -> ApprovalId {
        ApprovalId(format!(
            "ap_{}",
            self.outside.ids.fetch_add(1, Ordering::SeqCst)
        ))
    }

    fn number(&self) -> u64 {
        self.outside.ids.fetch_add(1, Ordering::SeqCst)
    }
}

/// A person.
pub(crate) fn person() -> Principal {
    Principal {
        name: "ann".to_owned(),
        assurance: Assurance::Attested,
        account: "ann via stdio".to_owned(),
    }
}

/// A workflow of `store` steps: id, action, name, value.
pub(crate) fn workflow_of(steps: &[(&str, &str, &str, i64)]) -> Map<String, Value> {
    let steps: Vec<Value> = steps
        .iter()
        .map(|(id, action, name, value)| {
            json!({
                "id": id, "skill": "fake", "tool": "store",
                "params": {"action": action, "name": name, "value": value},
            })
        })
        .collect();
    let Value::Object(map) = json!({"name": "A workflow", "steps": steps}) else {
        unreachable!("it is written as an object")
    };
    map
}

/// Makes a workflow of `store` steps.
pub(crate) async fn made(engine: &Engine<World>, steps: &[(&str, &str, &str, i64)]) -> WorkflowId {
    let made = engine.create(person(), &workflow_of(steps)).await.unwrap();
    made.state.id.clone()
}

/// Makes a workflow of `store` steps, and begins it.
pub(crate) async fn begun(engine: &Engine<World>, steps: &[(&str, &str, &str, i64)]) -> WorkflowId {
    let id = made(engine, steps).await;
    engine.run(&id, &person()).await.unwrap();
    id
}

/// The question that is open once nothing goes on by itself any more.
pub(crate) async fn open_approval(engine: &Engine<World>, id: &WorkflowId) -> ApprovalId {
    let shown = engine.wait(id, LONG).await.unwrap();
    shown.state.approval().unwrap().id.clone()
}

/// Approves whatever is asked until nobody asks any more, and returns where it ended.
pub(crate) async fn approve_all(engine: &Engine<World>, id: &WorkflowId) -> engine::Shown {
    loop {
        let shown = engine.wait(id, Duration::from_secs(20)).await.unwrap();
        let Some(approval) = shown.state.approval() else {
            return shown;
        };
        let approved = engine
            .approve(id, approval.id.clone(), person(), String::new(), Vec::new())
            .await;
        if let Err(refusal) = approved {
            assert!(
                refusal.code.starts_with("store.") || refusal.code == "approval.void",
                "{refusal:?}"
            );
            return engine.show(id).await.unwrap();
        }
    }
}

/// Long enough for anything that ends.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Four changes: one exact, one destructive, one without undo, and one more.
pub(crate) const STEPS: &[(&str, &str, &str, i64)] = &[
    ("first", "set", "cpu", 4),
    ("look", "get", "cpu", 0),
    ("wipe", "erase", "disk", 0),
    ("tell", "once", "mail", 1),
    ("last", "set", "memory", 8),
];

/// A world with a few values in it.
pub(crate) fn outside() -> Arc<Outside> {
    let outside = Arc::new(Outside::default());
    let mut values = outside.companion.values.lock().unwrap();
    for (name, value) in [("cpu", 2), ("disk", 40), ("memory", 4)] {
        values.insert(name.to_owned(), value);
    }
    drop(values);
    outside
}

/// The words for where the steps stand.
pub(crate) fn statuses(shown: &engine::Shown) -> Vec<&'static str> {
    shown.state.steps.iter().map(|s| s.status.word()).collect()
}

/// What was really done, in order.
pub(crate) fn ledger(outside: &Outside) -> Vec<String> {
    let ledger = outside.companion.ledger.lock().unwrap();
    ledger.iter().map(|(_, what)| what.clone()).collect()
}
