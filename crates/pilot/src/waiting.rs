//! Waiting for a workflow, and telling the client meanwhile.

use std::time::{Duration, Instant};

use engine::{Engine, Shown};
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::{Peer, RoleServer};
use tokio::sync::watch;
use workflow::model::WorkflowId;
use workflow::refusal::Refusal;
use workflow::state::{Status, StepStatus};

use crate::world::World;

/// How often it is looked whether there is something to tell.
const LOOK: Duration = Duration::from_millis(250);

/// How often something is told where nothing changes.
const TELL: Duration = Duration::from_secs(1);

/// Where progress goes, for a client that wants it.
pub(crate) struct Progress {
    peer: Peer<RoleServer>,
    token: ProgressToken,
}

impl Progress {
    pub(crate) fn new(peer: Peer<RoleServer>, token: ProgressToken) -> Self {
        Self { peer, token }
    }
}

/// Does something with the engine in a task of its own: a turn that has begun goes on to its end,
/// also when the client has gone away or cancelled its call.
pub(crate) async fn whole<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work).await {
        Ok(done) => done,
        // The wrapper answers and records a panic.
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Nobody else can cancel it but the runtime at its end, and then nobody asks any more.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Waits until the workflow rests, at most for `most`, and not past the end of the process.
pub(crate) async fn until_rest(
    engine: &Engine<World>,
    id: &WorkflowId,
    most: Duration,
    progress: Option<&Progress>,
    ending: &mut watch::Receiver<bool>,
) -> Result<Shown, Refusal> {
    let deadline = Instant::now() + most;
    let mut told = Told::default();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let looks = progress.is_some() && left > LOOK;
        let waited = {
            let (engine, id) = (engine.clone(), id.clone());
            whole(async move {
                if looks {
                    engine.watch(&id, LOOK).await
                } else {
                    engine.wait(&id, left).await
                }
            })
        };
        let shown = tokio::select! {
            shown = waited => shown?,
            () = end(ending) => {
                let (engine, id) = (engine.clone(), id.clone());
                return whole(async move { engine.show(&id).await }).await;
            }
        };
        if !shown.is_busy() || Instant::now() >= deadline {
            return Ok(shown);
        }
        if let Some(progress) = progress {
            told.tell(progress, &shown).await;
        }
    }
}

/// Resolves once the process is about to end.
async fn end(ending: &mut watch::Receiver<bool>) {
    if ending.wait_for(|ending| *ending).await.is_err() {
        // Nobody is there to end it.
        std::future::pending::<()>().await;
    }
}

/// What was told last. Progress only ever grows, as the protocol demands.
#[derive(Default)]
struct Told {
    at: Option<Instant>,
    settled: usize,
    message: String,
    beats: u32,
}

impl Told {
    async fn tell(&mut self, progress: &Progress, shown: &Shown) {
        let state = &shown.state;
        let total = state.steps.len();
        let settled = state
            .steps
            .iter()
            .filter(|step| {
                !matches!(
                    step.status,
                    StepStatus::Pending | StepStatus::AwaitingApproval | StepStatus::Running
                )
            })
            .count();
        let message = if state.status() == Status::RollingBack {
            format!("undoing: {} left", state.queue.len())
        } else {
            format!("{settled} of {total} steps are settled")
        };
        let due = self.at.is_none_or(|at| at.elapsed() >= TELL);
        if !due && message == self.message {
            return;
        }
        if settled > self.settled {
            self.settled = settled;
            self.beats = 0;
        }
        self.beats += 1;
        self.at = Some(Instant::now());
        self.message.clone_from(&message);
        // Between two steps it creeps towards the next without ever getting there.
        let creep = 1.0 - 1.0 / (1.0 + f64::from(self.beats));
        let count = |n: usize| u32::try_from(n).map_or(f64::MAX, f64::from);
        let param =
            ProgressNotificationParam::new(progress.token.clone(), count(self.settled) + creep)
                .with_total(count(total) + 1.0)
                .with_message(message);
        // A client that does not listen any more is told so by the connection itself.
        let _ = progress.peer.notify_progress(param).await;
    }
}
