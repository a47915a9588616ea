//! Which requests have been passed on and not yet been answered.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// The ids of requests, as canonical JSON: `1` and `"1"` are two.
#[derive(Debug, Default)]
pub(super) struct Pending {
    ids: Mutex<HashSet<String>>,
    settled: Notify,
}

impl Pending {
    pub(super) fn add(&self, id: String) {
        self.ids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id);
    }

    pub(super) fn settle(&self, id: &str) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.remove(id);
        if ids.is_empty() {
            self.settled.notify_one();
        }
    }

    /// The library will answer nothing more.
    pub(super) fn abandon(&self) {
        self.ids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        self.settled.notify_one();
    }

    fn is_empty(&self) -> bool {
        self.ids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }

    /// Waits until all are answered, at most for `bound`.
    pub(super) async fn all_settled(&self, bound: Duration) {
        let wait = async {
            while !self.is_empty() {
                self.settled.notified().await;
            }
        };
        // Over the bound, the library is told the end all the same.
        let _ = tokio::time::timeout(bound, wait).await;
    }
}
