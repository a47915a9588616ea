//! One call while it is at work on a server: what it was given, how long it may take, and
//! what it has sent so far.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use policy::answer::ErrorEffect;
use serde_json::{Map, Value};
use tokio::time::Instant;
use vsphere::{MoRef, Session};

use crate::argument::Arguments;
use crate::failure::Failure;
use crate::table::Action;

/// How long a read, or a preview, may take unless the call says otherwise.
const READ: Duration = Duration::from_secs(60);

/// How long a change may take unless the call says otherwise.
const CHANGE: Duration = Duration::from_secs(300);

/// One call at work.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) row: &'static Action,
    pub(crate) arguments: &'a Arguments,
    pub(crate) session: &'a Session,
    /// The account within guests, where the action takes one.
    pub(crate) guest: Option<&'a vsphere::GuestAccount>,
    /// The id of the server: its own, or its address where it has none.
    pub(crate) server: String,
    /// Names the deed over all attempts at it.
    pub(crate) key: Option<&'a str>,
    /// Whether there was an attempt before, of which nobody knows what came of it.
    pub(crate) is_repeated: bool,
    /// The target that was prepared, to be found unchanged.
    pub(crate) expected_target: Option<&'a Map<String, Value>>,
    /// When to stop waiting.
    pub(crate) deadline: Instant,
    pub(crate) sent: &'a Sent,
}

impl Call<'_> {
    /// Whether only a preview was asked for.
    pub(crate) fn is_preview(&self) -> bool {
        self.arguments.flag("preview")
    }

    /// How long it may still wait.
    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// How long a call may take.
pub(crate) fn patience(row: &Action, arguments: &Arguments) -> Duration {
    match arguments
        .whole("timeout_s")
        .and_then(|seconds| u64::try_from(seconds).ok())
    {
        Some(seconds) => Duration::from_secs(seconds),
        None if row.changes() && !arguments.flag("preview") => CHANGE,
        None => READ,
    }
}

/// What a call has sent so far: whoever gives up on it must say what may come of it.
#[derive(Debug, Default)]
pub(crate) struct Sent(Mutex<State>);

#[derive(Debug, Default, Clone)]
enum State {
    /// No change has left, or the server refused it.
    #[default]
    Nothing,
    /// A change has left, and its end is not known.
    Change {
        method: &'static str,
        task: Option<String>,
    },
}

impl Sent {
    /// A change is about to leave.
    pub(crate) fn change(&self, method: &'static str) {
        self.set(State::Change { method, task: None });
    }

    /// The server has begun to work on it.
    pub(crate) fn task(&self, method: &'static str, task: &MoRef) {
        self.set(State::Change {
            method,
            task: Some(task.id.clone()),
        });
    }

    /// The server refused it.
    pub(crate) fn refused(&self) {
        self.set(State::Nothing);
    }

    fn set(&self, state: State) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Gives `failure` the effect that what was sent may have had.
    pub(crate) fn mark(&self, failure: Failure) -> Failure {
        match self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
        {
            State::Nothing => failure,
            State::Change { method, task } => {
                let failure = failure.leaving(ErrorEffect::Unknown).with("call", method);
                match task {
                    Some(task) => failure.with("task", task),
                    None => failure,
                }
            }
        }
    }
}
