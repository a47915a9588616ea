//! The named points: `pilot` ends at each of them, the first time that it is reached, the second
//! time, and so on until it is not reached any more; and again while it recovers.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};
use tokio::task::JoinSet;

use super::dice::Dice;
use super::operator::{Job, Went};
use super::plan::Plan;
use super::stage::Stage;
use super::{Programs, Tally, kept, oracle, table};

/// How many runs go on beside each other.
const BESIDE: usize = 4;
/// More often than that no point is reached in one run.
const MOST: usize = 300;
/// The first ends from which the recovery is ended in turn: in the midst of a step that cannot be
/// repeated, and of the rollback. After so many hundredths of the times that the point is reached.
const FIRST: &[(&str, usize)] = &[("companions.written", 45), ("journal.before_commit", 80)];
/// On the vCenter only each so many-th time; in the short form also in the recovery.
const STRIDE: usize = 9;
const SHORT: usize = 5;
/// A workflow that does several things at once takes seconds: the short form ends it at the first of
/// those points only, each so many-th time.
const WIDE: usize = 10;
/// How many machines there are per pool there.
const MACHINES: usize = 60;

/// What is run: a chain of ends, the last of which moves on until it is not reached any more.
#[derive(Clone)]
struct Chain {
    /// What comes before.
    first: Option<(String, usize)>,
    point: String,
    /// Several steps at once, instead of one after the other.
    wide: bool,
    boom: bool,
    /// From one time to the next.
    stride: usize,
}

/// Ends the programs at every point, or at the one that is named.
///
/// The short form ends the recovery at some of the times only.
pub(super) async fn run(programs: &Rc<Programs>, only: &str, short: bool) -> Result<()> {
    let begun = Instant::now();
    let names: Vec<String> = table()?
        .into_iter()
        .filter(|name| only.is_empty() || name == only)
        .collect();
    ensure!(!names.is_empty(), "there is no point `{only}`");
    let mut chains = VecDeque::new();
    for point in &names {
        for boom in [false, true] {
            chains.push_back(Chain {
                first: None,
                point: point.clone(),
                wide: false,
                boom,
                stride: 1,
            });
        }
    }
    println!("Named points: {}, on the fake companion", names.len());
    let play = |chain: Chain| {
        let programs = Rc::clone(programs);
        async move { on_the_fake(&programs, &chain).await }
    };
    let on_fake = beside(chains, play).await?;
    println!("  {} ({} s)", on_fake.told(), begun.elapsed().as_secs());
    finish(&names, &on_fake)?;

    let mut chains = VecDeque::new();
    for (point, part) in FIRST {
        // Reached in both variants, the longer of which is ended here.
        let Some(times) = on_fake.reached.get(*point) else {
            continue;
        };
        for second in &names {
            chains.push_back(Chain {
                first: Some(((*point).to_owned(), times * part / 200)),
                point: second.clone(),
                wide: false,
                boom: true,
                stride: if short { SHORT } else { 1 },
            });
        }
    }
    println!("The same, once more while it recovers");
    let again = beside(chains, play).await?;
    println!("  {} ({} s)", again.told(), begun.elapsed().as_secs());
    if only.is_empty() {
        finish(&names, &again)?;
    }

    println!("Several steps at once: a parallel group, and a list in batches");
    let ended_at = names
        .iter()
        .filter(|name| !short || FIRST.iter().any(|(first, _)| first == name));
    let chains = ended_at.map(|point| Chain {
        first: None,
        point: point.clone(),
        wide: true,
        boom: true,
        stride: if short { WIDE } else { 1 },
    });
    let wide = beside(chains.collect(), play).await?;
    println!("  {} ({} s)", wide.told(), begun.elapsed().as_secs());
    if only.is_empty() {
        if let Some(what) = wide.seen.missed(!short) {
            bail!("not exercised at all: {what}");
        }
        if !short {
            finish(&names, &wide)?;
        }
    }

    println!("Named points on a vCenter, each {STRIDE}th time");
    let stage = Stage::set(programs, MACHINES, false).await?;
    let machines: VecDeque<String> = stage.vcenter()?.machines.values().cloned().collect();
    let ground = Rc::new(Ground {
        stage,
        machines: RefCell::new(machines),
        jobs: RefCell::new(Vec::new()),
    });
    let chains = names.iter().map(|point| Chain {
        first: None,
        point: point.clone(),
        wide: false,
        boom: true,
        stride: STRIDE,
    });
    let played = beside(chains.collect(), |chain| {
        let ground = Rc::clone(&ground);
        async move { on_the_vcenter(&ground, &chain).await }
    })
    .await;
    let played = match played {
        Ok(mut tally) => finish_vcenter(&ground, &mut tally).await.map(|()| tally),
        Err(error) => Err(error),
    };
    let on_vcenter = played.map_err(|e| kept(&e, "on the vCenter", ground.stage.keep()))?;
    println!(
        "  {}; {} requests for a change at the vCenter, 0 sessions left",
        on_vcenter.told(),
        on_vcenter.requests
    );
    finish(&names, &on_vcenter)?;
    if let Ok(ground) = Rc::try_unwrap(ground).map_err(|_| anyhow!("in use")) {
        ground.stage.strike().await?;
    }
    Ok(())
}

/// What the runs on the vCenter share.
struct Ground {
    stage: Stage,
    machines: RefCell<VecDeque<String>>,
    jobs: RefCell<Vec<Job>>,
}

/// Plays all chains, some beside each other; ends with the first that fails.
async fn beside<Played>(chains: VecDeque<Chain>, play: impl Fn(Chain) -> Played) -> Result<Tally>
where
    Played: Future<Output = Result<Tally>> + 'static,
{
    let mut chains = chains;
    let mut going = JoinSet::new();
    let mut all = Tally::default();
    loop {
        while going.len() < BESIDE
            && let Some(chain) = chains.pop_front()
        {
            going.spawn_local(play(chain));
        }
        match going.join_next().await {
            None => return Ok(all),
            Some(played) => all.add(played??),
        }
    }
}

/// No point was left out, and something was exercised.
fn finish(names: &[String], tally: &Tally) -> Result<()> {
    for name in names {
        let times = tally.reached.get(name).copied().unwrap_or_default();
        ensure!(times > 0, "no run ever reached the point `{name}`");
    }
    ensure!(
        tally.kills > 0 && tally.judged > 0 && tally.changes > 0,
        "nothing was exercised"
    );
    Ok(())
}

async fn on_the_fake(programs: &Rc<Programs>, chain: &Chain) -> Result<Tally> {
    let mut tally = Tally::default();
    for count in (1..=MOST).step_by(chain.stride) {
        let stage = Stage::set(programs, 0, false).await?;
        let plan = if chain.wide {
            let mut dice = Dice::new(count as u64, 1);
            Plan::wide("one", chain.boom, &mut dice)
        } else {
            Plan::fake("one", chain.boom)
        };
        let mut job = Job::new(plan);
        stage.furnish(&job.plan)?;
        let mut ends: Vec<(&str, usize)> = Vec::new();
        ends.extend(chain.first.as_ref().map(|(point, n)| (point.as_str(), *n)));
        ends.push((&chain.point, count));
        let played = play(&stage, &mut job, &ends, &mut tally).await;
        let what = || format!("ended at {ends:?}, one step fails: {}", chain.boom);
        let killed = played.map_err(|e| kept(&e, &what(), stage.keep()))?;
        if chain.first.is_some() {
            ensure!(killed >= 1, "the first of {ends:?} was never reached");
        }
        stage.strike().await?;
        if killed < ends.len() {
            return Ok(tally);
        }
    }
    Err(anyhow!("{} is reached without end", chain.point))
}

async fn on_the_vcenter(ground: &Rc<Ground>, chain: &Chain) -> Result<Tally> {
    let mut tally = Tally::default();
    for count in (1..=MOST).step_by(chain.stride) {
        let stage = &ground.stage;
        let machine = ground.machines.borrow_mut().pop_front();
        let machine = machine.context("there are too few machines")?;
        let tag = format!("{}-{count}", chain.point.replace('.', "-"));
        let before = stage.vcenter()?.see(&machine).await?;
        let mut job = Job::new(Plan::machine(&tag, &machine, before, chain.boom));
        let ends = [(chain.point.as_str(), count)];
        let killed = play(stage, &mut job, &ends, &mut tally)
            .await
            .with_context(|| format!("ended at {ends:?}"))?;
        ground.jobs.borrow_mut().push(job);
        if killed < ends.len() {
            return Ok(tally);
        }
    }
    Err(anyhow!("{} is reached without end", chain.point))
}

async fn finish_vcenter(ground: &Ground, tally: &mut Tally) -> Result<()> {
    let jobs = ground.jobs.take();
    tally.requests = oracle::requests(&ground.stage, &jobs.iter().collect::<Vec<_>>())?;
    let sessions = ground.stage.vcenter()?.sessions(0).await?;
    ensure!(sessions == 0, "{sessions} sessions are left at the vCenter");
    ensure!(tally.requests > 0, "nothing reached the vCenter");
    Ok(())
}

/// One workflow, ended at each of those points in turn, one process each, and then driven to its
/// rest and judged. Returns at how many of them it was ended.
async fn play(
    stage: &Stage,
    job: &mut Job,
    ends: &[(&str, usize)],
    tally: &mut Tally,
) -> Result<usize> {
    tally.runs += 1;
    let mut killed = 0;
    for (point, count) in ends {
        let (client, log) = stage.start(Some(&format!("{point}:{count}"))).await?;
        let went = job.drive(&client, stage, tally).await?;
        // At its end as well there are points.
        let _ = client.stop().await;
        if !was_ended(&log, point, *count) {
            ensure!(went == Went::Rest, "the server went away by itself");
            break;
        }
        killed += 1;
        tally.kills += 1;
        *tally.reached.entry((*point).to_owned()).or_insert(0) += 1;
    }
    let (client, _) = stage.start(None).await?;
    let went = job.drive(&client, stage, tally).await?;
    ensure!(went == Went::Rest, "the last server went away");
    oracle::judge(stage, job, tally).await?;
    oracle::audit(&client).await?;
    client.stop().await?;
    Ok(killed)
}

/// Whether the process said that it ends there.
fn was_ended(log: &Path, point: &str, count: usize) -> bool {
    let words = format!("PILOTHOUSE_CRASH_AT={point}:{count}");
    fs::read_to_string(log).is_ok_and(|said| said.lines().any(|line| line == words))
}
