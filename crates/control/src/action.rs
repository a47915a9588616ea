//! The actions: what each does on the server, in the families of the table.

pub(crate) mod access;
pub(crate) mod alarm;
pub(crate) mod browse;
pub(crate) mod cancel;
pub(crate) mod clone;
pub(crate) mod create;
mod credential;
pub(crate) mod delete;
pub(crate) mod device;
pub(crate) mod disk;
mod entity;
pub(crate) mod find;
pub(crate) mod guest;
pub(crate) mod guest_power;
pub(crate) mod history;
mod host;
pub(crate) mod inventory;
pub(crate) mod lists;
pub(crate) mod maintenance;
pub(crate) mod migrate;
mod moment;
pub(crate) mod old;
pub(crate) mod performance;
pub(crate) mod place;
pub(crate) mod power;
pub(crate) mod question;
mod reconfig;
pub(crate) mod reconfigure;
pub(crate) mod registration;
pub(crate) mod snapshot;
pub(crate) mod template;
mod tree;
pub(crate) mod vm;

use serde_json::{Map, Value};

use crate::argument::Arguments;
use crate::call::Call;
use crate::change;
use crate::failure::Failure;
use crate::table::{Action, Platform, Run};

pub(crate) use host::accepted as accepted_of_the_host;

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
    (row.check)(arguments)
}

/// Performs an action on the server that the call is connected to.
pub(crate) async fn perform(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    check_platform(call)?;
    let refusal = host::refuses_changes(call).await?;
    if let Some(refusal) = &refusal
        && !call.is_preview()
    {
        return Err(refusal.clone());
    }
    match call.row.run {
        Run::Server(run) => {
            let mut answer = run(call).await?;
            if let Some(refusal) = refusal {
                change::warn_of(&mut answer, &refusal);
            }
            Ok(answer)
        }
        // It has no session: it never comes this far.
        Run::Local(_) => Err(Failure::new(
            "internal.error",
            "Report this: a local action was sent to a server",
        )),
    }
}

/// Refuses on a standalone host what only a vCenter can do.
fn check_platform(call: &Call<'_>) -> Result<(), Failure> {
    if call.row.platform == Platform::Any || call.session.about().is_vcenter() {
        return Ok(());
    }
    Err(Failure::new(
        "platform.unsupported",
        format!(
            "Call `{}` on the vCenter that manages this host: a standalone ESXi host cannot do it",
            call.row.word
        ),
    )
    .with("platform", "esxi")
    .with("needs", "vcenter"))
}
