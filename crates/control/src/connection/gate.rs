//! One wrong password is tried once.
//!
//! Servers lock an account after a few refused logins, and many calls at once with one
//! wrong password would spend them all. So the first login with a user and password goes
//! alone; once it succeeded, others go side by side; once it was refused, the same user
//! and password are refused here, without contact, for a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::Connection;
use crate::failure::Failure;

/// How long a refused login is not tried again.
const PAUSE: Duration = Duration::from_secs(300);

/// More logins than any one process needs; beyond it what is known is forgotten.
const MOST: usize = 1_024;

/// What this process knows of logins.
#[derive(Debug, Default)]
pub(crate) struct LoginGate {
    known: Mutex<HashMap<[u8; 32], Arc<Login>>>,
}

#[derive(Debug, Default)]
struct Login {
    state: Mutex<State>,
    first: Arc<AsyncMutex<()>>,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    Untried,
    Good,
    Refused(Instant),
}

/// Leave to log in once; what came of it is told to the gate.
#[derive(Debug)]
pub(crate) struct Admission {
    login: Arc<Login>,
    /// Held while nobody knows yet whether the password is right.
    _alone: Option<OwnedMutexGuard<()>>,
}

impl LoginGate {
    /// Whether nobody knows yet if this login is right.
    ///
    /// # Errors
    ///
    /// `login.refused` if it was refused a short while ago.
    pub(crate) fn is_untried(&self, connection: &Connection) -> Result<bool, Failure> {
        Ok(Admission::at_once(&self.login(connection))?.is_none())
    }

    /// Waits until this login may be tried.
    ///
    /// # Errors
    ///
    /// `login.refused` if it was refused a short while ago.
    pub(crate) async fn admit(&self, connection: &Connection) -> Result<Admission, Failure> {
        let login = self.login(connection);
        if let Some(admission) = Admission::at_once(&login)? {
            return Ok(admission);
        }
        let alone = Arc::clone(&login.first).lock_owned().await;
        // Whoever went first may have found out.
        Ok(Admission::at_once(&login)?.unwrap_or(Admission {
            login,
            _alone: Some(alone),
        }))
    }

    fn login(&self, connection: &Connection) -> Arc<Login> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        Arc::clone(known.entry(fingerprint(connection)).or_default())
    }
}

impl Admission {
    fn at_once(login: &Arc<Login>) -> Result<Option<Self>, Failure> {
        match login.state() {
            State::Untried => Ok(None),
            State::Good => Ok(Some(Self { login: Arc::clone(login), _alone: None })),
            State::Refused(at) => match PAUSE.checked_sub(at.elapsed()) {
                None => Ok(None),
                Some(left) => Err(Failure::new(
                    "login.refused",
                    format!(
                        "Correct user and password, and save the profile again: the server refused them, and they are not tried again for {} s, since servers lock accounts",
                        left.as_secs() + 1
                    ),
                )
                .with("tried", false)),
            },
        }
    }

    /// The server accepted the login.
    pub(crate) fn accepted(self) {
        self.login.set(State::Good);
    }

    /// The server refused the login.
    pub(crate) fn refused(self) {
        self.login.set(State::Refused(Instant::now()));
    }
}

impl Login {
    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// Names server, user and password without keeping the password.
fn fingerprint(connection: &Connection) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [
        &connection.endpoint.to_string(),
        connection.user.as_str(),
        connection.password.expose(),
    ] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use guard::secret::Secret;
    use vsphere::Endpoint;

    use super::*;

    fn connection(password: &str) -> Connection {
        Connection {
            endpoint: Endpoint::new("vc", 443).unwrap(),
            user: "u".into(),
            password: Secret::new(password.into()),
            verify_ssl: false,
        }
    }

    #[tokio::test]
    async fn c11_a_refused_password_is_tried_once_by_however_many_calls() {
        let gate = Arc::new(LoginGate::default());
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let gate = Arc::clone(&gate);
            calls.spawn(async move {
                match gate.admit(&connection("wrong")).await {
                    Ok(admission) => {
                        tokio::task::yield_now().await;
                        admission.refused();
                        true
                    }
                    Err(failure) => {
                        assert_eq!(failure.code(), "login.refused");
                        false
                    }
                }
            });
        }
        let tried = calls
            .join_all()
            .await
            .into_iter()
            .filter(|tried| *tried)
            .count();
        assert_eq!(tried, 1);
        // Another password of the same user is another matter.
        assert!(gate.admit(&connection("right")).await.is_ok());
    }

    #[tokio::test]
    async fn c4_after_the_first_success_logins_do_not_wait_for_each_other() {
        let gate = LoginGate::default();
        gate.admit(&connection("right")).await.unwrap().accepted();
        let one = gate.admit(&connection("right")).await.unwrap();
        let two = gate.admit(&connection("right")).await.unwrap();
        drop((one, two));
    }

    #[tokio::test]
    async fn a_login_that_came_to_nothing_lets_the_next_one_try() {
        let gate = LoginGate::default();
        drop(gate.admit(&connection("right")).await.unwrap());
        assert!(gate.admit(&connection("right")).await.is_ok());
    }
}
