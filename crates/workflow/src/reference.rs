//! References in arguments: `${params.<name>}` and `${steps.<id>.outputs.<name>}`.
//!
//! A string that is one reference and nothing else takes the value with its type; a reference
//! within a longer string takes it as text. `$${` stands for a literal `${`. Nothing else is
//! interpreted: there is no language in here.

use std::collections::BTreeMap;

use guard::pointer;
use serde_json::{Map, Value};

use crate::model::{Deed, Definition, ScalarKind, StepDef, StepId};
use crate::state::State;

/// From where a reference is made: which steps it may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Steps before this place are earlier.
    pub before: usize,
    /// The place of the step itself.
    pub own: usize,
    /// Its own outputs may be used: an undo and a verify run after it.
    pub after: bool,
}

impl Scope {
    /// Of the step at this place, before it runs: steps of its own group are no earlier ones.
    #[must_use]
    pub fn of(definition: &Definition, place: usize) -> Self {
        Self {
            before: definition.group_of(place).map_or(place, |group| group.from),
            own: place,
            after: false,
        }
    }

    /// The same, after it ran.
    #[must_use]
    pub fn after(self) -> Self {
        Self {
            after: true,
            ..self
        }
    }

    /// The steps that may be named.
    pub fn earlier(self, definition: &Definition) -> impl Iterator<Item = &StepDef> {
        let own = definition.steps.get(self.own).filter(|_| self.after);
        let before = self.before.min(definition.steps.len());
        definition.steps[..before].iter().chain(own)
    }
}

/// What a reference names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    /// `${params.<name>}`
    Param(String),
    /// `${steps.<id>.outputs.<name>}`
    Output(StepId, String),
}

/// Why a reference cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It is not of a known form.
    #[error(
        "Write a reference as `${{params.<name>}}` or `${{steps.<id>.outputs.<name>}}` (and a \
         literal `${{` as `$${{`): {place} holds another form"
    )]
    Form {
        /// Where.
        place: String,
    },
    /// There is no such parameter.
    #[error("Add `{name}` to `params`, or correct the reference: {place} names it")]
    NoParam {
        /// Where.
        place: String,
        /// Which.
        name: String,
    },
    /// There is no such step, or it does not come earlier.
    #[error("Refer to an earlier step: {place} names `{step}`, which is not one")]
    NoStep {
        /// Where.
        place: String,
        /// Which.
        step: String,
    },
    /// The step declares no such output.
    #[error("Declare `{name}` in the `outputs` of step `{step}`: {place} refers to it")]
    NoOutput {
        /// Where.
        place: String,
        /// Of which step.
        step: String,
        /// Which.
        name: String,
    },
    /// The step ran, and its answer did not have the output, or it did not run.
    #[error("Step `{step}` has no output `{name}`{why}: {place} needs it")]
    NoValue {
        /// Where.
        place: String,
        /// Of which step.
        step: String,
        /// Which.
        name: String,
        /// Why, with a colon before it; may be empty.
        why: String,
    },
    /// A value that is no scalar stands within a longer string.
    #[error("Use `{name}` as a whole argument, not within a text: it is no scalar ({place})")]
    NotScalar {
        /// Where.
        place: String,
        /// Which.
        name: String,
    },
}

/// A piece of a string.
enum Piece<'a> {
    Text(&'a str),
    Escaped,
    Ref(Reference),
}

fn pieces<'a>(text: &'a str, place: &str) -> Result<Vec<Piece<'a>>, ReferenceError> {
    let form = || ReferenceError::Form {
        place: place.to_owned(),
    };
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            pieces.push(Piece::Text(&rest[..at - 1]));
            pieces.push(Piece::Escaped);
            rest = &rest[at + 2..];
            continue;
        }
        if at > 0 {
            pieces.push(Piece::Text(&rest[..at]));
        }
        let end = rest[at..].find('}').ok_or_else(form)? + at;
        pieces.push(Piece::Ref(parse(&rest[at + 2..end]).ok_or_else(form)?));
        rest = &rest[end + 1..];
    }
    if !rest.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

fn parse(inside: &str) -> Option<Reference> {
    let word = |s: &str| {
        !s.is_empty()
            && s.chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    let parts: Vec<&str> = inside.split('.').collect();
    match parts.as_slice() {
        ["params", name] if word(name) => Some(Reference::Param((*name).to_owned())),
        ["steps", step, "outputs", name] if word(step) && word(name) => Some(Reference::Output(
            StepId((*step).to_owned()),
            (*name).to_owned(),
        )),
        _ => None,
    }
}

/// Every reference in a value, with where it stands (JSON Pointer) and whether it is the whole string.
///
/// # Errors
/// [`ReferenceError::Form`].
pub fn find(value: &Value) -> Result<Vec<(String, Reference, bool)>, ReferenceError> {
    let mut found = Vec::new();
    walk(value, "", &mut |at, text| {
        let pieces = pieces(text, &pointer::place(at))?;
        let whole = pieces.len() == 1;
        for piece in pieces {
            if let Piece::Ref(reference) = piece {
                found.push((at.to_owned(), reference, whole));
            }
        }
        Ok(())
    })?;
    Ok(found)
}

fn walk(
    value: &Value,
    at: &str,
    visit: &mut impl FnMut(&str, &str) -> Result<(), ReferenceError>,
) -> Result<(), ReferenceError> {
    match value {
        Value::String(text) => visit(at, text),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(i, v)| walk(v, &format!("{at}/{i}"), visit)),
        Value::Object(map) => map
            .iter()
            .try_for_each(|(k, v)| walk(v, &pointer::join(at, k), visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// Replaces every reference in arguments by its value.
///
/// # Errors
/// [`ReferenceError`], for the first reference that `lookup` has no value for.
pub fn resolve(
    arguments: &Map<String, Value>,
    lookup: &impl Fn(&Reference, &str) -> Result<Value, ReferenceError>,
) -> Result<Map<String, Value>, ReferenceError> {
    let mut resolved = Map::new();
    for (key, value) in arguments {
        resolved.insert(
            key.clone(),
            resolve_value(value, &pointer::join("", key), lookup)?,
        );
    }
    Ok(resolved)
}

fn resolve_value(
    value: &Value,
    at: &str,
    lookup: &impl Fn(&Reference, &str) -> Result<Value, ReferenceError>,
) -> Result<Value, ReferenceError> {
    Ok(match value {
        Value::String(text) => {
            let place = pointer::place(at);
            let pieces = pieces(text, &place)?;
            if let [Piece::Ref(reference)] = pieces.as_slice() {
                return lookup(reference, &place);
            }
            let mut out = String::new();
            for piece in pieces {
                match piece {
                    Piece::Text(text) => out.push_str(text),
                    Piece::Escaped => out.push_str("${"),
                    Piece::Ref(reference) => match lookup(&reference, &place)? {
                        Value::String(text) => out.push_str(&text),
                        scalar @ (Value::Number(_) | Value::Bool(_)) => {
                            out.push_str(&scalar.to_string());
                        }
                        Value::Null | Value::Array(_) | Value::Object(_) => {
                            return Err(ReferenceError::NotScalar {
                                place,
                                name: name_of(&reference),
                            });
                        }
                    },
                }
            }
            Value::String(out)
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(i, v)| resolve_value(v, &format!("{at}/{i}"), lookup))
            .collect::<Result<_, _>>()?,
        Value::Object(map) => {
            let mut out = Map::new();
            for (key, value) in map {
                out.insert(
                    key.clone(),
                    resolve_value(value, &pointer::join(at, key), lookup)?,
                );
            }
            Value::Object(out)
        }
        scalar => scalar.clone(),
    })
}

fn name_of(reference: &Reference) -> String {
    match reference {
        Reference::Param(name) => format!("params.{name}"),
        Reference::Output(step, name) => format!("steps.{step}.outputs.{name}"),
    }
}

/// The value of a parameter.
fn param(params: &Map<String, Value>, name: &str, place: &str) -> Result<Value, ReferenceError> {
    params
        .get(name)
        .cloned()
        .ok_or_else(|| ReferenceError::NoParam {
            place: place.to_owned(),
            name: name.to_owned(),
        })
}

/// Arguments, and the places in them (JSON Pointer) that still hold a reference to an output, with
/// the type that each will have.
pub type WithHoles = (Map<String, Value>, BTreeMap<String, ScalarKind>);

/// Replaces the references to parameters, and leaves those to outputs as they are. With the
/// result, the places that still hold a reference, and the type that each will have.
///
/// # Errors
/// [`ReferenceError`]; also for an output that no earlier step declares.
pub fn resolve_params(
    definition: &Definition,
    scope: Scope,
    arguments: &Map<String, Value>,
) -> Result<WithHoles, ReferenceError> {
    let resolved = resolve(arguments, &|reference, place| match reference {
        Reference::Param(name) => param(&definition.params, name, place),
        Reference::Output(step, name) => {
            declared(definition, scope, step, name, place)?;
            Ok(Value::String(format!("${{{}}}", name_of(reference))))
        }
    })?;
    let mut holes = BTreeMap::new();
    for (at, reference, whole) in find(&Value::Object(arguments.clone()))? {
        if let Reference::Output(step, name) = reference {
            let kind = declared(definition, scope, &step, &name, &pointer::place(&at))?;
            holes.insert(at, if whole { kind } else { ScalarKind::String });
        }
    }
    Ok((resolved, holes))
}

/// The type of an output that an earlier step declares.
fn declared(
    definition: &Definition,
    scope: Scope,
    step: &StepId,
    name: &str,
    place: &str,
) -> Result<ScalarKind, ReferenceError> {
    let Some(earlier) = scope.earlier(definition).find(|s| s.id == *step) else {
        return Err(ReferenceError::NoStep {
            place: place.to_owned(),
            step: step.0.clone(),
        });
    };
    let output = match &earlier.deed {
        Deed::Call(call) => call.outputs.get(name),
        Deed::Gate(_) => None,
    };
    output
        .map(|o| o.kind)
        .ok_or_else(|| ReferenceError::NoOutput {
            place: place.to_owned(),
            step: step.0.clone(),
            name: name.to_owned(),
        })
}

/// Replaces every reference with what is known now.
///
/// # Errors
/// [`ReferenceError`].
pub fn resolve_all(
    state: &State,
    arguments: &Map<String, Value>,
) -> Result<Map<String, Value>, ReferenceError> {
    resolve(arguments, &|reference, place| match reference {
        Reference::Param(name) => param(&state.definition.params, name, place),
        Reference::Output(step, name) => {
            let Some((_, found)) = state.step(step) else {
                return Err(ReferenceError::NoStep {
                    place: place.to_owned(),
                    step: step.0.clone(),
                });
            };
            found
                .outputs
                .get(name)
                .cloned()
                .ok_or_else(|| ReferenceError::NoValue {
                    place: place.to_owned(),
                    step: step.0.clone(),
                    name: name.clone(),
                    why: found
                        .missing
                        .iter()
                        .find(|m| m.starts_with(&format!("{name}:")))
                        .map_or_else(
                            || format!(", since it is {}", found.status.word()),
                            |m| format!(" ({m})"),
                        ),
                })
        }
    })
}
