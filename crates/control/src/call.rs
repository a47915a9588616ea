//! One call while it is at work on a server: what it was given, how long it may take, and
//! what it has sent so far.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use policy::answer::ErrorEffect;
use serde_json::{Map, Value};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;
use vsphere::{MoRef, Session};

use crate::argument::Arguments;
use crate::change::Plan;
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
    /// Where the client hears of progress in percent, if it wants to.
    pub(crate) progress: Option<&'a UnboundedSender<i64>>,
}

impl Call<'_> {
    /// Whether only a preview was asked for.
    pub(crate) fn is_preview(&self) -> bool {
        self.arguments.flag("preview")
    }

    /// Tells the client how far it is.
    pub(crate) fn tell(&self, percent: i64) {
        if let Some(progress) = self.progress {
            // A client that went away hears nothing.
            let _ = progress.send(percent);
        }
    }

    /// Whether it waits for the end of its task.
    pub(crate) fn waits(&self) -> bool {
        self.arguments.given_flag("wait").unwrap_or(true)
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
pub(crate) struct Sent {
    state: Mutex<State>,
    object: Mutex<Option<About>>,
    plan: Mutex<Option<(Plan, Option<String>)>>,
    lost: AtomicBool,
}

/// A change that was sent, and whose answer was lost: all that is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Doubt {
    pub(crate) method: &'static str,
    /// Its task, if the server had named it.
    pub(crate) task: Option<String>,
    pub(crate) about: Option<About>,
    pub(crate) plan: Plan,
    /// The server's clock before the change.
    pub(crate) since: Option<String>,
}

/// The object that a change is about, as it was before.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) object: MoRef,
    /// `config.changeVersion`, where the object has one.
    pub(crate) change_version: Option<String>,
}

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
    /// Notes the object that the call is about, before anything is sent.
    pub(crate) fn about(&self, object: &MoRef, change_version: Option<&str>) {
        *self.object.lock().unwrap_or_else(PoisonError::into_inner) = Some(About {
            object: object.clone(),
            change_version: change_version.map(str::to_owned),
        });
    }

    /// Notes what is to be done, before anything is sent.
    pub(crate) fn planned(&self, plan: &Plan, since: Option<String>) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = Some((plan.clone(), since));
    }

    /// The answer to what was sent was lost.
    pub(crate) fn lost(&self) {
        self.lost.store(true, Ordering::Release);
    }

    /// What is to be found out, if an answer was lost.
    pub(crate) fn doubt(&self) -> Option<Doubt> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State::Change { method, task } = state.clone() else {
            return None;
        };
        let plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let (plan, since) = plan.clone()?;
        let about = self.object.lock().unwrap_or_else(PoisonError::into_inner);
        self.lost.load(Ordering::Acquire).then(|| Doubt {
            method,
            task,
            about: about.clone(),
            plan,
            since,
        })
    }

    /// What goes on at the server after the call: the method and its task.
    pub(crate) fn left_behind(&self) -> Option<(&'static str, Option<String>)> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.clone() {
            State::Nothing => None,
            State::Change { method, task } => Some((method, task)),
        }
    }

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
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Gives `failure` the effect that what was sent may have had.
    pub(crate) fn mark(&self, failure: Failure) -> Failure {
        match self
            .state
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
