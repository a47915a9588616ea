//! What is played when things go wrong around the workflows, and not in them: nobody decides, a
//! program is killed in the worst moment, two of them want the same.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::auditor::{events, last_event, owner, record, see, sessions, tasks};
use super::operator::{Show, run_to_rest, text, yes};
use super::relay::held;
use super::scenario::Machine;
use super::stage::Cast;
use super::steps;
use super::tell::Tell;
use crate::mcp::{Answer, Client};

/// How long something may take to come about.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked for.
const POLL: Duration = Duration::from_millis(20);
/// What a decision may be refused with that somebody else took: it is used up, or the owner is at
/// work and is asked later.
const REFUSALS: [&str; 2] = ["approval.void", "workflow.busy"];
/// How long the approval that nobody gives stays open, in seconds.
const OPEN_S: u64 = 2;

/// The first trouble: an approval that nobody gives.
pub(super) async fn nobody_decides(
    cast: &Cast<'_>,
    machines: &[Machine],
    tell: &mut Tell,
) -> Result<()> {
    tell.part("Nobody decides");
    let [machine, ..] = machines else {
        bail!("a machine is needed")
    };
    tell.act(
        "agent",
        format_args!("makes a workflow with a snapshot of {}, whose approvals stay open for {OPEN_S} s, and runs it", machine.name),
    );
    let before = tasks(cast, "CreateSnapshot_Task", machine)?;
    let id = steps::define(
        cast,
        json!({
            "name": "Snapshot before work", "description": "One snapshot.",
            "approval_timeout_s": OPEN_S,
            "steps": [steps::snapshot(1, machine, "before-work")],
        }),
    )
    .await?;
    let go = json!({"workflow_id": id});
    let asked = cast.agent.ask("run_workflow", go.clone()).await?;
    let old = asked["approval"].clone();
    tell.act("operator", "is at lunch");
    let paused = until("the approval to expire", async || {
        let seen = cast.agent.ask("get_workflow_status", go.clone()).await?;
        Ok((text(&seen, "state") != "awaiting_approval").then_some(seen))
    })
    .await?;
    let late = cast.agent.call("approve", yes(&id, &old)).await?;
    tell.act(
        "operator",
        format_args!(
            "is back, and approves what has expired: {}",
            text(&late.value, "code")
        ),
    );
    tell.pause();
    tell.check(
        text(&asked, "outcome") == "awaiting_approval"
            && text(&paused, "state") == "paused"
            && text(&paused, "reason") == "approval_expired",
        format_args!("after {OPEN_S} s the workflow is paused, because of approval_expired"),
    );
    tell.check(
        late.failed && text(&late.value, "code") == "approval.void",
        "the old approval is void: a late yes is refused, with approval.void",
    );
    tell.check(
        tasks(cast, "CreateSnapshot_Task", machine)? == before,
        "the vCenter was asked for no snapshot",
    );

    let again = cast.agent.ask("resume_workflow", go).await?;
    let new = again["approval"].clone();
    tell.act("agent", "resumes the workflow, which asks anew");
    let done = cast.agent.ask("approve", yes(&id, &new)).await?;
    tell.act("operator", "approves in time");
    let record = record(cast, &id).await?;
    let seen = see(cast, machine).await?;
    tell.pause();
    tell.check(
        text(&again, "outcome") == "awaiting_approval" && new["id"] != old["id"],
        "what was asked anew is another approval",
    );
    tell.check(
        text(&done, "outcome") == "completed"
            && events(&record, "expired").count() == 1
            && events(&record, "approved").count() == 1,
        "the workflow is completed; on record are one approval that expired, and one that was given",
    );
    tell.check(
        tasks(cast, "CreateSnapshot_Task", machine)? == before + 1
            && seen.snapshots.iter().any(|name| name == "before-work"),
        format_args!("the vCenter says of {}: {}", machine.name, seen.told()),
    );
    Ok(())
}

/// The second one: `pilot` is killed after a change was sent, and before it knows what came of it.
pub(super) async fn killed(cast: &Cast<'_>, machines: &[Machine], tell: &mut Tell) -> Result<()> {
    tell.part("Killed in the worst moment");
    let [_, machine, ..] = machines else {
        bail!("two machines are needed")
    };
    let hold = cast.relay(true)?;
    let victim = cast.another().await?;
    let before = counts(cast, machine)?;
    let was = see(cast, machine).await?;
    tell.act(
        "agent",
        format_args!(
            "starts another `pilot`, process {}, and makes a workflow that turns {} off and on again",
            victim.process(),
            machine.name
        ),
    );
    let id = steps::create(
        &cast.at(&victim),
        "Off and on again",
        "A cold restart.",
        vec![
            steps::power_off(1, machine),
            steps::power_on(1, machine),
            steps::verify(1, machine),
        ],
    )
    .await?;
    let plan = victim
        .ask("run_workflow", json!({"workflow_id": id}))
        .await?;
    let step = victim.ask("approve", yes(&id, &plan["approval"])).await?;
    tell.act("operator", "approves the plan, and power_off_1");
    let mut decision = yes(&id, &step["approval"]);
    decision["wait_seconds"] = 0.into();
    hold_back(&hold, "power_off")?;
    victim.ask("approve", decision).await?;
    is_held(&hold).await?;
    let (kind, about) = last_event(cast, &id)?;
    let seen = see(cast, machine).await?;
    tell.act(
        "vCenter",
        format_args!(
            "has done it: {}. Its answer is on its way to `pilot`",
            seen.told()
        ),
    );
    let number = victim.process();
    cast.kill(victim).await?;
    let_go(&hold)?;
    tell.act("operator", format_args!("$ kill -9 {number}"));
    tell.pause();
    tell.check(
        kind == "intent" && about == "power_off_1" && last_event(cast, &id)? == (kind, about),
        "the last that is on the disk is the intent of power_off_1, without an outcome",
    );

    let successor = cast.another().await?;
    tell.act(
        "agent",
        format_args!(
            "starts `pilot` again, process {}, and calls run_workflow",
            successor.process()
        ),
    );
    let run = run_to_rest(&cast.at(&successor), &id, Show::Little, tell).await?;
    let record = record(cast, &id).await?;
    let after = counts(cast, machine)?;
    cast.dismiss(successor).await?;
    let sent = |step: &str| {
        events(&record, "intent")
            .filter(|event| text(event, "step") == step)
            .count()
    };
    tell.pause();
    tell.check(
        events(&record, "outcome").any(|event| {
            text(event, "step") == "power_off_1" && event["outcome"]["is"] == "unknown"
        }),
        "power_off_1 was called unknown then: neither a success nor a failure",
    );
    tell.check(
        events(&record, "probed").any(|event| text(event, "step") == "power_off_1")
            && run.state("power_off_1")? == "succeeded"
            && sent("power_off_1") == 1,
        "a look at the machine showed that it had happened, so it was not sent again",
    );
    tell.check(
        text(&run.answer, "outcome") == "completed",
        "the workflow went on, and is completed",
    );
    tell.check(
        after.off == before.off + 1 && after.on == before.on + 1,
        format_args!(
            "the vCenter's own record: {} task that turned {} off, and {} that turned it on",
            after.off - before.off,
            machine.name,
            after.on - before.on
        ),
    );
    let seen = see(cast, machine).await?;
    tell.check(
        seen == was,
        format_args!("the vCenter says of {}: {}", machine.name, seen.told()),
    );
    Ok(())
}

/// The third one: two `pilot`s on one home want the same workflow.
pub(super) async fn two_at_once(
    cast: &Cast<'_>,
    machines: &[Machine],
    tell: &mut Tell,
) -> Result<()> {
    tell.part("Two at once");
    let [_, machine, ..] = machines else {
        bail!("two machines are needed")
    };
    let hold = cast.relay(true)?;
    let pair = [cast.another().await?, cast.another().await?];
    let before = counts(cast, machine)?;
    let was = see(cast, machine).await?;
    let [one, other] = &pair;
    tell.act(
        "agents",
        format_args!(
            "two of them share a home, with a `pilot` each: processes {} and {}. The first makes a \
             workflow with a snapshot of {}",
            one.process(),
            other.process(),
            machine.name
        ),
    );
    let id = steps::create(
        &cast.at(one),
        "Snapshot for two",
        "One snapshot, and a look.",
        vec![
            steps::snapshot(1, machine, "for-two"),
            steps::verify(1, machine),
        ],
    )
    .await?;
    let go = json!({"workflow_id": id, "wait_seconds": 0});
    let asked = one.ask("run_workflow", go.clone()).await?;
    let seen = other.ask("get_workflow_status", go.clone()).await?;
    let listed = other.ask("list_workflows", json!({})).await?;
    tell.check(
        !asked["approval"]["id"].is_null()
            && seen["approval"]["id"] == asked["approval"]["id"]
            && listed["workflows"]
                .as_array()
                .is_some_and(|rows| rows.iter().any(|row| text(row, "workflow_id") == id)),
        "both see the workflow, and the same open approval",
    );
    // Both have read by now where their companion is.
    cast.relay(false)?;

    let mut decision = yes(&id, &asked["approval"]);
    decision["wait_seconds"] = 0.into();
    hold_back(&hold, "snapshot_create")?;
    let (mine, yours) = tokio::join!(
        one.call("approve", decision.clone()),
        other.call("approve", decision.clone())
    );
    let (mine, yours) = (mine?, yours?);
    tell.act("operator", "approves it on both at the same moment");
    is_held(&hold).await?;
    let (winner, loser, refused) = if mine.failed {
        (other, one, &mine)
    } else {
        (one, other, &yours)
    };
    tell.check(
        mine.failed != yours.failed && REFUSALS.contains(&text(&refused.value, "code")),
        format_args!(
            "one decision counted, that on process {}; the other was refused: {}",
            winner.process(),
            text(&refused.value, "code")
        ),
    );
    let owned = owner(cast, &id)? == Some(winner.process());
    tell.check(
        owned,
        format_args!("process {} owns the workflow", winner.process()),
    );
    meanwhile(loser, &decision, &go, tell).await?;
    tell.check(
        counts(cast, machine)?.created == before.created + 1
            && owner(cast, &id)? == Some(winner.process()),
        "the vCenter was asked for one snapshot, and the owner is the same",
    );

    let_go(&hold)?;
    let ended = loser
        .ask(
            "get_workflow_status",
            json!({"workflow_id": id, "wait_seconds": 30}),
        )
        .await?;
    tell.check(
        text(&ended, "outcome") == "cancelled"
            && ended["residue"]
                .as_array()
                .is_some_and(|rows| rows.iter().any(|row| text(row, "step") == "snapshot_1")),
        "what was in flight was settled first: it is cancelled, and says that the snapshot stays",
    );
    let asked = loser.ask("rollback", go).await?;
    let undone = loser.ask("approve", yes(&id, &asked["approval"])).await?;
    tell.act(
        "agents",
        format_args!(
            "the one with process {} asks for the rollback, and the operator approves",
            loser.process()
        ),
    );
    tell.pause();
    let record = record(cast, &id).await?;
    let after = counts(cast, machine)?;
    tell.check(
        text(&undone, "outcome") == "rolled_back" && see(cast, machine).await? == was,
        "once it was at rest, the other one could undo it: the machine is as it was",
    );
    tell.check(
        after.created == before.created + 1
            && after.removed == before.removed + 1
            && events(&record, "intent").count()
                == 2 + usize::from(
                    events(&record, "intent").any(|event| text(event, "step") == "verify_1"),
                ),
        "the vCenter's own record: one snapshot made, one removed; nothing was done twice",
    );
    for client in pair {
        cast.dismiss(client).await?;
    }
    let left = sessions(cast).await?;
    tell.check(
        left == 0,
        format_args!("sessions left on the vCenter: {left}"),
    );
    Ok(())
}

/// What the one that is not the owner is told while a change of the workflow is in flight.
async fn meanwhile(loser: &Client, decision: &Value, go: &Value, tell: &mut Tell) -> Result<()> {
    let seen = loser.ask("get_workflow_status", go.clone()).await?;
    let again: Answer = loser.call("approve", decision.clone()).await?;
    let run = loser.ask("run_workflow", go.clone()).await?;
    let cancel = loser.ask("cancel_workflow", go.clone()).await?;
    tell.act(
        "agents",
        format_args!(
            "the one with process {} tries everything meanwhile: approve, run, cancel",
            loser.process()
        ),
    );
    let code = text(&again.value, "code");
    tell.check(
        again.failed && REFUSALS.contains(&code),
        format_args!("its yes to what is decided is refused: {code}"),
    );
    tell.check(
        text(&seen, "state") == "running" && text(&run, "outcome") == "running",
        "it is told that the workflow runs, and begins nothing itself",
    );
    tell.check(
        text(&cancel, "outcome") == "running",
        "its cancel is taken down, and not called done while the change is in flight",
    );
    Ok(())
}

/// How often the vCenter was asked for each kind of task on a machine.
struct Counts {
    off: usize,
    on: usize,
    created: usize,
    removed: usize,
}

fn counts(cast: &Cast<'_>, machine: &Machine) -> Result<Counts> {
    Ok(Counts {
        off: tasks(cast, "PowerOffVM_Task", machine)?,
        on: tasks(cast, "PowerOnVM_Task", machine)?,
        created: tasks(cast, "CreateSnapshot_Task", machine)?,
        removed: cast.asked()?.matches("<RemoveSnapshot_Task ").count(),
    })
}

/// Asks the relay to hold back the answer to the next change of that name.
fn hold_back(hold: &Path, action: &str) -> Result<()> {
    let draft = hold.with_extension("draft");
    fs::write(&draft, action)?;
    Ok(fs::rename(draft, hold)?)
}

/// Waits until an answer is being held back.
async fn is_held(hold: &Path) -> Result<()> {
    until("an answer to be held back", async || {
        Ok(held(hold).exists().then_some(()))
    })
    .await
}

/// Lets the answer go.
fn let_go(hold: &Path) -> Result<()> {
    fs::remove_file(held(hold))?;
    Ok(fs::remove_file(hold)?)
}

/// Looks for something until it is there.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        tokio::time::sleep(POLL).await;
    }
    bail!("waited in vain for {what}")
}
