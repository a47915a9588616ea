//! The JSON Schemas of a tool, made from its row in the table.

use serde_json::{Map, Value, json};

use super::table::{Shape, TABLE, Tool};

impl Tool {
    /// The tool of this name.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        TABLE.iter().find(|tool| tool.name == name)
    }

    /// The JSON Schema of its arguments.
    pub(crate) fn input_schema(&self) -> Map<String, Value> {
        let properties: Map<String, Value> = self
            .params
            .iter()
            .map(|param| {
                let mut schema = param.kind.schema();
                if let Value::Object(schema) = &mut schema {
                    schema.insert("description".to_owned(), param.doc.into());
                }
                (param.name.to_owned(), schema)
            })
            .collect();
        let required: Vec<&str> = self
            .params
            .iter()
            .filter(|param| param.required)
            .map(|param| param.name)
            .collect();
        let mut schema = Map::new();
        schema.insert("type".to_owned(), "object".into());
        schema.insert("properties".to_owned(), Value::Object(properties));
        if !required.is_empty() {
            schema.insert("required".to_owned(), json!(required));
        }
        schema.insert("additionalProperties".to_owned(), false.into());
        schema
    }

    /// The JSON Schema of its answers: the main fields, and room for more. A refusal has others.
    pub(crate) fn output_schema(&self) -> Map<String, Value> {
        let fields: &[(&str, &str)] = match self.shape {
            Shape::Catalog => &[
                ("skills", "array"),
                ("findings", "array"),
                ("left_out", "array"),
            ],
            Shape::Created => &[
                ("workflow_id", "string"),
                ("state", "string"),
                ("steps", "array"),
                ("findings", "array"),
                ("next", "string"),
            ],
            Shape::Review => &[
                ("workflow_id", "string"),
                ("state", "string"),
                ("digest", "string"),
                ("summary", "array"),
                ("steps", "array"),
                ("next", "string"),
            ],
            Shape::Workflow => &[
                ("residue", "array"),
                ("outcome", "string"),
                ("state", "string"),
                ("reason", "string"),
                ("workflow_id", "string"),
                ("steps", "array"),
                ("approval", "object"),
                ("results", "array"),
                ("next", "string"),
            ],
            Shape::List => &[
                ("workflows", "array"),
                ("total", "integer"),
                ("truncated", "boolean"),
            ],
            Shape::Audit => &[
                ("rows", "array"),
                ("verified", "boolean"),
                ("truncated", "boolean"),
            ],
            Shape::Archive => &[
                ("workflows", "integer"),
                ("events", "integer"),
                ("files", "array"),
                ("next", "string"),
            ],
        };
        let properties: Map<String, Value> = fields
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), json!({"type": kind})))
            .collect();
        Map::from_iter([
            ("type".to_owned(), "object".into()),
            ("properties".to_owned(), Value::Object(properties)),
        ])
    }
}
