//! What is decided and what is refused, command by command, at the boundaries: who may decide, on
//! what, and until when.

use std::collections::BTreeMap;

use workflow::decide::{Command, Effect, Found, Unfit};
use workflow::event::{Approval, Assurance, Direction, Event, Left, Outcome, Principal, Subject};
use workflow::model::{ApprovalId, Approvers, Deed, Each, Facts, OnReject, Prepared, Risk, StepId};
use workflow::state::{Phase, Status, StepStatus};

use crate::flow::{Flow, cancel, failure, success};
use crate::support::{
    Kind, Spec, authenticated, definition, facts_of, other_companion, person, prepared_from,
    prepared_of, step_id,
};
use Kind::{Blind, Destroy, Gate, NoUndo, Own, Read, Write};
#[test]
fn p4_a_workflow_begins_once_and_ends_once() {
    let mut flow = Flow::of(&[Write]).run();
    let review = flow.review();
    let run = || Command::Run {
        by: person(),
        review: review.clone(),
    };
    assert_eq!(flow.refused(run()), "workflow.not_pending");
    let flow = flow.yes().prepared(0);
    let mut back = flow.replied(0, Direction::Do, failure(Left::Something));
    assert_eq!(back.status(), Status::RollingBack);
    assert_eq!(back.refused(run()), "workflow.rolling_back");
    assert_eq!(back.refused(cancel()), "workflow.rolling_back");
    let mut over = Flow::of(&[Read]).run();
    assert_eq!((over.status(), over.effects.len()), (Status::Running, 1));
    over = over.prepared(0);
    let key = over.state.key(&step_id(0), Direction::Do);
    over = over.to(Command::Replied {
        step: step_id(0),
        direction: Direction::Do,
        attempt: 1,
        key,
        took_ms: 1,
        reply: success(),
    });
    assert_eq!(over.status(), Status::Completed);
    assert_eq!(over.refused(cancel()), "workflow.ended");
    let nothing = Command::Rollback { by: person() };
    assert_eq!(over.refused(nothing), "workflow.nothing_to_undo");
    let resume = Command::Resume {
        by: person(),
        review: None,
        probes: BTreeMap::new(),
    };
    assert_eq!(over.refused(resume), "workflow.not_paused");
    let mut early = Flow::of(&[Write]);
    let rollback = Command::Rollback { by: person() };
    assert_eq!(early.refused(rollback), "workflow.not_undoable");
    assert_eq!(early.to(cancel()).status(), Status::Cancelled);
}

#[test]
fn p5_which_workflows_ask_first_is_the_operators_rule() {
    for (kind, always, destructive) in [
        (Read, false, false),
        (Write, true, false),
        (Destroy, true, true),
        (Blind, true, true),
    ] {
        for (only, asks) in [(false, always), (true, destructive)] {
            let mut flow = Flow::of(&[kind]);
            flow.rules.plan_only_if_destructive = only;
            let flow = flow.run();
            let expected = if asks {
                Status::Awaiting
            } else {
                Status::Running
            };
            assert_eq!(flow.status(), expected, "{kind:?} {only}");
        }
    }
}

#[test]
fn p6_who_may_decide_is_exact() {
    let with = |by: Principal, assurance| Principal { assurance, ..by };
    let mut flow = Flow::of(&[Write]).run();
    flow.rules.min_assurance = Assurance::Elicited;
    let (yes, no) = (flow.yes_of(person(), &[]), flow.no());
    assert_eq!(flow.refused(yes), "approval.assurance");
    assert_eq!(flow.refused(no), "approval.assurance");
    let yes = flow.yes_of(with(person(), Assurance::Elicited), &[]);
    assert_eq!(flow.to(yes).status(), Status::Running);
    // Whoever asked is told by the name and by the account.
    let mut flow = Flow::of(&[Write]).run();
    flow.rules.approvers = Approvers {
        quorum: 1,
        exclude_requester: true,
    };
    let same_name = authenticated("ann");
    let same_account = Principal {
        account: person().account,
        ..authenticated("bob")
    };
    for by in [same_name, same_account] {
        let yes = flow.yes_of(by, &[]);
        assert_eq!(flow.refused(yes), "approval.requester");
    }
    let yes = flow.yes_of(authenticated("bob"), &[]);
    assert_eq!(flow.to(yes).status(), Status::Running);
    // More than one: different people, each known.
    let mut flow = Flow::of(&[Write]).run();
    flow.rules.approvers.quorum = 3;
    let attested = flow.yes_of(person(), &[]);
    assert_eq!(flow.refused(attested), "approval.assurance");
    for name in ["ann", "bob"] {
        let yes = flow.yes_of(authenticated(name), &[]);
        flow = flow.to(yes.clone());
        assert_eq!(
            (flow.status(), flow.refused(yes)),
            (Status::Awaiting, "approval.already")
        );
    }
    let yes = flow.yes_of(authenticated("eve"), &[]);
    assert_eq!(flow.to(yes).status(), Status::Running);
}

#[test]
fn p5_a_plan_is_void_when_the_catalog_says_something_else() {
    let facts = |change: fn(Facts) -> Facts| change(facts_of(Write).unwrap());
    for (now, words) in [
        (facts(other_companion), "the companion is another one"),
        (
            facts(|f| Facts {
                tool: other_companion(f.clone()).fingerprint,
                ..f
            }),
            "description or schema",
        ),
        (
            facts(|f| Facts {
                risk: Risk::Destructive,
                ..f
            }),
            "was `write` and is `destructive`",
        ),
        (
            facts(|f| Facts { select: None, ..f }),
            "says something else",
        ),
    ] {
        let flow = Flow::of(&[Read, Write]).run();
        let Command::Approve {
            approval,
            by,
            comment,
            steps,
            ..
        } = flow.yes_of(person(), &[])
        else {
            panic!()
        };
        let facts = vec![facts_of(Read), Some(now)];
        let flow = flow.to(Command::Approve {
            approval,
            by,
            comment,
            steps,
            facts,
        });
        assert_eq!((flow.status(), flow.state.drift.len()), (Status::Paused, 1));
        assert!(
            flow.state.drift[0].contains(words),
            "{:?}",
            flow.state.drift
        );
    }
}

#[test]
fn p6_which_steps_a_decision_may_name_is_exact() {
    let kinds = [Destroy, Read, Gate, Blind, NoUndo, Write];
    for (named, words) in [
        (vec![1], "it is not destructive"),
        (vec![2], "it is a gate"),
        (vec![3], "not known yet"),
        (vec![5], "it is not destructive"),
        (vec![9], "there is no such step"),
    ] {
        let mut flow = Flow::of(&kinds).run();
        let refusal = flow.try_to(flow.yes_of(person(), &named)).unwrap_err();
        assert_eq!(refusal.code, "approval.steps");
        assert!(
            refusal.message.contains(words),
            "{named:?}: {}",
            refusal.message
        );
    }
    // Named with the plan, both run without being asked about again.
    let flow = Flow::of(&[Destroy, NoUndo]).run();
    let naming = flow.yes_of(person(), &[0, 1]);
    let flow = flow.to(naming);
    assert!(flow.state.steps.iter().all(|s| s.covered.is_some()));
    let mut flow = flow.prepared(0);
    assert_eq!(flow.kinds_of_events(), ["step_prepared", "intent"]);
    flow = flow.replied(0, Direction::Do, success());
    let flow = flow.prepared(1);
    assert_eq!(flow.kinds_of_events(), ["step_prepared", "intent"]);
    // A question about a step names it, or nothing; another may be named beside it.
    let mut flow = Flow::of(&[Destroy, NoUndo]).run().yes().prepared(0);
    let other = flow.yes_of(person(), &[1]);
    assert_eq!(flow.refused(other), "approval.steps");
    let both = flow.yes_of(person(), &[0, 1]);
    let flow = flow.to(both);
    assert!(flow.state.steps[0].approved.is_some() && flow.state.steps[1].covered.is_some());
    // What was done already cannot be named, nor anything beside a rollback.
    let flow = flow.prepared(0).replied(0, Direction::Do, success());
    let mut flow = flow.prepared(1).replied(1, Direction::Do, success());
    assert_eq!(flow.status(), Status::Completed);
    flow = flow.to(Command::Rollback { by: person() });
    let naming = flow.yes_of(person(), &[0]);
    let refusal = flow.try_to(naming).unwrap_err();
    assert!(refusal.message.contains("what was done already"));
}

#[test]
fn p5_a_no_leads_where_the_workflow_says() {
    for (on_reject, status) in [
        (OnReject::Rollback, Status::RollingBack),
        (OnReject::Stop, Status::Cancelled),
    ] {
        let kinds = [Write, Destroy];
        let mut written = definition(&Spec::of(&kinds));
        written.on_reject = on_reject;
        let flow = Flow::written(&kinds, written).run().yes().prepared(0);
        let flow = flow.replied(0, Direction::Do, success()).prepared(1);
        let no = flow.no();
        let flow = flow.to(no);
        assert_eq!(flow.status(), status);
        assert_eq!(flow.state.steps[1].status, StepStatus::Pending);
    }
    let flow = Flow::of(&[Destroy]).run();
    let no = flow.no();
    assert_eq!(flow.to(no).state.phase.reason(), Some("rejected"));
}

#[test]
fn p4_what_is_asked_is_named_by_its_keys() {
    let flow = Flow::of(&[Write, Own]).run().yes();
    let key = |direction| flow.state.key(&step_id(1), direction);
    assert_eq!(key(Direction::Do), "wf_1/s1/do/0");
    assert_eq!(key(Direction::Undo), "wf_1/s1/undo/0");
    assert_eq!(flow.state.phase.reason(), None);
    let asked = Flow::of(&[Write]).run();
    assert_eq!(asked.state.phase.reason(), Some("plan"));
}

#[test]
fn p6_an_answer_to_another_question_is_not_applied() {
    let flow = Flow::of(&[Write]).run();
    let other = || ApprovalId("ap_other".to_owned());
    let approved = Event::Approved {
        approval: other(),
        by: person(),
        comment: String::new(),
        covers: BTreeMap::new(),
    };
    let endorsed = |approval| Event::Endorsed {
        approval,
        by: person(),
        comment: String::new(),
        covers: BTreeMap::new(),
    };
    let rejected = Event::Rejected {
        approval: other(),
        by: person(),
        reason: String::new(),
    };
    let expired = Event::Expired { approval: other() };
    for event in [approved, endorsed(other()), rejected, expired] {
        let error = flow.state.clone().apply(0, &event).unwrap_err();
        assert_eq!(error.why, "another approval is open", "{event:?}");
        assert_eq!(error.seq, flow.state.seq + 1);
    }
    let open = flow.state.approval().unwrap().clone();
    let mut state = flow.state.clone();
    state.apply(0, &endorsed(open.id.clone())).unwrap();
    assert_eq!((state.votes.len(), state.status()), (1, Status::Awaiting));
    let running = flow.yes();
    let error = running.state.clone().apply(0, &endorsed(open.id));
    assert_eq!(error.unwrap_err().why, "no approval is open");
    let again = Event::Started;
    let error = running.state.clone().apply(0, &again).unwrap_err();
    assert!(error.why.contains("no such move"));
}

#[test]
fn p4_so_many_failures_of_a_list_are_gone_on_after() {
    let kinds = [Write; 4];
    for (may_fail, fail, blocked) in [(0, 1, true), (1, 1, false), (1, 2, true), (2, 2, false)] {
        let each = Each {
            batch: 4,
            max_failures: may_fail,
        };
        let spec = Spec::of(&kinds).group(0, 4, 4, Some(each));
        let mut flow = Flow::written(&kinds, definition(&spec));
        for place in 0..fail {
            let event = Event::Outcome {
                step: step_id(place),
                direction: Direction::Do,
                attempt: 1,
                took_ms: None,
                outcome: Outcome::Failed {
                    code: "vsphere.fault".to_owned(),
                    error: "It failed".to_owned(),
                    left: Left::Nothing,
                },
            };
            flow.state.apply(0, &event).unwrap();
        }
        let found = flow.state.blocking_failure(0..4);
        assert_eq!(found, blocked.then_some(0), "{may_fail} {fail}");
    }
}

/// What was prepared is what is sent: a difference stops it, and is said.
#[test]
fn p6_a_difference_between_the_question_and_the_deed_is_said() {
    for (found, words) in [
        (
            prepared_from(Destroy, &step_id(0), 3),
            "before the change, `cpu` was `2` and is `3`",
        ),
        (
            prepared_from(Destroy, &step_id(7), 2),
            "the target's `moref` was `s0` and is `s7`",
        ),
        (
            prepared_from(NoUndo, &step_id(0), 2),
            "the undo is another one",
        ),
        (
            Prepared {
                warnings: vec!["It is old".to_owned()],
                ..prepared_from(Destroy, &step_id(0), 2)
            },
            "warns of something else",
        ),
    ] {
        let flow = Flow::of(&[Destroy]).run().yes().prepared(0).yes();
        let found = Found {
            facts: facts_of(Destroy).unwrap(),
            prepared: found,
        };
        let flow = flow.to(Command::Prepared {
            step: step_id(0),
            found: Ok(Box::new(found)),
        });
        assert_eq!(flow.state.phase.reason(), Some("drift"));
        let said = flow.state.drift.join("\n");
        assert!(said.contains(words), "{said}");
    }
}

/// A question is open for as long as the workflow says, and is bound to what it is about.
#[test]
fn p7_a_question_has_its_time_and_its_subject() {
    let flow = Flow::of(&[Write, Gate]).run();
    let Phase::Awaiting { approval, back } = &flow.state.phase else {
        panic!()
    };
    let Approval {
        subject,
        digest,
        requested_at,
        expires_at,
        ..
    } = &**approval;
    assert_eq!((requested_at, expires_at), (&0, &300_000));
    assert_eq!((subject, &**back), (&Subject::Plan, &Phase::Pending));
    assert_eq!(*digest, flow.state.review.as_ref().unwrap().digest);
    let flow = flow.yes().prepared(0).replied(0, Direction::Do, success());
    let open = flow.state.approval().unwrap();
    assert_eq!(
        open.subject,
        Subject::Gate {
            step: StepId("s1".to_owned())
        }
    );
    assert!(matches!(flow.state.definition.steps[1].deed, Deed::Gate(_)));
    let flow = flow.yes();
    assert_eq!(flow.status(), Status::Completed);
}

/// A plan that is looked at anew is asked about anew, with all that it covers.
#[test]
fn p6_a_new_plan_voids_what_the_old_one_covered() {
    let flow = Flow::of(&[Write, Destroy]).run();
    let naming = flow.yes_of(person(), &[1]);
    let flow = flow.to(naming);
    assert!(flow.state.steps[1].covered.is_some());
    let found = Found {
        facts: other_companion(facts_of(Write).unwrap()),
        prepared: prepared_of(Write, &step_id(0), false),
    };
    let flow = flow.to(Command::Prepared {
        step: step_id(0),
        found: Ok(Box::new(found)),
    });
    assert_eq!(flow.state.phase.reason(), Some("drift"));
    let mut review = flow.review();
    review.steps[0].facts = review.steps[0].facts.take().map(other_companion);
    let flow = flow.to(Command::Resume {
        by: person(),
        review: Some(review),
        probes: BTreeMap::new(),
    });
    assert_eq!(flow.state.phase.reason(), Some("plan"));
    assert!(flow.state.steps[1].covered.is_none() && !flow.state.plan_approved);
    let now = flow.state.steps[0].facts.clone();
    assert_eq!(
        now,
        facts_of(Write).map(other_companion),
        "what the catalog says now"
    );
}

/// A step that waits to be tried again is part of the plan that is asked about anew.
#[test]
fn p5_a_step_that_is_tried_again_needs_the_new_plans_approval() {
    let flow = Flow::of(&[Kind::Retry]).run().yes();
    let flow = flow.to(Command::Prepared {
        step: step_id(0),
        found: Err(Unfit::new("vm.not_found", "There is none")),
    });
    let until = flow.state.steps[0].retry_at.unwrap();
    let waits = flow
        .effects
        .iter()
        .filter(|e| matches!(e, Effect::Wait { .. }));
    assert_eq!(waits.count(), 1, "it waits once");
    let flow = flow.to(Command::Woke {
        step: step_id(0),
        until,
    });
    let found = Found {
        facts: other_companion(facts_of(Kind::Retry).unwrap()),
        prepared: prepared_of(Kind::Retry, &step_id(0), false),
    };
    let flow = flow.to(Command::Prepared {
        step: step_id(0),
        found: Ok(Box::new(found)),
    });
    assert_eq!(flow.state.phase.reason(), Some("drift"));
    let review = Some(flow.review());
    let flow = flow.to(Command::Resume {
        by: person(),
        review,
        probes: BTreeMap::new(),
    });
    assert_eq!(
        flow.state.phase.reason(),
        Some("plan"),
        "it is not sent unasked"
    );
}

/// Of what several people named, what all of them named is covered.
#[test]
fn p6_a_quorum_covers_what_all_of_them_named() {
    let mut flow = Flow::of(&[Write, Destroy, NoUndo]).run();
    flow.rules.approvers.quorum = 2;
    let first = flow.yes_of(authenticated("bob"), &[1, 2]);
    let mut flow = flow.to(first);
    let second = flow.yes_of(authenticated("eve"), &[2]);
    flow = flow.to(second);
    let covered: Vec<bool> = flow
        .state
        .steps
        .iter()
        .map(|s| s.covered.is_some())
        .collect();
    assert_eq!(covered, [false, false, true]);
}
