//! The end of a process, and who goes on after it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::Engine;
use serde_json::{Value, json};
use workflow::event::Direction;
use workflow::model::{StepId, WorkflowId};
use workflow::state::Status;

use crate::support::{
    Fault, LONG, Outside, World, approve, begin, ledger, open_approval, outside, person, set,
    statuses, until,
};

/// Two changes, one after the other.
fn two() -> Value {
    json!([set("a", "cpu", 4), set("b", "memory", 8)])
}

/// Process 1, in the middle of the first of two changes.
async fn in_the_middle(outside: &Arc<Outside>) -> (Engine<World>, WorkflowId) {
    let engine = World::process(outside, 1);
    outside.companion.held.hold(Direction::Do, "cpu");
    let id = begin(&engine, two()).await;
    approve(&engine, &id).await;
    outside.companion.held.wait_for(1).await;
    (engine, id)
}

#[tokio::test]
async fn p18_a_process_that_ends_settles_what_it_sent_and_sends_nothing_new() {
    let outside = outside();
    let (engine, id) = in_the_middle(&outside).await;
    // The answer comes only once the process is about to end.
    let (settled, ()) = tokio::join!(engine.close(LONG), async {
        outside.companion.held.let_go();
    });
    assert!(settled);
    assert_eq!(ledger(&outside), ["cpu=4"]);
    assert_eq!(outside.journal.count(&id, "outcome"), 1, "it is recorded");
    assert_eq!(outside.owner(&id), None, "another process may go on");
    let next = World::process(&outside, 2);
    let shown = next.show(&id).await.unwrap();
    assert_eq!(statuses(&shown), ["succeeded", "pending"]);
}

#[tokio::test]
async fn p18_what_is_not_settled_in_time_is_not_given_up() {
    let outside = outside();
    let (engine, id) = in_the_middle(&outside).await;
    assert!(!engine.close(Duration::from_millis(1)).await);
    assert_eq!(outside.owner(&id), Some(1));
    // As long as the process lives, its call may still get there: nobody goes on.
    let next = World::process(&outside, 2);
    next.run(&id, &person()).await.unwrap();
    assert_eq!(outside.journal.count(&id, "adopted"), 0);
}

#[tokio::test(start_paused = true)]
async fn p18_a_workflow_that_is_being_run_is_left_to_its_owner_until_that_is_dead() {
    let outside = outside();
    let (engine, id) = in_the_middle(&outside).await;
    let next = World::process(&outside, 2);
    for process in [&engine, &next] {
        assert_eq!(process.run(&id, &person()).await, Ok(()), "it runs already");
    }
    let refused = next.resume(&id, person()).await.unwrap_err();
    assert_eq!(refused.code, "workflow.busy");
    let refused = engine.resume(&id, person()).await.unwrap_err();
    assert_eq!(refused.code, "workflow.not_paused");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(outside.journal.count(&id, "adopted"), 0);
    assert_eq!(ledger(&outside), Vec::<String>::new());
    // Its answer gets lost with it; whoever was asked to run the workflow meanwhile goes on.
    outside.dead.lock().unwrap().insert(1);
    outside.companion.held.let_go();
    let shown = until(&next, &id, |state| state.status() == Status::Completed).await;
    assert_eq!(shown.state.status(), Status::Completed);
    assert_eq!(outside.journal.count(&id, "adopted"), 1);
    assert_eq!(outside.companion.value("memory"), 8);
}

#[tokio::test(start_paused = true)]
async fn p18_who_waits_for_an_owner_to_be_gone_stops_once_there_is_nothing_to_take_over() {
    let outside = outside();
    let (engine, id) = in_the_middle(&outside).await;
    let next = World::process(&outside, 2);
    next.run(&id, &person()).await.unwrap();
    outside.companion.held.let_go();
    let shown = engine.wait(&id, LONG).await.unwrap();
    assert_eq!(shown.state.status(), Status::Completed);
    // Long enough to look once more.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let claims = outside.claims.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(outside.claims.load(Ordering::SeqCst), claims);
    assert_eq!(outside.owner(&id), None);
}

#[tokio::test(start_paused = true)]
async fn p18_however_often_a_workflow_is_run_one_looks_whether_its_owner_is_gone() {
    let outside = outside();
    let (_engine, id) = in_the_middle(&outside).await;
    let next = World::process(&outside, 2);
    let mut looks = Vec::new();
    for _ in 0..2 {
        next.run(&id, &person()).await.unwrap();
        let before = outside.claims.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(60)).await;
        looks.push(outside.claims.load(Ordering::SeqCst) - before);
    }
    assert!(looks[0] > 1, "{looks:?}");
    assert!(looks[1] <= looks[0] + 1, "{looks:?}");
}

#[tokio::test]
async fn p18_a_rollback_of_another_process_is_waited_for_and_told() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let fault = ((Direction::Do, "memory".to_owned()), Fault::FailsCleanly);
    outside.companion.faults.lock().unwrap().extend([fault]);
    outside.companion.held.hold(Direction::Undo, "cpu");
    let id = begin(&engine, two()).await;
    approve(&engine, &id).await;
    outside.companion.held.wait_for(1).await;
    for process in [&engine, &World::process(&outside, 2)] {
        let refused = process.run(&id, &person()).await.unwrap_err();
        assert_eq!(refused.code, "workflow.rolling_back");
    }
    outside.companion.held.let_go();
    let shown = engine.wait(&id, LONG).await.unwrap();
    assert_eq!(shown.state.status(), Status::RolledBack);
}

#[tokio::test(start_paused = true)]
async fn p18_what_was_stored_although_the_store_said_no_is_gone_on_with_when_it_is_run_again() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let id = begin(&engine, two()).await;
    let lies = StepId("b".to_owned());
    outside.journal.lies_about.lock().unwrap().insert(lies);
    approve(&engine, &id).await;
    // Its intent is there, and nothing was sent: this process owns it and is not at work on it.
    let shown = until(&engine, &id, |state| state.steps[1].in_flight.is_some()).await;
    assert_eq!(shown.state.status(), Status::Running);
    assert_eq!(outside.owner(&id), Some(1));
    assert_eq!(ledger(&outside), ["cpu=4"]);
    engine.run(&id, &person()).await.unwrap();
    let shown = engine.wait(&id, LONG).await.unwrap();
    assert_eq!(shown.state.status(), Status::Completed);
    assert_eq!(ledger(&outside), ["cpu=4", "memory=8"]);
}

#[tokio::test]
async fn p18_a_workflow_that_comes_to_rest_while_it_is_taken_over_belongs_to_nobody() {
    let outside = outside();
    let (engine, id) = in_the_middle(&outside).await;
    let next = World::process(&outside, 2);
    let busy = outside.claiming.lock().await;
    let by = person();
    let taken_over = next.run(&id, &by);
    let brought_to_rest = async {
        outside.companion.held.let_go();
        let shown = engine.wait(&id, LONG).await.unwrap();
        assert_eq!(shown.state.status(), Status::Completed);
        assert_eq!(outside.owner(&id), None);
        drop(busy);
    };
    let (run, ()) = tokio::join!(taken_over, brought_to_rest);
    assert_eq!(run, Ok(()));
    assert_eq!(outside.owner(&id), None);
    assert_eq!(outside.journal.count(&id, "adopted"), 0);
}

#[tokio::test]
async fn p7_a_deadline_is_recorded_when_it_is_due_although_nobody_calls() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let id = begin(&engine, two()).await;
    open_approval(&engine, &id).await;
    outside.pass(Duration::from_secs(299));
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(outside.journal.count(&id, "expired"), 0, "not before");
    outside.pass(Duration::from_secs(1));
    let recorded = async {
        while outside.journal.count(&id, "expired") == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let recorded = tokio::time::timeout(LONG, recorded).await;
    assert!(recorded.is_ok(), "{:?}", outside.journal.kinds(&id));
}
