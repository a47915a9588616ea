//! Looking at workflows, and waiting for them. Nothing is decided in here.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use workflow::event::Event;
use workflow::model::WorkflowId;
use workflow::refusal::Refusal;
use workflow::state::Status;

use crate::live::Live;
use crate::ports::{Journal as _, Listed, Ports};
use crate::{Engine, Kept, Shown, store_refusal};

impl<P: Ports> Engine<P> {
    /// A workflow as it stands now, with the deadlines that are due applied.
    ///
    /// # Errors
    /// [`Refusal`] `workflow.unknown`, or `store.…`.
    pub async fn show(&self, id: &WorkflowId) -> Result<Shown, Refusal> {
        let live = self.live(id).await?;
        self.refreshed(&live).await
    }

    /// What is there now. Where only what is pending cannot be stored, the last durable state is,
    /// with why: a caller that is told no more than that the store fails would take it for nothing
    /// done.
    async fn refreshed(&self, live: &Arc<Live>) -> Result<Shown, Refusal> {
        match live.refresh(self).await {
            Err(refusal) if live.shown().stalled.is_none() => Err(refusal),
            Ok(()) | Err(_) => Ok(live.shown()),
        }
    }

    /// Looks at a workflow as a whole without storing anything: previews of its pending steps.
    ///
    /// # Errors
    /// As [`Engine::show`], and those of [`crate::ports::Unfit`].
    pub async fn preview(&self, id: &WorkflowId) -> Result<Shown, Refusal> {
        let shown = self.show(id).await?;
        if shown.state.status() != Status::Pending {
            return Ok(shown);
        }
        let review = self.review(&shown.state).await?;
        let mut state = (*shown.state).clone();
        let at = state.updated_at;
        // A look: the event is not stored, so the workflow itself stays as it is.
        let _ = state.apply(
            at,
            &Event::Reviewed {
                review: Box::new(review),
            },
        );
        Ok(Shown {
            state: Arc::new(state),
            stalled: shown.stalled,
        })
    }

    /// Waits until nothing goes on by itself any more, or until `most` has passed.
    ///
    /// # Errors
    /// As [`Engine::show`].
    pub async fn wait(&self, id: &WorkflowId, most: Duration) -> Result<Shown, Refusal> {
        let live = self.live(id).await?;
        let ours = tokio::time::timeout(most, live.rest(self)).await;
        if let Ok(rested) = ours {
            rested?;
        }
        self.refreshed(&live).await
    }

    /// The same for who only tells how far a workflow is: where the time passes, nothing of it is
    /// made durable sooner for that, and what is durable by then is shown.
    ///
    /// # Errors
    /// As [`Engine::show`].
    pub async fn watch(&self, id: &WorkflowId, most: Duration) -> Result<Shown, Refusal> {
        let live = self.live(id).await?;
        match tokio::time::timeout(most, live.rest(self)).await {
            Ok(rested) => rested?,
            Err(_) if live.owned() => return Ok(live.shown()),
            // Another process does it: what it stored is to be read.
            Err(_) => {}
        }
        self.refreshed(&live).await
    }

    /// The answers of steps that nobody has fetched yet, in the order of the steps; each is given
    /// out once. They are in memory only: after a restart there are none.
    #[must_use]
    pub fn take_results(&self, id: &WorkflowId) -> Vec<Kept> {
        self.inner
            .results
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(id)
    }

    /// Takes answers back that were taken and could not be given out after all; the next one who
    /// asks gets them. Where a step has a newer answer by now, that one stays.
    pub fn give_back(&self, id: &WorkflowId, kept: Vec<Kept>) {
        self.inner
            .results
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .give_back(id, kept);
    }

    /// Workflows, the newest first, and how many there are in all.
    ///
    /// # Errors
    /// [`Refusal`] `store.…`.
    pub async fn list(
        &self,
        states: Vec<String>,
        after: Option<WorkflowId>,
        limit: u32,
    ) -> Result<(Vec<Listed>, u64), Refusal> {
        let listed = self.ports().journal().list(states, after, limit).await;
        listed.map_err(|e| store_refusal(&e))
    }
}
