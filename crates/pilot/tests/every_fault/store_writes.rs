//! The store fails: the n-th write or sync of the program's own files, once or from then on.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::flow::{World, steps, still_running, tell};
use crate::judge::{clean_or_said, once_and_intended, undo_said, undone_in_reverse};
use crate::support::{Pilot, decision, pilot};
use crate::{goes_on, pool};

/// One failure of the store.
#[derive(Clone, Copy, Debug)]
struct Write {
    call: &'static str,
    error: &'static str,
    n: usize,
    /// Whether every later one fails as well, until the program is started anew.
    for_ever: bool,
}

impl Write {
    fn name(&self) -> String {
        let more = if self.for_ever { "+" } else { "" };
        format!("store/{}/{}/{}{more}", self.call, self.error, self.n)
    }
}

/// What fails, and how: no space, and a disk that reports an error.
const FAILURES: &[(&str, &str)] = &[("pwrite64", "ENOSPC"), ("fsync", "EIO")];

#[test]
fn p11_p18_every_write_of_the_store_may_fail_and_nothing_is_sent_that_was_not_recorded() {
    let counts = calibrate();
    let mut all = Vec::new();
    for (call, error) in FAILURES {
        let most = counts.get(*call).copied().unwrap_or_default();
        assert!(
            most > 20,
            "{call} is not how the store is written: {counts:?}"
        );
        for for_ever in [false, true] {
            all.extend((1..=most).map(|n| Write {
                call,
                error,
                n,
                for_ever,
            }));
        }
    }
    let cells = pool::chosen(&all, Write::name, slice);
    let seen = pool::run("failures of the store", &cells, Write::name, run);
    let met = seen.iter().filter(|seen| seen.hits > 0).count();
    let noticed = seen.iter().filter(|seen| !seen.told.is_empty()).count();
    let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
    for code in seen.iter().flat_map(|seen| &seen.told) {
        *codes.entry(code).or_default() += 1;
    }
    println!(
        "{} of {} cells over {counts:?}: {met} met their failure, {noticed} were told of it, as {codes:?}",
        cells.len(),
        all.len()
    );
    // Runs differ a little in how many commits share a transaction, and a checkpoint may fail
    // without a word.
    assert!(met * 10 >= cells.len() * 8, "most are met");
    assert!(noticed > 0 && noticed * 4 >= met, "many are told of");
}

/// Writes far apart, and of the syncs, which come with each commit, every other one.
fn slice(all: &[Write]) -> Vec<usize> {
    (0..all.len())
        .filter(|place| match (all[*place].call, all[*place].for_ever) {
            ("pwrite64", false) => all[*place].n % 37 == 5,
            ("pwrite64", true) => all[*place].n % 97 == 11,
            (_, false) => all[*place].n % 3 == 1,
            (_, true) => all[*place].n % 11 == 5,
        })
        .collect()
}

/// How many calls of each kind the thread makes that makes most of them, in a run without a fault.
fn calibrate() -> BTreeMap<String, usize> {
    let world = World::new(None);
    let id = ready(&world);
    let trace = world.beside("trace");
    let names: Vec<&str> = FAILURES.iter().map(|(call, _)| *call).collect();
    let mut pilot = traced(&world, &trace, &format!("trace={}", names.join(",")));
    to_rest(&world, &mut pilot, &id, &mut Vec::new(), 1).unwrap();
    assert!(pilot.end().success());
    let mut threads: BTreeMap<(String, String), usize> = BTreeMap::new();
    let text = fs::read_to_string(trace).unwrap();
    for line in text.lines() {
        let Some((thread, call)) = line.split_once(char::is_whitespace) else {
            continue;
        };
        if let Some((name, _)) = call.trim().split_once('(') {
            *threads
                .entry((name.to_owned(), thread.to_owned()))
                .or_default() += 1;
        }
    }
    let mut counts = BTreeMap::new();
    for ((name, _), count) in threads {
        let most = counts.entry(name).or_default();
        *most = count.max(*most);
    }
    counts
}

/// A workflow whose last step will fail, made while nothing was wrong.
fn ready(world: &World) -> String {
    // Where a preview takes its time, the outcome before it is committed by itself.
    world.put(&json!([
        {"step": "last", "stage": "do", "fault": "error_none"},
        {"step": "set_b", "stage": "preview", "fault": "slow"},
        {"step": "rm_c", "stage": "preview", "fault": "slow", "from": 2},
    ]));
    let mut pilot = world.home.pilot();
    let id = pilot.create(steps());
    assert!(pilot.end().success());
    id
}

/// The program, seen and disturbed by `strace`.
fn traced(world: &World, trace: &Path, what: &str) -> Pilot {
    let mut command = Command::new("strace");
    command
        .args([
            "-f",
            "-qq",
            "--seccomp-bpf",
            "-e",
            "signal=none",
            "-e",
            what,
            "-o",
        ])
        .arg(trace)
        .arg(pilot())
        .arg("mcp");
    let mut pilot = world.home.start(command);
    let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "tests", "version": "1.0"}});
    pilot.request("initialize", hello).unwrap();
    pilot.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    pilot
}

/// What came of a cell: how often the failure was met, and the codes that it was told as.
struct Seen {
    hits: usize,
    told: Vec<String>,
}

/// Brings the workflow to rest; what the store's failure is told as is gathered. Nothing, where it
/// was told of so often that it will not end.
fn to_rest(
    world: &World,
    pilot: &mut Pilot,
    id: &str,
    told: &mut Vec<String>,
    patience: usize,
) -> Result<Option<Value>, String> {
    let mut ask = ("run_workflow", json!({"workflow_id": id}));
    for _ in 0..80 {
        let answer = match pilot.call(ask.0, ask.1.clone()) {
            Ok(answer) => answer,
            Err(refusal) => {
                let code = refusal["cause"]
                    .as_str()
                    .or(refusal["code"].as_str())
                    .unwrap_or_default();
                if !code.starts_with("store.") && !code.starts_with("audit.") {
                    return Err(format!(
                        "`{}` was refused for another reason: {refusal}",
                        ask.0
                    ));
                }
                told.push(code.to_owned());
                if told.len() > patience {
                    return Ok(None);
                }
                ask = ("run_workflow", json!({"workflow_id": id}));
                continue;
            }
        };
        if let Some(code) = answer["audit_error"]["code"].as_str() {
            told.push(code.to_owned());
        }
        let answer = match answer["outcome"].as_str() {
            Some("running") => still_running(pilot, id)?,
            _ => answer,
        };
        ask = match (
            answer["outcome"].as_str().unwrap_or_default(),
            answer["reason"].as_str(),
        ) {
            ("awaiting_approval", _) => ("approve", decision(&answer)),
            ("paused", Some("store")) => {
                let code = answer["store_error"]["code"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                if !code.starts_with("store.") {
                    return Err(format!("paused without a word of the store: {answer}"));
                }
                told.push(code);
                if told.len() > patience {
                    return Ok(None);
                }
                ("run_workflow", json!({"workflow_id": id}))
            }
            // The process ended between a deed and its record, and nothing but a person can tell.
            ("paused", Some("unknown")) if patience == 0 => {
                let (settled, step, truth) = tell(world, pilot, id, &answer)?;
                if step != "mail" || !truth {
                    return Err(format!("a probe could have told: {answer}"));
                }
                if settled["outcome"] == "awaiting_approval" {
                    ("approve", decision(&settled))
                } else {
                    ("resume_workflow", json!({"workflow_id": id}))
                }
            }
            ("paused", Some("settled")) => ("resume_workflow", json!({"workflow_id": id})),
            ("paused", _) => return Err(format!("paused for another reason: {answer}")),
            _ => return Ok(Some(answer)),
        };
    }
    Err("never came to rest".to_owned())
}

/// Runs one cell, and says what was told of the failure.
fn run(cell: &Write) -> Result<Seen, String> {
    let world = World::new(None);
    let id = ready(&world);
    let trace = world.beside("trace");
    let when = if cell.for_ever { "+" } else { "" };
    let what = format!(
        "inject={}:error={}:when={}{when}",
        cell.call, cell.error, cell.n
    );
    let mut told = Vec::new();
    let mut pilot = traced(&world, &trace, &what);
    let first = to_rest(
        &world,
        &mut pilot,
        &id,
        &mut told,
        if cell.for_ever { 1 } else { 5 },
    )?;
    if let Some(rest) = &first {
        judged(&world, &mut pilot, &id, rest)?;
    } else if !cell.for_ever {
        return Err(format!("it did not go on after one failure: {told:?}"));
    }
    pilot.end();
    let hits = fs::read_to_string(&trace)
        .unwrap_or_default()
        .matches("(INJECTED)")
        .count();
    let deeds = world.home.deeds();
    // What was said is still there, and what is left is done, once the disk is well again.
    let mut pilot = world.home.pilot();
    let mut more = Vec::new();
    let rest = match first {
        Some(rest) => {
            let now = pilot.status(&id);
            if now["outcome"] != rest["outcome"] || world.home.deeds() != deeds {
                return Err(format!("it was {rest}, and is {now}"));
            }
            now
        }
        None => to_rest(&world, &mut pilot, &id, &mut more, 0)?
            .ok_or_else(|| format!("still failing: {more:?}"))?,
    };
    judged(&world, &mut pilot, &id, &rest)?;
    goes_on(&world, &mut pilot)?;
    if hits == 0 && !told.is_empty() {
        return Err(format!("{told:?} without a failure"));
    }
    Ok(Seen { hits, told })
}

fn judged(world: &World, pilot: &mut Pilot, id: &str, rest: &Value) -> Result<(), String> {
    let events: Vec<Value> = pilot
        .audit()
        .into_iter()
        .filter(|row| row["workflow"] == id)
        .collect();
    let check = || {
        if rest["outcome"] != "rolled_back" {
            return Err("it is not rolled back".to_owned());
        }
        clean_or_said(world, rest)?;
        once_and_intended(world, &events)?;
        undone_in_reverse(world, &events)?;
        undo_said(world, rest)
    };
    check().map_err(|why| {
        format!(
            "{why}\n rest: {rest}\n deeds: {:?}\n store: {}",
            world.home.deeds(),
            world.home.store()
        )
    })
}
