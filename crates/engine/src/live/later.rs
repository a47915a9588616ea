//! What a workflow does later, by itself: events that wait for the next commit, and deadlines.

use std::sync::Arc;

use workflow::decide::next_deadline;
use workflow::model::Millis;
use workflow::refusal::Refusal;

use super::{Core, Live};
use crate::Engine;
use crate::ports::{Clock as _, Ports};

impl Live {
    /// Lets events wait a moment for the next commit.
    pub(super) fn linger<P: Ports>(self: &Arc<Self>, engine: &Engine<P>, core: &mut Core) {
        if std::mem::replace(&mut core.lingering, true) {
            return;
        }
        let (live, engine) = (Arc::clone(self), engine.clone());
        let first = core.unsaved.first().map(|recorded| recorded.seq);
        tokio::spawn(async move {
            // In two parts: where the machine stood still over the end of the first, what goes on
            // now still has the second to take the events along.
            let linger = engine.inner.settings.linger;
            tokio::time::sleep(linger - linger / 5).await;
            tokio::time::sleep(linger / 5).await;
            if let Err(refusal) = live.flush_since(&engine, first).await {
                tracing::warn!(workflow = %live.id, code = refusal.code, "the store failed");
            }
        });
    }

    /// Makes what is not durable yet durable, if that event still is not. Where it is, what came
    /// after it has not waited for long.
    async fn flush_since<P: Ports>(
        self: &Arc<Self>,
        engine: &Engine<P>,
        first: Option<u64>,
    ) -> Result<(), Refusal> {
        // In one go: an event that comes after the look waits for its own time.
        let mut core = self.core.lock().await;
        let now = core.unsaved.first().map(|recorded| recorded.seq);
        if now > first {
            core.lingering = false;
            self.linger(engine, &mut core);
            return Ok(());
        }
        self.flush_held(engine, &mut core).await
    }

    /// Waits for the deadline that is next, if there is one and nobody waits for it yet.
    pub(super) fn wait_for_deadline<P: Ports>(&self, engine: &Engine<P>, core: &mut Core) {
        let open = core.state.approval().map(|a| a.id.clone());
        if let (Some(at), true) = (next_deadline(&core.state), open != core.timer) {
            core.timer = open;
            self.wake(engine, at);
        }
    }

    /// Applies a deadline when it is due, also when nobody calls, and when the workflow was
    /// forgotten meanwhile.
    fn wake<P: Ports>(&self, engine: &Engine<P>, at: Millis) {
        let (id, engine) = (self.id.clone(), engine.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = engine.ports().clock().until(at) => {}
                () = engine.inner.closed() => return,
            }
            let applied = match engine.live(&id).await {
                Ok(live) => live.refresh(&engine).await,
                Err(refusal) => Err(refusal),
            };
            if let Err(refusal) = applied {
                tracing::warn!(workflow = %id, code = refusal.code, "a deadline could not be recorded; it is applied with the next call");
            }
        });
    }
}
