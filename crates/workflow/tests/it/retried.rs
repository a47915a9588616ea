//! A step that failed and is tried again, where its failure would be one to go on after.

use workflow::decide::{Command, Effect};
use workflow::event::{Direction, Left};
use workflow::model::{Deed, Each, OnFailure, Retry as Again};
use workflow::state::{Status, StepStatus};

use crate::flow::{Flow, cancel, failure, success};
use crate::support::{Kind, Spec, definition, step_id};
use Kind::{Read, Retry, Wait, Write};

fn flow(spec: Spec) -> Flow {
    let kinds = spec.kinds.clone();
    Flow::written(&kinds, definition(&spec)).run().yes()
}

/// A list of so many that are tried again, one of which may fail.
fn list(count: usize, batch: u32) -> Flow {
    let each = Each {
        batch,
        max_failures: 1,
    };
    flow(Spec::of(&vec![Retry; count]).group(0, count, batch, Some(each)))
}

fn fails(flow: Flow, place: usize) -> Flow {
    flow.replied(place, Direction::Do, failure(Left::Nothing))
}

fn does(flow: Flow, place: usize) -> Flow {
    flow.prepared(place)
        .replied(place, Direction::Do, success())
}

/// The time of its next try has come.
fn woken(mut flow: Flow, place: usize) -> Flow {
    let until = flow.state.steps[place].retry_at.unwrap();
    flow.state.updated_at = flow.state.updated_at.max(until);
    flow.to(Command::Woke {
        step: step_id(place),
        until,
    })
}

fn statuses(flow: &Flow) -> Vec<StepStatus> {
    flow.state.steps.iter().map(|step| step.status).collect()
}

/// What a flow prepares now.
fn prepares(flow: &Flow) -> Vec<String> {
    let prepared = |effect: &Effect| match effect {
        Effect::Prepare { step, .. } => Some(step.0.clone()),
        _ => None,
    };
    flow.effects.iter().filter_map(prepared).collect()
}

#[test]
fn p8_the_next_step_begins_when_the_last_try_of_the_one_before_is_over() {
    for spec in [
        Spec::of(&[Retry, Write]).on_failure(OnFailure::Continue),
        Spec::of(&[Retry, Write, Write])
            .on_failure(OnFailure::Continue)
            .group(1, 2, 2, None),
    ] {
        let flow = fails(flow(spec).prepared(0), 0);
        assert!(matches!(flow.effects[..], [Effect::Wait { .. }]));
        assert_eq!(flow.state.window(), 0..1);
        let flow = does(woken(flow, 0), 0);
        assert_eq!(flow.state.steps[0].status, StepStatus::Succeeded);
        assert!(prepares(&flow).contains(&"s1".to_owned()));
    }
    // Where that one fails as well, it goes on without.
    let spec = Spec::of(&[Retry, Write]).on_failure(OnFailure::Continue);
    let flow = fails(flow(spec).prepared(0), 0);
    let flow = fails(woken(flow, 0).prepared(0), 0);
    assert_eq!(prepares(&flow), ["s1"]);
    let flow = does(flow, 1);
    assert_eq!(flow.status(), Status::Completed);
    assert_eq!(statuses(&flow), [StepStatus::Failed, StepStatus::Succeeded]);
}

#[test]
fn p8_the_next_batch_begins_when_the_last_try_of_each_of_this_one_is_over() {
    let flow = does(list(4, 2).prepared(0), 1);
    let flow = fails(flow, 0);
    assert!(matches!(flow.effects[..], [Effect::Wait { .. }]));
    assert_eq!(flow.state.window(), 0..2);
    let flow = does(woken(flow, 0), 0);
    assert_eq!(prepares(&flow), ["s2", "s3"]);
    let flow = does(does(flow, 2), 3);
    assert_eq!(flow.status(), Status::Completed);
    assert_eq!(statuses(&flow), [StepStatus::Succeeded; 4]);
}

#[test]
fn p8_an_item_is_tried_again_beside_as_many_failures_as_there_may_be() {
    // The first one fails for good, which may be.
    let flow = fails(list(2, 1).prepared(0), 0);
    let flow = fails(woken(flow, 0).prepared(0), 0);
    assert_eq!(prepares(&flow), ["s1"]);
    let flow = fails(flow.prepared(1), 1);
    assert!(flow.state.steps[1].retry_at.is_some());
    let flow = does(woken(flow, 1), 1);
    assert_eq!(flow.status(), Status::Completed);
    assert_eq!(statuses(&flow), [StepStatus::Failed, StepStatus::Succeeded]);
    // Two may not.
    let flow = fails(list(2, 1).prepared(0), 0);
    let flow = fails(woken(flow, 0).prepared(0), 0);
    let flow = fails(flow.prepared(1), 1);
    let flow = fails(woken(flow, 1).prepared(1), 1);
    assert_eq!(flow.status(), Status::Failed);
}

#[test]
fn p8_an_item_that_is_alone_in_its_batch_is_waited_for() {
    for max_failures in [0, 1] {
        let each = Each {
            batch: 1,
            max_failures,
        };
        let flow = flow(Spec::of(&[Retry; 2]).group(0, 2, 1, Some(each)));
        let flow = fails(flow.prepared(0), 0);
        let until = flow.state.steps[0].retry_at.unwrap();
        let step = step_id(0);
        assert_eq!(flow.effects, [Effect::Wait { step, until }]);
        let flow = does(woken(flow, 0), 0);
        assert_eq!(prepares(&flow), ["s1"]);
    }
}

#[test]
fn p8_what_waits_to_be_tried_again_is_over_with_the_workflow() {
    let flow = fails(does(list(4, 2).prepared(0), 1), 0).to(cancel());
    assert_eq!(flow.status(), Status::Cancelled);
    assert!(flow.state.steps.iter().all(|step| step.retry_at.is_none()));
}

#[test]
fn p8_a_read_whose_answer_is_not_what_it_was_to_be_is_made_again() {
    let mut written = definition(&Spec::of(&[Retry]));
    let Deed::Call(call) = &mut written.steps[0].deed else {
        panic!("a gate");
    };
    call.expect = Some("!outputs.on".to_owned());
    let flow = Flow::written(&[Read], written).run();
    let flow = does(flow, 0);
    assert_eq!(flow.state.steps[0].retries, 1);
    assert!(matches!(flow.effects[..], [Effect::Wait { .. }]));
    let flow = does(woken(flow, 0), 0);
    assert_eq!(flow.status(), Status::Failed);
    assert_eq!(flow.state.steps[0].retries, 1);
}

#[test]
fn p8_a_wait_that_is_made_again_has_all_its_time_again() {
    let mut written = definition(&Spec::of(&[Wait]));
    let Deed::Call(call) = &mut written.steps[0].deed else {
        panic!("a gate");
    };
    call.retry = Some(Again {
        count: 1,
        backoff_s: 1,
        max_backoff_s: 1,
    });
    let ends = |flow: &Flow| match flow.effects[..] {
        [Effect::Poll { deadline, .. }] => deadline,
        _ => panic!("{:?}", flow.effects),
    };
    let flow = Flow::written(&[Wait], written).run().prepared(0);
    let first = ends(&flow);
    let flow = fails(flow, 0);
    let until = flow.state.steps[0].retry_at.unwrap();
    let again = ends(&woken(flow, 0).prepared(0));
    assert!(again > first && again >= until + 10_000, "{first} {again}");
}
