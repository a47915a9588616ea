//! One tool of a companion: what it may do, and what it is as a digest.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use guard::digest::{Digest, digest};
use serde_json::{Map, Value, json};
use workflow::model::{Effect, Facts, Risk};

use crate::scrub::Scrub;
use crate::table::{KEY, Table, is_plain};

/// A schema larger than this is not used, in bytes.
const SCHEMA_BYTES: usize = 512 * 1024;

/// Words in the name of a tool or an action that make it at least destructive, whatever its
/// annotations say.
const DESTRUCTIVE: &[&str] = &[
    "delete",
    "destroy",
    "remove",
    "revert",
    "reset",
    "poweroff",
    "shutdown",
    "migrate",
    "format",
    "wipe",
    "purge",
    "kill",
    "terminate",
    "drop",
    "force",
];

/// Arguments in which tools without a table tend to take an action.
const ACTION_ARGUMENTS: &[&str] = &["action", "operation", "op", "method", "command"];

/// All tools of a companion, as they were read.
#[derive(Debug, Default)]
pub(crate) struct Tools {
    pub(crate) by_name: BTreeMap<String, Tool>,
    /// What is odd about them.
    pub(crate) findings: Vec<String>,
}

/// One tool.
#[derive(Debug)]
pub(crate) struct Tool {
    /// As it is sent.
    pub(crate) name: String,
    /// Sanitised.
    pub(crate) description: String,
    pub(crate) schema: Arc<Value>,
    /// Of the schema alone.
    pub(crate) schema_digest: Digest,
    pub(crate) table: Option<Table>,
    annotations: Value,
    /// What it is as a digest, once that was asked for: without an action, and by the action. A
    /// list that is read again makes new tools, so none can be of an earlier one.
    whole: OnceLock<Digest>,
    by_action: BTreeMap<String, OnceLock<Digest>>,
}

/// What the catalog says of one action of a tool, or of a tool without actions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Nature {
    pub(crate) risk: Risk,
    pub(crate) effect: Effect,
}

impl Tools {
    /// Reads what `tools/list` gave. A tool that cannot be used is left out, and said.
    pub(crate) fn read(raw: Vec<Value>, mut findings: Vec<String>, scrub: &Scrub) -> Self {
        let mut by_name = BTreeMap::new();
        for value in raw {
            let Some(name) = value
                .get("name")
                .and_then(Value::as_str)
                .filter(|name| is_plain(name))
            else {
                findings.push(
                    "A tool has no name, or one that is not plain, and is left out".to_owned(),
                );
                continue;
            };
            if by_name.contains_key(name) {
                findings.push(format!(
                    "The tool `{}` is there twice; the first one counts",
                    scrub.text_to(name, 128)
                ));
                continue;
            }
            let tool = Tool::read(name, &value, &mut findings, scrub);
            by_name.insert(name.to_owned(), tool);
        }
        findings.truncate(50);
        Self { by_name, findings }
    }
}

impl Tool {
    fn read(name: &str, value: &Value, findings: &mut Vec<String>, scrub: &Scrub) -> Self {
        let shown = scrub.text_to(name, 128);
        let description = value
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let mut schema = value.get("inputSchema").cloned().unwrap_or(Value::Null);
        if !schema.is_object() {
            findings.push(format!(
                "The tool `{shown}` has no `inputSchema`: it is offered nothing but no arguments"
            ));
            schema = json!({"type": "object", "additionalProperties": false});
        } else if schema.to_string().len() > SCHEMA_BYTES {
            findings.push(format!(
                "The `inputSchema` of the tool `{shown}` is too large to be used"
            ));
            // Nothing fits, so nothing is sent.
            schema = Value::Bool(false);
        }
        let table = value.get("_meta").and_then(|meta| meta.get(KEY)).and_then(|raw| match Table::read(raw) {
            Ok(table) => Some(table),
            Err(why) => {
                findings.push(format!(
                    "The table of the tool `{shown}` is not used, and the tool is judged by its annotations: {}",
                    scrub.text_to(&why, 300)
                ));
                None
            }
        });
        let actions = table.iter().flat_map(|table| table.rows.keys().cloned());
        Self {
            whole: OnceLock::new(),
            by_action: actions.map(|action| (action, OnceLock::new())).collect(),
            name: name.to_owned(),
            description: scrub.text_to(description, 300),
            // Once here, since a schema can be long and a workflow can have many steps.
            schema_digest: digest("pilothouse/schema/1", &schema),
            schema: Arc::new(schema),
            table,
            annotations: value.get("annotations").cloned().unwrap_or(Value::Null),
        }
    }

    /// The tool as a digest: its name, schema and annotations, and the row of the action. Worked
    /// out once, since every step asks for it several times.
    pub(crate) fn digest(&self, action: Option<&str>) -> Digest {
        let known = action.and_then(|action| self.by_action.get_key_value(action));
        match known {
            Some((action, known)) => *known.get_or_init(|| self.work_out(Some(action))),
            None => *self.whole.get_or_init(|| self.work_out(None)),
        }
    }

    fn work_out(&self, action: Option<&str>) -> Digest {
        let row = self.table.as_ref().zip(action).and_then(|(table, action)| {
            let row = table.rows.get(action)?;
            Some(json!({"select": table.select, "preview": table.preview, "row": row.raw}))
        });
        digest(
            "pilothouse/tool/1",
            &json!({"name": self.name, "inputSchema": self.schema_digest, "annotations": self.annotations, "row": row}),
        )
    }

    /// What a call of this tool may do by its annotations and its name. For tools without a table.
    ///
    /// The annotations are those of MCP (schema `ToolAnnotations`), whose defaults are the
    /// cautious ones: not read-only, destructive, not idempotent.
    pub(crate) fn nature(&self, arguments: &Map<String, Value>) -> Nature {
        let hint = |name: &str| self.annotations.get(name).and_then(Value::as_bool);
        let risk = if hint("readOnlyHint") == Some(true) {
            Risk::Read
        } else if hint("destructiveHint") == Some(false) {
            Risk::Write
        } else {
            Risk::Destructive
        };
        let mut names = ACTION_ARGUMENTS
            .iter()
            .filter_map(|key| arguments.get(*key)?.as_str());
        // A name can only raise a risk: who publishes `readOnlyHint` for `delete_vm` errs in one of the two.
        let raised = sounds_destructive(&self.name) || names.any(sounds_destructive);
        let risk = if raised {
            risk.max(Risk::Destructive)
        } else {
            risk
        };
        let effect = match risk {
            Risk::Read => Effect::Read,
            Risk::Write | Risk::Destructive | Risk::Unknown
                if hint("idempotentHint") == Some(true) =>
            {
                Effect::Idempotent
            }
            Risk::Write | Risk::Destructive | Risk::Unknown => Effect::Once,
        };
        Nature { risk, effect }
    }

    /// The names of its arguments by its schema.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let properties = self.schema.get("properties").and_then(Value::as_object);
        properties
            .into_iter()
            .flat_map(Map::keys)
            .cloned()
            .collect()
    }

    /// Those that must be there.
    pub(crate) fn required(&self) -> Vec<String> {
        let required = self.schema.get("required").and_then(Value::as_array);
        required
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    }

    /// The facts of a call of this tool: `action` is a row of its table, if it has one.
    pub(crate) fn facts(
        &self,
        fingerprint: Digest,
        action: Option<&str>,
        arguments: &Map<String, Value>,
    ) -> Facts {
        let row = action
            .zip(self.table.as_ref())
            .and_then(|(action, table)| table.rows.get(action));
        let tool = self.digest(action);
        match (row, &self.table) {
            (Some(row), Some(table)) => {
                let preview = table.preview.as_ref().filter(|_| row.preview);
                // The preview of a change is a read, as its companion's table declares.
                let asked =
                    preview.is_some_and(|name| arguments.get(name) == Some(&Value::Bool(true)));
                Facts {
                    fingerprint,
                    tool,
                    action: action.map(str::to_owned),
                    risk: if asked { Risk::Read } else { row.risk },
                    effect: if asked { Effect::Read } else { row.effect },
                    preview: preview.cloned(),
                    select: Some(table.select.clone()),
                    inverses: row.undo.clone(),
                }
            }
            _ => {
                let Nature { risk, effect } = self.nature(arguments);
                Facts {
                    fingerprint,
                    tool,
                    action: None,
                    risk,
                    effect,
                    preview: None,
                    select: None,
                    inverses: Vec::new(),
                }
            }
        }
    }
}

/// Whether a name has a word in it that speaks of destruction.
fn sounds_destructive(name: &str) -> bool {
    let words = words(name);
    let pairs = words.windows(2).map(|pair| pair.concat());
    words.iter().cloned().chain(pairs).any(|word| {
        let stem = word.strip_suffix('s').unwrap_or(&word);
        DESTRUCTIVE.iter().any(|known| {
            // Long ones also within a word (`deletevm`); short ones would be found in `information`.
            word == *known
                || stem == *known
                || (known.len() >= 6 && *known != "format" && word.contains(known))
        })
    })
}

/// `powerOff-VM2` → `power`, `off`, `vm2`.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut open = false;
    let mut lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() {
            open = false;
        } else {
            if !open || (c.is_uppercase() && lower) {
                words.push(String::new());
            }
            open = true;
            if let Some(word) = words.last_mut() {
                word.extend(c.to_lowercase());
            }
        }
        lower = c.is_lowercase() || c.is_ascii_digit();
    }
    words
}

#[cfg(test)]
#[path = "tool_tests.rs"]
mod tests;
