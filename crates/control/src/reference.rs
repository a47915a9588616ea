//! The reference of all actions and arguments, written from the action table.
//!
//! `vmware-control actions` prints it, and docs/actions.md is what it prints.

use std::fmt::Write as _;

use crate::table::{Action, Argument, Kind, Mode, Needs, actions, arguments};

/// What comes before the table of actions.
const HEAD: &str = "\
# The actions of `vmware_control`

Generated from the action table in `crates/control/src/table` by `cargo xtask tidy --write`;
`vmware-control actions` prints the same. How far each action is verified:
[vsphere-coverage.md](vsphere-coverage.md).

A call has `action` and the arguments of that action; one that the action does not take is refused.
`null` and the empty text count as not given.

- **Risk**: `read` changes nothing; `write` changes what can be put back; `destructive` may lose
  something: a running state, data, a configuration.
- **Effect**: what repeating a call does: `read` and `idempotent` nothing more, `once` something more
  each time.
- **Where**: `any` is a vCenter or an ESXi host of its own; `vcenter` is refused on a host of its own
  before anything is sent.
- **Connection**: the arguments `credential_profile`, `host`, `port`, `user`, `password`, `verify_ssl`
  and `timeout_s`. Give a profile, or host, user and password.
- **VM**: one of `vm_uuid` (preferred), `vm_name`, `vm_path` or `moref`; `instance_uuid` says in addition
  which machine it must be.
- **Preview**: with `preview: true` a change answers target, before, after and undo, and changes nothing.
- **Wait**: with `wait: false` a change that is a task answers with the task's id, and does not wait for
  its end.
- **Undo**: the actions that may be the inverse. Which of them it is, and with which values, the answer
  says; or that there is none, and why.
- **Probe**: what shows, after a lost answer, whether the change came about.
- **Methods**: the vSphere methods that change something or log in, beyond plain reading.

With `vmware-control mcp --read-only` only actions of risk `read` are offered.
";

/// The whole reference, as Markdown.
pub(crate) fn markdown() -> String {
    let mut text = String::from(HEAD);
    text.push_str("\n## All actions\n\n");
    text.push_str("| action | risk | effect | where | what it does |\n|---|---|---|---|---|\n");
    for row in actions() {
        let _ = writeln!(
            text,
            "| [`{0}`](#{0}) | {1} | {2} | {3} | {4} |",
            row.word,
            row.risk.word(),
            row.effect.word(),
            row.platform.word(),
            cell(row.doc)
        );
    }
    text.push_str("\n## Each action\n");
    for row in actions() {
        section(&mut text, row);
    }
    text.push_str("\n## Arguments\n\n");
    text.push_str("| argument | type | what it says |\n|---|---|---|\n");
    for argument in arguments() {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} |",
            argument.name,
            type_of(argument.kind),
            cell(argument.doc)
        );
    }
    text
}

/// What there is to say about one action.
fn section(text: &mut String, row: &Action) {
    // Writing into a text cannot fail.
    let _ = writeln!(text, "\n### `{}`\n\n{}.\n", row.word, row.doc);
    if !row.aliases.is_empty() {
        let _ = writeln!(text, "- Other spellings: {}.", words(row.aliases));
    }
    let _ = writeln!(
        text,
        "- Risk: {}. Effect: {}. Where: {}.",
        row.risk.word(),
        row.effect.word(),
        row.platform.word()
    );
    let _ = writeln!(text, "- Arguments: {}.", arguments_of(row));
    if row.changes() {
        let undo = if row.undo.is_empty() {
            "none".to_owned()
        } else {
            words(row.undo)
        };
        let _ = writeln!(text, "- Undo: {undo}. Probe: {}.", row.probe);
    }
    if !row.api.is_empty() {
        let _ = writeln!(text, "- Methods: {}.", words(row.api));
    }
}

/// The arguments of an action: those that come with what it needs by one word, the others by name.
fn arguments_of(row: &Action) -> String {
    let group = row.needs.arguments();
    let mut parts = Vec::new();
    match row.needs {
        Needs::Home => {}
        Needs::Server => parts.push("the connection".to_owned()),
        Needs::Machine => parts.extend(["the connection".to_owned(), "the VM".to_owned()]),
    }
    let (required, free): (Vec<&Argument>, Vec<&Argument>) = Mode::Full
        .arguments()
        .filter(|argument| row.takes(argument.name))
        .filter(|argument| !group.contains(&argument.name) || row.required.contains(&argument.name))
        .partition(|argument| row.required.contains(&argument.name));
    parts.extend(
        required
            .iter()
            .map(|argument| format!("`{}` (required)", argument.name)),
    );
    parts.extend(free.iter().map(|argument| format!("`{}`", argument.name)));
    if parts.is_empty() {
        return "none".to_owned();
    }
    parts.join(", ")
}

/// A type, in words.
fn type_of(kind: Kind) -> String {
    let with_default = |text: String, default: Option<String>| match default {
        Some(default) => format!("{text}; `{default}` if not given"),
        None => text,
    };
    match kind {
        Kind::Text { longest } => format!("text of at most {longest} characters"),
        Kind::Secret { longest } => {
            format!("text of at most {longest} characters, never shown again")
        }
        Kind::Whole {
            least,
            most,
            default,
        } => with_default(
            format!("whole number from {least} to {most}"),
            default.map(|number| number.to_string()),
        ),
        Kind::Flag { default } => with_default(
            "`true` or `false`".to_owned(),
            default.map(|flag| flag.to_string()),
        ),
        Kind::Fields => "object of scalars".to_owned(),
        Kind::Word { allowed, default } => with_default(
            format!("one of {}", words(allowed)),
            default.map(str::to_owned),
        ),
        Kind::Texts { most, longest } => {
            format!("list of at most {most} texts of at most {longest} characters")
        }
    }
}

/// Words as code, with commas between them.
fn words(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Text as it stands in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_a_section_that_names_all_its_arguments() {
        let text = markdown();
        for row in actions() {
            let heading = format!("\n### `{}`\n", row.word);
            let (_, rest) = text
                .split_once(&heading)
                .unwrap_or_else(|| panic!("{} has no section", row.word));
            let section = rest.split("\n#").next().unwrap_or_default();
            for argument in row.arguments() {
                let named = section.contains(&format!("`{}`", argument.name))
                    || row.needs.arguments().contains(&argument.name);
                assert!(named, "{}: {}", row.word, argument.name);
            }
            for name in row.required {
                let required = format!("`{name}` (required)");
                assert!(section.contains(&required), "{}: {name}", row.word);
            }
        }
        for argument in arguments() {
            let line = format!("\n| `{}` | ", argument.name);
            assert_eq!(text.matches(&line).count(), 1, "{}", argument.name);
        }
    }
}
