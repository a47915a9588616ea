//! Several processes, and the end of one.

use workflow::event::Direction;
use workflow::state::{Status, StepStatus};

use crate::support::{
    LONG, STEPS, World, approve_all, begun, ledger, made, open_approval, outside, person, statuses,
    until,
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
async fn p18_whoever_is_overtaken_by_another_process_is_told_so() {
    let outside = outside();
    let (a, b) = (World::process(&outside, 1), World::process(&outside, 2));
    let id = begun(&a, STEPS).await;
    let plan = open_approval(&a, &id).await;
    // The one who says yes has looked, and has not stored it yet, when the other one says no.
    let slow = outside.storing.lock().await;
    let yes = a.approve(&id, plan.clone(), person(), String::new(), vec![]);
    let no = async {
        let no = b.reject(&id, plan, person(), "No".to_owned()).await;
        drop(slow);
        no
    };
    let (yes, no) = tokio::join!(yes, no);
    assert_eq!(no, Ok(()));
    assert_eq!(yes.unwrap_err().code, "approval.void");
    assert_eq!(outside.journal.count(&id, "approved"), 0);
    assert_eq!(ledger(&outside), Vec::<String>::new());
}

#[tokio::test]
async fn p18_whoever_takes_over_what_another_one_ends_is_told_so() {
    let outside = outside();
    let (a, b) = (World::process(&outside, 1), World::process(&outside, 2));
    let left = World::process(&outside, 3);
    let id = begun(&left, STEPS).await;
    let plan = open_approval(&left, &id).await;
    let approved = left.approve(&id, plan, person(), String::new(), vec![]);
    approved.await.unwrap();
    // Its owner ends with nothing in flight. The one who takes it over has not stored that yet
    // when the other one cancels it.
    outside.dead.lock().unwrap().insert(3);
    let slow = outside.storing.lock().await;
    let resumed = a.resume(&id, person());
    let cancelled = async {
        let cancelled = b.cancel(&id, person()).await;
        drop(slow);
        cancelled
    };
    let (resumed, cancelled) = tokio::join!(resumed, cancelled);
    assert_eq!(cancelled, Ok(()));
    assert_eq!(resumed.unwrap_err().code, "workflow.not_paused");
    assert_eq!(outside.journal.count(&id, "adopted"), 0);
    assert_eq!(outside.owner(&id), None);
    assert_eq!(ledger(&outside), Vec::<String>::new());
}

#[tokio::test]
async fn p18_whoever_is_overtaken_in_one_thing_is_told_of_that_one_alone() {
    let outside = outside();
    let a = World::process_with(&outside, 1, |settings| settings.linger = LONG);
    let b = World::process(&outside, 2);
    outside.companion.held.hold(Direction::Do, "cpu");
    let id = made(&a, &[("look", "get", "cpu", 0)]).await;
    let (by, other) = (person(), person());
    // The beginning of one process waits for its next commit, which is that of the end that it is
    // asked for; another process begins before that is stored.
    let slow = outside.storing.lock().await;
    let overtaken = async {
        outside.companion.held.wait_for(1).await;
        let ends = a.cancel(&id, person());
        let begins = async {
            b.run(&id, &other).await.unwrap();
            drop(slow);
        };
        tokio::join!(ends, begins).0
    };
    let (_, cancelled) = tokio::join!(a.run(&id, &by), overtaken);
    assert_eq!(cancelled, Ok(()));
    assert_eq!(outside.journal.count(&id, "started"), 1);
    outside.companion.held.let_go();
    let shown = b.wait(&id, LONG).await.unwrap();
    assert_eq!(shown.state.status(), Status::Cancelled);
}

#[tokio::test]
async fn p18_any_process_may_stop_what_another_one_runs() {
    let outside = outside();
    let (a, b) = (World::process(&outside, 1), World::process(&outside, 2));
    outside.companion.held.hold(Direction::Do, "cpu");
    let steps = [("first", "set", "cpu", 4), ("last", "set", "memory", 8)];
    let id = begun(&a, &steps).await;
    let plan = open_approval(&a, &id).await;
    let approved = a.approve(&id, plan, person(), String::new(), vec![]);
    approved.await.unwrap();
    outside.companion.held.wait_for(1).await;
    assert_eq!(b.cancel(&id, person()).await, Ok(()));
    assert_eq!(outside.owner(&id), Some(1), "it is left to who is at work");
    outside.companion.held.let_go();
    until(&b, &id, |state| state.status() == Status::Cancelled).await;
    assert_eq!(ledger(&outside), ["cpu=4"], "nothing more is sent");
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
