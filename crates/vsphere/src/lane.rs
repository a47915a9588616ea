//! How many sessions there are at once: of one user on one server, a few.
//!
//! A server has a limit of sessions for everybody, and an ESXi host a low one. Each session has room
//! for one connection; for calls at the same time it borrows that of sessions that are not there. So
//! the connections are bounded as well, and no session waits for another's calls.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::endpoint::Endpoint;

/// Room for one session, until it is dropped.
#[derive(Debug)]
pub struct Lane {
    /// What the session may always use: one connection.
    own: Arc<Semaphore>,
    /// What nobody else uses just now.
    others: Arc<Semaphore>,
    /// `None` if lanes were closed, which nobody does.
    _permit: Option<OwnedSemaphorePermit>,
}

/// Room for one exchange, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    is_own: bool,
    others: Arc<Semaphore>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Slot {
    /// Whether it is the session's own, and its connection may stay.
    pub(crate) fn is_own(&self) -> bool {
        self.is_own
    }

    /// Whether nobody waits for the room that is borrowed here.
    pub(crate) fn is_to_spare(&self) -> bool {
        // What is given back goes to those who wait before it counts as there.
        self.others.available_permits() > 0
    }
}

impl Lane {
    /// Room for one exchange on the session's own connection, if it is free.
    pub(crate) fn own(&self) -> Option<Slot> {
        let own = Arc::clone(&self.own).try_acquire_owned().ok()?;
        Some(self.with(true, Some(own)))
    }

    /// Room for one exchange beside the session's own connection while no other session needs it;
    /// else on that, as soon as it is free.
    pub(crate) async fn another(&self) -> Slot {
        if let Ok(borrowed) = Arc::clone(&self.others).try_acquire_owned() {
            return self.with(false, Some(borrowed));
        }
        let own = Arc::clone(&self.own).acquire_owned().await.ok();
        self.with(true, own)
    }

    fn with(&self, is_own: bool, permit: Option<OwnedSemaphorePermit>) -> Slot {
        Slot {
            is_own,
            others: Arc::clone(&self.others),
            _permit: permit,
        }
    }
}

/// The lanes of all servers and users.
pub(crate) struct Lanes {
    most: usize,
    of: Mutex<HashMap<(String, String), Arc<Semaphore>>>,
}

impl Lanes {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            of: Mutex::default(),
        }
    }

    pub(crate) async fn take(&self, endpoint: &Endpoint, user: &str) -> Lane {
        let semaphore = {
            let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody uses now are as good as new ones.
            of.retain(|_, lanes| Arc::strong_count(lanes) > 1);
            let key = (endpoint.to_string(), user.to_owned());
            let lanes = of
                .entry(key)
                .or_insert_with(|| Arc::new(Semaphore::new(self.most)));
            Arc::clone(lanes)
        };
        Lane {
            own: Arc::new(Semaphore::new(1)),
            others: Arc::clone(&semaphore),
            _permit: semaphore.acquire_owned().await.ok(),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn c4_a_user_has_so_many_lanes_on_a_server_and_others_have_their_own() {
        let lanes = Lanes::new(2);
        let one = Endpoint::new("vc1", 443).unwrap();
        let other = Endpoint::new("vc2", 443).unwrap();
        let a = lanes.take(&one, "u").now_or_never().unwrap();
        let _b = lanes.take(&one, "u").now_or_never().unwrap();
        assert!(lanes.take(&one, "u").now_or_never().is_none());
        assert!(lanes.take(&one, "v").now_or_never().is_some());
        assert!(lanes.take(&other, "u").now_or_never().is_some());
        drop(a);
        assert!(lanes.take(&one, "u").now_or_never().is_some());
    }

    #[test]
    fn c4_a_session_borrows_what_nobody_uses_and_always_has_its_own() {
        let lanes = Lanes::new(2);
        let server = Endpoint::new("vc1", 443).unwrap();
        let a = lanes.take(&server, "u").now_or_never().unwrap();
        let first = a.own().unwrap();
        let borrowed = a.another().now_or_never().unwrap();
        assert!(!borrowed.is_own() && !borrowed.is_to_spare());
        assert!(a.own().is_none() && a.another().now_or_never().is_none());
        assert!(lanes.take(&server, "u").now_or_never().is_none());
        drop(first);
        assert!(a.another().now_or_never().unwrap().is_own());
    }
}
