//! What servers were like at the last login: it spares the next one the calls that come before it.
//!
//! Nothing in here is believed: after the login the server is asked again, and its answer counts.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::endpoint::Endpoint;
use crate::session::ServiceContent;

/// How long it is remembered.
const KEPT: Duration = Duration::from_secs(600);

/// More servers than a process talks to; beyond it what is known is forgotten.
const MOST: usize = 256;

/// What is known of servers, by address.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<HashMap<String, (Instant, Server)>>);

/// What is known of a server.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) content: ServiceContent,
    /// The newest version of the API that both sides know.
    pub(crate) version: String,
}

impl Known {
    pub(crate) fn get(&self, endpoint: &Endpoint) -> Option<Server> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, server) = known.get(&endpoint.to_string())?;
        (at.elapsed() < KEPT).then(|| server.clone())
    }

    pub(crate) fn put(&self, endpoint: &Endpoint, server: Server) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(endpoint.to_string(), (Instant::now(), server));
    }

    pub(crate) fn forget(&self, endpoint: &Endpoint) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(&endpoint.to_string());
    }
}
