//! From standard input to the MCP library.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use guard::limit;
use serde_json::Value;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader, DuplexStream,
};
use tokio::sync::{mpsc, watch};

use super::line::{self, Good};
use super::pending::Pending;

/// Reads, checks and passes on.
pub(super) struct Inbound {
    pub(super) to_library: DuplexStream,
    pub(super) answers: mpsc::Sender<Value>,
    pub(super) pending: Arc<Pending>,
    pub(super) closing: watch::Sender<bool>,
    pub(super) drain: Duration,
}

impl Inbound {
    /// Until the end of `stdin`, or until the library no longer reads.
    pub(super) async fn run<R: AsyncRead + Unpin>(mut self, stdin: R) {
        let mut stdin = BufReader::with_capacity(64 * 1024, stdin);
        loop {
            match read_line(&mut stdin, limit::LINE_BYTES).await {
                Ok(Line::Whole(line)) => {
                    if self.pass(&line).await.is_err() {
                        break;
                    }
                }
                Ok(Line::TooLong) => self.answer(line::too_long()).await,
                Ok(Line::End) => break,
                Err(error) => {
                    tracing::error!("standard input cannot be read: {error}");
                    break;
                }
            }
        }
        // Whoever does not listen to it does not need it.
        let _ = self.closing.send(true);
        self.pending.all_settled(self.drain).await;
        // Dropping the pipe is the end that the library sees.
        let _ = self.to_library.shutdown().await;
    }

    async fn pass(&mut self, line: &[u8]) -> io::Result<()> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        match line::check(line) {
            Ok(good) => {
                match good {
                    // Before it is passed on: the answer may come at once.
                    Good::Request(id) => self.pending.add(id),
                    Good::Cancel(id) => self.pending.settle(&id),
                    Good::Other => {}
                }
                self.to_library.write_all(line).await?;
                self.to_library.write_all(b"\n").await
            }
            Err(answer) => {
                self.answer(answer).await;
                Ok(())
            }
        }
    }

    async fn answer(&self, answer: Value) {
        // Fails only when standard output is gone, and then nobody waits for the answer.
        let _ = self.answers.send(answer).await;
    }
}

enum Line {
    Whole(Vec<u8>),
    TooLong,
    End,
}

/// Reads up to the next line feed, or the end. Of a line longer than `max` bytes nothing
/// is kept.
async fn read_line<R: AsyncBufRead + Unpin>(stdin: &mut R, max: usize) -> io::Result<Line> {
    let mut line = Vec::new();
    let mut too_long = false;
    loop {
        let chunk = stdin.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(match (too_long, line.is_empty()) {
                (true, _) => Line::TooLong,
                (false, true) => Line::End,
                (false, false) => Line::Whole(line),
            });
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let part = &chunk[..end.unwrap_or(chunk.len())];
        too_long |= line.len() + part.len() > max;
        if too_long {
            line = Vec::new();
        } else {
            line.extend_from_slice(part);
        }
        let used = end.map_or(chunk.len(), |end| end + 1);
        stdin.consume(used);
        if end.is_some() {
            return Ok(if too_long {
                Line::TooLong
            } else {
                Line::Whole(line)
            });
        }
    }
}
