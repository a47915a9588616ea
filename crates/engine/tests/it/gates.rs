//! What is asked, what runs by itself, and what a failure leads to.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use workflow::event::Direction;
use workflow::model::{ApprovalId, StepId};
use workflow::state::Status;

use crate::support::{
    Fault, LONG, STEPS, World, approve, approve_all, begin, begun, ledger, open_approval, outside,
    person, statuses, workflow_of,
};

#[tokio::test]
async fn p4_p5_p6_a_person_is_asked_for_the_plan_and_for_each_destructive_step() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let id = begun(&engine, STEPS).await;
    let shown = engine.wait(&id, LONG).await.unwrap();
    assert_eq!(shown.state.approval().unwrap().subject.word(), "plan");
    assert_eq!(
        ledger(&outside),
        Vec::<String>::new(),
        "nothing runs before the plan is approved"
    );
    let shown = approve_all(&engine, &id).await;
    assert_eq!(shown.state.status(), Status::Completed);
    let kinds = outside.journal.kinds(&id);
    let asked = kinds.iter().filter(|k| **k == "approval_requested").count();
    assert_eq!(asked, 2, "the plan and the one destructive step: {kinds:?}");
    assert_eq!(ledger(&outside), ["cpu=4", "disk=0", "mail=1", "memory=8"]);
    assert_eq!(
        engine.take_results(&id).len(),
        5,
        "every answer can be fetched once"
    );
}

#[tokio::test]
async fn p7_each_question_has_an_id_of_its_own_and_an_answer_is_good_for_one() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    // Each question but the first follows from the answer to the one before, in the same turn.
    let gates = ["one", "two", "three"].map(|id| json!({"id": id, "gate": "Go on?"}));
    let id = begin(&engine, json!(gates)).await;
    let mut answered: Vec<ApprovalId> = Vec::new();
    for _ in &gates {
        let open = open_approval(&engine, &id).await;
        for old in &answered {
            assert_ne!(*old, open);
            let again = engine.approve(&id, old.clone(), person(), String::new(), Vec::new());
            assert_eq!(again.await.unwrap_err().code, "approval.void");
        }
        approve(&engine, &id).await;
        answered.push(open);
    }
    let shown = engine.wait(&id, LONG).await.unwrap();
    assert_eq!(shown.state.status(), Status::Completed);
}

#[tokio::test]
async fn p8_p10_a_failed_step_undoes_the_others_last_first_and_says_what_stays() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let fault = ((Direction::Do, "memory".to_owned()), Fault::FailsCleanly);
    outside.companion.faults.lock().unwrap().extend([fault]);
    let id = begun(&engine, STEPS).await;
    let shown = approve_all(&engine, &id).await;
    assert_eq!(shown.state.status(), Status::RolledBack);
    assert_eq!(
        statuses(&shown),
        [
            "rolled_back",
            "succeeded",
            "rolled_back",
            "rollback_skipped",
            "failed"
        ]
    );
    assert_eq!(
        ledger(&outside),
        ["cpu=4", "disk=0", "mail=1", "disk=40", "cpu=2"]
    );
    let residue = workflow::review::residue(&shown.state);
    assert_eq!(residue.len(), 1, "{residue:?}");
    assert_eq!(residue[0]["step"], "tell");
    assert_eq!(residue[0]["why"], "a mail that was sent stays sent");
}

#[tokio::test]
async fn p8_whatever_a_step_left_behind_is_looked_for_and_undone() {
    for (fault, expected) in [
        (Fault::FailsHalfDone, Status::RolledBack),
        (Fault::FailsAfterAll, Status::RolledBack),
        (Fault::AnswerLost, Status::Completed),
        (Fault::RequestLost, Status::Completed),
    ] {
        let outside = outside();
        let engine = World::process(&outside, 1);
        let fault_at = ((Direction::Do, "memory".to_owned()), fault);
        outside.companion.faults.lock().unwrap().extend([fault_at]);
        let id = begun(&engine, STEPS).await;
        let shown = approve_all(&engine, &id).await;
        assert_eq!(shown.state.status(), expected, "{fault:?}");
        let memory = outside.companion.values.lock().unwrap()["memory"];
        let wanted = if expected == Status::Completed { 8 } else { 4 };
        assert_eq!(memory, wanted, "{fault:?}");
    }
}

#[tokio::test]
async fn p18_a_step_that_may_be_done_once_is_never_sent_again_by_itself() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let fault = ((Direction::Do, "mail".to_owned()), Fault::RequestLost);
    outside.companion.faults.lock().unwrap().extend([fault]);
    let id = begun(&engine, STEPS).await;
    let shown = approve_all(&engine, &id).await;
    assert_eq!(shown.state.status(), Status::Paused);
    assert_eq!(shown.state.phase.reason(), Some("unknown"));
    let refusal = engine.resume(&id, person()).await.unwrap_err();
    assert_eq!(refusal.code, "step.still_unknown");
    // A person looked, and it did not happen: now it is sent again, under a key of its own.
    let step = StepId("tell".to_owned());
    let none = std::collections::BTreeMap::new();
    engine
        .resolve(&id, step, false, none, person(), "No mail".to_owned())
        .await
        .unwrap();
    engine.resume(&id, person()).await.unwrap();
    let shown = approve_all(&engine, &id).await;
    assert_eq!(shown.state.status(), Status::Completed);
    let sent = outside.companion.ledger.lock().unwrap().clone();
    let mails: Vec<_> = sent.iter().filter(|(_, what)| what == "mail=1").collect();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].0.ends_with("/tell/do/1"), "{mails:?}");
}

#[tokio::test]
async fn p7_an_approval_that_nobody_gives_expires_and_is_asked_anew() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let id = begun(&engine, STEPS).await;
    let old = open_approval(&engine, &id).await;
    outside.pass(Duration::from_secs(301));
    let shown = engine.show(&id).await.unwrap();
    assert_eq!(shown.state.phase.reason(), Some("approval_expired"));
    let late = engine
        .approve(&id, old.clone(), person(), String::new(), vec![])
        .await;
    assert_eq!(late.unwrap_err().code, "approval.void");
    engine.resume(&id, person()).await.unwrap();
    let shown = engine.show(&id).await.unwrap();
    assert_ne!(
        shown.state.approval().unwrap().id,
        old,
        "a new question has a new id"
    );
    assert_eq!(
        approve_all(&engine, &id).await.state.status(),
        Status::Completed
    );
}

#[tokio::test]
async fn p6_a_world_that_changed_since_the_approval_stops_the_step() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let steps = [("wipe", "erase", "disk", 0)];
    let id = begun(&engine, &steps).await;
    let plan = open_approval(&engine, &id).await;
    engine
        .approve(&id, plan, person(), String::new(), vec![])
        .await
        .unwrap();
    let step = open_approval(&engine, &id).await;
    outside
        .companion
        .values
        .lock()
        .unwrap()
        .insert("disk".to_owned(), 80);
    engine
        .approve(&id, step, person(), String::new(), vec![])
        .await
        .unwrap();
    let shown = engine.wait(&id, LONG).await.unwrap();
    assert_eq!(shown.state.phase.reason(), Some("drift"));
    assert_eq!(
        shown.state.drift,
        [
            "before the change, `value` was `40` and is `80`",
            "the undo is another one"
        ]
    );
    assert_eq!(ledger(&outside), Vec::<String>::new());
}

#[tokio::test]
async fn p18_an_ungated_chain_of_n_writes_costs_at_most_n_plus_two_commits() {
    let outside = outside();
    // However slow the machine is.
    let engine = World::process_with(&outside, 1, |settings| settings.linger = LONG);
    let steps: Vec<(String, i64)> = (0..20).map(|i| (format!("s{i}"), i + 1)).collect();
    let steps: Vec<(&str, &str, &str, i64)> = steps
        .iter()
        .map(|(id, v)| (id.as_str(), "set", "cpu", *v))
        .collect();
    let id = begun(&engine, &steps).await;
    let plan = open_approval(&engine, &id).await;
    let before = outside.journal.commits.load(Ordering::SeqCst);
    engine
        .approve(&id, plan, person(), String::new(), vec![])
        .await
        .unwrap();
    let shown = engine.wait(&id, LONG).await.unwrap();
    assert_eq!(shown.state.status(), Status::Completed);
    let commits = outside.journal.commits.load(Ordering::SeqCst) - before;
    println!("20 writes, {commits} commits");
    assert!(commits <= 22, "{commits} commits for 20 writes");
}

#[tokio::test]
async fn p2_a_workflow_with_a_secret_is_refused_and_nothing_of_it_is_stored() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let mut raw = workflow_of(STEPS);
    raw.insert(
        "params".to_owned(),
        serde_json::json!({"db_password": "hunter2"}),
    );
    let refusal = engine.create(person(), &raw).await.unwrap_err();
    assert_eq!(refusal.code, "workflow.secret");
    assert!(!format!("{refusal:?}").contains("hunter2"));
    assert!(outside.journal.stored.lock().unwrap().is_empty());
    // Not by a detour either: a parameter with a harmless name under a key that is not.
    let mut raw = workflow_of(STEPS);
    raw.insert("params".to_owned(), serde_json::json!({"x": "hunter2"}));
    raw["steps"][0]["params"]["password"] = "${params.x}".into();
    let refusal = engine.create(person(), &raw).await.unwrap_err();
    assert_eq!(refusal.code, "workflow.secret");
    assert!(outside.journal.stored.lock().unwrap().is_empty());
}
