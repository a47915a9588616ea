//! What `pilot` adds to a step: intent, dispatch, outcome; against one durable
//! commit and one bare MCP round trip in the same run.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::programs::Programs;
use super::report::{Report, Row, median, ms};
use super::startup::home;
use crate::mcp::Client;

/// Steps of the measured workflow.
const STEPS: usize = 100;
/// How often all of it is measured; the middle one counts.
const ROUNDS: usize = 5;
/// A step may cost this many times the floor, or …
const TIMES: f64 = 1.2;
/// … this much more than the floor.
const ABOVE: Duration = Duration::from_micros(300);

pub(super) fn measure(programs: &Programs, report: &mut Report) -> Result<()> {
    let pilot = programs.pilot()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(drive(&pilot, report))
}

async fn drive(pilot: &Path, report: &mut Report) -> Result<()> {
    let home = home()?;
    let idle = std::env::current_exe().context("where is this program?")?;
    let companions = json!({"mcpServers": {"idle": {"command": idle, "args": ["companion"]}}});
    fs::write(home.path().join("companions.json"), companions.to_string())?;

    let log = home.path().join("bench.log");
    let client = Client::start(pilot, &[("PILOTHOUSE_HOME", home.path())], &log).await?;
    // The first workflow starts the companion; it is not measured.
    workflow(&client, "look", 1).await?;

    let (mut commits, mut trips) = (Vec::new(), Vec::new());
    let (mut reads, mut writes, mut prepared) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        commits.push(bare_commits(
            &home.path().join(format!("floor-{round}.db")),
        )?);
        trips.push(bare_trips(&idle, &log).await?);
        reads.push(workflow(&client, "look", STEPS).await?);
        writes.push(workflow(&client, "touch", STEPS).await?);
        prepared.push(workflow(&client, "prepared", STEPS).await?);
    }
    client.stop().await?;

    let (commit, trip) = (median(commits), median(trips));
    let floor = commit + trip;
    let mut rows = vec![
        Row::new(
            "one durable commit (SQLite, WAL, synchronous=FULL)",
            ms(commit),
            "",
        ),
        Row::new("one bare round trip to an idle companion", ms(trip), ""),
        Row::new("the floor: both", ms(floor), ""),
    ];
    let mut promises = Vec::new();
    let (read, change) = (median(reads), median(writes));
    for (what, time) in [("a read", read), ("a change", change)] {
        let ratio = time.as_secs_f64() / floor.as_secs_f64();
        let above = time.saturating_sub(floor);
        rows.push(Row::new(
            format!("{what}, as a step of a workflow of {STEPS}"),
            ms(time),
            format!("{ratio:.2} × the floor, {} above it", ms(above)),
        ));
        promises.push((
            ratio <= TIMES || above <= ABOVE,
            format!(
                "{what} within {TIMES} × of the floor, or {} above it",
                ms(ABOVE)
            ),
        ));
    }
    // Preparing is another call, and is no part of what a step is promised to cost.
    let prepare = median(prepared).saturating_sub(change);
    rows.push(Row::new(
        "preparing a change by a preview, counted apart",
        ms(prepare),
        format!(
            "{:.2} × the bare round trip",
            prepare.as_secs_f64() / trip.as_secs_f64()
        ),
    ));
    report.table("step", &rows);
    for (kept, what) in promises {
        report.promise(kept, what);
    }
    Ok(())
}

/// The time of one commit, of as many as the workflow has steps.
fn bare_commits(path: &Path) -> Result<Duration> {
    let db = Connection::open(path)?;
    db.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE event(seq INTEGER PRIMARY KEY, payload TEXT NOT NULL)")?;
    let payload = "x".repeat(500);
    let mut insert = db.prepare("INSERT INTO event(payload) VALUES (?1)")?;
    let begun = Instant::now();
    for _ in 0..STEPS {
        insert.execute([&payload])?;
    }
    Ok(per_step(begun.elapsed()))
}

/// The time of one call of the companion without `pilot`.
async fn bare_trips(idle: &Path, log: &Path) -> Result<Duration> {
    let environment: [(&str, &str); 0] = [];
    let client = Client::start_with(idle, "companion", &environment, log).await?;
    client.ask("look", json!({"n": 0})).await?;
    let begun = Instant::now();
    for n in 0..STEPS {
        client.ask("look", json!({"n": n})).await?;
    }
    let time = begun.elapsed();
    client.stop().await?;
    Ok(per_step(time))
}

/// The time of one step of a workflow that runs to its end.
async fn workflow(client: &Client, tool: &str, steps: usize) -> Result<Duration> {
    let steps: Vec<Value> = (0..steps)
        .map(|n| {
            let mut params = json!({"n": n});
            if tool == "prepared" {
                params["action"] = "turn".into();
            }
            json!({"id": format!("s{n}"), "name": format!("Step {n}"), "skill": "idle", "tool": tool, "params": params})
        })
        .collect();
    let count = u32::try_from(steps.len())?;
    let made = client
        .ask(
            "create_workflow",
            json!({"name": "bench", "description": "Steps that do nothing.", "steps": steps}),
        )
        .await?;
    let id = made["workflow_id"]
        .as_str()
        .context("`create_workflow` gave no id")?
        .to_owned();
    let mut begun = Instant::now();
    let mut answer = client
        .ask("run_workflow", json!({"workflow_id": id}))
        .await?;
    if answer["outcome"] == "awaiting_approval" {
        let approval = answer["approval"]["id"].clone();
        begun = Instant::now();
        answer = client
            .ask(
                "approve",
                json!({"workflow_id": id, "approval_id": approval, "approver": "bench"}),
            )
            .await?;
    }
    if answer["outcome"] != "completed" {
        bail!("the measured workflow did not complete: {answer}");
    }
    Ok(begun.elapsed() / count)
}

fn per_step(time: Duration) -> Duration {
    time / u32::try_from(STEPS).unwrap_or(u32::MAX)
}
