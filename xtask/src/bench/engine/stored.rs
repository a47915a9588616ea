//! Whether it matters how many workflows are stored.

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;
use tokio::task::JoinSet;

use super::Size;
use super::lab::{Lab, create, run};
use crate::bench::report::{Report, Row, median, ms};
use crate::bench::startup::start;
use crate::mcp::Client;

/// So many are made at the same time.
const LANES: usize = 100;
/// How often each is looked at, with both homes in turns.
const LOOKS: usize = 50;
/// So many times what it costs with few may it cost with many.
const TIMES: f64 = 1.5;
/// Or so much more: below that, a ratio tells about noise.
const ABOVE: Duration = Duration::from_micros(500);

/// A home with so many workflows, and some of their ids.
struct Stored {
    lab: Lab,
    ids: Vec<String>,
}

/// How long each question took.
#[derive(Default)]
struct Times {
    start: Vec<Duration>,
    first: Vec<Duration>,
    status: Vec<Duration>,
    list: Vec<Duration>,
}

pub(super) async fn measure(pilot: &Path, size: &Size, report: &mut Report) -> Result<()> {
    let (few, many) = size.stored;
    let homes = [fill(pilot, few).await?, fill(pilot, many).await?];
    let mut times = [Times::default(), Times::default()];
    for round in 0..size.rounds {
        let mut clients = Vec::new();
        for (stored, times) in homes.iter().zip(&mut times) {
            for _ in 0..LOOKS / size.rounds {
                times.start.push(start(pilot, stored.lab.home.path())?.time);
            }
            // A process of its own each round, so that what is asked about is not in memory.
            let client = stored.lab.client(pilot).await?;
            times.first.push(look(&client, stored, 0).await?);
            clients.push(client);
        }
        for n in 0..LOOKS {
            for ((stored, times), client) in homes.iter().zip(&mut times).zip(&clients) {
                times
                    .status
                    .push(look(client, stored, round + n + 1).await?);
                times.list.push(list(client).await?);
            }
        }
        for client in clients {
            client.stop().await?;
        }
    }
    let [with_few, with_many] = times;
    let mut rows = Vec::new();
    let mut promises = Vec::new();
    for (what, before, now) in [
        ("start to `tools/list`", with_few.start, with_many.start),
        (
            "the first question after a start",
            with_few.first,
            with_many.first,
        ),
        (
            "`get_workflow_status` of one",
            with_few.status,
            with_many.status,
        ),
        (
            "`list_workflows`, first page",
            with_few.list,
            with_many.list,
        ),
    ] {
        let (before, now) = (median(before), median(now));
        let ratio = now.as_secs_f64() / before.as_secs_f64();
        rows.push(Row::new(
            format!("{what}, {many} stored"),
            ms(now),
            format!("{} with {few}: {ratio:.2} ×", ms(before)),
        ));
        promises.push((
            ratio <= TIMES || now.saturating_sub(before) <= ABOVE,
            format!(
                "{what}: with {many} stored within {TIMES} ×, or {} above, {few}",
                ms(ABOVE)
            ),
        ));
    }
    report.table("stored", &rows);
    for (kept, what) in promises {
        report.promise(kept, what);
    }
    Ok(())
}

/// Makes the workflows as anybody does, of one step each, and runs them to their end.
async fn fill(pilot: &Path, count: usize) -> Result<Stored> {
    let lab = Lab::new()?;
    let client = Rc::new(lab.client(pilot).await?);
    run(&client, &create(&client, &["look"]).await?).await?;
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        let client = Rc::clone(&client);
        let mine = count / LANES + usize::from(lane < count % LANES);
        lanes.spawn_local(async move {
            let mut ids = Vec::new();
            for _ in 0..mine {
                let id = create(&client, &["look"]).await?;
                run(&client, &id).await?;
                ids.push(id);
            }
            anyhow::Ok(ids)
        });
    }
    let mut ids = Vec::new();
    while let Some(lane) = lanes.join_next().await {
        ids.extend(lane??);
    }
    if ids.len() != count {
        bail!("{} workflows were made instead of {count}", ids.len());
    }
    let client = Rc::into_inner(client).context("somebody still holds the client")?;
    client.stop().await?;
    Ok(Stored { lab, ids })
}

/// How long it takes to look at one of them, far from the one before.
async fn look(client: &Client, stored: &Stored, n: usize) -> Result<Duration> {
    let id = stored
        .ids
        .get(n * 7_919 % stored.ids.len())
        .context("there are no workflows")?;
    let begun = Instant::now();
    let answer = client
        .ask("get_workflow_status", json!({"workflow_id": id}))
        .await?;
    let time = begun.elapsed();
    if answer["outcome"] != "completed" {
        bail!("a stored workflow is not completed: {answer}");
    }
    Ok(time)
}

/// How long the first page of the list takes.
async fn list(client: &Client) -> Result<Duration> {
    let begun = Instant::now();
    let answer = client.ask("list_workflows", json!({})).await?;
    let time = begun.elapsed();
    if answer["returned"] != 20 {
        bail!("the first page of the list has {} rows", answer["returned"]);
    }
    Ok(time)
}
