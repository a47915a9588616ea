//! The door: what comes in on standard input is checked line by line before the MCP
//! library sees it, and only whole lines go out.
//!
//! A line that two parsers could read differently (duplicate keys, huge integers), that
//! is malformed, too long or too deep, or that is no JSON-RPC message is answered at the
//! door with a JSON-RPC error (-32700 or -32600). No content of it is repeated, except its
//! id where that is beyond doubt.
//!
//! MCP over stdio: <https://modelcontextprotocol.io/specification/2025-06-18/basic/transports>.

mod inbound;
mod line;
mod outbound;
mod pending;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// How much may stand in a pipe between the door and the MCP library, in bytes.
const PIPE_BYTES: usize = 64 * 1024;

/// How many of the door's own answers may wait to be written.
const ANSWERS: usize = 64;

/// What [`door`] gives: hand `(read, write)` to the MCP library, and wait for `done` at the end.
#[derive(Debug)]
pub struct Door {
    /// The checked messages of the client.
    pub read: DuplexStream,
    /// Where the server's messages go.
    pub write: DuplexStream,
    /// Turns true as soon as the client has closed its end: no new work from then on,
    /// while the answers that are still due are waited for.
    pub closed: watch::Receiver<bool>,
    /// Ends when `write` has been closed and everything is written out.
    pub done: JoinHandle<io::Result<()>>,
}

/// Puts the door between `stdin` and `stdout` and the MCP library.
///
/// When `stdin` ends, `read` ends as well: once every request that was passed on has
/// been answered, or after `drain`, whichever comes first.
///
/// Must be called within a Tokio runtime.
pub fn door<R, W>(stdin: R, stdout: W, drain: Duration) -> Door
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let (read, to_library) = tokio::io::duplex(PIPE_BYTES);
    let (write, from_library) = tokio::io::duplex(PIPE_BYTES);
    let (answers, due) = mpsc::channel(ANSWERS);
    let (closing, closed) = watch::channel(false);
    let pending = Arc::new(pending::Pending::default());
    let inbound = inbound::Inbound {
        to_library,
        answers,
        pending: Arc::clone(&pending),
        closing,
        drain,
    };
    let inbound = tokio::spawn(inbound.run(stdin));
    let done = tokio::spawn(async move {
        let result = outbound::run(from_library, due, stdout, pending).await;
        // It may wait for a line that nobody will read.
        inbound.abort();
        result
    });
    Door {
        read,
        write,
        closed,
        done,
    }
}
