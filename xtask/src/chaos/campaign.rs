//! The campaign: several workflows at once on two servers that share a home, while programs are
//! killed, clients hang up, and people change their minds.
//!
//! Every choice follows from the seed. When it comes true depends on the machine, so the same seed
//! plays the same kind of evening and not the same one.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::task::JoinSet;

use super::dice::Dice;
use super::operator::{Job, NAME, Went};
use super::plan::Plan;
use super::stage::Stage;
use super::vcenter::{Seen, Vcenter};
use super::{Programs, Tally, kept, oracle};
use crate::mcp::Client;

/// How many workflows go on at once: on the fake companion, and on machines.
const ON_FAKE: usize = 4;
const ON_MACHINES: usize = 3;
/// How many machines the last of the latter works on.
const FLEET: usize = 3;
/// How many calls they have under way at most, all together: the review of one looks at all of its
/// steps at once.
const CALLS: usize = (ON_MACHINES - 1) * 5 + FLEET * 3 + 1;
/// So many rounds have to meet whatever there is.
const MANY: usize = 10;
/// How many machines there are per pool.
const MACHINES: usize = 4;
/// How many moves are made with a workflow before everything calms down.
const MOVES: usize = 40;
/// The longest pause between two troubles.
const PAUSE_MS: u64 = 500;
/// The most troubles of one round.
const TROUBLES: usize = 16;
/// How often it is looked whether a server has started.
const LOOK: Duration = Duration::from_millis(5);

/// What everybody shares.
struct Ground {
    stage: Stage,
    /// The two servers, as far as they run.
    pilots: RefCell<[Option<Rc<Client>>; 2]>,
    starting: [Cell<bool>; 2],
    /// How many workflows still go on.
    restless: Cell<usize>,
    tally: RefCell<Tally>,
    /// The most sessions that may be left, since the companions that opened them were killed.
    sessions: Cell<usize>,
}

/// Plays for so long, and fails if anything does not hold, or if nothing was exercised.
pub(super) async fn run(programs: &Rc<Programs>, seed: u64, long: Duration) -> Result<()> {
    println!(
        "Chaos with seed {seed} for {} s (the choices follow from the seed, their timing does not)",
        long.as_secs()
    );
    let ground = Rc::new(Ground {
        stage: Stage::set(programs, MACHINES, true).await?,
        pilots: RefCell::default(),
        starting: Default::default(),
        restless: Cell::new(0),
        tally: RefCell::default(),
        sessions: Cell::new(0),
    });
    let played = play(&ground, seed, long).await;
    let what = format!("seed {seed}");
    played.map_err(|error| kept(&error, &what, ground.stage.keep()))?;
    let tally = ground.tally.take();
    println!(
        "  {}; {} requests for a change at the vCenter",
        tally.told(),
        tally.requests
    );
    ensure!(
        [
            tally.runs,
            tally.kills,
            tally.judged,
            tally.changes,
            tally.recoveries,
            tally.requests
        ]
        .iter()
        .all(|count| *count > 0),
        "something was not exercised at all"
    );
    if let Some(what) = tally.seen.missed(tally.runs >= MANY) {
        bail!("not exercised at all: {what}");
    }
    if let Ok(ground) = Rc::try_unwrap(ground) {
        ground.stage.strike().await?;
    }
    Ok(())
}

async fn play(ground: &Rc<Ground>, seed: u64, long: Duration) -> Result<()> {
    let begun = Instant::now();
    let vcenter = ground.stage.vcenter()?;
    let mut machines: VecDeque<String> = vcenter.machines.values().cloned().collect();
    let mut all: Vec<Job> = Vec::new();
    for round in 0.. {
        if begun.elapsed() >= long {
            break;
        }
        let mut dice = Dice::new(seed, round << 8);
        let mut plans = Vec::new();
        for i in 0..ON_FAKE {
            let (tag, boom) = (format!("r{round}f{i}"), dice.percent(50));
            let plan = match i % 2 {
                0 => Plan::fake(&tag, boom),
                _ => Plan::wide(&tag, boom, &mut dice),
            };
            ground.stage.furnish(&plan)?;
            plans.push(plan);
        }
        for i in 0..ON_MACHINES {
            let tag = format!("r{round}m{i}");
            let boom = dice.percent(40);
            plans.push(if i + 1 < ON_MACHINES {
                let (name, before) = ready(vcenter, &mut machines).await?;
                Plan::machine(&tag, &name, before, boom)
            } else {
                let mut fleet = Vec::new();
                for _ in 0..FLEET {
                    fleet.push(ready(vcenter, &mut machines).await?);
                }
                Plan::fleet(&tag, fleet, boom)
            });
        }
        ground.stage.note(&format!("round {round}"))?;
        let jobs = evening(ground, seed, round, plans)
            .await
            .with_context(|| format!("round {round}"))?;
        morning(ground, jobs, &mut all)
            .await
            .with_context(|| format!("round {round}"))?;
        ground.tally.borrow_mut().runs += 1;
    }
    let requests = oracle::requests(&ground.stage, &all.iter().collect::<Vec<_>>())?;
    ground.tally.borrow_mut().requests = requests;
    Ok(())
}

/// The machine whose turn it is, powered on.
async fn ready(vcenter: &Vcenter, machines: &mut VecDeque<String>) -> Result<(String, Seen)> {
    let name = machines.pop_front().context("there are no machines")?;
    if !vcenter.see(&name).await?.on {
        vcenter.power_on(&name).await?;
    }
    let before = vcenter.see(&name).await?;
    machines.push_back(name.clone());
    Ok((name, before))
}

/// The workflows go on while troubles come.
async fn evening(ground: &Rc<Ground>, seed: u64, round: u64, plans: Vec<Plan>) -> Result<Vec<Job>> {
    ground.restless.set(plans.len());
    let mut going: JoinSet<Result<Option<Job>>> = JoinSet::new();
    for (stream, plan) in (1..).zip(plans) {
        let dice = Dice::new(seed, (round << 8) + stream);
        let ground = Rc::clone(ground);
        going.spawn_local(async move {
            let mut job = Job::new(plan);
            job.lenient = true;
            let moved = restless(&ground, &mut job, dice).await;
            ground.restless.set(ground.restless.get() - 1);
            job.lenient = false;
            moved.map(|()| Some(job))
        });
    }
    let dice = Dice::new(seed, (round << 8) + 0xff);
    let shared = Rc::clone(ground);
    going.spawn_local(async move { trouble(&shared, round % 2 == 1, dice).await.map(|()| None) });
    let mut jobs = Vec::new();
    while let Some(done) = going.join_next().await {
        jobs.extend(done??);
    }
    Ok(jobs)
}

/// Everything is driven to its rest in peace, and judged.
async fn morning(ground: &Rc<Ground>, jobs: Vec<Job>, all: &mut Vec<Job>) -> Result<()> {
    for slot in 0..2 {
        let pilot = ground.pilots.borrow_mut()[slot].take();
        if let Some(Ok(pilot)) = pilot.map(Rc::try_unwrap) {
            // It may have been killed.
            let _ = pilot.stop().await;
        }
    }
    let (client, _) = ground.stage.start(None).await?;
    let mut tally = ground.tally.take();
    let mut judged = Ok(());
    for mut job in jobs {
        if judged.is_ok() {
            judged = settle(ground, &client, &mut job, &mut tally).await;
        }
        all.push(job);
    }
    ground.tally.replace(tally);
    judged?;
    oracle::audit(&client).await?;
    client.stop().await?;
    // A program that was killed cannot log out.
    let most = ground.sessions.get();
    let left = ground.stage.vcenter()?.sessions(most).await?;
    ensure!(
        left <= most,
        "{left} sessions are left at the vCenter, and by those that were killed at most {most}"
    );
    ground.sessions.set(left);
    Ok(())
}

async fn settle(ground: &Ground, client: &Client, job: &mut Job, tally: &mut Tally) -> Result<()> {
    let went = job.drive(client, &ground.stage, tally).await?;
    ensure!(went == Went::Rest, "the server went away in peace");
    oracle::judge(&ground.stage, job, tally).await
}

impl Ground {
    /// One of the two servers; started, if it does not run.
    async fn pilot(&self, slot: usize) -> Result<Rc<Client>> {
        loop {
            if let Some(client) = &self.pilots.borrow()[slot]
                && !client.gone()
            {
                return Ok(Rc::clone(client));
            }
            if !self.starting[slot].replace(true) {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        let started = self.stage.start(None).await;
        self.starting[slot].set(false);
        let client = Rc::new(started?.0);
        self.pilots.borrow_mut()[slot] = Some(Rc::clone(&client));
        Ok(client)
    }
}

/// Moves one workflow on, this way and that.
async fn restless(ground: &Ground, job: &mut Job, mut dice: Dice) -> Result<()> {
    let mut rolled_back = false;
    for _ in 0..MOVES {
        let slot = usize::from(dice.percent(50));
        let client = ground.pilot(slot).await?;
        let mut tally = Tally::default();
        if job.id.is_none() {
            job.create(&client, &mut tally).await?;
            ground.tally.borrow_mut().add(tally);
            continue;
        }
        let wait = json!({"wait_seconds": dice.below(3)});
        let chance = dice.below(100);
        match job.outcome() {
            "awaiting_approval" => match chance {
                0..88 => {
                    let decision = job.decision();
                    job.ask(&client, "approve", decision).await?;
                }
                88..94 => {
                    let id = &job.last["approval"]["id"];
                    let no = json!({"approval_id": id, "approver": NAME, "reason": "no"});
                    job.ask(&client, "reject", no).await?;
                }
                94..96 => {
                    job.ask(&client, "cancel_workflow", wait).await?;
                }
                _ => {
                    job.ask(&client, "get_workflow_status", wait).await?;
                }
            },
            "paused" => {
                job.go_on(&client, &ground.stage, &mut tally).await?;
            }
            _ if job.at_rest() => {
                if rolled_back || chance > 30 {
                    return Ok(());
                }
                rolled_back = true;
                job.ask(&client, "rollback", wait).await?;
            }
            _ => {
                let (tool, wait) = match chance {
                    0..80 => ("run_workflow", wait),
                    // Nobody may be at work on it: that is not waited for.
                    80..94 => ("get_workflow_status", json!({})),
                    94..98 => ("resume_workflow", wait),
                    _ => ("cancel_workflow", wait),
                };
                job.ask(&client, tool, wait).await?;
            }
        }
        ground.tally.borrow_mut().add(tally);
    }
    Ok(())
}

/// Kills, and hangs up, as long as anything goes on.
async fn trouble(ground: &Ground, spare: bool, mut dice: Dice) -> Result<()> {
    for _ in 0..TROUBLES {
        if ground.restless.get() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20 + dice.below(PAUSE_MS))).await;
        let slot = usize::from(dice.percent(50));
        let chance = dice.below(100);
        let client = ground.pilots.borrow()[slot].clone();
        let Some(client) = client.filter(|client| !client.gone()) else {
            continue;
        };
        let pilot = client.process();
        match chance {
            0..40 => kill_pilot(ground, pilot)?,
            40..55 => kill_companions(ground, pilot, spare, &mut dice)?,
            55..70 => {
                kill_companions(ground, pilot, spare, &mut dice)?;
                kill_pilot(ground, pilot)?;
            }
            70..85 => {
                client.hang_up();
                ground.stage.note(&format!("hung up on pilot {pilot}"))?;
                ground.tally.borrow_mut().hang_ups += 1;
            }
            _ => {}
        }
    }
    Ok(())
}

fn kill_pilot(ground: &Ground, pilot: u32) -> Result<()> {
    kill(pilot)?;
    ground.stage.note(&format!("killed pilot {pilot}"))?;
    ground.tally.borrow_mut().kills += 1;
    Ok(())
}

/// Kills children of a server, each or some. One that is killed cannot log out, so in every other
/// round that of the vCenter is spared, and no session may be left.
fn kill_companions(ground: &Ground, pilot: u32, spare: bool, dice: &mut Dice) -> Result<()> {
    for (child, name) in children(pilot)? {
        if dice.percent(70) && !(spare && name.starts_with("vmware")) {
            kill(child)?;
            ground
                .stage
                .note(&format!("killed {name} {child} of pilot {pilot}"))?;
            ground.tally.borrow_mut().companion_kills += 1;
            if name.starts_with("vmware") {
                // One for each call that it was in.
                ground.sessions.set(ground.sessions.get() + CALLS);
            }
        }
    }
    Ok(())
}

fn kill(process: u32) -> Result<()> {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    // It may have ended just now.
    let _ = kill_process(pid.context("a process has no number")?, Signal::KILL);
    Ok(())
}

/// The children of a process, with their names.
fn children(parent: u32) -> Result<Vec<(u32, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("there is no /proc to find companions in")? {
        let entry = entry?;
        let Some(process) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // It may have ended meanwhile.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // `<pid> (<name>) <state> <parent> …`, and a name may hold anything.
        let Some((front, rest)) = stat.rsplit_once(')') else {
            continue;
        };
        let its = rest.split_whitespace().nth(1);
        if its.and_then(|its| its.parse().ok()) == Some(parent) {
            let name = front.split_once('(').map_or("", |(_, name)| name);
            found.push((process, name.to_owned()));
        }
    }
    Ok(found)
}
