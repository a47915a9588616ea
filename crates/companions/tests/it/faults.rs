//! Each way in which a companion can fail a call, with a real child process, and what the ledger
//! of the fake says of what was really done.

use std::time::Duration;

use crate::common::{Lab, failure, lost, success};
use engine::ports::Dispatch as _;
use serde_json::{Value, json};
use workflow::event::{Direction, Left};

fn bump(fault: &str) -> Value {
    json!({"fault": fault})
}

#[tokio::test(flavor = "multi_thread")]
async fn p18_a_call_that_is_answered_is_done_once_with_its_key_and_attempt() {
    let lab = Lab::new("");
    let body = success(lab.call("bump", json!({})).await);
    assert_eq!(body["changed"], true);
    let ledger = lab.ledger();
    assert_eq!(ledger.len(), 1);
    assert_eq!(
        (&ledger[0]["key"], &ledger[0]["attempt"]),
        (&json!("wf_1/a/do/0"), &json!(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn p18_errors_say_what_they_left_behind() {
    let lab = Lab::new("");
    let mut done = 0;
    for (fault, code, left, does) in [
        ("error", "fake.broken", Left::NotSaid, 0),
        ("error_none", "fake.broken", Left::Nothing, 0),
        ("error_field", "fake.broken", Left::Nothing, 0),
        ("error_partial", "fake.half", Left::Something, 1),
        ("error_after", "fake.half", Left::NotSaid, 1),
        ("preview_only", "companion.preview_only", Left::Nothing, 0),
        ("rpc_params", "companion.bad_arguments", Left::Nothing, 0),
        ("rpc_method", "companion.no_such_method", Left::Nothing, 0),
        ("rpc_internal", "companion.error", Left::NotSaid, 1),
        ("input", "companion.input_required", Left::NotSaid, 0),
    ] {
        let (is, error, leaves) = failure(lab.call("bump", bump(fault)).await);
        assert_eq!((is.as_str(), leaves), (code, left), "{fault}");
        assert!(!error.is_empty(), "{fault}");
        done += does;
        assert_eq!(lab.ledger().len(), done, "{fault}");
        // What is said to have left nothing has left nothing.
        assert!(left != Left::Nothing || does == 0, "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p18_what_was_sent_and_not_answered_is_lost() {
    let lab = Lab::new("");
    for fault in ["error_unknown", "garbage", "both", "unreadable", "huge"] {
        let before = lab.ledger().len();
        let why = lost(lab.call("bump", bump(fault)).await);
        assert!(why.starts_with("The companion `fake` was called"), "{why}");
        assert_eq!(lab.ledger().len(), before + 1, "{fault}: it was done");
    }
    assert_eq!(
        success(lab.call("peek", json!({"name": "x"})).await)["name"],
        "x",
        "the session goes on"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn p18_a_companion_that_dies_under_a_call_loses_it_and_is_started_again() {
    let lab = Lab::new("");
    let first = lab.pid().await;
    let why = lost(lab.call("bump", bump("exit_before")).await);
    assert!(why.contains("exit code 9"), "{why}");
    let second = lab.pid().await;
    assert_ne!(first, second);
    let why = lost(lab.call("bump", bump("exit_after")).await);
    assert!(
        why.contains("the fake was told to end"),
        "its last words: {why}"
    );
    assert_eq!(
        lab.ledger().len(),
        1,
        "nobody but the ledger can tell the two apart"
    );
    assert_ne!(lab.pid().await, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn p18_an_answer_without_end_of_line_just_before_the_end_still_counts() {
    let lab = Lab::new("no_newline");
    assert_eq!(
        success(lab.call("bump", bump("exit_after")).await)["changed"],
        true
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn p18_a_call_without_answer_is_cancelled_and_lost_when_its_time_is_over() {
    let lab = Lab::new("");
    for (fault, done) in [("hang", 0), ("lost", 1)] {
        let mut outgoing = lab.outgoing("bump", bump(fault)).await;
        outgoing.timeout = Duration::from_millis(200);
        let why = lost(lab.companions.call(outgoing).await);
        assert!(why.contains("did not answer in time"), "{why}");
        assert_eq!(lab.ledger().len(), done, "{fault}");
    }
    lab.pid().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p18_an_answer_to_the_cancellation_is_still_an_answer() {
    let lab = Lab::new("");
    // The fake answers this one only once it hears that it was cancelled.
    let mut outgoing = lab.outgoing("bump", bump("late")).await;
    outgoing.timeout = Duration::from_millis(200);
    assert_eq!(
        success(lab.companions.call(outgoing).await)["changed"],
        true
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn p18_a_call_that_nobody_waits_for_any_more_is_cancelled() {
    let lab = Lab::new("");
    let outgoing = lab.outgoing("bump", bump("late")).await;
    let call = tokio::spawn({
        let companions = lab.companions.clone();
        async move { companions.call(outgoing).await }
    });
    crate::common::until("it was sent", || lab.ledger().len() == 1).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    lab.pid().await;
}

// On one thread, so that the first of the two is also the first to be written.
#[tokio::test]
async fn p18_what_never_went_into_the_pipe_left_nothing() {
    // It reads nothing any more once its tools are known: the pipe fills up, and what stands
    // behind that was not sent.
    let lab = Lab::new("deaf");
    let mut stuck = lab
        .outgoing("note", json!({"text": "x".repeat(200_000)}))
        .await;
    let mut behind = lab.outgoing("bump", json!({})).await;
    (stuck.timeout, behind.timeout) = (Duration::from_millis(600), Duration::from_millis(300));
    let (stuck, behind) = tokio::join!(lab.companions.call(stuck), lab.companions.call(behind));
    lost(stuck);
    let (code, error, left) = failure(behind);
    assert_eq!(
        (code.as_str(), left),
        ("companion.unavailable", Left::Nothing),
        "{error}"
    );
    assert!(lab.ledger().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_free_answer_is_read_in_every_guise() {
    let lab = Lab::new("");
    for fault in ["noise", "text_only", "string_id"] {
        let body = success(lab.call("bump", bump(fault)).await);
        assert_eq!(body["changed"], true, "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p13_and_p2_what_a_companion_says_is_cleaned() {
    let entry =
        json!({"command": crate::common::fake(), "env": {"FAKE_PASSWORD": "s3cr3t-canary"}});
    let lab = Lab::with(&[("fake", entry)]);
    let (_, error, _) = failure(lab.call("bump", bump("dirty")).await);
    assert!(guard::text::is_clean(&error), "{error}");
    assert!(
        error.contains("no entry") && error.contains("***"),
        "{error}"
    );
    assert!(
        !error.contains("s3cr3t-canary") && !error.contains("a1a1"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn p18_a_changed_tool_is_not_called_with_an_old_approval() {
    let lab = Lab::new("");
    let mut outgoing = lab.outgoing("bump", json!({})).await;
    outgoing.facts.tool = guard::digest::Digest::of_bytes(b"as it was");
    let (code, _, left) = failure(lab.companions.call(outgoing.clone()).await);
    assert_eq!((code.as_str(), left), ("companion.changed", Left::Nothing));
    assert!(lab.ledger().is_empty());
    // An undo was prepared with the deed, and must be possible all the same.
    outgoing.direction = Direction::Undo;
    success(lab.companions.call(outgoing).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_are_checked_again_when_they_are_sent() {
    let lab = Lab::new("");
    let mut outgoing = lab.outgoing("strict", json!({"size": 1})).await;
    outgoing.call.arguments.insert("size".to_owned(), json!(11));
    let (code, error, left) = failure(lab.companions.call(outgoing).await);
    assert_eq!((code.as_str(), left), ("step.arguments", Left::Nothing));
    assert!(error.contains("at most 10"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_entrys_own_time_limit_counts_if_it_is_shorter() {
    let lab = Lab::with(&[(
        "fake",
        json!({"command": crate::common::fake(), "timeout_s": 1}),
    )]);
    lost(lab.call("bump", bump("hang")).await);
}
