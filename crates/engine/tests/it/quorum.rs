//! Who has to say yes, how long it counts, and how often a step is taken over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::Engine;
use serde_json::{Value, json};
use workflow::event::Principal;
use workflow::model::{Approvers, StepId, WorkflowId};
use workflow::refusal::Refusal;
use workflow::state::Status;

use crate::support::{
    Fault, LONG, Outside, World, approve, approve_all, authenticated, begin, get, ledger,
    open_approval, outside, person, set, step_with, workflow,
};

/// A process where so many different people can be authenticated.
fn with_deciders(outside: &Arc<Outside>, deciders: u32) -> Engine<World> {
    World::process_with(outside, 1, |settings| settings.deciders = deciders)
}

async fn made(
    engine: &Engine<World>,
    by: &Principal,
    steps: Value,
    more: &Value,
) -> Result<WorkflowId, Refusal> {
    let made = engine.create(by.clone(), &workflow(steps, more)).await?;
    engine.run(&made.state.id, by).await?;
    Ok(made.state.id.clone())
}

/// What becomes of a yes of this person.
async fn says_yes(engine: &Engine<World>, id: &WorkflowId, by: &Principal) -> Result<(), Refusal> {
    let open = open_approval(engine, id).await;
    let approved = engine.approve(id, open, by.clone(), String::new(), Vec::new());
    approved.await
}

#[tokio::test]
async fn p6_as_many_different_authenticated_people_as_the_workflow_wants_decide() {
    let outside = outside();
    let engine = with_deciders(&outside, 4);
    let [ann, bob, carol] = ["ann", "bob", "carol"].map(authenticated);
    let wants = json!({"quorum": 2, "exclude_requester": true});
    let id = made(&engine, &ann, json!([set("s", "cpu", 4)]), &wants)
        .await
        .unwrap();
    let mut refused = 0;
    let code = |said: Result<(), Refusal>| said.unwrap_err().code;
    assert_eq!(
        code(says_yes(&engine, &id, &person()).await),
        "approval.assurance"
    );
    assert_eq!(
        code(says_yes(&engine, &id, &ann).await),
        "approval.requester"
    );
    let same_account = Principal {
        name: "somebody".to_owned(),
        ..ann.clone()
    };
    assert_eq!(
        code(says_yes(&engine, &id, &same_account).await),
        "approval.requester"
    );
    let same_name = Principal {
        account: "another".to_owned(),
        ..ann.clone()
    };
    assert_eq!(
        code(says_yes(&engine, &id, &same_name).await),
        "approval.requester"
    );
    refused += 4;
    assert!(!outside.journal.kinds(&id).contains(&"endorsed"));
    let open = open_approval(&engine, &id).await;
    says_yes(&engine, &id, &bob).await.unwrap();
    let shown = engine.show(&id).await.unwrap();
    assert_eq!(
        shown.state.approval().unwrap().id,
        open,
        "the question stays open"
    );
    assert_eq!(ledger(&outside), Vec::<String>::new());
    assert_eq!(code(says_yes(&engine, &id, &bob).await), "approval.already");
    refused += 1;
    says_yes(&engine, &id, &carol).await.unwrap();
    let shown = engine.wait(&id, LONG).await.unwrap();
    assert_eq!(shown.state.status(), Status::Completed);
    let kinds = outside.journal.kinds(&id);
    let count = |kind| kinds.iter().filter(|k| **k == kind).count();
    assert_eq!((count("endorsed"), count("approved")), (1, 1));
    println!("{refused} refused");
    assert!(refused > 0);
}

#[tokio::test]
async fn p6_a_yes_to_one_question_is_none_to_the_next() {
    let outside = outside();
    let engine = with_deciders(&outside, 4);
    let [bob, carol] = ["bob", "carol"].map(authenticated);
    let ask = json!({"id": "ask", "gate": "Go on?"});
    let id = made(
        &engine,
        &person(),
        json!([ask, set("s", "cpu", 4)]),
        &json!({"quorum": 2}),
    )
    .await
    .unwrap();
    // The first yes expires with its question.
    says_yes(&engine, &id, &bob).await.unwrap();
    outside.pass(Duration::from_secs(301));
    assert_eq!(
        engine.show(&id).await.unwrap().state.phase.reason(),
        Some("approval_expired")
    );
    engine.resume(&id, person()).await.unwrap();
    says_yes(&engine, &id, &carol).await.unwrap();
    assert_eq!(engine.show(&id).await.unwrap().state.votes.len(), 1);
    says_yes(&engine, &id, &bob).await.unwrap();
    let shown = engine.wait(&id, LONG).await.unwrap();
    assert_eq!(shown.state.approval().unwrap().subject.word(), "gate");
    assert_eq!(shown.state.votes, [], "nobody has said yes to this one");
    says_yes(&engine, &id, &bob).await.unwrap();
    says_yes(&engine, &id, &carol).await.unwrap();
    let shown = engine.wait(&id, LONG).await.unwrap();
    assert_eq!(shown.state.status(), Status::Completed);
}

#[tokio::test]
async fn p6_a_quorum_that_nobody_could_meet_is_refused_when_it_is_asked_for() {
    let ann = authenticated("ann");
    let writes = json!([set("s", "cpu", 4)]);
    let mut tried = 0;
    for (deciders, by, more, passes) in [
        (0, person(), json!({}), true),
        (0, person(), json!({"quorum": 1}), true),
        (1, person(), json!({"quorum": 2}), false),
        (2, person(), json!({"quorum": 2}), true),
        (0, person(), json!({"exclude_requester": true}), false),
        (1, person(), json!({"exclude_requester": true}), true),
        (1, ann.clone(), json!({"exclude_requester": true}), false),
        (2, ann.clone(), json!({"exclude_requester": true}), true),
        (
            2,
            ann.clone(),
            json!({"quorum": 2, "exclude_requester": true}),
            false,
        ),
        (
            3,
            ann.clone(),
            json!({"quorum": 2, "exclude_requester": true}),
            true,
        ),
        (2, ann, json!({"quorum": 2}), true),
    ] {
        let outside = outside();
        let engine = with_deciders(&outside, deciders);
        let made = made(&engine, &by, writes.clone(), &more).await;
        assert_eq!(made.is_ok(), passes, "{deciders} {more}: {made:?}");
        if let Err(refusal) = made {
            assert_eq!(refusal.code, "approval.quorum");
            assert_eq!(refusal.extra["allowed"], deciders);
            assert!(outside.journal.stored.lock().unwrap().is_empty());
        }
        tried += 1;
    }
    // Nobody is asked about reads; a gate always asks.
    let outside = outside();
    let engine = with_deciders(&outside, 0);
    let wants = json!({"quorum": 2});
    let id = made(&engine, &person(), json!([get("r", "cpu")]), &wants)
        .await
        .unwrap();
    let shown = engine.wait(&id, LONG).await.unwrap();
    assert_eq!(shown.state.status(), Status::Completed);
    let gate = json!([{"id": "ask", "gate": "Go on?"}]);
    let refused = made(&engine, &person(), gate, &wants).await.unwrap_err();
    assert_eq!(refused.code, "approval.quorum");
    println!("{} workflows tried", tried + 2);
    assert!(tried > 0);
}

#[tokio::test]
async fn p6_what_the_operator_wants_counts_whatever_a_workflow_says() {
    let outside = outside();
    let engine = World::process_with(&outside, 1, |settings| {
        settings.deciders = 3;
        settings.rules.approvers = Approvers {
            quorum: 2,
            exclude_requester: false,
        };
    });
    let id = made(
        &engine,
        &person(),
        json!([set("s", "cpu", 4)]),
        &json!({"quorum": 1}),
    )
    .await
    .unwrap();
    says_yes(&engine, &id, &authenticated("bob")).await.unwrap();
    assert_eq!(engine.show(&id).await.unwrap().state.votes.len(), 1);
    says_yes(&engine, &id, &authenticated("carol"))
        .await
        .unwrap();
    let shown = engine.wait(&id, LONG).await.unwrap();
    assert_eq!(shown.state.status(), Status::Completed);
}

#[tokio::test]
async fn p18_what_became_of_an_unknown_step_is_said_by_as_many_people() {
    for (confirmed, ends) in [(true, Some("settled")), (false, Some("unknown"))] {
        let outside = outside();
        let engine = with_deciders(&outside, 3);
        let [bob, carol] = ["bob", "carol"].map(authenticated);
        let fault = (
            (workflow::event::Direction::Do, "mail".to_owned()),
            Fault::RequestLost,
        );
        outside.companion.faults.lock().unwrap().extend([fault]);
        let mut tell = set("tell", "mail", 1);
        tell["params"]["action"] = "once".into();
        let id = made(&engine, &person(), json!([tell]), &json!({"quorum": 2}))
            .await
            .unwrap();
        says_yes(&engine, &id, &bob).await.unwrap();
        says_yes(&engine, &id, &carol).await.unwrap();
        let shown = engine.wait(&id, LONG).await.unwrap();
        assert_eq!(shown.state.phase.reason(), Some("unknown"));
        let step = StepId("tell".to_owned());
        let note = "No mail came".to_owned();
        let said = engine.resolve(&id, step, false, BTreeMap::new(), bob.clone(), note);
        said.await.unwrap();
        let shown = engine.show(&id).await.unwrap();
        assert_eq!(shown.state.approval().unwrap().subject.word(), "resolution");
        assert_eq!(shown.state.votes.len(), 1, "whoever says it has said yes");
        assert_eq!(
            says_yes(&engine, &id, &bob).await.unwrap_err().code,
            "approval.already"
        );
        let open = open_approval(&engine, &id).await;
        if confirmed {
            says_yes(&engine, &id, &carol).await.unwrap();
        } else {
            engine
                .reject(&id, open, carol, "It did".to_owned())
                .await
                .unwrap();
        }
        let shown = engine.show(&id).await.unwrap();
        assert_eq!(shown.state.status(), Status::Paused);
        assert_eq!(shown.state.phase.reason(), ends);
        assert_eq!(ledger(&outside), Vec::<String>::new());
    }
}

#[tokio::test]
async fn p7_an_approval_that_is_used_too_late_is_asked_anew() {
    let mut wipe = set("wipe", "disk", 0);
    wipe["params"]["action"] = "erase".into();
    // The process ends at the preview right before the first change, or before the second one.
    let plan = json!([set("s", "cpu", 4)]);
    let step = json!([set("s", "cpu", 4), wipe]);
    let mut tried = 0;
    for (steps, approvals, freeze, asked) in [(plan, 1, 2, "plan"), (step, 2, 6, "step")] {
        for late in [false, true] {
            let outside = outside();
            let engine = World::process(&outside, 1);
            outside
                .companion
                .freeze_after
                .store(freeze, Ordering::SeqCst);
            let id = begin(&engine, steps.clone()).await;
            for _ in 0..approvals {
                approve(&engine, &id).await;
            }
            while outside.dead.lock().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let before = ledger(&outside);
            outside.pass(Duration::from_millis(3_600_000 + u64::from(late)));
            let next = World::process(&outside, 2);
            next.run(&id, &person()).await.unwrap();
            let shown = next.wait(&id, LONG).await.unwrap();
            if late {
                assert_eq!(
                    shown.state.phase.reason(),
                    Some("approval_lapsed"),
                    "{asked}"
                );
                assert_eq!(ledger(&outside), before, "nothing is sent");
                next.resume(&id, person()).await.unwrap();
                let shown = next.wait(&id, LONG).await.unwrap();
                assert_eq!(shown.state.approval().unwrap().subject.word(), asked);
            }
            let shown = approve_all(&next, &id).await;
            assert_eq!(shown.state.status(), Status::Completed, "{asked} {late}");
            tried += 1;
        }
    }
    println!("{tried} approvals");
    assert!(tried > 0);
}

#[tokio::test]
async fn p18_a_step_that_is_taken_over_too_often_waits_for_a_person() {
    let outside = outside();
    let wait = json!({"wait_for": {"until": "outputs.value == 8", "deadline_s": 600}});
    let first = World::process(&outside, 1);
    let id = begin(&first, json!([step_with(get("wait", "cpu"), &wait)])).await;
    let recoveries = |shown: &engine::Shown| shown.state.steps[0].recoveries;
    for process in 2..=4 {
        outside.dead.lock().unwrap().insert(process - 1);
        let next = World::process(&outside, process);
        next.run(&id, &person()).await.unwrap();
        let shown = next.show(&id).await.unwrap();
        assert_eq!(shown.state.status(), Status::Running, "process {process}");
        assert_eq!(u64::from(recoveries(&shown)), process - 1);
    }
    outside.dead.lock().unwrap().insert(4);
    let last = World::process(&outside, 5);
    last.run(&id, &person()).await.unwrap();
    let shown = last.show(&id).await.unwrap();
    assert_eq!(shown.state.phase.reason(), Some("recoveries"));
    last.resume(&id, person()).await.unwrap();
    let shown = last.show(&id).await.unwrap();
    assert_eq!(shown.state.status(), Status::Running);
    assert_eq!(recoveries(&shown), 0, "a person has looked");
    outside.companion.put("cpu", 8);
    outside.pass(Duration::from_secs(5));
    let shown = last.wait(&id, LONG).await.unwrap();
    assert_eq!(shown.state.status(), Status::Completed);
}
