//! What goes into the input of one child: messages that are sent at the same time leave in one write.
//!
//! A child that is woken for each message by itself has most of its time taken by waking up. So
//! whoever sends lets the others that are about to do so go first, and the first of them to get to
//! the pipe writes for all.
//!
//! What is said of each message stays exact: as long as the pipe takes no byte of it, it was not sent.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::oneshot;

use crate::wire::Board;

/// So much is written at a time, where it is more than one message; a pipe holds four times as much.
const CHUNK: usize = 16 << 10;

/// A message that waits to be written.
struct Waiting {
    line: Vec<u8>,
    /// Its number on the board, where it has one.
    id: Option<i64>,
    done: oneshot::Sender<io::Result<()>>,
}

/// The input of one child.
pub(crate) struct Outbox<W> {
    board: Arc<Board>,
    waiting: Mutex<VecDeque<Waiting>>,
    writer: tokio::sync::Mutex<Option<W>>,
}

impl<W: AsyncWrite + Unpin> Outbox<W> {
    pub(crate) fn new(writer: W, board: Arc<Board>) -> Self {
        Self {
            board,
            waiting: Mutex::default(),
            writer: tokio::sync::Mutex::new(Some(writer)),
        }
    }

    /// Closes the input: nothing more is written.
    pub(crate) async fn close(&self) {
        *self.writer.lock().await = None;
    }

    /// Writes a message, which ends with a line feed.
    ///
    /// # Errors
    /// `NotConnected` after the input was closed, `TimedOut` where nobody waits for the message any
    /// more, and those of the pipe: the board knows whether any of it went out.
    pub(crate) async fn send(&self, line: Vec<u8>, id: Option<i64>) -> io::Result<()> {
        let (done, mut ended) = oneshot::channel();
        self.queue().push_back(Waiting { line, id, done });
        tokio::task::yield_now().await;
        let mut slot = self.writer.lock().await;
        // Another one may have written it meanwhile.
        if let Ok(end) = ended.try_recv() {
            return end;
        }
        self.write_waiting(&mut slot).await;
        drop(slot);
        // Every message of the queue was answered for.
        ended.await.unwrap_or_else(|_| Err(closed()))
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes all that waits, and says to each what came of it.
    async fn write_waiting(&self, slot: &mut Option<W>) {
        let mut batch = Batch {
            board: &self.board,
            waiting: std::mem::take(&mut *self.queue()),
            written: 0,
            finished: Vec::new(),
        };
        let Some(writer) = slot.as_mut() else {
            batch.fail(&closed());
            return;
        };
        home::crash::point("companions.before_write");
        let mut result = Ok(());
        while result.is_ok() && !batch.waiting.is_empty() {
            result = std::future::poll_fn(|context| batch.poll(context, writer)).await;
        }
        if result.is_ok() {
            result = writer.flush().await;
        }
        home::crash::point("companions.written");
        if let Err(error) = &result {
            batch.fail(error);
            // What follows half a line would be read as its rest.
            *slot = None;
        }
        for done in batch.finished {
            // Whoever sent it may have gone away.
            let _ = done.send(result.as_ref().map(|&()| ()).map_err(same));
        }
    }
}

/// Messages on their way into the pipe, the first one perhaps in part.
struct Batch<'b> {
    board: &'b Board,
    waiting: VecDeque<Waiting>,
    /// How much of the first one went out.
    written: usize,
    /// Those of the messages that are in the pipe.
    finished: Vec<oneshot::Sender<io::Result<()>>>,
}

impl Batch<'_> {
    /// Writes some of it.
    fn poll<W: AsyncWrite + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        writer: &mut W,
    ) -> Poll<io::Result<()>> {
        let begun = self.begin();
        let Some(first) = self.waiting.front() else {
            return Poll::Ready(Ok(()));
        };
        let mut chunk = Vec::new();
        let bytes = if begun == 1 {
            &first.line[self.written..]
        } else {
            chunk.extend_from_slice(&first.line[self.written..]);
            for next in self.waiting.iter().take(begun).skip(1) {
                chunk.extend_from_slice(&next.line);
            }
            &chunk
        };
        let polled = Pin::new(writer).poll_write(context, bytes);
        let taken = match &polled {
            Poll::Ready(Ok(taken)) => *taken,
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
        self.take(taken, begun);
        Poll::Ready(match ready!(polled) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        })
    }

    /// Says of the first messages, as many as are written at a time, that they may be on their way.
    /// Those that nobody waits for any more leave. How many they are.
    fn begin(&mut self) -> usize {
        let (mut begun, mut bytes) = (0, 0);
        while let Some(next) = self.waiting.get(begun) {
            if begun > 0 && bytes + next.line.len() > CHUNK {
                break;
            }
            let under_way = begun == 0 && self.written > 0;
            if !under_way && next.id.is_some_and(|id| !self.board.begin(id)) {
                if let Some(gone) = self.waiting.remove(begun) {
                    let why = "nobody waits for it any more";
                    let _ = gone
                        .done
                        .send(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
                }
                continue;
            }
            bytes += next.line.len();
            begun += 1;
        }
        begun
    }

    /// So many bytes went out. What was begun and no byte of which did is not on its way after all.
    fn take(&mut self, bytes: usize, begun: usize) {
        self.written += bytes;
        let mut left = begun;
        while let Some(first) = self.waiting.front()
            && self.written >= first.line.len()
            && left > 0
        {
            self.written -= first.line.len();
            left -= 1;
            if let Some(first) = self.waiting.pop_front() {
                self.finished.push(first.done);
            }
        }
        let untouched = usize::from(self.written > 0);
        for waiting in self.waiting.iter().take(left).skip(untouched) {
            if let Some(id) = waiting.id {
                self.board.put_off(id);
            }
        }
    }

    /// Nothing more is written.
    fn fail(&mut self, error: &io::Error) {
        for (place, waiting) in self.waiting.drain(..).enumerate() {
            let in_part = place == 0 && self.written > 0;
            if let (Some(id), false) = (waiting.id, in_part) {
                self.board.fail(id);
            }
            let _ = waiting.done.send(Err(same(error)));
        }
    }
}

fn closed() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotConnected,
        "the companion's input is closed",
    )
}

/// The same error for another one who waits.
fn same(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]
#[path = "outbox_tests.rs"]
mod tests;
