//! A list in batches, and many workflows at once: bounded, fair, and none left behind.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use workflow::event::{Direction, Event, Outcome};
use workflow::model::{StepId, WorkflowId};
use workflow::state::Status;

use crate::support::{
    Fault, LONG, Outside, World, approve, approve_all, begin, ledger, list_of, open_approval,
    outside, person, set, workflow,
};

/// Of each item of `each` when its intent was stored, and when its outcome was.
fn spans(outside: &Outside, id: &WorkflowId) -> BTreeMap<usize, (u64, u64)> {
    let stored = outside.journal.stored.lock().unwrap();
    let number = |step: &StepId| step.0.strip_prefix("each_")?.parse::<usize>().ok();
    let mut spans = BTreeMap::new();
    for recorded in &stored[id] {
        match &recorded.event {
            Event::Intent {
                step,
                direction: Direction::Do,
                ..
            } => {
                let Some(i) = number(step) else { continue };
                assert!(spans.insert(i, (recorded.seq, 0)).is_none(), "{step} twice");
            }
            Event::Outcome {
                step,
                direction: Direction::Do,
                outcome,
                ..
            } => {
                assert!(!matches!(outcome, Outcome::Unknown { .. }));
                let Some(i) = number(step) else { continue };
                spans.get_mut(&i).unwrap().1 = recorded.seq;
            }
            _ => {}
        }
    }
    spans
}

#[tokio::test]
async fn p4_fifty_items_in_batches_of_five_one_batch_after_the_other() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    outside.companion.visits.gather(5);
    let id = begin(
        &engine,
        json!([list_of("set", "vm", 50, &json!({"batch": 5}))]),
    )
    .await;
    let shown = approve_all(&engine, &id).await;
    assert_eq!(shown.state.status(), Status::Completed);
    let spans = spans(&outside, &id);
    assert_eq!(spans.len(), 50);
    for item in 6..=50 {
        let first = (item - 1) / 5 * 5 + 1;
        for earlier in 1..first {
            assert!(
                spans[&item].0 > spans[&earlier].1,
                "{item} before {earlier} was settled"
            );
        }
    }
    assert_eq!(outside.companion.visits.most(), 5);
    for i in 1..=50 {
        assert_eq!(outside.companion.value(&format!("vm{i}")), i);
    }
    println!("{} items in 10 batches", spans.len());
}

#[tokio::test]
async fn p8_so_many_items_may_fail_and_not_one_more() {
    for (max_failures, fail, ends) in [
        (0, 0, Status::Completed),
        (0, 1, Status::RolledBack),
        (2, 2, Status::Completed),
        (2, 3, Status::RolledBack),
    ] {
        let outside = outside();
        let engine = World::process(&outside, 1);
        // In batches of their own: the first, the fifth, the ninth.
        for i in [1, 5, 9].into_iter().take(fail) {
            outside
                .companion
                .fails(&format!("vm{i}"), 1, Fault::FailsCleanly);
        }
        let list = json!({"batch": 3, "max_failures": max_failures});
        let steps = json!([list_of("set", "vm", 10, &list), set("after", "cpu", 4)]);
        let id = begin(&engine, steps).await;
        let shown = approve_all(&engine, &id).await;
        assert_eq!(
            shown.state.status(),
            ends,
            "{fail} of at most {max_failures}"
        );
        let sent = spans(&outside, &id);
        if ends == Status::Completed {
            assert_eq!(ledger(&outside).len(), 11 - fail);
            assert_eq!(outside.companion.value("cpu"), 4);
        } else {
            assert_eq!(outside.companion.value("cpu"), 2, "nothing comes after");
            let last = if max_failures == 0 { 3 } else { 9 };
            assert!(sent.keys().all(|i| *i <= last), "{sent:?}");
            for i in 1..=10 {
                assert_eq!(
                    outside.companion.value(&format!("vm{i}")),
                    0,
                    "{i} is undone"
                );
            }
        }
    }
}

#[tokio::test]
async fn p6_destructive_items_ask_one_by_one_and_run_in_a_batch_where_one_decision_names_them() {
    for named in [false, true] {
        let outside = outside();
        let engine = World::process(&outside, 1);
        for i in 1..=5 {
            outside.companion.put(&format!("disk{i}"), 40);
        }
        outside.companion.visits.gather(if named { 5 } else { 1 });
        let id = begin(
            &engine,
            json!([list_of("erase", "disk", 5, &json!({"batch": 5}))]),
        )
        .await;
        let open = open_approval(&engine, &id).await;
        let steps: Vec<StepId> = (1..=5).map(|i| StepId(format!("each_{i}"))).collect();
        let steps = if named { steps } else { Vec::new() };
        let approved = engine.approve(&id, open, person(), String::new(), steps);
        approved.await.unwrap();
        let shown = approve_all(&engine, &id).await;
        assert_eq!(shown.state.status(), Status::Completed, "named: {named}");
        let kinds = outside.journal.kinds(&id);
        let asked = kinds.iter().filter(|k| **k == "approval_requested").count();
        assert_eq!(asked, if named { 1 } else { 6 }, "{kinds:?}");
        let most = outside.companion.visits.most();
        if named {
            assert_eq!(most, 5, "all of the batch at once");
        }
        let mut done = ledger(&outside);
        done.sort();
        assert_eq!(
            done,
            ["disk1=0", "disk2=0", "disk3=0", "disk4=0", "disk5=0"]
        );
        // While a person is asked nothing runs.
        let stored = outside.journal.stored.lock().unwrap()[&id].clone();
        let mut under_way = 0;
        for recorded in &stored {
            match &recorded.event {
                Event::Intent { .. } => under_way += 1,
                Event::Outcome { .. } => under_way -= 1,
                Event::ApprovalRequested { .. } => assert_eq!(under_way, 0),
                _ => {}
            }
        }
    }
}

/// How many workflows run beside the one with the large group.
const WORKFLOWS: usize = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p18_hundreds_of_workflows_at_once_all_complete_and_so_many_calls_are_under_way() {
    let outside = outside();
    let engine = World::process_with(&outside, 1, |settings| {
        settings.bounds.max_parallel = 64;
    });
    let group: Vec<Value> = (0..256)
        .map(|i| set(&format!("g{i}"), &format!("group{i}"), 1))
        .collect();
    let large = begin(
        &engine,
        json!([{"id": "g", "limit": 64, "parallel": group}]),
    )
    .await;
    let mut others = Vec::new();
    for i in 0..WORKFLOWS {
        let steps: Vec<Value> = (0..3)
            .map(|s| set(&format!("s{s}"), &format!("w{i}_{s}"), 1))
            .collect();
        others.push(begin(&engine, json!(steps)).await);
    }
    // Nobody is answered before as many are under way as may be.
    outside.companion.visits.gather(128);
    let began = Instant::now();
    approve(&engine, &large).await;
    let mut waits = Vec::new();
    for id in others {
        approve(&engine, &id).await;
        let engine = engine.clone();
        let began = Instant::now();
        waits.push(tokio::spawn(async move {
            let shown = engine.wait(&id, LONG * 6).await.unwrap();
            assert_eq!(shown.state.status(), Status::Completed, "{id}");
            began.elapsed()
        }));
    }
    let mut longest = Duration::ZERO;
    for wait in waits {
        longest = longest.max(wait.await.unwrap());
    }
    let shown = engine.wait(&large, LONG * 6).await.unwrap();
    assert_eq!(shown.state.status(), Status::Completed);
    let all = began.elapsed();
    assert!(outside.companion.visits.met());
    let most = outside.companion.visits.most();
    assert_eq!(most, 128, "as many as may be, and never more");
    assert_eq!(ledger(&outside).len(), 256 + 3 * WORKFLOWS);
    println!(
        "{} workflows, {} changes, at most {most} calls under way; the longest of the small ones \
         took {longest:?} from its approval on, all of them together {all:?}",
        WORKFLOWS + 1,
        256 + 3 * WORKFLOWS
    );
}

#[tokio::test]
async fn p18_a_small_workflow_is_served_while_a_large_group_waits_for_its_turn() {
    let outside = outside();
    let engine = World::process_with(&outside, 1, |settings| {
        settings.bounds.max_parallel = 64;
    });
    let group: Vec<Value> = (0..256)
        .map(|i| set(&format!("g{i}"), &format!("group{i}"), 1))
        .collect();
    let raw = workflow(
        json!([{"id": "g", "limit": 64, "parallel": group}]),
        &json!({}),
    );
    let large = engine
        .create(person(), &raw)
        .await
        .unwrap()
        .state
        .id
        .clone();
    engine.run(&large, &person()).await.unwrap();
    let small = begin(&engine, json!([set("a", "cpu", 4), set("b", "memory", 8)])).await;
    approve(&engine, &large).await;
    approve(&engine, &small).await;
    let shown = engine.wait(&small, LONG).await.unwrap();
    assert_eq!(shown.state.status(), Status::Completed);
    let shown = engine.wait(&large, LONG).await.unwrap();
    assert_eq!(shown.state.status(), Status::Completed);
    let order = ledger(&outside);
    let ended = order.iter().position(|what| what == "memory=8").unwrap();
    println!(
        "the small workflow was done after {ended} of {} changes",
        order.len()
    );
    assert!(
        ended < order.len() - 64,
        "it did not wait for the whole group"
    );
}
