//! The end of a call's session: its logout is begun when the call has done its work, and is waited
//! for before the answer goes out. What is recorded of the call is written meanwhile.

use std::sync::{Mutex, PoisonError};

use vsphere::Session;

/// The session of a call that is being ended. If the call is dropped meanwhile, it ends by itself.
#[derive(Debug, Default)]
pub(crate) struct Parting(Mutex<Option<Session>>);

impl Parting {
    /// Begins to log out.
    pub(crate) fn begin(&self, session: Session) {
        session.begin_logout();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
    }

    /// Waits for the logout, if one was begun.
    pub(crate) async fn end(&self) {
        let session = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(session) = session {
            // A failed logout is logged there; it does not change what the call did.
            let _ = session.logout().await;
        }
    }
}
