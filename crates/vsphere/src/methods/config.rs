//! Changes of a VM's configuration and of its hardware (`VirtualMachineConfigSpec`,
//! `VirtualDeviceConfigSpec`, vSphere Web Services API 6.5 to 9.0).

use crate::envelope::Envelope;
use crate::error::Error;
use crate::session::Session;
use crate::transport::Deed;
use crate::value::{MoRef, Value};

/// A new configuration for a VM (`VirtualMachineConfigSpec`); what is `None` or empty stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Reconfigure {
    /// `config.changeVersion` as read: the server refuses (`ConcurrentAccess`) if somebody else
    /// changed the VM since.
    pub change_version: Option<String>,
    /// The notes.
    pub annotation: Option<String>,
    /// Number of virtual CPUs.
    pub cpus: Option<u32>,
    /// Number of cores in each socket; 0 leaves it to the server, from 8.0 on.
    pub cores_per_socket: Option<u32>,
    /// Memory in MiB.
    pub memory_mib: Option<u64>,
    /// Changes of devices, all of them or none.
    pub devices: Vec<DeviceChange>,
    /// Entries of `extraConfig`; an empty value takes an entry away.
    pub extra: Vec<(String, String)>,
}

/// One change of a device (`VirtualDeviceConfigSpec`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceChange {
    /// What to do with the device.
    pub operation: Operation,
    /// What to do with the file behind it.
    pub file: Option<FileOperation>,
    /// The device, with its type. To edit or remove one: as it was read, but for what is to be changed.
    pub device: Value,
}

/// `VirtualDeviceConfigSpecOperation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is new: its key is negative.
    Add,
    /// It is there and becomes another.
    Edit,
    /// It goes.
    Remove,
}

/// `VirtualDeviceConfigSpecFileOperation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileOperation {
    /// The file is made with the device.
    Create,
    /// The file goes with the device, and what is in it.
    Destroy,
}

impl Session {
    /// `ReconfigVM_Task`.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn reconfigure(&self, vm: &MoRef, spec: &Reconfigure) -> Result<MoRef, Error> {
        let mut envelope = self.envelope("ReconfigVM_Task", vm);
        // In the order of the schema: servers read it so.
        envelope.open("spec");
        if let Some(version) = &spec.change_version {
            envelope.text("changeVersion", version);
        }
        if let Some(annotation) = &spec.annotation {
            envelope.text("annotation", annotation);
        }
        if let Some(cpus) = spec.cpus {
            envelope.text("numCPUs", &cpus.to_string());
        }
        if let Some(cores) = spec.cores_per_socket {
            envelope.text("numCoresPerSocket", &cores.to_string());
        }
        if let Some(memory) = spec.memory_mib {
            envelope.text("memoryMB", &memory.to_string());
        }
        for change in &spec.devices {
            change.write(&mut envelope);
        }
        for (key, value) in &spec.extra {
            envelope
                .open("extraConfig")
                .text("key", key)
                .value("value", &Value::typed_text("string", value))
                .close("extraConfig");
        }
        envelope.close("spec");
        self.start(envelope).await
    }

    /// `SetField` of the custom fields manager: a custom attribute of an object; empty unsets it.
    /// There is none on a host without a vCenter.
    ///
    /// # Errors
    /// Those of any change; [`Error::Absent`].
    pub async fn set_field(&self, entity: &MoRef, key: i64, value: &str) -> Result<(), Error> {
        let manager = self.content().need("customFieldsManager")?;
        let mut envelope = self.envelope("SetField", &manager);
        envelope
            .moref("entity", entity)
            .text("key", &key.to_string())
            .text("value", value);
        self.call(envelope, Deed::Change).await.map(drop)
    }

    /// `RemoveAllSnapshots_Task`, disks consolidated.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn remove_all_snapshots(&self, vm: &MoRef) -> Result<MoRef, Error> {
        let mut envelope = self.envelope("RemoveAllSnapshots_Task", vm);
        envelope.flag("consolidate", true);
        self.start(envelope).await
    }

    /// `ConsolidateVMDisks_Task`: merges what a deleted snapshot left behind.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn consolidate_disks(&self, vm: &MoRef) -> Result<MoRef, Error> {
        self.start_simple("ConsolidateVMDisks_Task", vm).await
    }

    /// `AnswerVM`: answers the question that a VM asks, by the key of a choice.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn answer(&self, vm: &MoRef, question: &str, choice: &str) -> Result<(), Error> {
        let mut envelope = self.envelope("AnswerVM", vm);
        envelope
            .text("questionId", question)
            .text("answerChoice", choice);
        self.call(envelope, Deed::Change).await.map(drop)
    }
}

impl DeviceChange {
    fn write(&self, out: &mut Envelope) {
        out.open("deviceChange");
        out.text(
            "operation",
            match self.operation {
                Operation::Add => "add",
                Operation::Edit => "edit",
                Operation::Remove => "remove",
            },
        );
        if let Some(file) = self.file {
            out.text(
                "fileOperation",
                match file {
                    FileOperation::Create => "create",
                    FileOperation::Destroy => "destroy",
                },
            );
        }
        out.value("device", &self.device);
        out.close("deviceChange");
    }
}
