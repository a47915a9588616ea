//! A workflow led through its commands, one after the other.

use std::collections::BTreeMap;

use workflow::decide::{Command, Context, Effect, Found, Rules, decide};
use workflow::event::{Direction, Event, Left, Principal, Review};
use workflow::model::Definition;
use workflow::refusal::Refusal;
use workflow::reply::Reply;
use workflow::state::{State, Status};

use crate::support::{
    Kind, Spec, context, definition, facts_of, id, person, prepared_of, review_of, step_id,
};
use Kind::Blind;
/// A workflow that is led through its commands.
pub(crate) struct Flow {
    pub(crate) kinds: Vec<Kind>,
    pub(crate) state: State,
    pub(crate) rules: Rules,
    pub(crate) closing: bool,
    pub(crate) effects: Vec<Effect>,
    pub(crate) events: Vec<Event>,
}

impl Flow {
    pub(crate) fn of(kinds: &[Kind]) -> Self {
        Self::written(kinds, definition(&Spec::of(kinds)))
    }

    pub(crate) fn written(kinds: &[Kind], written: Definition) -> Self {
        let created = Event::Created {
            id: id(),
            definition: Box::new(written),
            by: person(),
            facts: kinds.iter().map(|k| facts_of(*k)).collect(),
        };
        Self {
            kinds: kinds.to_vec(),
            state: State::create(0, &created).unwrap(),
            rules: Rules::default(),
            closing: false,
            effects: Vec::new(),
            events: Vec::new(),
        }
    }

    pub(crate) fn try_to(&mut self, command: Command) -> Result<(), Refusal> {
        let context = Context {
            rules: self.rules,
            closing: self.closing,
            ..context(self.state.seq)
        };
        let (events, effects) = decide(&self.state, command, &context)?;
        for event in &events {
            self.state.apply(0, event).unwrap();
        }
        (self.events, self.effects) = (events, effects);
        Ok(())
    }

    pub(crate) fn to(mut self, command: Command) -> Self {
        self.try_to(command).unwrap();
        self
    }

    pub(crate) fn refused(&mut self, command: Command) -> &'static str {
        self.try_to(command).unwrap_err().code
    }

    pub(crate) fn review(&self) -> Box<Review> {
        Box::new(review_of(&self.state, &self.kinds))
    }

    pub(crate) fn run(self) -> Self {
        let review = self.review();
        self.to(Command::Run {
            by: person(),
            review,
        })
    }

    pub(crate) fn yes_of(&self, by: Principal, steps: &[usize]) -> Command {
        Command::Approve {
            approval: self.state.approval().unwrap().id.clone(),
            by,
            comment: String::new(),
            steps: steps.iter().map(|i| step_id(*i)).collect(),
            facts: self.kinds.iter().map(|k| facts_of(*k)).collect(),
        }
    }

    pub(crate) fn yes(self) -> Self {
        let yes = self.yes_of(person(), &[]);
        self.to(yes)
    }

    pub(crate) fn no(&self) -> Command {
        Command::Reject {
            approval: self.state.approval().unwrap().id.clone(),
            by: person(),
            reason: String::new(),
        }
    }

    pub(crate) fn prepared(self, place: usize) -> Self {
        let kind = self.kinds[place];
        let found = Found {
            facts: facts_of(kind).unwrap(),
            prepared: prepared_of(kind, &step_id(place), false),
        };
        self.to(Command::Prepared {
            step: step_id(place),
            found: Ok(Box::new(found)),
        })
    }

    pub(crate) fn replied(self, place: usize, direction: Direction, reply: Reply) -> Self {
        let step = &self.state.steps[place];
        let attempt = match direction {
            Direction::Do => step.attempt,
            Direction::Undo => step.undo_attempt,
        };
        let key = self.state.key(&step_id(place), direction);
        self.to(Command::Replied {
            step: step_id(place),
            direction,
            attempt,
            key,
            took_ms: 1,
            reply,
        })
    }

    pub(crate) fn status(&self) -> Status {
        self.state.status()
    }

    pub(crate) fn kinds_of_events(&self) -> Vec<&'static str> {
        self.events.iter().map(Event::kind).collect()
    }
}

pub(crate) fn success() -> Reply {
    Reply::Success {
        body: serde_json::json!({"vm": {"on": true}}),
        sha256: "0".repeat(64),
        size: 1,
    }
}

pub(crate) fn lost() -> Reply {
    Reply::Lost {
        why: "nobody answered".to_owned(),
    }
}

pub(crate) fn failure(left: Left) -> Reply {
    Reply::Failure {
        code: "vsphere.fault".to_owned(),
        error: "It failed".to_owned(),
        left,
    }
}

pub(crate) fn cancel() -> Command {
    Command::Cancel { by: person() }
}

pub(crate) fn resolve(place: usize, by: Principal) -> Command {
    Command::Resolve {
        step: step_id(place),
        happened: true,
        outputs: BTreeMap::new(),
        by,
        note: "I looked".to_owned(),
    }
}

/// A workflow whose only step is unknown, and that is paused for it.
pub(crate) fn unknown() -> Flow {
    let flow = Flow::of(&[Blind]).run().yes().prepared(0).yes().prepared(0);
    flow.replied(0, Direction::Do, lost())
}
