//! The power state of a virtual machine.

use super::{Action, Effect, Needs, Platform, Risk, Run, accept};
use crate::action::power::{self, Switch};

/// The rows of this family, in the order in which they are published.
pub(super) const ROWS: &[&Action] = &[&POWER_ON, &POWER_OFF, &RESET, &SUSPEND, &SHUTDOWN_GUEST];

const POWER_ON: Action = Action {
    word: "power_on",
    aliases: &["start_vm", "vm_power_on", "poweron"],
    doc: "Power a VM on, or resume a suspended one",
    risk: Risk::Write,
    effect: Effect::Idempotent,
    needs: Needs::Machine,
    platform: Platform::Any,
    required: &[],
    own: &[],
    undo: &["power_off", "suspend"],
    preview: true,
    probe: "power state",
    api: &["PowerOnVM_Task"],
    check: accept,
    run: Run::Server(|call| Box::pin(power::change(call, Switch::On))),
};

const POWER_OFF: Action = Action {
    word: "power_off",
    aliases: &["stop_vm", "vm_power_off", "poweroff"],
    doc: "Power a VM off at once, without the guest; unsaved memory is lost",
    risk: Risk::Destructive,
    effect: Effect::Idempotent,
    needs: Needs::Machine,
    platform: Platform::Any,
    required: &[],
    own: &["override"],
    undo: &["power_on"],
    preview: true,
    probe: "power state",
    api: &["PowerOffVM_Task"],
    check: accept,
    run: Run::Server(|call| Box::pin(power::change(call, Switch::Off))),
};

const RESET: Action = Action {
    word: "reset",
    aliases: &["reset_vm", "vm_reset", "hard_reset"],
    doc: "Reset a running VM at once, without the guest; unsaved memory is lost",
    risk: Risk::Destructive,
    effect: Effect::Once,
    needs: Needs::Machine,
    platform: Platform::Any,
    required: &[],
    own: &["override"],
    undo: &[],
    preview: true,
    probe: "history of tasks",
    api: &["ResetVM_Task"],
    check: accept,
    run: Run::Server(|call| Box::pin(power::reset(call))),
};

const SUSPEND: Action = Action {
    word: "suspend",
    aliases: &["suspend_vm", "vm_suspend"],
    doc: "Suspend a running VM; power_on resumes it",
    risk: Risk::Destructive,
    effect: Effect::Idempotent,
    needs: Needs::Machine,
    platform: Platform::Any,
    required: &[],
    own: &["override"],
    undo: &["power_on"],
    preview: true,
    probe: "power state",
    api: &["SuspendVM_Task"],
    check: accept,
    run: Run::Server(|call| Box::pin(power::change(call, Switch::Suspend))),
};

const SHUTDOWN_GUEST: Action = Action {
    word: "shutdown_guest",
    aliases: &["shutdown_vm", "vm_shutdown", "guest_shutdown"],
    doc: "Ask the guest to shut down and wait until it is off; never turns into a hard power-off",
    risk: Risk::Destructive,
    effect: Effect::Idempotent,
    needs: Needs::Machine,
    platform: Platform::Any,
    required: &[],
    own: &[],
    undo: &["power_on"],
    preview: true,
    probe: "power state",
    api: &["ShutdownGuest"],
    check: accept,
    run: Run::Server(|call| Box::pin(power::change(call, Switch::Shutdown))),
};
