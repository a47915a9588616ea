//! What is played.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::auditor::{Seen, completed, events, files_with, record, see, sessions};
use super::operator::{Run, Show, machine, run_to_rest, text};
use super::stage::Cast;
use super::steps;
use super::tell::Tell;

/// A virtual machine of the simulator, as the agent found it.
pub(super) struct Machine {
    pub(super) name: String,
    pub(super) uuid: String,
    /// How the vCenter itself refers to it.
    pub(super) moref: String,
}

/// The agent looks around: reads run by themselves.
pub(super) async fn look_around(cast: &Cast<'_>, tell: &mut Tell) -> Result<Vec<Machine>> {
    tell.part("The agent looks around");
    let tools = cast.agent.tools().await?;
    tell.act(
        "agent",
        format_args!(
            "started `pilot mcp`, the only program that it knows; it has {} tools",
            tools.len()
        ),
    );
    tell.act(
        "agent",
        "makes a workflow of one step, list_vms, and runs it",
    );
    let id = steps::create(cast, "Look around", "Reads only.", vec![steps::list()]).await?;
    let run = run_to_rest(cast, &id, Show::All, tell).await?;

    let found = run
        .results
        .get("list")
        .and_then(|body| body["vms"].as_array())
        .with_context(|| format!("the answer lists no machines: {}", run.answer))?;
    tell.act(
        "vCenter",
        format_args!(
            "has {} machines. The rest is about two of them:",
            found.len()
        ),
    );
    let mut machines = Vec::new();
    for vm in found.iter().take(2) {
        tell.more(format_args!("{}: {}", text(vm, "name"), machine(vm)));
        machines.push(Machine {
            name: text(vm, "name").to_owned(),
            uuid: text(vm, "instance_uuid").to_owned(),
            moref: text(vm, "moref").to_owned(),
        });
    }
    let known = |machine: &Machine| !machine.uuid.is_empty() && !machine.moref.is_empty();
    if machines.len() < 2 || !machines.iter().all(known) {
        bail!("the simulator should have two machines: {}", run.answer);
    }
    tell.pause();
    tell.check(
        text(&run.answer, "outcome") == "completed" && run.plans.is_empty() && run.asked.is_empty(),
        "a workflow that only reads runs by itself: nobody was asked",
    );
    Ok(machines)
}

/// The first part: everything goes well.
pub(super) async fn completes(
    cast: &Cast<'_>,
    machines: &[Machine],
    tell: &mut Tell,
) -> Result<()> {
    tell.part("A workflow that completes");
    tell.act(
        "agent",
        "makes a workflow: 4 CPUs and 4 GB for each of the two. Per machine: snapshot, power off, reconfigure, power on, verify",
    );
    let mut plan = Vec::new();
    let mut before = Vec::new();
    for (number, machine) in (1..).zip(machines) {
        before.push(see(cast, machine).await?);
        plan.extend([
            steps::snapshot(number, machine, "pre-resize"),
            steps::power_off(number, machine),
            steps::reconfigure(number, machine, 4, 4096),
            steps::power_on(number, machine),
            steps::verify(number, machine),
        ]);
    }
    let id = steps::create(
        cast,
        "Resize two machines",
        "4 CPUs and 4 GB for each.",
        plan,
    )
    .await?;
    let run = run_to_rest(cast, &id, Show::All, tell).await?;

    tell.pause();
    tell.check(
        text(&run.answer, "outcome") == "completed",
        "the workflow is completed",
    );
    let review = run.review();
    let shown = |seen: &Seen| {
        [
            format!("cpu: {} → 4", seen.cpu),
            format!("memory_mb: {} → 4096", seen.memory_mb),
        ]
        .iter()
        .all(|change| review.contains(change))
    };
    tell.check(
        run.plans.len() == 1
            && machines
                .iter()
                .all(|machine| review.contains(&machine.name))
            && before.iter().all(shown),
        "the plan was asked about once, with the machines by name and the values from → to",
    );
    tell.check(
        review.contains("undo: power_on (lossy") && review.contains("undone at once"),
        "the plan said how each step would be undone, and what a rollback would do",
    );
    tell.check(
        run.asked
            == [
                "power_off_1",
                "reconfigure_1",
                "power_off_2",
                "reconfigure_2",
            ],
        "each of the four destructive steps was asked about by itself, and no other step",
    );
    for ((number, machine), before) in (1..).zip(machines).zip(before) {
        let read = &run
            .results
            .get(&format!("verify_{number}"))
            .unwrap_or(&Value::Null)["vm"];
        let seen = see(cast, machine).await?;
        let mut snapshots = before.snapshots;
        snapshots.push("pre-resize".to_owned());
        let wanted = Seen {
            power: before.power,
            cpu: 4,
            memory_mb: 4096,
            snapshots,
        };
        tell.check(
            seen == wanted && read["cpu"] == 4 && read["memory_mb"] == 4096,
            format_args!("the vCenter says of {}: {}", machine.name, seen.told()),
        );
    }
    Ok(())
}

/// The second part: the vCenter refuses a step, and everything is undone.
pub(super) async fn is_undone(
    cast: &Cast<'_>,
    machines: &[Machine],
    tell: &mut Tell,
) -> Result<()> {
    tell.part("A workflow that fails, and is undone");
    let [first, second] = machines else {
        bail!("two machines are needed")
    };
    tell.act(
        "agent",
        format_args!(
            "makes another workflow, 8 CPUs and 8 GB, with two flaws. It begins with a reset of {}, \
             which nothing can undo; and it resets {} while it is off, which a vCenter refuses",
            first.name, second.name
        ),
    );
    let before = [see(cast, first).await?, see(cast, second).await?];
    let plan = vec![
        steps::reset(1, first),
        steps::snapshot(1, first, "pre-resize-2"),
        steps::power_off(1, first),
        steps::reconfigure(1, first, 8, 8192),
        steps::power_on(1, first),
        steps::snapshot(2, second, "pre-resize-2"),
        steps::power_off(2, second),
        steps::reconfigure(2, second, 8, 8192),
        steps::reset(2, second),
        steps::power_on(2, second),
        steps::verify(2, second),
    ];
    let id = steps::create(cast, "Resize them again", "8 CPUs and 8 GB for each.", plan).await?;
    let run = run_to_rest(cast, &id, Show::Little, tell).await?;
    let record = record(cast, &id).await?;

    let failed = run.step("reset_2")?;
    tell.act(
        "vCenter",
        format_args!("reset_2: {}", text(failed, "error")),
    );
    undoing(&record, tell);
    tell.pause();
    tell.check(
        text(failed, "state") == "failed" && text(failed, "code") == "vsphere.invalid_power_state",
        "the vCenter itself refused reset_2, with its fault InvalidPowerState",
    );
    tell.check(
        run.review()
            .contains("undo: none: A reset cannot be taken back"),
        "the plan said beforehand that a reset cannot be undone",
    );
    tell.check(
        text(&run.answer, "outcome") == "rolled_back",
        "the workflow is rolled back",
    );
    let mut done = completed(&record);
    let undone: Vec<&str> = events(&record, "undone")
        .chain(events(&record, "undo_skipped"))
        .map(|event| text(event, "step"))
        .collect();
    done.reverse();
    tell.check(
        done.len() == 8 && undone == done,
        "undone in exactly the reverse order of completion",
    );
    check_steps(&run, tell)?;
    for id in ["power_on_2", "verify_2"] {
        let sent = events(&record, "intent").any(|event| text(event, "step") == id);
        tell.check(
            run.state(id)? == "pending" && !sent,
            format_args!("{id} was never sent"),
        );
    }
    for (machine, before) in machines.iter().zip(before) {
        let seen = see(cast, machine).await?;
        tell.check(
            seen == before,
            format_args!(
                "the vCenter says of {}, as before: {}",
                machine.name,
                seen.told()
            ),
        );
    }
    residue(&run, tell);
    Ok(())
}

/// Tells how everything was undone, from the record.
fn undoing(record: &[Value], tell: &mut Tell) {
    tell.act("pilot", "undoes what was done, last first:");
    for row in record {
        let event = &row["payload"];
        let step = text(event, "step");
        match text(row, "kind") {
            "workflow.intent" if event["direction"] == "undo" => {
                tell.more(format_args!(
                    "{step}: {}",
                    inverse(&event["call"]["arguments"])
                ));
            }
            "workflow.undo_skipped" => {
                tell.more(format_args!("{step}: skipped. {}", text(event, "why")));
            }
            _ => {}
        }
    }
}

/// An inverse in a few words: its action, and the values that it brings back.
fn inverse(arguments: &Value) -> String {
    let mut words = vec![text(arguments, "action").to_owned()];
    for name in ["cpu", "memory_mb", "snapshot_id"] {
        if let Some(value) = arguments.get(name) {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            words.push(format!("{name} {value}"));
        }
    }
    words.join(", ")
}

fn check_steps(run: &Run, tell: &mut Tell) -> Result<()> {
    let steps = [
        "snapshot_1",
        "power_off_1",
        "reconfigure_1",
        "power_on_1",
        "snapshot_2",
        "power_off_2",
        "reconfigure_2",
    ];
    let mut verified = 0;
    for id in steps {
        let step = run.step(id)?;
        let undone = text(step, "state") == "rolled_back" && step["undo"]["verified"] == true;
        verified += usize::from(undone);
        if !undone {
            tell.line(format_args!("{id}: {step}"));
        }
    }
    tell.check(
        verified == steps.len(),
        format_args!(
            "{verified} of {} inverses were sent, and verified by reading back",
            steps.len()
        ),
    );
    tell.check(
        run.state("reset_1")? == "rollback_skipped",
        "reset_1, which cannot be undone, is rollback_skipped and not called a success",
    );
    Ok(())
}

/// What stays behind must be the first thing that the answer says.
fn residue(run: &Run, tell: &mut Tell) {
    let first = run
        .answer
        .as_object()
        .and_then(|answer| answer.keys().next());
    let rows = run.answer["residue"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    tell.check(
        first.is_some_and(|name| name == "residue")
            && rows.iter().any(|row| text(row, "step") == "reset_1"),
        "the answer says first what stays behind (residue):",
    );
    for row in rows {
        tell.quote(&format!(
            "  {}: {} ({})",
            text(row, "step"),
            text(row, "stays"),
            text(row, "why")
        ));
    }
}

/// What is left: a trail that can be verified, no session, no password.
pub(super) async fn look_back(cast: &Cast<'_>, tell: &mut Tell) -> Result<()> {
    tell.part("Looking back");
    let audit = cast
        .agent
        .ask("get_audit_log", json!({"verify": true}))
        .await?;
    tell.check(
        audit["verified"] == true && audit["checked"].as_u64() > Some(0),
        format_args!(
            "the audit trail is whole: {} rows, each sealing the one before",
            audit["checked"]
        ),
    );
    let others = sessions(cast).await?;
    tell.check(
        others == 0,
        format_args!("sessions left on the vCenter: {others}"),
    );
    let found = files_with(cast.home, cast.password)?;
    tell.check(
        found.is_empty(),
        format_args!(
            "files under the home that hold the password: {}",
            found.len()
        ),
    );
    let heard = cast.heard();
    tell.check(
        heard == 0,
        format_args!("answers that hold the password: {heard}"),
    );
    Ok(())
}
