//! Which objects a workflow holds: what names one, from when on, and until when.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use workflow::decide::{Command, decide};
use workflow::event::{Event, Preview, Review};
use workflow::hold::{is_over, object, shown, taken};
use workflow::model::ApprovalId;
use workflow::state::{State, Status};

use crate::support::{Kind, Spec, context, definition, facts_of, id, person, review_of, step_id};

fn named(target: &Value) -> Option<String> {
    object(target.as_object().unwrap())
}

#[test]
fn p18_an_object_is_named_by_its_identity_and_not_by_its_words() {
    let base = json!({"moref": "vm-1", "name": "web", "path": "/dc/vm/web", "instance": "i"});
    let name = named(&base).unwrap();
    let hex = name.strip_prefix("sha256:").unwrap();
    assert_eq!(hex.len(), 64);
    assert!(hex.chars().all(|c| c.is_ascii_hexdigit()));
    let with = |key: &str, value: Value| {
        let mut target = base.clone();
        target[key] = value;
        named(&target).unwrap()
    };
    let mut compared = 0;
    // Another word for the same object.
    for (key, value) in [("name", json!("web2")), ("path", json!("/dc/vm/web2"))] {
        assert_eq!(with(key, value), name, "{key}");
        compared += 1;
    }
    // Another object.
    for (key, value) in [
        ("moref", json!("vm-2")),
        ("instance", json!("j")),
        ("more", json!(1)),
        ("uuid", json!("u")),
    ] {
        assert_ne!(with(key, value), name, "{key}");
        compared += 1;
    }
    // Each of these is an identity beside which a name and a path are words; nothing else is.
    for key in ["moref", "id", "uuid", "instance_uuid"] {
        let a = named(&json!({key: "1", "name": "a", "path": "x"}));
        assert_eq!(a, named(&json!({key: "1"})), "{key}");
        assert_ne!(a, named(&json!({key: "2"})), "{key}");
        compared += 1;
    }
    for key in ["name", "path"] {
        assert_ne!(
            named(&json!({key: "1"})),
            named(&json!({key: "2"})),
            "{key}"
        );
        assert_ne!(
            named(&json!({"kind": "vm", key: "1"})),
            named(&json!({"kind": "vm", key: "2"})),
            "{key}"
        );
        compared += 1;
    }
    assert_eq!(
        object(&Map::new()),
        None,
        "who cannot say which object, names none"
    );
    println!("{compared} targets compared");
    assert!(compared > 0);
}

#[test]
fn p18_a_workflow_that_is_over_holds_nothing() {
    let over = [
        (Status::Pending, false),
        (Status::Awaiting, false),
        (Status::Running, false),
        (Status::Paused, false),
        (Status::RollingBack, false),
        (Status::Completed, true),
        (Status::Failed, true),
        (Status::Cancelled, true),
        (Status::RolledBack, true),
        (Status::RollbackFailed, true),
    ];
    for (status, wanted) in over {
        assert_eq!(is_over(status), wanted, "{status:?}");
    }
}

/// What is prepared of a step names this object.
fn object_of(i: usize) -> String {
    named(&json!({"moref": step_id(i)})).unwrap()
}

struct Run {
    state: State,
    /// Which objects each turn took, with its kinds of events.
    took: BTreeSet<String>,
}

impl Run {
    fn new(kinds: &[Kind]) -> Self {
        let created = Event::Created {
            id: id(),
            definition: Box::new(definition(&Spec::of(kinds))),
            by: person(),
            facts: kinds.iter().map(|kind| facts_of(*kind)).collect(),
        };
        Self {
            state: State::create(0, &created).unwrap(),
            took: BTreeSet::new(),
        }
    }

    /// Takes a turn.
    fn turn(&mut self, command: Command) {
        let (events, _) = decide(&self.state, command, &context(self.state.seq)).unwrap();
        let before = self.state.clone();
        for event in &events {
            self.state.apply(0, event).unwrap();
        }
        self.took = taken(&before, &self.state, &events);
    }

    fn run(&mut self, review: Review) {
        self.turn(Command::Run {
            by: person(),
            review: Box::new(review),
        });
    }

    fn open(&self) -> ApprovalId {
        self.state.approval().unwrap().id.clone()
    }

    fn approve(&mut self) {
        self.turn(Command::Approve {
            approval: self.open(),
            by: person(),
            comment: String::new(),
            steps: Vec::new(),
            facts: Vec::new(),
        });
    }
}

#[test]
fn p18_the_approval_of_a_plan_takes_what_the_review_showed() {
    let kinds = [
        Kind::Write,
        Kind::Read,
        Kind::Blind,
        Kind::Destroy,
        Kind::Gate,
    ];
    let mut run = Run::new(&kinds);
    assert_eq!(shown(&run.state), [], "nothing was looked at yet");
    let mut review = review_of(&run.state, &kinds);
    run.run(review.clone());
    assert_eq!(run.took, BTreeSet::new(), "a question takes nothing");
    let of = |i: usize| (step_id(i), object_of(i));
    assert_eq!(
        shown(&run.state),
        [of(0), of(3)],
        "a read, a gate and what has no preview show none"
    );
    run.approve();
    assert_eq!(run.took, BTreeSet::from([object_of(0), object_of(3)]));
    assert!(run.state.plan_approved);

    // What a refused preview did not show is not taken.
    let mut run = Run::new(&kinds);
    review.steps[0].preview = Preview::Refused {
        code: "store.not_found".to_owned(),
        error: "It is not there".to_owned(),
    };
    run.run(review);
    run.approve();
    assert_eq!(run.took, BTreeSet::from([object_of(3)]));

    // Where nobody is asked, the beginning takes it.
    let mut run = Run::new(&[Kind::Read]);
    let review = review_of(&run.state, &[Kind::Read]);
    run.run(review);
    assert!(run.state.plan_approved);
    assert_eq!(run.took, BTreeSet::new(), "a read holds nothing");
}

#[test]
fn p18_an_intent_and_a_rollback_by_hand_take_the_objects_that_they_name() {
    use workflow::decide::Found;
    use workflow::event::Direction;
    use workflow::reply::Reply;

    let kinds = [Kind::Write, Kind::Blind];
    let mut run = Run::new(&kinds);
    let review = review_of(&run.state, &kinds);
    run.run(review);
    run.approve();
    let prepared = |i: usize, kind: Kind| {
        let mut prepared = crate::support::prepared_of(kind, &step_id(i), false);
        prepared.target = Map::from_iter([("moref".to_owned(), json!(step_id(i)))]);
        Command::Prepared {
            step: step_id(i),
            found: Ok(Box::new(Found {
                facts: facts_of(kind).unwrap(),
                prepared,
            })),
        }
    };
    run.turn(prepared(0, Kind::Write));
    assert!(run.state.step(&step_id(0)).unwrap().1.in_flight.is_some());
    assert_eq!(
        run.took,
        BTreeSet::from([object_of(0)]),
        "once more, which is the same"
    );
    let id = run.state.id.clone();
    let done = |i: usize, attempt: u32| Command::Replied {
        step: step_id(i),
        direction: Direction::Do,
        attempt,
        key: format!("{id}/{}/do/0", step_id(i)),
        took_ms: 1,
        reply: Reply::Success {
            body: json!({"vm": {"on": true}}),
            sha256: "0".repeat(64),
            size: 1,
        },
    };
    run.turn(done(0, 1));
    assert_eq!(run.took, BTreeSet::new(), "an outcome takes nothing");
    // The review could not show it; its own preparation does.
    run.turn(prepared(1, Kind::Blind));
    assert_eq!(run.took, BTreeSet::new(), "a question takes nothing");
    run.approve();
    assert_eq!(run.took, BTreeSet::new(), "nor does a yes to one step");
    run.turn(prepared(1, Kind::Blind));
    assert_eq!(run.took, BTreeSet::from([object_of(1)]));
    run.turn(done(1, 1));
    assert_eq!(run.state.status(), Status::Completed);
    assert_eq!(shown(&run.state), [], "nothing is to come");
    run.turn(Command::Rollback { by: person() });
    assert_eq!(run.took, BTreeSet::new(), "a question takes nothing");
    run.approve();
    assert_eq!(run.took, BTreeSet::from([object_of(0), object_of(1)]));
    let next = run.state.queue.front().cloned();
    assert_eq!(next, Some(step_id(0)), "the other one has no undo");
}
