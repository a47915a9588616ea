//! The workflows that are run, and what each of their steps does to the world.

use serde_json::{Value, json};

use super::vcenter::{PROFILE, Seen};

/// What a value of the fake companion is before anything adds to it.
pub(super) const BASE: i64 = 10;
/// How much is added.
pub(super) const MORE: i64 = 5;

/// What a step does.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    /// Sets a value that was not there.
    Set,
    /// Adds to a value. Not repeatable.
    Add,
    /// Sends a message. Not repeatable, not undoable, and nothing can tell but the ledger.
    Send,
    /// Removes a value. Destructive.
    Unset,
    /// Fails, and leaves nothing behind.
    Fails,
    /// Takes a snapshot. Not repeatable.
    Snapshot,
    /// Powers the machine off.
    Off,
    /// Changes its size.
    Size,
    /// Resets the machine, which is off and therefore cannot be.
    Reset,
    /// Powers the machine on.
    On,
}

impl Deed {
    /// The id of its step.
    pub(super) fn step(&self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Add => "add",
            Self::Send => "send",
            Self::Unset => "unset",
            Self::Fails | Self::Reset => "boom",
            Self::Snapshot => "snap",
            Self::Off => "off",
            Self::Size => "size",
            Self::On => "on",
        }
    }

    /// Whether it must not happen twice.
    pub(super) fn once(&self) -> bool {
        matches!(self, Self::Add | Self::Send | Self::Snapshot)
    }
}

/// A workflow, before it is created.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Names what it works on: the values of the fake companion, or the snapshot.
    pub(super) tag: String,
    /// What its steps do, in order.
    pub(super) deeds: Vec<Deed>,
    /// Its machine, with what it was before.
    pub(super) machine: Option<(String, Seen)>,
}

impl Plan {
    /// On the fake companion, all its actions; with a step that fails last, if `boom`.
    pub(super) fn fake(tag: &str, boom: bool) -> Self {
        let mut deeds = vec![Deed::Set, Deed::Add, Deed::Send, Deed::Unset];
        deeds.extend(boom.then_some(Deed::Fails));
        Self {
            tag: tag.to_owned(),
            deeds,
            machine: None,
        }
    }

    /// On a machine of the vCenter that is on; with a step that fails in the midst, if `boom`.
    pub(super) fn machine(tag: &str, name: &str, before: Seen, boom: bool) -> Self {
        let mut deeds = vec![Deed::Snapshot, Deed::Off, Deed::Size];
        deeds.extend(boom.then_some(Deed::Reset));
        deeds.push(Deed::On);
        Self {
            tag: tag.to_owned(),
            deeds,
            machine: Some((name.to_owned(), before)),
        }
    }

    /// The name of one of its values.
    pub(super) fn value(&self, deed: &Deed) -> String {
        format!("{}_{}", self.tag, deed.step())
    }

    /// The size that its machine gets.
    pub(super) fn size(&self) -> (u64, u64) {
        self.machine.as_ref().map_or((0, 0), |(_, before)| {
            (before.cpu % 8 + 1, before.memory_mb + 4)
        })
    }

    /// What `create_workflow` is given.
    pub(super) fn definition(&self) -> Value {
        let steps: Vec<Value> = self.deeds.iter().map(|deed| self.step(deed)).collect();
        json!({"name": format!("Chaos {}", self.tag), "description": "Of the chaos.", "steps": steps})
    }

    fn step(&self, deed: &Deed) -> Value {
        let name = self.value(deed);
        let store = |action: &str, value: Value| {
            let mut params = json!({"action": action, "name": name});
            if !value.is_null() {
                params["value"] = value;
            }
            ("fake", "store", params)
        };
        let machine = self.machine.as_ref().map(|(name, _)| name.as_str());
        let control = |action: &str, more: Value| {
            let mut params =
                json!({"action": action, "credential_profile": PROFILE, "vm_name": machine});
            if let (Some(params), Value::Object(more)) = (params.as_object_mut(), more) {
                params.extend(more);
            }
            ("control", "vmware_control", params)
        };
        let (cpu, memory_mb) = self.size();
        let (skill, tool, params) = match deed {
            Deed::Set => store("set", json!("new")),
            Deed::Add => store("add", json!(MORE)),
            Deed::Send => store("send", Value::Null),
            Deed::Unset => store("unset", Value::Null),
            Deed::Fails => (
                "fake",
                "note",
                json!({"text": "never", "fault": "error_none"}),
            ),
            Deed::Snapshot => control("snapshot_create", json!({"snapshot_name": self.tag})),
            Deed::Off => control("power_off", Value::Null),
            Deed::Size => control("reconfigure", json!({"cpu": cpu, "memory_mb": memory_mb})),
            Deed::Reset => control("reset", Value::Null),
            Deed::On => control("power_on", Value::Null),
        };
        json!({"id": deed.step(), "skill": skill, "tool": tool, "params": params})
    }
}
