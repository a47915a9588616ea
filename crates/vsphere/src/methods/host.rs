//! Changes of ESXi hosts, and of the guests in VMs.

use crate::error::Error;
use crate::session::Session;
use crate::value::MoRef;

/// What becomes of what lies on a host that enters maintenance.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Evacuation {
    /// Whether VMs that are off are moved away as well; only where DRS moves VMs at all.
    pub powered_off: bool,
    /// What vSAN does with the data on the host (`VsanHostDecommissionModeObjectAction`).
    pub vsan: Option<String>,
}

impl Session {
    /// `EnterMaintenanceMode_Task`. The server gives up after `timeout_s`; 0 would be never, and is
    /// sent as 1.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn enter_maintenance(
        &self,
        host: &MoRef,
        timeout_s: u32,
        evacuation: &Evacuation,
    ) -> Result<MoRef, Error> {
        let mut envelope = self.envelope("EnterMaintenanceMode_Task", host);
        envelope
            .text("timeout", &timeout_s.max(1).to_string())
            .flag("evacuatePoweredOffVms", evacuation.powered_off);
        if let Some(action) = &evacuation.vsan {
            envelope
                .open("maintenanceSpec")
                .open("vsanMode")
                .text("objectAction", action)
                .close("vsanMode")
                .close("maintenanceSpec");
        }
        self.start(envelope).await
    }

    /// `ExitMaintenanceMode_Task`. The server gives up after `timeout_s`, at least 1.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn exit_maintenance(&self, host: &MoRef, timeout_s: u32) -> Result<MoRef, Error> {
        let mut envelope = self.envelope("ExitMaintenanceMode_Task", host);
        envelope.text("timeout", &timeout_s.max(1).to_string());
        self.start(envelope).await
    }

    /// `ReconnectHost_Task`, with the connection that the vCenter has on file.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn reconnect_host(&self, host: &MoRef) -> Result<MoRef, Error> {
        self.start_simple("ReconnectHost_Task", host).await
    }

    /// `StandbyGuest`: only asks the guest; success says nothing about whether it does it.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn standby_guest(&self, vm: &MoRef) -> Result<(), Error> {
        self.ask_simple("StandbyGuest", vm).await
    }
}
