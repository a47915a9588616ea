//! Several processes, and the end of one.

use workflow::state::{Status, StepStatus};

use crate::support::{
    LONG, STEPS, World, approve_all, begun, ledger, open_approval, outside, person, statuses,
};

#[tokio::test]
async fn p18_of_two_processes_one_decision_counts_and_one_sends() {
    for round in 0..50 {
        let outside = outside();
        let (a, b) = (World::process(&outside, 1), World::process(&outside, 2));
        let id = begun(&a, STEPS).await;
        let plan = open_approval(&a, &id).await;
        let yes = a.approve(&id, plan.clone(), person(), String::new(), vec![]);
        let no = b.approve(&id, plan, person(), String::new(), vec![]);
        let (yes, no) = tokio::join!(yes, no);
        assert!(yes.is_ok() != no.is_ok(), "round {round}: {yes:?} {no:?}");
        let (loser, winner) = if yes.is_ok() { (&b, &a) } else { (&a, &b) };
        let refused = if yes.is_ok() { no } else { yes };
        let code = refused.unwrap_err().code;
        assert!(matches!(code, "approval.void" | "workflow.busy"), "{code}");
        let shown = approve_all(winner, &id).await;
        assert_eq!(shown.state.status(), Status::Completed);
        assert_eq!(
            loser.show(&id).await.unwrap().state.status(),
            Status::Completed
        );
        assert_eq!(ledger(&outside).len(), 4);
    }
}

#[tokio::test]
async fn p18_closing_settles_what_is_in_flight_and_begins_nothing() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let id = begun(&engine, STEPS).await;
    let plan = open_approval(&engine, &id).await;
    engine
        .approve(&id, plan, person(), String::new(), vec![])
        .await
        .unwrap();
    assert!(engine.close(LONG).await);
    let sent = ledger(&outside).len();
    let next = World::process(&outside, 2);
    let shown = next.show(&id).await.unwrap();
    assert!(
        shown
            .state
            .steps
            .iter()
            .all(|s| s.status != StepStatus::Unknown && s.in_flight.is_none()),
        "{:?}",
        statuses(&shown)
    );
    next.run(&id, &person()).await.unwrap();
    let shown = approve_all(&next, &id).await;
    assert_eq!(shown.state.status(), Status::Completed);
    assert!(sent <= ledger(&outside).len());
    assert_eq!(
        ledger(&outside),
        ["cpu=4", "disk=0", "mail=1", "memory=8"],
        "nothing twice"
    );
}
