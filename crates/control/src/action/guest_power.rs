//! reboot_guest, standby_guest: the guest is only asked, and watched until it has done it. It is
//! never reset or suspended by force.

use std::time::Duration;

use serde_json::{Map, Value, json};
use vsphere::{MoRef, Object};

use crate::call::Call;
use crate::change::{self, Deed, Done, Plan, Undo, Verify};
use crate::failure::Failure;
use crate::machine::{Machine, reread};

const ON: &str = "poweredOn";
const SUSPENDED: &str = "suspended";
const POWER: &str = "runtime.powerState";
const TOOLS: &str = "guest.toolsRunningStatus";
const GUEST: &str = "guest.guestState";
const STANDBY: &str = "config.defaultPowerOps.standbyAction";

/// How often a guest is looked at: quickly at first, then patiently.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const SLOWEST_LOOK: Duration = Duration::from_secs(1);

fn state(power: &str) -> Map<String, Value> {
    Map::from_iter([("power_state".to_owned(), json!(power))])
}

/// Why the guest would not be asked now.
fn unfit(machine: &Machine) -> Option<Failure> {
    if let Some(failure) = machine.unfit() {
        return Some(failure);
    }
    let power = machine.power_state();
    if power != ON {
        return Some(
            Failure::new(
                "vsphere.invalid_power_state",
                format!(
                    "Power the VM on first: it is {power}, and no guest runs that could be asked"
                ),
            )
            .with("power_state", power),
        );
    }
    (machine.object.text(TOOLS) != Some("guestToolsRunning")).then(|| {
        Failure::new(
            "vsphere.tools_unavailable",
            "Start VMware Tools in the guest: without them it cannot be asked",
        )
    })
}

/// Asks the guest to restart, and waits until Tools have gone and come back.
pub(crate) async fn reboot(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let machine = Machine::find(call, &[TOOLS]).await?;
    let before = machine.power_state();
    let plan = Plan {
        target: machine.target(&call.server),
        changed: true,
        before: state(&before),
        after: state(&before),
        undo: Undo::none("A restart cannot be taken back: running programs are not brought back"),
        verify: None,
        warnings: machine.warnings(),
        refusal: unfit(&machine),
        extra: Map::new(),
    };
    let deed = Reboot {
        machine: machine.reference,
    };
    change::carry_out(call, plan, deed).await
}

struct Reboot {
    machine: MoRef,
}

impl Deed for Reboot {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        call.sent.change("RebootGuest");
        let asked = call.session.reboot_guest(&self.machine).await;
        asked.map_err(|error| change::not_started(call, error))?;
        let mut was_away = false;
        let back = watch(call, &self.machine, &[POWER, TOOLS], |object| {
            let is_up = object.text(TOOLS) == Some("guestToolsRunning");
            was_away |= !is_up;
            was_away && is_up && object.text(POWER) == Some(ON)
        });
        if back.await?.is_some() {
            return Ok(Done::default());
        }
        let how_far = if was_away {
            "it went down and is not back yet"
        } else {
            "nothing has been seen of it yet"
        };
        Err(call.sent.mark(Failure::new(
            "call.timeout",
            format!("Look again later, or pass a longer `timeout_s`: the guest was asked to restart, and {how_far}; it was not reset"),
        )))
    }
}

/// Asks the guest to go to sleep, and waits until it does.
pub(crate) async fn standby(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let machine = Machine::find(call, &[TOOLS, GUEST, STANDBY]).await?;
    let before = machine.power_state();
    // What the VM is set to do: to be suspended, or to stay on while the guest sleeps.
    let stays_on = machine.object.text(STANDBY) == Some("powerOnSuspend");
    let sleeps = stays_on && machine.object.text(GUEST) == Some("standby");
    let changed = before != SUSPENDED && !sleeps;
    let after = if stays_on { before.as_str() } else { SUSPENDED };
    let pointed = |power: &str| Map::from_iter([("/vm/power_state".to_owned(), json!(power))]);
    let mut after_state = state(after);
    if stays_on {
        after_state.insert("guest_state".to_owned(), json!("standby"));
    }
    let undo = if stays_on {
        Undo::none(
            "It stays powered on: a sleeping guest is woken at its console or by its network",
        )
    } else {
        Undo::exact(machine.arguments(call, "power_on"))
    };
    let plan = Plan {
        target: machine.target(&call.server),
        changed,
        before: state(&before),
        after: after_state,
        undo,
        verify: Some(Verify {
            arguments: machine.arguments(call, "get_vm"),
            before: pointed(&before),
            after: pointed(after),
        }),
        warnings: machine.warnings(),
        refusal: unfit(&machine),
        extra: Map::new(),
    };
    let deed = Standby {
        machine: machine.reference,
        stays_on,
    };
    change::carry_out(call, plan, deed).await
}

struct Standby {
    machine: MoRef,
    stays_on: bool,
}

impl Deed for Standby {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        call.sent.change("StandbyGuest");
        let asked = call.session.standby_guest(&self.machine).await;
        asked.map_err(|error| change::not_started(call, error))?;
        let asleep = watch(call, &self.machine, &[POWER, GUEST], |object| {
            object.text(POWER) == Some(SUSPENDED)
                || (self.stays_on && object.text(GUEST) == Some("standby"))
        });
        if asleep.await?.is_some() {
            return Ok(Done::default());
        }
        Err(call.sent.mark(Failure::new(
            "call.timeout",
            "Look again later, or pass a longer `timeout_s`: the guest was asked to go to sleep and has not yet; it was not suspended by force",
        )))
    }
}

/// Looks at a machine again and again until `holds`, or until the call's time is up.
async fn watch(
    call: &Call<'_>,
    vm: &MoRef,
    paths: &[&str],
    mut holds: impl FnMut(&Object) -> bool,
) -> Result<Option<Object>, Failure> {
    let mut pause = FIRST_LOOK;
    loop {
        let now = reread(call.session, vm, paths)
            .await
            .map_err(|failure| call.sent.mark(failure))?;
        if let Some(object) = now
            && holds(&object)
        {
            return Ok(Some(object));
        }
        let left = call.left();
        if left.is_zero() {
            return Ok(None);
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 2).min(SLOWEST_LOOK);
    }
}
