//! The life of the process: from the first line on standard input to an orderly end.

use std::sync::Arc;
use std::time::Duration;

use policy::stdio::{self, Door};
use rmcp::ServiceExt as _;
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, ServerJsonRpcMessage};
use rmcp::service::RoleServer;
use rmcp::transport::Transport;
use rmcp::transport::async_rw::AsyncRwTransport;
use tokio::io::DuplexStream;
use tokio::signal::unix::{SignalKind, signal};

use crate::desk::Desk;
use crate::server::Server;

/// How long answers that are still due are waited for when the client closes its end. Longer than
/// what is in flight may take to be settled.
const DRAIN: Duration = Duration::from_secs(15);

/// How long those who wait may take to give their answers, once all is settled.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Serves until the client closes its end, or the process is told to end.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let desk = Arc::new(Desk::new());
    let Door {
        read,
        write,
        mut closed,
        mut done,
    } = stdio::door(tokio::io::stdin(), tokio::io::stdout(), DRAIN);
    let server = Server::new(Arc::clone(&desk));
    let mut conversation = tokio::spawn(async move {
        match server.serve(Patient::new(read, write)).await {
            Ok(running) => {
                // However it ended, it is over.
                let _ = running.waiting().await;
            }
            Err(error) => tracing::info!("no conversation came about: {error}"),
        }
    });
    tokio::select! {
        _ = terminate.recv() => tracing::info!("told to end"),
        _ = interrupt.recv() => tracing::info!("told to end"),
        _ = closed.wait_for(|closed| *closed) => tracing::info!("the client closed its end"),
        _ = &mut conversation => {}
        _ = &mut done => tracing::info!("standard output is closed"),
    }
    home::crash::point("pilot.end");
    desk.settle().await;
    home::crash::point("pilot.settled");
    desk.quiet(LAST_WORDS).await;
    // After the end of the input it ends by itself, once the last answer is out; told to end by a
    // signal, it would go on.
    if !*closed.borrow() {
        conversation.abort();
    }
    if !done.is_finished() {
        // Whoever does not read standard output does not get the last of it.
        let _ = tokio::time::timeout(LAST_WORDS, &mut done).await;
    }
    conversation.abort();
    desk.stop().await;
    Ok(())
}

/// The transport, with patience for a client that says something before it says hello: the library
/// takes anything but a request as the first message for the end of the conversation.
struct Patient {
    inner: AsyncRwTransport<RoleServer, DuplexStream, DuplexStream>,
    begun: bool,
}

impl Patient {
    fn new(read: DuplexStream, write: DuplexStream) -> Self {
        Self {
            inner: AsyncRwTransport::new(read, write),
            begun: false,
        }
    }
}

impl Transport<RoleServer> for Patient {
    type Error = std::io::Error;

    fn send(
        &mut self,
        item: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.inner.send(item)
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            let message = self.inner.receive().await?;
            if self.begun {
                return Some(message);
            }
            if let ClientJsonRpcMessage::Request(request) = &message {
                self.begun = !matches!(
                    request.request,
                    ClientRequest::PingRequest(_) | ClientRequest::DiscoverRequest(_)
                );
                return Some(message);
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.inner.close().await
    }
}
