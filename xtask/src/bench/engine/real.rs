//! Many workflows at once with the companion that they are for: `vmware-control`, and a vCenter
//! simulator behind it. Against the same calls by this client, without `pilot`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::Size;
use crate::bench::programs::Programs;
use crate::bench::report::{Report, Row};
use crate::bench::vsphere::lab::{self, Tool, simulator};
use crate::mcp::Client;
use crate::sim;

/// The least part of what the companion alone can do. The store alone can do far more.
const PART: f64 = 0.7;
/// How often `pilot` asks for the preview of a change while it runs a workflow: when it reviews the
/// whole plan, and right before the change.
const PREVIEWS: usize = 2;

pub(super) async fn measure(
    programs: &Programs,
    pilot: &Path,
    size: &Size,
    report: &mut Report,
) -> Result<()> {
    let (workflows, steps) = size.real;
    let control = programs.control()?;
    let server = simulator(&sim::ensure_vcsim()?, workflows, &[])?;
    let lab = lab::Lab::at(server.host(), server.port())?;
    let tool = Rc::new(lab.tool(&control).await?);
    let vms = uuids(&tool).await?;
    ensure!(vms.len() == workflows, "{} VMs are listed", vms.len());

    let companions = json!({"mcpServers": {"vmware": {
        "command": control, "args": ["mcp"], "env": BTreeMap::from(lab.environment()),
    }}});
    fs::write(lab.path("companions.json"), companions.to_string())?;
    fs::write(lab.path("config.toml"), "plan_approval = \"destructive\"\n")?;
    let environment = [("PILOTHOUSE_HOME", lab.path(""))];
    let client = Rc::new(Client::start(pilot, &environment, &lab.path("pilot.log")).await?);

    let (mut alone, mut together) = (Vec::new(), Vec::new());
    for round in 0..size.rounds {
        let before = rows(&lab)?;
        alone.push(calls(&tool, &vms, round, steps).await?);
        let between = rows(&lab)?;
        let ids = create(&client, &vms, round, steps).await?;
        let made = rows(&lab)?;
        together.push(at_once(&client, &ids, steps).await?);
        let (bare, ours) = (between - before, rows(&lab)? - made);
        ensure!(
            bare == ours,
            "the calls without `pilot` left {bare} rows in the audit log, and those of `pilot` {ours}"
        );
    }
    let client = Rc::into_inner(client).context("somebody still holds the client")?;
    client.stop().await?;
    let tool = Rc::into_inner(tool).context("somebody still holds the tool")?;
    tool.stop().await?;

    let [alone, together] = [alone, together].map(|mut all| {
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or_default()
    });
    let part = together / alone;
    report.table(
        "real",
        &[
            Row::new(
                format!(
                    "`vmware-control` alone, {workflows} changes at a time, each with two previews"
                ),
                format!("{alone:.0} changes/s"),
                "",
            ),
            Row::new(
                format!("{workflows} workflows of {steps} changes at once"),
                format!("{together:.0} steps/s"),
                format!("{:.0} % of it", part * 100.0),
            ),
        ],
    );
    report.promise(
        part >= PART,
        format!(
            "{workflows} workflows at once through `vmware-control`: at least {:.0} % of it alone",
            PART * 100.0
        ),
    );
    Ok(())
}

/// The uuids of all VMs.
async fn uuids(tool: &Tool) -> Result<Vec<String>> {
    let mut listed = tool
        .ask(json!({"action": "list_vms", "limit": 1_000}))
        .await?;
    let rows = listed["vms"].take();
    rows.as_array()
        .context("no VMs are listed")?
        .iter()
        .map(|vm| {
            Ok(vm["instance_uuid"]
                .as_str()
                .context("a VM has no uuid")?
                .to_owned())
        })
        .collect()
}

/// A change that always changes something, and that nobody is asked about.
fn change(vm: &str, who: &str, round: usize, step: usize) -> Value {
    json!({"action": "rename", "vm_uuid": vm, "new_name": format!("{vm}-{who}-{round}-{step}")})
}

/// Changes in a second of the companion without `pilot`.
async fn calls(tool: &Rc<Tool>, vms: &[String], round: usize, steps: usize) -> Result<f64> {
    let begun = Instant::now();
    let mut running = JoinSet::new();
    for vm in vms {
        let (tool, vm) = (Rc::clone(tool), vm.clone());
        running.spawn_local(async move {
            for step in 0..steps {
                let change = change(&vm, "alone", round, step);
                let mut preview = change.clone();
                preview["preview"] = true.into();
                // As `pilot` says it, with a key by which a repeated call is told.
                let beside = json!({
                    "pilothouse/key": format!("bench/{vm}/{round}/{step}"),
                    "pilothouse/attempt": 1,
                });
                for _ in 0..PREVIEWS {
                    tool.ask_with(preview.clone(), beside.clone()).await?;
                }
                let done = tool.ask_with(change, beside).await?;
                ensure!(done["changed"] == true, "nothing was changed: {done}");
            }
            Ok(())
        });
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok(super::many::rate(vms.len() * steps, begun.elapsed()))
}

/// Makes a workflow for each VM.
async fn create(
    client: &Client,
    vms: &[String],
    round: usize,
    steps: usize,
) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for vm in vms {
        let steps: Vec<Value> = (0..steps)
            .map(|step| {
                let mut params = change(vm, "pilot", round, step);
                params["credential_profile"] = lab::PROFILE.into();
                json!({"id": format!("s{step}"), "skill": "vmware", "tool": lab::TOOL, "params": params})
            })
            .collect();
        let definition = json!({"name": "bench", "description": "Renames a VM.", "steps": steps});
        ids.push(super::lab::made(client, definition).await?);
    }
    Ok(ids)
}

/// Steps in a second, of all workflows together.
async fn at_once(client: &Rc<Client>, ids: &[String], steps: usize) -> Result<f64> {
    let time = super::lab::run_all(client, ids).await?;
    Ok(super::many::rate(ids.len() * steps, time))
}

/// How many rows the audit log of `vmware-control` has: what it was asked, counted by itself.
fn rows(lab: &lab::Lab) -> Result<i64> {
    let audit = Connection::open_with_flags(
        lab.path("control-audit.db"),
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    Ok(audit.query_row("SELECT count(*) FROM audit", [], |row| row.get(0))?)
}
