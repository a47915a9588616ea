//! One wrong password is tried once.
//!
//! Servers lock an account after a few refused logins, and many calls at once with one
//! wrong password would spend them all. So of one user on one server, a password that nobody
//! knows to be right goes alone, whatever other passwords are tried; once it was accepted, others
//! with it go side by side for a while; once it was refused, it is refused here, without contact,
//! for fifteen minutes. What is known is this process's own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::Connection;
use crate::failure::Failure;

/// How long a refused login is not tried again: as long as an ESXi host locks an account.
const PAUSE: Duration = Duration::from_secs(900);

/// How long a password that was accepted counts as right: it may have been changed since.
const TRUSTED: Duration = Duration::from_secs(60);

/// More accounts, and passwords of one, than any process needs; beyond it what is known of those
/// that are not in use is forgotten.
const MOST: usize = 1_024;

/// What this process knows of logins.
#[derive(Debug, Default)]
pub(crate) struct LoginGate {
    known: Mutex<HashMap<[u8; 32], Arc<Account>>>,
}

/// One user on one server.
#[derive(Debug, Default)]
struct Account {
    /// By a hash of the password.
    passwords: Mutex<HashMap<[u8; 32], State>>,
    first: Arc<AsyncMutex<()>>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Good(Instant),
    Refused(Instant),
}

/// Leave to log in once; what came of it is told to the gate.
#[derive(Debug)]
pub(crate) struct Admission {
    account: Arc<Account>,
    password: [u8; 32],
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
        self.account(connection).is_untried(password(connection))
    }

    /// Waits until this login may be tried.
    ///
    /// # Errors
    ///
    /// `login.refused` if it was refused a short while ago.
    pub(crate) async fn admit(&self, connection: &Connection) -> Result<Admission, Failure> {
        let (account, password) = (self.account(connection), password(connection));
        let mut alone = None;
        if account.is_untried(password)? {
            let held = Arc::clone(&account.first).lock_owned().await;
            // Whoever went first may have found out.
            if account.is_untried(password)? {
                alone = Some(held);
            }
        }
        Ok(Admission {
            account,
            password,
            _alone: alone,
        })
    }

    fn account(&self, connection: &Connection) -> Arc<Account> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            // Whoever is just being tried stays: else it could be tried beside itself.
            known.retain(|_, account| Arc::strong_count(account) > 1);
        }
        let server = connection.endpoint.to_string();
        Arc::clone(known.entry(hash(&[&server, &connection.user])).or_default())
    }
}

impl Account {
    fn passwords(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], State>> {
        self.passwords
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn is_untried(&self, password: [u8; 32]) -> Result<bool, Failure> {
        match self.passwords().get(&password) {
            None => Ok(true),
            Some(State::Good(at)) => Ok(at.elapsed() > TRUSTED),
            Some(State::Refused(at)) => match PAUSE.checked_sub(at.elapsed()) {
                None => Ok(true),
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

    fn set(&self, password: [u8; 32], state: State) {
        let mut passwords = self.passwords();
        if passwords.len() >= MOST {
            passwords
                .retain(|_, state| matches!(state, State::Refused(at) if at.elapsed() < PAUSE));
        }
        passwords.insert(password, state);
    }
}

impl Admission {
    /// The server accepted the login.
    pub(crate) fn accepted(self) {
        self.account.set(self.password, State::Good(Instant::now()));
    }

    /// The server refused the login.
    pub(crate) fn refused(self) {
        self.account
            .set(self.password, State::Refused(Instant::now()));
    }
}

/// Tells passwords apart without keeping one.
fn password(connection: &Connection) -> [u8; 32] {
    hash(&[connection.password.expose()])
}

fn hash(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
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
            ca: None,
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
    async fn c11_of_one_user_two_untried_passwords_are_not_tried_at_the_same_time() {
        use futures_util::FutureExt as _;
        let gate = LoginGate::default();
        let first = gate.admit(&connection("one")).await.unwrap();
        assert!(gate.admit(&connection("two")).now_or_never().is_none());
        first.refused();
        let second = gate.admit(&connection("two")).now_or_never();
        second.unwrap().unwrap().accepted();
        let refused = gate.admit(&connection("one")).await.unwrap_err();
        assert_eq!(refused.code(), "login.refused");
        assert!(refused.message().contains("900 s"), "{}", refused.message());
    }

    #[tokio::test]
    async fn a_login_that_came_to_nothing_lets_the_next_one_try() {
        let gate = LoginGate::default();
        drop(gate.admit(&connection("right")).await.unwrap());
        assert!(gate.admit(&connection("right")).await.is_ok());
    }
}
