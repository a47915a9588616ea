//! One MCP session over one child process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use guard::digest::Digest;
use rmcp::ServiceExt as _;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientCapabilities, ClientConfig, ClientNotification,
    ClientRequest, CustomNotification, Implementation, ListToolsRequest, PaginatedRequestParams,
    ProtocolVersion, RequestId, RequestMetaObject,
};
use rmcp::service::{ClientInitializeError, Peer, PeerRequestOptions, RoleClient, RunningService};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::failure::StartError;
use crate::fingerprint::fingerprint;
use crate::process::{Launch, Process};
use crate::scrub::Scrub;
use crate::tool::{Tool, Tools};
use crate::wire::{Answer, Board, Progress, Wire};

/// How long the list of tools may take, all its pages together.
const LIST: Duration = Duration::from_secs(30);

/// More pages, or more tools, than any companion has.
const PAGES: usize = 100;
const TOOLS: usize = 5_000;

/// How long a call that was cancelled may still answer.
const GRACE: Duration = Duration::from_secs(2);

/// How long an answer may still be in the pipe after its sender has ended.
const DRAIN: Duration = Duration::from_secs(1);

/// How long a cancellation may take to be written.
const CANCEL: Duration = Duration::from_millis(250);

/// What came of a request.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// It was answered.
    Answer(Answer),
    /// No byte of it was sent, and why.
    NotSent(String),
    /// It was sent, and no answer will come, and why.
    Lost(String),
}

/// A running companion. Dropping it kills the child.
pub(crate) struct Session {
    pub(crate) skill: String,
    /// Cleans the companion's text.
    pub(crate) scrub: Scrub,
    /// What the companion says it is, sanitised.
    pub(crate) server: String,
    /// Which MCP was agreed on.
    pub(crate) protocol: String,
    /// What the companion is, as a digest.
    pub(crate) fingerprint: Digest,
    /// Since when it runs.
    pub(crate) since: Instant,
    peer: Peer<RoleClient>,
    service: Mutex<Option<RunningService<RoleClient, ClientConfig>>>,
    board: Arc<Board>,
    process: Process,
    useful: AtomicBool,
    tools: tokio::sync::Mutex<Option<Arc<Tools>>>,
}

impl Session {
    /// Starts the child and agrees on a protocol with it.
    ///
    /// # Errors
    /// [`StartError`]; the child is gone then.
    pub(crate) async fn start(launch: Launch, limit: Duration) -> Result<Self, StartError> {
        let skill = launch.skill.clone();
        let (process, stdin, stdout) =
            Process::start(&launch).map_err(|error| StartError::Spawn {
                skill: skill.clone(),
                why: error.to_string(),
            })?;
        let board = Arc::new(Board::new(skill.clone(), launch.scrub.clone()));
        let wire = Wire::new(stdout, stdin, board.clone());
        let mut me = Implementation::new("pilothouse", env!("CARGO_PKG_VERSION"));
        me.title = Some("Pilothouse".to_owned());
        // The last version that begins with `initialize`, which all of today's companions know.
        let config = ClientConfig::new(ClientCapabilities::default(), me)
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE);

        let served = tokio::select! {
            biased;
            served = timeout(limit, config.serve(wire)) => served,
            how = process.wait() => {
                let words = last_words(&process).await;
                return Err(StartError::Ended { skill, how, words });
            }
        };
        let service = match served {
            Ok(Ok(service)) => service,
            Ok(Err(error)) => return Err(refused(skill, &process, &launch.scrub, &error).await),
            Err(_) => {
                let words = last_words_now(&process);
                return Err(StartError::Silent {
                    skill,
                    seconds: limit.as_secs(),
                    words,
                });
            }
        };
        let peer = service.peer().clone();
        let info = peer.peer_info();
        let (name, version) = match info.as_ref().and_then(|info| info.server_info.as_ref()) {
            Some(server) => (server.name.clone(), server.version.clone()),
            None => (String::new(), String::new()),
        };
        let protocol = info
            .map(|info| info.protocol_version.to_string())
            .unwrap_or_default();
        let fingerprint = fingerprint(&launch, &name, &version).await;
        let scrub = launch.scrub;
        Ok(Self {
            server: scrub.text_to(&format!("{name} {version}"), 120),
            protocol: scrub.text_to(&protocol, 32),
            skill,
            scrub,
            fingerprint,
            since: Instant::now(),
            peer,
            service: Mutex::new(Some(service)),
            board,
            process,
            useful: AtomicBool::new(false),
            tools: tokio::sync::Mutex::default(),
        })
    }

    /// Whether calls can still be answered.
    pub(crate) fn alive(&self) -> bool {
        !self.board.ended() && !self.peer.is_transport_closed() && self.process.exited().is_none()
    }

    /// How it ended and its last words, for a person.
    pub(crate) async fn obituary(&self) -> String {
        let how = timeout(DRAIN, self.process.wait())
            .await
            .unwrap_or_else(|_| "it closed its output".to_owned());
        format!("{how}{}", last_words(&self.process).await)
    }

    /// Whether it ever answered a call.
    pub(crate) fn was_useful(&self) -> bool {
        self.useful.load(Ordering::Relaxed)
    }

    /// Lines on standard output that were no messages.
    pub(crate) fn noise(&self) -> u64 {
        self.board.noise()
    }

    /// Its tools as they are now: read again after it said that they changed.
    ///
    /// # Errors
    /// [`StartError::Protocol`], when it does not say.
    pub(crate) async fn tools(&self) -> Result<Arc<Tools>, StartError> {
        let mut slot = self.tools.lock().await;
        if !self.board.take_stale()
            && let Some(tools) = slot.as_ref()
        {
            return Ok(tools.clone());
        }
        // On the heap: it is large, and most of the time there is no need for it.
        match Box::pin(self.list()).await {
            Ok(tools) => Ok(slot.insert(Arc::new(tools)).clone()),
            Err(what) => {
                // The next one to need them tries again.
                self.board.set_stale();
                let words = last_words_now(&self.process);
                Err(StartError::Protocol {
                    skill: self.skill.clone(),
                    what,
                    words,
                })
            }
        }
    }

    async fn list(&self) -> Result<Tools, String> {
        let deadline = Instant::now() + LIST;
        let mut raw: Vec<Value> = Vec::new();
        let mut findings = Vec::new();
        let mut cursor: Option<String> = None;
        for page in 0.. {
            let request = ListToolsRequest::with_param(
                PaginatedRequestParams::default().with_cursor(cursor.clone()),
            );
            let mut result = match self
                .request(
                    ClientRequest::ListToolsRequest(request),
                    deadline,
                    Duration::ZERO,
                )
                .await
            {
                Outcome::Answer(Answer::Result(Value::Object(result))) => result,
                // Without tools there is no such method.
                Outcome::Answer(Answer::Error { code: -32601, .. }) => Map::new(),
                Outcome::Answer(Answer::Error { message, .. }) => {
                    return Err(format!(
                        "it does not list its tools ({})",
                        self.scrub.text_to(&message, 200)
                    ));
                }
                Outcome::Answer(_) => {
                    return Err("it does not list its tools as MCP says".to_owned());
                }
                Outcome::NotSent(why) | Outcome::Lost(why) => {
                    return Err(format!("it does not list its tools ({why})"));
                }
            };
            match result.remove("tools") {
                Some(Value::Array(tools)) => raw.extend(tools),
                None if page == 0 => {}
                _ => return Err("it does not list its tools as MCP says".to_owned()),
            }
            let next = result
                .remove("nextCursor")
                .and_then(|cursor| cursor.as_str().map(str::to_owned));
            if next.is_none() {
                break;
            }
            if next == cursor || page + 1 == PAGES || raw.len() > TOOLS {
                findings.push(format!(
                    "The list of tools does not end; {} were read",
                    raw.len().min(TOOLS)
                ));
                break;
            }
            cursor = next;
        }
        raw.truncate(TOOLS);
        Ok(Tools::read(raw, findings, &self.scrub))
    }

    /// Calls a tool and waits for its answer, for `limit` and a short grace.
    pub(crate) async fn call(
        &self,
        tool: &Tool,
        arguments: Map<String, Value>,
        meta: Map<String, Value>,
        limit: Duration,
    ) -> Outcome {
        let mut params = CallToolRequestParams::new(tool.name.clone());
        params.arguments = Some(arguments);
        params.meta = Some(RequestMetaObject::from(meta));
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let outcome = self.request(request, Instant::now() + limit, GRACE).await;
        home::crash::point("companions.answered");
        if matches!(outcome, Outcome::Answer(_)) {
            self.useful.store(true, Ordering::Relaxed);
        }
        outcome
    }

    /// Sends a request. One that is late is cancelled, and has `grace` to answer all the same.
    async fn request(&self, request: ClientRequest, deadline: Instant, grace: Duration) -> Outcome {
        let options = PeerRequestOptions::no_options();
        let mut handle = match timeout_at(
            deadline,
            self.peer.send_cancellable_request(request, options),
        )
        .await
        {
            Ok(Ok(handle)) => handle,
            Ok(Err(_)) => {
                return Outcome::NotSent(format!("it has ended: {}", self.obituary().await));
            }
            Err(_) => return Outcome::NotSent("it takes no more requests".to_owned()),
        };
        let RequestId::Number(id) = handle.id else {
            return Outcome::Lost("its request has no number".to_owned());
        };
        // Settles the request also when the caller goes away.
        let mut open = Open {
            session: self,
            id,
            settled: false,
        };
        let late = tokio::select! {
            biased;
            // What this yields does not matter: the answer is on the board.
            _ = &mut handle.rx => false,
            _ = self.process.wait() => {
                let _ = timeout(DRAIN, &mut handle.rx).await;
                false
            }
            () = sleep_until(deadline) => true,
        };
        if late && self.board.is_sent(id) {
            let _ = timeout(CANCEL, self.peer.send_notification(cancelled(id))).await;
            let _ = timeout(grace, &mut handle.rx).await;
        }
        match open.settle() {
            Progress::Answered(answer) => Outcome::Answer(answer),
            Progress::NotSent if late => Outcome::NotSent("it takes no more requests".to_owned()),
            Progress::NotSent => {
                Outcome::NotSent(format!("it has ended: {}", self.obituary().await))
            }
            Progress::Sent if late => {
                Outcome::Lost("it did not answer in time, and was told to stop".to_owned())
            }
            Progress::Sent => Outcome::Lost(format!(
                "it ended before it answered: {}",
                self.obituary().await
            )),
        }
    }

    /// Closes the child's input, waits, and ends it, all within about `bound`.
    pub(crate) async fn stop(&self, bound: Duration) {
        let service = self
            .service
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // Ends rmcp's loop, which drops the child's input.
        drop(service);
        self.process.stop(bound).await;
    }
}

/// A request that somebody waits for.
struct Open<'a> {
    session: &'a Session,
    id: i64,
    settled: bool,
}

impl Open<'_> {
    fn settle(&mut self) -> Progress {
        self.settled = true;
        self.session.board.settle(self.id)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.settled && matches!(self.session.board.settle(self.id), Progress::Sent) {
            let (peer, id) = (self.session.peer.clone(), self.id);
            tokio::spawn(
                async move { timeout(CANCEL, peer.send_notification(cancelled(id))).await },
            );
        }
    }
}

/// A cancellation. Not rmcp's own type: that one would make rmcp forget the request at once, and
/// an answer that is already on its way would be lost.
fn cancelled(id: i64) -> ClientNotification {
    let params = json!({"requestId": id, "reason": "it took too long"});
    ClientNotification::CustomNotification(CustomNotification::new(
        "notifications/cancelled",
        Some(params),
    ))
}

/// The handshake failed: with whom it lies, and in whose words.
async fn refused(
    skill: String,
    process: &Process,
    scrub: &Scrub,
    why: &ClientInitializeError,
) -> StartError {
    // A child that just ended is told apart from one that speaks something else, and ends since
    // its input was closed for that.
    let silent = matches!(
        why,
        ClientInitializeError::ConnectionClosed(_) | ClientInitializeError::TransportError { .. }
    );
    if silent && let Ok(how) = timeout(DRAIN, process.wait()).await {
        let words = last_words(process).await;
        return StartError::Ended { skill, how, words };
    }
    let what = format!(
        "it does not speak MCP as agreed ({})",
        scrub.text_to(&why.to_string(), 200)
    );
    StartError::Protocol {
        skill,
        what,
        words: last_words_now(process),
    }
}

async fn last_words(process: &Process) -> String {
    words(process.last_words().await)
}

/// Those of a child that is still there: nothing is waited for.
fn last_words_now(process: &Process) -> String {
    words(process.words_so_far())
}

fn words(text: String) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("; its last words: {text}")
    }
}
