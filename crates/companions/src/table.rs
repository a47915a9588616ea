//! The table that a companion publishes of a tool with many actions: `pilothouse/table` in the
//! tool's `_meta`, version 1.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use workflow::model::{Effect, Risk};

/// Where the table stands in `_meta`.
pub(crate) const KEY: &str = "pilothouse/table";

/// More rows than any tool has.
const ROWS: usize = 1_000;

/// What is said of each action of a tool.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// The argument that selects the action.
    pub(crate) select: String,
    /// The boolean argument that turns a change into a preview of itself.
    pub(crate) preview: Option<String>,
    /// By action.
    pub(crate) rows: BTreeMap<String, Row>,
}

/// What is said of one action.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) doc: String,
    pub(crate) risk: Risk,
    pub(crate) effect: Effect,
    pub(crate) undo: Vec<String>,
    pub(crate) required: Vec<String>,
    pub(crate) arguments: Vec<String>,
    pub(crate) preview: bool,
    /// As it was published, for the digest.
    pub(crate) raw: Value,
}

#[derive(Deserialize)]
struct RawTable {
    version: u64,
    select: String,
    #[serde(default)]
    preview: Option<String>,
    rows: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct RawRow {
    #[serde(default)]
    doc: String,
    // Not `workflow`'s own `Risk`: a table that says "unknown" says nothing.
    risk: RawRisk,
    effect: Effect,
    #[serde(default)]
    undo: Vec<String>,
    #[serde(default)]
    required: Vec<String>,
    #[serde(default)]
    arguments: Vec<String>,
    #[serde(default)]
    preview: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawRisk {
    Read,
    Write,
    Destructive,
}

impl Table {
    /// Reads a table. Fields that are not known are passed over; a table that is wrong in any
    /// row is not believed in the others either.
    ///
    /// # Errors
    /// What is wrong with it, in a few words without any of its text but names of actions.
    pub(crate) fn read(value: &Value) -> Result<Self, String> {
        let raw = RawTable::deserialize(value)
            .map_err(|_| "it does not have the fields of a table".to_owned())?;
        if raw.version != 1 {
            return Err(format!(
                "its version is {}, and only 1 is known",
                raw.version
            ));
        }
        if raw.select.is_empty() || raw.preview.as_ref().is_some_and(String::is_empty) {
            return Err("the name of an argument is empty".to_owned());
        }
        if raw.rows.is_empty() || raw.rows.len() > ROWS {
            return Err(format!("it has {} rows", raw.rows.len()));
        }
        let mut rows = BTreeMap::new();
        for (action, value) in raw.rows {
            if !is_plain(&action) {
                return Err("an action has a name that is empty, too long or not plain".to_owned());
            }
            let row = Row::read(&value).map_err(|why| format!("in the row `{action}`, {why}"))?;
            if row.preview && raw.preview.is_none() {
                return Err(format!(
                    "the row `{action}` has a preview, and the table names no argument for it"
                ));
            }
            rows.insert(action, row);
        }
        let unknown = rows
            .values()
            .flat_map(|row| &row.undo)
            .find(|undo| !rows.contains_key(*undo));
        if unknown.is_some() {
            return Err("an inverse is no action of the table".to_owned());
        }
        Ok(Self {
            select: raw.select,
            preview: raw.preview,
            rows,
        })
    }

    /// The names of all actions.
    pub(crate) fn actions(&self) -> impl Iterator<Item = &str> {
        self.rows.keys().map(String::as_str)
    }
}

impl Row {
    fn read(value: &Value) -> Result<Self, &'static str> {
        let raw =
            RawRow::deserialize(value).map_err(|_| "a field is missing or of another type")?;
        let risk = match raw.risk {
            RawRisk::Read => Risk::Read,
            RawRisk::Write => Risk::Write,
            RawRisk::Destructive => Risk::Destructive,
        };
        // A read that changes, or a change that only reads: one of the two is wrong.
        if (risk == Risk::Read) != (raw.effect == Effect::Read) {
            return Err("risk and effect contradict each other");
        }
        Ok(Self {
            doc: raw.doc,
            risk,
            effect: raw.effect,
            undo: raw.undo,
            required: raw.required,
            arguments: raw.arguments,
            preview: raw.preview,
            raw: value.clone(),
        })
    }
}

/// A name that is used as it stands: it is shown, compared and sent.
pub(crate) fn is_plain(name: &str) -> bool {
    (1..=128).contains(&name.len()) && guard::text::is_clean(name)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use serde_json::json;

    use super::*;

    fn table() -> Value {
        json!({"version": 1, "select": "action", "preview": "preview", "later": 1, "rows": {
            "get": {"risk": "read", "effect": "read"},
            "set": {"doc": "Sets it.", "risk": "write", "effect": "idempotent", "undo": ["set"],
                    "required": ["name"], "arguments": ["name", "value"], "preview": true}}})
    }

    #[test]
    fn a_table_is_read() {
        let table = Table::read(&table()).unwrap();
        assert_eq!(
            (table.select.as_str(), table.preview.as_deref()),
            ("action", Some("preview"))
        );
        let set = &table.rows["set"];
        assert_eq!(
            (set.risk, set.effect, set.preview),
            (Risk::Write, Effect::Idempotent, true)
        );
        assert_eq!(set.required, ["name"]);
    }

    #[test]
    fn p4_a_table_that_is_wrong_anywhere_is_not_believed_at_all() {
        let set = |pointer: &str, value: Value| {
            let mut table = table();
            *table.pointer_mut(pointer).unwrap() = value;
            table
        };
        for bad in [
            set("/version", json!(2)),
            set("/select", json!("")),
            set("/select", json!(5)),
            set("/rows", json!({})),
            set("/rows", json!([])),
            set("/rows/get/risk", json!("unknown")),
            set("/rows/get/risk", json!("write")),
            set("/rows/get/effect", json!("once")),
            set("/rows/set/effect", json!("read")),
            set("/rows/set/undo", json!(["unset"])),
            set("/rows/set/undo", json!("set")),
            set("/preview", Value::Null),
            json!(null),
        ] {
            assert!(Table::read(&bad).is_err(), "{bad}");
        }
        let mut table = table();
        table["rows"]["a\u{202E}b"] = json!({"risk": "read", "effect": "read"});
        assert!(Table::read(&table).is_err());
    }
}
