//! The workflows that are run, and what each of their steps does to the world.

use serde_json::{Map, Value, json};

use super::dice::Dice;
use super::vcenter::{PROFILE, Seen};

/// What a value of the fake companion is before anything adds to it.
pub(super) const BASE: i64 = 10;
/// How much is added.
pub(super) const MORE: i64 = 5;

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Powers the machine off. Destructive.
    Off,
    /// Changes its size.
    Size,
    /// Resets the machine, which is off and therefore cannot be.
    Reset,
    /// Powers the machine on.
    On,
}

impl Deed {
    fn word(self) -> &'static str {
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
}

/// How the fake companion answers a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// At once.
    Willing,
    /// A moment after it was done, so that troubles meet it in between.
    Slow,
    /// It refuses the first attempt, and does the next one.
    Reluctant,
    /// It refuses each time.
    Never,
}

impl Mood {
    fn fault(self) -> &'static str {
        match self {
            Self::Willing => "",
            Self::Slow => "slow",
            Self::Reluctant | Self::Never => "error_none",
        }
    }

    fn attempts(self) -> u32 {
        if self == Self::Reluctant { 1 } else { 9 }
    }
}

/// One step.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) id: String,
    pub(super) deed: Deed,
    mood: Mood,
    /// Which of the machines of the plan it works on.
    machine: usize,
}

impl Step {
    fn alone(deed: Deed) -> Self {
        Self {
            id: deed.word().to_owned(),
            deed,
            mood: Mood::Willing,
            machine: 0,
        }
    }

    /// One of several, counted from 1.
    fn one_of(word: &str, number: usize, deed: Deed, mood: Mood) -> Self {
        Self {
            id: format!("{word}_{number}"),
            deed,
            mood,
            machine: number - 1,
        }
    }

    /// Whether it must not happen twice.
    pub(super) fn once(&self) -> bool {
        matches!(self.deed, Deed::Add | Deed::Send | Deed::Snapshot)
    }

    /// Whether the plan says that it is tried again.
    fn retried(&self) -> bool {
        self.deed == Deed::Set
    }
}

/// One thing after the other: a step, or several of them that belong together.
#[derive(Clone, Debug)]
pub(super) enum Part {
    /// A step.
    One(Step),
    /// `parallel`, with at most so many at once.
    Beside { limit: usize, steps: Vec<Step> },
    /// `for_each`, in batches, of which so many may fail.
    Each {
        batch: usize,
        max_failures: usize,
        steps: Vec<Step>,
    },
}

impl Part {
    /// Its steps.
    pub(super) fn steps(&self) -> &[Step] {
        match self {
            Self::One(step) => std::slice::from_ref(step),
            Self::Beside { steps, .. } | Self::Each { steps, .. } => steps,
        }
    }
}

/// A workflow, before it is created.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Names what it works on: the values of the fake companion, or the snapshot.
    pub(super) tag: String,
    /// What it does, in order.
    pub(super) parts: Vec<Part>,
    /// Its machines, with what they were before.
    pub(super) machines: Vec<(String, Seen)>,
}

impl Plan {
    /// On the fake companion, all its actions one after the other; with a step that fails last, if
    /// `boom`.
    pub(super) fn fake(tag: &str, boom: bool) -> Self {
        let mut deeds = vec![Deed::Set, Deed::Add, Deed::Send, Deed::Unset];
        deeds.extend(boom.then_some(Deed::Fails));
        Self {
            tag: tag.to_owned(),
            parts: one_by_one(&deeds),
            machines: Vec::new(),
        }
    }

    /// On the fake companion, several at once: a parallel group of which one step is tried again,
    /// and a list in batches of which one may fail. If `boom`, one more does.
    pub(super) fn wide(tag: &str, boom: bool, dice: &mut Dice) -> Self {
        let member = |number, deed, mood| Step::one_of("beside", number, deed, mood);
        let beside = vec![
            member(1, Deed::Add, Mood::Slow),
            member(2, Deed::Set, Mood::Reluctant),
            member(3, Deed::Send, Mood::Willing),
            member(4, Deed::Add, Mood::Willing),
        ];
        // What must not be done twice cannot be tried again.
        let again = dice.percent(50);
        let deed = if again { Deed::Set } else { Deed::Add };
        let mut moods = [Mood::Willing; 5];
        moods[1] = Mood::Slow;
        if again {
            moods[0] = Mood::Reluctant;
        }
        if boom || dice.percent(60) {
            moods[2] = Mood::Never;
        }
        if boom {
            moods[4] = Mood::Never;
        }
        let each = (1..)
            .zip(moods)
            .map(|(number, mood)| Step::one_of("each", number, deed, mood));
        let limit = 2 + usize::from(dice.percent(50));
        let batch = 2 + usize::from(dice.percent(50));
        Self {
            tag: tag.to_owned(),
            parts: vec![
                Part::One(Step::alone(Deed::Set)),
                Part::Beside {
                    limit,
                    steps: beside,
                },
                Part::Each {
                    batch,
                    max_failures: 1,
                    steps: each.collect(),
                },
                Part::One(Step::alone(Deed::Unset)),
            ],
            machines: Vec::new(),
        }
    }

    /// On a machine of the vCenter that is on; with a step that fails in the midst, if `boom`.
    pub(super) fn machine(tag: &str, name: &str, before: Seen, boom: bool) -> Self {
        let mut deeds = vec![Deed::Snapshot, Deed::Off, Deed::Size];
        deeds.extend(boom.then_some(Deed::Reset));
        deeds.push(Deed::On);
        Self {
            tag: tag.to_owned(),
            parts: one_by_one(&deeds),
            machines: vec![(name.to_owned(), before)],
        }
    }

    /// On several machines that are on: all at once, and in batches of two; with a step that fails
    /// last, if `boom`. They stay off.
    pub(super) fn fleet(tag: &str, machines: Vec<(String, Seen)>, boom: bool) -> Self {
        let all = |word: &str, deed| {
            let one = |number| Step::one_of(word, number, deed, Mood::Willing);
            (1..=machines.len()).map(one).collect::<Vec<_>>()
        };
        let batches = |word: &str, deed| Part::Each {
            batch: 2,
            max_failures: 0,
            steps: all(word, deed),
        };
        let mut parts = vec![
            Part::Beside {
                limit: machines.len(),
                steps: all("snap", Deed::Snapshot),
            },
            batches("off", Deed::Off),
            batches("size", Deed::Size),
        ];
        parts.extend(boom.then(|| Part::One(Step::alone(Deed::Reset))));
        Self {
            tag: tag.to_owned(),
            parts,
            machines,
        }
    }

    /// All steps, in order.
    pub(super) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.parts.iter().flat_map(Part::steps)
    }

    /// The destructive ones of a list: one decision has to name them all, if they are to run in
    /// batches.
    pub(super) fn to_be_named(&self) -> Vec<&str> {
        let lists = self.parts.iter().filter(|p| !matches!(p, Part::One(_)));
        lists
            .flat_map(Part::steps)
            .filter(|step| step.deed == Deed::Off)
            .map(|step| step.id.as_str())
            .collect()
    }

    /// The name of one of its values.
    pub(super) fn value(&self, step: &Step) -> String {
        format!("{}_{}", self.tag, step.id)
    }

    /// The name of the machine of a step.
    pub(super) fn machine_of(&self, step: &Step) -> Option<&str> {
        let (name, _) = self.machines.get(step.machine)?;
        Some(name)
    }

    /// The size that the machine of a step gets.
    pub(super) fn size(&self, step: &Step) -> (u64, u64) {
        self.machines
            .get(step.machine)
            .map_or((0, 0), |(_, before)| {
                (before.cpu % 8 + 1, before.memory_mb + 4)
            })
    }

    /// What `create_workflow` is given.
    pub(super) fn definition(&self) -> Value {
        let mut lists = Map::new();
        let mut steps = Vec::new();
        for (number, part) in self.parts.iter().enumerate() {
            steps.push(match part {
                Part::One(step) => self.step(step),
                Part::Beside { limit, steps } => {
                    let steps: Vec<Value> = steps.iter().map(|step| self.step(step)).collect();
                    json!({"id": format!("group_{number}"), "limit": limit, "parallel": steps})
                }
                Part::Each {
                    batch,
                    max_failures,
                    steps,
                } => {
                    let list = format!("list_{number}");
                    let items = steps.iter().map(|step| self.item(step)).collect();
                    lists.insert(list.clone(), Value::Array(items));
                    let mut each = steps.first().map_or(Value::Null, |step| self.each(step));
                    each["for_each"] = format!("${{params.{list}}}").into();
                    each["batch"] = (*batch).into();
                    each["max_failures"] = (*max_failures).into();
                    each
                }
            });
        }
        json!({"name": format!("Chaos {}", self.tag), "description": "Of the chaos.",
               "params": lists, "steps": steps})
    }

    /// One of the items from which a list makes its steps.
    fn item(&self, step: &Step) -> Value {
        let (cpu, memory_mb) = self.size(step);
        json!({"name": self.value(step), "vm": self.machine_of(step).unwrap_or("none"),
               "fault": step.mood.fault(), "attempts": step.mood.attempts(), "cpu": cpu,
               "memory_mb": memory_mb})
    }

    /// The step that a list is made from, with what differs taken from its items.
    fn each(&self, first: &Step) -> Value {
        let mut each = self.step(first);
        each["id"] = first.id.trim_end_matches("_1").into();
        if let Some(params) = each["params"].as_object_mut() {
            let filled: &[(&str, &str)] = if self.machines.is_empty() {
                &[
                    ("name", "${item.name}"),
                    ("fault", "${item.fault}"),
                    ("fault_attempts", "${item.attempts}"),
                ]
            } else {
                &[("vm_name", "${item.vm}")]
            };
            for (name, item) in filled {
                params.insert((*name).to_owned(), (*item).into());
            }
            for size in ["cpu", "memory_mb"] {
                if let Some(value) = params.get_mut(size) {
                    *value = format!("${{item.{size}}}").into();
                }
            }
        }
        each
    }

    fn step(&self, step: &Step) -> Value {
        let name = self.value(step);
        let store = |action: &str, value: Value| {
            let mut params = json!({"action": action, "name": name});
            if !value.is_null() {
                params["value"] = value;
            }
            if step.mood != Mood::Willing {
                params["fault"] = step.mood.fault().into();
                params["fault_attempts"] = step.mood.attempts().into();
            }
            ("fake", "store", params)
        };
        let machine = self.machine_of(step);
        let control = |action: &str, more: Value| {
            let mut params =
                json!({"action": action, "credential_profile": PROFILE, "vm_name": machine});
            if let (Some(params), Value::Object(more)) = (params.as_object_mut(), more) {
                params.extend(more);
            }
            ("control", "vmware_control", params)
        };
        let (cpu, memory_mb) = self.size(step);
        let (skill, tool, params) = match step.deed {
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
        let mut whole = json!({"id": step.id, "skill": skill, "tool": tool, "params": params});
        if step.retried() {
            whole["retry"] = json!({"count": 1, "backoff_s": 1});
        }
        whole
    }
}

fn one_by_one(deeds: &[Deed]) -> Vec<Part> {
    let steps = deeds.iter().map(|deed| Step::alone(*deed));
    steps.map(Part::One).collect()
}
