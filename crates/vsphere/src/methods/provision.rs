//! Making VMs: from another VM, from a template, from nothing.
//!
//! `VirtualMachine.CloneVM_Task` and `Folder.CreateVM_Task` in the vSphere Web Services API.

use crate::envelope::Envelope;
use crate::error::Error;
use crate::session::Session;
use crate::value::MoRef;

use super::Relocate;

/// How a clone is to be (`VirtualMachineCloneSpec`).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CloneSpec {
    /// Where it goes.
    pub location: Relocate,
    /// The snapshot that it is made from; without one, the present state.
    pub snapshot: Option<MoRef>,
    /// Whether it is powered on at once.
    pub power_on: bool,
    /// `config.extraConfig` of the clone, over what it inherits; an empty value takes a key away.
    pub extra_config: Vec<(String, String)>,
}

/// A VM to be made from nothing (`VirtualMachineConfigSpec`), without disks and adapters.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NewMachine {
    /// Its name; `/`, `\` and `%` are to be escaped.
    pub name: String,
    /// Where its files go, as `[datastore]`.
    pub files: String,
    /// The guest's id, as `otherGuest64`.
    pub guest_id: String,
    /// Number of virtual CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// `config.extraConfig`.
    pub extra_config: Vec<(String, String)>,
}

fn extra(envelope: &mut Envelope, options: &[(String, String)]) {
    for (key, value) in options {
        envelope
            .open("extraConfig")
            .text("key", key)
            .open_as("value", "xsd:string")
            .content("value", value)
            .close("value")
            .close("extraConfig");
    }
}

impl Session {
    /// `CloneVM_Task`. The task's result is the clone's reference.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn clone_vm(
        &self,
        source: &MoRef,
        folder: &MoRef,
        name: &str,
        spec: &CloneSpec,
    ) -> Result<MoRef, Error> {
        let mut envelope = self.envelope("CloneVM_Task", source);
        envelope.moref("folder", folder).text("name", name);
        envelope.open("spec");
        spec.location.write(&mut envelope, "location");
        envelope.flag("template", false);
        envelope.open("config");
        extra(&mut envelope, &spec.extra_config);
        envelope.close("config");
        envelope.flag("powerOn", spec.power_on);
        if let Some(snapshot) = &spec.snapshot {
            envelope.moref("snapshot", snapshot);
        }
        envelope.close("spec");
        self.start(envelope).await
    }

    /// `CreateVM_Task` (`Folder`). The task's result is the VM's reference.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn create_vm(
        &self,
        folder: &MoRef,
        machine: &NewMachine,
        pool: &MoRef,
        host: Option<&MoRef>,
    ) -> Result<MoRef, Error> {
        let mut envelope = self.envelope("CreateVM_Task", folder);
        envelope
            .open("config")
            .text("name", &machine.name)
            .text("guestId", &machine.guest_id)
            .open("files")
            .text("vmPathName", &machine.files)
            .close("files")
            .text("numCPUs", &machine.cpus.to_string())
            .text("memoryMB", &machine.memory_mib.to_string());
        extra(&mut envelope, &machine.extra_config);
        envelope.close("config").moref("pool", pool);
        if let Some(host) = host {
            envelope.moref("host", host);
        }
        self.start(envelope).await
    }
}
