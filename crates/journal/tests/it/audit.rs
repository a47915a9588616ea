//! Events and tool calls in one chain, with what they stand for.

use engine::ports::Journal as _;
use jiff::Timestamp;
use policy::guarded::AuditSink as _;
use serde_json::json;
use workflow::event::Event;

use crate::common::{NOW, batch, created, fill, id, place, undo_failed};

fn now() -> Timestamp {
    Timestamp::from_millisecond(NOW).unwrap()
}

#[tokio::test]
async fn p15_events_and_calls_are_one_chain() {
    let place = place();
    let journal = place.open();
    let sink = journal.sink(now);
    fill(&journal, &id("one"), 1).await;
    let payload =
        json!({"tool": "vmware_control", "arguments": {"action": "get_vm"}, "outcome": "ok"});
    sink.record(
        "tool.vmware_control",
        "os:alice",
        Some("wf_one"),
        payload.clone(),
    )
    .await
    .unwrap();
    sink.record("tool.list_workflows", "os:bob", None, json!({}))
        .await
        .unwrap();
    drop((sink, journal));

    let journal = place.open();
    let rows = journal.audit(0, None, 100).await.unwrap();
    let kinds: Vec<_> = rows.iter().map(|row| row.row.entry.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "workflow.created",
            "workflow.undo_failed",
            "tool.vmware_control",
            "tool.list_workflows"
        ]
    );
    assert_eq!(
        rows[0].payload,
        Some(serde_json::to_value(created(&id("one"))).unwrap())
    );
    assert_eq!(rows[1].event_seq, Some(2));
    assert_eq!(
        (rows[2].event_seq, rows[2].payload.clone()),
        (None, Some(payload))
    );
    assert_eq!(rows[2].row.entry.at, now());
    let verified = journal.verify().await.unwrap();
    assert_eq!((verified.rows, verified.events, verified.calls), (4, 2, 2));
    assert_eq!(
        (verified.broken, verified.head),
        (None, (&rows[3].row).into())
    );
}

#[tokio::test]
async fn p15_a_call_whose_caller_went_away_is_recorded() {
    let place = place();
    let journal = place.open();
    let sink = journal.sink(now);
    sink.record_detached("call", "os:alice", None, json!({"outcome": "cancelled"}));
    drop(sink.record("call", "os:alice", None, json!({"outcome": "ok"})));
    drop((sink, journal));
    assert_eq!(place.open().verify().await.unwrap().calls, 2);
}

#[tokio::test]
async fn the_trail_is_read_page_by_page_and_by_workflow() {
    let place = place();
    let journal = place.open();
    for n in 0..10 {
        let workflow = id(if n % 2 == 0 { "even" } else { "odd" });
        let event = if n < 2 {
            created(&workflow)
        } else {
            undo_failed("a")
        };
        journal
            .append(batch(&workflow, n / 2 + 1, vec![event]))
            .await
            .unwrap();
    }
    let page = async |after, workflow: Option<&str>, limit| {
        let rows = journal.audit(after, workflow.map(id), limit).await.unwrap();
        rows.iter().map(|row| row.row.seq).collect::<Vec<_>>()
    };
    assert_eq!(page(0, None, 4).await, [1, 2, 3, 4]);
    assert_eq!(page(4, None, 100).await, [5, 6, 7, 8, 9, 10]);
    assert_eq!(page(2, Some("odd"), 3).await, [4, 6, 8]);
    assert_eq!(page(10, None, 4).await, [] as [u64; 0]);
    assert_eq!(page(u64::MAX, None, 4).await, [] as [u64; 0]);
    assert_eq!(page(0, Some("none"), 4).await, [] as [u64; 0]);
}

#[tokio::test]
async fn p15_a_change_is_not_begun_when_it_cannot_be_recorded() {
    let place = place();
    let journal = place.open();
    let sink = journal.sink(now);
    sink.ready().await.unwrap();
    std::fs::remove_file(place.db()).unwrap();
    assert_eq!(sink.ready().await.unwrap_err().code(), "audit.io");
    assert_eq!(
        sink.record("call", "os:alice", None, json!({}))
            .await
            .unwrap_err()
            .code(),
        "audit.io"
    );
}

#[tokio::test]
async fn the_head_shows_what_was_cut_off_the_end() {
    let place = place();
    let journal = place.open();
    fill(&journal, &id("one"), 3).await;
    let noted = journal.verify().await.unwrap().head;
    journal
        .append(batch(&id("one"), 5, vec![Event::Started]))
        .await
        .unwrap();
    let rows = journal.audit(noted.seq, None, 10).await.unwrap();
    let rest = rows
        .into_iter()
        .map(|row| Ok::<_, std::convert::Infallible>(row.row));
    assert_eq!(
        policy::audit::verify_from(noted, rest).unwrap(),
        journal.verify().await.unwrap().head
    );
}
