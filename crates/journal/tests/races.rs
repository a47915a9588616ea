//! Races between processes on one home: real journals, real owners and a real engine for each
//! process, and a seeded choice of who makes the next call of a port ([`gate`]). In each round a
//! workflow is brought to where the race begins, people ask two or three things at the same time at
//! different processes, and everything is driven to its rest. The oracle reads the events in the
//! database, and the companion's own ledger.
//!
//! `PILOTHOUSE_RACES_SEED` is the seed, `PILOTHOUSE_RACES_ROUNDS` how many rounds are played, and
//! `PILOTHOUSE_RACES_ROUND` plays one of them alone.
//!
//! Of a pair both may take effect, one after the other, or neither, where the workflow stands
//! elsewhere. A side that never took effect in the whole run is printed with why it was refused.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic, and says what it exercised"
)]

#[path = "races/command.rs"]
mod command;
#[path = "races/gate.rs"]
mod gate;
#[path = "races/oracle.rs"]
mod oracle;
#[path = "races/round.rs"]
mod round;
#[path = "races/tally.rs"]
mod tally;
#[path = "races/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use home::Home;
use journal::{Journal, Owner};
use rusqlite::Connection;
use tempfile::TempDir;

use command::{ASKS, Ask};
use gate::{Gate, Random};
use oracle::Use;
use round::{Plan, RACERS, STARTS, Start};
use tally::Tally;

/// How many rounds are played where nobody says.
const ROUNDS: u64 = 2178;

/// So many of them share a home.
const ON_ONE_HOME: u64 = 242;

/// Where something can be decided, and how: those about an approval twice as often.
const CONTESTS: [(Start, Ask); 14] = [
    (Start::Plan, Ask::Approve),
    (Start::Plan, Ask::Approve),
    (Start::Step, Ask::Approve),
    (Start::Step, Ask::Approve),
    (Start::Gate, Ask::Approve),
    (Start::Gate, Ask::Approve),
    (Start::Undo, Ask::Approve),
    (Start::Undo, Ask::Approve),
    (Start::Free, Ask::Run),
    (Start::Expired, Ask::Resume),
    (Start::Unknown, Ask::Resolve),
    (Start::Completed, Ask::Rollback),
    (Start::Orphan, Ask::Run),
    (Start::Orphan, Ask::Resume),
];

/// A home with the journals of several processes.
struct Place {
    _dir: TempDir,
    home: Home,
    journals: Vec<Journal>,
    sql: Arc<Mutex<Connection>>,
}

impl Place {
    fn new() -> Self {
        // In memory, where that is possible: what a disk does is not what is raced about here.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() {
            TempDir::new_in(memory).unwrap()
        } else {
            TempDir::new().unwrap()
        };
        let home = Home::open(dir.path().join("home")).unwrap();
        let journals = (0..=RACERS).map(|_| Journal::open(&home).unwrap());
        let journals: Vec<Journal> = journals.collect();
        let sql = Arc::new(Mutex::new(Connection::open(home.pilot_db()).unwrap()));
        Self {
            _dir: dir,
            home,
            journals,
            sql,
        }
    }

    /// Each process anew.
    fn members(&self) -> Vec<(Journal, Owner)> {
        let journals = self.journals.iter().cloned();
        let member = |journal| (journal, Owner::register(&self.home, 0).unwrap());
        journals.map(member).collect()
    }

    /// The events of a round, for a person.
    fn log(&self, round: u64) -> String {
        let sql = self.sql.lock().unwrap_or_else(|e| e.into_inner());
        let mut events = sql
            .prepare("SELECT workflow, seq, actor, body FROM event ORDER BY audit_seq")
            .unwrap();
        let lines = events.query_map([], |row| {
            let (workflow, actor): (String, String) = (row.get(0)?, row.get(2)?);
            let (seq, body): (i64, String) = (row.get(1)?, row.get(3)?);
            let body: String = body.chars().take(300).collect();
            Ok((
                workflow.clone(),
                format!("{workflow} {seq} by {actor}: {body}"),
            ))
        });
        let of_round = format!("wf_{round}_");
        let lines: Vec<String> = lines
            .unwrap()
            .map(Result::unwrap)
            .filter(|(workflow, _)| workflow.starts_with(&of_round))
            .map(|(_, line)| line)
            .collect();
        lines.join("\n")
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|given| given.parse().unwrap())
}

/// Which asks, from where: every pair from every start, and in every other round what is contested.
fn plan(seed: u64, round: u64) -> Plan {
    let mut random = Random::new(seed ^ round.wrapping_mul(0x2545_F491_4F6C_DD1D));
    let (start, mut asks) = if round.is_multiple_of(2) {
        let (start, first) = *random.one_of(&CONTESTS);
        (start, vec![first, *random.one_of(&ASKS)])
    } else {
        let n = usize::try_from(round / 2).unwrap();
        let pairs: Vec<[Ask; 2]> = ASKS
            .iter()
            .enumerate()
            .flat_map(|(i, one)| ASKS[i..].iter().map(|two| [*one, *two]))
            .collect();
        let start = STARTS[n % STARTS.len()];
        (start, pairs[(n / STARTS.len()) % pairs.len()].to_vec())
    };
    if random.chance(1, 3) {
        asks.push(*random.one_of(&ASKS));
    }
    Plan {
        seed: random.next(),
        round,
        start,
        asks,
        overlap: random.chance(1, 4),
    }
}

#[test]
fn p18_of_processes_that_race_one_sends_and_one_decision_is_used() {
    let seed = number("PILOTHOUSE_RACES_SEED").unwrap_or_else(|| Random::new(now()).next());
    let rounds = number("PILOTHOUSE_RACES_ROUNDS").unwrap_or(ROUNDS);
    let alone = number("PILOTHOUSE_RACES_ROUND");
    println!("PILOTHOUSE_RACES_SEED={seed}");
    let begun = Instant::now();
    let mut tally = Tally::default();
    let mut place = Place::new();
    let mut longest = Duration::ZERO;
    for round in alone.map_or(0..rounds, |round| round..round + 1) {
        if round % ON_ONE_HOME == ON_ONE_HOME - 1 {
            verify(&place);
            place = Place::new();
        }
        let plan = plan(seed, round);
        let started = Instant::now();
        play(&place, &plan, &mut tally);
        longest = longest.max(started.elapsed());
    }
    verify(&place);
    tally.print();
    println!(
        "{:?} in all, the longest round {longest:?}",
        begun.elapsed()
    );
    if alone.is_none() && rounds >= ROUNDS {
        enough(&tally);
    }
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.unwrap().as_nanos() % u128::from(u64::MAX)).unwrap()
}

/// One round, and what must hold after it.
fn play(place: &Place, plan: &Plan, tally: &mut Tally) {
    let gate = Arc::new(Gate::default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let playing = round::play(
        plan,
        place.members(),
        Arc::clone(&place.sql),
        Arc::clone(&gate),
    );
    let played = catch_unwind(AssertUnwindSafe(|| runtime.block_on(playing)));
    drop(runtime);
    let told = |what: &str| {
        println!("{what}\n{plan:?}\ncalls: {:?}", gate.log());
        println!("{}", place.log(plan.round));
        println!("play it alone with PILOTHOUSE_RACES_ROUND={}", plan.round);
    };
    let played = match played {
        Ok(played) => played,
        Err(panic) => {
            told("the round came to no end");
            resume_unwind(panic)
        }
    };
    let breaches = oracle::breaches(&played, &place.sql.lock().unwrap());
    if !breaches.is_empty() {
        told(&breaches.join("\n"));
        println!("{:#?}\n{:#?}", played.came, played.sent);
        panic!("round {}: {}", plan.round, breaches[0]);
    }
    tally.add(plan, &played, gate.passed());
}

/// The audit chain of a home holds.
fn verify(place: &Place) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let verified = runtime.block_on(place.journals[0].verify()).unwrap();
    assert_eq!(verified.broken, None);
}

/// Nothing of what the races are about was missed.
fn enough(tally: &Tally) {
    assert_eq!(tally.pairs(), ASKS.len() * (ASKS.len() + 1) / 2);
    for how in [Use::Approved, Use::Rejected, Use::Expired, Use::Cancelled] {
        assert!(tally.uses.get(&how).is_some_and(|n| *n > 0), "{how:?}");
    }
    for against in [Ask::Reject, Ask::Cancel, Ask::Expire] {
        let (approve, other) = tally.contested(Ask::Approve, against);
        assert!(approve > 0 && other > 0, "{against:?} never met an approve");
    }
    assert!(tally.sent > 0 && tally.adopted > 0);
}
