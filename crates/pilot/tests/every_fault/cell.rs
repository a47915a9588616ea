//! The table: which step, at which stage, meets which fault. A cell is data.

use serde_json::{Value, json};

/// One fault at one place of the workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) step: Step,
    pub(crate) stage: Stage,
    pub(crate) fault: Fault,
    /// Whether the fault is gone when the call is made again.
    pub(crate) passes: bool,
}

/// A step of the workflow (see `flow.rs`), and what is there to be faulty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) id: &'static str,
    pub(crate) stages: &'static [Stage],
}

/// Where a call stands in the life of its step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// The preview for the plan's review.
    Review,
    /// The preview when the step's turn comes.
    Prepare,
    /// The preview after the step's own approval.
    PrepareAgain,
    /// The step itself.
    Do,
    /// The step's own verify, after the companion said that it did it.
    Verify,
    /// The probe of a step whose answer was none.
    Probe,
    /// The undo.
    Undo,
    /// The read that shows that it is undone.
    UndoVerify,
}

use Stage::{Do, Prepare, PrepareAgain, Probe, Review, Undo, UndoVerify, Verify};

/// The steps in their order. `look` reads, `mail` cannot be undone, `add_n` and `mail` may be done
/// only once, `rm_c` and `wipe` are destructive, `wipe` has a verify and an undo of its own.
pub(crate) const STEPS: &[Step] = &[
    Step {
        id: "look",
        stages: &[Do],
    },
    Step {
        id: "set_a",
        stages: &[Review, Prepare, Do, Probe, Undo, UndoVerify],
    },
    Step {
        id: "set_b",
        stages: &[Prepare, Do, Probe, Undo, UndoVerify],
    },
    Step {
        id: "add_n",
        stages: &[Review, Prepare, Do, Probe, Undo, UndoVerify],
    },
    Step {
        id: "mail",
        stages: &[Review, Prepare, Do],
    },
    Step {
        id: "rm_c",
        stages: &[Review, Prepare, PrepareAgain, Do, Probe, Undo, UndoVerify],
    },
    Step {
        id: "wipe",
        stages: &[Do, Verify, Probe, Undo, UndoVerify],
    },
    Step {
        id: "last",
        stages: &[Review, Prepare, Do, Probe, Undo, UndoVerify],
    },
];

/// A fault of the fake companion, by the name that it has there, and what it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// What came of it in the world, of a call that changes something.
    pub(crate) done: Done,
    /// The code that the step gets, where the fault is an answer.
    pub(crate) code: &'static str,
}

/// What an answer, or none, means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An error that says this of its effect: `nothing`, `something`, `not_said`.
    Error(&'static str),
    /// Nobody knows.
    Lost,
}

/// Whether a faulty call did what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    No,
    Half,
    Yes,
}

const fn error(name: &'static str, left: &'static str, done: Done, code: &'static str) -> Fault {
    Fault {
        name,
        kind: Kind::Error(left),
        done,
        code,
    }
}

const fn lost(name: &'static str, done: Done) -> Fault {
    Fault {
        name,
        kind: Kind::Lost,
        done,
        code: "companion.lost",
    }
}

/// What can happen to a call that changes something.
pub(crate) const OF_CHANGES: &[Fault] = &[
    error("error", "not_said", Done::No, "fake.broken"),
    error("error_after", "not_said", Done::Yes, "fake.half"),
    error("error_none", "nothing", Done::No, "fake.broken"),
    error("error_partial", "something", Done::Yes, "fake.half"),
    error("error_half", "something", Done::Half, "fake.half"),
    error("error_partial_not", "something", Done::No, "fake.half"),
    error("rpc_internal", "not_said", Done::Yes, "companion.error"),
    error("rpc_params", "nothing", Done::No, "companion.bad_arguments"),
    error(
        "preview_only",
        "nothing",
        Done::No,
        "companion.preview_only",
    ),
    lost("error_unknown", Done::Yes),
    lost("error_unknown_not", Done::No),
    lost("hang", Done::No),
    lost("lost", Done::Yes),
    lost("exit_before", Done::No),
    lost("exit_after", Done::Yes),
    lost("garbage", Done::Yes),
    lost("garbage_not", Done::No),
    lost("unreadable", Done::Yes),
    lost("both", Done::Yes),
];

/// What can happen to a call that only looks.
pub(crate) const OF_READS: &[Fault] = &[
    error("error", "not_said", Done::No, "fake.broken"),
    error("error_none", "nothing", Done::No, "fake.broken"),
    error("error_partial", "something", Done::No, "fake.half"),
    error("error_field", "nothing", Done::No, "fake.broken"),
    error("rpc_internal", "not_said", Done::No, "companion.error"),
    lost("error_unknown", Done::No),
    lost("hang", Done::No),
    lost("lost", Done::No),
    lost("exit_before", Done::No),
    lost("exit_after", Done::No),
    lost("garbage", Done::No),
    lost("unreadable", Done::No),
    lost("both", Done::No),
];

/// The whole product.
pub(crate) fn all() -> Vec<Cell> {
    let mut cells = Vec::new();
    for step in STEPS {
        for stage in step.stages {
            let changes = matches!(stage, Do | Undo) && step.id != "look";
            for fault in if changes { OF_CHANGES } else { OF_READS } {
                // What is answered with an error is not sent again: once is always.
                let ways: &[bool] = match fault.kind {
                    Kind::Error(_) => &[false],
                    Kind::Lost => &[false, true],
                };
                cells.extend(ways.iter().map(|passes| Cell {
                    step: *step,
                    stage: *stage,
                    fault: *fault,
                    passes: *passes,
                }));
            }
        }
    }
    cells
}

impl Cell {
    /// The faults as the fake takes them.
    pub(crate) fn rules(&self) -> Value {
        // How many calls of the kind come before those that are to be faulty.
        let from = match (self.stage, self.step.id) {
            // Its value is known only once the first step ran, so the review has no preview of it.
            (Prepare, "set_b") => 1,
            (Prepare, _) | (UndoVerify, "wipe") => 2,
            (PrepareAgain, _) => 3,
            _ => 1,
        };
        // A read is made three times; the review alone is faulty where it is what is tested.
        let times = match (self.passes, self.stage, self.fault.kind) {
            (true, ..) => json!(1),
            (false, Review | Verify, Kind::Error(_)) => json!(1),
            (false, Review, Kind::Lost) => json!(3),
            _ => Value::Null,
        };
        let mut rules = vec![json!({
            "step": self.step.id, "stage": self.heard_as(), "fault": self.fault.name, "from": from, "times": times,
        })];
        if self.stage == Probe {
            rules
                .push(json!({"step": self.step.id, "stage": "do", "fault": "garbage", "times": 1}));
        }
        if self.last_fails() {
            rules.push(self.failing_last());
        }
        json!(rules)
    }

    /// What makes the workflow roll back.
    pub(crate) fn failing_last(&self) -> Value {
        json!({"step": "last", "stage": "do", "fault": "error_none"})
    }

    /// Whether the last step fails, so that the others are undone.
    pub(crate) fn last_fails(&self) -> bool {
        matches!(self.stage, Undo | UndoVerify) && self.step.id != "last"
    }

    /// Whether a person rolls it back once it is completed: nothing comes after the last step.
    pub(crate) fn by_hand(&self) -> bool {
        matches!(self.stage, Undo | UndoVerify) && self.step.id == "last"
    }

    /// The stage as the fake tells it.
    pub(crate) fn heard_as(&self) -> &'static str {
        match self.stage {
            Review | Prepare | PrepareAgain => "preview",
            Do => "do",
            Verify | Probe | UndoVerify => "verify",
            Undo => "undo",
        }
    }

    /// Whether the call changes something.
    pub(crate) fn changes(&self) -> bool {
        matches!(self.stage, Do | Undo) && self.step.id != "look"
    }

    /// Whether the read that follows makes up for it, so that nobody notices.
    pub(crate) fn absorbed(&self) -> bool {
        self.passes && !self.changes()
    }

    /// Whether it takes the end of a call's time.
    pub(crate) fn is_slow(&self) -> bool {
        matches!(self.fault.name, "hang" | "lost")
    }

    pub(crate) fn name(&self) -> String {
        let passes = if self.passes { " once" } else { "" };
        format!(
            "{}/{:?}/{}{passes}",
            self.step.id, self.stage, self.fault.name
        )
    }
}
