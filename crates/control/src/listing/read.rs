//! Reading objects by reference, many at a time, of which some may be gone.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use vsphere::{FilterSpec, MoRef, Object, Session, Value};

use crate::failure::Failure;
use crate::fault;

/// How many objects one request names. A server refuses requests that are very long.
pub(crate) const CHUNK: usize = 500;

/// Reads these objects, for each type the properties that `paths` says, and hands over those that
/// are there. What is gone by now is left out: one vanished object does not fail the others.
pub(crate) async fn objects<'p>(
    session: &Session,
    references: impl IntoIterator<Item = MoRef>,
    paths: impl Fn(&str) -> Vec<&'p str>,
    mut sink: impl FnMut(Object) + Send,
) -> Result<(), Failure> {
    let mut by_type: BTreeMap<String, Vec<MoRef>> = BTreeMap::new();
    for reference in references {
        by_type
            .entry(reference.kind.clone())
            .or_default()
            .push(reference);
    }
    for (kind, references) in by_type {
        let paths = paths(&kind);
        let mut waiting: Vec<&[MoRef]> = references.chunks(CHUNK).rev().collect();
        while let Some(chunk) = waiting.pop() {
            let spec = [FilterSpec::objects(&kind, chunk, &paths)];
            let read = session
                .retrieve(&spec, vsphere::property::PAGE, |object| {
                    if !object.is_gone() {
                        sink(object);
                    }
                    ControlFlow::Continue(())
                })
                .await;
            match read {
                Ok(_) => {}
                // Not every server keeps to `reportMissingObjectsInResults`: the one that is gone
                // is looked for.
                Err(error) if error.is_fault("ManagedObjectNotFound") => {
                    if let [_, _, ..] = chunk {
                        let (one, other) = chunk.split_at(chunk.len() / 2);
                        waiting.extend([other, one]);
                    }
                }
                Err(error) => return Err(fault::failure(error)),
            }
        }
    }
    Ok(())
}

/// What a property of these objects refers to, one reference or many, each once.
pub(super) async fn references(
    session: &Session,
    of: Vec<MoRef>,
    path: &str,
) -> Result<Vec<MoRef>, Failure> {
    let mut found = HashSet::new();
    objects(
        session,
        of,
        |_| vec![path],
        |object| {
            let value = object.get(path);
            found.extend(value.and_then(Value::as_moref));
            found.extend(
                value
                    .into_iter()
                    .flat_map(Value::items)
                    .filter_map(Value::as_moref),
            );
        },
    )
    .await?;
    Ok(found.into_iter().collect())
}

/// The custom attributes of the server: number and name. A standalone host has none.
pub(crate) async fn attributes(session: &Session) -> Result<Vec<(String, String)>, Failure> {
    let Some(manager) = session.content().find("customFieldsManager") else {
        return Ok(Vec::new());
    };
    let manager = session
        .properties(&manager, &["field"])
        .await
        .map_err(fault::failure)?;
    let fields = manager.as_ref().and_then(|manager| manager.get("field"));
    let fields = fields.into_iter().flat_map(Value::items);
    let attribute = |field: &Value| {
        let text = |name: &str| field.text_at(name).map(str::to_owned);
        Some((text("key")?, text("name")?))
    };
    Ok(fields.filter_map(attribute).collect())
}
