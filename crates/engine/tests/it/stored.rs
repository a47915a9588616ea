//! What is durable, and when; and what is told where the store fails.

use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::Engine;
use engine::ports::{Clock as _, Listed};
use engine::system::SystemClock;
use serde_json::{Value, json};
use workflow::event::{Direction, Event};
use workflow::model::{Effect, Risk, StepId, WorkflowId};
use workflow::state::Status;

use crate::support::{
    LONG, Outside, World, approve, begin, get, ledger, made, outside, person, set, statuses, until,
    workflow,
};

/// The commits so far.
fn commits(outside: &Outside) -> u64 {
    outside.journal.commits.load(Ordering::SeqCst)
}

/// Makes a workflow of these steps.
async fn create(engine: &Engine<World>, steps: Value) -> WorkflowId {
    let raw = workflow(steps, &json!({}));
    let made = engine.create(person(), &raw).await.unwrap();
    made.state.id.clone()
}

#[tokio::test]
async fn p18_a_beginning_that_cannot_be_stored_is_told_and_not_made_up_for_later() {
    // One asks a person first, and the other begins to read at once.
    for steps in [
        json!([set("a", "cpu", 4)]),
        json!([get("a", "cpu"), get("b", "cpu")]),
    ] {
        let outside = outside();
        let engine = World::process(&outside, 1);
        let id = create(&engine, steps).await;
        outside.journal.refuses.lock().unwrap().insert(id.clone());
        let refused = engine.run(&id, &person()).await.unwrap_err();
        assert_eq!(refused.code, "store.full");
        outside.journal.refuses.lock().unwrap().clear();
        let shown = engine.show(&id).await.unwrap();
        assert_eq!(shown.state.status(), Status::Pending);
        assert_eq!(outside.journal.kinds(&id), ["created"]);
        assert_eq!(outside.owner(&id), None);
        // Asked again, it begins.
        engine.run(&id, &person()).await.unwrap();
        assert!(outside.journal.kinds(&id).len() > 1);
    }
}

#[tokio::test]
async fn p18_a_chain_of_reads_is_one_commit_and_its_beginning_is_durable_when_it_is_told() {
    let outside = outside();
    let engine = World::process_with(&outside, 1, |settings| settings.linger = LONG);
    let steps = [
        ("a", "get", "cpu", 0),
        ("b", "get", "disk", 0),
        ("c", "get", "cpu", 0),
    ];
    let id = made(&engine, &steps).await;
    let before = commits(&outside);
    engine.run(&id, &person()).await.unwrap();
    assert!(outside.journal.count(&id, "started") == 1);
    let shown = engine.wait(&id, LONG).await.unwrap();
    assert_eq!(shown.state.status(), Status::Completed);
    assert_eq!(commits(&outside) - before, 1);
}

#[tokio::test(start_paused = true)]
async fn p18_events_wait_their_whole_time_for_the_next_commit() {
    let outside = outside();
    let linger = Duration::from_secs(1);
    let engine = World::process_with(&outside, 1, |settings| settings.linger = linger);
    let hold = |name| outside.companion.held.hold(Direction::Do, name);
    hold("disk");
    let names = ["cpu", "disk", "memory", "last"];
    let steps = names.map(|name| get(&format!("read_{name}"), name));
    // That it began is stored together with the first answer, a second later.
    let id = begin(&engine, json!(steps)).await;
    outside.companion.held.wait_for(1).await;
    assert_eq!(outside.journal.count(&id, "outcome"), 1);
    let began = commits(&outside);
    // The second answer waits; half a second later somebody looks, so it is stored at once.
    outside.companion.held.let_go();
    hold("memory");
    until_sent(&outside, "memory").await;
    assert_eq!(commits(&outside), began);
    tokio::time::sleep(linger / 2).await;
    engine.show(&id).await.unwrap();
    assert_eq!(commits(&outside), began + 1);
    // The third one waits in its place, and for its own time: not for what was left of the other.
    outside.companion.held.let_go();
    hold("last");
    until_sent(&outside, "last").await;
    tokio::time::sleep(linger * 9 / 10).await;
    assert_eq!(commits(&outside), began + 1);
    tokio::time::sleep(linger).await;
    assert_eq!(commits(&outside), began + 2);
    assert_eq!(outside.journal.count(&id, "outcome"), 3);
}

#[tokio::test(start_paused = true)]
async fn p18_a_machine_that_stood_still_makes_no_commit_of_its_own() {
    let outside = outside();
    let linger = Duration::from_secs(1);
    let engine = World::process_with(&outside, 1, |settings| settings.linger = linger);
    let (id, began) = second_answer_waits(&outside, &engine).await;
    // More than the time of the second answer passes at once: nothing could go on meanwhile.
    tokio::time::advance(linger * 3).await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(commits(&outside), began);
    tokio::time::sleep(linger).await;
    assert_eq!(commits(&outside), began + 1);
    assert_eq!(outside.journal.count(&id, "outcome"), 2);
}

#[tokio::test(start_paused = true)]
async fn p12_who_only_tells_how_far_it_is_makes_no_commit() {
    let outside = outside();
    let engine = World::process_with(&outside, 1, |settings| settings.linger = LONG);
    let (id, before) = second_answer_waits(&outside, &engine).await;
    let moment = Duration::from_millis(10);
    let told = engine.watch(&id, moment).await.unwrap();
    assert!(told.is_busy());
    assert_eq!(commits(&outside), before);
    // Who asks what is there gets it durable.
    engine.wait(&id, moment).await.unwrap();
    assert_eq!(commits(&outside), before + 1);
    outside.companion.held.let_go();
    let rested = engine.watch(&id, LONG * 2).await.unwrap();
    assert_eq!(rested.state.status(), Status::Completed);
}

/// Begins three reads, of which the second was answered and the last is held: the second answer is
/// not stored yet. With the commits before it.
async fn second_answer_waits(outside: &Outside, engine: &Engine<World>) -> (WorkflowId, u64) {
    let hold = |name| outside.companion.held.hold(Direction::Do, name);
    hold("disk");
    let names = ["cpu", "disk", "last"];
    let steps = names.map(|name| get(&format!("read_{name}"), name));
    let id = begin(engine, json!(steps)).await;
    outside.companion.held.wait_for(1).await;
    let began = commits(outside);
    outside.companion.held.let_go();
    hold("last");
    until_sent(outside, "last").await;
    (id, began)
}

/// Waits until a call of this name came.
async fn until_sent(outside: &Outside, name: &str) {
    let sent = async {
        loop {
            let sent = outside.companion.sent.lock().unwrap().clone();
            if sent.iter().any(|o| o.call.arguments["name"] == name) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, sent).await.unwrap();
}

#[tokio::test]
async fn p18_what_is_shown_is_durable_and_says_why_nothing_goes_on() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    outside.companion.held.hold(Direction::Do, "cpu");
    let id = begin(&engine, json!([set("a", "cpu", 4), set("b", "disk", 1)])).await;
    approve(&engine, &id).await;
    outside.companion.held.wait_for(1).await;
    // The answer of a call cannot be stored.
    outside.journal.refuses.lock().unwrap().insert(id.clone());
    outside.companion.held.let_go();
    let shown = engine.wait(&id, LONG).await.unwrap();
    assert!(shown.stalled.is_some());
    assert!(shown.state.steps[0].in_flight.is_some(), "as it is stored");
    // What cannot be read is not shown as if it were.
    outside.journal.refuses.lock().unwrap().clear();
    outside.journal.blind.store(true, Ordering::SeqCst);
    let other = World::process(&outside, 1);
    let refused = other.show(&id).await.unwrap_err();
    assert_eq!(refused.code, "store.full");
    outside.journal.blind.store(false, Ordering::SeqCst);
    // The store is there again, and the answer was not forgotten.
    let shown = engine.show(&id).await.unwrap();
    assert!(shown.stalled.is_none());
    let shown = engine.wait(&id, LONG).await.unwrap();
    assert_eq!(shown.state.status(), Status::Completed);
    assert_eq!(outside.journal.count(&id, "probed"), 0);
    assert_eq!(ledger(&outside), ["cpu=4", "disk=1"]);
}

#[tokio::test]
async fn p3_a_look_shows_the_review_of_what_did_not_begin_and_stores_nothing() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let id = create(&engine, json!([set("a", "cpu", 4)])).await;
    let before = commits(&outside);
    let looked = engine.preview(&id).await.unwrap();
    assert!(looked.state.review.is_some());
    assert_eq!(commits(&outside), before);
    assert!(engine.show(&id).await.unwrap().state.review.is_none());
    // A preview changes nothing, and says so.
    let sent = outside.companion.sent.lock().unwrap().clone();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].call.arguments["preview"], true);
    assert_eq!(
        (sent[0].facts.risk, sent[0].facts.effect),
        (Risk::Read, Effect::Read)
    );
    // What has begun is shown as it stands, and nothing is asked.
    engine.run(&id, &person()).await.unwrap();
    let asked = outside.companion.sent.lock().unwrap().len();
    let looked = engine.preview(&id).await.unwrap();
    assert!(looked.state.approval().is_some());
    assert_eq!(outside.companion.sent.lock().unwrap().len(), asked);
}

#[tokio::test]
async fn p4_a_read_is_made_without_a_preview_although_its_tool_has_one() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let id = made(&engine, &[("a", "peek", "cpu", 0)]).await;
    engine.run(&id, &person()).await.unwrap();
    let shown = engine.wait(&id, LONG).await.unwrap();
    assert_eq!(shown.state.status(), Status::Completed);
    assert_eq!(outside.companion.sent.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn p11_how_long_a_call_took_is_recorded() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    outside.companion.held.hold(Direction::Do, "cpu");
    let id = begin(&engine, json!([set("a", "cpu", 4)])).await;
    approve(&engine, &id).await;
    outside.companion.held.wait_for(1).await;
    tokio::time::sleep(Duration::from_millis(1_234)).await;
    outside.companion.held.let_go();
    until(&engine, &id, |state| state.status() == Status::Completed).await;
    let stored = outside.journal.stored.lock().unwrap()[&id].clone();
    let took = stored.iter().find_map(|recorded| match &recorded.event {
        Event::Outcome { took_ms, .. } => *took_ms,
        _ => None,
    });
    assert_eq!(took, Some(1_234));
}

#[tokio::test]
async fn p12_answers_are_given_out_once_and_again_where_they_were_given_back() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let id = begin(&engine, json!([get("a", "cpu")])).await;
    engine.wait(&id, LONG).await.unwrap();
    let taken = engine.take_results(&id);
    assert_eq!(taken[0].step, StepId("a".to_owned()));
    assert_eq!(taken[0].body, Some(json!({"value": 2})));
    assert_eq!(engine.take_results(&id), Vec::new());
    engine.give_back(&id, taken.clone());
    assert_eq!(engine.take_results(&id), taken);
}

#[tokio::test]
async fn p12_a_list_is_what_the_journal_says_of_what_was_asked_for() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    for _ in 0..2 {
        made(&engine, &[("a", "get", "cpu", 0)]).await;
    }
    let after = WorkflowId("wf_9".to_owned());
    let asked = (vec!["pending".to_owned()], Some(after), 7);
    let (states, from, limit) = asked.clone();
    let (listed, total): (Vec<Listed>, u64) = engine.list(states, from, limit).await.unwrap();
    assert_eq!((listed.len(), total), (2, 2));
    assert_eq!(outside.journal.listed.lock().unwrap().take(), Some(asked));
}

#[tokio::test]
async fn p11_the_row_of_each_step_is_there_from_the_beginning_and_says_where_it_stands() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    let id = create(&engine, json!([get("a", "cpu"), set("b", "nowhere", 1)])).await;
    let rows = || {
        let rows = outside.journal.steps.lock().unwrap();
        let rows = rows.values();
        rows.map(|row| (row.id.0.clone(), row.state.clone()))
            .collect::<Vec<_>>()
    };
    let row = |id: &str, state: &str| (id.to_owned(), state.to_owned());
    assert_eq!(rows(), [row("a", "pending"), row("b", "pending")]);
    engine.run(&id, &person()).await.unwrap();
    approve(&engine, &id).await;
    engine.wait(&id, LONG).await.unwrap();
    assert_eq!(rows(), [row("a", "succeeded"), row("b", "failed")]);
    let failed = outside.journal.steps.lock().unwrap()[&(id, 1)].clone();
    assert!(failed.error.unwrap().starts_with("store.not_found"));
}

#[tokio::test]
async fn p18_an_answer_that_could_not_be_stored_is_stored_with_the_next_one() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    for name in ["cpu", "disk"] {
        outside.companion.held.hold(Direction::Do, name);
    }
    let members = [set("a", "cpu", 4), set("b", "disk", 1)];
    let id = begin(&engine, json!([{"id": "g", "parallel": members}])).await;
    approve(&engine, &id).await;
    outside.companion.held.wait_for(2).await;
    outside.journal.refuses.lock().unwrap().insert(id.clone());
    outside.companion.held.let_go();
    outside.companion.held.hold(Direction::Do, "disk");
    let shown = engine.wait(&id, LONG).await.unwrap();
    assert!(shown.stalled.is_some());
    outside.journal.refuses.lock().unwrap().clear();
    outside.companion.held.let_go();
    // Nobody looks meanwhile.
    let stored = async {
        while outside.journal.count(&id, "completed") == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let stored = tokio::time::timeout(LONG, stored).await;
    assert!(stored.is_ok(), "{:?}", outside.journal.kinds(&id));
    assert_eq!(outside.journal.count(&id, "outcome"), 2);
}

#[tokio::test(start_paused = true)]
async fn p18_an_answer_that_waited_for_the_next_commit_is_kept_when_that_fails() {
    let outside = outside();
    let engine = World::process(&outside, 1);
    outside.companion.held.hold(Direction::Do, "disk");
    let members = [set("a", "cpu", 4), set("b", "disk", 1)];
    let id = begin(&engine, json!([{"id": "g", "parallel": members}])).await;
    approve(&engine, &id).await;
    outside.companion.held.wait_for(1).await;
    // One has answered, which is stored a moment later; of the other nobody has heard.
    assert_eq!(outside.journal.count(&id, "outcome"), 0);
    outside.journal.refuses.lock().unwrap().insert(id.clone());
    let shown = engine.wait(&id, LONG).await.unwrap();
    assert!(shown.stalled.is_some());
    outside.journal.refuses.lock().unwrap().clear();
    let shown = engine.show(&id).await.unwrap();
    assert!(shown.stalled.is_none());
    assert_eq!(statuses(&shown), ["succeeded", "running"]);
    outside.companion.held.let_go();
    let shown = engine.wait(&id, LONG).await.unwrap();
    assert_eq!(shown.state.status(), Status::Completed);
    assert_eq!(outside.journal.count(&id, "outcome"), 2);
    assert_eq!(ledger(&outside), ["cpu=4", "disk=1"], "sent once each");
}

#[tokio::test]
async fn p7_the_clock_of_the_machine_waits_until_its_time() {
    let began = SystemClock.now();
    assert!(began > 1_700_000_000_000, "milliseconds since 1970");
    SystemClock.until(began + 20).await;
    assert!(SystemClock.now() >= began + 20);
}
