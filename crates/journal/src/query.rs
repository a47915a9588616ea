//! What is read back of workflows.

use std::collections::{BTreeMap, BTreeSet};

use engine::ports::{Listed, Recorded, StepRow, WorkflowRow};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::Value;
use workflow::event;
use workflow::model::{ApprovalId, Millis, StepId, WorkflowId};

use crate::error::Fault;

/// A number that this program wrote as one that is not negative.
pub(crate) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

/// All events of a workflow, in order.
pub(crate) fn load(connection: &Connection, workflow: &WorkflowId) -> Result<Vec<Recorded>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, at, actor, v, body FROM event WHERE workflow = ?1 ORDER BY seq",
    )?;
    let mut rows = statement.query([&workflow.0])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let seq = unsigned(row, 0)?;
        let version: i64 = row.get(3)?;
        if version > i64::from(event::VERSION) {
            return Err(Fault::Unreadable(format!(
                "event {seq} of {workflow} has the form {version}, and this build knows forms up to {}",
                event::VERSION
            )));
        }
        let body = row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?;
        let event = serde_json::from_str(body)
            .map_err(|_| Fault::Altered(format!("event {seq} of {workflow} cannot be read")))?;
        events.push(Recorded {
            seq,
            at: row.get(1)?,
            actor: row.get(2)?,
            event,
        });
    }
    Ok(events)
}

/// The number of the last event; 0 when there is none.
pub(crate) fn last_seq(connection: &Connection, workflow: &WorkflowId) -> Result<u64, Fault> {
    let seq = connection
        .prepare_cached(
            "SELECT coalesce((SELECT max(seq) FROM event WHERE workflow = ?1),
                             (SELECT archived_seq FROM workflow WHERE id = ?1), 0)",
        )?
        .query_row([&workflow.0], |row| unsigned(row, 0))?;
    Ok(seq)
}

/// The archive that holds the workflow's events, if one does.
pub(crate) fn archived_in(
    connection: &Connection,
    workflow: &WorkflowId,
) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT archived_in FROM workflow WHERE id = ?1")?
        .query_row([&workflow.0], |row| row.get(0))
        .optional()
        .map(Option::flatten)
}

const COLUMNS: &str = "id, name, state, reason, created_at, updated_at, requester, steps, settled, \
                       approval, expires_at";

/// A page of workflows, the newest first, and how many there are in all. Costs what the page costs,
/// however many workflows there are.
pub(crate) fn list(
    connection: &Connection,
    states: &[String],
    after: Option<&WorkflowId>,
    limit: u32,
) -> Result<(Vec<Listed>, u64), Fault> {
    let total = total(connection, states)?;
    let place: Option<(Millis, String)> = match after {
        None => None,
        Some(after) => {
            let place = connection
                .prepare_cached("SELECT created_at, id FROM workflow WHERE id = ?1")?
                .query_row([&after.0], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            if place.is_none() {
                return Ok((Vec::new(), total));
            }
            place
        }
    };
    // Where the page begins, as two columns of a row that no workflow has: the newest of all.
    let (at, id) = place.unwrap_or((Millis::MAX, String::new()));
    let page = |filter: &str, state: &str| -> rusqlite::Result<Vec<Listed>> {
        connection
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM workflow WHERE {filter} AND (created_at, id) < (?2, ?3)
                 ORDER BY created_at DESC, id DESC LIMIT ?4"
            ))?
            .query_map(params![state, at, id, limit], |row| {
                Ok(Listed {
                    workflow: WorkflowId(row.get(0)?),
                    row: workflow_row(row)?,
                })
            })?
            .collect()
    };
    if states.is_empty() {
        return Ok((page("?1 = ''", "")?, total));
    }
    // The index gives each state in order, and not several of them: a page of each is enough.
    let mut rows = Vec::new();
    for state in states.iter().collect::<BTreeSet<_>>() {
        rows.extend(page("state = ?1", state)?);
    }
    rows.sort_by(|a, b| (b.row.created_at, &b.workflow.0).cmp(&(a.row.created_at, &a.workflow.0)));
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok((rows, total))
}

fn total(connection: &Connection, states: &[String]) -> Result<u64, Fault> {
    // The filter is one JSON text, so that the statement is the same for any number of states.
    let filter = match states {
        [] => "?1 = ?1",
        _ => "state IN (SELECT value FROM json_each(?1))",
    };
    let total = connection
        .prepare_cached(&format!(
            "SELECT ifnull(sum(count), 0) FROM tally WHERE {filter}"
        ))?
        .query_row([Value::from(states).to_string()], |row| unsigned(row, 0))?;
    Ok(total)
}

fn workflow_row(row: &Row<'_>) -> rusqlite::Result<WorkflowRow> {
    Ok(WorkflowRow {
        name: row.get(1)?,
        state: row.get(2)?,
        reason: row.get(3)?,
        created_at: row.get(4)?,
        updated_at: row.get(5)?,
        requester: row.get(6)?,
        steps: unsigned(row, 7)?,
        settled: unsigned(row, 8)?,
        approval: row.get::<_, Option<String>>(9)?.map(ApprovalId),
        expires_at: row.get(10)?,
    })
}

/// The rows of a workflow and of its steps, as they were stored with its last event.
pub(crate) fn projection(
    connection: &Connection,
    workflow: &WorkflowId,
) -> Result<Option<(WorkflowRow, Vec<StepRow>)>, Fault> {
    let row = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM workflow WHERE id = ?1"))?
        .query_row([&workflow.0], workflow_row)
        .optional()?;
    let Some(row) = row else { return Ok(None) };
    let mut steps = connection
        .prepare_cached(
            "SELECT place, id, state, attempt, error, sha256, size FROM step
             WHERE workflow = ?1 ORDER BY place",
        )?
        .query_map([&workflow.0], |row| {
            Ok(StepRow {
                index: unsigned(row, 0)?,
                id: StepId(row.get(1)?),
                state: row.get(2)?,
                attempt: row.get(3)?,
                error: row.get(4)?,
                sha256: row.get(5)?,
                size: row
                    .get::<_, Option<i64>>(6)?
                    .map(|_| unsigned(row, 6))
                    .transpose()?,
                outputs: BTreeMap::new(),
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut statement =
        connection.prepare_cached("SELECT place, name, value FROM output WHERE workflow = ?1")?;
    let mut rows = statement.query([&workflow.0])?;
    while let Some(output) = rows.next()? {
        let place = unsigned(output, 0)?;
        let text = output.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
        let value = serde_json::from_str(text)
            .map_err(|_| Fault::Altered(format!("an output of {workflow} cannot be read")))?;
        // Sorted by place, and an output cannot be without its step.
        if let Ok(at) = steps.binary_search_by_key(&place, |step| step.index) {
            steps[at].outputs.insert(output.get(1)?, value);
        }
    }
    Ok(Some((row, steps)))
}
