//! Arguments that fit an action's schema, where it does not matter what they say.

use serde_json::{Map, Value, json};

/// A value for each argument that the action requires.
pub(crate) fn fitting(tool: &Value, row: &Value) -> Value {
    let mut arguments = Map::new();
    for name in row["required"].as_array().unwrap() {
        let name = name.as_str().unwrap();
        let schema = &tool["inputSchema"]["properties"][name];
        let value = match schema["type"].as_str().unwrap() {
            "integer" => schema["minimum"].clone(),
            "boolean" => json!(true),
            "array" => json!(["any"]),
            "object" => json!({ "name": "any" }),
            _ => schema["enum"].get(0).cloned().unwrap_or(json!("any")),
        };
        arguments.insert(name.to_owned(), value);
    }
    Value::Object(arguments)
}
