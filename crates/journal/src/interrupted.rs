//! SQLite is stopped after its n-th operation, once and for ever after, for n = 1, 2, … until a run
//! passes without meeting it; and the n-th commit is refused. Whatever was refused is not there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use engine::ports::{Batch, Hold, JournalError, Recorded, WorkflowRow};
use home::Home;
use rusqlite::Connection;
use workflow::event::Event;
use workflow::model::{StepId, WorkflowId};

use crate::file::Place;
use crate::gate::Gate;
use crate::reader::Readers;
use crate::writer::{Start, Writer};
use crate::{Inner, Journal};
use engine::ports::Journal as _;

pub(crate) const NOW: i64 = 1_760_000_000_123;

/// What of SQLite fails.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// An operation of its virtual machine, of which each statement has several.
    Operation,
    /// A commit.
    Commit,
}

/// Counts down to the failure.
struct Countdown {
    /// From the first change of a row to the commit. Before and after it nothing can be stored, and
    /// SQLite stops there when a statement is done, and not instead of it.
    inside: AtomicBool,
    left: AtomicI64,
    for_ever: AtomicBool,
    met: AtomicBool,
}

impl Countdown {
    fn is_over(&self) -> bool {
        let left = self.left.fetch_sub(1, Ordering::Relaxed);
        let over = left == 1 || left < 1 && self.for_ever.load(Ordering::Relaxed);
        if over {
            self.met.store(true, Ordering::Relaxed);
        }
        over
    }

    fn set(&self, left: i64, for_ever: bool) {
        self.for_ever.store(for_ever, Ordering::Relaxed);
        self.left.store(left, Ordering::Relaxed);
    }
}

/// A journal whose writer fails when the countdown is over.
fn journal(home: &Home, kind: Kind, countdown: &Arc<Countdown>) -> Journal {
    let place = Place::of(home);
    if place.prepare(None).unwrap() {
        place.settle().unwrap();
    }
    let mut connection: Connection = place.writer(None).unwrap();
    let counting = Arc::clone(countdown);
    if let Kind::Commit = kind {
        let hook = move || counting.is_over();
        connection.commit_hook(Some(hook)).unwrap();
    } else {
        let (begun, ending) = (Arc::clone(countdown), Arc::clone(countdown));
        let change = move |_, _: &str, _: &str, _| begun.inside.store(true, Ordering::Relaxed);
        connection.update_hook(Some(change)).unwrap();
        let commit = move || {
            ending.inside.store(false, Ordering::Relaxed);
            false
        };
        connection.commit_hook(Some(commit)).unwrap();
        let over = move || counting.inside.load(Ordering::Relaxed) && counting.is_over();
        connection.progress_handler(1, Some(over)).unwrap();
    }
    let patience = Duration::from_secs(10);
    let gate = Gate::new(home, patience).unwrap();
    let health = Arc::default();
    let readers = Readers::new(home.clone(), patience, Arc::clone(&health));
    let writer = Writer::start(place, gate, Start::Open(connection), None, health).unwrap();
    Journal {
        inner: Arc::new(Inner {
            readers,
            writer,
            home: home.clone(),
            patience,
            archiving: tokio::sync::Mutex::default(),
        }),
        process: None,
    }
}

/// Three events, an object, a step; over for good.
pub(crate) fn batch(name: &str, from: u64) -> Batch {
    let event = |n| Event::UndoFailed {
        step: StepId(format!("s{n}")),
        why: "The host is gone".to_owned(),
    };
    let events = (from..from + 3).map(|seq| Recorded {
        seq,
        at: NOW,
        actor: "os:alice".to_owned(),
        event: event(seq),
    });
    Batch {
        workflow: WorkflowId(name.to_owned()),
        events: events.collect(),
        row: WorkflowRow {
            name: "Patch the web servers".to_owned(),
            state: "completed".to_owned(),
            reason: None,
            created_at: NOW,
            updated_at: NOW,
            requester: "alice".to_owned(),
            steps: 1,
            settled: 1,
            approval: None,
            expires_at: None,
        },
        steps: vec![],
        hold: match from {
            1 => Hold::Take(["a".repeat(64)].into()),
            _ => Hold::Release,
        },
        own: engine::ports::Own::Keep,
    }
}

/// Two batches and an archive, each until it works; how many were refused.
async fn go(journal: &Journal, name: &str, countdown: &Countdown) -> u64 {
    let mut refused = 0;
    let again = |error: JournalError, refused: &mut u64| {
        let JournalError::Store { code, .. } = error else {
            panic!("{error}: what was refused is there");
        };
        assert_eq!(code, "store.failed");
        *refused += 1;
        if *refused == 3 {
            // What failed for ever works again.
            countdown.set(0, false);
        }
    };
    for from in [1, 4] {
        while let Err(error) = journal.append(batch(name, from)).await {
            again(error, &mut refused);
        }
    }
    let others = [
        journal.append(batch(&format!("{name}x"), 4)),
        journal.append(batch(&format!("{name}y"), 4)),
    ];
    for other in others {
        // Begun in the middle: refused, but not for its own sake alone.
        other.await.unwrap_err();
    }
    loop {
        match journal.archive(1, NOW + 2, false).await {
            Ok(done) if done.stopped_by.is_none() => {
                // All or nothing, also when it is asked for again.
                assert_eq!((done.workflows, done.events), (1, 6));
                return refused;
            }
            Ok(done) => panic!("{done:?}"),
            Err(error) => again(error, &mut refused),
        }
    }
}

#[tokio::test]
async fn p18_whichever_operation_of_sqlite_fails_what_was_refused_is_not_there() {
    let long = std::env::var_os("PILOTHOUSE_TEST_LONG").is_some();
    let (mut runs, mut failed) = (0, 0);
    for kind in [Kind::Operation, Kind::Commit] {
        for for_ever in [false, true] {
            let dir = tempfile::TempDir::new().unwrap();
            let home = Home::open(dir.path().join("home")).unwrap();
            let countdown = Arc::new(Countdown {
                inside: AtomicBool::new(false),
                left: AtomicI64::new(0),
                for_ever: AtomicBool::new(false),
                met: AtomicBool::new(false),
            });
            let journal = journal(&home, kind, &countdown);
            let (mut n, mut workflows) = (1, 0);
            loop {
                countdown.set(n, for_ever);
                let name = format!("wf_{n}");
                failed += go(&journal, &name, &countdown).await;
                let met = countdown.met.swap(false, Ordering::Relaxed);
                countdown.set(0, false);
                runs += 1;
                workflows += 1;
                if !met {
                    break;
                }
                n += match kind {
                    Kind::Operation if !long => 1 + n / 8,
                    _ => 1,
                };
            }
            eprintln!("{kind:?}, for ever: {for_ever}: up to {n}");
            let verified = journal.verify().await.unwrap();
            assert_eq!((verified.broken, verified.events), (None, 0));
            assert_eq!(
                (verified.archived, verified.archives),
                (6 * workflows, workflows)
            );
            let held = journal.holders(["a".repeat(64)].into()).await.unwrap();
            assert_eq!(held.len(), 0);
        }
    }
    eprintln!("{runs} runs, {failed} things refused");
    assert!(runs > 40 && failed > 40);
}
