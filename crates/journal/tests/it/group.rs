//! What queues up shares a transaction, and only the transaction.

use std::time::Duration;

use engine::ports::{Journal as _, JournalError};
use journal::{Journal, Options};
use workflow::event::Event;

use crate::common::{batch, code, created, fill, id, place, recorded, undo_failed};

#[tokio::test]
async fn many_workflows_share_a_transaction() {
    let place = place();
    let journal = place.open();
    // While another process writes, everything queues up.
    let held = place.home.lock("journal").unwrap();
    let appends: Vec<_> = (0..100)
        .map(|n| {
            let workflow = id(&n.to_string());
            journal.append(batch(
                &workflow,
                1,
                vec![created(&workflow), Event::Started],
            ))
        })
        .collect();
    drop(held);
    for append in appends {
        append.await.unwrap();
    }
    let stats = journal.stats();
    assert_eq!(
        (stats.transactions, stats.committed, stats.refused),
        (1, 100, 0)
    );
    assert_eq!(journal.verify().await.unwrap().events, 200);
}

#[tokio::test]
async fn a_conflict_leaves_the_rest_of_its_transaction_alone() {
    let place = place();
    let journal = place.open();
    let held = place.home.lock("journal").unwrap();
    let first = |n: &str| batch(&id(n), 1, vec![created(&id(n))]);
    let (a, again, b) = (
        journal.append(first("a")),
        journal.append(first("a")),
        journal.append(first("b")),
    );
    // Refused in the middle of its rows, after some of them were written.
    let mut broken = first("c");
    let rejected = serde_json::json!({
        "event": "rejected", "approval": "ap_never_asked", "reason": "",
        "by": {"name": "bob", "assurance": "attested", "account": "os:bob"}});
    broken
        .events
        .push(recorded(2, serde_json::from_value(rejected).unwrap()));
    let c = journal.append(broken);
    drop(held);
    assert_eq!(a.await, Ok(()));
    assert_eq!(again.await, Err(JournalError::Conflict));
    assert_eq!(b.await, Ok(()));
    assert_eq!(code(&c.await.unwrap_err()), "store.failed");
    assert_eq!(journal.stats().transactions, 1);
    assert_eq!(journal.projection(&id("c")).await.unwrap(), None);
    assert_eq!(journal.verify().await.unwrap().rows, 2);
}

#[tokio::test]
async fn what_was_handed_over_is_stored_also_when_nobody_waits() {
    let place = place();
    let journal = place.open();
    drop(journal.append(batch(&id("one"), 1, vec![created(&id("one"))])));
    drop(journal);
    assert_eq!(place.open().last_seq(&id("one")).await.unwrap(), 1);
}

#[tokio::test]
async fn a_journal_that_is_held_for_too_long_is_said_to_be_locked() {
    let place = place();
    let options = Options {
        patience: Duration::from_millis(50),
        ..Options::default()
    };
    let journal = Journal::open_with(&place.home, &options).unwrap();
    fill(&journal, &id("one"), 0).await;
    let held = place.home.lock("journal").unwrap();
    let next = batch(&id("one"), 2, vec![undo_failed("a")]);
    for _ in 0..3 {
        let error = journal.append(next.clone()).await.unwrap_err();
        assert_eq!(code(&error), "store.locked");
        assert!(
            error.to_string().starts_with("Call again in a moment"),
            "{error}"
        );
    }
    assert_eq!(
        Journal::open_with(&place.home, &options)
            .unwrap_err()
            .code(),
        "store.locked"
    );
    drop(held);
    journal.append(next).await.unwrap();
    assert_eq!(journal.last_seq(&id("one")).await.unwrap(), 2);
    // Having waited in vain left nothing behind that keeps others out.
    let lock = place.home.lock_file("journal").unwrap();
    assert!(
        home::Lock::lock_within(&lock, Duration::from_secs(10))
            .unwrap()
            .is_some()
    );
}
