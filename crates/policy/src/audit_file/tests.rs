//! The audit database: what it keeps, what it notices, how it fails.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use home::Home;
use serde_json::json;
use tempfile::TempDir;

use super::*;

fn home() -> (TempDir, Home) {
    let dir = TempDir::new().unwrap();
    let home = Home::open(dir.path().join("home")).unwrap();
    (dir, home)
}

fn record(n: u64) -> Record {
    Record {
        at: Timestamp::from_microsecond(1_700_000_000_000_000 + i64::try_from(n).unwrap()).unwrap(),
        actor: "os:alice".to_owned(),
        kind: "call".to_owned(),
        workflow: n.is_multiple_of(2).then(|| format!("wf_{n}")),
        payload: json!({"n": n, "float": 0.1, "text": "ü\u{202E}"}),
    }
}

fn filled(home: &Home, n: u64) -> AuditFile {
    let file = AuditFile::open(home).unwrap();
    (0..n).for_each(|i| assert_eq!(file.record(&record(i)).unwrap().seq, i + 1));
    file
}

fn tamper(home: &Home, sql: &str) {
    let connection = Connection::open(home.control_audit_db()).unwrap();
    connection.execute_batch(sql).unwrap();
}

fn broken(file: &AuditFile) -> (u64, Why) {
    match file.verify() {
        Err(VerifyError::Broken(Broken { seq, why })) => (seq, why),
        other => panic!("not broken: {other:?}"),
    }
}

#[test]
fn p15_what_was_recorded_is_there_after_reopening() {
    let (_dir, home) = home();
    let head = filled(&home, 5).head().unwrap();
    let file = AuditFile::open(&home).unwrap();
    assert_eq!(file.verify().unwrap(), head);
    let rows = file.read(3, 10, None).unwrap();
    assert_eq!(
        rows.iter().map(|(row, _)| row.seq).collect::<Vec<_>>(),
        [4, 5]
    );
    assert_eq!(rows[0].1, record(3).payload);
    assert_eq!(rows[0].0.entry.at, record(3).at);
    let of_one = file.read(0, 10, Some("wf_2")).unwrap();
    assert_eq!(
        of_one.iter().map(|(row, _)| row.seq).collect::<Vec<_>>(),
        [3]
    );
    assert_eq!(file.read(0, 2, None).unwrap().len(), 2);
}

#[test]
fn the_database_and_what_sqlite_puts_beside_it_are_private() {
    let (_dir, home) = home();
    let _file = filled(&home, 1);
    let mut seen = 0;
    for suffix in ["", "-wal", "-shm"] {
        let path = format!("{}{suffix}", home.control_audit_db().display());
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600,
            "{path}"
        );
        seen += 1;
    }
    assert_eq!(seen, 3);
}

#[test]
fn it_is_written_ahead_and_in_full() {
    let (_dir, home) = home();
    let file = AuditFile::open(&home).unwrap();
    let pragma = |name: &str| {
        file.with(|c| {
            c.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
        })
        .unwrap()
    };
    assert_eq!(
        pragma("journal_mode"),
        rusqlite::types::Value::Text("wal".to_owned())
    );
    assert_eq!(pragma("synchronous"), rusqlite::types::Value::Integer(2));
}

#[test]
fn an_altered_row_or_payload_is_found() {
    for (sql, at, why) in [
        (
            "UPDATE audit SET actor = 'os:mallory' WHERE seq = 3",
            3,
            Why::Altered,
        ),
        (
            "UPDATE audit SET at = '2000-01-01T00:00:00.000000Z' WHERE seq = 3",
            3,
            Why::Altered,
        ),
        (
            "UPDATE audit SET workflow = NULL WHERE seq = 3",
            3,
            Why::Altered,
        ),
        (
            "UPDATE audit SET hash = printf('%064d', 0) WHERE seq = 3",
            3,
            Why::Altered,
        ),
        (
            "UPDATE audit SET prev = printf('%064d', 0) WHERE seq = 3",
            3,
            Why::Link,
        ),
        (
            "UPDATE payload SET json = '{}' WHERE seq = 3",
            3,
            Why::Payload,
        ),
        ("DELETE FROM payload WHERE seq = 3", 3, Why::Payload),
        (
            "DELETE FROM payload WHERE seq = 3; DELETE FROM audit WHERE seq = 3",
            4,
            Why::Sequence,
        ),
    ] {
        let (_dir, home) = home();
        let file = filled(&home, 5);
        tamper(&home, sql);
        assert_eq!(broken(&file), (at, why), "{sql}");
    }
}

#[test]
fn rows_cut_off_at_the_end_show_only_against_a_head_noted_before() {
    let (_dir, home) = home();
    let file = filled(&home, 5);
    let noted = file.head().unwrap();
    tamper(
        &home,
        "DELETE FROM payload WHERE seq = 5; DELETE FROM audit WHERE seq = 5",
    );
    assert_ne!(file.verify().unwrap(), noted);
}

#[test]
fn a_damaged_file_is_said_to_be_and_left_as_it_is() {
    for content in [
        b"not a database at all, and longer than a header".repeat(20),
        vec![0xFF; 8192],
    ] {
        let (_dir, home) = home();
        let path = home.control_audit_db();
        home.write(&path, &content).unwrap();
        let error = AuditFile::open(&home).unwrap_err();
        assert_eq!(error.code(), "audit.corrupted", "{error}");
        assert!(error.to_string().starts_with("Move `"));
        assert_eq!(fs::read(&path).unwrap(), content);
    }
}

#[test]
fn a_damaged_page_is_said_to_be() {
    let (_dir, home) = home();
    drop(filled(&home, 50));
    let path = home.control_audit_db();
    let mut bytes = fs::read(&path).unwrap();
    assert!(bytes.len() > 8192);
    bytes[4096..].fill(0xA5);
    home.write(&path, &bytes).unwrap();
    let error = match AuditFile::open(&home) {
        Err(error) => error,
        Ok(file) => file.record(&record(1)).unwrap_err(),
    };
    assert_eq!(error.code(), "audit.corrupted", "{error}");
}

#[test]
fn a_database_of_another_kind_is_not_touched() {
    let (_dir, home) = home();
    let path = home.control_audit_db();
    home.write(&path, b"").unwrap();
    tamper(&home, "CREATE TABLE other (x)");
    let before = fs::read(&path).unwrap();
    assert_eq!(
        AuditFile::open(&home).unwrap_err().code(),
        "audit.corrupted"
    );
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_open_to_others_is_refused() {
    let (_dir, home) = home();
    drop(filled(&home, 1));
    fs::set_permissions(home.control_audit_db(), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(AuditFile::open(&home).unwrap_err().code(), "home.mode");
}

#[test]
fn a_file_moved_away_is_noticed_before_a_row_is_lost_in_it() {
    let (_dir, home) = home();
    let file = filled(&home, 1);
    let path = home.control_audit_db();
    fs::rename(&path, path.with_extension("old")).unwrap();
    assert_eq!(file.ready().unwrap_err().code(), "audit.replaced");
    assert_eq!(
        file.record(&record(1)).unwrap_err().code(),
        "audit.replaced"
    );
    drop(AuditFile::open(&home).unwrap());
    assert_eq!(
        file.record(&record(1)).unwrap_err().code(),
        "audit.replaced"
    );
}

#[test]
fn a_database_that_cannot_be_written_is_read_only() {
    let (_dir, home) = home();
    let file = filled(&home, 1);
    file.with(|c| c.pragma_update(None, "query_only", true))
        .unwrap();
    assert_eq!(
        file.record(&record(1)).unwrap_err().code(),
        "audit.read_only"
    );
    if home::User::current().uid != 0 {
        // Root may write whatever the mode says.
        drop(file);
        fs::set_permissions(home.control_audit_db(), fs::Permissions::from_mode(0o400)).unwrap();
        assert_eq!(
            AuditFile::open(&home).unwrap_err().code(),
            "audit.read_only"
        );
    }
}

#[test]
fn a_full_disk_is_said_and_nothing_is_half_written() {
    let (_dir, home) = home();
    let file = filled(&home, 1);
    let pages: i64 = file
        .with(|c| c.pragma_query_value(None, "page_count", |row| row.get(0)))
        .unwrap();
    file.with(|c| c.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())))
        .unwrap();
    let large = Record {
        payload: json!({"x": "x".repeat(100_000)}),
        ..record(1)
    };
    assert_eq!(
        file.record_all(&[record(1), large]).unwrap_err().code(),
        "audit.full"
    );
    assert_eq!(file.verify().unwrap().seq, 1);
}

#[test]
fn a_database_that_someone_else_holds_is_locked() {
    let (_dir, home) = home();
    let file = filled(&home, 1);
    file.with(|c| c.busy_timeout(Duration::ZERO)).unwrap();
    let other = Connection::open(home.control_audit_db()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(file.record(&record(1)).unwrap_err().code(), "audit.locked");
    assert_eq!(file.ready().unwrap_err().code(), "audit.locked");
    other.execute_batch("ROLLBACK").unwrap();
    assert!(file.ready().is_ok());
    assert_eq!(file.record(&record(1)).unwrap().seq, 2);
}
