//! What the fake does when a tool is called.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};

use serde_json::{Map, Value, json};

use crate::{failure, faults, structured, var};

/// One call of a tool.
pub(crate) struct Call {
    pub(crate) tool: String,
    pub(crate) arguments: Map<String, Value>,
    meta: Value,
    /// The fault that the rules put here, which are told beside the arguments.
    put: Option<String>,
}

impl Call {
    pub(crate) fn new(params: &Value) -> Self {
        let mut call = Self {
            tool: params["name"].as_str().unwrap_or_default().to_owned(),
            arguments: params["arguments"].as_object().cloned().unwrap_or_default(),
            meta: params["_meta"].clone(),
            put: None,
        };
        call.put = faults::put(call.key(), call.is_preview());
        call
    }

    fn text(&self, name: &str) -> &str {
        self.arguments
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    fn key(&self) -> &str {
        self.meta["pilothouse/key"].as_str().unwrap_or_default()
    }

    fn is_preview(&self) -> bool {
        self.arguments.get("preview") == Some(&json!(true))
    }

    pub(crate) fn fault(&self) -> Option<&str> {
        if self.put.is_some() {
            return self.put.as_deref();
        }
        let fault = self.arguments.get("fault")?.as_str()?;
        let on = if self.is_preview() {
            "preview"
        } else if self.key().contains("/undo/") {
            "undo"
        } else {
            "do"
        };
        let wanted = self
            .arguments
            .get("fault_on")
            .and_then(Value::as_str)
            .unwrap_or("do");
        let attempts = self
            .arguments
            .get("fault_attempts")
            .and_then(Value::as_u64)
            .unwrap_or(u64::MAX);
        let attempt = self.meta["pilothouse/attempt"].as_u64().unwrap_or(1);
        (on == wanted && attempt <= attempts).then_some(fault)
    }

    /// The same call with half of its value: half of a number, the first half of a text.
    pub(crate) fn halved(&self) -> Self {
        let mut arguments = self.arguments.clone();
        if let Some(value) = arguments.get_mut("value") {
            let half = match &*value {
                Value::String(text) => json!(text.get(..text.len() / 2)),
                Value::Number(number) => json!(number.as_i64().unwrap_or_default() / 2),
                other => other.clone(),
            };
            *value = half;
        }
        Self {
            tool: self.tool.clone(),
            arguments,
            meta: self.meta.clone(),
            put: self.put.clone(),
        }
    }

    pub(crate) fn perform(&self) -> Value {
        match self.tool.as_str() {
            "peek" => structured(
                json!({"name": self.text("name"), "value": store(|values| values.get(self.text("name")).cloned())}),
            ),
            "note" | "plain" => {
                if !ledger_has(&self.tool, self.key()) {
                    self.record("", self.arguments.get("text"));
                }
                structured(json!({"changed": true, "text": self.text("text")}))
            }
            "bump" => {
                self.record("", None);
                structured(json!({"changed": true}))
            }
            "erase" => {
                let old = store(|values| values.remove(self.text("name")));
                if old.is_some() {
                    self.record("", old.as_ref());
                }
                structured(json!({"changed": old.is_some()}))
            }
            "env" => {
                let mut names: Vec<String> = std::env::vars_os()
                    .map(|(name, _)| name.to_string_lossy().into_owned())
                    .collect();
                names.sort();
                structured(json!({"names": names, "pid": std::process::id()}))
            }
            "grow" => structured(json!({"changed": true})),
            "strict" | "grown" => structured(json!({"arguments": self.arguments})),
            "store" => self.store(),
            _ => failure(json!({"error": "no such tool", "code": "fake.tool", "effect": "none"})),
        }
    }

    /// The tool with a table.
    fn store(&self) -> Value {
        let (action, name) = (self.text("action"), self.text("name"));
        let given = self.arguments.get("value").cloned();
        let (before, incarnation) = store(|values| {
            (
                values.get(name).cloned(),
                values.get(&format!("{name}#")).cloned().unwrap_or(json!(0)),
            )
        });
        let target =
            json!({"server": "fake", "type": "Value", "name": name, "incarnation": incarnation});
        let here = before.is_some();
        let was = before.clone().unwrap_or(Value::Null);
        if action == "get" {
            return structured(
                json!({"action": action, "name": name, "value": was, "exists": here, "target": target}),
            );
        }
        let number = |value: &Value| value.as_i64().unwrap_or_default();
        let (after, undo, kind, note) = match action {
            "set" => {
                let undo = if here {
                    json!({"action": "set", "name": name, "value": was})
                } else {
                    json!({"action": "unset", "name": name})
                };
                (given.clone(), undo, "exact", "")
            }
            "unset" => (
                None,
                if here {
                    json!({"action": "set", "name": name, "value": was})
                } else {
                    Value::Null
                },
                "exact",
                "",
            ),
            "add" => {
                let by = number(&given.clone().unwrap_or_default());
                (
                    Some(json!(number(&was) + by)),
                    json!({"action": "add", "name": name, "value": -by}),
                    "conditional",
                    "as long as nobody else sets it",
                )
            }
            "send" => (
                before.clone(),
                Value::Null,
                "none",
                "a message that was sent cannot be taken back",
            ),
            _ => {
                return failure(
                    json!({"error": "Pass an action that is there", "code": "action.unknown", "effect": "none"}),
                );
            }
        };
        if action == "unset" && !here && self.is_preview() {
            return failure(
                json!({"error": "Pass another name: there is no such value", "code": "value.not_found", "effect": "none"}),
            );
        }
        let changed = action == "send" || after != before;
        let undo = if changed { undo } else { Value::Null };
        let kind = if undo.is_null() { "none" } else { kind };
        let values = |value: &Option<Value>| json!({"value": value.clone().unwrap_or(Value::Null), "exists": value.is_some()});
        if self.is_preview() {
            let verify = (action != "send").then(|| {
                let check = |value: &Option<Value>| json!({"/value": value.clone().unwrap_or(Value::Null), "/exists": value.is_some()});
                json!({"arguments": {"action": "get", "name": name}, "before": check(&before), "after": check(&after)})
            });
            return structured(json!({
                "preview": true, "action": action, "changed": changed, "target": target,
                "before": values(&before), "after": values(&after),
                "undo": undo, "undo_kind": kind, "undo_note": note, "verify": verify, "warnings": [],
            }));
        }
        if self
            .meta
            .get("pilothouse/target")
            .is_some_and(|expected| *expected != target)
        {
            return failure(
                json!({"error": "Review it again: it is not the value that was prepared", "code": "target.changed", "effect": "none"}),
            );
        }
        if changed {
            store(|values| match &after {
                Some(value) => values.insert(name.to_owned(), value.clone()),
                None => values.remove(name),
            });
            self.record(action, after.as_ref());
        }
        structured(json!({
            "action": action, "changed": changed, "target": target, "before": values(&before), "after": values(&after),
            "undo": undo, "undo_kind": kind, "undo_note": note,
        }))
    }

    /// One line in the ledger: this was really done.
    fn record(&self, action: &str, value: Option<&Value>) {
        let Some(path) = var("FAKE_LEDGER") else {
            return;
        };
        let line = json!({
            "tool": self.tool, "action": action, "key": self.key(), "attempt": self.meta["pilothouse/attempt"],
            "name": self.text("name"), "value": value, "pid": std::process::id(),
        });
        if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path) {
            // One write, so that lines of several processes do not mix; on the disk before the answer.
            let _ = file.write_all(format!("{line}\n").as_bytes());
            let _ = file.sync_all();
        }
    }
}

fn ledger_has(tool: &str, key: &str) -> bool {
    let text = var("FAKE_LEDGER")
        .and_then(|path| std::fs::read_to_string(path).ok())
        .unwrap_or_default();
    !key.is_empty()
        && text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .any(|line| line["tool"] == tool && line["key"] == key)
}

/// Works on the stored values under a lock, since several processes may share them.
fn store<T>(work: impl FnOnce(&mut Map<String, Value>) -> T) -> T {
    let open = |path: String| -> io::Result<File> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        file.lock()?;
        Ok(file)
    };
    let Some(mut file) = var("FAKE_STORE").and_then(|path| open(path).ok()) else {
        return work(&mut Map::new());
    };
    let mut text = String::new();
    let _ = file.read_to_string(&mut text);
    let mut values: Map<String, Value> = serde_json::from_str(&text).unwrap_or_default();
    let before = values.clone();
    let out = work(&mut values);
    if values != before {
        // Over the old text and in one write, so that being killed in the midst leaves one of both.
        let whole = format!("{:1$}", Value::Object(values).to_string(), text.len());
        let _ = file.rewind();
        let _ = file.write_all(whole.as_bytes());
        let _ = file.sync_all();
    }
    out
}
