//! Many workflows at once with a companion that does nothing, against what it alone and the store
//! alone can do: where everything but `pilot` is as fast as it can be.

use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rusqlite::types::Value as Cell;
use rusqlite::{Connection, params_from_iter};
use serde_json::json;
use tokio::task::JoinSet;

use super::Size;
use super::lab::{Lab, create, run, run_all};
use crate::bench::report::{Report, Row, median, ms};
use crate::mcp::Client;

pub(super) async fn measure(pilot: &Path, size: &Size, report: &mut Report) -> Result<()> {
    let (workflows, steps) = size.at_once;
    let (mut together, mut alone, mut store) = (Vec::new(), Vec::new(), Vec::new());
    let mut on_cpu = Vec::new();
    for _ in 0..size.rounds {
        let lab = Lab::new()?;
        alone.push(calls(&lab, workflows, steps).await?);
        let client = lab.client(pilot).await?;
        let (rate, cpu) = at_once(client, workflows, steps).await?;
        together.push(rate);
        on_cpu.push(cpu / u32::try_from(workflows * steps)?);
        store.push(again(&lab, workflows, steps)?);
    }
    let [together, alone, store] = [together, alone, store].map(|mut all| {
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or_default()
    });
    let floor = alone.min(store);
    let part = together / floor;
    report.table(
        "many",
        &[
            Row::new(
                format!("the companion alone, {workflows} calls at a time"),
                format!("{alone:.0} calls/s"),
                "",
            ),
            Row::new(
                format!("the store alone: the same rows again, {workflows} steps in a transaction"),
                format!("{store:.0} steps/s"),
                "",
            ),
            Row::new(
                format!("{workflows} workflows of {steps} changes at once"),
                format!("{together:.0} steps/s"),
                format!("{:.0} % of the smaller", part * 100.0),
            ),
            Row::new(
                "time that `pilot` is on a processor for each step, all its threads",
                ms(median(on_cpu)),
                "",
            ),
        ],
    );
    Ok(())
}

/// Steps in a second, of all workflows together, and how long `pilot` was on a processor.
async fn at_once(client: Client, workflows: usize, steps: usize) -> Result<(f64, Duration)> {
    // The first one starts the companion.
    run(&client, &create(&client, &["look"]).await?).await?;
    let mut ids = Vec::new();
    for _ in 0..workflows {
        ids.push(create(&client, &vec!["touch"; steps]).await?);
    }
    let client = Rc::new(client);
    let cpu = on_cpu(client.process())?;
    let time = run_all(&client, &ids).await?;
    let client = Rc::into_inner(client).context("somebody still holds the client")?;
    let cpu = on_cpu(client.process())?.saturating_sub(cpu);
    client.stop().await?;
    Ok((rate(workflows * steps, time), cpu))
}

/// How long the threads of a process were on a processor. Beside other work on the machine this is
/// what can still be compared.
fn on_cpu(pid: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may have ended since.
        let told = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        nanoseconds += told
            .split_whitespace()
            .next()
            .and_then(|first| first.parse::<u64>().ok())
            .unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Calls in a second of the companion without `pilot`.
async fn calls(lab: &Lab, lanes: usize, each: usize) -> Result<f64> {
    let client = Rc::new(lab.companion().await?);
    client.ask("look", json!({"n": 0})).await?;
    let begun = Instant::now();
    let mut running = JoinSet::new();
    for _ in 0..lanes {
        let client = Rc::clone(&client);
        running.spawn_local(async move {
            for n in 0..each {
                client.ask("touch", json!({"n": n})).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    let time = begun.elapsed();
    let client = Rc::into_inner(client).context("somebody still holds the client")?;
    client.stop().await?;
    Ok(rate(lanes * each, time))
}

/// Steps in a second of SQLite alone: the very rows that the workflows left are written once more
/// into an empty database of the same schema, in transactions of as many steps as there were
/// workflows. Without what computes them, which is the engine's.
fn again(lab: &Lab, batch: usize, each: usize) -> Result<f64> {
    let source = Connection::open(lab.database())?;
    let db = Connection::open(lab.home.path().join("again.db"))?;
    db.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=OFF;")?;
    // What stands on a table comes after it.
    let schema = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL
                  ORDER BY type = 'table' DESC, rowid";
    for sql in source
        .prepare(schema)?
        .query_map([], |row| row.get::<_, String>(0))?
    {
        db.execute_batch(&sql?)?;
    }
    let tables = [
        ("event", "SELECT * FROM event ORDER BY audit_seq"),
        (
            "audit",
            "SELECT a.* FROM audit a JOIN event e ON e.audit_seq = a.seq ORDER BY a.seq",
        ),
    ];
    let all: Vec<(String, Vec<Vec<Cell>>)> = tables
        .iter()
        .map(|(table, query)| rows(&source, table, query))
        .collect::<Result<_>>()?;
    let (_, steps) = rows(
        &source,
        "step",
        "SELECT * FROM step ORDER BY place, workflow",
    )?;
    let (_, workflows) = rows(&source, "workflow", "SELECT * FROM workflow ORDER BY id")?;
    let replace = |table: &str, count: usize| {
        format!(
            "INSERT OR REPLACE INTO {table} VALUES ({})",
            vec!["?"; count].join(",")
        )
    };
    let columns = |rows: &[Vec<Cell>]| rows.first().map_or(0, Vec::len);
    let (step, workflow) = (
        replace("step", columns(&steps)),
        replace("workflow", columns(&workflows)),
    );

    let total = batch * each;
    let events = all.iter().map(|(_, rows)| rows.len()).max().unwrap_or(0);
    let begun = Instant::now();
    for turn in 0..each {
        db.execute_batch("BEGIN IMMEDIATE")?;
        // As many of the events as fall to this turn, with their audit rows.
        let (from, to) = (events * turn / each, events * (turn + 1) / each);
        for (insert, rows) in &all {
            let mut insert = db.prepare_cached(insert)?;
            for row in rows.get(from..to).unwrap_or_default() {
                insert.execute(params_from_iter(row))?;
            }
        }
        // Each step once when it begins and once when it ends, and the workflow with it.
        let mut step = db.prepare_cached(&step)?;
        let mut workflow = db.prepare_cached(&workflow)?;
        for row in steps.iter().skip(turn * batch).take(batch) {
            for _ in 0..2 {
                step.execute(params_from_iter(row))?;
            }
        }
        for row in workflows.iter().take(batch) {
            workflow.execute(params_from_iter(row))?;
        }
        db.execute_batch("COMMIT")?;
    }
    Ok(rate(total, begun.elapsed()))
}

/// How to insert into a table, and the rows of a query.
fn rows(source: &Connection, table: &str, query: &str) -> Result<(String, Vec<Vec<Cell>>)> {
    let mut query = source.prepare(query)?;
    let count = query.column_count();
    let rows = query
        .query_map([], |row| (0..count).map(|column| row.get(column)).collect())?
        .collect::<rusqlite::Result<_>>()?;
    let insert = format!(
        "INSERT INTO {table} VALUES ({})",
        vec!["?"; count].join(",")
    );
    Ok((insert, rows))
}

#[expect(clippy::cast_precision_loss, reason = "a rate to read")]
pub(super) fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}
