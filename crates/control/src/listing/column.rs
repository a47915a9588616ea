//! The columns of a list: which property of an object each shows, and how.

use serde_json::{Map, Value, json};
use vsphere::{MoRef, Object};

use crate::machine::{Containers, shown_name};
use crate::property;

/// How many names, addresses and the like one field of a row shows.
pub(crate) const SHOWN: usize = 64;

/// The longest text of a column.
const TEXT: usize = 4_000;

/// One column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    /// The property that is read. Types of objects, and versions, that do not have it are not
    /// asked for it.
    pub(crate) path: &'static str,
    /// Where in the property's value; empty for the value itself.
    pub(crate) within: &'static str,
    pub(crate) how: As,
}

/// How a value reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum As {
    Text,
    Whole,
    Flag,
    /// Shown only when true.
    Mark,
    /// Shown as true if there is a value at all.
    Present,
    /// A reference, by the name of what it refers to.
    Named,
    /// References, by their names.
    Names,
    /// How many there are.
    Count,
    /// Texts.
    Texts,
    /// The type of the object itself, by these words.
    Type(&'static [(&'static str, &'static str)]),
}

/// A column of a property.
pub(crate) const fn column(name: &'static str, path: &'static str, how: As) -> Column {
    Column {
        name,
        path,
        within: "",
        how,
    }
}

/// A column of a part of a property.
pub(crate) const fn part(
    name: &'static str,
    path: &'static str,
    within: &'static str,
    how: As,
) -> Column {
    Column {
        name,
        path,
        within,
        how,
    }
}

impl Column {
    /// What it shows of an object; null for nothing.
    pub(crate) fn of(&self, object: &Object, names: &Containers) -> Value {
        if let As::Type(words) = self.how {
            let kind = object.reference.kind.as_str();
            let word = words.iter().find(|(of, _)| *of == kind);
            return json!(word.map_or_else(
                || guard::text::sanitize_to(kind, 80),
                |(_, word)| (*word).to_owned()
            ));
        }
        let Some(value) = object.get(self.path) else {
            return Value::Null;
        };
        let value = match self.within {
            "" => Some(value),
            within => value.at(within),
        };
        value.map_or(Value::Null, |value| self.read(value, names))
    }

    fn read(&self, value: &vsphere::Value, names: &Containers) -> Value {
        let named = |reference: MoRef| {
            names
                .name_of(&reference)
                .unwrap_or_else(|| guard::text::sanitize(&reference.id))
        };
        match self.how {
            As::Text => json!(guard::text::sanitize_to(value.text(), TEXT)),
            As::Whole => json!(value.as_i64()),
            As::Flag => json!(value.as_bool()),
            As::Mark => json!(value.as_bool().filter(|is| *is)),
            As::Present => json!(value.is_struct().then_some(true)),
            As::Named => json!(value.as_moref().map(named)),
            As::Names => {
                let references = value.items().filter_map(vsphere::Value::as_moref);
                json!(references.take(SHOWN).map(named).collect::<Vec<_>>())
            }
            As::Count => json!(value.items().count()),
            As::Texts => {
                let texts = value.items().map(vsphere::Value::text);
                json!(
                    texts
                        .take(SHOWN)
                        .map(guard::text::sanitize)
                        .collect::<Vec<_>>()
                )
            }
            As::Type(_) => Value::Null,
        }
    }

    /// What rows are sorted by; nothing if the column is not one to sort by.
    pub(crate) fn sorts(&self) -> bool {
        self.within.is_empty() && matches!(self.how, As::Text | As::Whole | As::Flag | As::Mark)
    }

    /// An object's place in the order of this column, as text that sorts so; nothing if it has no
    /// value.
    pub(crate) fn key(&self, object: &Object) -> Option<String> {
        let value = object.get(self.path)?;
        match self.how {
            As::Whole => value.as_i64().map(|number| {
                // Never negative, and always of one length.
                let shifted = i128::from(number) - i128::from(i64::MIN);
                format!("{shifted:020}")
            }),
            As::Flag | As::Mark => value.as_bool().map(|is| u8::from(is).to_string()),
            _ => Some(value.text().to_owned()).filter(|text| !text.is_empty()),
        }
    }
}

/// The paths that these columns need of objects of a type in a version.
pub(crate) fn paths(
    columns: &[&Column],
    kind: &str,
    version: property::Version,
) -> Vec<&'static str> {
    let mut paths: Vec<&'static str> = Vec::new();
    for column in columns {
        let path = column.path;
        if !path.is_empty() && !paths.contains(&path) && property::has(kind, path, version) {
            paths.push(path);
        }
    }
    paths
}

/// Adds a field that says something.
pub(crate) fn put(row: &mut Map<String, Value>, name: &str, value: Value) {
    let says = match &value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    };
    if says {
        row.insert(name.to_owned(), value);
    }
}

/// A row: name, path, reference and these columns. What is unset is left out, what is unreadable
/// is said, and never null.
pub(crate) fn row(object: &Object, columns: &[&Column], names: &Containers) -> Map<String, Value> {
    let mut row = Map::new();
    let name = shown_name(object.text("name").unwrap_or_default());
    put(&mut row, "name", json!(name));
    put(&mut row, "path", json!(names.path_of(object)));
    put(
        &mut row,
        "moref",
        json!(guard::text::sanitize(&object.reference.id)),
    );
    for column in columns {
        put(&mut row, column.name, column.of(object, names));
    }
    unreadable(&mut row, object);
    row
}

/// A row of the properties that were asked for by path.
pub(crate) fn row_of_fields(object: &Object, fields: &[&str]) -> Map<String, Value> {
    let mut row = Map::new();
    let name = shown_name(object.text("name").unwrap_or_default());
    put(&mut row, "name", json!(name));
    let reference = &object.reference;
    put(
        &mut row,
        "moref",
        json!(guard::text::sanitize(&reference.id)),
    );
    row.insert("fields".to_owned(), Value::Object(by_path(object, fields)));
    unreadable(&mut row, object);
    row
}

/// The values of these paths, as far as they are set.
pub(crate) fn by_path(object: &Object, fields: &[&str]) -> Map<String, Value> {
    let values = fields.iter().filter_map(|path| {
        let value = object.get(path)?;
        Some(((*path).to_owned(), property::shown(value)))
    });
    values.collect()
}

fn unreadable(row: &mut Map<String, Value>, object: &Object) {
    let paths: Vec<String> = object
        .missing
        .iter()
        .take(SHOWN)
        .map(|missing| guard::text::sanitize(&missing.path))
        .collect();
    put(row, "unreadable", json!(paths));
}
