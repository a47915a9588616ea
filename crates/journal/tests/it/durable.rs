//! What was acknowledged is there after reopening, whole; what was refused is not.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;

use engine::ports::{Journal as _, JournalError};
use journal::Journal;
use serde_json::json;
use workflow::event::Event;

use crate::common::{NOW, batch, code, created, fill, frames, id, place, row, step, undo_failed};

#[tokio::test]
async fn p18_what_was_acknowledged_is_there_after_reopening() {
    let place = place();
    let workflow = id("one");
    let mut first = batch(&workflow, 1, vec![created(&workflow), Event::Started]);
    first.steps = vec![step(0, "pending"), step(1, "pending")];
    let mut second = batch(&workflow, 3, vec![undo_failed("step_0")]);
    second.row = row("completed");
    second.steps = vec![step(0, "succeeded")];
    second.steps[0].outputs = BTreeMap::from([("snapshot".to_owned(), json!("snapshot-12"))]);
    second.steps[0].size = Some(12);
    let journal = place.open();
    journal.append(first.clone()).await.unwrap();
    journal.append(second.clone()).await.unwrap();
    drop(journal);

    let journal = place.open();
    let events: Vec<_> = first.events.into_iter().chain(second.events).collect();
    assert_eq!(journal.load(&workflow).await.unwrap(), events);
    assert_eq!(journal.last_seq(&workflow).await.unwrap(), 3);
    let (row, steps) = journal.projection(&workflow).await.unwrap().unwrap();
    assert_eq!(row, second.row);
    assert_eq!(steps, [second.steps[0].clone(), step(1, "pending")]);
}

#[tokio::test]
async fn a_workflow_that_is_not_there_has_no_events() {
    let place = place();
    let journal = place.open();
    assert_eq!(journal.load(&id("none")).await.unwrap(), []);
    assert_eq!(journal.last_seq(&id("none")).await.unwrap(), 0);
    assert_eq!(journal.projection(&id("none")).await.unwrap(), None);
}

#[tokio::test]
async fn p18_who_comes_second_is_told_and_nothing_of_it_is_there() {
    let place = place();
    let workflow = id("one");
    let (one, other) = (place.open(), place.open());
    fill(&one, &workflow, 0).await;
    one.append(batch(&workflow, 2, vec![Event::Started]))
        .await
        .unwrap();
    let mut late = batch(&workflow, 2, vec![Event::Completed, Event::Started]);
    late.row = row("completed");
    late.steps = vec![step(0, "succeeded")];
    assert_eq!(
        other.append(late.clone()).await,
        Err(JournalError::Conflict)
    );
    late.events.iter_mut().for_each(|event| event.seq += 3);
    assert_eq!(
        other.append(late).await,
        Err(JournalError::Conflict),
        "a gap is none either"
    );

    assert_eq!(one.last_seq(&workflow).await.unwrap(), 2);
    let (stored, steps) = one.projection(&workflow).await.unwrap().unwrap();
    assert_eq!((stored.state.as_str(), steps.len()), ("running", 0));
    assert_eq!(one.verify().await.unwrap().rows, 2);
}

#[tokio::test]
async fn a_batch_that_contradicts_itself_is_not_stored() {
    let place = place();
    let journal = place.open();
    let workflow = id("one");
    let mut gap = batch(&workflow, 1, vec![created(&workflow), Event::Started]);
    gap.events[1].seq = 7;
    assert_eq!(
        code(&journal.append(gap).await.unwrap_err()),
        "store.failed"
    );
    let empty = batch(&workflow, 1, Vec::new());
    assert_eq!(
        code(&journal.append(empty).await.unwrap_err()),
        "store.failed"
    );
    assert_eq!(journal.last_seq(&workflow).await.unwrap(), 0);
    assert_eq!(journal.projection(&workflow).await.unwrap(), None);
}

#[tokio::test]
async fn p11_questions_and_answers_have_tables_of_their_own() {
    let place = place();
    let journal = place.open();
    let workflow = id("one");
    let event = |value| serde_json::from_value::<Event>(value).unwrap();
    let ask = |id: &str, subject| {
        event(json!({"event": "approval_requested", "approval": {
            "id": id, "subject": subject, "digest": format!("sha256:{}", "0".repeat(64)),
            "requested_at": NOW, "expires_at": NOW + 300_000}}))
    };
    let by = json!({"name": "bob", "assurance": "attested", "account": "os:alice"});
    let events = vec![
        created(&workflow),
        ask("ap_1", json!({"kind": "plan"})),
        event(
            json!({"event": "approved", "approval": "ap_1", "by": by, "comment": "fine", "covers": {}}),
        ),
        ask("ap_2", json!({"kind": "step", "step": "power_off"})),
        event(json!({"event": "expired", "approval": "ap_2"})),
        ask("ap_3", json!({"kind": "step", "step": "power_off"})),
        event(json!({"event": "rejected", "approval": "ap_3", "by": by, "reason": "not today"})),
    ];
    journal.append(batch(&workflow, 1, events)).await.unwrap();

    let sql = place.sql();
    let texts = |statement: &str| -> Vec<String> {
        let mut statement = sql.prepare(statement).unwrap();
        statement
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    };
    assert_eq!(
        texts(
            "SELECT concat_ws(' ', id, kind, step, expired_at IS NOT NULL) FROM approval ORDER BY id"
        ),
        [
            "ap_1 plan 0",
            "ap_2 step power_off 1",
            "ap_3 step power_off 0"
        ]
    );
    assert_eq!(
        texts(
            "SELECT concat_ws(' ', seq, approval, verdict, name, assurance, account, comment) FROM decision ORDER BY seq"
        ),
        [
            "3 ap_1 approved bob attested os:alice fine",
            "7 ap_3 rejected bob attested os:alice not today"
        ]
    );
}

#[tokio::test]
async fn lists_go_from_the_newest_on_page_by_page() {
    let place = place();
    let journal = place.open();
    for (age, (name, state)) in [
        ("a", "completed"),
        ("b", "running"),
        ("c", "completed"),
        ("d", "failed"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut batch = batch(&id(name), 1, vec![created(&id(name))]);
        batch.row = row(state);
        // `b` and `c` were made in the same millisecond.
        batch.row.created_at = NOW + [0, 5, 5, 9][age];
        journal.append(batch).await.unwrap();
    }
    let list = async |states: &[&str], after: Option<&str>, limit| {
        let states = states.iter().map(|&s| s.to_owned()).collect();
        let (page, total) = journal.list(states, after.map(id), limit).await.unwrap();
        (
            page.into_iter()
                .map(|listed| listed.workflow.0)
                .collect::<Vec<_>>(),
            total,
        )
    };
    assert_eq!(
        list(&[], None, 9).await,
        (
            vec!["wf_d", "wf_c", "wf_b", "wf_a"]
                .into_iter()
                .map(String::from)
                .collect(),
            4
        )
    );
    assert_eq!(
        list(&[], None, 2).await,
        (vec!["wf_d".into(), "wf_c".into()], 4)
    );
    assert_eq!(
        list(&[], Some("c"), 2).await,
        (vec!["wf_b".into(), "wf_a".into()], 4)
    );
    assert_eq!(
        list(&["completed"], Some("c"), 9).await,
        (vec!["wf_a".into()], 2)
    );
    assert_eq!(
        list(&["failed", "running"], None, 9).await,
        (vec!["wf_d".into(), "wf_b".into()], 2)
    );
    assert_eq!(list(&["paused"], None, 9).await, (vec![], 0));
}

#[tokio::test]
async fn all_files_are_private_whatever_they_were() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = place();
    let journal = place.open();
    fill(&journal, &id("one"), 1).await;
    let files =
        || ["pilot.db", "pilot.db-wal", "pilot.db-shm"].map(|name| place.home.root().join(name));
    for file in files() {
        assert_eq!(
            std::fs::metadata(&file).unwrap().mode() & 0o777,
            0o600,
            "{}",
            file.display()
        );
    }
    drop(journal);
    std::fs::set_permissions(place.db(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let journal = place.open();
    fill(&journal, &id("two"), 1).await;
    for file in files() {
        assert_eq!(
            std::fs::metadata(&file).unwrap().mode() & 0o777,
            0o600,
            "{}",
            file.display()
        );
    }
}

#[tokio::test]
async fn p11_the_database_is_in_wal_mode_and_says_whose_it_is() {
    let place = place();
    let journal = place.open();
    fill(&journal, &id("one"), 0).await;
    let sql = place.sql();
    let pragma = |name: &str| -> String {
        sql.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
            .map(|value| format!("{value:?}"))
            .unwrap()
    };
    assert_eq!(pragma("journal_mode"), r#"Text("wal")"#);
    assert_eq!(
        pragma("application_id"),
        format!("Integer({})", 0x504c_5448)
    );
}

/// A transition touches the same pages whether the workflow has 10 steps or 10,000.
#[tokio::test]
async fn a_transition_costs_the_same_in_a_long_workflow() {
    let mut grown = Vec::new();
    for steps in [10, 10_000] {
        let place = place();
        let journal = place.open();
        let workflow = id("one");
        let mut first = batch(&workflow, 1, vec![created(&workflow)]);
        first.steps = (0..steps).map(|index| step(index, "pending")).collect();
        journal.append(first).await.unwrap();
        // As many events as a workflow of so many steps has had when it is half done.
        let events = (0..steps / 2).map(|_| undo_failed("a")).collect();
        journal.append(batch(&workflow, 2, events)).await.unwrap();
        drop(journal);
        let journal = place.open();
        let from = 2 + steps / 2;
        journal
            .append(batch(&workflow, from, vec![Event::Started]))
            .await
            .unwrap();
        let before = frames(place.home.root());
        for seq in from + 1..from + 9 {
            let mut transition = batch(&workflow, seq, vec![undo_failed("a")]);
            transition.steps = vec![step(steps / 2, "succeeded")];
            journal.append(transition).await.unwrap();
        }
        grown.push(frames(place.home.root()) - before);
    }
    assert!(grown[0] > 0, "{grown:?}");
    // Eight transitions; now and then one splits a page of a tree.
    assert!(grown[1] <= grown[0] + 16, "{grown:?} pages");
}

/// The log is made longer ahead of time; a crash leaves the room there.
#[tokio::test]
async fn p18_room_in_the_log_is_no_part_of_what_is_stored() {
    let place = place();
    let journal = place.open();
    let log = place.home.root().join("pilot.db-wal");
    let one = id("one");
    journal
        .append(batch(&one, 1, vec![created(&one)]))
        .await
        .unwrap();
    let mut with_room = 0;
    for seq in 2..=300 {
        journal
            .append(batch(&one, seq, vec![undo_failed("a")]))
            .await
            .unwrap();
        let used = 32 + frames(place.home.root()) as u64 * (24 + 4096);
        with_room += u32::from(std::fs::metadata(&log).unwrap().len() > used);
        if seq % 50 > 0 {
            continue;
        }
        let crashed = self::place();
        let files = |name| [&place, &crashed].map(|place| place.home.root().join(name));
        for [from, to] in ["pilot.db", "pilot.db-wal"].map(files) {
            std::fs::copy(from, to).unwrap();
        }
        let after = crashed.open();
        assert_eq!(after.last_seq(&one).await.unwrap(), seq);
        assert_eq!(after.verify().await.unwrap().broken, None);
    }
    // All but the first ones, before there was any.
    assert!(with_room > 290, "{with_room}");
}

#[test]
fn the_journal_can_be_shared_between_tasks() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<Journal>();
    shared::<journal::Sink>();
}

#[tokio::test]
#[ignore = "prints measurements"]
async fn measure() {
    for fresh in [true, false] {
        let place = place();
        if !fresh {
            drop(place.open());
        }
        let start = std::time::Instant::now();
        let journal = place.open();
        eprintln!("open, new home: {fresh}: {:?}", start.elapsed());
        fill(&journal, &id("one"), 0).await;
        let start = std::time::Instant::now();
        for seq in 2..502 {
            let mut transition = batch(&id("one"), seq, vec![undo_failed("a")]);
            transition.steps = vec![step(0, "succeeded")];
            journal.append(transition).await.unwrap();
        }
        eprintln!("a transition: {:?}", start.elapsed() / 500);
        let appends: Vec<_> = (0..500)
            .map(|n| id(&format!("many_{n}")))
            .map(|workflow| journal.append(batch(&workflow, 1, vec![created(&workflow)])))
            .collect();
        let start = std::time::Instant::now();
        for append in appends {
            append.await.unwrap();
        }
        eprintln!("500 workflows at once: {:?}", start.elapsed());
        let start = std::time::Instant::now();
        let rows = journal.verify().await.unwrap().rows;
        eprintln!("verified {rows} rows: {:?}", start.elapsed());
    }
}
