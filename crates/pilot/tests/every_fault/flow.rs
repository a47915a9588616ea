//! The workflow that every cell runs, its world, and how it is brought to rest.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cell::Cell;
use crate::support::{Home, Pilot, fake, step, store};

/// The values before anything runs.
pub(crate) fn before() -> Value {
    json!({"a": "old", "c": "gone soon", "n": 5, "w": "wiped"})
}

/// The values once every step was done once.
pub(crate) fn after() -> Value {
    json!({"a": "new", "b": "old", "n": 9, "z": "done"})
}

/// Which step a value belongs to.
pub(crate) const OWNERS: &[(&str, &str)] = &[
    ("a", "set_a"),
    ("b", "set_b"),
    ("n", "add_n"),
    ("c", "rm_c"),
    ("w", "wipe"),
    ("z", "last"),
];

/// The steps.
pub(crate) fn steps() -> Value {
    let mut look = store("look", "get", "a", json!(null));
    look["outputs"] = json!({"was": "/value"});
    let mut wipe = step("wipe", "erase", json!({"name": "w"}));
    wipe["undo"] =
        json!({"tool": "store", "params": {"action": "set", "name": "w", "value": "wiped"}});
    wipe["verify"] = json!({
        "tool": "peek", "params": {"name": "w"},
        "expect": {"/value": null}, "expect_before": {"/value": "wiped"},
    });
    json!([
        look,
        store("set_a", "set", "a", json!("new")),
        store("set_b", "set", "b", json!("${steps.look.outputs.was}")),
        store("add_n", "add", "n", json!(4)),
        store("mail", "send", "m", json!(null)),
        store("rm_c", "unset", "c", json!(null)),
        wipe,
        store("last", "set", "z", json!("done")),
    ])
}

/// A state directory whose companion has faults put beside it.
pub(crate) struct World {
    pub(crate) home: Home,
}

impl World {
    /// With a bound for a call in seconds, where a cell waits for its end.
    pub(crate) fn new(timeout_s: Option<u32>) -> Self {
        let world = Self { home: Home::new() };
        let mut server = json!({"command": fake(), "env": {
            "FAKE_LEDGER": world.beside("ledger"), "FAKE_STORE": world.beside("store"),
            "FAKE_FAULTS": world.beside("faults"), "FAKE_CALLS": world.beside("calls"),
        }});
        if let Some(timeout) = timeout_s {
            server["timeout_s"] = timeout.into();
        }
        let servers = json!({"mcpServers": {"fake": server}});
        world.home.write("companions.json", servers.to_string());
        world.home.set_store(&before());
        world
    }

    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.home.root().parent().unwrap().join(name)
    }

    /// From here on, these calls are faulty.
    pub(crate) fn put(&self, rules: &Value) {
        let (now, then) = (self.beside("faults.new"), self.beside("faults"));
        fs::write(&now, rules.to_string()).unwrap();
        fs::rename(now, then).unwrap();
    }

    /// The calls that the companion heard of.
    pub(crate) fn calls(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.beside("calls")).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Whether a step is in effect, by what is really there.
    pub(crate) fn truth(&self, step: &str) -> bool {
        let owned = OWNERS.iter().find(|(_, owner)| *owner == step);
        match owned {
            Some((name, _)) => self.home.store()[name] == after()[name],
            None => {
                let key = format!("/{step}/do/");
                let is_it = |line: &Value| line["key"].as_str().unwrap().contains(&key);
                self.home.ledger().iter().any(is_it)
            }
        }
    }
}

/// What came of a workflow.
pub(crate) struct Story {
    /// The answer at rest.
    pub(crate) rest: Value,
    /// The steps that a person was asked about, since their effect was unknown.
    pub(crate) resolved: Vec<(String, bool)>,
    /// Its events, as rows of the audit trail.
    pub(crate) events: Vec<Value>,
}

/// Waits while a workflow runs by itself: it must get on within a bounded time.
pub(crate) fn still_running(pilot: &mut Pilot, id: &str) -> Result<Value, String> {
    let ask = json!({"workflow_id": id, "wait_seconds": 10});
    let mut answer = Value::Null;
    for _ in 0..4 {
        answer = pilot.ok("get_workflow_status", ask.clone());
        if answer["outcome"] != "running" {
            return Ok(answer);
        }
    }
    Err(format!(
        "it says that it runs, and it stands still: {answer}"
    ))
}

/// Tells what became of the one step that is unknown, as it really is.
pub(crate) fn tell(
    world: &World,
    pilot: &mut Pilot,
    id: &str,
    answer: &Value,
) -> Result<(Value, String, bool), String> {
    let rows = answer["steps"].as_array().unwrap();
    let mut unknown = rows.iter().filter(|row| row["state"] == "unknown");
    let (Some(row), None) = (unknown.next(), unknown.next()) else {
        return Err(format!("paused, and not for one unknown step: {answer}"));
    };
    let step = row["id"].as_str().unwrap();
    let truth = world.truth(step);
    let settled = pilot.ok(
        "resolve_step",
        json!({
            "workflow_id": id, "step": step, "happened": truth,
            "note": "It was looked at.", "approver": "Alice",
        }),
    );
    Ok((settled, step.to_owned(), truth))
}

/// Brings a workflow to rest: what is asked is approved, what is unknown is told as it is.
pub(crate) fn drive(
    world: &World,
    pilot: &mut Pilot,
    id: &str,
    mut answer: Value,
    after_fault: &Value,
) -> Result<Story, String> {
    let mut resolved = Vec::new();
    for _ in 0..80 {
        let outcome = answer["outcome"].as_str().unwrap_or_default().to_owned();
        let reason = answer["reason"].as_str().unwrap_or_default().to_owned();
        answer = match (outcome.as_str(), reason.as_str()) {
            ("awaiting_approval", _) => pilot.approve(&answer),
            ("running", _) => still_running(pilot, id)?,
            ("paused", "unknown") => {
                // The fault is gone once a person has come.
                world.put(after_fault);
                let (settled, step, truth) = tell(world, pilot, id, &answer)?;
                resolved.push((step, truth));
                settled
            }
            ("paused", "settled") => pilot.ok("resume_workflow", json!({"workflow_id": id})),
            ("paused", _) => return Err(format!("paused for no reason of this test: {answer}")),
            _ => {
                let events = pilot
                    .audit()
                    .into_iter()
                    .filter(|row| row["workflow"] == id)
                    .filter(|row| row["kind"].as_str().unwrap().starts_with("workflow."))
                    .collect();
                return Ok(Story {
                    rest: answer,
                    resolved,
                    events,
                });
            }
        };
    }
    Err(format!("never came to rest: {answer}"))
}

/// Runs a workflow of these steps under a cell's faults.
pub(crate) fn play(
    cell: &Cell,
    world: &World,
    pilot: &mut Pilot,
) -> Result<(String, Story), String> {
    let left = if cell.last_fails() {
        json!([cell.failing_last()])
    } else {
        json!([])
    };
    if !cell.by_hand() {
        world.put(&cell.rules());
    }
    let id = pilot.create(steps());
    let begun = pilot.run(&id);
    let mut story = drive(world, pilot, &id, begun, &left)?;
    if cell.by_hand() {
        world.put(&cell.rules());
        let asked = pilot.ok("rollback", json!({"workflow_id": id}));
        story = drive(world, pilot, &id, asked, &left)?;
    }
    Ok((id, story))
}
