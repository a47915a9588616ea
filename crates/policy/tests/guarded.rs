//! The wrapper: what it lets through, and that it records exactly one row whatever happens.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use policy::answer::{Answer, ErrorEffect, Refusal};
use policy::audit_file::AuditError;
use policy::caller::Caller;
use policy::guarded::{AuditSink, Risk, ToolCall, guarded};
use policy::privilege::Privilege;
use serde_json::{Value, json};

/// Keeps rows in memory, and fails when told to.
#[derive(Default)]
struct Sink {
    rows: Mutex<Vec<(String, Option<String>, Value)>>,
    not_ready: bool,
    broken: bool,
    asked: AtomicU32,
}

fn full() -> AuditError {
    AuditError::Full {
        path: PathBuf::from("/x"),
    }
}

impl AuditSink for Sink {
    async fn ready(&self) -> Result<(), AuditError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.not_ready { Err(full()) } else { Ok(()) }
    }

    fn record(
        &self,
        _kind: &str,
        actor: &str,
        workflow: Option<&str>,
        payload: Value,
    ) -> impl Future<Output = Result<(), AuditError>> + Send {
        let result = if self.broken { Err(full()) } else { Ok(()) };
        if result.is_ok() {
            self.record_detached("", actor, workflow, payload);
        }
        async move {
            tokio::task::yield_now().await;
            result
        }
    }

    fn record_detached(&self, _kind: &str, actor: &str, workflow: Option<&str>, payload: Value) {
        self.rows
            .lock()
            .unwrap()
            .push((actor.to_owned(), workflow.map(str::to_owned), payload));
    }
}

impl Sink {
    fn row(&self) -> (String, Option<String>, Value) {
        let rows = self.rows.lock().unwrap();
        assert_eq!(rows.len(), 1, "exactly one row");
        rows[0].clone()
    }
}

fn alice(privileged: bool) -> Caller {
    let user = home::User {
        uid: 1000,
        name: "alice".to_owned(),
    };
    let granted = if privileged {
        BTreeSet::from([Privilege::UnsandboxedExec])
    } else {
        BTreeSet::new()
    };
    Caller::new(&user, Some("claude\u{202E}/1.0"), "stdio").with(granted)
}

fn call<'a>(caller: Option<&'a Caller>, risk: Risk, arguments: &'a Value) -> ToolCall<'a> {
    ToolCall {
        tool: "vmware_control",
        action: Some("power_on"),
        risk,
        needs: Some(Privilege::UnsandboxedExec),
        caller,
        arguments,
        sensitive: &["script"],
        workflow: Some("wf_1"),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        now: Instant::now,
    }
}

#[tokio::test]
async fn p15_a_call_is_run_and_recorded_without_its_secrets() {
    let (sink, caller) = (Sink::default(), alice(true));
    let arguments = json!({"host": "vc", "password": "hunter2", "script": "rm -rf", "port": 443, "n": {"api_key": "k"}});
    let answer = guarded(
        call(Some(&caller), Risk::Write, &arguments),
        &sink,
        || async { Answer::ok(json!({"changed": true})) },
    )
    .await;
    assert_eq!(answer, Answer::ok(json!({"changed": true})));
    let (actor, workflow, mut payload) = sink.row();
    assert_eq!(
        (actor.as_str(), workflow.as_deref()),
        ("os:alice", Some("wf_1"))
    );
    assert!(
        payload
            .as_object_mut()
            .unwrap()
            .remove("duration_ms")
            .unwrap()
            .is_u64()
    );
    assert_eq!(
        payload,
        json!({
            "tool": "vmware_control", "action": "power_on", "risk": "write", "outcome": "ok",
            "arguments": {"host": "vc", "password": "***", "script": "***", "port": 443, "n": {"api_key": "***"}},
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "uid": 1000, "client": "claude/1.0", "transport": "stdio",
        })
    );
}

#[tokio::test]
async fn p15_a_failure_is_recorded_with_its_code_and_effect() {
    let (sink, caller, arguments) = (Sink::default(), alice(true), json!({}));
    let answer = guarded(
        call(Some(&caller), Risk::Destructive, &arguments),
        &sink,
        || async {
            Refusal::new("vm.not_found", "Pass `vm_uuid`")
                .effect(ErrorEffect::Partial)
                .into()
        },
    )
    .await;
    assert_eq!(answer.code(), Some("vm.not_found"));
    let payload = sink.row().2;
    assert_eq!(payload["outcome"], "error");
    assert_eq!(
        (&payload["code"], &payload["effect"]),
        (&json!("vm.not_found"), &json!("partial"))
    );
}

/// Collects what is logged on this thread.
fn with_log<T>(run: impl FnOnce() -> T) -> (T, String) {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    let value = tracing::subscriber::with_default(subscriber, run);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    (value, text)
}

#[test]
fn c5_without_the_privilege_nothing_is_run_and_a_security_warning_is_logged() {
    let without = alice(false);
    for (caller, code) in [
        (None, "privilege.no_context"),
        (Some(&without), "privilege.missing"),
    ] {
        for risk in [Risk::Read, Risk::Write, Risk::Destructive, Risk::Unknown] {
            let (sink, ran) = (Sink::default(), AtomicU32::new(0));
            let arguments = json!({"password": "hunter2"});
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            let (answer, log) = with_log(|| {
                runtime.block_on(guarded(call(caller, risk, &arguments), &sink, || async {
                    ran.fetch_add(1, Ordering::SeqCst);
                    Answer::ok(json!({}))
                }))
            });
            assert_eq!(
                (answer.code(), answer.effect()),
                (Some(code), Some(ErrorEffect::None))
            );
            assert_eq!(answer.body()["needs"], "UNSANDBOXED_EXEC");
            assert_eq!(ran.into_inner(), 0);
            let payload = sink.row().2;
            assert_eq!(
                (&payload["outcome"], &payload["code"]),
                (&json!("error"), &json!(code))
            );
            assert!(
                log.contains("WARN") && log.contains("security") && log.contains(code),
                "{log}"
            );
            assert!(!log.contains("hunter2"), "{log}");
        }
    }
}

#[tokio::test]
async fn p15_a_call_that_needs_no_privilege_needs_no_caller() {
    let (sink, arguments) = (Sink::default(), json!({}));
    let open = ToolCall {
        needs: None,
        ..call(None, Risk::Read, &arguments)
    };
    assert!(
        !guarded(open, &sink, || async { Answer::ok(json!({})) })
            .await
            .is_error()
    );
    assert_eq!(sink.row().0, "unknown");
}

#[tokio::test]
async fn p15_a_panic_is_an_answer_and_a_row() {
    async fn fails() -> Answer {
        panic!("hunter2")
    }
    let caller = alice(true);
    for (risk, effect) in [
        (Risk::Read, ErrorEffect::None),
        (Risk::Write, ErrorEffect::Unknown),
    ] {
        for early in [true, false] {
            let (sink, arguments) = (Sink::default(), json!({}));
            let answer = guarded(call(Some(&caller), risk, &arguments), &sink, || {
                assert!(!early, "before the future is there");
                fails()
            })
            .await;
            assert_eq!(
                (answer.code(), answer.effect()),
                (Some("internal.panic"), Some(effect))
            );
            assert!(!answer.text().contains("hunter2"));
            assert_eq!(sink.row().2["code"], "internal.panic");
        }
    }
}

#[tokio::test]
async fn p15_a_call_that_is_dropped_is_recorded_as_cancelled() {
    let caller = alice(true);
    for (risk, effect) in [
        (Risk::Read, "none"),
        (Risk::Write, "unknown"),
        (Risk::Destructive, "unknown"),
    ] {
        let (sink, arguments) = (Sink::default(), json!({"password": "hunter2"}));
        let started = tokio::sync::Notify::new();
        {
            let run = guarded(call(Some(&caller), risk, &arguments), &sink, || async {
                started.notify_one();
                std::future::pending::<Answer>().await
            });
            tokio::select! {
                biased;
                _ = run => unreachable!("it never ends"),
                () = started.notified() => {}
            }
        }
        let payload = sink.row().2;
        assert_eq!(
            (&payload["outcome"], &payload["effect"]),
            (&json!("cancelled"), &json!(effect))
        );
        assert_eq!(payload["arguments"]["password"], "***");
    }
}

#[tokio::test]
async fn p15_a_call_that_is_dropped_at_any_point_leaves_exactly_one_row() {
    let caller = alice(true);
    let mut seen = BTreeSet::new();
    for polls in 1..6 {
        let (sink, arguments) = (Sink::default(), json!({}));
        {
            let mut run = Box::pin(guarded(
                call(Some(&caller), Risk::Write, &arguments),
                &sink,
                || async {
                    tokio::task::yield_now().await;
                    Answer::ok(json!({}))
                },
            ));
            for _ in 0..polls {
                if futures_util::poll!(&mut run).is_ready() {
                    break;
                }
            }
        }
        seen.insert(sink.row().2["outcome"].as_str().unwrap().to_owned());
    }
    assert_eq!(
        seen,
        BTreeSet::from(["cancelled".to_owned(), "ok".to_owned()])
    );
}

#[tokio::test]
async fn p15_a_change_that_could_not_be_recorded_is_not_run_and_a_read_is() {
    let caller = alice(true);
    for risk in [Risk::Read, Risk::Write, Risk::Destructive, Risk::Unknown] {
        let sink = Sink {
            not_ready: true,
            ..Sink::default()
        };
        let (arguments, ran) = (json!({}), AtomicU32::new(0));
        let answer = guarded(call(Some(&caller), risk, &arguments), &sink, || async {
            ran.fetch_add(1, Ordering::SeqCst);
            Answer::ok(json!({}))
        })
        .await;
        let read = risk == Risk::Read;
        assert_eq!(ran.into_inner(), u32::from(read));
        assert_eq!(sink.asked.load(Ordering::SeqCst), u32::from(!read));
        if !read {
            assert_eq!(
                (answer.code(), answer.effect()),
                (Some("audit.unavailable"), Some(ErrorEffect::None))
            );
            assert_eq!(answer.body()["cause"], "audit.full");
        }
    }
}

#[tokio::test]
async fn p15_what_happened_is_told_truly_although_the_row_could_not_be_written() {
    let (caller, arguments) = (alice(true), json!({}));
    let sink = Sink {
        broken: true,
        ..Sink::default()
    };
    let answer = guarded(
        call(Some(&caller), Risk::Write, &arguments),
        &sink,
        || async { Answer::ok(json!({"changed": true})) },
    )
    .await;
    assert!(!answer.is_error());
    assert_eq!(answer.body()["changed"], true);
    assert_eq!(answer.body()["audit_error"]["code"], "audit.full");
}

async fn recorded(arguments: &Value) -> Value {
    let (sink, caller) = (Sink::default(), alice(true));
    guarded(
        call(Some(&caller), Risk::Read, arguments),
        &sink,
        || async { Answer::ok(json!({})) },
    )
    .await;
    sink.row().2
}

#[tokio::test]
async fn p15_very_large_arguments_leave_a_small_row() {
    let arguments = json!({"notes": vec!["x".repeat(400); 1_000]});
    let payload = recorded(&arguments).await;
    assert!(payload.to_string().len() < 1_000);
    assert_eq!(payload["arguments"]["bytes"], arguments.to_string().len());
}

#[tokio::test]
async fn p15_a_long_argument_is_recorded_cut_and_recognisable() {
    let long = "é".repeat(1_000_000);
    let just = "x".repeat(500);
    let arguments = json!({"note": long, "deep": [{"why": long}], long.as_str(): 1, "name": just});
    let payload = recorded(&arguments).await;
    assert!(payload.to_string().len() < 5_000);
    let note = payload["arguments"]["note"].as_str().unwrap();
    let digest = guard::digest::Digest::of_bytes(long.as_bytes());
    assert_eq!(
        note,
        format!("{}… [1000000 characters, {digest}]", "é".repeat(500))
    );
    assert_eq!(payload["arguments"]["deep"][0]["why"], note);
    assert_eq!(payload["arguments"][note], 1);
    // What is not too long is recorded as it was.
    assert_eq!(payload["arguments"]["name"], just);
    // A secret is hidden before anything is cut: a part of it would no longer look like one.
    let secret = format!("{} Bearer abc123def456ghi789", "x".repeat(489));
    let payload = recorded(&json!({ "note": secret })).await;
    assert!(!payload.to_string().contains("abc123"), "{payload}");
}
