//! Workflows of the language, as a caller writes them, and waiting for what they come to.

use std::time::Duration;

use engine::{Engine, Shown};
use serde_json::{Map, Value, json};
use workflow::event::{Assurance, Principal};
use workflow::model::WorkflowId;
use workflow::state::State;

use super::{LONG, World, open_approval, person};

/// What a list was asked for: in which states, after which workflow, and how many.
pub(crate) type ListAsked = (Vec<String>, Option<WorkflowId>, u32);

/// Somebody whom the transport authenticated.
pub(crate) fn authenticated(name: &str) -> Principal {
    Principal {
        name: name.to_owned(),
        assurance: Assurance::Authenticated,
        account: format!("{name} via https"),
    }
}

/// A step that sets a value.
pub(crate) fn set(id: &str, name: &str, value: i64) -> Value {
    json!({"id": id, "skill": "fake", "tool": "store",
        "params": {"action": "set", "name": name, "value": value}})
}

/// A step that reads one, and keeps it as `value`.
pub(crate) fn get(id: &str, name: &str) -> Value {
    json!({"id": id, "skill": "fake", "tool": "store",
        "params": {"action": "get", "name": name},
        "outputs": {"value": {"pointer": "/value", "type": "integer"}}})
}

/// A step with some fields beside its own.
pub(crate) fn step_with(mut step: Value, more: &Value) -> Value {
    let (Some(fields), Some(more)) = (step.as_object_mut(), more.as_object()) else {
        unreachable!("both are objects")
    };
    fields.extend(more.clone());
    step
}

/// A step for each of so many items, `name1`, `name2` and so on.
pub(crate) fn list_of(action: &str, name: &str, count: usize, more: &Value) -> Value {
    let items: Vec<String> = (1..=count).map(|i| format!("{name}{i}")).collect();
    let each = json!({"id": "each", "skill": "fake", "tool": "store", "for_each": items,
        "params": {"action": action, "name": "${item}", "value": "${index}"}});
    step_with(each, more)
}

/// A workflow of these steps, with some fields beside them.
pub(crate) fn workflow(steps: Value, more: &Value) -> Map<String, Value> {
    let raw = step_with(json!({"name": "A workflow", "steps": steps}), more);
    match raw {
        Value::Object(raw) => raw,
        _ => unreachable!("it is written as an object"),
    }
}

/// Makes a workflow of these steps, and begins it.
pub(crate) async fn begin(engine: &Engine<World>, steps: Value) -> WorkflowId {
    let raw = workflow(steps, &json!({}));
    let made = engine.create(person(), &raw).await.unwrap();
    let id = made.state.id.clone();
    engine.run(&id, &person()).await.unwrap();
    id
}

/// Says yes to the question that is open.
pub(crate) async fn approve(engine: &Engine<World>, id: &WorkflowId) {
    let open = open_approval(engine, id).await;
    let approved = engine.approve(id, open, person(), String::new(), Vec::new());
    approved.await.unwrap();
}

/// Waits until a workflow stands as it should.
pub(crate) async fn until(
    engine: &Engine<World>,
    id: &WorkflowId,
    stands: impl Fn(&State) -> bool,
) -> Shown {
    let waited = tokio::time::timeout(LONG, async {
        loop {
            let shown = engine.show(id).await.unwrap();
            if stands(&shown.state) {
                return shown;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    match waited.await {
        Ok(shown) => shown,
        Err(_) => panic!("it never stood so: {:?}", engine.show(id).await),
    }
}
