//! list_alarms, acknowledge_alarm: what a vCenter has raised and nobody has cleared.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use vsphere::{FilterSpec, MoRef, Object};

use super::entity::shown;
use super::moment::newest_first;
use crate::call::Call;
use crate::change::{self, Deed, Done, Plan, Undo, Verify};
use crate::failure::Failure;
use crate::fault;
use crate::listing::Listing;
use crate::machine::look;
use crate::object::check_expected;

/// The property that holds what is raised on an object and below it.
const TRIGGERED: &str = "triggeredAlarmState";

/// One alarm that is raised on one object (`AlarmState`).
#[derive(Debug, Clone)]
struct Raised {
    key: String,
    alarm: MoRef,
    entity: MoRef,
    /// `red` or `yellow`.
    status: String,
    time: String,
    is_acknowledged: bool,
    acknowledged_by: String,
}

impl Raised {
    fn from_value(value: &vsphere::Value) -> Option<Self> {
        let moref = |name: &str| value.get(name).and_then(vsphere::Value::as_moref);
        let text = |name: &str, longest| {
            guard::text::sanitize_to(value.text_at(name).unwrap_or_default(), longest)
        };
        Some(Self {
            key: text("key", 200),
            alarm: moref("alarm")?,
            entity: moref("entity")?,
            status: text("overallStatus", 20),
            time: text("time", 40),
            is_acknowledged: value
                .get("acknowledged")
                .and_then(vsphere::Value::as_bool)
                .unwrap_or(false),
            acknowledged_by: text("acknowledgedByUser", 120),
        })
    }

    /// The worst first, of these the newest.
    fn sort_key(&self) -> String {
        let rank = match self.status.as_str() {
            "red" => '0',
            "yellow" => '1',
            _ => '2',
        };
        format!("{rank}{}", newest_first(&self.time))
    }
}

fn raised_in(object: Option<&Object>) -> Vec<Raised> {
    object
        .and_then(|object| object.get(TRIGGERED))
        .map(|list| list.items().filter_map(Raised::from_value).collect())
        .unwrap_or_default()
}

/// All that is raised, or what the call narrows it to.
async fn raised(call: &Call<'_>) -> Result<Vec<Raised>, Failure> {
    let root = call
        .session
        .content()
        .need("rootFolder")
        .map_err(fault::failure)?;
    let object = call
        .session
        .properties(&root, &[TRIGGERED])
        .await
        .map_err(fault::failure)?;
    if object
        .as_ref()
        .is_some_and(|object| object.is_unreadable(TRIGGERED))
    {
        return Err(Failure::new(
            "vsphere.no_permission",
            "Let the user read the root of the inventory, or use another user: without it the server does not show what is raised",
        ));
    }
    let mut raised = raised_in(object.as_ref());
    if let Some(key) = call.arguments.text("alarm_key") {
        raised.retain(|one| one.key == key);
    }
    Ok(raised)
}

/// The names of alarms and objects, by reference; what cannot be read has none.
async fn names(call: &Call<'_>, raised: &[Raised]) -> Result<HashMap<MoRef, String>, Failure> {
    let mut by_kind: HashMap<&str, Vec<&MoRef>> = HashMap::new();
    for one in raised {
        by_kind.entry(&one.alarm.kind).or_default().push(&one.alarm);
        by_kind
            .entry(&one.entity.kind)
            .or_default()
            .push(&one.entity);
    }
    let mut names = HashMap::new();
    for (kind, mut references) in by_kind {
        references.sort();
        references.dedup();
        let path = if kind == "Alarm" { "info.name" } else { "name" };
        for some in references.chunks(500) {
            let spec = FilterSpec::objects(kind, some.iter().copied(), &[path]);
            let objects = call
                .session
                .collect(&[spec])
                .await
                .map_err(fault::failure)?;
            for object in objects {
                if let Some(name) = object.text(path).map(str::to_owned) {
                    names.insert(object.reference, name);
                }
            }
        }
    }
    Ok(names)
}

fn row(one: &Raised, names: &HashMap<MoRef, String>) -> Value {
    let name = |of: &MoRef| names.get(of).map(String::as_str);
    let mut row = json!({
        "alarm_key": one.key,
        "alarm": name(&one.alarm).map(guard::text::sanitize),
        "status": one.status,
        "time": one.time,
        "entity": shown(name(&one.entity), Some(one.entity.clone())),
        "acknowledged": one.is_acknowledged,
    });
    if !one.acknowledged_by.is_empty() {
        row["acknowledged_by"] = json!(one.acknowledged_by);
    }
    row
}

/// What is raised now, the worst first.
pub(crate) async fn list(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let raised = raised(call).await?;
    let keys = raised
        .iter()
        .map(|one| (one.sort_key(), one.key.clone()))
        .collect();
    let listing = Listing::new(call, "alarms", keys)?;
    let by_key: HashMap<&str, &Raised> = raised.iter().map(|one| (&*one.key, one)).collect();
    let page: Vec<Raised> = listing
        .references()
        .filter_map(|key| by_key.get(key).map(|one| (*one).clone()))
        .collect();
    let names = names(call, &page).await?;
    let mut answer = listing.answer(|key| by_key.get(key).map(|one| row(one, &names)));
    let count = |status: &str| raised.iter().filter(|one| one.status == status).count();
    answer.insert("red".to_owned(), json!(count("red")));
    answer.insert("yellow".to_owned(), json!(count("yellow")));
    Ok(answer)
}

/// Marks one as seen.
pub(crate) async fn acknowledge(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let found = raised(call).await?;
    let key = call.arguments.text("alarm_key").unwrap_or_default();
    let Some(one) = found.first() else {
        return Err(Failure::new(
            "alarm.not_found",
            "Pass an `alarm_key` that `list_alarms` shows: this one is not raised, or no longer",
        )
        .with("given", key));
    };
    let names = names(call, &found).await?;
    let shown = row(one, &names);
    let target = json!({
        "server": call.server,
        "type": "Alarm",
        "moref": one.key,
        "name": shown["alarm"],
        "path": shown["entity"]["name"],
    });
    check_expected(call, &one.key, target.clone())?;
    let mut arguments = Map::new();
    arguments.insert("action".to_owned(), json!("list_alarms"));
    arguments.insert("alarm_key".to_owned(), json!(one.key));
    arguments.extend(crate::connection::same_way(call.arguments));
    let pointed = |seen: bool| Map::from_iter([("/alarms/0/acknowledged".to_owned(), json!(seen))]);
    let plan = Plan {
        target,
        changed: !one.is_acknowledged,
        before: acknowledged(one.is_acknowledged),
        after: acknowledged(true),
        undo: Undo::none(
            "vSphere has no way to take an acknowledgement back; the alarm itself stays raised",
        ),
        verify: Some(Verify {
            arguments,
            before: pointed(false),
            after: pointed(true),
        }),
        warnings: Vec::new(),
        refusal: None,
        extra: Map::from_iter([("alarm".to_owned(), shown)]),
    };
    let deed = Acknowledge { one: one.clone() };
    change::carry_out(call, plan, deed).await
}

fn acknowledged(seen: bool) -> Map<String, Value> {
    Map::from_iter([("acknowledged".to_owned(), json!(seen))])
}

struct Acknowledge {
    one: Raised,
}

impl Deed for Acknowledge {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        call.sent.change("AcknowledgeAlarm");
        call.session
            .acknowledge_alarm(&self.one.alarm, &self.one.entity)
            .await
            .map_err(|error| change::not_started(call, error))?;
        let Some(root) = call.session.content().find("rootFolder") else {
            return Ok(Done::default());
        };
        let now = look(call.session, &root, &[TRIGGERED]).await;
        let seen = raised_in(now.as_ref())
            .into_iter()
            .find(|one| one.key == self.one.key);
        Ok(Done {
            after: seen.map(|one| acknowledged(one.is_acknowledged)),
            ..Done::default()
        })
    }
}
