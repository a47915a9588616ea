//! The changes: one function per method, each sent once.
//!
//! Those that start a task return it; [`Session::wait`] tells how it ended. An error's
//! [`Error::effect`] says whether the change may have happened nevertheless.

mod access;
mod config;
mod guest;
mod history;
mod host;
mod past;
mod performance;
mod place;
mod provision;

pub use past::PastTask;
pub use place::{Disk, Relocate};
pub use provision::{CloneSpec, NewMachine};

use crate::envelope::Envelope;
use crate::error::{Effect, Error};
use crate::session::{Session, UserSession};
use crate::transport::Deed;
use crate::value::{MoRef, Value};

pub use access::Granted;
pub use config::{DeviceChange, FileOperation, Operation, Reconfigure};
pub use guest::{GuestAccount, GuestProgram};
pub use history::{HistoryFilter, Recursion};
pub use host::Evacuation;
pub use performance::PerfQuery;

impl Session {
    /// Sends a change that starts a task.
    async fn start(&self, envelope: Envelope) -> Result<MoRef, Error> {
        let method = envelope.method();
        let answer = self.call(envelope, Deed::Change).await?;
        answer
            .and_then(|v| v.as_moref())
            .ok_or_else(|| Error::Malformed {
                call: method,
                reason: "it names no task".into(),
                effect: Effect::Unknown,
            })
    }

    async fn start_simple(&self, method: &'static str, this: &MoRef) -> Result<MoRef, Error> {
        self.start(self.envelope(method, this)).await
    }

    async fn ask_simple(&self, method: &'static str, this: &MoRef) -> Result<(), Error> {
        self.call(self.envelope(method, this), Deed::Change)
            .await
            .map(drop)
    }

    /// `PowerOnVM_Task`: starts a VM, or resumes a suspended one.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn power_on(&self, vm: &MoRef) -> Result<MoRef, Error> {
        self.start_simple("PowerOnVM_Task", vm).await
    }

    /// `PowerOffVM_Task`: as pulling the plug.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn power_off(&self, vm: &MoRef) -> Result<MoRef, Error> {
        self.start_simple("PowerOffVM_Task", vm).await
    }

    /// `ResetVM_Task`: as the reset button.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn reset(&self, vm: &MoRef) -> Result<MoRef, Error> {
        self.start_simple("ResetVM_Task", vm).await
    }

    /// `SuspendVM_Task`.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn suspend(&self, vm: &MoRef) -> Result<MoRef, Error> {
        self.start_simple("SuspendVM_Task", vm).await
    }

    /// `ShutdownGuest`: only asks the guest; success says nothing about whether it does it.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn shutdown_guest(&self, vm: &MoRef) -> Result<(), Error> {
        self.ask_simple("ShutdownGuest", vm).await
    }

    /// `RebootGuest`: only asks the guest.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn reboot_guest(&self, vm: &MoRef) -> Result<(), Error> {
        self.ask_simple("RebootGuest", vm).await
    }

    /// `CreateSnapshot_Task`. The task's result is the snapshot's reference.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn create_snapshot(
        &self,
        vm: &MoRef,
        name: &str,
        description: &str,
        memory: bool,
        quiesce: bool,
    ) -> Result<MoRef, Error> {
        let mut envelope = self.envelope("CreateSnapshot_Task", vm);
        envelope
            .text("name", name)
            .text("description", description)
            .flag("memory", memory)
            .flag("quiesce", quiesce);
        self.start(envelope).await
    }

    /// `RevertToSnapshot_Task`. With `suppress_power_on` the VM stays off even if the snapshot holds its memory.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn revert_to_snapshot(
        &self,
        snapshot: &MoRef,
        suppress_power_on: bool,
    ) -> Result<MoRef, Error> {
        let mut envelope = self.envelope("RevertToSnapshot_Task", snapshot);
        envelope.flag("suppressPowerOn", suppress_power_on);
        self.start(envelope).await
    }

    /// `RemoveSnapshot_Task`, disks consolidated; with `children` the whole subtree.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn remove_snapshot(&self, snapshot: &MoRef, children: bool) -> Result<MoRef, Error> {
        let mut envelope = self.envelope("RemoveSnapshot_Task", snapshot);
        envelope
            .flag("removeChildren", children)
            .flag("consolidate", true);
        self.start(envelope).await
    }

    /// `Destroy_Task`: deletes the object, a VM with all its attached disks.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn destroy(&self, entity: &MoRef) -> Result<MoRef, Error> {
        self.start_simple("Destroy_Task", entity).await
    }

    /// `CancelTask`: only asks for it.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn cancel_task(&self, task: &MoRef) -> Result<(), Error> {
        self.ask_simple("CancelTask", task).await
    }

    /// The server's sessions. `None` if we may not read the list (it needs Sessions.TerminateSession).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn session_list(&self) -> Result<Option<Vec<UserSession>>, Error> {
        let manager = self.content().need("sessionManager")?;
        let object = self.properties(&manager, &["sessionList"]).await?;
        let list = object.as_ref().and_then(|o| o.get("sessionList"));
        Ok(list.map(|list| list.items().map(UserSession::from_value).collect()))
    }

    /// `CurrentTime`: the server's clock, as it writes times (ISO 8601).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn current_time(&self) -> Result<String, Error> {
        let instance = MoRef::new("ServiceInstance", "ServiceInstance");
        let answer = self
            .call(self.envelope("CurrentTime", &instance), Deed::Read)
            .await?;
        answer
            .map(|v: Value| v.text().to_owned())
            .filter(|t| !t.is_empty())
            .ok_or_else(|| Error::Malformed {
                call: "CurrentTime",
                reason: "it tells no time".into(),
                effect: Effect::None,
            })
    }
}
