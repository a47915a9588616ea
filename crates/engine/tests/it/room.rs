//! Many workflows in one process: what is at rest is forgotten, and still kept to its word.

use std::sync::atomic::Ordering;
use std::time::Duration;

use workflow::state::Status;

use crate::support::{LONG, World, approve_all, begun, open_approval, outside, person};

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
