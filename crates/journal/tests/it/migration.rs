//! Databases of every version that was ever released can still be used.

use std::fs;

use engine::ports::Journal as _;
use rusqlite::Connection;

use crate::common::{Place, batch, id, place, undo_failed};

/// A database that the first version wrote, as SQL.
const V1: &str = include_str!("../fixtures/v1.sql");

/// One of the second version, with an archive and a held object.
const V2: &str = include_str!("../fixtures/v2.sql");

fn stored(sql: &str) -> Place {
    let place = place();
    place.sql().execute_batch(sql).unwrap();
    place
}

fn schema(connection: &Connection) -> Vec<String> {
    let mut statement = connection
        .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name")
        .unwrap();
    statement
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

#[tokio::test]
async fn p18_a_database_of_version_1_is_opened_whole_and_goes_on() {
    let place = stored(V1);
    let journal = place.open();
    let verified = journal.verify().await.unwrap();
    assert_eq!(
        (verified.broken, verified.events, verified.calls),
        (None, 5, 1)
    );
    let events = journal.load(&id("fixture")).await.unwrap();
    assert_eq!(events.len(), 5);
    journal
        .append(batch(&id("fixture"), 6, vec![undo_failed("a")]))
        .await
        .unwrap();
    assert_eq!(journal.verify().await.unwrap().rows, 7);
    let (row, steps) = journal.projection(&id("fixture")).await.unwrap().unwrap();
    assert_eq!(
        (row.name.as_str(), steps.len()),
        ("Patch the web servers", 1)
    );
}

#[tokio::test]
async fn p18_a_database_of_version_2_is_opened_whole_and_goes_on() {
    let place = stored(V2);
    let journal = place.open();
    let verified = journal.verify().await.unwrap();
    assert_eq!(verified.broken, None);
    assert_eq!((verified.events, verified.calls), (5, 1));
    assert_eq!((verified.archived, verified.archives), (2, 1));
    let held = journal.holders(["a".repeat(64)].into()).await.unwrap();
    assert_eq!(held.into_values().collect::<Vec<_>>(), [id("fixture")]);
    let archived = journal.load(&id("archived")).await.unwrap_err();
    assert_eq!(crate::common::code(&archived), "archived");
    journal
        .append(batch(&id("fixture"), 6, vec![undo_failed("a")]))
        .await
        .unwrap();
    assert_eq!(journal.verify().await.unwrap().rows, 10);
}

#[tokio::test]
async fn what_version_1_stored_is_counted_after_the_migration() {
    let place = stored(V1);
    let journal = place.open();
    for states in [vec![], vec!["running".to_owned()]] {
        assert_eq!(journal.list(states, None, 9).await.unwrap().1, 1);
    }
    let mut over = batch(&id("fixture"), 6, vec![undo_failed("a")]);
    over.row.state = "completed".to_owned();
    journal.append(over).await.unwrap();
    let count = async |state: &str| {
        journal
            .list(vec![state.to_owned()], None, 9)
            .await
            .unwrap()
            .1
    };
    assert_eq!((count("running").await, count("completed").await), (0, 1));
    assert_eq!(journal.list(vec![], None, 9).await.unwrap().1, 1);
}

#[test]
fn a_migrated_database_has_the_tables_of_a_new_one() {
    let new = place();
    drop(new.open());
    for old in [V1, V2] {
        let migrated = stored(old);
        drop(migrated.open());
        assert_eq!(schema(&migrated.sql()), schema(&new.sql()));
    }
}

/// Writes `v2.sql` anew. Only for a version that was not released yet.
#[tokio::test]
#[ignore = "makes the fixture of the newest version"]
async fn make_fixture() {
    use policy::guarded::AuditSink as _;
    let place = place();
    let journal = place.open();
    let event = |value| serde_json::from_value(value).unwrap();
    let workflow = id("fixture");
    let by = serde_json::json!({"name": "bob", "assurance": "attested", "account": "os:alice"});
    let events = vec![
        crate::common::created(&workflow),
        event(
            serde_json::json!({"event": "approval_requested", "approval": {
            "id": "ap_1", "subject": {"kind": "plan"}, "digest": format!("sha256:{}", "0".repeat(64)),
            "requested_at": crate::common::NOW, "expires_at": crate::common::NOW + 300_000}}),
        ),
        event(
            serde_json::json!({"event": "approved", "approval": "ap_1", "by": by, "comment": "", "covers": {}}),
        ),
        event(serde_json::json!({"event": "started"})),
        event(serde_json::json!({"event": "undo_failed", "step": "a", "why": "The host is gone"})),
    ];
    let mut first = batch(&workflow, 1, events);
    first.steps = vec![crate::common::step(0, "rollback_failed")];
    first.steps[0]
        .outputs
        .insert("snapshot".to_owned(), "snapshot-12".into());
    first.hold = engine::ports::Hold::Take(["a".repeat(64)].into());
    journal.append(first).await.unwrap();
    let mut over = batch(
        &id("archived"),
        1,
        vec![crate::common::created(&id("archived")), undo_failed("a")],
    );
    over.row.state = "failed".to_owned();
    journal.append(over).await.unwrap();
    journal
        .archive(0, crate::common::NOW + 1000, false)
        .await
        .unwrap();
    let at = || jiff::Timestamp::from_millisecond(crate::common::NOW).unwrap();
    journal
        .sink(at)
        .record(
            "call",
            "os:alice",
            None,
            serde_json::json!({"tool": "approve"}),
        )
        .await
        .unwrap();
    let owner = journal::Owner::register(&place.home, 0).unwrap();
    journal
        .claim(&workflow, &owner, crate::common::NOW)
        .await
        .unwrap();
    drop(journal);
    place
        .sql()
        .execute_batch("UPDATE owner SET process = '1-0-0'")
        .unwrap();
    let out = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v2.sql");
    fs::write(out, dump(&place.sql())).unwrap();
}

/// The whole database as SQL.
fn dump(sql: &Connection) -> String {
    let texts = |statement: &str| -> Vec<String> {
        let mut statement = sql.prepare(statement).unwrap();
        statement
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    };
    let pragma = |name: &str| {
        sql.pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .unwrap()
    };
    let mut out = "PRAGMA foreign_keys = OFF;\nBEGIN;\n".to_owned();
    let made = |filter: &str| {
        let made = texts(&format!(
            "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND {filter} ORDER BY rowid"
        ));
        made.into_iter()
            .map(|made| format!("{made};\n"))
            .collect::<String>()
    };
    out += &made("type <> 'trigger'");
    for table in texts("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid") {
        let columns = texts(&format!(
            "SELECT name FROM pragma_table_info('{table}') ORDER BY cid"
        ));
        let values: Vec<_> = columns
            .iter()
            .map(|column| format!("quote({column})"))
            .collect();
        for row in texts(&format!(
            "SELECT concat_ws(', ', {}) FROM {table}",
            values.join(", ")
        )) {
            out += &format!("INSERT INTO {table} VALUES ({row});\n");
        }
    }
    // They would count what is only put back.
    out += &made("type = 'trigger'");
    for name in ["application_id", "user_version"] {
        out += &format!("PRAGMA {name} = {};\n", pragma(name));
    }
    out + "COMMIT;\n"
}
