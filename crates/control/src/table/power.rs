//! The power state of a virtual machine.

use super::{Action, Effect, Name, Needs, Risk};

pub(super) const POWER_ON: Action = Action {
    name: Name::PowerOn,
    word: "power_on",
    doc: "Power a VM on, or resume a suspended one",
    risk: Risk::Write,
    effect: Effect::Idempotent,
    needs: Needs::Machine,
    required: &[],
    own: &[],
    undo: &["power_off", "suspend"],
    preview: true,
    api: &["PowerOnVM_Task"],
};

pub(super) const POWER_OFF: Action = Action {
    name: Name::PowerOff,
    word: "power_off",
    doc: "Power a VM off at once, without the guest; unsaved memory is lost",
    risk: Risk::Destructive,
    effect: Effect::Idempotent,
    needs: Needs::Machine,
    required: &[],
    own: &[],
    undo: &["power_on"],
    preview: true,
    api: &["PowerOffVM_Task"],
};

pub(super) const RESET: Action = Action {
    name: Name::Reset,
    word: "reset",
    doc: "Reset a running VM at once, without the guest; unsaved memory is lost",
    risk: Risk::Destructive,
    effect: Effect::Once,
    needs: Needs::Machine,
    required: &[],
    own: &[],
    undo: &[],
    preview: true,
    api: &["ResetVM_Task"],
};

pub(super) const SUSPEND: Action = Action {
    name: Name::Suspend,
    word: "suspend",
    doc: "Suspend a running VM; power_on resumes it",
    risk: Risk::Destructive,
    effect: Effect::Idempotent,
    needs: Needs::Machine,
    required: &[],
    own: &[],
    undo: &["power_on"],
    preview: true,
    api: &["SuspendVM_Task"],
};

pub(super) const SHUTDOWN_GUEST: Action = Action {
    name: Name::ShutdownGuest,
    word: "shutdown_guest",
    doc: "Ask the guest to shut down and wait until it is off; never turns into a hard power-off",
    risk: Risk::Destructive,
    effect: Effect::Idempotent,
    needs: Needs::Machine,
    required: &[],
    own: &[],
    undo: &["power_on"],
    preview: true,
    api: &["ShutdownGuest"],
};
