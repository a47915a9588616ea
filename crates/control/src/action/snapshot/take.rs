//! Taking a snapshot, and what stands in its way.

use vsphere::{MoRef, Object};

use super::super::disk::{self, Disk};
use super::super::tree::mark;
use super::tree_now;
use crate::call::Call;
use crate::change::{self, Ended};
use crate::failure::Failure;
use crate::machine::Machine;
use policy::answer::ErrorEffect;

const METHOD: &str = "CreateSnapshot_Task";

/// A snapshot to be taken.
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    /// Its description, without the key.
    pub(super) words: &'a str,
    pub(super) memory: bool,
    pub(super) quiesce: bool,
}

/// Takes a snapshot, and answers its reference and the task.
///
/// # Errors
///
/// Those of [`change::through_task`]; effect `partial` if a failed task left a snapshot behind.
pub(super) async fn take(
    call: &Call<'_>,
    machine: &Machine,
    wanted: &Wanted<'_>,
) -> Result<(String, String), Failure> {
    let vm = &machine.reference;
    let description = match call.key {
        None => wanted.words.to_owned(),
        Some(key) if wanted.words.is_empty() => mark(key),
        Some(key) => format!("{} {}", wanted.words, mark(key)),
    };
    let start =
        call.session
            .create_snapshot(vm, wanted.name, &description, wanted.memory, wanted.quiesce);
    let (ended, task) = match change::through_task(call, METHOD, vm, start).await {
        Ok(ended) => ended,
        Err(failure) => return Err(left_behind(call, vm, failure).await),
    };
    let id = match ended {
        Ended::Success(result) => result
            .and_then(|value| value.as_moref())
            .map(|moref| moref.id),
        Ended::Forgotten => None,
    };
    // Without a reference in the answer, the key finds it.
    let id = match (id, call.key) {
        (Some(id), _) => Some(id),
        (None, Some(key)) => tree_now(call, vm)
            .await?
            .under_key(key)
            .map(|snapshot| snapshot.id.clone()),
        (None, None) => None,
    };
    match id {
        Some(id) => Ok((guard::text::sanitize_to(&id, 80), task)),
        None => Err(change::forgotten(METHOD, &task)),
    }
}

/// A failed task may have left a snapshot all the same.
async fn left_behind(call: &Call<'_>, vm: &MoRef, failure: Failure) -> Failure {
    let (ErrorEffect::None, Some(key)) = (failure.effect(), call.key) else {
        return failure;
    };
    match tree_now(call, vm).await {
        Ok(tree) => match tree.under_key(key) {
            Some(snapshot) => failure
                .leaving(ErrorEffect::Partial)
                .with("snapshot", snapshot.id.as_str()),
            None => failure,
        },
        // The server refused or failed it; that nothing can be read now does not make it so.
        Err(_) => failure,
    }
}

/// Why no snapshot of the machine can be taken now.
pub(super) fn unsupported(machine: &Machine) -> Option<Failure> {
    let is_on = machine.power_state() != "poweredOff";
    let disks = disk::all(&machine.object);
    let named = |fits: fn(&Disk) -> bool| {
        let fitting: Vec<&str> = disks
            .iter()
            .filter(|disk| fits(disk))
            .map(|disk| disk.label.as_str())
            .collect();
        (!fitting.is_empty()).then(|| fitting.join(", "))
    };
    let refused = |remedy: &str, why: String| {
        Failure::new("snapshot.unsupported", format!("{remedy}: {why}"))
    };
    if let Some(labels) = named(Disk::is_physical_device) {
        let why =
            format!("{labels} is a raw device in physical mode, of which there are no snapshots");
        return Some(refused("Detach it first", why));
    }
    if shares_its_bus(&machine.object) {
        let why =
            "a SCSI controller of the VM is shared with other VMs, and then there are no snapshots";
        return Some(refused("Take the sharing away first", why.to_owned()));
    }
    if !is_on {
        return None;
    }
    if let Some(labels) = named(Disk::is_independent) {
        let why = format!("{labels} is independent, and the VM runs");
        return Some(refused("Power the VM off first (`power_off`)", why));
    }
    let passes_through = disk::devices(&machine.object).any(|device| {
        device
            .type_name()
            .is_some_and(|name| name == "VirtualPCIPassthrough")
    });
    passes_through.then(|| {
        let why = "a device of the host is passed through to it, and the VM runs";
        refused("Power the VM off first (`power_off`)", why.to_owned())
    })
}

fn shares_its_bus(object: &Object) -> bool {
    disk::devices(object).any(|device| {
        device
            .text_at("sharedBus")
            .is_some_and(|sharing| !["", "noSharing"].contains(&sharing))
    })
}

/// What a person should know about the way in which it is taken.
pub(super) fn notes(machine: &Machine, memory: bool, quiesce: bool) -> Vec<String> {
    let mut notes = Vec::new();
    let is_on = machine.power_state() == "poweredOn";
    if memory && quiesce {
        notes.push("`quiesce` has no effect together with `memory`".to_owned());
    }
    if memory && !is_on {
        notes.push("The VM does not run: there is no memory to keep".to_owned());
    }
    if !memory && is_on {
        notes.push("Without `memory` a revert to it leaves the VM off".to_owned());
    }
    let tools = machine.object.text("guest.toolsRunningStatus");
    if quiesce && !memory && is_on && tools != Some("guestToolsRunning") {
        notes.push(
            "VMware Tools do not run in the guest: `quiesce` may fail, or do nothing".to_owned(),
        );
    }
    if disk::all(&machine.object).iter().any(Disk::is_independent) {
        notes.push("Its independent disks are not in the snapshot".to_owned());
    }
    notes
}
