//! Many workflows in one process: what is at rest is forgotten, and still kept to its word.

use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::Engine;
use serde_json::json;
use workflow::event::Direction;
use workflow::model::WorkflowId;
use workflow::state::Status;

use crate::support::{
    LONG, Outside, World, approve, approve_all, begun, list_of, made, open_approval, outside,
    person, workflow,
};

/// More than are kept in memory.
const MANY: usize = 600;

#[tokio::test]
async fn p7_a_deadline_holds_for_a_workflow_that_was_forgotten() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let mut waiting = Vec::new();
    for _ in 0..MANY {
        let id = begun(&engine, &[("first", "set", "cpu", 4)]).await;
        let approval = open_approval(&engine, &id).await;
        waiting.push((id, approval));
        outside.pass(Duration::from_millis(1));
    }
    let loads = outside.journal.loads.load(Ordering::SeqCst);
    // The first ones were forgotten, and are there all the same.
    for (id, approval) in &waiting[..10] {
        let shown = engine.wait(id, LONG).await.unwrap();
        assert_eq!(shown.state.approval().map(|a| &a.id), Some(approval));
    }
    let loads = outside.journal.loads.load(Ordering::SeqCst) - loads;
    assert_eq!(loads, 10, "each was read again from the journal");
    let given = approve_all(&engine, &waiting[0].0).await;
    assert_eq!(given.state.status(), Status::Completed);

    outside.pass(Duration::from_secs(301));
    for (id, approval) in &waiting[1..] {
        let late = engine
            .approve(id, approval.clone(), person(), String::new(), vec![])
            .await;
        assert_eq!(late.unwrap_err().code, "approval.void");
        let shown = engine.show(id).await.unwrap();
        assert_eq!(shown.state.phase.reason(), Some("approval_expired"));
    }
    println!("{MANY} workflows waited, {loads} were looked at again");
}

/// Whether a workflow is in memory. If not, it is then.
async fn is_there(outside: &Outside, engine: &Engine<World>, id: &WorkflowId) -> bool {
    let loads = outside.journal.loads.load(Ordering::SeqCst);
    engine.show(id).await.unwrap();
    outside.journal.loads.load(Ordering::SeqCst) == loads
}

#[tokio::test]
async fn p18_at_most_256_workflows_stay_in_memory_and_then_half_of_them_the_last_ones() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    // The oldest one waits for a person.
    let waits = begun(&engine, &[("first", "set", "cpu", 4)]).await;
    let mut quiet = Vec::new();
    for _ in 1..256 {
        outside.pass(Duration::from_millis(1));
        quiet.push(made(&engine, &[("look", "get", "cpu", 0)]).await);
    }
    for id in &quiet {
        assert!(is_there(&outside, &engine, id).await, "{id} was forgotten");
    }
    outside.pass(Duration::from_millis(1));
    quiet.push(made(&engine, &[("look", "get", "cpu", 0)]).await);
    assert!(is_there(&outside, &engine, &waits).await);
    quiet.reverse();
    for id in &quiet[..128] {
        assert!(is_there(&outside, &engine, id).await, "{id} was forgotten");
    }
    assert!(!is_there(&outside, &engine, &quiet[128]).await);
}

#[tokio::test]
async fn p18_at_most_5000_steps_stay_in_memory_and_then_half_of_them() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let list = json!([list_of("get", "vm", 500, &json!({"batch": 5}))]);
    let raw = workflow(list, &json!({}));
    let mut large = Vec::new();
    for n in 1..=11 {
        outside.pass(Duration::from_millis(1));
        let made = engine.create(person(), &raw).await.unwrap();
        assert_eq!(made.state.steps.len(), 500);
        large.push(made.state.id.clone());
        if n == 10 {
            for id in &large {
                assert!(is_there(&outside, &engine, id).await, "{id} was forgotten");
            }
        }
    }
    large.reverse();
    for id in &large[..6] {
        assert!(is_there(&outside, &engine, id).await, "{id} was forgotten");
    }
    assert!(!is_there(&outside, &engine, &large[6]).await);
}

#[tokio::test]
async fn p18_what_could_not_be_stored_yet_is_not_forgotten() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    outside.companion.held.hold(Direction::Do, "mail");
    let id = begun(&engine, &[("tell", "once", "mail", 1)]).await;
    approve(&engine, &id).await;
    outside.companion.held.wait_for(1).await;
    outside.journal.refuses.lock().unwrap().insert(id.clone());
    outside.companion.held.let_go();
    let shown = engine.wait(&id, LONG).await.unwrap();
    assert!(shown.stalled.is_some());
    for _ in 0..MANY {
        outside.pass(Duration::from_millis(1));
        made(&engine, &[("look", "get", "cpu", 0)]).await;
    }
    outside.journal.refuses.lock().unwrap().clear();
    // Its answer is still known: otherwise only a person could say what became of it.
    let shown = engine.show(&id).await.unwrap();
    assert_eq!(shown.state.status(), Status::Completed);
    assert_eq!(outside.companion.value("mail"), 1);
}
