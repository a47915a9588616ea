//! The actions: what each does on the server, in the families of the table.

mod credential;
mod delete;
mod disk;
mod inventory;
mod power;
mod reconfigure;
mod snapshot;
mod tree;
mod vm;

use serde_json::{Map, Value};

use crate::argument::Arguments;
use crate::call::Call;
use crate::failure::Failure;
use crate::table::{Action, Name};

pub(crate) use credential::{Local, OnChangedCertificate, Pinned};

/// What an action needs beyond connection and machine, checked before anything is contacted.
pub(crate) fn check(row: &Action, arguments: &Arguments) -> Result<(), Failure> {
    if let Some(name) = arguments.missing(row) {
        return Err(Failure::new(
            "argument.missing",
            format!("Pass `{name}`: `{}` cannot begin without it", row.word),
        )
        .with("argument", name));
    }
    match row.name {
        Name::SnapshotRevert | Name::SnapshotDelete => snapshot::check(arguments),
        Name::SnapshotCreate => snapshot::check_description(arguments),
        Name::Reconfigure => reconfigure::check(arguments),
        Name::About
        | Name::ListVms
        | Name::GetVm
        | Name::ListHosts
        | Name::ListDatastores
        | Name::ListSessions
        | Name::SnapshotList
        | Name::PowerOn
        | Name::PowerOff
        | Name::Reset
        | Name::Suspend
        | Name::ShutdownGuest
        | Name::Delete
        | Name::CredentialSave
        | Name::CredentialList
        | Name::CredentialCheck
        | Name::CredentialDelete => Ok(()),
    }
}

/// Performs an action on the server that the call is connected to.
pub(crate) async fn perform(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    match call.row.name {
        Name::About => Ok(inventory::about(call)),
        Name::ListVms => vm::list(call).await,
        Name::GetVm => vm::get(call).await,
        Name::ListHosts => inventory::hosts(call).await,
        Name::ListDatastores => inventory::datastores(call).await,
        Name::ListSessions => inventory::sessions(call).await,
        Name::SnapshotList => snapshot::list(call).await,
        Name::PowerOn => power::change(call, power::Switch::On).await,
        Name::PowerOff => power::change(call, power::Switch::Off).await,
        Name::Suspend => power::change(call, power::Switch::Suspend).await,
        Name::ShutdownGuest => power::change(call, power::Switch::Shutdown).await,
        Name::Reset => power::reset(call).await,
        Name::SnapshotCreate => snapshot::create(call).await,
        Name::SnapshotRevert => snapshot::revert(call).await,
        Name::SnapshotDelete => snapshot::delete(call).await,
        Name::Reconfigure => reconfigure::change(call).await,
        Name::Delete => delete::change(call).await,
        // They have no session: see `Local`.
        Name::CredentialSave
        | Name::CredentialList
        | Name::CredentialCheck
        | Name::CredentialDelete => Err(Failure::new(
            "internal.error",
            "Report this: a local action was sent to a server",
        )),
    }
}
