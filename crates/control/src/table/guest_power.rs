//! What a guest is asked to do about its own power.

use super::{Action, Effect, Needs, Platform, Risk, Run, accept};
use crate::action::guest_power;

/// The rows of this family, in the order in which they are published.
pub(super) const ROWS: &[&Action] = &[&REBOOT_GUEST, &STANDBY_GUEST];

const REBOOT_GUEST: Action = Action {
    word: "reboot_guest",
    aliases: &["reboot_vm", "vm_reboot", "restart_guest", "guest_reboot"],
    doc: "Ask the guest to restart and wait until it is back; never turns into a reset",
    risk: Risk::Destructive,
    effect: Effect::Once,
    needs: Needs::Machine,
    platform: Platform::Any,
    required: &[],
    own: &[],
    undo: &[],
    preview: true,
    probe: "none",
    api: &["RebootGuest"],
    check: accept,
    run: Run::Server(|call| Box::pin(guest_power::reboot(call))),
};

const STANDBY_GUEST: Action = Action {
    word: "standby_guest",
    aliases: &["guest_standby", "sleep_guest"],
    doc: "Ask the guest to go to sleep and wait until it does; never turns into a suspend",
    risk: Risk::Destructive,
    effect: Effect::Idempotent,
    needs: Needs::Machine,
    platform: Platform::Any,
    required: &[],
    own: &[],
    undo: &["power_on"],
    preview: true,
    probe: "power state",
    api: &["StandbyGuest"],
    check: accept,
    run: Run::Server(|call| Box::pin(guest_power::standby(call))),
};
