//! A companion that says something else from one moment to the next, and people at the same time.

use std::sync::atomic::Ordering;

use engine::Engine;
use serde_json::json;
use workflow::event::Subject;
use workflow::model::{Risk, StepId, WorkflowId};
use workflow::state::Status;

use crate::support::{
    LONG, World, begun, ledger, made, open_approval, outside, person, set, statuses, step_with,
    workflow,
};

/// Says yes to what is open, and names these steps beside it.
async fn approve(engine: &Engine<World>, id: &WorkflowId, steps: &[&str]) -> engine::Shown {
    let approval = open_approval(engine, id).await;
    let steps = steps.iter().map(|s| StepId((*s).to_owned())).collect();
    engine
        .approve(id, approval, person(), String::new(), steps)
        .await
        .unwrap();
    engine.wait(id, LONG).await.unwrap()
}

#[tokio::test]
async fn p6_a_tool_that_becomes_another_one_after_its_preview_is_not_called() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let id = begun(&engine, &[("set", "set", "cpu", 4)]).await;
    // The review was the first preview; the one right before the call is the second.
    outside.companion.another_after.store(2, Ordering::SeqCst);
    let shown = approve(&engine, &id, &[]).await;
    assert_eq!(shown.state.status(), Status::Failed);
    let error = shown.state.steps[0].error.clone().unwrap();
    assert_eq!(error.code, "companion.changed");
    assert_eq!(ledger(&outside), Vec::<String>::new(), "nothing was sent");
}

#[tokio::test]
async fn p5_a_plan_whose_companion_plays_it_down_is_asked_about_all_the_same() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let id = begun(&engine, &[("wipe", "erase", "disk", 0)]).await;
    outside.companion.plays_down.store(true, Ordering::SeqCst);
    let shown = approve(&engine, &id, &[]).await;
    assert_eq!(shown.state.phase.reason(), Some("drift"));
    assert!(
        shown
            .state
            .drift
            .contains(&"the risk was `destructive` and is `read`".to_owned()),
        "{:?}",
        shown.state.drift
    );
    assert_eq!(outside.journal.count(&id, "approved"), 0);
    engine.resume(&id, person()).await.unwrap();
    let shown = engine.wait(&id, LONG).await.unwrap();
    assert_eq!(shown.state.approval().unwrap().subject, Subject::Plan);
    assert_eq!(ledger(&outside), Vec::<String>::new());
}

#[tokio::test]
async fn p6_what_a_decision_covered_is_void_once_the_plan_is_looked_at_anew() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let id = begun(
        &engine,
        &[("set", "set", "cpu", 4), ("wipe", "erase", "disk", 0)],
    )
    .await;
    // The plan is approved, with `wipe` named beside it, and its first step has drifted.
    outside.companion.rebuilt.store(1, Ordering::SeqCst);
    let shown = approve(&engine, &id, &["wipe"]).await;
    assert_eq!(shown.state.phase.reason(), Some("drift"));
    // Everything is as it was, so that the same plan is asked about again.
    outside.companion.rebuilt.store(0, Ordering::SeqCst);
    engine.resume(&id, person()).await.unwrap();
    let shown = approve(&engine, &id, &[]).await;
    assert_eq!(statuses(&shown), ["succeeded", "awaiting_approval"]);
    assert_eq!(ledger(&outside), ["cpu=4"]);
}

#[tokio::test]
async fn p5_of_two_that_begin_a_workflow_at_the_same_time_neither_is_refused() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let steps = [("set", "set", "cpu", 4)];
    let (id, by) = (made(&engine, &steps).await, person());
    let (one, two) = tokio::join!(engine.run(&id, &by), engine.run(&id, &by));
    assert_eq!((one, two), (Ok(()), Ok(())));
    let kinds = outside.journal.kinds(&id);
    let asked = kinds.iter().filter(|k| **k == "approval_requested").count();
    assert_eq!(asked, 1, "{kinds:?}");
}

#[tokio::test]
async fn p5_a_plan_is_not_approved_while_its_companion_cannot_be_asked_and_is_void_without_it() {
    for (code, says) in [
        ("companion.unavailable", Err("companion.unavailable")),
        ("step.unknown_tool", Ok(Some("drift"))),
    ] {
        let outside = outside();
        let engine = World::process(&outside, 1);
        let id = begun(&engine, &[("set", "set", "cpu", 4)]).await;
        let plan = open_approval(&engine, &id).await;
        *outside.companion.unfit.lock().unwrap() = Some(code);
        let approved = engine.approve(&id, plan.clone(), person(), String::new(), vec![]);
        let approved = approved.await.map_err(|refusal| refusal.code);
        let shown = engine.show(&id).await.unwrap();
        assert_eq!(approved.map(|()| shown.state.phase.reason()), says);
        let open = shown.state.approval().is_some_and(|open| open.id == plan);
        assert_eq!(open, says.is_err(), "it stays open where nothing is known");
        assert_eq!(outside.journal.count(&id, "approved"), 0);
    }
}

#[tokio::test]
async fn p13_a_tool_is_asked_about_with_the_values_that_it_will_get() {
    let engine = World::process(&outside(), 1);
    let step = json!({"id": "a", "skill": "fake", "tool": "store",
        "params": {"action": "${params.what}", "name": "disk", "value": 0}});
    let raw = workflow(json!([step]), &json!({"params": {"what": "erase"}}));
    let made = engine.create(person(), &raw).await.unwrap();
    let facts = made.state.steps[0].facts.clone().unwrap();
    assert_eq!(facts.risk, Risk::Destructive);
}

#[tokio::test]
async fn p18_a_check_that_is_no_read_is_refused_when_it_is_written() {
    let engine = World::process(&outside(), 1);
    for (action, code) in [("get", None), ("set", Some("step.verify_not_read"))] {
        let verify = json!({"tool": "store", "params": {"action": action, "name": "cpu"},
            "expect": {"/value": 4}});
        let step = step_with(set("a", "cpu", 4), &json!({"verify": verify}));
        let raw = workflow(json!([step]), &json!({}));
        let made = engine.create(person(), &raw).await;
        assert_eq!(made.err().map(|refusal| refusal.code), code);
    }
}
