//! What the tool publishes of itself, all of it derived from the action table.

use serde_json::{Map, Value, json};

use crate::table::{Action, Argument, Kind, Mode, Risk};

/// The name of the one tool.
pub(crate) const TOOL: &str = "vmware_control";

/// The key in the tool's `_meta` under which the per-action table is published.
pub(crate) const TABLE_KEY: &str = "pilothouse/table";

/// The tool's description: what every action has in common, then a line for each.
pub(crate) fn description(mode: Mode) -> String {
    let mut text = String::from(
        "Performs one action on a vCenter or ESXi host through the vSphere API; keeps no session.\n\
         Connection: credential_profile, or host, user and password. \
         VM: vm_uuid (preferred), vm_name, or moref. ",
    );
    text.push_str(match mode {
        Mode::Full => {
            "A change takes preview: true, and answers with before, after and undo: the call of this tool that reverses it.\n\
             Actions (* changes something, ! may lose something):"
        }
        Mode::ReadOnly => "Started read-only: nothing can be changed.\nActions:",
    });
    for row in mode.actions() {
        text.push_str("\n- ");
        text.push_str(row.word);
        text.push_str(match row.risk {
            Risk::Read => "",
            Risk::Write => "*",
            Risk::Destructive => "!",
        });
        text.push_str(": ");
        text.push_str(row.doc);
        if !row.required.is_empty() {
            text.push_str(" (needs ");
            text.push_str(&row.required.join(", "));
            text.push(')');
        }
    }
    text
}

/// The tool's input schema. Plain: no combinators at the top, `action` a string enum.
pub(crate) fn input_schema(mode: Mode) -> Map<String, Value> {
    let mut properties = Map::new();
    properties.insert(
        "action".to_owned(),
        json!({
            "type": "string",
            "enum": mode.actions().map(|row| row.word).collect::<Vec<_>>(),
            "description": "What to do",
        }),
    );
    for argument in mode.arguments() {
        properties.insert(argument.name.to_owned(), property(argument));
    }
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Value::Object(properties));
    schema.insert("required".to_owned(), json!(["action"]));
    schema.insert("additionalProperties".to_owned(), json!(false));
    schema
}

/// The tool's output schema: what an answer and a failure have in common.
pub(crate) fn output_schema() -> Map<String, Value> {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema
}

/// The per-action table, as published in the tool's `_meta`.
pub(crate) fn published_table(mode: Mode) -> Value {
    let rows: Map<String, Value> = mode
        .actions()
        .map(|row| (row.word.to_owned(), published_row(row)))
        .collect();
    json!({ "version": 1, "select": "action", "preview": "preview", "rows": rows })
}

fn published_row(row: &Action) -> Value {
    json!({
        "doc": row.doc,
        "risk": row.risk.word(),
        "effect": row.effect.word(),
        "undo": row.undo,
        "probe": row.probe,
        "platform": row.platform.word(),
        "required": row.required,
        "arguments": row.arguments().map(|argument| argument.name).collect::<Vec<_>>(),
        "preview": row.preview,
    })
}

fn property(argument: &Argument) -> Value {
    let mut property = Map::new();
    match argument.kind {
        Kind::Text { longest } | Kind::Secret { longest } => {
            property.insert("type".to_owned(), json!("string"));
            property.insert("maxLength".to_owned(), json!(longest));
        }
        Kind::Whole {
            least,
            most,
            default,
        } => {
            property.insert("type".to_owned(), json!("integer"));
            property.insert("minimum".to_owned(), json!(least));
            property.insert("maximum".to_owned(), json!(most));
            if let Some(default) = default {
                property.insert("default".to_owned(), json!(default));
            }
        }
        Kind::Flag { default } => {
            property.insert("type".to_owned(), json!("boolean"));
            if let Some(default) = default {
                property.insert("default".to_owned(), json!(default));
            }
        }
        Kind::Fields => {
            property.insert("type".to_owned(), json!("object"));
        }
        Kind::Word { allowed, default } => {
            property.insert("type".to_owned(), json!("string"));
            property.insert("enum".to_owned(), json!(allowed));
            if let Some(default) = default {
                property.insert("default".to_owned(), json!(default));
            }
        }
        Kind::Texts { most, longest } => {
            property.insert("type".to_owned(), json!("array"));
            property.insert(
                "items".to_owned(),
                json!({ "type": "string", "minLength": 1, "maxLength": longest }),
            );
            property.insert("maxItems".to_owned(), json!(most));
        }
    }
    property.insert("description".to_owned(), json!(argument.doc));
    Value::Object(property)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::actions;

    #[test]
    fn the_schema_has_no_combinator_at_the_top_and_action_is_a_plain_enum() {
        let schema = input_schema(Mode::Full);
        for combinator in ["oneOf", "anyOf", "allOf", "not", "if"] {
            assert!(!schema.contains_key(combinator));
        }
        let action = &schema["properties"]["action"];
        assert_eq!(action["type"], "string");
        assert_eq!(
            action["enum"].as_array().map(Vec::len),
            Some(actions().count())
        );
        assert_eq!(schema["additionalProperties"], false);
    }

    #[test]
    fn every_row_is_published_with_all_that_the_contract_names() {
        let table = published_table(Mode::Full);
        for row in actions() {
            let published = &table["rows"][row.word];
            for field in [
                "doc",
                "risk",
                "effect",
                "undo",
                "required",
                "arguments",
                "preview",
            ] {
                assert!(!published[field].is_null(), "{}: {field}", row.word);
            }
        }
    }

    #[test]
    fn what_is_read_only_offers_no_change_and_no_argument_of_one() {
        let schema = input_schema(Mode::ReadOnly);
        let words = schema["properties"]["action"]["enum"].to_string();
        let (table, text) = (published_table(Mode::ReadOnly), description(Mode::ReadOnly));
        for row in actions() {
            let quoted = format!("\"{}\"", row.word);
            let line = format!("\n- {}", row.word);
            let offered = !row.changes();
            assert_eq!(words.contains(&quoted), offered, "{}", row.word);
            assert_eq!(
                table["rows"].get(row.word).is_some(),
                offered,
                "{}",
                row.word
            );
            assert!(
                offered || !text.contains(&format!("{line}*")),
                "{}",
                row.word
            );
            assert!(
                offered || !text.contains(&format!("{line}!")),
                "{}",
                row.word
            );
        }
        assert!(schema["properties"].get("preview").is_none());
        assert!(schema["properties"].get("password").is_some());
    }
}
