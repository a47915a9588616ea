//! What must hold of every cell, whatever came of it.

use std::collections::HashMap;

use serde_json::Value;

use crate::cell::{Cell, Kind, Stage};
use crate::flow::{OWNERS, Story, World, after, before};

/// What was found: nothing is said where all is well.
pub(crate) type Found = Result<(), String>;

pub(crate) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Found {
    if holds { Ok(()) } else { Err(what()) }
}

/// The events of this kind, by their payload.
fn of<'a>(events: &'a [Value], kind: &str) -> impl Iterator<Item = &'a Value> {
    let kind = format!("workflow.{kind}");
    events
        .iter()
        .filter(move |row| row["kind"] == kind.as_str())
        .map(|row| &row["payload"])
}

pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// The steps of which something stays behind.
pub(crate) fn residue(rest: &Value) -> Vec<&str> {
    let rows = rest["residue"].as_array().map_or(&[][..], Vec::as_slice);
    rows.iter().filter_map(|row| row["step"].as_str()).collect()
}

/// The world is as it was, or as it should be, or what differs is said.
pub(crate) fn clean_or_said(world: &World, rest: &Value) -> Found {
    let now = world.home.store();
    let done = rest["outcome"] == "completed";
    let expected = if done { after() } else { before() };
    let said = residue(rest);
    for (name, owner) in OWNERS {
        ensure(now[name] == expected[name] || said.contains(owner), || {
            format!(
                "`{name}` is {} and not {}, and `{owner}` is not in the residue {said:?}",
                now[name], expected[name]
            )
        })?;
    }
    let mails = world
        .home
        .ledger()
        .iter()
        .filter(|line| line["action"] == "send")
        .count();
    ensure(mails == usize::from(done) || said.contains(&"mail"), || {
        format!("{mails} messages were sent, and the residue is {said:?}")
    })
}

/// No deed that may be done once was done, or asked for, twice for one key, and none that had no
/// intent.
pub(crate) fn once_and_intended(world: &World, events: &[Value]) -> Found {
    let mut asked: HashMap<String, usize> = HashMap::new();
    for call in world.calls().iter().filter(|call| call["stage"] == "do") {
        *asked.entry(text(call, "key").to_owned()).or_default() += 1;
    }
    for (key, count) in asked {
        let once = key.contains("/add_n/") || key.contains("/mail/");
        ensure(!once || count == 1, || {
            format!("{key} was sent {count} times")
        })?;
    }
    let rollbacks = of(events, "rollback_started").count();
    let mut done: HashMap<String, usize> = HashMap::new();
    for line in world.home.ledger() {
        *done.entry(text(&line, "key").to_owned()).or_default() += 1;
    }
    for (key, count) in done {
        let once = key.contains("/add_n/") || key.contains("/mail/");
        // An undo that failed is done anew where a person approves of another rollback.
        let most = if key.contains("/undo/") { rollbacks } else { 1 };
        ensure(!once || count <= most, || {
            format!("{key} was done {count} times")
        })?;
        let intended = of(events, "intent").any(|intent| intent["key"] == key.as_str());
        ensure(intended, || format!("{key} was done without an intent"))?;
    }
    Ok(())
}

/// What is undone is undone in the reverse order of the outcomes, one by one.
pub(crate) fn undone_in_reverse(world: &World, events: &[Value]) -> Found {
    let mut outcomes: Vec<&str> = Vec::new();
    let mut left: Vec<&str> = Vec::new();
    for row in events {
        let payload = &row["payload"];
        let step = text(payload, "step");
        match (text(row, "kind"), text(payload, "direction")) {
            ("workflow.outcome", "do") => {
                outcomes.retain(|earlier| *earlier != step);
                outcomes.push(step);
            }
            ("workflow.rollback_started", _) => {
                let order: Vec<&str> = payload["order"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter_map(Value::as_str)
                    .collect();
                let reverse: Vec<&str> = outcomes
                    .iter()
                    .rev()
                    .copied()
                    .filter(|step| order.contains(step))
                    .collect();
                ensure(order == reverse, || {
                    format!("to be undone {order:?}, and the outcomes are {outcomes:?}")
                })?;
                left = order;
            }
            ("workflow.intent", "undo") => ensure(left.first() == Some(&step), || {
                format!("`{step}` is undone where {left:?} is left")
            })?,
            ("workflow.undone" | "workflow.undo_failed" | "workflow.undo_skipped", _) => {
                ensure(left.first() == Some(&step), || {
                    format!("`{step}` is settled where {left:?} is left")
                })?;
                left.remove(0);
            }
            ("workflow.probed", "do")
                if !left.is_empty() && payload["verdict"]["is"] == "not_in_effect" =>
            {
                left.retain(|other| *other != step);
            }
            ("workflow.rollback_ended", _) => ensure(left.is_empty(), || {
                format!("it ended, and {left:?} is left")
            })?,
            _ => {}
        }
    }
    // And in the world: the order of the deeds, backwards.
    let deeds = world.home.deeds();
    let of_direction = |direction: &str| -> Vec<String> {
        deeds
            .iter()
            .filter_map(|deed| deed.strip_suffix(direction))
            .map(str::to_owned)
            .collect()
    };
    let (there, back) = (of_direction("/do"), of_direction("/undo"));
    let reverse: Vec<&String> = there
        .iter()
        .rev()
        .filter(|step| back.contains(step))
        .collect();
    ensure(back.iter().eq(reverse.iter().copied()), || {
        format!("done {there:?}, undone {back:?}")
    })
}

/// A failed undo is said, and nothing is said to be undone that is not.
pub(crate) fn undo_said(world: &World, rest: &Value) -> Found {
    let outcome = text(rest, "outcome");
    let rows = rest["steps"].as_array().unwrap();
    let failed: Vec<&str> = rows
        .iter()
        .filter(|row| row["state"] == "rollback_failed")
        .map(|row| text(row, "id"))
        .collect();
    ensure(failed.is_empty() == (outcome != "rollback_failed"), || {
        format!("{outcome} with the failed undos {failed:?}")
    })?;
    let said = residue(rest);
    for id in &failed {
        ensure(said.contains(id), || {
            format!("the undo of `{id}` failed, and the residue is {said:?}")
        })?;
        let row = rows.iter().find(|row| row["id"] == *id).unwrap();
        ensure(!text(&row["undo"], "why").is_empty(), || {
            format!("no reason: {row}")
        })?;
    }
    if !["rolled_back", "rollback_failed"].contains(&outcome) {
        return Ok(());
    }
    let (now, expected) = (world.home.store(), before());
    for (name, owner) in OWNERS {
        let verified = rows
            .iter()
            .any(|row| row["id"] == *owner && row["undo"]["verified"] == true);
        ensure(!verified || now[name] == expected[name], || {
            format!(
                "`{owner}` is said to be verified as undone, and `{name}` is {}",
                now[name]
            )
        })?;
    }
    // Whoever was done is undone, skipped or failed: nothing is left as it was.
    for row in rows {
        let state = text(row, "state");
        ensure(
            [
                "pending",
                "failed",
                "succeeded",
                "rolled_back",
                "rollback_skipped",
                "rollback_failed",
            ]
            .contains(&state),
            || format!("a step is `{state}` at rest: {row}"),
        )?;
        let stays = state == "succeeded" && row["id"] != "look" && row["changed"] != false;
        ensure(!stays, || {
            format!("a step was left out of the rollback: {row}")
        })?;
    }
    Ok(())
}

/// It failed where the fault was put, in the way that the fault says, and nowhere else.
pub(crate) fn failed_there(cell: &Cell, world: &World, story: &Story) -> Found {
    let step = cell.step.id;
    let hit = |call: &&Value| {
        call["fault"] == cell.fault.name && call["step"] == step && call["stage"] == cell.heard_as()
    };
    let hits = world.calls().iter().filter(hit).count();
    ensure(hits > 0, || "the fault was never met".to_owned())?;
    let mut wanted = match (cell.fault.kind, cell.passes) {
        (Kind::Error(_), _) | (_, true) => 1,
        // A read three times, as an idempotent deed that is shown not to be done.
        _ if !cell.changes() => 3,
        _ => hits,
    };
    if cell.stage == Stage::Verify || cell.stage == Stage::Probe || cell.stage == Stage::UndoVerify
    {
        // A rollback looks once more at what it could not be told.
        wanted = wanted.max(hits);
    }
    ensure(hits == wanted, || {
        format!("the fault was met {hits} times and not {wanted}")
    })?;
    for payload in of(&story.events, "outcome") {
        let is = text(&payload["outcome"], "is");
        let id = text(payload, "step");
        let elsewhere = is != "succeeded" && id != step && !(cell.last_fails() && id == "last");
        ensure(!elsewhere, || format!("`{id}` failed as well: {payload}"))?;
    }
    for kind in ["probed", "drifted", "undo_failed", "undo_skipped"] {
        for payload in of(&story.events, kind) {
            let id = text(payload, "step");
            let fits = match (
                kind,
                text(&payload["verdict"], "is"),
                text(payload, "direction"),
            ) {
                ("undo_skipped", ..) => id == "mail",
                ("probed", "not_in_effect", "undo") | ("probed", "in_effect", "do") => true,
                _ => false,
            };
            ensure(fits || id == step, || {
                format!("`{id}` did not go well either: {kind} {payload}")
            })?;
        }
    }
    if cell.absorbed() || cell.stage == Stage::Review {
        return Ok(());
    }
    let outcome = |direction: &str| {
        let mut found = of(&story.events, "outcome")
            .filter(|payload| payload["step"] == step && payload["direction"] == direction)
            .map(|payload| &payload["outcome"]);
        found.next().cloned().unwrap_or_default()
    };
    let as_said = |outcome: &Value| match cell.fault.kind {
        Kind::Error(left) => {
            let left = if matches!(cell.stage, Stage::Prepare | Stage::PrepareAgain)
                && left == "not_said"
            {
                "nothing"
            } else {
                left
            };
            outcome["is"] == "failed"
                && outcome["code"] == cell.fault.code
                && outcome["left"] == left
        }
        Kind::Lost if cell.changes() => outcome["is"] == "unknown",
        Kind::Lost => outcome["is"] == "failed" && outcome["code"] == cell.fault.code,
    };
    match cell.stage {
        Stage::Do => {
            let found = outcome("do");
            ensure(as_said(&found), || {
                format!("it did not fail as the fault says: {found}")
            })
        }
        Stage::Prepare | Stage::PrepareAgain => {
            let found = outcome("do");
            ensure(as_said(&found), || {
                format!("it did not fail as the fault says: {found}")
            })?;
            let sent = world
                .calls()
                .iter()
                .any(|call| call["step"] == step && call["stage"] == "do");
            let intended = of(&story.events, "intent").any(|payload| payload["step"] == step);
            ensure(!sent && !intended, || {
                "it was sent though it could not be prepared".to_owned()
            })
        }
        Stage::Undo => {
            let found = outcome("undo");
            ensure(as_said(&found), || {
                format!("it did not fail as the fault says: {found}")
            })
        }
        Stage::Verify | Stage::Probe | Stage::UndoVerify => {
            let direction = if cell.stage == Stage::UndoVerify {
                "undo"
            } else {
                "do"
            };
            let mut probes = of(&story.events, "probed")
                .filter(|payload| payload["step"] == step && payload["direction"] == direction);
            let unclear = probes.any(|payload| payload["verdict"]["is"] == "unclear");
            ensure(unclear, || "no probe was unclear".to_owned())
        }
        Stage::Review => Ok(()),
    }
}
