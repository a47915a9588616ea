//! What must hold once a workflow is at rest, whatever happened on the way: what `pilot` says
//! against what is there, and against the records of the companions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};

use super::Tally;
use super::operator::{Job, call};
use super::order;
use super::plan::Deed;
use super::stage::Stage;
use crate::mcp::Client;

/// Judges a workflow at rest. An error tells all that does not hold, with the record.
pub(super) async fn judge(stage: &Stage, job: &Job, tally: &mut Tally) -> Result<()> {
    let id = job.id()?;
    let events = stage.events(id)?;
    let mut wrong = Vec::new();
    if let Err(error) = steps(stage, job, &mut wrong).await {
        wrong.push(format!("{error:#}"));
    }
    record(job, &events, &mut wrong);
    let lines = stage.ledger()?;
    ledger(&lines, job, &events, &mut wrong)?;
    let seen = order::judge(&job.plan, &events, &mut wrong);
    order::of_the_ledger(&job.plan, job.id()?, &lines, &events, &mut wrong);
    for (kind, body) in &events {
        tally.changes += usize::from(
            kind == "outcome"
                && body["outcome"]["is"] == "succeeded"
                && body["outcome"]["changed"] == true,
        );
        tally.recoveries += usize::from(kind == "adopted");
        tally.unknowns += usize::from(kind == "outcome" && body["outcome"]["is"] == "unknown");
    }
    tally.seen.add(&seen);
    tally.judged += 1;
    *tally.ends.entry(job.outcome().to_owned()).or_insert(0) += 1;
    if wrong.is_empty() {
        return Ok(());
    }
    let mut told = format!("workflow {id} (`{}`, {}):", job.plan.tag, job.outcome());
    for what in &wrong {
        let _ = write!(told, "\n  - {what}");
    }
    let _ = write!(told, "\nthe last answer: {}\nits events:", job.last);
    for (kind, body) in &events {
        let long = matches!(kind.as_str(), "created" | "reviewed" | "step_prepared");
        let body = if long { &Value::Null } else { body };
        let _ = write!(told, "\n  {kind} {body}");
    }
    Err(anyhow!(told))
}

/// Each step is what the workflow says of it.
async fn steps(stage: &Stage, job: &Job, wrong: &mut Vec<String>) -> Result<()> {
    let rows = job.last["steps"].as_array().context("no steps")?;
    let said: BTreeSet<&str> = job.last["residue"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|row| row["step"].as_str())
        .collect();
    // Power is one thing that two steps change, of each machine.
    let mut power: BTreeMap<&str, Option<bool>> = BTreeMap::new();
    for meant in job.plan.steps() {
        let step = meant.id.as_str();
        let machine = job.plan.machine_of(meant).unwrap_or_default();
        let row = rows.iter().find(|row| row["id"] == step);
        let state = row
            .and_then(|row| row["state"].as_str())
            .context("a step is missing")?;
        let certain = match state {
            "succeeded" => Some(true),
            "pending" | "awaiting_approval" | "skipped" | "rolled_back" => Some(false),
            "failed" if !said.contains(step) => Some(false),
            "failed" | "unknown" | "rollback_skipped" | "rollback_failed" => None,
            other => {
                wrong.push(format!("`{step}` is `{other}` in a workflow at rest"));
                None
            }
        };
        if state == "rollback_failed" {
            if !said.contains(step) {
                wrong.push(format!("the failed undo of `{step}` is in no residue"));
            }
            if job.outcome() != "rollback_failed" {
                wrong.push(format!(
                    "`{step}` is not undone, and the workflow says nothing"
                ));
            }
        }
        match (meant.deed, certain) {
            (Deed::Off, Some(true)) => {
                power.insert(machine, Some(false));
            }
            (Deed::On, Some(true)) => {
                power.insert(machine, Some(true));
            }
            (Deed::Off | Deed::On, None) => {
                power.insert(machine, None);
            }
            (Deed::Off | Deed::On, Some(false)) => {}
            _ => {
                let is = stage.in_effect(job.id()?, &job.plan, meant).await?;
                if certain.is_some_and(|certain| certain != is) {
                    wrong.push(format!("`{step}` is `{state}`, and in effect: {is}"));
                }
                if is && job.outcome() != "completed" && !said.contains(step) {
                    wrong.push(format!("`{step}` is in effect, and in no residue"));
                }
            }
        }
    }
    for (name, _) in &job.plan.machines {
        let expected = power.get(name.as_str()).copied().unwrap_or(Some(true));
        let on = stage.vcenter()?.see(name).await?.on;
        if let Some(expected) = expected.filter(|expected| *expected != on) {
            wrong.push(format!("{name} is on: {on}, and should be: {expected}"));
        }
    }
    Ok(())
}

/// What was acknowledged is in the record, and the record keeps its own rules.
fn record(job: &Job, events: &[(String, Value)], wrong: &mut Vec<String>) {
    let of = |wanted: &'static str| {
        events
            .iter()
            .filter(move |(kind, _)| kind == wanted)
            .map(|(_, body)| body)
    };
    for approval in &job.approved {
        if !of("approved").any(|body| body["approval"] == approval.as_str()) {
            wrong.push(format!(
                "the approval {approval} was acknowledged and is lost"
            ));
        }
    }
    for step in &job.done {
        let known = events.iter().any(|(kind, body)| {
            body["step"] == step.as_str()
                && match kind.as_str() {
                    "outcome" => body["direction"] == "do" && body["outcome"]["is"] == "succeeded",
                    "probed" => body["verdict"]["is"] == "in_effect",
                    "resolved" => body["happened"] == true,
                    _ => false,
                }
        });
        if !known {
            wrong.push(format!("`{step}` was told as done, and that is lost"));
        }
    }
    for step in &job.resolved {
        if !of("resolved").any(|body| body["step"] == step.as_str()) {
            wrong.push(format!("what was said of `{step}` is lost"));
        }
    }
    // No approval is used twice.
    let mut used = BTreeSet::new();
    for body in of("approved") {
        if !used.insert(body["approval"].to_string()) {
            wrong.push(format!("the approval {} was used twice", body["approval"]));
        }
    }
}

/// What the companion did was announced before, and not done twice.
fn ledger(
    lines: &[Value],
    job: &Job,
    events: &[(String, Value)],
    wrong: &mut Vec<String>,
) -> Result<()> {
    let mine = format!("{}/", job.id()?);
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for line in lines {
        let key = line["key"].as_str().unwrap_or_default();
        if !key.starts_with(&mine) {
            continue;
        }
        *times.entry(key.to_owned()).or_insert(0) += 1;
        let announced = events
            .iter()
            .any(|(kind, body)| kind == "intent" && body["key"] == key);
        if !announced {
            wrong.push(format!("{key} was done without an intent"));
        }
    }
    for (key, times) in times.iter().filter(|(_, times)| **times > 1) {
        wrong.push(format!("{key} was done {times} times"));
    }
    // What must not be done twice is not even sent twice.
    for step in job.plan.steps().filter(|step| step.once()) {
        let mut keys = BTreeSet::new();
        for (_, body) in events
            .iter()
            .filter(|(kind, body)| kind == "intent" && body["step"] == step.id.as_str())
        {
            let known = !keys.insert(body["key"].to_string());
            if known && body["direction"] == "do" {
                wrong.push(format!("{} was sent twice", body["key"]));
            }
        }
    }
    Ok(())
}

/// The chain of the audit is whole.
pub(super) async fn audit(client: &Client) -> Result<()> {
    let found = call(client, "get_audit_log", json!({"verify": true, "limit": 1})).await?;
    let found = found.context("the server is gone")?;
    if found.failed || found.value["verified"] != true {
        return Err(anyhow!("the audit does not verify: {}", found.value));
    }
    Ok(())
}

/// Every change that the vCenter was asked for has an intent, and every change that was told as
/// done was asked for.
pub(super) fn requests(stage: &Stage, jobs: &[&Job]) -> Result<usize> {
    let vcenter = stage.vcenter()?;
    let asked = vcenter.changes()?;
    let (mut intents, mut done) = (BTreeMap::new(), BTreeMap::new());
    for job in jobs {
        let mut sent: BTreeMap<String, (String, String)> = BTreeMap::new();
        for (kind, body) in stage.events(job.id()?)? {
            let attempt = format!("{}{}{}", body["step"], body["direction"], body["attempt"]);
            if kind == "intent" {
                let params = &body["call"]["arguments"];
                let Some(method) = method(params["action"].as_str().unwrap_or_default()) else {
                    continue;
                };
                let by_reference = params["moref"]
                    .as_str()
                    .and_then(|r| vcenter.machines.get(r));
                let name = params["vm_name"]
                    .as_str()
                    .or(by_reference.map(String::as_str));
                let name = match method {
                    "RemoveSnapshot_Task" => "",
                    _ => name.with_context(|| format!("an intent names no machine: {body}"))?,
                };
                let what = (name.to_owned(), method.to_owned());
                *intents.entry(what.clone()).or_insert(0_usize) += 1;
                sent.insert(attempt, what);
            } else if kind == "outcome"
                && body["outcome"]["is"] == "succeeded"
                && body["outcome"]["changed"] == true
                && let Some(what) = sent.get(&attempt)
            {
                *done.entry(what.clone()).or_insert(0_usize) += 1;
            }
        }
    }
    let mut wrong = String::new();
    let of = |map: &BTreeMap<_, usize>, what| map.get(what).copied().unwrap_or_default();
    for what in asked.keys().chain(done.keys()).collect::<BTreeSet<_>>() {
        let (intents, asked, done) = (of(&intents, what), of(&asked, what), of(&done, what));
        if !(done <= asked && asked <= intents) {
            let _ = write!(
                wrong,
                "\n  {} of {}: {intents} intents, {asked} requests at the vCenter, {done} told as done",
                what.1, what.0
            );
        }
    }
    match wrong.as_str() {
        "" => Ok(asked.values().sum()),
        wrong => Err(anyhow!("the vCenter's own record differs:{wrong}")),
    }
}

fn method(action: &str) -> Option<&'static str> {
    Some(match action {
        "power_on" => "PowerOnVM_Task",
        "power_off" => "PowerOffVM_Task",
        "suspend" => "SuspendVM_Task",
        "reset" => "ResetVM_Task",
        "reconfigure" => "ReconfigVM_Task",
        "snapshot_create" => "CreateSnapshot_Task",
        "snapshot_delete" => "RemoveSnapshot_Task",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::plan::Plan;
    use super::{Job, ledger, record};

    fn job() -> Job {
        let mut job = Job::new(Plan::fake("t", false));
        job.id = Some("wf_1".to_owned());
        job
    }

    #[test]
    fn what_was_acknowledged_and_is_lost_is_found() {
        let mut job = job();
        job.approved.push("ap_1".to_owned());
        job.done.insert("set".to_owned());
        job.resolved.push("send".to_owned());
        let mut wrong = Vec::new();
        record(&job, &[], &mut wrong);
        assert_eq!(wrong.len(), 3, "{wrong:?}");

        let approved = ("approved".to_owned(), json!({"approval": "ap_1"}));
        let all = [
            approved.clone(),
            (
                "outcome".to_owned(),
                json!({"step": "set", "direction": "do", "outcome": {"is": "succeeded"}}),
            ),
            (
                "resolved".to_owned(),
                json!({"step": "send", "happened": true}),
            ),
        ];
        wrong.clear();
        record(&job, &all, &mut wrong);
        assert!(wrong.is_empty(), "{wrong:?}");

        record(&job, &[all.as_slice(), &[approved]].concat(), &mut wrong);
        assert_eq!(wrong.len(), 1, "an approval is used once: {wrong:?}");
    }

    #[test]
    fn what_was_done_twice_or_without_a_word_is_found() {
        let key = "wf_1/send/do/0";
        let line = json!({"key": key});
        let intent = (
            "intent".to_owned(),
            json!({"step": "send", "direction": "do", "key": key}),
        );
        let mut wrong = Vec::new();
        let mut judge = |lines: &[_], events: &[_]| {
            wrong.clear();
            assert!(ledger(lines, &job(), events, &mut wrong).is_ok());
            wrong.len()
        };
        let (once, announced) = (std::slice::from_ref(&line), std::slice::from_ref(&intent));
        assert_eq!(judge(once, announced), 0);
        assert_eq!(judge(once, &[]), 1, "no intent");
        assert_eq!(judge(&[line.clone(), line.clone()], announced), 1, "twice");
        assert_eq!(
            judge(once, &[intent.clone(), intent.clone()]),
            1,
            "sent twice"
        );
    }
}
