//! Where a VM is: its name, its folder, its host and datastores, its registration.
//!
//! Methods of `ManagedEntity`, `Folder`, `VirtualMachine`, `SearchIndex` and
//! `VirtualMachineProvisioningChecker` in the vSphere Web Services API (6.5 to 9).

use crate::envelope::Envelope;
use crate::error::Error;
use crate::session::Session;
use crate::transport::Deed;
use crate::value::{MoRef, Value};

/// Where a VM is to run and to be stored (`VirtualMachineRelocateSpec`); what is `None` is left to
/// the server.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Relocate {
    /// The datastore for all that is not named in `disks`.
    pub datastore: Option<MoRef>,
    /// How disks are moved, as `createNewChildDiskBacking` for a linked clone.
    pub disk_move_type: Option<&'static str>,
    /// The resource pool.
    pub pool: Option<MoRef>,
    /// The host.
    pub host: Option<MoRef>,
    /// Disks with a datastore of their own.
    pub disks: Vec<Disk>,
}

/// Where one disk is to be stored (`VirtualMachineRelocateSpecDiskLocator`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The disk's device key.
    pub key: i64,
    /// Its datastore.
    pub datastore: MoRef,
}

impl Relocate {
    /// Writes it as the element `name`, in the order of the schema.
    pub(super) fn write(&self, envelope: &mut Envelope, name: &str) {
        envelope.open(name);
        if let Some(datastore) = &self.datastore {
            envelope.moref("datastore", datastore);
        }
        if let Some(kind) = self.disk_move_type {
            envelope.text("diskMoveType", kind);
        }
        if let Some(pool) = &self.pool {
            envelope.moref("pool", pool);
        }
        if let Some(host) = &self.host {
            envelope.moref("host", host);
        }
        for disk in &self.disks {
            envelope
                .open("disk")
                .text("diskId", &disk.key.to_string())
                .moref("datastore", &disk.datastore)
                .close("disk");
        }
        envelope.close(name);
    }
}

impl Session {
    /// `Rename_Task` (`ManagedEntity`). In the name `/`, `\` and `%` are to be escaped.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn rename(&self, entity: &MoRef, name: &str) -> Result<MoRef, Error> {
        let mut envelope = self.envelope("Rename_Task", entity);
        envelope.text("newName", name);
        self.start(envelope).await
    }

    /// `MoveIntoFolder_Task` (`Folder`).
    ///
    /// # Errors
    /// Those of any change.
    pub async fn move_into_folder(&self, folder: &MoRef, entity: &MoRef) -> Result<MoRef, Error> {
        let mut envelope = self.envelope("MoveIntoFolder_Task", folder);
        envelope.moref("list", entity);
        self.start(envelope).await
    }

    /// `RelocateVM_Task`: to another host, other datastores, or both.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn relocate(&self, vm: &MoRef, spec: &Relocate) -> Result<MoRef, Error> {
        let mut envelope = self.envelope("RelocateVM_Task", vm);
        spec.write(&mut envelope, "spec");
        envelope.text("priority", "defaultPriority");
        self.start(envelope).await
    }

    /// `CheckRelocate_Task` (`VirtualMachineProvisioningChecker`): what would be in the way of
    /// [`Session::relocate`]. It changes nothing; the task's result is a list of `CheckResult`.
    /// `None` if the server has no such checker (a standalone host).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn check_relocate(
        &self,
        vm: &MoRef,
        spec: &Relocate,
    ) -> Result<Option<MoRef>, Error> {
        let Some(checker) = self.content().find("vmProvisioningChecker") else {
            return Ok(None);
        };
        let mut envelope = self.envelope("CheckRelocate_Task", &checker);
        envelope.moref("vm", vm);
        spec.write(&mut envelope, "spec");
        let answer = self.call(envelope, Deed::Read).await?;
        Ok(answer.and_then(|value| value.as_moref()))
    }

    /// `MarkAsTemplate`: done when it answers.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn mark_as_template(&self, vm: &MoRef) -> Result<(), Error> {
        self.ask_simple("MarkAsTemplate", vm).await
    }

    /// `MarkAsVirtualMachine`: done when it answers.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn mark_as_virtual_machine(
        &self,
        template: &MoRef,
        pool: &MoRef,
        host: Option<&MoRef>,
    ) -> Result<(), Error> {
        let mut envelope = self.envelope("MarkAsVirtualMachine", template);
        envelope.moref("pool", pool);
        if let Some(host) = host {
            envelope.moref("host", host);
        }
        self.call(envelope, Deed::Change).await.map(drop)
    }

    /// `UnregisterVM`: takes a VM out of the inventory and leaves its files. Done when it answers.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn unregister(&self, vm: &MoRef) -> Result<(), Error> {
        self.ask_simple("UnregisterVM", vm).await
    }

    /// `RegisterVM_Task` (`Folder`). The task's result is the VM's new reference.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn register(
        &self,
        folder: &MoRef,
        path: &str,
        name: Option<&str>,
        as_template: bool,
        pool: Option<&MoRef>,
        host: Option<&MoRef>,
    ) -> Result<MoRef, Error> {
        let mut envelope = self.envelope("RegisterVM_Task", folder);
        envelope.text("path", path);
        if let Some(name) = name {
            envelope.text("name", name);
        }
        envelope.flag("asTemplate", as_template);
        if let Some(pool) = pool {
            envelope.moref("pool", pool);
        }
        if let Some(host) = host {
            envelope.moref("host", host);
        }
        self.start(envelope).await
    }

    /// `FindChild` (`SearchIndex`): what bears this name directly in a folder, if anything does.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn find_child(&self, folder: &MoRef, name: &str) -> Result<Option<MoRef>, Error> {
        let index = self.content().need("searchIndex")?;
        let mut envelope = self.envelope("FindChild", &index);
        envelope.moref("entity", folder).text("name", name);
        let answer = self.call(envelope, Deed::Read).await?;
        Ok(answer.as_ref().and_then(Value::as_moref))
    }

    /// `FindByDatastorePath` (`SearchIndex`): the VM whose `.vmx` file this is, if one is registered.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn find_by_datastore_path(
        &self,
        datacenter: &MoRef,
        path: &str,
    ) -> Result<Option<MoRef>, Error> {
        let index = self.content().need("searchIndex")?;
        let mut envelope = self.envelope("FindByDatastorePath", &index);
        envelope.moref("datacenter", datacenter).text("path", path);
        let answer = self.call(envelope, Deed::Read).await?;
        Ok(answer.as_ref().and_then(Value::as_moref))
    }
}
