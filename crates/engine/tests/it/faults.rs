//! A process that dies at any call, and a store that fails at any commit.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use workflow::event::Direction;
use workflow::state::Status;

use crate::support::{Fault, Outside, STEPS, World, approve_all, made, outside, person, statuses};

/// Runs the workflow to its end, whatever happens, with a person who approves and, where a
/// step is unknown, looks and tells the truth.
async fn to_the_end(
    outside: &Arc<Outside>,
    id: &workflow::model::WorkflowId,
    from: u64,
) -> engine::Shown {
    for process in from..from + 30 {
        let engine = World::process(outside, process);
        let drive = async {
            let _ = engine.run(id, &person()).await;
            loop {
                let shown = approve_all(&engine, id).await;
                if shown.state.status() != Status::Paused {
                    return shown;
                }
                for step in shown.state.unknown_steps() {
                    let (def, _) = shown.state.step(&step).unwrap();
                    let key = format!("{id}/{}/do/", def.id);
                    let happened = outside
                        .companion
                        .ledger
                        .lock()
                        .unwrap()
                        .iter()
                        .any(|(k, _)| k.starts_with(&key));
                    let none = std::collections::BTreeMap::new();
                    let note = "Looked".to_owned();
                    let _ = engine
                        .resolve(id, step, happened, none, person(), note)
                        .await;
                }
                let _ = engine.resume(id, person()).await;
            }
        };
        let death = async {
            while !outside.dead.lock().unwrap().contains(&process) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            shown = drive => {
                assert!(!shown.state.status().is_busy(), "{:?}", statuses(&shown));
                return shown;
            }
            () = death => {}
        }
    }
    panic!("it never came to rest");
}

/// What holds of every run, however it went.
fn check(outside: &Outside, shown: &engine::Shown, what: &str) {
    let values = outside.companion.values.lock().unwrap().clone();
    let ledger = outside.companion.ledger.lock().unwrap().clone();
    let mails = ledger.iter().filter(|(_, what)| what == "mail=1").count();
    assert!(mails <= 1, "{what}: {mails} mails: {ledger:?}");
    match shown.state.status() {
        Status::Completed => {
            assert_eq!(
                (values["cpu"], values["disk"], values["memory"]),
                (4, 0, 8),
                "{what}"
            );
            assert_eq!(mails, 1, "{what}");
        }
        Status::RolledBack => {
            assert_eq!(
                (values["cpu"], values["disk"], values["memory"]),
                (2, 40, 4),
                "{what}"
            );
        }
        other => panic!("{what}: it ended {other:?}: {:?}", statuses(shown)),
    }
}

#[tokio::test]
async fn p18_a_process_that_dies_at_any_call_leaves_nothing_lost_and_nothing_twice() {
    let mut deaths = 0;
    for broken in [false, true] {
        for n in 1.. {
            let outside = outside();
            if broken {
                let fault = ((Direction::Do, "memory".to_owned()), Fault::FailsAfterAll);
                outside.companion.faults.lock().unwrap().extend([fault]);
            }
            let first = World::process(&outside, 1);
            let id = made(&first, STEPS).await;
            outside.companion.freeze_after.store(n, Ordering::SeqCst);
            let shown = to_the_end(&outside, &id, 2).await;
            check(
                &outside,
                &shown,
                &format!("dead at call {n}, broken {broken}"),
            );
            if outside.companion.calls.load(Ordering::SeqCst) < n {
                break;
            }
            deaths += 1;
        }
    }
    println!("{deaths} deaths survived");
    assert!(deaths > 20);
}

#[tokio::test]
async fn p18_a_store_that_fails_at_any_commit_sends_nothing_that_is_not_recorded() {
    let mut failures = 0;
    for forever in [false, true] {
        for broken in [false, true] {
            for n in 2.. {
                let outside = outside();
                if broken {
                    let fault = ((Direction::Do, "memory".to_owned()), Fault::FailsAfterAll);
                    outside.companion.faults.lock().unwrap().extend([fault]);
                }
                let engine = World::process(&outside, 1);
                let id = made(&engine, STEPS).await;
                if forever {
                    outside.journal.fails_from.store(n, Ordering::SeqCst);
                } else {
                    outside.journal.fails.lock().unwrap().insert(n);
                }
                let sent_before_it_failed = drive_into_failure(&engine, &id, &outside).await;
                outside.journal.fails_from.store(0, Ordering::SeqCst);
                outside.journal.fails.lock().unwrap().clear();
                let hit = outside.journal.asked.load(Ordering::SeqCst) >= n;
                // The store is there again: the same process goes on, or another one does.
                let shown = if n % 2 == 0 {
                    finish(&engine, &id).await
                } else {
                    outside.dead.lock().unwrap().insert(1);
                    to_the_end(&outside, &id, 2).await
                };
                check(
                    &outside,
                    &shown,
                    &format!("commit {n} failed, forever {forever}, broken {broken}"),
                );
                if !hit {
                    break;
                }
                assert!(sent_before_it_failed <= 8);
                failures += 1;
            }
        }
    }
    println!("{failures} failures of the store survived");
    assert!(failures > 20);
}

/// Runs until the store fails, and checks that nothing was sent whose intent is not durable.
async fn drive_into_failure(
    engine: &engine::Engine<World>,
    id: &workflow::model::WorkflowId,
    outside: &Outside,
) -> usize {
    let drive = async {
        if engine.run(id, &person()).await.is_ok() {
            loop {
                // A store that fails ends this at once: the time is for a machine that is slow.
                let shown = engine.wait(id, Duration::from_secs(2)).await;
                let Ok(shown) = shown else { return };
                if shown.stalled.is_some() {
                    return;
                }
                let Some(approval) = shown.state.approval() else {
                    return;
                };
                let approval = approval.id.clone();
                if engine
                    .approve(id, approval, person(), String::new(), vec![])
                    .await
                    .is_err()
                {
                    return;
                }
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(5), drive).await;
    let stored = outside.journal.stored.lock().unwrap();
    let intents: Vec<String> = stored[id]
        .iter()
        .filter_map(|r| match &r.event {
            workflow::event::Event::Intent { key, .. } => Some(key.clone()),
            _ => None,
        })
        .collect();
    let ledger = outside.companion.ledger.lock().unwrap();
    for (key, what) in ledger.iter() {
        assert!(
            intents.contains(key),
            "{what} was sent under {key} without a durable intent"
        );
    }
    ledger.len()
}

/// The same process goes on once the store is there again.
async fn finish(engine: &engine::Engine<World>, id: &workflow::model::WorkflowId) -> engine::Shown {
    for _ in 0..50 {
        let _ = engine.run(id, &person()).await;
        let shown = approve_all(engine, id).await;
        if shown.stalled.is_none()
            && matches!(shown.state.status(), Status::Completed | Status::RolledBack)
        {
            return shown;
        }
        if shown.state.status() == Status::Paused {
            let _ = engine.resume(id, person()).await;
        }
    }
    engine.show(id).await.unwrap()
}
