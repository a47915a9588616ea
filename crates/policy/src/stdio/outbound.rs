//! From the MCP library, and from the door itself, to standard output: whole lines only.

use std::io;
use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, DuplexStream};
use tokio::sync::mpsc;

use super::line;
use super::pending::Pending;

/// Until the library has closed its end, and everything is written.
pub(super) async fn run<W: AsyncWrite + Unpin>(
    from_library: DuplexStream,
    mut answers: mpsc::Receiver<Value>,
    mut stdout: W,
    pending: Arc<Pending>,
) -> io::Result<()> {
    let (lines, mut ready) = mpsc::channel::<Vec<u8>>(16);
    // A task of its own, since reading a line cannot be interrupted without losing a part of it.
    let reader = tokio::spawn(read_lines(from_library, lines));
    let mut result = Ok(());
    while result.is_ok() {
        result = tokio::select! {
            line = ready.recv() => {
                let Some(line) = line else { break };
                let written = write_line(&mut stdout, &line, ready.is_empty()).await;
                if let Some(id) = line::answered(&line) {
                    pending.settle(&id);
                }
                written
            }
            Some(answer) = answers.recv() => write_answer(&mut stdout, &answer).await,
        };
    }
    // The library has closed its end. What the door itself has still to say was put into
    // its queue before the library could see the end of the input.
    while result.is_ok()
        && let Ok(answer) = answers.try_recv()
    {
        result = write_answer(&mut stdout, &answer).await;
    }
    pending.abandon();
    reader.abort();
    result?;
    stdout.shutdown().await
}

async fn read_lines(from_library: DuplexStream, lines: mpsc::Sender<Vec<u8>>) {
    let mut reader = BufReader::with_capacity(64 * 1024, from_library);
    loop {
        let mut line = Vec::new();
        // An error of a pipe in memory is its end.
        if reader.read_until(b'\n', &mut line).await.unwrap_or(0) == 0 {
            return;
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        if !line.trim_ascii().is_empty() && lines.send(line).await.is_err() {
            return;
        }
    }
}

async fn write_answer<W: AsyncWrite + Unpin>(stdout: &mut W, answer: &Value) -> io::Result<()> {
    write_line(stdout, answer.to_string().as_bytes(), true).await
}

async fn write_line<W: AsyncWrite + Unpin>(
    stdout: &mut W,
    line: &[u8],
    flush: bool,
) -> io::Result<()> {
    let mut whole = Vec::with_capacity(line.len() + 1);
    whole.extend_from_slice(line);
    whole.push(b'\n');
    stdout.write_all(&whole).await?;
    if flush { stdout.flush().await } else { Ok(()) }
}
