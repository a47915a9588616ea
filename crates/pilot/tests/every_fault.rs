//! Every fault: for each step of a workflow, at each stage of it, each way in which a companion can
//! fail. The real program, a real child process, SQLite on a disk; the oracle is what the companion
//! itself kept of what it heard and did.
//!
//! The whole product takes minutes. The suite runs a slice of it that holds every pair of a step and
//! a stage and every pair of a stage and a fault; `PILOTHOUSE_FAULTS=all` runs everything, and any
//! other value the cells whose name holds it (`add_n/Undo/`).
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic, and says what it exercised"
)]

#[path = "every_fault/cell.rs"]
mod cell;
#[path = "every_fault/control.rs"]
mod control;
#[path = "every_fault/drivers.rs"]
mod drivers;
#[path = "every_fault/expected.rs"]
mod expected;
#[path = "every_fault/flow.rs"]
mod flow;
#[path = "every_fault/judge.rs"]
mod judge;
#[path = "every_fault/pool.rs"]
mod pool;
#[path = "every_fault/store_writes.rs"]
mod store_writes;
#[expect(dead_code, reason = "this test uses a part of it")]
mod support;

#[path = "../../vsphere/tests/support/mod.rs"]
mod vcsim;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use cell::{Cell, Stage};
use expected::rests_as_expected;
use flow::{World, drive, play};
use judge::{clean_or_said, failed_there, once_and_intended, undo_said, undone_in_reverse};
use support::{Pilot, store};

/// How long a call may take, in seconds, where a cell waits for that.
const BOUND: u32 = 2;

#[test]
fn p8_p18_every_fault_of_a_companion_is_met_where_it_is_and_leaves_nothing_unsaid() {
    let all = cell::all();
    let cells = pool::chosen(&all, Cell::name, slice);
    let stories = pool::run("faults of the companion", &cells, Cell::name, run);
    let mut counts: BTreeMap<(Stage, &str), usize> = BTreeMap::new();
    let mut by_stage: BTreeMap<Stage, usize> = BTreeMap::new();
    for cell in &cells {
        *counts.entry((cell.stage, cell.fault.name)).or_default() += 1;
        *by_stage.entry(cell.stage).or_default() += 1;
    }
    for (stage, count) in &by_stage {
        let faults: Vec<String> = counts
            .iter()
            .filter(|((of, _), _)| of == stage)
            .map(|((_, fault), count)| format!("{fault} {count}"))
            .collect();
        println!("{stage:?}: {count} cells: {}", faults.join(", "));
    }
    let mut rests: BTreeMap<String, usize> = BTreeMap::new();
    for rest in &stories {
        *rests.entry(rest.clone()).or_default() += 1;
    }
    println!(
        "{} of {} cells; they came to rest: {rests:?}",
        cells.len(),
        all.len()
    );
    assert!(!cells.is_empty() && stories.len() == cells.len());
}

/// What a first attempt did may come late: after the probe, and before the second attempt, which
/// then finds nothing to do and says so truthfully.
#[test]
fn p18_an_attempt_that_says_nothing_does_not_speak_for_the_one_before() {
    let world = World::new(None);
    world.put(&json!([
        {"step": "set_b", "stage": "do", "fault": "garbage_not", "times": 1},
        {"step": "set_b", "stage": "do", "fault": "error_none_after", "from": 2},
    ]));
    let mut pilot = world.home.pilot();
    let id = pilot.create(flow::steps());
    let begun = pilot.run(&id);
    let story = drive(&world, &mut pilot, &id, begun, &json!([])).unwrap();
    clean_or_said(&world, &story.rest).unwrap();
}

/// Enough cells for every pair of a step and a stage, and of a stage and a fault.
fn slice(cells: &[Cell]) -> Vec<usize> {
    let mut seen = BTreeSet::new();
    // Far from the order of the table, so that the pairs meet in many ways.
    let mut places: Vec<usize> = (0..cells.len()).collect();
    places.sort_by_key(|place| place * 389 % cells.len());
    places.retain(|place| {
        let Cell {
            step, stage, fault, ..
        } = cells[*place];
        let new = [
            seen.insert((stage, step.id)),
            seen.insert((stage, fault.name)),
        ];
        new.contains(&true)
    });
    // Those that wait for a time's end come first, beside the others.
    places.sort_by_key(|place| !cells[*place].is_slow());
    places
}

/// Runs one cell, and says where it came to rest.
fn run(cell: &Cell) -> Result<String, String> {
    let world = World::new(cell.is_slow().then_some(BOUND));
    let mut pilot = world.home.pilot();
    let (id, story) = play(cell, &world, &mut pilot)?;
    let found = judged(cell, &world, &story)
        .and_then(|()| again(cell, &world, &mut pilot, &id, &story))
        .and_then(|()| goes_on(&world, &mut pilot));
    found.map_err(|why| {
        let events: Vec<String> = story
            .events
            .iter()
            .map(|row| {
                format!(
                    "  {} {}",
                    row["kind"].as_str().unwrap_or_default(),
                    row["payload"]
                )
            })
            .collect();
        format!(
            "{why}\n rest: {}\n deeds: {:?}\n store: {}\n{}",
            story.rest,
            world.home.deeds(),
            world.home.store(),
            events.join("\n")
        )
    })?;
    Ok(format!(
        "{}{}",
        story.rest["outcome"].as_str().unwrap(),
        if story.resolved.is_empty() {
            ""
        } else {
            " after a person"
        }
    ))
}

fn judged(cell: &Cell, world: &World, story: &flow::Story) -> Result<(), String> {
    failed_there(cell, world, story)?;
    clean_or_said(world, &story.rest)?;
    once_and_intended(world, &story.events)?;
    undone_in_reverse(world, &story.events)?;
    undo_said(world, &story.rest)?;
    rests_as_expected(cell, story)
}

/// A rollback that failed is tried again once the fault is gone, and does only what is left.
fn again(
    cell: &Cell,
    world: &World,
    pilot: &mut Pilot,
    id: &str,
    story: &flow::Story,
) -> Result<(), String> {
    if story.rest["outcome"] != "rollback_failed" {
        return Ok(());
    }
    world.put(&json!([]));
    let failed: Vec<&str> = story.rest["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["state"] == "rollback_failed")
        .filter_map(|row| row["id"].as_str())
        .collect();
    if failed != [cell.step.id] {
        return Err(format!("the undos of {failed:?} failed"));
    }
    let earlier = world.home.deeds().len();
    let asked = pilot.ok("rollback", json!({"workflow_id": id}));
    let second = drive(world, pilot, id, asked, &json!([]))?;
    let check = || {
        clean_or_said(world, &second.rest)?;
        once_and_intended(world, &second.events)?;
        undo_said(world, &second.rest)?;
        let more = &world.home.deeds()[earlier..];
        if more
            .iter()
            .any(|deed| *deed != format!("{}/undo", cell.step.id))
        {
            return Err(format!("the second rollback did {more:?}"));
        }
        Ok(())
    };
    check().map_err(|why: String| format!("in the second rollback: {why}: {}", second.rest))
}

/// The server answers, its record verifies, and a workflow runs as if nothing had been.
fn goes_on(world: &World, pilot: &mut Pilot) -> Result<(), String> {
    world.put(&json!([]));
    let verified = pilot.ok("get_audit_log", json!({"verify": true}));
    if verified["verified"] != true {
        return Err(format!("the audit trail: {verified}"));
    }
    let id = pilot.create(json!([store("fresh", "set", "fresh", json!("1"))]));
    let done = pilot.run_approving(&id);
    if done["outcome"] != "completed" || world.home.store()["fresh"] != "1" {
        return Err(format!("the next workflow: {done}"));
    }
    Ok(())
}
