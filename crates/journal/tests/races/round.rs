//! One round: a workflow is brought where the race begins, people ask at the same time at several
//! processes, and then everything is driven to its rest.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use engine::Shown;
use engine::ports::{Ids as _, Recorded};
use journal::{Journal, Owner};
use rusqlite::Connection;
use workflow::model::{ApprovalId, WorkflowId};
use workflow::refusal::Refusal;
use workflow::state::{Status, StepStatus};

use crate::command::{About, Ask, Asked, Seat, definition, lives, person, writes};
use crate::gate::{Gate, Random};
use crate::world::{Outside, Sent, World};

/// A moment in 2025, in milliseconds.
const NOW: i64 = 1_760_000_000_000;

/// So many processes take part in the race; one more is there to see it through.
pub(crate) const RACERS: usize = 3;

/// So many calls bring any workflow of a round to its rest.
const DRIVES: usize = 60;

/// Where the workflow stands when the race begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Start {
    Pending,
    /// It is made of writes alone, about which nobody is asked here.
    Free,
    Plan,
    Step,
    Gate,
    /// Nobody answered, and it is paused.
    Expired,
    /// The last step's answer got lost.
    Unknown,
    /// A process ended somewhere in the midst of it.
    Orphan,
    Completed,
    /// A rollback by hand waits for its approval.
    Undo,
    Cancelled,
}

pub(crate) const STARTS: [Start; 11] = [
    Start::Pending,
    Start::Free,
    Start::Plan,
    Start::Step,
    Start::Gate,
    Start::Expired,
    Start::Unknown,
    Start::Orphan,
    Start::Completed,
    Start::Undo,
    Start::Cancelled,
];

/// What is played.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) round: u64,
    pub(crate) start: Start,
    pub(crate) asks: Vec<Ask>,
    /// Calls overlap, so that the round cannot be repeated exactly.
    pub(crate) overlap: bool,
}

/// What came of one ask.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) asked: Asked,
    /// `None` where the process ended before it answered.
    pub(crate) answer: Option<Result<(), Refusal>>,
    /// How many calls of the ports all processes made meanwhile.
    pub(crate) waited: u64,
}

/// What a round left behind.
pub(crate) struct Played {
    pub(crate) about: About,
    pub(crate) came: Vec<Came>,
    /// The workflows of the round with their events, the one that was raced about first.
    pub(crate) workflows: Vec<(WorkflowId, Vec<Recorded>)>,
    /// How many events the first one had when the race began.
    pub(crate) begun_at: u64,
    pub(crate) sent: Vec<Sent>,
}

struct Round {
    seats: Vec<Seat>,
    outside: Arc<Outside>,
    gate: Arc<Gate>,
    random: Random,
}

/// Plays a round.
pub(crate) async fn play(
    plan: &Plan,
    members: Vec<(Journal, Owner)>,
    sql: Arc<Mutex<Connection>>,
    gate: Arc<Gate>,
) -> Played {
    let mut random = Random::new(plan.seed);
    let order = Random::new(random.next());
    tokio::spawn(Arc::clone(&gate).serve(order, plan.overlap));
    let outside = Arc::new(Outside {
        gate: Arc::clone(&gate),
        sql,
        ledger: Mutex::default(),
        values: Mutex::default(),
        loses: Mutex::default(),
        trusting: plan.start == Start::Free,
        round: plan.round,
        ids: AtomicU64::default(),
    });
    let seats = members
        .into_iter()
        .enumerate()
        .map(|(i, member)| {
            let world = World::new(i, member, NOW, &outside);
            let engine = world.engine();
            Seat { world, engine }
        })
        .collect();
    let mut round = Round {
        seats,
        outside,
        gate,
        random,
    };
    let about = round.bring(plan).await;
    let begun_at = round.events(&about.id).await.len() as u64;
    let came = round.race(plan, &about).await;
    round.drive().await;
    let ids = round.workflows();
    let mut workflows = vec![(about.id.clone(), round.events(&about.id).await)];
    for id in ids.into_iter().filter(|id| *id != about.id) {
        let events = round.events(&id).await;
        workflows.push((id, events));
    }
    Played {
        about,
        came,
        workflows,
        begun_at,
        sent: round.outside.ledger.lock().unwrap().clone(),
    }
}

impl Round {
    /// Some process that lives.
    fn some(&mut self) -> Seat {
        let living: Vec<&Seat> = self.seats.iter().filter(|s| lives(s)).collect();
        (*living[self.random.below(living.len())]).clone()
    }

    async fn events(&self, id: &WorkflowId) -> Vec<Recorded> {
        let journal = &self.seats[0].world.0.journal;
        engine::ports::Journal::load(journal, id).await.unwrap()
    }

    /// Every workflow of this round.
    fn workflows(&self) -> Vec<WorkflowId> {
        let sql = self.outside.sql.lock().unwrap();
        let mut found = sql
            .prepare_cached("SELECT id FROM workflow WHERE id GLOB ?1 ORDER BY id")
            .unwrap();
        let of_round = format!("wf_{}_*", self.outside.round);
        let found = found.query_map([of_round], |row| row.get(0)).unwrap();
        found.map(|id| WorkflowId(id.unwrap())).collect()
    }

    /// Brings a workflow to where the race begins.
    async fn bring(&mut self, plan: &Plan) -> About {
        let name = format!("disk_{}", plan.round);
        let maker = self.some();
        let definition = match plan.start {
            Start::Free => writes(&name),
            _ => definition(&name),
        };
        let made = maker.engine.create(person("maker"), &definition);
        let id = made.await.unwrap().state.id.clone();
        let mut about = About {
            id,
            approval: maker.world.approval(),
            object: name,
        };
        // Those who looked before have to find out what others did meanwhile.
        for seat in self.seats.clone() {
            if self.random.chance(1, 2) {
                seat.engine.show(&about.id).await.unwrap();
            }
        }
        let steps: usize = match plan.start {
            Start::Pending | Start::Free => 0,
            Start::Plan | Start::Expired => 1,
            Start::Step | Start::Orphan => 2,
            Start::Gate => 3,
            Start::Unknown | Start::Completed | Start::Undo => 4,
            Start::Cancelled => 1 + self.random.below(3),
        };
        if plan.start == Start::Unknown {
            *self.outside.loses.lock().unwrap() = Some(("tell", false));
        }
        for step in 0..steps {
            let seat = self.some();
            if step == 0 {
                let by = person("maker");
                seat.engine.run(&about.id, &by).await.unwrap();
            } else {
                self.answer(&seat, &about.id).await;
            }
            self.gate.quiet().await;
        }
        match plan.start {
            Start::Expired => {
                let seat = self.some();
                seat.world.0.clock.send_modify(|now| *now += 301_000);
                seat.engine.show(&about.id).await.unwrap();
                self.same_time();
            }
            Start::Undo => {
                let seat = self.some();
                let asked = seat.engine.rollback(&about.id, person("maker"));
                asked.await.unwrap();
            }
            Start::Cancelled => {
                let seat = self.some();
                let asked = seat.engine.cancel(&about.id, person("maker"));
                asked.await.unwrap();
            }
            Start::Orphan => self.orphan(&about).await,
            _ => {}
        }
        self.gate.quiet().await;
        let state = self.fold(&about.id).await;
        let open = state.approval().map(|a| a.id.clone());
        about.approval = open.unwrap_or(about.approval);
        about
    }

    async fn fold(&self, id: &WorkflowId) -> workflow::state::State {
        let events = self.events(id).await;
        let folded = workflow::state::fold(events.iter().map(|r| (r.at, &r.event)));
        folded.unwrap().unwrap()
    }

    /// One process goes on with the destructive step, and ends somewhere on the way.
    async fn orphan(&mut self, about: &About) {
        let seat = self.seats[RACERS - 1].clone();
        let turns = self.random.below(14);
        let (other, id) = (seat.clone(), about.id.clone());
        let approval = self.fold(&id).await.approval().unwrap().id.clone();
        tokio::spawn(async move {
            let by = person("maker");
            // Nobody hears of it when its process ends.
            let _ = other
                .engine
                .approve(&id, approval, by, String::new(), Vec::new())
                .await;
        });
        tokio::spawn(async move {
            for _ in 0..turns {
                drop(seat.world.turn("wait").await);
            }
            seat.world.end();
        });
    }

    async fn answer(&self, seat: &Seat, id: &WorkflowId) {
        let approval = self.fold(id).await.approval().unwrap().id.clone();
        let by = person("maker");
        let approve = seat
            .engine
            .approve(id, approval, by, String::new(), Vec::new());
        approve.await.unwrap();
    }

    /// All clocks as the one that is furthest.
    fn same_time(&self) {
        let clocks = self.seats.iter().map(|s| &s.world.0.clock);
        let latest = clocks.map(|c| *c.borrow()).max().unwrap();
        for seat in &self.seats {
            seat.world.0.clock.send_if_modified(|now| {
                let behind = *now < latest;
                *now = latest;
                behind
            });
        }
    }

    /// Everybody asks at the same time, each at another process.
    async fn race(&mut self, plan: &Plan, about: &About) -> Vec<Came> {
        let living: Vec<usize> = (0..RACERS).filter(|i| lives(&self.seats[*i])).collect();
        let first = self.random.below(living.len());
        let mut running = Vec::new();
        for (i, ask) in plan.asks.iter().enumerate() {
            // What ends a process ends as often the one that the first one asks.
            let same = ask.ends() && self.random.chance(1, 2);
            let at = living[(first + if same { 0 } else { i }) % living.len()];
            let asked = Asked {
                ask: *ask,
                at,
                delay: match ask {
                    Ask::Expire | Ask::Kill => self.random.below(10),
                    _ => self.random.below(4),
                },
                account: format!("{} {i}", ask.word()),
            };
            let (seat, about, gate) = (self.seats[at].clone(), about.clone(), self.gate.clone());
            let (playing, before) = (asked.clone(), gate.passed());
            let task = tokio::spawn(async move {
                let answer = playing.play(&seat, &about).await;
                (answer, gate.passed() - before)
            });
            running.push((asked, task));
        }
        let mut came = Vec::new();
        for (asked, task) in running {
            while !task.is_finished() {
                self.gate.quiet().await;
                if !lives(&self.seats[asked.at]) {
                    break;
                }
                let going = task.is_finished() || self.gate.somebody().await;
                assert!(going, "`{}` was never answered", asked.account);
            }
            let (answer, waited) = if task.is_finished() {
                let (answer, waited) = task.await.unwrap();
                (Some(answer), waited)
            } else {
                (None, 0)
            };
            came.push(Came {
                asked,
                answer,
                waited,
            });
        }
        self.gate.quiet().await;
        came
    }

    /// Brings everything to its rest.
    async fn drive(&mut self) {
        self.same_time();
        for _ in 0..DRIVES {
            let mut over = true;
            for id in self.workflows() {
                self.gate.quiet().await;
                over &= self.nudge(&id).await;
            }
            if over {
                self.gate.quiet().await;
                return;
            }
        }
        panic!("it came to no rest in {DRIVES} calls");
    }

    /// Does what a person would do next with a workflow. Whether it is over.
    async fn nudge(&mut self, id: &WorkflowId) -> bool {
        let seat = self.some();
        let shown = seat.engine.show(id).await.unwrap();
        self.gate.quiet().await;
        let journal = &seat.world.0.journal;
        let status = shown.state.status();
        let owner = journal.owner_of(id).await.unwrap();
        let owned = owner.as_ref().is_some_and(|o| o.alive);
        let seq = engine::ports::Journal::last_seq(journal, id).await.unwrap();
        if seq != shown.state.seq {
            return false;
        }
        if status.is_busy() {
            if owned {
                let going = self.gate.somebody().await;
                assert!(going, "{id}: its owner lives and does nothing: {owner:?}");
            } else {
                seat.engine.run(id, &person("driver")).await.unwrap();
            }
            return false;
        }
        assert!(!owned, "{id} is {} and belongs to {owner:?}", status.word());
        let done = match status {
            Status::Pending => seat.engine.run(id, &person("driver")).await,
            Status::Awaiting => self.decide(&seat, &shown).await,
            Status::Paused => self.go_on(&seat, &shown).await,
            _ => return true,
        };
        if let Err(refusal) = done {
            // Nobody else is at work here, so nothing but the other workflow is in the way.
            assert_eq!(refusal.code, "workflow.held", "{id}: {refusal:?}");
        }
        false
    }

    async fn decide(&mut self, seat: &Seat, shown: &Shown) -> Result<(), Refusal> {
        let (id, by) = (&shown.state.id, person("driver"));
        let approval: ApprovalId = shown.state.approval().unwrap().id.clone();
        match self.random.below(8) {
            0 => seat.engine.reject(id, approval, by, String::new()).await,
            1 => seat.engine.cancel(id, by).await,
            _ => {
                let none = Vec::new();
                seat.engine
                    .approve(id, approval, by, String::new(), none)
                    .await
            }
        }
    }

    async fn go_on(&mut self, seat: &Seat, shown: &Shown) -> Result<(), Refusal> {
        let (id, by) = (&shown.state.id, person("driver"));
        let unknown = shown
            .state
            .definition
            .steps
            .iter()
            .zip(&shown.state.steps)
            .find(|(_, step)| step.status == StepStatus::Unknown);
        let Some((def, _)) = unknown else {
            return match self.random.below(4) {
                0 => seat.engine.cancel(id, by).await,
                _ => seat.engine.resume(id, by).await,
            };
        };
        let happened = seat.world.looks(id, &def.id);
        let (step, none) = (def.id.clone(), BTreeMap::new());
        let seen = "Seen".to_owned();
        seat.engine
            .resolve(id, step, happened, none, by, seen)
            .await
    }
}
