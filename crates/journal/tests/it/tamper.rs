//! Whoever alters the record past the journal is found out, at the row.

use engine::ports::Journal as _;
use jiff::Timestamp;
use policy::guarded::AuditSink as _;
use serde_json::json;

use crate::common::{Place, batch, fill, id, place, undo_failed};

/// Rows 1 to 4 are events of `wf_one`, 5 is a call, 6 and 7 are events of `wf_two`, 8 of `wf_one`.
async fn stored() -> Place {
    let place = place();
    let journal = place.open();
    fill(&journal, &id("one"), 3).await;
    let sink = journal.sink(Timestamp::now);
    sink.record(
        "call",
        "os:alice",
        None,
        json!({"tool": "get_vm", "outcome": "ok"}),
    )
    .await
    .unwrap();
    fill(&journal, &id("two"), 1).await;
    journal
        .append(batch(&id("one"), 5, vec![undo_failed("b")]))
        .await
        .unwrap();
    place
}

#[tokio::test]
async fn p15_every_way_to_alter_the_record_is_found_at_its_row() {
    let cases: &[(&str, u64, &str)] = &[
        ("UPDATE event SET body = replace(body, 'host', 'disk') WHERE audit_seq = 3", 3, "payload does not match"),
        ("UPDATE event SET body = 'no JSON' WHERE audit_seq = 3", 3, "payload does not match"),
        ("UPDATE event SET body = x'00' WHERE audit_seq = 3", 3, "never writes"),
        ("DELETE FROM event WHERE audit_seq = 3", 3, "payload is not there"),
        ("UPDATE event SET actor = 'os:mallory' WHERE audit_seq = 4", 4, "do not say the same"),
        ("UPDATE event SET at = at + 1 WHERE audit_seq = 4", 4, "do not say the same"),
        ("UPDATE event SET kind = 'completed' WHERE audit_seq = 4", 4, "do not say the same"),
        ("UPDATE event SET workflow = 'wf_two', seq = 9 WHERE audit_seq = 4", 4, "do not say the same"),
        // Two events of a workflow change places: each body still has its hash.
        ("UPDATE event SET seq = -1 WHERE audit_seq = 2; UPDATE event SET seq = 2 WHERE audit_seq = 3;
          UPDATE event SET seq = 3 WHERE audit_seq = 2", 2, "not the next one"),
        ("UPDATE event SET seq = 7 WHERE audit_seq = 8", 8, "not the next one"),
        ("UPDATE call SET payload = '{\"tool\":\"delete\"}'", 5, "payload does not match"),
        ("DELETE FROM call", 5, "payload is not there"),
        ("INSERT INTO call VALUES (2, '{}')", 2, "two of it"),
        ("INSERT INTO call VALUES (77, '{}')", 77, "the row itself is not there"),
        ("UPDATE audit SET actor = 'os:mallory' WHERE seq = 6", 6, "does not match its hash"),
        ("UPDATE audit SET at = 'yesterday' WHERE seq = 6", 6, "never writes"),
        ("UPDATE audit SET payload_sha256 = printf('%064d', 0) WHERE seq = 6", 6, "does not match its hash"),
        ("UPDATE audit SET hash = printf('%064d', 0) WHERE seq = 6", 6, "does not match its hash"),
        ("UPDATE audit SET prev = printf('%064d', 0) WHERE seq = 6", 6, "does not continue"),
        ("DELETE FROM audit WHERE seq = 5; DELETE FROM call", 6, "does not follow"),
        ("DELETE FROM audit WHERE seq = 1", 2, "does not follow"),
        // Cut off at the end: what is kept for it gives it away.
        ("DELETE FROM audit WHERE seq = 8", 8, "the row itself is not there"),
    ];
    for (sql, seq, why) in cases {
        let place = stored().await;
        let forger = place.sql();
        forger.pragma_update(None, "foreign_keys", false).unwrap();
        forger
            .pragma_update(None, "ignore_check_constraints", true)
            .unwrap();
        if sql.contains("x'00'") {
            loosen(&forger);
        }
        forger
            .execute_batch(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        drop(forger);
        let journal = place.open();
        let verified = journal.verify().await.unwrap();
        let broken = verified
            .broken
            .unwrap_or_else(|| panic!("not found: {sql}"));
        assert_eq!(broken.seq, *seq, "{sql}: {}", broken.why);
        assert!(broken.why.contains(why), "{sql}: {}", broken.why);
    }
}

/// A value of another type can only get in past the table's own types.
fn loosen(forger: &rusqlite::Connection) {
    forger
        .execute_batch(
            "CREATE TABLE loose AS SELECT * FROM event; DROP TABLE event;
             ALTER TABLE loose RENAME TO event;",
        )
        .unwrap();
}

#[tokio::test]
async fn an_altered_event_is_not_loaded() {
    let place = stored().await;
    place
        .sql()
        .execute_batch("UPDATE event SET body = '{\"event\":\"unheard_of\"}' WHERE audit_seq = 3")
        .unwrap();
    let error = place.open().load(&id("one")).await.unwrap_err();
    assert_eq!(crate::common::code(&error), "store.corrupted");
    assert!(error.to_string().contains("event 3 of wf_one"), "{error}");
}

#[tokio::test]
async fn an_event_of_a_newer_form_is_not_guessed_at() {
    let place = stored().await;
    place
        .sql()
        .execute_batch("UPDATE event SET v = 99 WHERE audit_seq = 3")
        .unwrap();
    let error = place.open().load(&id("one")).await.unwrap_err();
    assert_eq!(crate::common::code(&error), "store.failed");
    assert!(
        error.to_string().starts_with("Update this program"),
        "{error}"
    );
}
