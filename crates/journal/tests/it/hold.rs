//! An object is held by one workflow at a time, from the batch that takes it to the one that
//! releases it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use engine::ports::{Batch, Hold, Journal as _, JournalError};
use home::Home;
use journal::Journal;
use serde_json::json;
use workflow::event::Event;

use crate::common::{
    Killed, NOW, arguments, batch, code, created, fill, id, other_process, place, undo_failed,
};

fn objects<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(|name| format!("{name:0>64}")).into()
}

fn holding(mut batch: Batch, hold: Hold) -> Batch {
    batch.hold = hold;
    batch
}

fn take(workflow: &str, seq: u64, names: BTreeSet<String>) -> Batch {
    let event = if seq == 1 {
        created(&id(workflow))
    } else {
        undo_failed("a")
    };
    holding(batch(&id(workflow), seq, vec![event]), Hold::Take(names))
}

async fn held(journal: &Journal) -> BTreeMap<String, String> {
    let held = journal
        .holders(objects(["a", "b", "c", "d"]))
        .await
        .unwrap();
    held.into_iter()
        .map(|(object, by)| (object.trim_start_matches('0').to_owned(), by.0))
        .collect()
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs
        .map(|(object, by)| (object.to_owned(), id(by).0))
        .into()
}

#[tokio::test]
async fn p18_an_object_is_held_from_the_batch_that_takes_it_to_the_one_that_releases_it() {
    let place = place();
    let journal = place.open();
    journal
        .append(take("one", 1, objects(["a", "b"])))
        .await
        .unwrap();
    fill(&journal, &id("two"), 0).await;
    assert_eq!(held(&journal).await, pairs([("a", "one"), ("b", "one")]));
    // What it has already counts as taken, and what it does not mention it keeps.
    journal
        .append(take("one", 2, objects(["b", "c"])))
        .await
        .unwrap();
    journal
        .append(batch(&id("one"), 3, vec![undo_failed("a")]))
        .await
        .unwrap();
    drop(journal);
    let journal = place.open();
    let all = pairs([("a", "one"), ("b", "one"), ("c", "one")]);
    assert_eq!(held(&journal).await, all);

    // Refused as a whole: also the object that was free, and the row, and the event.
    let refused = journal.append(take("two", 2, objects(["d", "c"]))).await;
    assert_eq!(refused, Err(JournalError::Held { by: id("one") }));
    assert_eq!(held(&journal).await, all);
    assert_eq!(journal.last_seq(&id("two")).await.unwrap(), 1);
    let (row, _) = journal.projection(&id("two")).await.unwrap().unwrap();
    assert_eq!(row.state, "running");

    let release = holding(batch(&id("one"), 4, vec![undo_failed("a")]), Hold::Release);
    journal.append(release).await.unwrap();
    assert_eq!(held(&journal).await, pairs([]));
    journal
        .append(take("two", 2, objects(["d", "c"])))
        .await
        .unwrap();
    assert_eq!(held(&journal).await, pairs([("c", "two"), ("d", "two")]));
    assert_eq!(journal.verify().await.unwrap().broken, None);
}

#[tokio::test]
async fn p18_a_hold_that_is_refused_leaves_the_rest_of_its_transaction_alone() {
    let place = place();
    let journal = place.open();
    let gate = place.home.lock("journal").unwrap();
    let mut free = take("b", 1, objects(["b", "a"]));
    free.row.state = "failed".to_owned();
    let (first, second, third, late) = (
        journal.append(take("a", 1, objects(["a"]))),
        journal.append(free),
        journal.append(take("c", 1, objects(["b"]))),
        // Who comes second to its own workflow is told that, and not who holds the object.
        journal.append(take("a", 1, objects(["b"]))),
    );
    drop(gate);
    assert_eq!(first.await, Ok(()));
    assert_eq!(second.await, Err(JournalError::Held { by: id("a") }));
    assert_eq!(third.await, Ok(()));
    assert_eq!(late.await, Err(JournalError::Conflict));
    assert_eq!(journal.stats().transactions, 1);
    assert_eq!(held(&journal).await, pairs([("a", "a"), ("b", "c")]));
    assert_eq!(journal.projection(&id("b")).await.unwrap(), None);
    assert_eq!(journal.verify().await.unwrap().rows, 2);
    let (_, failed) = journal
        .list(vec!["failed".to_owned()], None, 9)
        .await
        .unwrap();
    assert_eq!(failed, 0);
}

const ROUNDS: u64 = 60;

/// Takes two objects that another process wants as well, and releases them, round after round.
#[tokio::test]
#[ignore = "a role that another test starts"]
async fn role_take() {
    let arguments = arguments();
    let home = Home::open(arguments["home"].as_str().unwrap()).unwrap();
    let name = arguments["name"].as_str().unwrap();
    File::open(arguments["start"].as_str().unwrap())
        .unwrap()
        .lock_shared()
        .unwrap();
    let journal = Journal::open(&home).unwrap();
    fill(&journal, &id(name), 0).await;
    let (mut seq, mut refused) = (1, 0);
    for _ in 0..ROUNDS {
        loop {
            match journal
                .append(take(name, seq + 1, objects(["a", "b"])))
                .await
            {
                Ok(()) => break,
                Err(JournalError::Held { by }) => {
                    assert_ne!(by, id(name));
                    refused += 1;
                }
                Err(error) => panic!("{}: {error}", code(&error)),
            }
        }
        // Nobody else has either of them now.
        let holders = journal.holders(objects(["a", "b"])).await.unwrap();
        assert_eq!(holders.len(), 2);
        assert!(holders.values().all(|by| *by == id(name)), "{holders:?}");
        let release = holding(
            batch(&id(name), seq + 2, vec![Event::Started]),
            Hold::Release,
        );
        journal.append(release).await.unwrap();
        seq += 2;
    }
    eprintln!("{name} was refused {refused} times");
}

#[tokio::test]
async fn p18_of_two_processes_one_holds_an_object_at_a_time() {
    let place = place();
    let start = place.home.root().join("start");
    let barrier = File::create(&start).unwrap();
    barrier.lock().unwrap();
    let mut children: Vec<_> = ["one", "two"]
        .map(|name| {
            let arguments = json!({"home": place.home.root(), "start": start, "name": name});
            Killed(
                other_process("hold::role_take", &arguments)
                    .spawn()
                    .unwrap(),
            )
        })
        .into();
    drop(barrier);
    for child in &mut children {
        assert!(child.0.wait().unwrap().success());
    }
    let journal = place.open();
    for name in ["one", "two"] {
        assert_eq!(journal.last_seq(&id(name)).await.unwrap(), 1 + 2 * ROUNDS);
    }
    assert_eq!(held(&journal).await, pairs([]));
    // In the chain, each taking is followed by the release of the same workflow.
    let mut holder: Option<String> = None;
    let mut taken = 0;
    for row in journal.audit(0, None, u32::MAX).await.unwrap() {
        let entry = row.row.entry;
        match entry.kind.as_str() {
            "workflow.undo_failed" => {
                assert_eq!(holder, None, "row {}", row.row.seq);
                holder = entry.workflow;
                taken += 1;
            }
            "workflow.started" => assert_eq!(holder.take(), entry.workflow),
            _ => {}
        }
    }
    assert_eq!(taken, 2 * ROUNDS);
    eprintln!("{taken} times taken and released by two processes");
}

#[tokio::test]
async fn a_hold_has_the_time_of_its_batch() {
    let place = place();
    let journal = place.open();
    journal
        .append(take("one", 1, objects(["a"])))
        .await
        .unwrap();
    let at: i64 = place
        .sql()
        .query_row("SELECT at FROM held", [], |row| row.get(0))
        .unwrap();
    assert_eq!(at, NOW + 1);
}
