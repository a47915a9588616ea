//! The operator: reads what is about to happen, and decides.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{stage::Cast, tell::Tell};

/// The name that goes with the decisions.
const NAME: &str = "demo operator";
/// Far more approvals than any workflow of the demo needs.
const MOST: usize = 50;

/// How much of a review is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    /// All that the operator reads.
    All,
    /// Of the plan only the steps that cannot be undone; of steps only what changes.
    Little,
}

/// A workflow that came to rest.
pub(super) struct Run {
    /// The last answer.
    pub(super) answer: Value,
    /// What each step answered, by its id.
    pub(super) results: BTreeMap<String, Value>,
    /// The plans that were asked about.
    pub(super) plans: Vec<Value>,
    /// The ids of the steps that were asked about, in order.
    pub(super) asked: Vec<String>,
}

impl Run {
    /// What the operator read before anything happened.
    pub(super) fn review(&self) -> String {
        let plans = self.plans.iter().map(|plan| strings(&plan["summary"]));
        plans.flatten().collect::<Vec<_>>().join("\n")
    }

    /// The step of that id in the last answer.
    pub(super) fn step(&self, id: &str) -> Result<&Value> {
        self.answer["steps"]
            .as_array()
            .and_then(|steps| steps.iter().find(|step| step["id"] == id))
            .with_context(|| format!("the answer says nothing of `{id}`: {}", self.answer))
    }

    /// The state of that step.
    pub(super) fn state(&self, id: &str) -> Result<&str> {
        Ok(text(self.step(id)?, "state"))
    }
}

/// Runs a workflow to its rest: tells what was done, reads each approval, and gives it.
pub(super) async fn run_to_rest(
    cast: &Cast<'_>,
    workflow: &str,
    show: Show,
    tell: &mut Tell,
) -> Result<Run> {
    let go = json!({"workflow_id": workflow});
    let mut run = Run {
        answer: cast.agent.ask("run_workflow", go.clone()).await?,
        results: BTreeMap::new(),
        plans: Vec::new(),
        asked: Vec::new(),
    };
    for _ in 0..MOST {
        hear(&mut run, tell);
        run.answer = match text(&run.answer, "outcome") {
            "awaiting_approval" => {
                let approval = run.answer["approval"].clone();
                read(&approval, show, &mut run, tell);
                cast.agent.ask("approve", yes(workflow, &approval)).await?
            }
            "running" => cast.agent.ask("run_workflow", go.clone()).await?,
            _ => return Ok(run),
        };
    }
    bail!("the workflow asked for more than {MOST} approvals")
}

/// The decision that an approval of a workflow is given.
pub(super) fn yes(workflow: &str, approval: &Value) -> Value {
    json!({"workflow_id": workflow, "approval_id": approval["id"], "approver": NAME})
}

/// Takes the results that an answer brought, and tells what they say.
fn hear(run: &mut Run, tell: &mut Tell) {
    for result in run.answer["results"].as_array().into_iter().flatten() {
        let (step, body) = (text(result, "step"), &result["body"]);
        let said = told(body);
        if !said.is_empty() {
            tell.act("vCenter", format_args!("{step}: {said}"));
        }
        run.results.insert(step.to_owned(), body.clone());
    }
}

/// What a result says, in a line: what changed, or what the machine is like.
fn told(body: &Value) -> String {
    if let (Some(before), Some(after)) = (body["before"].as_object(), body["after"].as_object()) {
        let changes: Vec<String> = after
            .iter()
            .filter(|(name, value)| before.get(*name) != Some(value))
            .map(|(name, value)| match before.get(name) {
                None => format!("{name} {}", plain(value)),
                Some(old) => format!("{name} {} → {}", plain(old), plain(value)),
            })
            .collect();
        return if changes.is_empty() {
            "done".to_owned()
        } else {
            changes.join(", ")
        };
    }
    match &body["vm"] {
        Value::Object(_) => machine(&body["vm"]),
        _ => String::new(),
    }
}

/// A machine in a few words.
pub(super) fn machine(vm: &Value) -> String {
    format!(
        "{}, {} CPU, {} MB",
        text(vm, "power_state"),
        plain(&vm["cpu"]),
        plain(&vm["memory_mb"])
    )
}

/// A value as a person writes it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "–".to_owned(),
        other => other.to_string(),
    }
}

/// The operator reads an approval, and gives it.
fn read(approval: &Value, show: Show, run: &mut Run, tell: &mut Tell) {
    let digest = text(approval, "digest");
    let digest = digest.strip_prefix("sha256:").unwrap_or(digest);
    let short: String = digest.chars().take(12).collect();
    if text(approval, "kind") == "plan" {
        run.plans.push(approval.clone());
        plan(approval, show, tell);
        tell.act(
            "operator",
            format_args!("reads it, and approves this very plan (digest {short}…)"),
        );
        return;
    }
    let mut warned = false;
    for step in approval["steps"].as_array().into_iter().flatten() {
        let id = text(step, "id");
        run.asked.push(id.to_owned());
        tell.act(
            "pilot",
            format_args!(
                "asks about {id} on {}, which is {}",
                text(&step["target"], "name"),
                text(step, "risk")
            ),
        );
        let changes = strings(&step["changes"]).join(", ");
        if !changes.is_empty() {
            tell.more(changes);
        }
        for warning in strings(&step["warnings"]) {
            tell.more(format_args!("warning: {warning}"));
            warned = true;
        }
        if show == Show::All {
            tell.more(format_args!("undo: {}", text(step, "undo")));
        }
    }
    let approves = if warned {
        "approves all the same"
    } else {
        "approves"
    };
    tell.act("operator", format_args!("{approves} (digest {short}…)"));
}

/// Prints the review of a plan.
fn plan(approval: &Value, show: Show, tell: &mut Tell) {
    let summary = strings(&approval["summary"]);
    tell.act("pilot", "shows what would happen, before anything does:");
    tell.pause();
    if show == Show::All {
        summary.iter().for_each(|line| tell.quote(line));
    } else {
        let (first, last) = (summary.first(), summary.last());
        first.into_iter().for_each(|line| tell.quote(line));
        tell.quote("…");
        for step in approval["steps"].as_array().into_iter().flatten() {
            if text(step, "undo").starts_with("none") {
                tell.quote(&format!(
                    "- {} [{}]: {}",
                    text(step, "id"),
                    text(step, "risk"),
                    text(step, "what")
                ));
                tell.quote(&format!("    undo: {}", text(step, "undo")));
            }
        }
        tell.quote("…");
        last.into_iter().for_each(|line| tell.quote(line));
    }
    tell.pause();
}

/// The texts of a list.
pub(super) fn strings(list: &Value) -> Vec<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// A text in an answer; empty where there is none.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::told;

    #[test]
    fn a_result_is_told_by_what_it_changed() {
        let body =
            json!({"before": {"cpu": 1, "memory_mb": 32}, "after": {"cpu": 4, "memory_mb": 32}});
        assert_eq!(told(&body), "cpu 1 → 4");
        let body =
            json!({"before": {"snapshots": 0}, "after": {"snapshots": 1, "snapshot_name": "x"}});
        assert_eq!(told(&body), "snapshots 0 → 1, snapshot_name x");
        let body =
            json!({"before": {"power_state": "poweredOn"}, "after": {"power_state": "poweredOn"}});
        assert_eq!(told(&body), "done");
        let body = json!({"vm": {"power_state": "poweredOn", "cpu": 4, "memory_mb": 4096}});
        assert_eq!(told(&body), "poweredOn, 4 CPU, 4096 MB");
        assert_eq!(told(&json!({"vms": []})), "");
    }
}
