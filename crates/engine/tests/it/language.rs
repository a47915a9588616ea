//! Conditions, retries, waits and failures, as they run.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use workflow::event::{Direction, Event, Outcome};
use workflow::model::StepId;
use workflow::state::{State, Status, Step};

use crate::support::{
    Fault, LONG, World, approve, approve_all, begin, get, ledger, outside, person, set, statuses,
    step_with, until, workflow,
};

fn step<'a>(state: &'a State, id: &str) -> &'a Step {
    state.step(&StepId(id.to_owned())).unwrap().1
}

#[tokio::test]
async fn p4_steps_of_a_group_run_at_the_same_time_and_never_more_than_its_limit() {
    let mut groups = 0;
    for (limit, most, members) in [(3, 3, 7), (1, 1, 3), (8, 8, 9), (8, 2, 2)] {
        let outside = outside();
        let engine = World::process(&outside, 1);
        outside.companion.visits.gather(most);
        let group: Vec<_> = (1..=members)
            .map(|i| set(&format!("s{i}"), &format!("v{i}"), i))
            .collect();
        let group = json!({"id": "g", "limit": limit, "parallel": group});
        let id = begin(&engine, json!([group, set("after", "cpu", 4)])).await;
        let shown = approve_all(&engine, &id).await;
        assert_eq!(shown.state.status(), Status::Completed);
        assert_eq!(outside.companion.visits.most(), most, "limit {limit}");
        assert!(outside.companion.visits.met());
        let done = ledger(&outside);
        assert_eq!(done.len(), usize::try_from(members).unwrap() + 1);
        assert_eq!(
            done.last().unwrap(),
            "cpu=4",
            "what comes after waits for all"
        );
        groups += 1;
    }
    println!("{groups} groups");
    assert!(groups > 0);
}

#[tokio::test]
async fn p8_a_failing_member_launches_no_more_and_all_are_settled_before_the_rollback() {
    for fault in [Fault::FailsCleanly, Fault::FailsHalfDone] {
        let outside = outside();
        let engine = World::process(&outside, 1);
        outside.companion.fails("b", 1, fault);
        let group: Vec<_> = ["a", "b", "c", "d", "e"].map(|n| set(n, n, 1)).to_vec();
        let group = json!({"id": "g", "limit": 3, "parallel": group});
        let ask = json!({"id": "ask", "gate": "Go on?"});
        let id = begin(&engine, json!([set("first", "cpu", 4), ask, group])).await;
        approve(&engine, &id).await;
        engine.wait(&id, LONG).await.unwrap();
        outside.companion.visits.gather(3);
        approve(&engine, &id).await;
        let shown = engine.wait(&id, LONG).await.unwrap();
        assert_eq!(shown.state.status(), Status::RolledBack, "{fault:?}");
        let stored = outside.journal.stored.lock().unwrap()[&id].clone();
        let (mut done, mut undone) = (Vec::new(), Vec::new());
        let mut failed = false;
        for recorded in &stored {
            match &recorded.event {
                Event::Outcome {
                    step,
                    direction: Direction::Do,
                    outcome,
                    ..
                } => {
                    assert_eq!(undone, Vec::<StepId>::new(), "all are settled first");
                    failed |= matches!(outcome, Outcome::Failed { .. });
                    done.push(step.clone());
                }
                Event::Launched { .. } => assert!(!failed, "no more is launched"),
                Event::Intent {
                    step,
                    direction: Direction::Undo,
                    ..
                } => undone.push(step.clone()),
                _ => {}
            }
        }
        assert!(failed && done.len() >= 4, "{done:?}");
        let mut reverse: Vec<StepId> = done.iter().rev().cloned().collect();
        if fault == Fault::FailsCleanly {
            reverse.retain(|step| step.0 != "b");
        }
        assert_eq!(undone, reverse, "{fault:?}: {:?}", statuses(&shown));
        for name in ["a", "b", "c", "d", "e"] {
            assert_eq!(outside.companion.value(name), 0, "{name}");
        }
        assert_eq!(outside.companion.value("cpu"), 2);
    }
}

#[tokio::test]
async fn p4_a_condition_that_does_not_hold_skips_and_one_that_cannot_be_told_sends_nothing() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let steps = json!([
        get("look", "cpu"),
        step_with(set("no", "disk", 1), &json!({"when": "steps.look.outputs.value > 2"})),
        step_with(set("yes", "cpu", 4), &json!({"when": "steps.look.outputs.value == 2"})),
        step_with(set("then", "memory", 8), &json!({"when": "steps.no.status == 'skipped'"})),
        {"id": "ask", "gate": "Go on?", "when": "false"},
    ]);
    let id = begin(&engine, steps).await;
    let shown = approve_all(&engine, &id).await;
    assert_eq!(shown.state.status(), Status::Completed);
    assert_eq!(
        statuses(&shown),
        ["succeeded", "skipped", "succeeded", "succeeded", "skipped"]
    );
    assert_eq!(ledger(&outside), ["cpu=4", "memory=8"]);
    let why = step(&shown.state, "no").skipped_why.clone();
    let wanted = "`steps.look.outputs.value > 2` does not hold";
    assert_eq!(why.as_deref(), Some(wanted));

    let outputs = json!({"outputs": {"gone": "/gone"}});
    let steps = json!([
        set("first", "memory", 16),
        step_with(get("look", "cpu"), &outputs),
        step_with(
            set("closed", "cpu", 9),
            &json!({"when": "steps.look.outputs.gone != 'x'"})
        ),
    ]);
    let id = begin(&engine, steps).await;
    let shown = approve_all(&engine, &id).await;
    assert_eq!(shown.state.status(), Status::RolledBack);
    let error = step(&shown.state, "closed").error.clone().unwrap();
    assert_eq!(error.code, "step.condition");
    assert!(error.error.contains("so nothing was sent"), "{error:?}");
    assert_eq!(outside.companion.value("cpu"), 4, "nothing was sent");
    assert_eq!(outside.companion.value("memory"), 8);
}

#[tokio::test]
async fn p8_a_change_that_did_not_bring_about_what_was_expected_is_undone() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let changed = json!({"outputs": {"changed": {"pointer": "/changed", "type": "boolean"}}});
    let expects =
        |step, expect: &str| step_with(step_with(step, &changed), &json!({"expect": expect}));
    let steps = json!([
        expects(set("good", "memory", 8), "outputs.changed"),
        expects(set("bad", "cpu", 4), "!outputs.changed"),
    ]);
    let id = begin(&engine, steps).await;
    let shown = approve_all(&engine, &id).await;
    assert_eq!(shown.state.status(), Status::RolledBack);
    assert_eq!(ledger(&outside), ["memory=8", "cpu=4", "cpu=2", "memory=4"]);
    let error = step(&shown.state, "bad").error.clone().unwrap();
    assert_eq!(error.code, "step.unexpected");
    assert_eq!(
        error.error,
        "`!outputs.changed` did not hold once it answered"
    );
}

/// A step that is tried again, between 5 and 10 s after it failed.
fn retried(step: serde_json::Value, count: u32) -> serde_json::Value {
    let retry = json!({"count": count, "backoff_s": 10, "max_backoff_s": 10});
    step_with(step, &json!({"retry": retry}))
}

#[tokio::test]
async fn p8_a_retry_waits_and_its_undo_goes_back_before_the_first_attempt() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    outside.companion.fails("cpu", 2, Fault::FailsHalfDone);
    outside.companion.fails("memory", 1, Fault::FailsCleanly);
    let steps = json!([retried(set("grow", "cpu", 4), 2), set("last", "memory", 8)]);
    let id = begin(&engine, steps).await;
    approve(&engine, &id).await;
    for attempt in 1..=2_usize {
        let waits = |state: &State| {
            let grow = step(state, "grow");
            grow.retry_at.is_some() && grow.retries == u32::try_from(attempt).unwrap()
        };
        let shown = until(&engine, &id, waits).await;
        let at = step(&shown.state, "grow").retry_at.unwrap();
        let now = shown.state.updated_at;
        assert!((now + 5_000..=now + 10_000).contains(&at), "{}", at - now);
        let left = u64::try_from(at - now - 1).unwrap();
        outside.pass(Duration::from_millis(left));
        for _ in 0..5 {
            engine.show(&id).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(ledger(&outside).len(), attempt, "not before its time");
        outside.pass(Duration::from_millis(1));
    }
    let shown = engine.wait(&id, LONG).await.unwrap();
    assert_eq!(shown.state.status(), Status::RolledBack);
    assert_eq!(ledger(&outside), ["cpu=4", "cpu=4", "cpu=4", "cpu=2"]);
    let keys: Vec<String> = {
        let ledger = outside.companion.ledger.lock().unwrap();
        ledger.iter().map(|(key, _)| key.clone()).collect()
    };
    assert_eq!(keys[0], keys[2], "an attempt has the key of its deed");
    let kinds = outside.journal.kinds(&id);
    assert_eq!(kinds.iter().filter(|k| **k == "retry_scheduled").count(), 2);
}

#[tokio::test]
async fn p18_a_read_that_failed_once_has_failed_once_when_that_is_stored_a_moment_later() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let id = begin(&engine, json!([retried(get("look", "nowhere"), 2)])).await;
    let shown = until(&engine, &id, |state| step(state, "look").retry_at.is_some());
    assert_eq!(step(&shown.await.state, "look").retries, 1);
    assert_eq!(outside.journal.count(&id, "outcome"), 1);
    assert_eq!(outside.journal.count(&id, "retry_scheduled"), 1);
    assert_eq!(outside.companion.sent.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn p6_a_destructive_step_that_is_tried_again_asks_once_where_nothing_differs() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    outside.companion.fails("disk", 1, Fault::FailsCleanly);
    let mut wipe = set("wipe", "disk", 0);
    wipe["params"]["action"] = "erase".into();
    let id = begin(&engine, json!([retried(wipe, 1)])).await;
    approve(&engine, &id).await;
    approve(&engine, &id).await;
    until(&engine, &id, |state| step(state, "wipe").retry_at.is_some()).await;
    outside.pass(Duration::from_secs(10));
    let shown = engine.wait(&id, LONG).await.unwrap();
    assert_eq!(shown.state.status(), Status::Completed);
    let kinds = outside.journal.kinds(&id);
    let asked = kinds.iter().filter(|k| **k == "approval_requested").count();
    assert_eq!(asked, 2, "the plan and the step: {kinds:?}");
    assert_eq!(ledger(&outside), ["disk=0"]);
}

#[tokio::test]
async fn p6_drift_between_two_attempts_pauses_and_a_new_approval_goes_on() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    outside.companion.fails("cpu", 1, Fault::FailsCleanly);
    let id = begin(&engine, json!([retried(set("grow", "cpu", 4), 2)])).await;
    approve(&engine, &id).await;
    until(&engine, &id, |state| step(state, "grow").retry_at.is_some()).await;
    outside.companion.put("cpu", 3);
    outside.pass(Duration::from_secs(10));
    let shown = engine.wait(&id, LONG).await.unwrap();
    assert_eq!(shown.state.phase.reason(), Some("drift"));
    assert_eq!(
        shown.state.drift,
        ["before the change, `value` was `2` and is `3`"]
    );
    assert_eq!(ledger(&outside), Vec::<String>::new());
    engine.resume(&id, person()).await.unwrap();
    let shown = approve_all(&engine, &id).await;
    assert_eq!(
        shown.state.status(),
        Status::Completed,
        "a person has seen it: {:?}",
        shown.state.drift
    );
    assert_eq!(ledger(&outside), ["cpu=4"]);
}

#[tokio::test]
async fn p8_a_step_says_itself_what_its_failure_leads_to() {
    let fails = |id: &str, more: serde_json::Value| step_with(set(id, id, 1), &more);
    for (own, workflow_says, ends, done) in [
        (
            "continue",
            "rollback",
            Status::Completed,
            vec!["cpu=4", "memory=8"],
        ),
        ("stop", "rollback", Status::Failed, vec!["cpu=4"]),
        (
            "rollback",
            "continue",
            Status::RolledBack,
            vec!["cpu=4", "cpu=2"],
        ),
        ("stop", "continue", Status::Failed, vec!["cpu=4"]),
    ] {
        let outside = outside();
        let engine = World::process(&outside, 1);
        outside.companion.fails("bad", 1, Fault::FailsCleanly);
        let steps = json!([
            set("first", "cpu", 4),
            fails("bad", json!({"on_failure": own})),
            set("last", "memory", 8),
        ]);
        let raw = workflow(steps, &json!({"on_failure": workflow_says}));
        let id = engine
            .create(person(), &raw)
            .await
            .unwrap()
            .state
            .id
            .clone();
        engine.run(&id, &person()).await.unwrap();
        let shown = approve_all(&engine, &id).await;
        assert_eq!(shown.state.status(), ends, "{own} in {workflow_says}");
        assert_eq!(ledger(&outside), done, "{own} in {workflow_says}");
    }
}

/// The calls so far.
fn calls(outside: &crate::support::Outside) -> u64 {
    outside.companion.calls.load(Ordering::SeqCst)
}

/// A read that waits until the value is 8: every 5 s, at most 60 s.
fn waits(more: &serde_json::Value) -> serde_json::Value {
    let wait = json!({"until": "outputs.value == 8", "every_s": 5, "deadline_s": 60});
    step_with(
        step_with(get("wait", "cpu"), &json!({"wait_for": wait})),
        more,
    )
}

/// Waits until it was read so often.
async fn read(outside: &crate::support::Outside, times: u64) {
    let read = async {
        while calls(outside) < times {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, read).await.unwrap();
    assert_eq!(calls(outside), times);
}

#[tokio::test]
async fn p4_a_read_that_waits_is_made_again_at_its_time_until_its_condition_holds() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let id = begin(&engine, json!([waits(&json!({}))])).await;
    read(&outside, 1).await;
    for times in 2..=4 {
        outside.pass(Duration::from_millis(4_999));
        for _ in 0..5 {
            engine.show(&id).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(calls(&outside), times - 1, "not before its time");
        outside.pass(Duration::from_millis(1));
        read(&outside, times).await;
    }
    outside.companion.put("cpu", 8);
    outside.pass(Duration::from_secs(5));
    let shown = engine.wait(&id, LONG).await.unwrap();
    assert_eq!(shown.state.status(), Status::Completed);
    assert_eq!(calls(&outside), 5);
    assert_eq!(step(&shown.state, "wait").outputs["value"], 8);
}

#[tokio::test]
async fn p18_the_deadline_of_a_wait_holds_over_a_restart() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let id = begin(&engine, json!([waits(&json!({}))])).await;
    read(&outside, 1).await;
    let shown = until(&engine, &id, |state| step(state, "wait").deadline.is_some()).await;
    assert_eq!(step(&shown.state, "wait").deadline, Some(60_000));
    outside.dead.lock().unwrap().insert(1);
    outside.pass(Duration::from_secs(59));
    let next = World::process(&outside, 2);
    next.run(&id, &person()).await.unwrap();
    read(&outside, 2).await;
    let shown = next.show(&id).await.unwrap();
    assert_eq!(shown.state.status(), Status::Running);
    assert_eq!(
        step(&shown.state, "wait").deadline,
        Some(60_000),
        "it is the same one"
    );
    outside.pass(Duration::from_secs(1));
    let shown = next.wait(&id, LONG).await.unwrap();
    assert_eq!(shown.state.status(), Status::Failed);
    let error = step(&shown.state, "wait").error.clone().unwrap();
    assert_eq!(error.code, "step.unexpected");
    assert_eq!(error.error, "`outputs.value == 8` did not hold within 60 s");
}

#[tokio::test(start_paused = true)]
async fn p4_a_wait_reads_no_more_once_its_workflow_is_being_stopped() {
    for cancelled in [true, false] {
        let outside = outside();
        let engine = World::process(&outside, 1);
        for name in ["disk", "memory"] {
            outside.companion.held.hold(Direction::Do, name);
        }
        outside.companion.fails("disk", 1, Fault::FailsCleanly);
        let members = [
            waits(&json!({})),
            set("a", "disk", 1),
            set("b", "memory", 8),
        ];
        let id = begin(&engine, json!([{"id": "g", "parallel": members}])).await;
        approve(&engine, &id).await;
        outside.companion.held.wait_for(2).await;
        let reads = || {
            let sent = outside.companion.sent.lock().unwrap();
            let read = sent.iter().filter(|o| o.call.arguments["name"] == "cpu");
            read.count()
        };
        tokio::time::timeout(LONG, async {
            while reads() < 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .unwrap();
        // It is stopped, and one of its changes is still under way.
        if cancelled {
            engine.cancel(&id, person()).await.unwrap();
        } else {
            outside.companion.held.let_go();
            outside.companion.held.hold(Direction::Undo, "memory");
            outside.companion.held.wait_for(1).await;
        }
        outside.pass(Duration::from_secs(5));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(reads(), 1, "cancelled: {cancelled}");
        outside.companion.held.let_go();
        let shown = engine.wait(&id, LONG).await.unwrap();
        let ends = if cancelled {
            Status::Cancelled
        } else {
            Status::RolledBack
        };
        assert_eq!(shown.state.status(), ends);
    }
}

#[tokio::test]
async fn p18_what_waits_is_cancelled_and_given_up_at_once() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let id = begin(&engine, json!([waits(&json!({}))])).await;
    read(&outside, 1).await;
    engine.cancel(&id, person()).await.unwrap();
    let shown = engine.show(&id).await.unwrap();
    assert_eq!(shown.state.status(), Status::Cancelled);
    // Waiting for a condition, and for the time of a retry, does not hold up the end of a process.
    outside.companion.fails("memory", 1, Fault::FailsCleanly);
    let other = begin(&engine, json!([waits(&json!({}))])).await;
    read(&outside, 2).await;
    let third = begin(&engine, json!([retried(set("m", "memory", 8), 1)])).await;
    approve(&engine, &third).await;
    until(&engine, &third, |state| step(state, "m").retry_at.is_some()).await;
    let closed = tokio::time::timeout(LONG, engine.close(LONG * 10)).await;
    assert!(closed.unwrap(), "everything was settled");
    // Another process goes on with both, at once.
    let next = World::process(&outside, 2);
    outside.companion.put("cpu", 8);
    outside.pass(Duration::from_secs(10));
    for id in [&other, &third] {
        next.run(id, &person()).await.unwrap();
        let shown = next.wait(id, LONG).await.unwrap();
        assert_eq!(shown.state.status(), Status::Completed);
    }
    assert_eq!(ledger(&outside), ["memory=8"]);
}
