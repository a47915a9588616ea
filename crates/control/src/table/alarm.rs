//! Alarms that are raised.

use super::{Action, Argument, Effect, Kind, Needs, Platform, Risk, Run, accept};
use crate::action::alarm;

/// The rows of this family, in the order in which they are published.
pub(super) const ROWS: &[&Action] = &[&LIST_ALARMS, &ACKNOWLEDGE_ALARM];

/// The arguments of this family, in the order in which they are published.
pub(super) const ARGUMENTS: &[Argument] = &[Argument {
    name: "alarm_key",
    kind: Kind::Text { longest: 200 },
    doc: "Raised alarm by its key, as list_alarms shows it",
}];

const LIST_ALARMS: Action = Action {
    word: "list_alarms",
    aliases: &["alarms", "get_alarms", "alarm_list", "triggered_alarms"],
    doc: "List the alarms that are raised now, red before yellow, with object and time",
    risk: Risk::Read,
    effect: Effect::Read,
    needs: Needs::Server,
    platform: Platform::VCenter,
    required: &[],
    own: &["alarm_key", "limit", "cursor"],
    undo: &[],
    preview: false,
    probe: "",
    api: &[],
    check: accept,
    run: Run::Server(|call| Box::pin(alarm::list(call))),
};

const ACKNOWLEDGE_ALARM: Action = Action {
    word: "acknowledge_alarm",
    aliases: &["alarm_acknowledge", "ack_alarm"],
    doc: "Mark a raised alarm as seen; it stays raised, its repeated actions end",
    risk: Risk::Write,
    effect: Effect::Idempotent,
    needs: Needs::Server,
    platform: Platform::VCenter,
    required: &["alarm_key"],
    own: &[],
    undo: &[],
    preview: true,
    probe: "acknowledged",
    api: &["AcknowledgeAlarm"],
    check: accept,
    run: Run::Server(|call| Box::pin(alarm::acknowledge(call))),
};
