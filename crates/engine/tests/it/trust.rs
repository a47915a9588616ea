//! A companion that says something else from one moment to the next, and people at the same time.

use std::sync::atomic::Ordering;

use engine::Engine;
use workflow::event::Subject;
use workflow::model::{StepId, WorkflowId};
use workflow::state::Status;

use crate::support::{LONG, World, begun, ledger, made, open_approval, outside, person, statuses};

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
