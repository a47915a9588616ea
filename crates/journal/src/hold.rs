//! Which workflow holds which object: one workflow at a time, from the batch that takes the object
//! to the batch that releases it.

use std::collections::{BTreeMap, BTreeSet};

use engine::ports::Hold;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use workflow::model::{Millis, WorkflowId};

use crate::error::Fault;
use crate::writer::Refusal;

/// Does to the objects of a workflow what its batch says. One that another workflow holds refuses
/// the batch.
pub(crate) fn store(
    transaction: &Transaction<'_>,
    workflow: &WorkflowId,
    hold: &Hold,
    at: Millis,
) -> Result<(), Refusal> {
    match hold {
        Hold::Keep => Ok(()),
        Hold::Release => {
            transaction
                .prepare_cached("DELETE FROM held WHERE workflow = ?1")?
                .execute([&workflow.0])?;
            Ok(())
        }
        Hold::Take(objects) => {
            for object in objects {
                match holder(transaction, object)? {
                    Some(by) if by == *workflow => {}
                    Some(by) => return Err(Refusal::Held { by }),
                    None => {
                        transaction
                            .prepare_cached(
                                "INSERT INTO held (object, workflow, at) VALUES (?1, ?2, ?3)",
                            )?
                            .execute(params![object, workflow.0, at])?;
                    }
                }
            }
            Ok(())
        }
    }
}

/// Of these objects those that a workflow holds, with the workflow.
pub(crate) fn holders(
    connection: &Connection,
    objects: BTreeSet<String>,
) -> Result<BTreeMap<String, WorkflowId>, Fault> {
    let mut held = BTreeMap::new();
    for object in objects {
        if let Some(by) = holder(connection, &object)? {
            held.insert(object, by);
        }
    }
    Ok(held)
}

fn holder(connection: &Connection, object: &str) -> rusqlite::Result<Option<WorkflowId>> {
    connection
        .prepare_cached("SELECT workflow FROM held WHERE object = ?1")?
        .query_row([object], |row| row.get(0).map(WorkflowId))
        .optional()
}
