//! ReconfigVM_Task, as every action sends it: with the version that was read, and looked for where
//! its answer is lost.

use vsphere::{Object, Reconfigure};

use crate::call::Call;
use crate::change::{self, Ended};
use crate::failure::Failure;
use crate::machine::{Machine, look};
use policy::answer::ErrorEffect;

/// Where the version of a machine's configuration is.
pub(super) const VERSION: &str = "config.changeVersion";

const METHOD: &str = "ReconfigVM_Task";

/// What came of it.
pub(super) struct Sent {
    /// The server's task, if it was told.
    pub(super) task: Option<String>,
    /// The machine afterwards, if it could be seen soon.
    pub(super) object: Option<Object>,
}

/// The version that was read, to be found unchanged.
pub(super) fn version(machine: &Machine) -> Option<String> {
    machine
        .object
        .text(VERSION)
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

/// Sends a new configuration, and waits for its end. `paths` are read afterwards; `is_there` says
/// of them whether the change is in effect.
///
/// # Errors
///
/// Those of [`change::through_task`]; a lost answer is none if the effect is seen.
pub(super) async fn send(
    call: &Call<'_>,
    machine: &Machine,
    spec: &Reconfigure,
    paths: &[&str],
    is_there: impl Fn(&Object) -> bool + Send + Sync,
) -> Result<Sent, Failure> {
    let vm = &machine.reference;
    let start = call.session.reconfigure(vm, spec);
    let ended = change::through_task(call, METHOD, vm, start).await;
    match ended {
        Ok((Ended::Success(_), task)) => Ok(Sent {
            task: Some(task),
            object: look(call.session, vm, paths).await,
        }),
        Ok((Ended::Forgotten, task)) => match look(call.session, vm, paths).await {
            Some(object) if is_there(&object) => Ok(Sent {
                task: Some(task),
                object: Some(object),
            }),
            _ => Err(change::forgotten(METHOD, &task)),
        },
        // Not seen is not undone: the server may come to it yet.
        Err(failure) if failure.effect() == ErrorEffect::Unknown => {
            match look(call.session, vm, paths).await {
                Some(object) if is_there(&object) => Ok(Sent {
                    task: None,
                    object: Some(object),
                }),
                _ => Err(failure),
            }
        }
        Err(failure) => Err(failure),
    }
}
