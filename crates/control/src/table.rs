//! The action table: what `vmware_control` can do, in one place.
//!
//! One row for each action holds its name, its documentation, its arguments, its
//! risk, its effect and its inverses. Everything that speaks about actions derives
//! from it: the tool's input schema and description, the table that it publishes in
//! `_meta`, the checks of a call's arguments, and the names suggested for a
//! misspelt one. The laws over the whole table are at the end of this file.

mod argument;
mod connection;
mod credential;
mod machine;
mod power;
mod snapshot;

pub(crate) use argument::{ARGUMENTS, Argument, Kind};

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

/// Every action, in the order in which it is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    About,
    ListVms,
    GetVm,
    ListHosts,
    ListDatastores,
    ListSessions,
    SnapshotList,
    PowerOn,
    PowerOff,
    Reset,
    Suspend,
    ShutdownGuest,
    SnapshotCreate,
    SnapshotRevert,
    SnapshotDelete,
    Reconfigure,
    Delete,
    CredentialSave,
    CredentialList,
    CredentialCheck,
    CredentialDelete,
}

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Action {
    /// Which action this is.
    pub(crate) name: Name,
    /// Its name on the wire.
    pub(crate) word: &'static str,
    /// One line for whoever chooses among the actions.
    pub(crate) doc: &'static str,
    pub(crate) risk: Risk,
    pub(crate) effect: Effect,
    pub(crate) needs: Needs,
    /// Arguments without which the action cannot begin, beyond what `needs` says.
    pub(crate) required: &'static [&'static str],
    /// Arguments of its own, beyond those that come with `needs`.
    pub(crate) own: &'static [&'static str],
    /// The actions of this table that may be its inverse; which of them, and with
    /// which values, the action itself says in its answer.
    pub(crate) undo: &'static [&'static str],
    /// Whether it takes `preview: true`.
    pub(crate) preview: bool,
    /// The vSphere methods that change something or log in, beyond plain reading.
    pub(crate) api: &'static [&'static str],
}

/// The table.
pub(crate) const ACTIONS: &[&Action] = &[
    &connection::ABOUT,
    &machine::LIST_VMS,
    &machine::GET_VM,
    &connection::LIST_HOSTS,
    &connection::LIST_DATASTORES,
    &connection::LIST_SESSIONS,
    &snapshot::LIST,
    &power::POWER_ON,
    &power::POWER_OFF,
    &power::RESET,
    &power::SUSPEND,
    &power::SHUTDOWN_GUEST,
    &snapshot::CREATE,
    &snapshot::REVERT,
    &snapshot::DELETE,
    &machine::RECONFIGURE,
    &machine::DELETE,
    &credential::SAVE,
    &credential::LIST,
    &credential::CHECK,
    &credential::DELETE,
];

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

impl Needs {
    /// The arguments that come with it.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Needs::Home => &[],
            Needs::Server => argument::CONNECTION,
            Needs::Machine => argument::MACHINE,
        }
    }
}

impl Action {
    /// The row named `word`.
    pub(crate) fn find(word: &str) -> Option<&'static Action> {
        ACTIONS.iter().copied().find(|row| row.word == word)
    }

    /// Every argument that the action takes, `action` itself left out, in the order
    /// in which arguments are published.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &'static Argument> + '_ {
        ARGUMENTS
            .iter()
            .filter(|argument| self.takes(argument.name))
    }

    /// Whether the action takes an argument of this name.
    pub(crate) fn takes(&self, name: &str) -> bool {
        (name == "preview" && self.preview)
            || self.needs.arguments().contains(&name)
            || self.own.contains(&name)
            || self.required.contains(&name)
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
        let words: BTreeSet<_> = ACTIONS.iter().map(|row| row.word).collect();
        assert_eq!(words.len(), ACTIONS.len());
        for word in words {
            assert!(
                word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{word}"
            );
        }
    }

    #[test]
    fn no_two_rows_are_the_same_action() {
        let names: std::collections::HashSet<_> = ACTIONS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ACTIONS.len());
    }

    #[test]
    fn every_undo_is_an_action_that_changes_something() {
        for row in ACTIONS {
            for undo in row.undo {
                let inverse = Action::find(undo).unwrap_or_else(|| panic!("{}: {undo}", row.word));
                assert!(inverse.changes(), "{}: {undo}", row.word);
            }
        }
    }

    #[test]
    fn a_read_has_no_undo_no_preview_and_effect_read() {
        for row in ACTIONS.iter().filter(|row| row.risk == Risk::Read) {
            assert_eq!(row.effect, Effect::Read, "{}", row.word);
            assert!(row.undo.is_empty() && !row.preview, "{}", row.word);
        }
    }

    #[test]
    fn every_change_takes_preview_and_is_not_effect_read() {
        for row in ACTIONS.iter().filter(|row| row.changes()) {
            assert!(row.preview && row.takes("preview"), "{}", row.word);
            assert_ne!(row.effect, Effect::Read, "{}", row.word);
        }
    }

    #[test]
    fn every_argument_of_an_action_is_defined_once_and_every_definition_is_used() {
        let defined: Vec<_> = ARGUMENTS.iter().map(|argument| argument.name).collect();
        let unique: BTreeSet<_> = defined.iter().collect();
        assert_eq!(unique.len(), defined.len());
        for row in ACTIONS {
            for name in row.own.iter().chain(row.required) {
                assert!(defined.contains(name), "{}: {name}", row.word);
            }
        }
        for name in defined {
            assert!(
                ACTIONS.iter().any(|row| row.takes(name)),
                "{name} is taken by no action"
            );
        }
    }

    #[test]
    fn required_arguments_are_among_those_taken() {
        for row in ACTIONS {
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
        for row in ACTIONS {
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
        for row in ACTIONS {
            assert!(
                !row.doc.is_empty() && row.doc.len() <= 200 && !row.doc.contains('\n'),
                "{}",
                row.word
            );
        }
        for argument in ARGUMENTS {
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
            assert!(
                ARGUMENTS.iter().any(|argument| argument.name == name),
                "{name}"
            );
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
