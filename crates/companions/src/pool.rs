//! One warm session per companion, for all workflows.
//!
//! A companion is started by whoever needs it first; everybody else who needs it meanwhile
//! waits for the same start. One that died is started again when it is next needed, at once
//! the first times and with growing patience after that.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use guard::secret::{Secret, is_secret_key};
use guard::text::sanitize_to;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::client::Session;
use crate::config::{self, Entry};
use crate::failure::StartError;
use crate::process::Launch;
use crate::scrub::Scrub;

/// So many failures in a row cost nothing.
const FREE: u32 = 2;

/// The patience after the first failure that costs something; doubled with each further one.
const FIRST: Duration = Duration::from_secs(1);

/// The most patience.
const LONGEST: Duration = Duration::from_secs(30);

/// Up to this, one waits; beyond it, one is told to.
const WAITED: Duration = Duration::from_secs(2);

/// A session that was up for so long has not failed in a row, nor has one that answered a call.
const STEADY: Duration = Duration::from_secs(60);

/// How long a session that closed its output may take to go.
const REST: Duration = Duration::from_secs(2);

/// The companions that are running, and why the others are not.
pub(crate) struct Pool {
    slots: BTreeMap<String, Slot>,
    environment: Vec<(OsString, OsString)>,
    closing: CancellationToken,
}

struct Slot {
    entry: Entry,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    session: Option<Arc<Session>>,
    failures: u32,
    last: Option<Failure>,
}

struct Failure {
    at: Instant,
    what: String,
    /// Of a start; `None` when a running one ended.
    start: Option<StartError>,
}

impl Pool {
    pub(crate) fn new(
        entries: BTreeMap<String, Entry>,
        environment: Vec<(OsString, OsString)>,
    ) -> Self {
        let slots = entries
            .into_iter()
            .map(|(skill, entry)| {
                (
                    skill,
                    Slot {
                        entry,
                        state: Mutex::default(),
                    },
                )
            })
            .collect();
        Self {
            slots,
            environment,
            closing: CancellationToken::new(),
        }
    }

    pub(crate) fn entry(&self, skill: &str) -> Option<&Entry> {
        self.slots.get(skill).map(|slot| &slot.entry)
    }

    /// PATH as the companions get it.
    pub(crate) fn path(&self) -> Option<OsString> {
        self.environment
            .iter()
            .find(|(name, _)| name == "PATH")
            .map(|(_, path)| path.clone())
    }

    /// The session of a companion, started if need be; `None` when there is no such companion.
    pub(crate) async fn session(&self, skill: &str) -> Option<Result<Arc<Session>, StartError>> {
        let slot = self.slots.get(skill)?;
        let closing = || StartError::Closing {
            skill: skill.to_owned(),
        };
        Some(tokio::select! {
            biased;
            () = self.closing.cancelled() => Err(closing()),
            session = self.ready(slot) => session,
        })
    }

    async fn ready(&self, slot: &Slot) -> Result<Arc<Session>, StartError> {
        let skill = &slot.entry.skill;
        let arrived = Instant::now();
        let mut state = slot.state.lock().await;
        if let Some(session) = &state.session {
            if session.alive() {
                return Ok(session.clone());
            }
            let session = session.clone();
            state.session = None;
            state.bury(&session).await;
        }
        if let Some(failure) = &state.last {
            // Someone tried while we waited: theirs is our answer too.
            if let Some(error) = failure.start.as_ref().filter(|_| failure.at >= arrived) {
                return Err(error.clone());
            }
            let left =
                (failure.at + patience(state.failures)).saturating_duration_since(Instant::now());
            if left > WAITED {
                return Err(StartError::Backoff {
                    skill: skill.clone(),
                    seconds: left.as_secs() + 1,
                    failures: state.failures,
                    last: failure.what.clone(),
                });
            }
            sleep(left).await;
        }
        // On the heap: it is large and rare, and whoever calls would have room for it each time.
        match Box::pin(self.start(&slot.entry)).await {
            Ok(session) => {
                tracing::info!(
                    skill,
                    server = session.server,
                    protocol = session.protocol,
                    "companion started"
                );
                let session = Arc::new(session);
                state.session = Some(session.clone());
                Ok(session)
            }
            Err(error) => {
                tracing::warn!(skill, "companion not started: {error}");
                state.fail(error.to_string(), Some(error.clone()));
                Err(error)
            }
        }
    }

    async fn start(&self, entry: &Entry) -> Result<Session, StartError> {
        let mut env: BTreeMap<OsString, OsString> = self
            .environment
            .iter()
            .filter(|(name, _)| config::is_shared(name))
            .cloned()
            .collect();
        env.extend(
            entry
                .env
                .iter()
                .map(|(key, value)| (key.into(), value.expose().into())),
        );
        let path = env.get(&OsString::from("PATH")).map(OsString::as_os_str);
        let program =
            config::program(&entry.command, path).ok_or_else(|| StartError::NotFound {
                skill: entry.skill.clone(),
                command: sanitize_to(&entry.command, 200),
            })?;
        let secrets: Vec<Secret> = entry
            .env
            .iter()
            .filter(|(key, _)| is_secret_key(key))
            .map(|(_, value)| value.clone())
            .collect();
        let launch = Launch {
            skill: entry.skill.clone(),
            program,
            args: entry.args.clone(),
            env: env.into_iter().collect(),
            scrub: Scrub::new(secrets),
        };
        Session::start(launch, entry.start).await
    }

    /// The session of a companion, if it runs and nobody is just starting it.
    pub(crate) fn running(&self, skill: &str) -> Option<Arc<Session>> {
        let state = self.slots.get(skill)?.state.try_lock().ok()?;
        state.session.clone().filter(|session| session.alive())
    }

    /// Starts nothing any more, and stops all that runs, at the same time and within about `bound`.
    pub(crate) async fn stop_all(&self, bound: Duration) {
        self.closing.cancel();
        let mut stopping = tokio::task::JoinSet::new();
        for slot in self.slots.values() {
            // Whoever holds it is giving up, since everything is closing.
            if let Ok(mut state) = timeout(bound, slot.state.lock()).await
                && let Some(session) = state.session.take()
            {
                stopping.spawn(async move { session.stop(bound).await });
            }
        }
        stopping.join_all().await;
    }
}

impl State {
    /// Takes note that a running session ended, and sees that its child goes.
    async fn bury(&mut self, session: &Arc<Session>) {
        if session.was_useful() || session.since.elapsed() >= STEADY {
            self.failures = 0;
        }
        let how = session.obituary().await;
        tracing::warn!(skill = session.skill, "companion ended: {how}");
        self.fail(format!("It ended: {how}"), None);
        let session = session.clone();
        tokio::spawn(async move { session.stop(REST).await });
    }

    fn fail(&mut self, what: String, start: Option<StartError>) {
        self.failures = self.failures.saturating_add(1);
        self.last = Some(Failure {
            at: Instant::now(),
            what,
            start,
        });
    }
}

/// How long to wait after so many failures in a row.
fn patience(failures: u32) -> Duration {
    match failures.checked_sub(FREE + 1) {
        None => Duration::ZERO,
        Some(further) => FIRST.saturating_mul(1 << further.min(10)).min(LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_grows_and_is_bounded() {
        let seconds: Vec<u64> = (0..12)
            .map(|failures| patience(failures).as_secs())
            .collect();
        assert_eq!(seconds, [0, 0, 0, 1, 2, 4, 8, 16, 30, 30, 30, 30]);
        assert_eq!(patience(u32::MAX), LONGEST);
    }
}
