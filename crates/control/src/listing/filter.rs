//! What a list is narrowed by: the keys of `filter`, checked before anything is sent, and then
//! turned into tests of each object, or into the references that can be meant at all.

use std::collections::HashSet;

use serde_json::Value;
use vsphere::{FilterSpec, MoRef, Object};

use super::glob::Glob;
use super::read;
use crate::argument::Arguments;
use crate::call::Call;
use crate::failure::{Failure, nearest};
use crate::fault;
use crate::machine::decoded;
use crate::object::{Found, Type};

/// What the key of a custom attribute begins with.
const ATTRIBUTE: &str = "attribute:";

/// The longest text of a filter.
const LONGEST: usize = 255;

/// One key of `filter`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filter {
    pub(crate) name: &'static str,
    pub(crate) want: Want,
}

/// What a key says of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Want {
    /// Its name fits a pattern.
    Name,
    /// The text of a property fits a pattern.
    Glob(&'static str),
    /// The text of a property is this word; some words stand for others.
    Word(&'static str, &'static [(&'static str, &'static str)]),
    /// A property is true, or is not.
    Flag(&'static str),
    /// A property refers to the object that is named, to it alone or among others.
    Refers(&'static str, &'static Type),
    /// The object that is named leads to it along these properties.
    Through(&'static Type, &'static [&'static str]),
    /// It lies beneath the object that is named.
    Beneath(&'static Type),
    /// Any `attribute:<name>`: a custom attribute fits a pattern.
    Attribute,
}

/// A test of one object in the first pass, and what it reads.
pub(crate) struct Test {
    pub(crate) paths: Vec<&'static str>,
    pub(crate) fits: Box<dyn Fn(&Object) -> bool + Send + Sync>,
}

impl Test {
    /// A test that reads these properties.
    pub(crate) fn new(
        paths: &[&'static str],
        fits: impl Fn(&Object) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            paths: paths.to_vec(),
            fits: Box::new(fits),
        }
    }
}

/// Which objects a list is about.
#[derive(Default)]
pub(crate) struct Chosen {
    /// Below which object they lie; nothing for the whole inventory.
    pub(crate) root: Option<MoRef>,
    /// Those that can be meant at all; nothing for all of the type.
    pub(crate) only: Option<HashSet<MoRef>>,
    pub(crate) tests: Vec<Test>,
}

impl Chosen {
    /// Keeps those that are in `these` as well.
    pub(crate) fn narrow(&mut self, these: impl IntoIterator<Item = MoRef>) {
        let these: HashSet<MoRef> = these.into_iter().collect();
        self.only = Some(match self.only.take() {
            None => these,
            Some(only) => only.intersection(&these).cloned().collect(),
        });
    }
}

/// Refuses what no list of this kind can be narrowed by, before anything is contacted.
///
/// # Errors
///
/// `filter.unknown`, `argument.wrong_type`, `argument.too_long`.
pub(super) fn check(filters: &'static [Filter], arguments: &Arguments) -> Result<(), Failure> {
    for (key, value) in arguments.fields("filter").into_iter().flatten() {
        let filter = find(filters, key).ok_or_else(|| unknown(filters, key))?;
        if value.is_null() {
            continue;
        }
        let wanted = match filter.want {
            Want::Flag(_) if value.is_boolean() => continue,
            Want::Flag(_) => "true or false",
            _ => match value.as_str() {
                Some(text) if text.chars().count() > LONGEST => {
                    return Err(Failure::new(
                        "argument.too_long",
                        format!("Shorten `{key}` in `filter` to {LONGEST} characters"),
                    )
                    .with("argument", "filter"));
                }
                Some(_) => continue,
                None => "a text",
            },
        };
        return Err(Failure::new(
            "argument.wrong_type",
            format!("Pass `{}` in `filter` as {wanted}", filter.name),
        )
        .with("argument", "filter"));
    }
    Ok(())
}

fn find(filters: &'static [Filter], key: &str) -> Option<&'static Filter> {
    let is_attribute = key
        .strip_prefix(ATTRIBUTE)
        .is_some_and(|name| !name.is_empty());
    filters.iter().find(|filter| match filter.want {
        Want::Attribute => is_attribute,
        _ => filter.name == key,
    })
}

fn unknown(filters: &[Filter], key: &str) -> Failure {
    let allowed: Vec<&str> = filters.iter().map(|filter| filter.name).collect();
    let shown = guard::text::sanitize_to(key, 60);
    let near = nearest(key, allowed.iter().copied());
    let remedy = match near.first() {
        Some(best) => format!("Pass `{best}` in `filter` if that is meant"),
        None => "Filter by one of those in `allowed`".to_owned(),
    };
    Failure::new(
        "filter.unknown",
        format!("{remedy}: this list has no filter `{shown}`"),
    )
    .with("nearest", near)
    .with("allowed", allowed)
}

/// What the call's `filter` chooses.
///
/// # Errors
///
/// `object.not_found`, `object.ambiguous`, `filter.unknown` for a custom attribute that is not
/// there; those of the server.
pub(super) async fn choose(
    call: &Call<'_>,
    filters: &'static [Filter],
    kind: &str,
    chosen: &mut Chosen,
) -> Result<(), Failure> {
    for (key, value) in call.arguments.fields("filter").into_iter().flatten() {
        // Checked before: it is there.
        let Some(filter) = find(filters, key) else {
            continue;
        };
        if value.is_null() || value.as_str() == Some("") {
            continue;
        }
        add(call, filter, key, value, kind, chosen).await?;
    }
    Ok(())
}

async fn add(
    call: &Call<'_>,
    filter: &'static Filter,
    key: &str,
    value: &Value,
    kind: &str,
    chosen: &mut Chosen,
) -> Result<(), Failure> {
    let text = value.as_str().unwrap_or_default();
    match filter.want {
        Want::Name => {
            // A pattern may be written with vSphere's escapes or without.
            let glob = Glob::new(&decoded(text));
            chosen.tests.push(Test::new(&["name"], move |object| {
                glob.fits(&decoded(object.text("name").unwrap_or_default()))
            }));
        }
        Want::Glob(path) => {
            let glob = Glob::new(text);
            chosen.tests.push(Test::new(&[path], move |object| {
                glob.fits(object.text(path).unwrap_or_default())
            }));
        }
        Want::Word(path, words) => {
            let stands_for = words
                .iter()
                .find(|(word, _)| word.eq_ignore_ascii_case(text));
            let word = stands_for.map_or_else(|| text.to_owned(), |(_, word)| (*word).to_owned());
            chosen.tests.push(Test::new(&[path], move |object| {
                object
                    .text(path)
                    .is_some_and(|text| text.eq_ignore_ascii_case(&word))
            }));
        }
        Want::Flag(path) => {
            let wanted = value.as_bool().unwrap_or_default();
            chosen.tests.push(Test::new(&[path], move |object| {
                let is = object.get(path).and_then(vsphere::Value::as_bool);
                is.unwrap_or(false) == wanted && !object.is_unreadable(path)
            }));
        }
        Want::Refers(path, of) => {
            let found = named(call, filter, of, text).await?.reference;
            chosen.tests.push(Test::new(&[path], move |object| {
                let is = |value: &vsphere::Value| value.as_moref().as_ref() == Some(&found);
                object
                    .get(path)
                    .is_some_and(|value| is(value) || value.items().any(is))
            }));
        }
        Want::Through(of, steps) => {
            let mut here = vec![named(call, filter, of, text).await?.reference];
            for step in steps {
                here = read::references(call.session, here, step).await?;
            }
            chosen.narrow(here);
        }
        Want::Beneath(of) => {
            let found = named(call, filter, of, text).await?.reference;
            match chosen.root {
                None => chosen.root = Some(found),
                // Beneath both: what lies below the second one is read as well.
                Some(_) => {
                    let spec = [FilterSpec::inventory(&found, &[(kind, &["name"])])];
                    let below = call.session.collect(&spec).await.map_err(fault::failure)?;
                    chosen.narrow(below.into_iter().map(|object| object.reference));
                }
            }
        }
        Want::Attribute => {
            let name = key.strip_prefix(ATTRIBUTE).unwrap_or_default();
            let number = attribute(call, name).await?;
            let glob = Glob::new(text);
            chosen
                .tests
                .push(Test::new(&["customValue"], move |object| {
                    let values = object.get("customValue");
                    let mut values = values.into_iter().flat_map(vsphere::Value::items);
                    let value = values.find(|value| value.text_at("key") == Some(number.as_str()));
                    let text = value.and_then(|value| value.text_at("value"));
                    text.is_some_and(|text| glob.fits(text))
                }));
        }
    }
    Ok(())
}

/// The object that a key names.
async fn named(
    call: &Call<'_>,
    filter: &'static Filter,
    of: &Type,
    text: &str,
) -> Result<Found, Failure> {
    let of = Type {
        argument: filter.name,
        ..*of
    };
    Found::named(call, &of, text, &[]).await
}

/// The number under which the server keeps a custom attribute.
async fn attribute(call: &Call<'_>, name: &str) -> Result<String, Failure> {
    let all = read::attributes(call.session).await?;
    let found = all.iter().find(|(_, known)| known == name);
    let Some((number, _)) = found else {
        let names: Vec<&str> = all.iter().map(|(_, name)| name.as_str()).take(50).collect();
        let shown = guard::text::sanitize_to(name, 60);
        return Err(Failure::new(
            "filter.unknown",
            format!("Pass a custom attribute of those in `allowed`: the server has none `{shown}`"),
        )
        .with("nearest", nearest(name, names.iter().copied()))
        .with("allowed", names));
    };
    Ok(number.clone())
}
