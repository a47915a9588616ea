//! Lines to and from one child: the transport under rmcp's client.
//!
//! Three things differ from rmcp's own transport, which is why this one is ours:
//!
//! - **Noise is survived.** A line that is no JSON-RPC message is skipped and counted.
//! - **What was sent is known.** A call whose line never went into the pipe left nothing
//!   behind; one that may have is not known to. That is the difference between a failed and an
//!   unknown step.
//! - **Answers to `tools/call` and `tools/list` are kept raw**, for [`crate::reply`] to read.
//!   rmcp gets an empty one in their place, so that its books stay right.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::model::{ClientRequest, JsonRpcMessage, RequestId, ServerResult};
use rmcp::service::{RoleClient, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::lines::{Line, Lines, id_of_prefix, number};
use crate::outbox::Outbox;
use crate::scrub::Scrub;

/// How many lines of noise are logged; the others are only counted.
const NOISE_LOGGED: u64 = 10;

/// What came back for a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// The `result`, whatever it is.
    Result(Value),
    /// A JSON-RPC error.
    Error {
        /// Its code.
        code: i64,
        /// Its words, raw.
        message: String,
    },
    /// A line longer than a response may be.
    TooLarge,
    /// Neither a result nor an error.
    Malformed,
}

/// How far a request came.
#[derive(Debug)]
pub(crate) enum Progress {
    /// No byte of it went into the pipe, and none will.
    NotSent,
    /// It may have arrived.
    Sent,
    /// It was answered.
    Answered(Answer),
}

enum Stage {
    Writing,
    Unsent,
    Given(Answer),
    Abandoned,
}

/// What is shared between the transport and those who wait for answers.
pub(crate) struct Board {
    stages: Mutex<HashMap<i64, Stage>>,
    noise: AtomicU64,
    stale: AtomicBool,
    ended: AtomicBool,
    skill: String,
    scrub: Scrub,
}

impl Board {
    pub(crate) fn new(skill: String, scrub: Scrub) -> Self {
        Self {
            stages: Mutex::default(),
            noise: AtomicU64::new(0),
            // Nothing was read yet.
            stale: AtomicBool::new(true),
            ended: AtomicBool::new(false),
            skill,
            scrub,
        }
    }

    fn stages(&self) -> MutexGuard<'_, HashMap<i64, Stage>> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lines that were no messages, so far.
    pub(crate) fn noise(&self) -> u64 {
        self.noise.load(Ordering::Relaxed)
    }

    /// Whether the list of tools has changed since this was last asked.
    pub(crate) fn take_stale(&self) -> bool {
        self.stale.swap(false, Ordering::AcqRel)
    }

    /// The list of tools could not be read: it is still to be.
    pub(crate) fn set_stale(&self) {
        self.stale.store(true, Ordering::Release);
    }

    /// Whether the child closed its end.
    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether any byte of a request may be on its way.
    pub(crate) fn is_sent(&self, id: i64) -> bool {
        matches!(
            self.stages().get(&id),
            Some(Stage::Writing | Stage::Given(_))
        )
    }

    /// How far a request came. It is over for the caller with that: what was not sent by now
    /// never will be, and what comes later is dropped.
    pub(crate) fn settle(&self, id: i64) -> Progress {
        let mut stages = self.stages();
        match stages.remove(&id) {
            Some(Stage::Given(answer)) => Progress::Answered(answer),
            Some(Stage::Unsent) => Progress::NotSent,
            Some(Stage::Writing) => {
                stages.insert(id, Stage::Abandoned);
                Progress::Sent
            }
            None | Some(Stage::Abandoned) => {
                stages.insert(id, Stage::Abandoned);
                Progress::NotSent
            }
        }
    }

    /// The first byte of a request is about to be written. False: nobody waits any more.
    pub(crate) fn begin(&self, id: i64) -> bool {
        let mut stages = self.stages();
        if matches!(stages.get(&id), Some(Stage::Abandoned)) {
            stages.remove(&id);
            return false;
        }
        stages.insert(id, Stage::Writing);
        true
    }

    /// Not even the first byte went out so far; one may yet.
    pub(crate) fn put_off(&self, id: i64) {
        let mut stages = self.stages();
        if matches!(stages.get(&id), Some(Stage::Writing)) {
            stages.remove(&id);
        }
    }

    /// Not even the first byte went out.
    pub(crate) fn fail(&self, id: i64) {
        if let Some(stage) = self.stages().get_mut(&id)
            && matches!(stage, Stage::Writing)
        {
            *stage = Stage::Unsent;
        }
    }

    /// Whether this answers a request whose answer is kept raw; it is, if so.
    fn give(&self, id: i64, answer: impl FnOnce() -> Answer) -> bool {
        let mut stages = self.stages();
        match stages.get_mut(&id) {
            Some(stage @ (Stage::Writing | Stage::Unsent)) => {
                *stage = Stage::Given(answer());
                true
            }
            // Nobody waits any more, or it is the second answer to one request.
            Some(Stage::Abandoned) => {
                stages.remove(&id);
                true
            }
            Some(Stage::Given(_)) => true,
            None => false,
        }
    }

    fn skip(&self, line: &[u8]) {
        let count = self.noise.fetch_add(1, Ordering::Relaxed) + 1;
        if count <= NOISE_LOGGED {
            let text = self
                .scrub
                .text_to(&String::from_utf8_lossy(&line[..line.len().min(1024)]), 200);
            tracing::debug!(target: "companion", skill = self.skill, count, "no message on standard output: {text}");
        }
    }
}

/// The transport over a child's pipes.
pub(crate) struct Wire<R, W> {
    lines: Lines<R>,
    outbox: Arc<Outbox<W>>,
    board: Arc<Board>,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Wire<R, W> {
    pub(crate) fn new(reader: R, writer: W, board: Arc<Board>) -> Self {
        Self {
            lines: Lines::new(reader),
            outbox: Arc::new(Outbox::new(writer, Arc::clone(&board))),
            board,
        }
    }

    /// What a line says to rmcp; `None` when it is nothing for it.
    fn read(&self, line: &[u8]) -> Option<RxJsonRpcMessage<RoleClient>> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return None;
        }
        let mut message: Map<String, Value> = match serde_json::from_slice(line) {
            Ok(Value::Object(message))
                if message.get("jsonrpc").and_then(Value::as_str) == Some("2.0") =>
            {
                message
            }
            // An answer that cannot be read is one all the same: nobody need wait for another.
            Err(_)
                if let Some(id) = id_of_prefix(line)
                    && self.board.give(id, || Answer::Malformed) =>
            {
                return Some(placeholder(id));
            }
            Ok(_) | Err(_) => {
                self.board.skip(line);
                return None;
            }
        };
        if let Some(method) = message.get("method") {
            if message.contains_key("id") {
                // The child asks: a ping, or for something that rmcp declines for us.
                return self.typed(message, line);
            }
            if method == "notifications/tools/list_changed" {
                self.board.set_stale();
            }
            // Progress, logs and the like change nothing here, and are not rmcp's to log.
            return None;
        }
        let Some(id) = message.get("id").and_then(number) else {
            self.board.skip(line);
            return None;
        };
        let given = self.board.give(id, || answer(&mut message));
        if given {
            Some(placeholder(id))
        } else {
            self.typed(message, line)
        }
    }

    fn typed(
        &self,
        message: Map<String, Value>,
        line: &[u8],
    ) -> Option<RxJsonRpcMessage<RoleClient>> {
        let message = serde_json::from_value(Value::Object(message)).ok();
        if message.is_none() {
            self.board.skip(line);
        }
        message
    }
}

impl<R, W> Transport<RoleClient> for Wire<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), io::Error>> + Send + 'static {
        let tracked = tracked(&item);
        let line = serde_json::to_vec(&item);
        let outbox = Arc::clone(&self.outbox);
        async move {
            let mut line = line?;
            line.push(b'\n');
            outbox.send(line, tracked).await
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            // Cancel-safe, as rmcp polls this in a `select!`: what was read stays in `lines`.
            let message = match self.lines.next().await {
                Ok(Line::Whole) => {
                    let message = self.read(&self.lines.buffer);
                    self.lines.clear();
                    message
                }
                Ok(Line::TooLong) => {
                    let id = id_of_prefix(&self.lines.buffer);
                    let given = id.is_some_and(|id| self.board.give(id, || Answer::TooLarge));
                    if !given {
                        self.board.skip(&self.lines.buffer);
                    }
                    self.lines.clear();
                    id.filter(|_| given).map(placeholder)
                }
                Ok(Line::End) | Err(_) => {
                    self.board.ended.store(true, Ordering::Release);
                    return None;
                }
            };
            if message.is_some() {
                return message;
            }
        }
    }

    async fn close(&mut self) -> Result<(), io::Error> {
        self.outbox.close().await;
        Ok(())
    }
}

/// The number of a request whose answer is kept raw.
fn tracked(item: &TxJsonRpcMessage<RoleClient>) -> Option<i64> {
    match item {
        JsonRpcMessage::Request(request) => match (&request.request, &request.id) {
            (
                ClientRequest::CallToolRequest(_) | ClientRequest::ListToolsRequest(_),
                RequestId::Number(id),
            ) => Some(*id),
            _ => None,
        },
        _ => None,
    }
}

/// What rmcp gets in the place of an answer that was kept.
fn placeholder(id: i64) -> RxJsonRpcMessage<RoleClient> {
    JsonRpcMessage::response(ServerResult::empty(()), RequestId::Number(id))
}

fn answer(message: &mut Map<String, Value>) -> Answer {
    match (message.remove("result"), message.remove("error")) {
        (Some(result), None) => Answer::Result(result),
        (None, Some(Value::Object(error))) => Answer::Error {
            code: error
                .get("code")
                .and_then(Value::as_i64)
                .unwrap_or_default(),
            message: error
                .get("message")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
        },
        _ => Answer::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p18_what_is_settled_as_not_sent_is_never_sent() {
        let board = Board::new("x".to_owned(), Scrub::default());
        assert!(matches!(board.settle(1), Progress::NotSent));
        assert!(!board.begin(1), "the transport must not write it any more");

        assert!(board.begin(2));
        assert!(matches!(board.settle(2), Progress::Sent));
        assert!(
            board.give(2, || Answer::Malformed),
            "a late answer is dropped, and rmcp is told"
        );

        assert!(board.begin(3));
        board.fail(3);
        assert!(matches!(board.settle(3), Progress::NotSent));

        assert!(board.begin(4));
        assert!(board.give(4, || Answer::TooLarge));
        assert!(
            board.give(4, || Answer::Malformed),
            "the first answer counts"
        );
        assert!(matches!(
            board.settle(4),
            Progress::Answered(Answer::TooLarge)
        ));
        assert!(!board.give(5, || Answer::Malformed), "never asked");
    }
}
