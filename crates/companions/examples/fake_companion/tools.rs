//! What the fake lists.

use serde_json::{Value, json};

/// One tool, with the arguments that every one takes.
pub(crate) fn tool(name: &str, annotations: Value, properties: Value, required: &[&str]) -> Value {
    let mut all = json!({
        "fault": {"type": "string"},
        "fault_on": {"type": "string", "enum": ["do", "undo", "preview"]},
        "fault_attempts": {"type": "integer"},
        "barrier": {"type": "integer"},
    });
    if let (Some(all), Value::Object(properties)) = (all.as_object_mut(), properties) {
        all.extend(properties);
    }
    json!({
        "name": name,
        "description": format!("The fake's {name}.\u{202E}"),
        "inputSchema": {"type": "object", "properties": all, "required": required, "additionalProperties": false},
        "annotations": annotations,
    })
}

/// All of them.
pub(crate) fn tools() -> Vec<Value> {
    let name = json!({"name": {"type": "string"}});
    let text = json!({"text": {"type": "string"}});
    let read = json!({"readOnlyHint": true});
    let write = |idempotent: bool| json!({"readOnlyHint": false, "destructiveHint": false, "idempotentHint": idempotent, "openWorldHint": false});
    let row = |doc: &str,
               risk: &str,
               effect: &str,
               undo: &[&str],
               required: &[&str],
               preview: bool| {
        json!({"doc": doc, "risk": risk, "effect": effect, "undo": undo, "required": required,
               "arguments": ["name", "value", "preview", "fault", "fault_on", "fault_attempts"], "preview": preview})
    };
    let mut store = tool(
        "store",
        json!({"readOnlyHint": false, "destructiveHint": true, "idempotentHint": false, "openWorldHint": true}),
        json!({"action": {"type": "string", "enum": ["get", "set", "unset", "add", "send"]}, "name": {"type": "string"},
               "value": {}, "preview": {"type": "boolean"}}),
        &["action", "name"],
    );
    store["_meta"] = json!({"pilothouse/table": {"version": 1, "select": "action", "preview": "preview", "rows": {
        "get": row("Reads a value.", "read", "read", &[], &["name"], false),
        "set": row("Sets a value.", "write", "idempotent", &["set", "unset"], &["name", "value"], true),
        "unset": row("Removes a value.", "destructive", "idempotent", &["set"], &["name"], true),
        "add": row("Adds to a value.", "write", "once", &["add"], &["name", "value"], true),
        "send": row("Sends a message.", "write", "once", &[], &["name"], true),
    }}});
    vec![
        tool("peek", read.clone(), name.clone(), &["name"]),
        tool("note", write(true), text.clone(), &["text"]),
        tool("bump", write(false), json!({}), &[]),
        tool(
            "erase",
            json!({"destructiveHint": true, "idempotentHint": true}),
            name,
            &["name"],
        ),
        tool("plain", Value::Null, text, &["text"]),
        tool("env", read.clone(), json!({}), &[]),
        tool("grow", write(true), json!({}), &[]),
        tool(
            "strict",
            read,
            json!({"size": {"type": "integer", "minimum": 1, "maximum": 10}, "kind": {"type": "string", "enum": ["thin", "thick"]},
                   "label": {"anyOf": [{"type": "string", "maxLength": 8}, {"type": "null"}]}}),
            &["size"],
        ),
        store,
    ]
}
