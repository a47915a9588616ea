//! The action table: what `vmware_control` can do, in one place.
//!
//! One row for each action holds its name, its documentation, its arguments, its
//! risk, its effect and its inverses. Everything that speaks about actions derives
//! from it: the tool's input schema and description, the table that it publishes in
//! `_meta`, the checks of a call's arguments, and the names suggested for a
//! misspelt one. The laws over the whole table are at the end of this file.

mod access;
mod alarm;
mod argument;
mod browse;
mod connection;
mod credential;
mod device;
mod guest;
mod guest_power;
mod history;
mod inventory;
mod machine;
mod maintenance;
mod old;
mod performance;
mod place;
mod power;
mod snapshot;

use std::pin::Pin;

use serde_json::{Map, Value};

use crate::action::Local;
use crate::argument::Arguments;
use crate::call::Call;
use crate::failure::Failure;

pub(crate) use argument::{Argument, Kind};

/// What an action may do to the world, in the words of the orchestrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Risk {
    /// Changes nothing.
    Read,
    /// Changes something that can be put back.
    Write,
    /// May lose something: a running state, data, a configuration.
    Destructive,
}

/// What repeating an action does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing, it only reads.
    Read,
    /// Nothing more than the first time.
    Idempotent,
    /// Something more each time.
    Once,
}

/// What an action needs to be told before it can begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing: it works on the home directory alone.
    Home,
    /// A server, and a login to it.
    Server,
    /// A server, and one virtual machine on it.
    Machine,
}

/// Where an action can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Platform {
    /// On a vCenter and on a standalone ESXi host.
    Any,
    /// On a vCenter alone: a standalone host has no such method, or must not be asked.
    VCenter,
}

/// A call on its way: what it will answer.
pub(crate) type Running<'a> =
    Pin<Box<dyn Future<Output = Result<Map<String, Value>, Failure>> + Send + 'a>>;

/// What performs an action.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// It works on the home directory, without a session.
    Local(for<'a> fn(&'a Local<'a>, &'a Action, &'a Arguments) -> Running<'a>),
    /// It works on the server that the call is connected to.
    Server(for<'a> fn(&'a Call<'a>) -> Running<'a>),
}

/// One row of the table.
pub(crate) struct Action {
    /// Its name on the wire.
    pub(crate) word: &'static str,
    /// Spellings that people know from elsewhere, which are taken for it.
    pub(crate) aliases: &'static [&'static str],
    /// One line for whoever chooses among the actions.
    pub(crate) doc: &'static str,
    pub(crate) risk: Risk,
    pub(crate) effect: Effect,
    pub(crate) needs: Needs,
    /// Where it can be done.
    pub(crate) platform: Platform,
    /// Arguments without which the action cannot begin, beyond what `needs` says.
    pub(crate) required: &'static [&'static str],
    /// Arguments of its own, beyond those that come with `needs`.
    pub(crate) own: &'static [&'static str],
    /// The actions of this table that may be its inverse; which of them, and with
    /// which values, the action itself says in its answer.
    pub(crate) undo: &'static [&'static str],
    /// Whether it takes `preview: true`.
    pub(crate) preview: bool,
    /// What shows, after a lost answer, whether the change came about; empty for a read.
    pub(crate) probe: &'static str,
    /// The vSphere methods that change something or log in, beyond plain reading.
    pub(crate) api: &'static [&'static str],
    /// What it checks of its arguments before anything is contacted.
    pub(crate) check: fn(&Arguments) -> Result<(), Failure>,
    /// What performs it.
    pub(crate) run: Run,
}

impl std::fmt::Debug for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Action").field(&self.word).finish()
    }
}

/// The check of an action that has none of its own.
fn accept(_: &Arguments) -> Result<(), Failure> {
    Ok(())
}

/// Actions that belong together, and the arguments that only they take.
struct Family {
    rows: &'static [&'static Action],
    arguments: &'static [Argument],
}

/// The table, in the order in which it is published.
const FAMILIES: &[Family] = &[
    Family {
        rows: connection::ROWS,
        arguments: &[],
    },
    Family {
        rows: inventory::ROWS,
        arguments: &[],
    },
    Family {
        rows: machine::ROWS,
        arguments: machine::ARGUMENTS,
    },
    Family {
        rows: power::ROWS,
        arguments: &[],
    },
    Family {
        rows: snapshot::ROWS,
        arguments: snapshot::ARGUMENTS,
    },
    Family {
        rows: device::ROWS,
        arguments: device::ARGUMENTS,
    },
    Family {
        rows: guest_power::ROWS,
        arguments: &[],
    },
    Family {
        rows: old::ROWS,
        arguments: old::ARGUMENTS,
    },
    Family {
        rows: maintenance::ROWS,
        arguments: maintenance::ARGUMENTS,
    },
    Family {
        rows: browse::ROWS,
        arguments: browse::ARGUMENTS,
    },
    Family {
        rows: history::ROWS,
        arguments: history::ARGUMENTS,
    },
    Family {
        rows: alarm::ROWS,
        arguments: alarm::ARGUMENTS,
    },
    Family {
        rows: access::ROWS,
        arguments: access::ARGUMENTS,
    },
    Family {
        rows: guest::ROWS,
        arguments: guest::ARGUMENTS,
    },
    Family {
        rows: performance::ROWS,
        arguments: performance::ARGUMENTS,
    },
    Family {
        rows: place::ROWS,
        arguments: place::ARGUMENTS,
    },
    Family {
        rows: credential::ROWS,
        arguments: &[],
    },
];

/// Every action, in the order in which it is published.
pub(crate) fn actions() -> impl Iterator<Item = &'static Action> {
    FAMILIES
        .iter()
        .flat_map(|family| family.rows.iter().copied())
}

/// How much of the table is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// All of it.
    Full,
    /// What changes nothing.
    ReadOnly,
}

impl Mode {
    /// Whether an action is offered.
    pub(crate) fn offers(self, row: &Action) -> bool {
        self == Mode::Full || !row.changes()
    }

    /// The actions that are offered, in the order in which they are published.
    pub(crate) fn actions(self) -> impl Iterator<Item = &'static Action> {
        actions().filter(move |row| self.offers(row))
    }

    /// The arguments that an action which is offered takes.
    pub(crate) fn arguments(self) -> impl Iterator<Item = &'static Argument> {
        arguments().filter(move |argument| self.actions().any(|row| row.takes(argument.name)))
    }
}

/// Every argument but `action`, in the order in which it is published.
pub(crate) fn arguments() -> impl Iterator<Item = &'static Argument> {
    argument::COMMON
        .iter()
        .chain(FAMILIES.iter().flat_map(|family| family.arguments))
}

impl Risk {
    /// The word on the wire.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Risk::Read => "read",
            Risk::Write => "write",
            Risk::Destructive => "destructive",
        }
    }
}

impl Effect {
    /// The word on the wire.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Effect::Read => "read",
            Effect::Idempotent => "idempotent",
            Effect::Once => "once",
        }
    }
}

impl Platform {
    /// The word on the wire.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Platform::Any => "any",
            Platform::VCenter => "vcenter",
        }
    }
}

impl Needs {
    /// The arguments that come with it.
    pub(crate) fn arguments(self) -> &'static [&'static str] {
        match self {
            Needs::Home => &[],
            Needs::Server => argument::CONNECTION,
            Needs::Machine => argument::MACHINE,
        }
    }
}

impl Action {
    /// The row named `word`, or spelt so elsewhere.
    pub(crate) fn find(word: &str) -> Option<&'static Action> {
        actions()
            .find(|row| row.word == word)
            .or_else(|| actions().find(|row| row.aliases.contains(&word)))
    }

    /// Every argument that the action takes, `action` itself left out, in the order
    /// in which arguments are published.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &'static Argument> + '_ {
        arguments().filter(|argument| self.takes(argument.name))
    }

    /// Whether the action takes an argument of this name.
    pub(crate) fn takes(&self, name: &str) -> bool {
        (name == "preview" && self.preview)
            || (name == "override" && self.changes() && self.needs != Needs::Home)
            || (name == "wait" && self.starts_task())
            || self.needs.arguments().contains(&name)
            || self.own.contains(&name)
            || self.required.contains(&name)
    }

    /// Whether its change is a task, whose end can be waited for.
    fn starts_task(&self) -> bool {
        self.changes() && self.api.iter().any(|method| method.ends_with("_Task"))
    }

    /// Whether the action changes anything.
    pub(crate) fn changes(&self) -> bool {
        self.risk != Risk::Read
    }
}

#[cfg(test)]
mod laws {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_well_formed() {
        let all = || actions().flat_map(|row| row.aliases.iter().copied().chain([row.word]));
        let words: BTreeSet<_> = all().collect();
        assert_eq!(words.len(), all().count());
        for word in words {
            assert!(
                word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{word}"
            );
        }
    }

    #[test]
    fn every_undo_is_an_action_that_changes_something() {
        for row in actions() {
            for undo in row.undo {
                let inverse = Action::find(undo).unwrap_or_else(|| panic!("{}: {undo}", row.word));
                assert!(inverse.changes(), "{}: {undo}", row.word);
            }
        }
    }

    #[test]
    fn a_read_has_no_undo_no_preview_and_effect_read() {
        for row in actions().filter(|row| row.risk == Risk::Read) {
            assert_eq!(row.effect, Effect::Read, "{}", row.word);
            assert!(row.undo.is_empty() && !row.preview, "{}", row.word);
        }
    }

    #[test]
    fn every_change_takes_preview_and_is_not_effect_read() {
        for row in actions().filter(|row| row.changes()) {
            assert!(row.preview && row.takes("preview"), "{}", row.word);
            assert_ne!(row.effect, Effect::Read, "{}", row.word);
            assert!(!row.probe.is_empty(), "{}", row.word);
        }
    }

    #[test]
    fn every_argument_of_an_action_is_defined_once_and_every_definition_is_used() {
        let defined: Vec<_> = arguments().map(|argument| argument.name).collect();
        let unique: BTreeSet<_> = defined.iter().collect();
        assert_eq!(unique.len(), defined.len());
        for row in actions() {
            for name in row.own.iter().chain(row.required) {
                assert!(defined.contains(name), "{}: {name}", row.word);
            }
        }
        for name in defined {
            assert!(
                actions().any(|row| row.takes(name)),
                "{name} is taken by no action"
            );
        }
    }

    #[test]
    fn required_arguments_are_among_those_taken() {
        for row in actions() {
            let taken: Vec<_> = row.arguments().map(|argument| argument.name).collect();
            assert!(
                row.required.iter().all(|name| taken.contains(name)),
                "{}",
                row.word
            );
        }
    }

    #[test]
    fn every_change_names_the_method_that_makes_it_and_no_local_action_does() {
        for row in actions() {
            match row.needs {
                Needs::Home => assert!(
                    !row.api.iter().any(|m| m.ends_with("_Task")),
                    "{}",
                    row.word
                ),
                Needs::Server | Needs::Machine => {
                    assert_eq!(row.changes(), !row.api.is_empty(), "{}", row.word);
                }
            }
        }
    }

    #[test]
    fn docs_are_one_line_each() {
        for row in actions() {
            assert!(
                !row.doc.is_empty() && row.doc.len() <= 200 && !row.doc.contains('\n'),
                "{}",
                row.word
            );
        }
        for argument in arguments() {
            assert!(
                !argument.doc.is_empty() && !argument.doc.contains('\n'),
                "{}",
                argument.name
            );
        }
    }

    #[test]
    fn c1_the_fixed_parameters_are_there_with_their_defaults() {
        for name in [
            "host",
            "user",
            "password",
            "port",
            "verify_ssl",
            "vm_uuid",
            "vm_name",
            "snapshot_name",
            "credential_profile",
        ] {
            assert!(arguments().any(|argument| argument.name == name), "{name}");
        }
        let port = Argument::find("port").expect("port is defined");
        assert!(matches!(
            port.kind,
            Kind::Whole {
                default: Some(443),
                ..
            }
        ));
        let verify = Argument::find("verify_ssl").expect("verify_ssl is defined");
        assert!(matches!(
            verify.kind,
            Kind::Flag {
                default: Some(false)
            }
        ));
    }
}
