//! The values that reconfigure sets: as the call names them, and as the machine has them.

use serde_json::{Map, Value, json};
use vsphere::Object;

use super::rules::SIZES;
use crate::argument::{self, Arguments};

/// The notes.
pub(super) const ANNOTATION: &str = "annotation";

/// The custom attributes.
pub(super) const ATTRIBUTES: &str = "attributes";

/// The custom attributes that the server has for machines.
pub(crate) const DEFINED: &str = "availableField";

/// Those of them that a machine has a value of.
pub(crate) const SET: &str = "customValue";

/// Whether the cores per socket follow the number of CPUs.
pub(super) const AUTO_CORES: &str = "config.hardware.autoCoresPerSocket";

/// As long as notes can be passed.
const LONGEST: usize = 4_000;

/// The values that the call names.
pub(super) fn wanted(arguments: &Arguments) -> Map<String, Value> {
    let mut wanted = Map::new();
    for (name, _) in SIZES {
        if let Some(value) = arguments.whole(name) {
            wanted.insert((*name).to_owned(), json!(value));
        }
    }
    if let Some(text) = arguments.text(ANNOTATION) {
        wanted.insert(ANNOTATION.to_owned(), json!(text));
    } else if arguments.flag("clear_annotation") {
        wanted.insert(ANNOTATION.to_owned(), json!(""));
    }
    if let Some(attributes) = arguments.fields(ATTRIBUTES) {
        wanted.insert(ATTRIBUTES.to_owned(), Value::Object(attributes.clone()));
    }
    wanted
}

/// The values of the same names that the machine has; null where one is unknown.
pub(super) fn now(object: &Object, names: &Map<String, Value>) -> Map<String, Value> {
    names
        .iter()
        .map(|(name, like)| (name.clone(), value(object, name, like)))
        .collect()
}

fn value(object: &Object, name: &str, like: &Value) -> Value {
    if let Some((_, path)) = SIZES.iter().find(|(size, _)| *size == name) {
        let automatic = object.get(AUTO_CORES).and_then(vsphere::Value::as_bool);
        if name == "cores_per_socket" && automatic == Some(true) {
            // The number that is shown is not the one that was set.
            return json!(0);
        }
        return json!(object.get(path).and_then(vsphere::Value::as_i64));
    }
    if name == ANNOTATION {
        return if object.is_unreadable("config.annotation") {
            Value::Null
        } else {
            json!(shown_annotation(object))
        };
    }
    let like = like.as_object().into_iter().flat_map(Map::keys);
    like.map(|name| {
        (
            name.clone(),
            json!(attribute(object, name).unwrap_or_default()),
        )
    })
    .collect::<Map<_, _>>()
    .into()
}

/// The notes, safe to show.
pub(crate) fn shown_annotation(object: &Object) -> String {
    guard::text::sanitize_to(
        object.text("config.annotation").unwrap_or_default(),
        LONGEST,
    )
}

/// Whether the notes are other than they can be shown and passed.
pub(super) fn annotation_is_altered(object: &Object) -> bool {
    object.text("config.annotation").unwrap_or_default() != shown_annotation(object)
}

/// The keys and names of the custom attributes that machines can have.
pub(crate) fn defined(object: &Object) -> Vec<(i64, String)> {
    let fields = object.get(DEFINED).into_iter();
    fields
        .flat_map(vsphere::Value::items)
        .filter_map(|field| {
            let key = field.get("key").and_then(vsphere::Value::as_i64)?;
            Some((key, field.text_at("name")?.to_owned()))
        })
        .collect()
}

/// Whether the value of a custom attribute is other than it can be shown and passed.
pub(super) fn attribute_is_altered(object: &Object, name: &str) -> bool {
    let raw = raw_attribute(object, name).unwrap_or_default();
    raw != attribute(object, name).unwrap_or_default()
}

/// The value of a custom attribute, safe to show; `None` if it has none.
pub(super) fn attribute(object: &Object, name: &str) -> Option<String> {
    raw_attribute(object, name).map(|raw| guard::text::sanitize_to(raw, LONGEST))
}

fn raw_attribute<'o>(object: &'o Object, name: &str) -> Option<&'o str> {
    let key = defined(object)
        .into_iter()
        .find(|(_, known)| known == name)?
        .0;
    let values = object.get(SET)?.items();
    let mut of_key =
        values.filter(|value| value.get("key").and_then(vsphere::Value::as_i64) == Some(key));
    of_key.next()?.text_at("value")
}

/// All custom attributes of a machine, with empty texts for those that have no value.
pub(crate) fn attributes(object: &Object) -> Map<String, Value> {
    defined(object)
        .into_iter()
        .map(|(_, name)| {
            let value = attribute(object, &name).unwrap_or_default();
            (guard::text::sanitize_to(&name, 80), json!(value))
        })
        .collect()
}

/// Whether both say the same; 2.0 is 2.
pub(super) fn same(one: &Map<String, Value>, other: &Map<String, Value>) -> bool {
    let whole = |value: &Value| value.as_number().and_then(argument::whole);
    one.len() == other.len()
        && one.iter().all(|(name, value)| {
            other
                .get(name)
                .is_some_and(|other| match (whole(value), whole(other)) {
                    (Some(one), Some(other)) => one == other,
                    _ => value == other,
                })
        })
}

/// Where `get_vm` shows the values.
pub(super) fn pointed(values: &Map<String, Value>) -> Map<String, Value> {
    let mut pointed = Map::new();
    for (name, value) in values {
        let at = guard::pointer::join("/vm", name);
        match value {
            Value::Object(fields) => {
                for (field, value) in fields {
                    pointed.insert(guard::pointer::join(&at, field), value.clone());
                }
            }
            // Which number the server chooses is not known.
            Value::Number(zero) if zero.as_i64() == Some(0) => {}
            value => {
                pointed.insert(at, value.clone());
            }
        }
    }
    pointed
}
