//! While one workflow changes an object, no other one does.

use serde_json::{Value, json};
use workflow::model::WorkflowId;
use workflow::state::Status;

use crate::support::{
    LONG, World, approve, approve_all, begin, get, ledger, open_approval, outside, person, set,
    step_with,
};

fn gate() -> Value {
    json!({"id": "ask", "gate": "Go on?"})
}

/// Sets a value to what another one is: nobody knows to what before it was read.
fn copied() -> Value {
    let value = json!({"action": "set", "name": "cpu", "value": "${steps.look.outputs.value}"});
    json!([
        get("look", "memory"),
        step_with(set("copy", "cpu", 0), &json!({"params": value}))
    ])
}

/// Which other workflow the review of a step names.
fn held_by(shown: &engine::Shown, place: usize) -> Option<WorkflowId> {
    shown.state.review.as_ref()?.steps[place].held_by.clone()
}

#[tokio::test]
async fn p18_the_second_of_two_workflows_on_one_object_is_told_and_waits() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let first = begin(&engine, json!([gate(), set("grow", "cpu", 4)])).await;
    approve(&engine, &first).await;
    let second = begin(
        &engine,
        json!([set("disk", "disk", 50), set("cpu", "cpu", 8)]),
    )
    .await;
    let shown = engine.wait(&second, LONG).await.unwrap();
    assert_eq!(held_by(&shown, 0), None);
    assert_eq!(held_by(&shown, 1), Some(first.clone()));
    let subject = workflow::event::Subject::Plan;
    let summary = workflow::review::approval_summary(&shown.state, &subject);
    let line = format!("    wait: workflow {first} is changing this object now");
    assert!(summary.contains(&line), "{summary:?}");
    // Another process sees it as well, and neither lets it begin.
    let stored = outside.journal.kinds(&second);
    for process in [engine.clone(), World::process(&outside, 2)] {
        let open = open_approval(&process, &second).await;
        let refused = process.approve(&second, open, person(), String::new(), vec![]);
        let refused = refused.await.unwrap_err();
        assert_eq!(refused.code, "workflow.held", "{refused:?}");
        assert_eq!(refused.extra["held_by"], first.0);
        assert_eq!(
            outside.journal.kinds(&second),
            stored,
            "nothing of it is stored"
        );
    }
    let shown = engine.show(&second).await.unwrap();
    assert_eq!(shown.state.status(), Status::Awaiting);
    assert!(shown.stalled.is_none(), "{:?}", shown.stalled);
    // A third one, on nothing of the kind, goes on meanwhile.
    let third = begin(&engine, json!([set("memory", "memory", 8)])).await;
    assert_eq!(
        approve_all(&engine, &third).await.state.status(),
        Status::Completed
    );
    assert_eq!(
        approve_all(&engine, &first).await.state.status(),
        Status::Completed
    );
    assert_eq!(
        approve_all(&engine, &second).await.state.status(),
        Status::Completed
    );
    assert_eq!(ledger(&outside), ["memory=8", "cpu=4", "disk=50", "cpu=8"]);
}

#[tokio::test]
async fn p18_an_object_is_given_up_however_its_workflow_ends() {
    let mut ends = 0;
    for end in ["cancel", "reject", "fail"] {
        let outside = outside();
        let engine = World::process(&outside, 1);
        let first = begin(&engine, json!([gate(), set("grow", "cpu", 4)])).await;
        approve(&engine, &first).await;
        let second = begin(&engine, json!([set("cpu", "cpu", 8)])).await;
        let open = open_approval(&engine, &first).await;
        match end {
            "cancel" => engine.cancel(&first, person()).await.unwrap(),
            "reject" => engine
                .reject(&first, open, person(), String::new())
                .await
                .unwrap(),
            _ => {
                outside
                    .companion
                    .fails("cpu", 1, crate::support::Fault::FailsCleanly);
                approve(&engine, &first).await;
                let shown = engine.wait(&first, LONG).await.unwrap();
                assert_eq!(shown.state.status(), Status::Failed);
            }
        }
        let shown = approve_all(&engine, &second).await;
        assert_eq!(shown.state.status(), Status::Completed, "{end}");
        ends += 1;
    }
    println!("{ends} ends");
    assert!(ends > 0);
}

#[tokio::test]
async fn p18_an_object_that_is_known_late_pauses_the_workflow_until_it_is_free() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let first = begin(&engine, json!([gate(), set("grow", "cpu", 4)])).await;
    approve(&engine, &first).await;
    let second = begin(&engine, copied()).await;
    let shown = engine.wait(&second, LONG).await.unwrap();
    assert_eq!(held_by(&shown, 1), None, "it is not known yet");
    let shown = approve_all(&engine, &second).await;
    assert_eq!(shown.state.phase.reason(), Some("held"));
    assert_eq!(ledger(&outside), Vec::<String>::new(), "nothing was sent");
    let intents = |id| {
        let kinds = outside.journal.kinds(id);
        kinds.iter().filter(|k| **k == "intent").count()
    };
    assert_eq!(intents(&second), 0);
    // As long as it is held, going on leads back.
    engine.resume(&second, person()).await.unwrap();
    let shown = engine.wait(&second, LONG).await.unwrap();
    assert_eq!(shown.state.phase.reason(), Some("held"));
    assert_eq!(
        approve_all(&engine, &first).await.state.status(),
        Status::Completed
    );
    engine.resume(&second, person()).await.unwrap();
    let shown = approve_all(&engine, &second).await;
    assert_eq!(shown.state.status(), Status::Completed);
    assert_eq!(ledger(&outside), ["cpu=4", "cpu=4"]);
    assert_eq!(intents(&second), 1);
}

#[tokio::test]
async fn p18_a_rollback_by_hand_takes_the_object_again() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let first = begin(&engine, json!([set("grow", "cpu", 4)])).await;
    assert_eq!(
        approve_all(&engine, &first).await.state.status(),
        Status::Completed
    );
    let second = begin(&engine, json!([gate(), set("more", "cpu", 8)])).await;
    approve(&engine, &second).await;
    engine.rollback(&first, person()).await.unwrap();
    let stored = outside.journal.kinds(&first);
    let open = open_approval(&engine, &first).await;
    let refused = engine.approve(&first, open, person(), String::new(), vec![]);
    assert_eq!(refused.await.unwrap_err().code, "workflow.held");
    assert_eq!(
        outside.journal.kinds(&first),
        stored,
        "nothing of it is stored"
    );
    engine.cancel(&second, person()).await.unwrap();
    // Now it is this one that holds it, until it is over.
    let third = begin(&engine, json!([set("other", "cpu", 6)])).await;
    let shown = approve_all(&engine, &first).await;
    assert_eq!(shown.state.status(), Status::RolledBack);
    assert_eq!(
        approve_all(&engine, &third).await.state.status(),
        Status::Completed
    );
    assert_eq!(ledger(&outside), ["cpu=4", "cpu=2", "cpu=6"]);
}
