//! Several processes and threads write one audit database: no row is lost, and the chain holds.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use home::Home;
use jiff::Timestamp;
use policy::audit_file::{AuditFile, FileSink, Record};
use policy::guarded::AuditSink as _;
use serde_json::json;
use tempfile::TempDir;

const ROWS: u64 = 40;

fn write_rows(home: &Home, writer: &str) {
    let file = AuditFile::open(home).unwrap();
    for n in 0..ROWS {
        let record = Record {
            at: Timestamp::now(),
            actor: writer.to_owned(),
            kind: "call".to_owned(),
            workflow: None,
            payload: json!({"n": n}),
        };
        file.record(&record).unwrap();
    }
}

/// The rows by writer, in the order of the chain.
fn by_writer(home: &Home) -> BTreeMap<String, Vec<u64>> {
    let file = AuditFile::open(home).unwrap();
    let head = file.verify().unwrap();
    let rows = file.read(0, usize::MAX, None).unwrap();
    assert_eq!(head.seq, rows.len() as u64);
    let mut writers = BTreeMap::<String, Vec<u64>>::new();
    for (row, payload) in rows {
        writers
            .entry(row.entry.actor)
            .or_default()
            .push(payload["n"].as_u64().unwrap());
    }
    writers
}

/// Not a test of its own: a process that the tests below start.
#[test]
fn child_that_writes_rows() {
    let Some(root) = std::env::var_os("POLICY_TEST_HOME") else {
        return;
    };
    let writer = std::env::var("POLICY_TEST_WRITER").unwrap();
    write_rows(&Home::open(root).unwrap(), &writer);
}

fn start(home: &Home, writer: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_writes_rows"])
        .env("POLICY_TEST_HOME", home.root())
        .env("POLICY_TEST_WRITER", writer)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn p15_processes_and_threads_together_lose_no_row() {
    let dir = TempDir::new().unwrap();
    // Nobody has made the database yet: they race for that as well.
    let home = Home::open(dir.path().join("home")).unwrap();
    let children: Vec<Child> = (0..4)
        .map(|i| start(&home, &format!("process-{i}")))
        .collect();
    std::thread::scope(|scope| {
        for i in 0..3 {
            let home = &home;
            scope.spawn(move || write_rows(home, &format!("thread-{i}")));
        }
    });
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let writers = by_writer(&home);
    assert_eq!(writers.len(), 7);
    for (writer, rows) in writers {
        assert_eq!(
            rows,
            (0..ROWS).collect::<Vec<_>>(),
            "{writer}: each row once, in its order"
        );
    }
}

#[test]
fn p18_a_writer_killed_at_any_time_leaves_a_chain_that_holds_and_goes_on() {
    let dir = TempDir::new().unwrap();
    let home = Home::open(dir.path().join("home")).unwrap();
    let file = AuditFile::open(&home).unwrap();
    for round in 0..5 {
        let before = file.head().unwrap().seq;
        let mut child = start(&home, &format!("killed-{round}"));
        while file.head().unwrap().seq < before + 3 {
            assert!(
                child.try_wait().unwrap().is_none(),
                "it ended before it could be killed"
            );
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        write_rows(&home, &format!("survivor-{round}"));
    }
    let writers = by_writer(&home);
    let killed: Vec<_> = writers
        .iter()
        .filter(|(name, _)| name.starts_with("killed"))
        .collect();
    assert_eq!(killed.len(), 5);
    for (writer, rows) in killed {
        // What is there is a beginning without gaps.
        assert_eq!(
            *rows,
            (0..rows.len() as u64).collect::<Vec<_>>(),
            "{writer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p15_a_sink_writes_what_was_handed_in_before_it_is_gone() {
    let dir = TempDir::new().unwrap();
    let home = Home::open(dir.path().join("home")).unwrap();
    let sink = FileSink::new(AuditFile::open(&home).unwrap(), Timestamp::now).unwrap();
    sink.ready().await.unwrap();
    let waiting: Vec<_> = (0..50)
        .map(|n| sink.record("call", "waited", None, json!({"n": n})))
        .collect();
    for (n, row) in (0..50).zip(waiting) {
        // Every other one is dropped instead of waited for.
        if n % 2 == 0 {
            row.await.unwrap();
        }
    }
    for n in 0..50 {
        sink.record_detached("call", "detached", None, json!({"n": n}));
    }
    drop(sink);
    let writers = by_writer(&home);
    assert_eq!(writers["waited"], (0..50).collect::<Vec<_>>());
    assert_eq!(writers["detached"], (0..50).collect::<Vec<_>>());
}
