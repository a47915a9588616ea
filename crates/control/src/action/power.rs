//! power_on, power_off, suspend, shutdown_guest, reset.

use std::time::Duration;

use serde_json::{Map, Value, json};
use vsphere::{MoRef, Object};

use crate::call::Call;
use crate::change::{self, Deed, Done, Ended, Plan, Undo, Verify, through_task_seeing};
use crate::failure::Failure;
use crate::harm::{self, Harm, Level};
use crate::machine::{Machine, look, reread};

const ON: &str = "poweredOn";
const OFF: &str = "poweredOff";
const SUSPENDED: &str = "suspended";

/// How often a guest that shuts down is looked at: quickly at first, then patiently.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const SLOWEST_LOOK: Duration = Duration::from_secs(2);

/// A way to change the power state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Switch {
    On,
    Off,
    Suspend,
    Shutdown,
}

impl Switch {
    /// The state that it leads to.
    fn leads_to(self) -> &'static str {
        match self {
            Switch::On => ON,
            Switch::Off | Switch::Shutdown => OFF,
            Switch::Suspend => SUSPENDED,
        }
    }

    /// What the server would object to in this state.
    fn objection(self, state: &str) -> Option<String> {
        let refused = match self {
            Switch::On => false,
            Switch::Off => state == SUSPENDED,
            Switch::Suspend | Switch::Shutdown => state != ON,
        };
        refused.then(|| format!("The server may refuse it now: the VM is {state}"))
    }

    /// The inverse, from the state before.
    fn undo(self, call: &Call<'_>, machine: &Machine, before: &str) -> Undo {
        let to = |action| machine.arguments(call, action);
        match (self, before) {
            (Switch::On, SUSPENDED) => Undo::lossy(
                to("suspend"),
                "It is suspended again, in the state of that moment",
            ),
            (Switch::On, _) => Undo::lossy(
                to("power_off"),
                "What the guest has done since is not undone, and its memory is lost",
            ),
            (Switch::Suspend, ON) => Undo::exact(to("power_on")),
            // No server should do it; one that does leaves no way back.
            (Switch::Suspend, _) => Undo::none(
                "Only a VM that runs is suspended, and power_on leads back to that alone",
            ),
            (Switch::Off | Switch::Shutdown, SUSPENDED) => Undo::lossy(
                to("power_on"),
                "The suspended state is lost: it starts anew",
            ),
            (Switch::Off, _) => {
                Undo::lossy(to("power_on"), "What was in memory and not on disk is lost")
            }
            (Switch::Shutdown, _) => Undo::lossy(
                to("power_on"),
                "The guest starts anew: running programs are not brought back",
            ),
        }
    }
}

/// Changes the power state.
pub(crate) async fn change(call: &Call<'_>, switch: Switch) -> Result<Map<String, Value>, Failure> {
    let machine = Machine::find(call, &["guest.toolsRunningStatus"]).await?;
    let before = machine.power_state();
    let after = switch.leads_to();
    let mut warnings = machine.warnings();
    let changed = before != after;
    let harm = match switch {
        Switch::Off | Switch::Suspend => harm::check(call, &machine, Level::State).await?,
        Switch::On | Switch::Shutdown => Harm::default(),
    };
    warnings.extend(harm.warnings(call));
    if changed {
        warnings.extend(switch.objection(&before));
        if switch == Switch::Shutdown
            && machine.object.text("guest.toolsRunningStatus") != Some("guestToolsRunning")
        {
            warnings.push(
                "VMware Tools do not run in the guest: it cannot be asked to shut down".to_owned(),
            );
        }
    }
    let plan = Plan {
        target: machine.target(&call.server),
        changed,
        before: state(&before),
        after: state(after),
        undo: switch.undo(call, &machine, &before),
        verify: Some(Verify {
            arguments: machine.arguments(call, "get_vm"),
            before: pointed(&before),
            after: pointed(after),
        }),
        warnings,
        refusal: machine.unfit().or_else(|| harm.refusal(call)),
        extra: Map::new(),
    };
    let deed = Flip {
        switch,
        machine: machine.reference,
    };
    change::carry_out(call, plan, deed).await
}

fn state(power_state: &str) -> Map<String, Value> {
    Map::from_iter([("power_state".to_owned(), json!(power_state))])
}

fn pointed(power_state: &str) -> Map<String, Value> {
    Map::from_iter([("/vm/power_state".to_owned(), json!(power_state))])
}

struct Flip {
    switch: Switch,
    machine: MoRef,
}

impl Deed for Flip {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        match self.flip(call).await {
            Err(failure) if failure.code() == "vsphere.invalid_power_state" => {
                let now = power_state_now(call, &self.machine).await;
                if now.as_deref() != Some(self.switch.leads_to()) {
                    return Err(failure);
                }
                Ok(Done {
                    already: true,
                    ..Done::default()
                })
            }
            other => other,
        }
    }
}

impl Flip {
    async fn flip(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let (session, vm) = (call.session, &self.machine);
        let see = &[POWER_STATE];
        let (ended, task, seen) = match self.switch {
            Switch::On => {
                through_task_seeing(call, "PowerOnVM_Task", vm, see, session.power_on(vm)).await?
            }
            Switch::Off => {
                through_task_seeing(call, "PowerOffVM_Task", vm, see, session.power_off(vm)).await?
            }
            Switch::Suspend => {
                through_task_seeing(call, "SuspendVM_Task", vm, see, session.suspend(vm)).await?
            }
            Switch::Shutdown => return shut_down(call, vm).await,
        };
        let wanted = self.switch.leads_to();
        let now = match shown_state(seen.as_ref()) {
            // Read beside the task, another state may be one of a moment before its end.
            Some(state) if state == wanted => Some(state),
            _ => power_state_now(call, vm).await,
        };
        if matches!(ended, Ended::Forgotten) && now.as_deref() != Some(wanted) {
            return Err(change::forgotten("the power change", &task));
        }
        Ok(Done {
            after: now.as_deref().map(state),
            task: Some(task),
            ..Done::default()
        })
    }
}

/// Asks the guest to shut down, and waits until the machine is off. Nothing else is done
/// if the guest does not.
async fn shut_down(call: &Call<'_>, vm: &MoRef) -> Result<Done, Failure> {
    call.sent.change("ShutdownGuest");
    let asked = call.session.shutdown_guest(vm).await;
    asked.map_err(|error| change::not_started(call, error))?;
    let mut pause = FIRST_LOOK;
    loop {
        let now = power_state(call, vm)
            .await
            .map_err(|failure| call.sent.mark(failure))?;
        if now.as_deref() == Some(OFF) {
            return Ok(Done {
                after: Some(state(OFF)),
                ..Done::default()
            });
        }
        let left = call.left();
        if left.is_zero() {
            return Err(call.sent.mark(Failure::new(
                "call.timeout",
                "Look again later, or pass a longer `timeout_s`: the guest was asked to shut down and is not off yet; it was not powered off",
            )));
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 2).min(SLOWEST_LOOK);
    }
}

const POWER_STATE: &str = "runtime.powerState";

fn shown_state(object: Option<&Object>) -> Option<String> {
    object?.text(POWER_STATE).map(guard::text::sanitize)
}

async fn power_state(call: &Call<'_>, vm: &MoRef) -> Result<Option<String>, Failure> {
    let object = reread(call.session, vm, &[POWER_STATE]).await?;
    Ok(shown_state(object.as_ref()))
}

/// The power state after a change, if it can be seen soon.
async fn power_state_now(call: &Call<'_>, vm: &MoRef) -> Option<String> {
    shown_state(look(call.session, vm, &[POWER_STATE]).await.as_ref())
}

/// Resets a running machine.
pub(crate) async fn reset(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let machine = Machine::find(call, &[]).await?;
    let before = machine.power_state();
    let mut warnings = machine.warnings();
    if before != ON {
        warnings.push(format!("The server may refuse it now: the VM is {before}"));
    }
    let harm = harm::check(call, &machine, Level::State).await?;
    warnings.extend(harm.warnings(call));
    let plan = Plan {
        target: machine.target(&call.server),
        changed: true,
        before: state(&before),
        // A reset leaves the power state as it is; one of a VM that is off is refused.
        after: state(&before),
        undo: Undo::none(
            "A reset cannot be taken back: what was in memory and not on disk is lost",
        ),
        verify: None,
        warnings,
        refusal: machine.unfit().or_else(|| harm.refusal(call)),
        extra: Map::new(),
    };
    change::carry_out(
        call,
        plan,
        Reset {
            machine: machine.reference,
        },
    )
    .await
}

struct Reset {
    machine: MoRef,
}

impl Deed for Reset {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let vm = &self.machine;
        let (ended, task) =
            change::through_task(call, "ResetVM_Task", vm, call.session.reset(vm)).await?;
        match ended {
            Ended::Success(_) => Ok(Done {
                task: Some(task),
                ..Done::default()
            }),
            // Nothing tells a reset machine from one that was not.
            Ended::Forgotten => Err(change::forgotten("ResetVM_Task", &task)),
        }
    }
}
