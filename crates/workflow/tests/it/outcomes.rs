//! What follows from an answer, a loss, a look and an undo, case by case.

use std::collections::BTreeMap;

use workflow::decide::{Command, Effect, Found, RECOVERIES, Rules, Unfit};
use workflow::event::{Assurance, Direction, Left, Verdict};
use workflow::model::Deed;
use workflow::reply::Reply;
use workflow::state::{Status, StepStatus};

use crate::flow::{Flow, cancel, failure, lost, resolve, success, unknown};
use crate::support::{
    Kind, Spec, authenticated, definition, facts_of, person, prepared_of, step_id,
};
use Kind::{Destroy, NoUndo, Own, Read, Verified, Write};
#[test]
fn p18_what_a_person_says_of_an_unknown_step_is_taken_where_it_is_unknown() {
    let mut flow = unknown();
    assert_eq!(flow.state.phase.reason(), Some("unknown"));
    assert_eq!(flow.refused(resolve(9, person())), "step.not_unknown");
    let resume = Command::Resume {
        by: person(),
        review: None,
        probes: BTreeMap::from([(step_id(0), Verdict::Unclear { why: String::new() })]),
    };
    assert_eq!(flow.refused(resume), "step.still_unknown");
    flow.rules.min_assurance = Assurance::Signed;
    assert_eq!(flow.refused(resolve(0, person())), "approval.assurance");
    flow.rules = Rules::default();
    let mut flow = flow.to(resolve(0, person()));
    assert_eq!(flow.state.steps[0].status, StepStatus::Succeeded);
    assert_eq!(flow.state.phase.reason(), Some("settled"));
    assert_eq!(flow.refused(resolve(0, person())), "step.not_unknown");
    assert_eq!(flow.to(cancel()).state.phase.reason(), Some("cancelled"));
    // An unknown step of a workflow at rest is not settled by a word.
    let mut over = unknown().to(cancel());
    assert_eq!(over.refused(resolve(0, person())), "step.not_unknown");
    // Where more than one has to say it: the word of one who is known counts as one yes.
    for (by, votes) in [(person(), 0), (authenticated("bob"), 1)] {
        let mut flow = unknown();
        flow.rules.approvers.quorum = 2;
        let mut flow = flow.to(resolve(0, by));
        assert_eq!(
            (flow.status(), flow.state.votes.len()),
            (Status::Awaiting, votes)
        );
        for name in ["eve", "joe"].iter().skip(votes) {
            let yes = flow.yes_of(authenticated(name), &[]);
            flow = flow.to(yes);
        }
        assert_eq!(flow.state.steps[0].status, StepStatus::Succeeded);
    }
}

#[test]
fn p18_a_step_is_taken_over_so_often_and_then_a_person_is_asked() {
    let mut flow = Flow::of(&[Write]).run().yes().prepared(0);
    for owner in 1..=RECOVERIES {
        flow = flow.to(Command::Adopt);
        assert_eq!((flow.state.epoch, flow.status()), (owner, Status::Running));
        assert!(matches!(flow.effects[..], [Effect::Probe { .. }]));
    }
    let flow = flow.to(Command::Adopt);
    assert_eq!(flow.state.phase.reason(), Some("recoveries"));
    assert!(flow.effects.is_empty());
    let resume = Command::Resume {
        by: person(),
        review: None,
        probes: BTreeMap::from([(step_id(0), Verdict::NotInEffect)]),
    };
    let mut refused = flow;
    assert_eq!(refused.refused(resume), "step.still_unknown");
    let idle = refused.to(cancel()).to(Command::Adopt);
    assert!(idle.events.is_empty(), "nobody takes over what is at rest");
}

/// What an undo is told by, and what becomes of it.
#[test]
fn p8_an_undo_is_done_failed_or_cannot_be_told() {
    let rolling = |kind: Kind| {
        let flow = Flow::of(&[kind]).run().yes().prepared(0);
        let flow = if kind.asks() {
            flow.yes().prepared(0)
        } else {
            flow
        };
        let flow = flow.replied(0, Direction::Do, success());
        flow.to(Command::Rollback { by: person() }).yes()
    };
    for (reply, status) in [
        (success(), StepStatus::RolledBack),
        (failure(Left::Nothing), StepStatus::RollbackFailed),
        (lost(), StepStatus::RollbackFailed),
    ] {
        let flow = rolling(Own).replied(0, Direction::Undo, reply);
        assert_eq!(flow.state.steps[0].status, status);
        let none_verified = flow.state.steps[0].undo_verified != Some(true);
        assert!(none_verified, "nothing was read back");
    }
    for (verdict, status) in [
        (Verdict::NotInEffect, Status::RolledBack),
        (Verdict::InEffect, Status::RollbackFailed),
        (
            Verdict::Unclear {
                why: "no".to_owned(),
            },
            Status::RollbackFailed,
        ),
    ] {
        let flow = rolling(Destroy).replied(0, Direction::Undo, success());
        assert!(matches!(flow.effects[..], [Effect::Probe { .. }]));
        let flow = flow.to(Command::Probed {
            step: step_id(0),
            direction: Direction::Undo,
            verdict,
        });
        assert_eq!(flow.status(), status);
    }
    let nothing = rolling(NoUndo);
    assert_eq!(nothing.status(), Status::RolledBack);
    assert_eq!(nothing.state.steps[0].status, StepStatus::RollbackSkipped);
    let stays = nothing.state.steps[0].stays.clone().unwrap();
    assert!(stays.contains("cpu = 4"), "{stays}");
}

/// The verify of a step's author is made after each answer.
#[test]
fn p8_a_step_is_done_once_its_own_verify_shows_it() {
    for (verdict, status) in [
        (Verdict::InEffect, Status::Completed),
        (Verdict::NotInEffect, Status::Failed),
    ] {
        let flow = Flow::of(&[Verified]).run().yes().prepared(0);
        let flow = flow.replied(0, Direction::Do, success());
        assert!(flow.state.steps[0].unverified);
        let flow = flow.to(Command::Probed {
            step: step_id(0),
            direction: Direction::Do,
            verdict: verdict.clone(),
        });
        let denied = verdict == Verdict::NotInEffect;
        if denied {
            assert_eq!(
                flow.state.steps[0].error.as_ref().unwrap().code,
                "step.not_verified"
            );
        }
        assert_eq!(flow.status(), status, "{verdict:?}");
    }
}

/// What is sent, verified and covered has its values in the place of its references.
#[test]
fn p13_what_is_sent_has_its_values() {
    let with = |kind: Kind| {
        let mut written = definition(&Spec::of(&[kind]));
        written
            .params
            .insert("vm".to_owned(), serde_json::json!("web"));
        if let Deed::Call(step) = &mut written.steps[0].deed {
            let vm = serde_json::json!("${params.vm}");
            step.call.arguments.insert("vm".to_owned(), vm.clone());
            if let Some(undo) = &mut step.undo {
                undo.arguments.insert("vm".to_owned(), vm.clone());
            }
            if let Some(verify) = &mut step.verify {
                verify.call.arguments.insert("vm".to_owned(), vm);
            }
        }
        Flow::written(&[kind], written)
    };
    let vm = |flow: &Flow| match &flow.effects[..] {
        [Effect::Send { call, .. } | Effect::Prepare { call, .. }] => call.arguments["vm"].clone(),
        [Effect::Probe { verify, .. }] => verify.call.arguments["vm"].clone(),
        other => panic!("{other:?}"),
    };
    let flow = with(Verified).run().yes();
    assert_eq!(vm(&flow), "web");
    let flow = flow.prepared(0);
    assert_eq!(vm(&flow), "web");
    let flow = flow.replied(0, Direction::Do, success());
    assert_eq!(vm(&flow), "web");
    let flow = with(Own).run().yes().prepared(0);
    let flow = flow.replied(0, Direction::Do, success());
    let flow = flow.to(Command::Rollback { by: person() }).yes();
    assert_eq!(vm(&flow), "web");
    // What was named in advance is what is sent.
    let flow = with(Destroy).run();
    let named = flow.yes_of(person(), &[0]);
    let flow = flow.to(named).prepared(0);
    assert_eq!(
        (flow.kinds_of_events(), vm(&flow)),
        (vec!["step_prepared", "intent"], "web".into())
    );
}

/// A process that is about to end settles what is in flight, and begins nothing.
#[test]
fn p18_a_process_that_ends_begins_nothing() {
    let probed = |direction, verdict| Command::Probed {
        step: step_id(0),
        direction,
        verdict,
    };
    let replied = |direction, reply| Command::Replied {
        step: step_id(0),
        direction,
        attempt: 1,
        took_ms: 1,
        reply,
    };
    let prepare = |kind| Command::Prepared {
        step: step_id(0),
        found: Ok(Box::new(Found {
            facts: facts_of(kind).unwrap(),
            prepared: prepared_of(kind, &step_id(0), false),
        })),
    };
    let sent = || Flow::of(&[Write, Write]).run().yes().prepared(0);
    let lost_one = || sent().replied(0, Direction::Do, lost());
    let looking = || sent().replied(0, Direction::Do, failure(Left::Something));
    let undoing = || looking().to(probed(Direction::Do, Verdict::InEffect));
    let undone = || undoing().replied(0, Direction::Undo, lost());
    let reading = || Flow::of(&[Read, Write]).run().yes().prepared(0);
    let retrying = || {
        Flow::of(&[Kind::Retry]).run().yes().to(Command::Prepared {
            step: step_id(0),
            found: Err(Unfit::new("vm.not_found", "There is none")),
        })
    };
    let woke = |flow: &Flow| Command::Woke {
        step: step_id(0),
        until: flow.state.steps[0].retry_at.unwrap(),
    };
    let ready = || Flow::of(&[Write]).run().yes();
    let mut tried = 0;
    for (flow, report) in [
        (ready(), prepare(Write)),
        (ready(), Command::Held { step: step_id(0) }),
        (sent(), replied(Direction::Do, success())),
        (sent(), replied(Direction::Do, failure(Left::Something))),
        (lost_one(), probed(Direction::Do, Verdict::NotInEffect)),
        (lost_one(), probed(Direction::Do, Verdict::InEffect)),
        (looking(), probed(Direction::Do, Verdict::InEffect)),
        (undone(), probed(Direction::Undo, Verdict::InEffect)),
        (reading(), replied(Direction::Do, lost())),
        (reading(), replied(Direction::Do, success())),
        (retrying(), woke(&retrying())),
    ] {
        let open = Flow {
            closing: false,
            ..flow
        };
        let mut closing = Flow {
            closing: true,
            kinds: open.kinds.clone(),
            state: open.state.clone(),
            rules: open.rules,
            effects: Vec::new(),
            events: Vec::new(),
        };
        closing = closing.to(report.clone());
        assert!(
            closing.effects.is_empty(),
            "{report:?}: {:?}",
            closing.effects
        );
        assert!(closing.state.status().is_busy(), "{report:?}");
        let open = open.to(report.clone());
        let goes_on = !open.effects.is_empty() || !open.state.status().is_busy();
        assert!(goes_on, "{report:?} does nothing anyway");
        tried += 1;
    }
    assert_eq!(tried, 11);
    // What nobody is at work on may still be cancelled.
    let mut idle = Flow::of(&[Write]).run().yes();
    idle.closing = true;
    assert_eq!(idle.to(cancel()).status(), Status::Cancelled);
}

/// Two are unknown: the first word leaves the other one to be told.
#[test]
fn p18_each_unknown_step_is_told_by_itself() {
    let kinds = [Own, Own];
    let spec = Spec::of(&kinds).group(0, 2, 2, None);
    let flow = Flow::written(&kinds, definition(&spec)).run().yes();
    let flow = flow.prepared(0).prepared(1);
    let flow = flow
        .replied(0, Direction::Do, lost())
        .replied(1, Direction::Do, lost());
    assert_eq!(flow.state.phase.reason(), Some("unknown"));
    assert_eq!(flow.state.unknown_steps().len(), 2);
    let flow = flow.to(resolve(0, person()));
    assert_eq!(flow.state.phase.reason(), Some("unknown"));
    let flow = flow.to(resolve(1, person()));
    assert_eq!(flow.state.phase.reason(), Some("settled"));
}

/// A rollback that is not wanted after all leaves the workflow where it was.
#[test]
fn p9_a_rollback_that_is_not_approved_changes_nothing() {
    let done = || {
        let flow = Flow::of(&[Write]).run().yes().prepared(0);
        let flow = flow.replied(0, Direction::Do, success());
        flow.to(Command::Rollback { by: person() })
    };
    assert_eq!(done().to(cancel()).status(), Status::Completed);
    let flow = done();
    let no = flow.no();
    assert_eq!(flow.to(no).status(), Status::Completed);
}

/// What a failed or lost call left behind, where nothing can be read back, is said as what it is.
#[test]
fn p10_what_nobody_can_tell_is_said_as_that() {
    let sent = || Flow::of(&[Own]).run().yes().prepared(0);
    for (left, status, words) in [
        (
            Left::NotSaid,
            StepStatus::RollbackSkipped,
            "did not say whether",
        ),
        (
            Left::Something,
            StepStatus::RollbackFailed,
            "it was done in part",
        ),
    ] {
        let flow = sent().replied(0, Direction::Do, failure(left));
        let step = &flow.state.steps[0];
        assert_eq!(step.status, status);
        let why = step.undo_why.clone().unwrap();
        assert!(why.contains(words), "{why}");
    }
    let flow = sent().replied(0, Direction::Do, lost());
    let flow = flow.to(Command::Rollback { by: person() }).yes();
    let why = flow.state.steps[0].undo_why.clone().unwrap();
    assert!(why.contains("whether it took effect is unknown"), "{why}");
    let mut prepared = prepared_of(NoUndo, &step_id(0), false);
    prepared.no_undo = "it is gone".to_owned();
    let found = |prepared| Command::Prepared {
        step: step_id(0),
        found: Ok(Box::new(Found {
            facts: facts_of(NoUndo).unwrap(),
            prepared,
        })),
    };
    let flow = Flow::of(&[NoUndo]).run().yes().to(found(prepared.clone()));
    let flow = flow
        .yes()
        .to(found(prepared))
        .replied(0, Direction::Do, success());
    let flow = flow.to(Command::Rollback { by: person() }).yes();
    assert_eq!(flow.state.steps[0].undo_why.as_deref(), Some("it is gone"));
}

/// An undo that failed is tried again when a person wants that: after a look where one can tell,
/// and one that may be done only once where it left nothing.
#[test]
fn p9_a_second_rollback_looks_first_and_repeats_nothing_blindly() {
    let failed = |kind: Kind, reply: Reply| {
        let flow = Flow::of(&[kind]).run().yes().prepared(0);
        let flow = flow.replied(0, Direction::Do, success());
        let flow = flow.to(Command::Rollback { by: person() }).yes();
        let flow = flow.replied(0, Direction::Undo, reply);
        let flow = match flow.status() {
            Status::RollingBack => flow.to(Command::Probed {
                step: step_id(0),
                direction: Direction::Undo,
                verdict: Verdict::InEffect,
            }),
            _ => flow,
        };
        assert_eq!(flow.status(), Status::RollbackFailed);
        flow.to(Command::Rollback { by: person() }).yes()
    };
    let looks = failed(Write, failure(Left::NotSaid));
    assert!(matches!(looks.effects[..], [Effect::Probe { .. }]));
    let looked = |verdict| {
        failed(Write, failure(Left::NotSaid)).to(Command::Probed {
            step: step_id(0),
            direction: Direction::Do,
            verdict,
        })
    };
    let gone = looked(Verdict::NotInEffect);
    assert_eq!(gone.status(), Status::RolledBack);
    let there = looked(Verdict::InEffect);
    assert!(matches!(there.effects[..], [Effect::Send { .. }]));
    for (reply, again) in [
        (lost(), false),
        (failure(Left::NotSaid), false),
        (failure(Left::Something), false),
        (failure(Left::Nothing), true),
    ] {
        let flow = failed(Own, reply.clone());
        let sent = matches!(flow.effects[..], [Effect::Send { .. }]);
        assert_eq!(sent, again, "{reply:?}");
        let why = flow.state.steps[0].undo_why.clone().unwrap_or_default();
        assert_eq!(why.contains("it may be undone already"), !again, "{why}");
    }
}

#[test]
fn p18_what_is_taken_over_before_its_check_is_checked_and_not_unknown() {
    let flow = Flow::of(&[Verified]).run().yes().prepared(0);
    let flow = flow.replied(0, Direction::Do, success());
    assert!(flow.state.steps[0].unverified);
    let flow = flow.to(Command::Adopt);
    assert_eq!(flow.kinds_of_events(), ["adopted"]);
    let checks = flow.effects.iter();
    assert_eq!(
        checks.filter(|e| matches!(e, Effect::Probe { .. })).count(),
        1
    );
}

#[test]
fn p6_a_step_that_was_found_unfit_before_it_was_sent_is_prepared_as_for_the_first_time() {
    let flow = Flow::of(&[Kind::RetryDestroy]).run().yes().prepared(0);
    let flow = flow.yes().to(Command::Prepared {
        step: step_id(0),
        found: Err(Unfit::new("vm.not_found", "There is none")),
    });
    let until = flow.state.steps[0].retry_at.unwrap();
    let flow = flow.to(Command::Woke {
        step: step_id(0),
        until,
    });
    // What it finds is recorded before it is sent: there was no attempt whose undo would go before.
    let flow = flow.prepared(0);
    assert_eq!(flow.kinds_of_events(), ["step_prepared", "intent"]);
    assert_eq!(flow.state.steps[0].attempt, 1);
}
