//! The auditor: looks at the vCenter past `pilot`, and at the record.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use super::operator::text;
use super::scenario::Machine;
use super::stage::{Cast, PROFILE};

/// What the vCenter says of a machine.
#[derive(Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) power: String,
    pub(super) cpu: u64,
    pub(super) memory_mb: u64,
    pub(super) snapshots: Vec<String>,
}

impl Seen {
    pub(super) fn told(&self) -> String {
        let snapshots = match self.snapshots.as_slice() {
            [] => "no snapshot".to_owned(),
            [one] => format!("snapshot {one}"),
            more => format!("snapshots {}", more.join(", ")),
        };
        format!(
            "{}, {} CPU, {} MB, {snapshots}",
            self.power, self.cpu, self.memory_mb
        )
    }
}

/// The auditor's own call, past `pilot`.
pub(super) async fn ask(cast: &Cast<'_>, mut arguments: Value) -> Result<Value> {
    arguments["credential_profile"] = PROFILE.into();
    cast.auditor.ask("vmware_control", arguments).await
}

/// Looks at a machine.
pub(super) async fn see(cast: &Cast<'_>, machine: &Machine) -> Result<Seen> {
    let of = |action: &str| json!({"action": action, "vm_uuid": machine.uuid});
    let vm = ask(cast, of("get_vm")).await?;
    let snapshots = ask(cast, of("snapshot_list")).await?;
    let vm = &vm["vm"];
    Ok(Seen {
        power: text(vm, "power_state").to_owned(),
        cpu: vm["cpu"].as_u64().context("no number of CPUs")?,
        memory_mb: vm["memory_mb"].as_u64().context("no memory")?,
        snapshots: snapshots["snapshots"]
            .as_array()
            .context("no list of snapshots")?
            .iter()
            .map(|snapshot| text(snapshot, "name").to_owned())
            .collect(),
    })
}

/// How many sessions there are on the vCenter beside that of the question itself.
pub(super) async fn sessions(cast: &Cast<'_>) -> Result<usize> {
    let found = ask(cast, json!({"action": "list_sessions"})).await?;
    Ok(found["sessions"]
        .as_array()
        .context("the answer lists no sessions")?
        .iter()
        .filter(|session| session["own"] != true)
        .count())
}

/// The record of one workflow, in its order.
pub(super) async fn record(cast: &Cast<'_>, workflow: &str) -> Result<Vec<Value>> {
    let mut rows = Vec::new();
    let mut question = json!({"workflow_id": workflow, "limit": 200});
    loop {
        let mut page = cast.agent.ask("get_audit_log", question.clone()).await?;
        match page["rows"].take() {
            Value::Array(more) => rows.extend(more),
            _ => anyhow::bail!("the audit trail has no rows: {page}"),
        }
        match page["next_cursor"].take() {
            Value::Null => return Ok(rows),
            next => question["cursor"] = next,
        }
    }
}

/// The payloads of the events of that kind.
pub(super) fn events<'a>(rows: &'a [Value], kind: &str) -> impl Iterator<Item = &'a Value> {
    rows.iter()
        .filter(move |row| text(row, "kind").strip_prefix("workflow.") == Some(kind))
        .map(|row| &row["payload"])
}

/// The ids of the steps whose change was done, in the order of their outcomes.
pub(super) fn completed(rows: &[Value]) -> Vec<&str> {
    events(rows, "outcome")
        .filter(|event| event["direction"] == "do" && event["outcome"]["is"] == "succeeded")
        .filter(|event| event["outcome"]["changed"] == true)
        .map(|event| text(event, "step"))
        .collect()
}

/// How often the vCenter was asked to begin that task on a machine, in its own record.
pub(super) fn tasks(cast: &Cast<'_>, call: &str, machine: &Machine) -> Result<usize> {
    let asked = cast.asked()?;
    let (call, machine) = (format!("<{call} "), format!(">{}</_this>", machine.moref));
    Ok(asked
        .split("<soapenv:Body>")
        .filter(|body| body.starts_with(&call))
        .filter(|body| {
            body.split_once("</_this>")
                .is_some_and(|(this, _)| format!("{this}</_this>").ends_with(&machine))
        })
        .count())
}

/// The kind of the last event of a workflow and the step that it is about, read from the file
/// past `pilot`.
pub(super) fn last_event(cast: &Cast<'_>, workflow: &str) -> Result<(String, String)> {
    let (kind, body): (String, String) = journal(cast)?.query_row(
        "SELECT kind, body FROM event WHERE workflow = ?1 ORDER BY seq DESC LIMIT 1",
        [workflow],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let body: Value = serde_json::from_str(&body)?;
    Ok((kind, text(&body, "step").to_owned()))
}

/// The process that owns a workflow, read from the file past `pilot`.
pub(super) fn owner(cast: &Cast<'_>, workflow: &str) -> Result<Option<u32>> {
    let process: Option<String> = journal(cast)?.query_row(
        "SELECT max(process) FROM owner WHERE workflow = ?1",
        [workflow],
        |row| row.get(0),
    )?;
    let number = process.and_then(|process| process.split('-').next()?.parse().ok());
    Ok(number)
}

fn journal(cast: &Cast<'_>) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(cast.home.join("pilot.db"), flags)
        .context("could not read the journal")
}

/// The files below a directory that contain a text.
pub(super) fn files_with(dir: &Path, text: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_with(&path, text)?);
        } else if fs::read(&path)?
            .windows(text.len())
            .any(|part| part == text.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    Ok(found)
}
