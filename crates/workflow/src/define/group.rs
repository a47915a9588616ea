//! The list of steps: single ones, those that run at the same time (`parallel`), and one for each
//! item of a list (`for_each`). All of them become one flat list; which belong together is beside it.

use std::collections::BTreeSet;

use guard::{limit, name};
use serde_json::{Map, Value};

use super::field::{ON_FAILURE, count, field, known, named, string, word};
use super::step::step;
use crate::model::{Deed, Each, Group, StepDef, StepId};
use crate::refusal::Refusal;

/// How many steps a parallel group may have.
const MEMBERS: usize = 256;

/// How many items a batch may have.
const BATCH: u32 = 256;

/// How many are, where a parallel group does not say.
const LIMIT: u32 = 4;

/// How many bytes the steps of a list may take, written out for each item (8 MiB).
const WRITTEN_OUT: usize = 8 * limit::DEFINITION_BYTES;

/// Where a step is written for each item of a list, the fields that say so.
const EACH: &[&str] = &["for_each", "batch", "max_failures"];

/// Reads `steps`.
pub(super) fn steps(
    raw: &Map<String, Value>,
    params: &Map<String, Value>,
    max_parallel: u32,
) -> Result<(Vec<StepDef>, Vec<Group>), Refusal> {
    let list = match raw.get("steps") {
        Some(Value::Array(list)) if !list.is_empty() => list,
        _ => {
            return Err(Refusal::new(
                "workflow.steps",
                "Pass `steps`: a list of at least one step, each with `id`, `skill`, `tool` and `params`",
            ));
        }
    };
    let mut all = List {
        max_parallel,
        ..List::default()
    };
    for (i, item) in list.iter().enumerate() {
        let at = format!("steps/{i}");
        let Value::Object(item) = item else {
            return Err(field("step.field", &at, "an object"));
        };
        if item.contains_key("parallel") {
            all.parallel(item, &at)?;
        } else if item.contains_key("for_each") {
            all.for_each(item, &at, params)?;
        } else {
            if let Some(stray) = EACH.iter().find(|name| item.contains_key(**name)) {
                return Err(Refusal::new(
                    "step.field",
                    format!("Remove `{stray}` at /{at}, or say over which list with `for_each`"),
                )
                .with("pointer", format!("/{at}/{stray}")));
            }
            all.push(step(item, &at)?, &at)?;
        }
    }
    Ok((all.steps, all.groups))
}

#[derive(Default)]
struct List {
    steps: Vec<StepDef>,
    groups: Vec<Group>,
    ids: BTreeSet<StepId>,
    max_parallel: u32,
}

impl List {
    fn push(&mut self, step: StepDef, at: &str) -> Result<(), Refusal> {
        self.claim(&step.id, at)?;
        if self.steps.len() == limit::STEPS {
            return Err(Refusal::new(
                "workflow.steps",
                format!(
                    "Split the workflow: it has more than {} steps",
                    limit::STEPS
                ),
            ));
        }
        self.steps.push(step);
        Ok(())
    }

    fn claim(&mut self, id: &StepId, at: &str) -> Result<(), Refusal> {
        if self.ids.insert(id.clone()) {
            return Ok(());
        }
        Err(Refusal::new(
            "step.id",
            format!("Give each step an id of its own: `{id}` is used twice"),
        )
        .with("pointer", format!("/{at}/id")))
    }

    /// `{"id", "parallel": [steps], "limit"}`
    fn parallel(&mut self, raw: &Map<String, Value>, at: &str) -> Result<(), Refusal> {
        known(
            "step.field",
            at,
            raw,
            &["id", "parallel", "limit", "on_failure"],
        )?;
        let id = id(raw, at)?;
        self.claim(&id, at)?;
        let here = format!("{at}/parallel");
        let members = match raw.get("parallel") {
            Some(Value::Array(members)) if (1..=MEMBERS).contains(&members.len()) => members,
            _ => {
                return Err(field(
                    "step.field",
                    &here,
                    &format!("a list of 1 to {MEMBERS} steps"),
                ));
            }
        };
        let on_failure = word("step.field", at, raw, "on_failure", ON_FAILURE)?;
        let from = self.steps.len();
        for (i, member) in members.iter().enumerate() {
            let at = format!("{here}/{i}");
            let Value::Object(member) = member else {
                return Err(field("step.field", &at, "an object"));
            };
            let mut member = step(member, &at)?;
            match &mut member.deed {
                Deed::Gate(_) => {
                    return Err(Refusal::new(
                        "step.field",
                        format!(
                            "Put the gate `{}` before or after the parallel steps: a person is \
                             asked while nothing runs",
                            member.id
                        ),
                    )
                    .with("pointer", format!("/{at}/gate")));
                }
                Deed::Call(call) => call.on_failure = call.on_failure.or(on_failure),
            }
            self.push(member, &at)?;
        }
        let most = self.max_parallel;
        let limit = count("step.field", at, raw, "limit", (1, most), "steps")?;
        self.groups.push(Group {
            id,
            from,
            count: members.len(),
            limit: limit.unwrap_or(LIMIT.min(most)),
            each: None,
        });
        Ok(())
    }

    /// A step with `for_each`, `batch` and `max_failures`.
    fn for_each(
        &mut self,
        raw: &Map<String, Value>,
        at: &str,
        params: &Map<String, Value>,
    ) -> Result<(), Refusal> {
        let id = id(raw, at)?;
        self.claim(&id, at)?;
        let items = items(raw, at, params)?;
        let batch = count("step.field", at, raw, "batch", (1, BATCH), "items")?.unwrap_or(1);
        let most = u32::try_from(limit::STEPS).unwrap_or(u32::MAX);
        let max_failures =
            count("step.field", at, raw, "max_failures", (0, most), "items")?.unwrap_or(0);
        let mut size = 0;
        let from = self.steps.len();
        for (i, item) in items.iter().enumerate() {
            let number = i + 1;
            let mut one = Map::new();
            for (key, value) in raw.iter().filter(|(k, _)| !EACH.contains(&k.as_str())) {
                let value = match key.as_str() {
                    "id" => Value::String(format!("{id}_{number}")),
                    "name" => match shown(value, item, number) {
                        Value::String(name) => {
                            Value::String(format!("{name} ({number} of {})", items.len()))
                        }
                        other => other,
                    },
                    "description" => shown(value, item, number),
                    "params" | "undo" | "verify" => filled(value, item, number)
                        .map_err(|what| field("step.field", &format!("{at}/{key}"), &what))?,
                    _ => value.clone(),
                };
                one.insert(key.clone(), value);
            }
            size += serde_json::to_vec(&one).map_or(usize::MAX, |written| written.len());
            if size > WRITTEN_OUT {
                return Err(Refusal::new(
                    "workflow.too_large",
                    format!(
                        "Split the list at /{at}/for_each: written out, the steps for its {} items \
                         take more than {WRITTEN_OUT} bytes",
                        items.len(),
                    ),
                ));
            }
            let mut one = step(&one, at)?;
            match &mut one.deed {
                Deed::Gate(_) => {
                    return Err(field(
                        "step.field",
                        &format!("{at}/for_each"),
                        "a step that calls a tool, not a gate, with `for_each`; nothing",
                    ));
                }
                Deed::Call(call) => call.item = Some(item.clone()),
            }
            self.push(one, at)?;
        }
        self.groups.push(Group {
            id,
            from,
            count: items.len(),
            limit: batch.min(self.max_parallel),
            each: Some(Each {
                batch,
                max_failures,
            }),
        });
        Ok(())
    }
}

fn id(raw: &Map<String, Value>, at: &str) -> Result<StepId, Refusal> {
    let id = string("step.id", at, raw, "id")?.ok_or_else(|| {
        Refusal::new("step.id", format!("Give the steps at /{at} an `id`"))
            .with("pointer", format!("/{at}"))
    })?;
    named("step.id", &format!("{at}/id"), id, name::step_id)?;
    Ok(StepId(id.to_owned()))
}

/// The items of `for_each`: a list, or a reference to a parameter that is one.
fn items<'a>(
    raw: &'a Map<String, Value>,
    at: &str,
    params: &'a Map<String, Value>,
) -> Result<&'a [Value], Refusal> {
    let allowed = format!(
        "a list of 1 to {} texts, numbers or flat objects, or `${{params.<name>}}` of such a list,",
        limit::STEPS
    );
    let refused = || field("step.field", &format!("{at}/for_each"), &allowed);
    let list = match raw.get("for_each") {
        Some(Value::Array(list)) => list,
        Some(Value::String(reference)) => reference
            .strip_prefix("${params.")
            .and_then(|rest| rest.strip_suffix('}'))
            .and_then(|name| params.get(name))
            .and_then(Value::as_array)
            .ok_or_else(refused)?,
        _ => return Err(refused()),
    };
    let scalar = |value: &Value| !value.is_array() && !value.is_object() && !value.is_null();
    let fits = |item: &Value| match item {
        Value::Object(map) => !map.is_empty() && map.values().all(scalar),
        other => scalar(other),
    };
    if list.is_empty() || list.len() > limit::STEPS || !list.iter().all(fits) {
        return Err(refused());
    }
    Ok(list)
}

/// A text for people, with the item filled in where that is a text or a number.
fn shown(value: &Value, item: &Value, number: usize) -> Value {
    let filled = filled(value, item, number).unwrap_or_else(|_| value.clone());
    match (value, filled) {
        (Value::String(_), Value::String(filled)) => Value::String(filled.replace("$${", "${")),
        (Value::String(_), Value::Number(number)) => Value::String(number.to_string()),
        (_, other) => other,
    }
}

/// A value with `${item}`, `${item.<field>}` and `${index}` filled in.
fn filled(value: &Value, item: &Value, number: usize) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => filled_text(text, item, number)?,
        Value::Array(list) => list
            .iter()
            .map(|value| filled(value, item, number))
            .collect::<Result<_, _>>()?,
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| Ok((key.clone(), filled(value, item, number)?)))
            .collect::<Result<_, String>>()?,
        other => other.clone(),
    })
}

fn filled_text(text: &str, item: &Value, number: usize) -> Result<Value, String> {
    let mut out = String::new();
    let mut rest = text;
    // Something of the item stands at the end of what is there.
    let mut seam = false;
    while let Some(at) = rest.find("${") {
        let (before, found) = rest.split_at(at);
        join(&mut out, before, seam)?;
        seam &= before.is_empty();
        // `$${` is a literal, and every other reference is resolved later.
        let end = found.find('}').filter(|_| !before.ends_with('$'));
        let inside = end.map(|end| &found[2..end]);
        let Some((end, put)) = end.zip(inside.and_then(|name| named_value(name, item, number)))
        else {
            join(&mut out, "${", seam)?;
            seam = false;
            rest = &found[2..];
            continue;
        };
        let put = put?;
        rest = &found[end + 1..];
        if out.is_empty() && rest.is_empty() {
            return Ok(literal(&put));
        }
        let put = match literal(&put) {
            Value::String(text) => text,
            Value::Object(_) => {
                return Err("the whole of a text as `${item}`, or `${item.<field>}`".to_owned());
            }
            other => other.to_string(),
        };
        join(&mut out, &put, true)?;
        seam = true;
    }
    join(&mut out, rest, seam)?;
    Ok(Value::String(out))
}

/// Adds a piece. Where one of the two comes from an item, they must not become a reference, or
/// make a literal of one, together.
fn join(out: &mut String, piece: &str, seam: bool) -> Result<(), String> {
    if seam && out.ends_with('$') && piece.starts_with(['{', '$']) {
        return Err("an item that has no `$` before a `{` or a `$`".to_owned());
    }
    out.push_str(piece);
    Ok(())
}

/// What stands for a name; `None` where the name is not one of an item.
fn named_value(name: &str, item: &Value, number: usize) -> Option<Result<Value, String>> {
    match name.split_once('.') {
        None if name == "item" => Some(Ok(item.clone())),
        None if name == "index" => Some(Ok(Value::from(number))),
        Some(("item", key)) => Some(
            item.get(key)
                .cloned()
                .ok_or_else(|| format!("a field that each item has: not `{key}`,")),
        ),
        _ => None,
    }
}

/// An item as it stands in an argument: what looks like a reference in it is none.
fn literal(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace("${", "$${")),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), literal(value)))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}
