//! Where every call of a tool is received: the home is opened, the caller is known, and the wrapper
//! checks, runs and records it (P15).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use home::User;
use policy::answer::{Answer, ErrorEffect, Refusal};
use policy::caller::Caller;
use policy::guarded::{self, ToolCall};
use serde_json::{Map, Value};
use tokio::sync::{Notify, OnceCell, watch};
use workflow::event::{Assurance, Principal};

use crate::arguments::{self, Arguments};
use crate::tools::{self, table::Tool};
use crate::waiting::Progress;
use crate::world::Open;

/// How long what is in flight may take to be settled at the end.
const SETTLE: Duration = Duration::from_secs(10);

/// How long the companions may take to end.
const STOP: Duration = Duration::from_secs(5);

/// What calls share.
pub(crate) struct Desk {
    user: User,
    /// Opened by the first call: until then nothing is locked, and nothing costs time.
    open: OnceCell<Arc<Open>>,
    /// Turns true when the process is about to end: nobody waits for a workflow any more.
    ending: watch::Sender<bool>,
    underway: AtomicUsize,
    idle: Notify,
}

/// One call as it came in.
pub(crate) struct Call {
    pub(crate) tool: &'static Tool,
    /// As they came; anything but an object is refused.
    pub(crate) arguments: Value,
    /// What the MCP client calls itself.
    pub(crate) client: Option<String>,
    pub(crate) traceparent: Option<String>,
    pub(crate) progress: Option<Progress>,
}

/// What a tool has at hand while it serves one call.
pub(crate) struct Context {
    pub(crate) open: Arc<Open>,
    pub(crate) caller: Caller,
    pub(crate) progress: Option<Progress>,
    pub(crate) ending: watch::Receiver<bool>,
}

impl Context {
    /// The connection itself, as whoever asks for something that is no decision.
    pub(crate) fn requester(&self) -> Principal {
        self.principal(&self.caller.os_user)
    }

    /// A person who decided, as the agent's connection says. The account is the connection's own.
    pub(crate) fn principal(&self, name: &str) -> Principal {
        let caller = &self.caller;
        let account = match &caller.client {
            Some(client) => format!("{} via {} ({client})", caller.os_user, caller.transport),
            None => format!("{} via {}", caller.os_user, caller.transport),
        };
        Principal {
            name: name.to_owned(),
            assurance: Assurance::Attested,
            account,
        }
    }
}

impl Desk {
    /// A desk for the user that this process runs as. Opens nothing.
    pub(crate) fn new() -> Self {
        Self {
            user: User::current(),
            open: OnceCell::new(),
            ending: watch::Sender::new(false),
            underway: AtomicUsize::new(0),
            idle: Notify::new(),
        }
    }

    /// Serves one call, and records it.
    pub(crate) async fn serve(&self, call: Call) -> Answer {
        let _underway = Underway::begin(self);
        let open = match self.open().await {
            Ok(open) => open,
            // There is no audit trail to write to: the log has to do.
            Err(refusal) => {
                tracing::error!(
                    tool = call.tool.name,
                    code = refusal.code(),
                    "a call was refused: {refusal}"
                );
                return refusal.effect(ErrorEffect::None).into();
            }
        };
        let Call {
            tool,
            arguments,
            client,
            traceparent,
            progress,
        } = call;
        let caller = Caller::new(&self.user, client.as_deref(), "stdio");
        let secret = arguments::without_secret(tool, &arguments);
        // Not even the rest of what came with a secret is kept (P2).
        let withheld = guarded::withheld();
        let row = ToolCall {
            tool: tool.name,
            action: None,
            risk: tool.risk,
            needs: None,
            caller: Some(&caller),
            arguments: if secret.is_ok() {
                &arguments
            } else {
                &withheld
            },
            sensitive: &[],
            workflow: arguments
                .get("workflow_id")
                .and_then(Value::as_str)
                .filter(|id| is_workflow_id(id)),
            traceparent: traceparent.as_deref(),
            now: Instant::now,
        };
        let context = Context {
            open: Arc::clone(&open),
            caller: caller.clone(),
            progress,
            ending: self.ending.subscribe(),
        };
        let given = arguments.clone();
        guarded::guarded(row, &open.sink, || async move {
            let read = secret.and_then(|()| Arguments::read(tool, object(given)?));
            let answered = match read {
                Ok(arguments) => tools::serve(tool.which, &context, arguments).await,
                Err(refusal) => Err(refusal),
            };
            answered.unwrap_or_else(Answer::refusal)
        })
        .await
    }

    /// Opens the home, if no call has yet. What cannot be opened is tried again by the next call.
    async fn open(&self) -> Result<Arc<Open>, Refusal> {
        let opened = self.open.get_or_try_init(|| async {
            let opening = tokio::task::spawn_blocking(Open::from_environment);
            match opening.await {
                Ok(opened) => opened.map(Arc::new),
                Err(_) => Err(Refusal::new(
                    "internal.panic",
                    "Report this: the state directory could not be opened in a way that should not happen",
                )),
            }
        });
        opened.await.map(Arc::clone)
    }

    /// Begins nothing new, lets what is in flight be settled within a bound, and tells those who
    /// wait how far it came.
    pub(crate) async fn settle(&self) {
        if let Some(open) = self.open.get()
            && !open.engine.close(SETTLE).await
        {
            tracing::warn!(
                "a call was still in flight at the end: its step is unknown until the workflow is run again"
            );
        }
        self.ending.send_replace(true);
    }

    /// Waits until no call is under way, at most for `bound`.
    pub(crate) async fn quiet(&self, bound: Duration) {
        let wait = async {
            loop {
                let idle = self.idle.notified();
                if self.underway.load(Ordering::SeqCst) == 0 {
                    return;
                }
                idle.await;
            }
        };
        // Over the bound, whoever still waits loses its answer, and nothing else.
        let _ = tokio::time::timeout(bound, wait).await;
    }

    /// Stops the companions.
    pub(crate) async fn stop(&self) {
        if let Some(open) = self.open.get() {
            open.companions.stop_all(STOP).await;
        }
    }
}

/// Counts a call as under way until it is dropped, however it ends.
struct Underway<'a>(&'a Desk);

impl<'a> Underway<'a> {
    fn begin(desk: &'a Desk) -> Self {
        desk.underway.fetch_add(1, Ordering::SeqCst);
        Self(desk)
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        self.0.underway.fetch_sub(1, Ordering::SeqCst);
        self.0.idle.notify_waiters();
    }
}

fn object(arguments: Value) -> Result<Map<String, Value>, Refusal> {
    match arguments {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        _ => Err(arguments::refusal(
            "argument.wrong_type",
            "Pass `arguments` as an object",
        )),
    }
}

/// Only what can be the id of a workflow becomes the workflow of an audit row.
fn is_workflow_id(id: &str) -> bool {
    id.strip_prefix("wf_")
        .is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}
