//! The one object of any type that a call is about: a VM, or another object by its argument.

use serde_json::{Map, Value};
use vsphere::MoRef;

use crate::argument::Arguments;
use crate::call::Call;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::object::{CLUSTER, DATACENTER, DATASTORE, FOLDER, Found, HOST, NETWORK, POOL, Type};

/// The arguments that name an object beside a VM, with their types.
const TYPES: &[Type] = &[HOST, CLUSTER, DATACENTER, DATASTORE, NETWORK, POOL, FOLDER];

/// The arguments that name a VM.
const MACHINE: &[&str] = &["vm_uuid", "vm_name", "moref"];

/// An object that was named and found.
#[derive(Debug)]
pub(super) struct Entity {
    pub(super) reference: MoRef,
    pub(super) target: Value,
}

/// At most one object is named.
///
/// # Errors
///
/// `argument.conflict`.
pub(crate) fn check(arguments: &Arguments) -> Result<(), Failure> {
    let machine = MACHINE.iter().find(|name| arguments.given(name).is_some());
    let others = TYPES
        .iter()
        .map(|of| of.argument)
        .filter(|name| arguments.given(name).is_some());
    let named: Vec<&str> = machine.copied().into_iter().chain(others).collect();
    match named.as_slice() {
        [] | [_] => Ok(()),
        several => Err(Failure::new(
            "argument.conflict",
            format!(
                "Pass one of {} alone: each names an object, and the call is about one",
                several
                    .iter()
                    .map(|name| format!("`{name}`"))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        )
        .with("arguments", several.to_vec())),
    }
}

/// The object that the call names; `None` if it names none.
///
/// # Errors
///
/// Those of [`Machine::find`] and [`Found::named`].
pub(super) async fn named(call: &Call<'_>) -> Result<Option<Entity>, Failure> {
    if MACHINE
        .iter()
        .any(|name| call.arguments.given(name).is_some())
    {
        let machine = Machine::find(call, &[]).await?;
        return Ok(Some(Entity {
            target: machine.target(&call.server),
            reference: machine.reference,
        }));
    }
    for of in TYPES {
        if let Some(text) = call
            .row
            .takes(of.argument)
            .then(|| call.arguments.text(of.argument))
            .flatten()
        {
            let found = Found::named(call, of, text, &[]).await?;
            return Ok(Some(Entity {
                target: found.target(&call.server),
                reference: found.reference,
            }));
        }
    }
    Ok(None)
}

/// A reference within what the server says, with its name: `{name, moref, type}`.
pub(super) fn shown(name: Option<&str>, reference: Option<MoRef>) -> Value {
    let mut shown = Map::new();
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        shown.insert("name".to_owned(), crate::machine::shown_name(name).into());
    }
    if let Some(reference) = reference {
        let id = guard::text::sanitize_to(&reference.id, 80);
        shown.insert("moref".to_owned(), id.into());
        let kind = guard::text::sanitize_to(&reference.kind, 80);
        shown.insert("type".to_owned(), kind.into());
    }
    if shown.is_empty() {
        Value::Null
    } else {
        Value::Object(shown)
    }
}
