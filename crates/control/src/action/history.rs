//! list_events, list_tasks, get_task: what has happened, the newest first.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use vsphere::{HistoryFilter, MoRef, Recursion};

use super::entity::{self, shown};
use super::moment::{self, Range, newest_first};
use crate::argument::Arguments;
use crate::call::Call;
use crate::failure::Failure;
use crate::fault;
use crate::listing::Listing;
use crate::machine::VM;

/// The most that a server hands out at once.
const MOST: u32 = 1_000;

/// Checks what narrows a history.
///
/// # Errors
///
/// `argument.conflict`, `argument.out_of_range`.
pub(crate) fn check(arguments: &Arguments) -> Result<(), Failure> {
    entity::check(arguments)?;
    moment::check(arguments)
}

/// The object and the time that the call narrows the history to.
async fn filter(call: &Call<'_>) -> Result<(HistoryFilter, Range, Option<Value>), Failure> {
    let entity = entity::named(call).await?;
    let range = Range::of(call).await?;
    let target = entity.as_ref().map(|entity| entity.target.clone());
    let filter = HistoryFilter {
        entity: entity.map(|entity| {
            // What happens to the VMs of a host or folder belongs to its history.
            let recursion = if entity.reference.kind == VM {
                Recursion::Own
            } else {
                Recursion::All
            };
            (entity.reference, recursion)
        }),
        begin: range.begin.map(|at| at.to_string()),
        end: range.end.map(|at| at.to_string()),
        ..HistoryFilter::default()
    };
    Ok((filter, range, target))
}

/// The newest first, paged; with a word about what is older than all that was read.
fn listed(
    call: &Call<'_>,
    field: &'static str,
    rows: BTreeMap<String, (String, Value)>,
    is_whole: bool,
    target: Option<Value>,
) -> Result<Map<String, Value>, Failure> {
    let keys = rows
        .iter()
        .map(|(id, (time, _))| (newest_first(time), id.clone()))
        .collect();
    let listing = Listing::new(call, field, keys)?;
    let mut answer = listing.answer(|id| rows.get(id).map(|(_, row)| row.clone()));
    if let Some(target) = target {
        answer.insert("target".to_owned(), target);
    }
    answer.insert("older_left_out".to_owned(), json!(!is_whole));
    if !is_whole {
        answer.insert(
            "note".to_owned(),
            json!(format!(
                "Only the newest {MOST} were read: pass `until` to see what is older, or narrow it"
            )),
        );
    }
    Ok(answer)
}

/// The newest events.
pub(crate) async fn events(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let (mut filter, range, target) = filter(call).await?;
    filter.event_types = call
        .arguments
        .texts("event_types")
        .into_iter()
        .map(|kind| kind.trim_start_matches("vim.event.").to_owned())
        .collect();
    let events = call
        .session
        .newest_events(&filter, MOST)
        .await
        .map_err(fault::failure)?;
    let is_whole = events.len() < MOST as usize;
    let rows = events
        .iter()
        .map(|event| (event, text(event, "createdTime", 40)))
        // Some servers do not look at the time.
        .filter(|(_, time)| range.holds(time))
        .map(|(event, time)| {
            let key = event
                .get("key")
                .and_then(vsphere::Value::as_i64)
                .unwrap_or(0);
            // Of one moment, the later event has the higher key, and comes first.
            let id = format!("{:020}", i128::from(i64::MAX) - i128::from(key));
            (id, (time, event_row(event, key)))
        })
        .collect();
    listed(call, "events", rows, is_whole, target)
}

fn text(value: &vsphere::Value, path: &str, longest: usize) -> String {
    guard::text::sanitize_to(value.text_at(path).unwrap_or_default(), longest)
}

/// Takes what says nothing out of a row.
fn row(fields: Value) -> Value {
    match fields {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(_, value)| !value.is_null() && value != "")
                .collect(),
        ),
        other => other,
    }
}

fn event_row(event: &vsphere::Value, key: i64) -> Value {
    let class = guard::text::sanitize_to(event.type_name().unwrap_or("Event"), 120);
    // Events of extensions share a class, and have a type of their own beside it.
    let own = text(event, "eventTypeId", 120);
    // `EntityEventArgument`s: name and reference under names of their own.
    let argument = |field: &str, reference: &str| {
        event.get(field).map_or(Value::Null, |of| {
            shown(
                of.text_at("name"),
                of.get(reference).and_then(vsphere::Value::as_moref),
            )
        })
    };
    row(json!({
        "key": key,
        "time": text(event, "createdTime", 40),
        "type": if own.is_empty() { class } else { own },
        "severity": text(event, "severity", 20),
        "user": text(event, "userName", 120),
        "message": text(event, "fullFormattedMessage", 500),
        "vm": argument("vm", "vm"),
        "host": argument("host", "host"),
        "cluster": argument("computeResource", "computeResource"),
        "datacenter": argument("datacenter", "datacenter"),
        "datastore": argument("ds", "datastore"),
        "network": argument("net", "network"),
        "chain": event.get("chainId").and_then(vsphere::Value::as_i64),
        "reason": text(event, "reason.localizedMessage", 500),
    }))
}

/// The newest tasks: those of the server's history, and the recent ones, each once.
pub(crate) async fn tasks(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let (mut filter, range, target) = filter(call).await?;
    let state = call.arguments.text("task_state");
    filter.states = state.map(str::to_owned).into_iter().collect();
    let mut keeps_history = call.session.about().is_vcenter();
    let mut is_whole = true;
    let mut infos = call.session.recent_tasks().await.map_err(fault::failure)?;
    infos.retain(|info| {
        filter
            .entity
            .as_ref()
            .is_none_or(|(entity, _)| moref(info, "entity").as_ref() == Some(entity))
    });
    if keeps_history {
        let history = call
            .session
            .newest_tasks(&filter, MOST)
            .await
            .map_err(fault::failure)?;
        keeps_history = history.is_some();
        let history = history.unwrap_or_default();
        is_whole = history.len() < MOST as usize;
        infos.splice(0..0, history);
    }
    // What is read last is the newest about a task: that of the recent ones.
    let rows: BTreeMap<String, (String, Value)> = infos
        .iter()
        .filter(|info| state.is_none_or(|state| info.text_at("state") == Some(state)))
        .map(|info| (info, text(info, "queueTime", 40)))
        .filter(|(_, time)| range.holds(time))
        .map(|(info, time)| (id_of(info), (time, task_row(info))))
        .collect();
    let mut answer = listed(call, "tasks", rows, is_whole, target)?;
    if !keeps_history {
        answer.insert(
            "note".to_owned(),
            json!("A standalone host keeps tasks for some minutes only: older ones are not known to it"),
        );
    }
    Ok(answer)
}

fn moref(value: &vsphere::Value, field: &str) -> Option<MoRef> {
    value.get(field).and_then(vsphere::Value::as_moref)
}

fn id_of(info: &vsphere::Value) -> String {
    moref(info, "task").map_or_else(
        || text(info, "key", 80),
        |task| guard::text::sanitize_to(&task.id, 80),
    )
}

/// A task (`TaskInfo`) as it is shown.
pub(super) fn task_row(info: &vsphere::Value) -> Value {
    let flag = |field: &str| info.get(field).and_then(vsphere::Value::as_bool);
    let error = info
        .get("error")
        .filter(|error| error.is_struct())
        .map(|error| {
            let kind = error
                .get("fault")
                .and_then(vsphere::Value::type_name)
                .unwrap_or_default();
            row(json!({
                "type": guard::text::sanitize_to(kind, 120),
                "message": text(error, "localizedMessage", 500),
            }))
        });
    row(json!({
        "task": id_of(info),
        "operation": text(info, "descriptionId", 120),
        "state": text(info, "state", 20),
        "progress_percent": info.get("progress").and_then(vsphere::Value::as_i64),
        "entity": shown(info.text_at("entityName"), moref(info, "entity")),
        "user": text(info, "reason.userName", 120),
        "queued": text(info, "queueTime", 40),
        "started": text(info, "startTime", 40),
        "completed": text(info, "completeTime", 40),
        "cancelable": flag("cancelable"),
        "cancelled": flag("cancelled"),
        "error": error,
    }))
}

/// One task.
pub(crate) async fn task(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let (_, info) = known_task(call).await?;
    let mut answer = Map::new();
    answer.insert("action".to_owned(), json!(call.row.word));
    answer.insert("task".to_owned(), task_row(&info));
    Ok(answer)
}

/// The task that the call names, and what the server knows of it.
///
/// # Errors
///
/// `task.not_found`; those of the server.
pub(super) async fn known_task(call: &Call<'_>) -> Result<(MoRef, vsphere::Value), Failure> {
    let id = call.arguments.text("task").unwrap_or_default();
    let task = MoRef::new("Task", id);
    let info = call
        .session
        .task_info(&task)
        .await
        .map_err(fault::failure)?;
    let info = info.ok_or_else(|| {
        Failure::new(
            "task.not_found",
            format!("Pass a `task` that `list_tasks` shows: the server knows none `{id}`, and forgets tasks some minutes after their end"),
        )
        .with("task", id)
    })?;
    Ok((task, info))
}
