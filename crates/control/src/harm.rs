//! Looking before harm: what hangs on a machine, measured before something is lost with it.
//!
//! [`check`] reads it, [`Harm::refusal`] refuses what is dangerous unless `override` names it,
//! [`Harm::shown`] is the part of previews and answers that shows all of it.

mod clones;

use serde_json::{Map, Value, json};

use crate::action::disk::{self, DEVICES, Disk};
use crate::call::Call;
use crate::failure::Failure;
use crate::fault;
use crate::machine::Machine;

/// What the change may do harm to. Each level looks at all that the ones before it look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// The running state: power_off, reset, suspend. Costs no request.
    State,
    /// The hardware, the registration: what loses no file.
    Hardware,
    /// Files of the machine: a disk, a snapshot. Other machines may stand on them.
    Files,
    /// The machine itself, with everything that is attached to it.
    Whole,
}

/// What is read of the machine from [`Level::Hardware`] on.
const PATHS: &[&str] = &[
    DEVICES,
    "config.keyId",
    "config.repConfig",
    "config.files.vmPathName",
    "datastore",
];

/// How many of one kind are shown.
const SHOWN: usize = 50;

/// Something that hangs on the machine.
#[derive(Debug)]
struct Finding {
    name: &'static str,
    text: String,
    /// The objects that it is about.
    about: Vec<Value>,
    /// Whether it refuses the change unless it is overridden; else it is only said.
    dangerous: bool,
}

/// All that hangs on a machine.
#[derive(Debug, Default)]
pub(crate) struct Harm {
    findings: Vec<Finding>,
    disks: Vec<Disk>,
    looked_at_disks: bool,
}

/// Measures what hangs on the machine, as far as a change of this level can do harm to it.
///
/// # Errors
///
/// Those of the server; what cannot be read is a finding and no error.
pub(crate) async fn check(
    call: &Call<'_>,
    machine: &Machine,
    level: Level,
) -> Result<Harm, Failure> {
    let mut harm = Harm {
        findings: of_state(machine),
        ..Harm::default()
    };
    harm.findings.extend(disabled(call, machine));
    if level == Level::State {
        return Ok(harm);
    }
    let read = call.session.properties(&machine.reference, PATHS);
    let Some(object) = read.await.map_err(fault::failure)? else {
        return Ok(harm);
    };
    harm.looked_at_disks = !object.is_unreadable(DEVICES);
    harm.disks = disk::all(&object);
    if !harm.looked_at_disks {
        harm.add(
            "unreadable_disks",
            level >= Level::Files,
            "its disks cannot be read with this user".to_owned(),
            Vec::new(),
        );
    }
    let is_filled = |path: &str| object.get(path).is_some_and(vsphere::Value::is_struct);
    if is_filled("config.keyId") {
        harm.add(
            "encrypted",
            false,
            "it is encrypted: without its key nothing of it can be read elsewhere".to_owned(),
            Vec::new(),
        );
    }
    if level >= Level::Files {
        clones::look(call, machine, &object, &mut harm).await;
    }
    if level == Level::Whole {
        harm.of_disks();
        if is_filled("config.repConfig") {
            harm.add(
                "replication",
                true,
                "it is replicated".to_owned(),
                Vec::new(),
            );
        }
    }
    Ok(harm)
}

/// The findings that a machine's state has by itself, which `override` accepts by name.
pub(crate) fn standing(machine: &Machine) -> Vec<&'static str> {
    of_state(machine)
        .iter()
        .map(|finding| finding.name)
        .collect()
}

fn of_state(machine: &Machine) -> Vec<Finding> {
    let mut findings = Vec::new();
    let manager = machine
        .object
        .get("summary.config.managedBy")
        .and_then(|by| by.text_at("extensionKey"));
    if let Some(manager) = manager {
        let manager = guard::text::sanitize_to(manager, 80);
        findings.push(Finding {
            name: "managed_by",
            text: format!("it is managed by `{manager}`"),
            about: vec![json!(manager)],
            dangerous: true,
        });
    }
    let tolerance = machine.object.text("runtime.faultToleranceState");
    if let Some(state) = tolerance.filter(|state| !["", "notConfigured"].contains(state)) {
        let state = guard::text::sanitize_to(state, 40);
        findings.push(Finding {
            name: "fault_tolerance",
            text: format!("Fault Tolerance is {state}"),
            about: vec![json!(state)],
            dangerous: true,
        });
    }
    findings
}

/// What the server says that it would refuse now, of what this action sends.
fn disabled(call: &Call<'_>, machine: &Machine) -> Option<Finding> {
    let disabled = machine.object.get("disabledMethod")?;
    let ours: Vec<&str> = disabled
        .items()
        .map(vsphere::Value::text)
        .filter(|method| call.row.api.contains(method))
        .collect();
    (!ours.is_empty()).then(|| Finding {
        name: "method_disabled",
        text: format!("the server says that {} is disabled now", ours.join(", ")),
        about: ours.iter().map(|method| json!(method)).collect(),
        dangerous: true,
    })
}

impl Harm {
    fn add(&mut self, name: &'static str, dangerous: bool, text: String, about: Vec<Value>) {
        self.findings.push(Finding {
            name,
            text,
            about,
            dangerous,
        });
    }

    /// What goes with the machine and is not the machine's alone.
    fn of_disks(&mut self) {
        for (name, fits, text) in [
            (
                "raw_devices",
                Disk::is_raw_device as fn(&Disk) -> bool,
                "raw devices hang on it: the mapping is lost, what is on the LUN stays",
            ),
            (
                "first_class_disks",
                Disk::is_first_class,
                "first-class disks hang on it, which others may use",
            ),
            (
                "shared_disks",
                Disk::is_shared,
                "disks of it are shared with other VMs",
            ),
        ] {
            let fitting: Vec<&Disk> = self.disks.iter().filter(|disk| fits(disk)).collect();
            if !fitting.is_empty() && !self.has(name) {
                let about = fitting.iter().take(SHOWN).map(|disk| disk.row()).collect();
                self.add(name, true, text.to_owned(), about);
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        self.findings.iter().any(|finding| finding.name == name)
    }

    /// With what an unfinished consolidation means for work on snapshots.
    pub(crate) fn and_consolidation(mut self, machine: &Machine) -> Self {
        if machine.flag("runtime.consolidationNeeded") {
            let text = "its disks need consolidation first (`consolidate_disks`)".to_owned();
            self.add("consolidation_needed", true, text, Vec::new());
        }
        self
    }

    /// Why the change is refused: a dangerous finding that `override` does not name.
    pub(crate) fn refusal(&self, call: &Call<'_>) -> Option<Failure> {
        let accepted = if call.row.takes("override") {
            call.arguments.texts("override")
        } else {
            Vec::new()
        };
        let open: Vec<&Finding> = self
            .findings
            .iter()
            .filter(|finding| finding.dangerous && !accepted.contains(&finding.name))
            .collect();
        if open.is_empty() {
            return None;
        }
        let texts: Vec<&str> = open.iter().map(|finding| finding.text.as_str()).collect();
        Some(
            Failure::new(
                "harm.found",
                format!(
                    "Look at `findings`, and pass their names as `override` to go on all the same: {}",
                    texts.join("; ")
                ),
            )
            .with(
                "findings",
                open.iter().map(|finding| finding.name).collect::<Vec<_>>(),
            )
            .with(
                "details",
                open.iter().map(|f| f.row()).collect::<Vec<Value>>(),
            ),
        )
    }

    /// What a person should know: what was overridden, and what is no danger but still so.
    pub(crate) fn warnings(&self, call: &Call<'_>) -> Vec<String> {
        let refused = self.refusal(call).is_some();
        self.findings
            .iter()
            .filter(|finding| !finding.dangerous || !refused)
            .map(|finding| format!("Look before it is done: {}", finding.text))
            .collect()
    }

    /// All of it, for the answer's `hangs_on_it`.
    pub(crate) fn shown(&self) -> Map<String, Value> {
        let mut shown = Map::new();
        let findings: Vec<Value> = self.findings.iter().map(Finding::row).collect();
        shown.insert("findings".to_owned(), json!(findings));
        if self.looked_at_disks {
            let disks: Vec<Value> = self.disks.iter().take(SHOWN).map(Disk::row).collect();
            shown.insert("disks".to_owned(), json!(disks));
            shown.insert("disks_total".to_owned(), json!(self.disks.len()));
        }
        shown
    }

    /// The disks, where the level looks at them.
    pub(crate) fn disks(&self) -> &[Disk] {
        &self.disks
    }

    /// Whether the disks could be read.
    pub(crate) fn knows_disks(&self) -> bool {
        self.looked_at_disks
    }
}

impl Finding {
    fn row(&self) -> Value {
        let about: Vec<&Value> = self.about.iter().take(SHOWN).collect();
        json!({
            "name": self.name, "what": self.text, "refuses": self.dangerous,
            "about": about, "total": self.about.len(),
        })
    }
}
