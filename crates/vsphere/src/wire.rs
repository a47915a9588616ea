//! One connection to a server, driven by whoever uses it: dropping it closes it, then and there.
//!
//! No task of its own reads or writes. So a connection that nobody uses any more is not there for a
//! while longer, and how many there are at once is known.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_compression::tokio::bufread::GzipDecoder;
use bytes::Bytes;
use futures_util::Stream;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_ENCODING, HeaderMap};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufRead, BufReader};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::Sleep;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::io::StreamReader;

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::lane::Slot;
use crate::tls::Verifier;

/// A connection that the server is about to close for being idle must not carry a change: it would
/// count as lost. Servers wait longer than this.
const IDLE: Duration = Duration::from_secs(10);

type Driven = Pin<Box<http1::Connection<TokioIo<TlsStream<TcpStream>>, Full<Bytes>>>>;

/// A connection.
pub(crate) struct Wire {
    sender: SendRequest<Full<Bytes>>,
    /// Dropped once it is over: a request that was not yet sent on it learns so by that.
    connection: Option<Driven>,
    idle_since: Instant,
}

/// The connections of a session while no exchange uses them.
#[derive(Clone, Default)]
pub(crate) struct Idle(Arc<Mutex<Unused>>);

#[derive(Default)]
struct Unused {
    /// Its own.
    own: Option<Wire>,
    /// A borrowed one, with the room that it takes: only while pages follow one another.
    spare: Option<(Wire, Slot)>,
    /// How many readers of pages there are.
    pages: usize,
}

/// Keeps a borrowed connection from page to page.
pub(crate) struct Sparing(Idle);

impl Drop for Sparing {
    fn drop(&mut self) {
        let mut unused = self.0.hold();
        unused.pages = unused.pages.saturating_sub(1);
        if unused.pages == 0 {
            unused.spare = None;
        }
    }
}

/// Connects and shakes hands.
///
/// # Errors
/// [`Error::Unreachable`], [`Error::Tls`], and those of the certificate.
async fn tls(
    endpoint: &Endpoint,
    verifier: &Arc<Verifier>,
    limit: Duration,
) -> Result<TlsStream<TcpStream>, Error> {
    let unreachable = |reason: String, timed_out| Error::Unreachable {
        endpoint: endpoint.to_string(),
        reason,
        timed_out,
    };
    let refused = |reason: String| Error::Tls {
        endpoint: endpoint.to_string(),
        reason,
    };
    let config = Arc::clone(verifier)
        .config()
        .map_err(|e| refused(e.to_string()))?;
    let name = endpoint.server_name()?;
    let handshake = async {
        let stream = tcp(endpoint, limit)
            .await
            .map_err(|e| unreachable(e.to_string(), e.kind() == io::ErrorKind::TimedOut))?;
        let connected = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await;
        connected.map_err(|error| match verifier.refused() {
            Some(refusal) => refusal.into_error(endpoint),
            None if error.get_ref().is_some_and(|e| e.is::<rustls::Error>()) => {
                refused(error.to_string())
            }
            None => unreachable(error.to_string(), false),
        })
    };
    tokio::time::timeout(limit, handshake)
        .await
        .unwrap_or_else(|_| Err(unreachable(format!("no answer within {limit:?}"), true)))
}

/// Tries every address of the host, each for its share of the time.
async fn tcp(endpoint: &Endpoint, limit: Duration) -> io::Result<TcpStream> {
    let until = Instant::now() + limit;
    let mut addresses: Vec<_> = lookup_host((endpoint.host(), endpoint.port()))
        .await?
        .collect();
    addresses.dedup();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (at, address) in addresses.iter().enumerate() {
        let others = u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
        let share = until.saturating_duration_since(Instant::now()) / others;
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => failed = error,
            Err(_) => {
                failed = io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no answer from {address} within {share:?}"),
                );
            }
        }
    }
    Err(failed)
}

impl Wire {
    /// A new connection.
    ///
    /// # Errors
    /// Those of [`tls`].
    pub(crate) async fn open(
        endpoint: &Endpoint,
        verifier: &Arc<Verifier>,
        limit: Duration,
    ) -> Result<Self, Error> {
        let stream = tls(endpoint, verifier, limit).await?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|error| Error::Unreachable {
                    endpoint: endpoint.to_string(),
                    reason: error.to_string(),
                    timed_out: false,
                })?;
        Ok(Self {
            sender,
            connection: Some(Box::pin(connection)),
            idle_since: Instant::now(),
        })
    }

    /// Does what there is to do on the connection; ready once it is over.
    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(connection) = &mut self.connection {
            if connection.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            // How it ended is told to whoever waits for an answer on it.
            self.connection = None;
        }
        Poll::Ready(())
    }

    fn is_over(&self) -> bool {
        self.connection.is_none()
    }

    /// Waits for something that needs the connection to be driven.
    async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(value) = work.as_mut().poll(cx) {
                    return Poll::Ready(value);
                }
                let was_over = self.is_over();
                if self.drive(cx).is_pending() || was_over {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// Whether another request can go over it.
    async fn is_usable(&mut self) -> bool {
        // What the server has said meanwhile, such as that it hangs up.
        poll_fn(|cx| {
            let _ = self.drive(cx);
            Poll::Ready(())
        })
        .await;
        if self.is_over() || self.idle_since.elapsed() > IDLE {
            return false;
        }
        poll_fn(|cx| {
            loop {
                match self.sender.poll_ready(cx) {
                    Poll::Ready(ready) => return Poll::Ready(ready.is_ok()),
                    Poll::Pending if self.is_over() => return Poll::Ready(false),
                    Poll::Pending if self.drive(cx).is_pending() => return Poll::Pending,
                    Poll::Pending => {}
                }
            }
        })
        .await
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(
        self,
        slot: Slot,
        request: Request<Full<Bytes>>,
        idle: &Idle,
        silence: Duration,
    ) -> Result<Answer, hyper::Error> {
        // In this order they are given back when it fails: first the connection, then the slot.
        let mut using = (self, slot);
        let sending = using.0.sender.send_request(request);
        let response = using.0.during(sending).await?;
        let (head, body) = response.into_parts();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            pieces: Pieces {
                body,
                using: Some(using),
                idle: idle.clone(),
                silence,
                patience: Box::pin(tokio::time::sleep(silence)),
            },
        })
    }
}

impl Idle {
    /// The session's own connection, if it can be used again.
    pub(crate) async fn take(&self) -> Option<Wire> {
        let mut wire = self.hold().own.take()?;
        wire.is_usable().await.then_some(wire)
    }

    /// The borrowed connection that was kept, if it can be used again.
    pub(crate) async fn take_spare(&self) -> Option<(Wire, Slot)> {
        let (mut wire, slot) = self.hold().spare.take()?;
        wire.is_usable().await.then_some((wire, slot))
    }

    /// From now on a borrowed connection is kept for the next page, unless somebody else waits for
    /// the room that it takes.
    pub(crate) fn sparing(&self) -> Sparing {
        self.hold().pages += 1;
        Sparing(self.clone())
    }

    /// The session's own connection is this one, which was there before it.
    pub(crate) fn begin(&self, wire: Wire) {
        self.hold().own = Some(wire);
    }

    /// Hangs up.
    pub(crate) fn clear(&self) {
        let mut unused = self.hold();
        unused.own = None;
        unused.spare = None;
    }

    /// Keeps a connection that is not over, where it may stay; else it goes, and its room after it:
    /// whoever takes that next opens another one.
    fn put(&self, mut wire: Wire, slot: Slot) {
        wire.idle_since = Instant::now();
        let mut unused = self.hold();
        if slot.is_own() {
            unused.own = Some(wire);
            drop(slot);
        } else if unused.pages > 0 && unused.spare.is_none() && slot.is_to_spare() {
            unused.spare = Some((wire, slot));
        } else {
            drop(wire);
            drop(slot);
        }
    }

    fn hold(&self) -> std::sync::MutexGuard<'_, Unused> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer whose body is still to be read.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pieces: Pieces,
}

impl Answer {
    /// The body as it arrives, unpacked.
    pub(crate) fn body(self) -> Pin<Box<dyn AsyncBufRead + Send>> {
        let packed = self
            .headers
            .get(CONTENT_ENCODING)
            .is_some_and(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"gzip"));
        let reader = StreamReader::new(self.pieces);
        if packed {
            Box::pin(BufReader::new(GzipDecoder::new(reader)))
        } else {
            Box::pin(reader)
        }
    }
}

/// The pieces of a body, and the connection that they come over.
struct Pieces {
    body: Incoming,
    /// Until the body has ended.
    using: Option<(Wire, Slot)>,
    idle: Idle,
    /// How long the server may be silent between two pieces.
    silence: Duration,
    patience: Pin<Box<Sleep>>,
}

impl Stream for Pieces {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let until = tokio::time::Instant::now() + this.silence;
                    this.patience.as_mut().reset(until);
                    if let Ok(bytes) = frame.into_data() {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    this.using = None;
                    return Poll::Ready(Some(Err(io::Error::other(error))));
                }
                Poll::Ready(None) => {
                    if let Some((wire, slot)) = this.using.take() {
                        if wire.is_over() {
                            drop(wire);
                            // Only now: whoever takes it next opens another connection.
                            drop(slot);
                        } else {
                            this.idle.put(wire, slot);
                        }
                    }
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    let was_over = match &mut this.using {
                        None => true,
                        Some((wire, _)) => wire.is_over() || wire.drive(cx).is_pending(),
                    };
                    if !was_over {
                        // It has just ended: the body knows more now.
                        continue;
                    }
                    if this.patience.as_mut().poll(cx).is_ready() {
                        this.using = None;
                        let silent = io::Error::from(io::ErrorKind::TimedOut);
                        return Poll::Ready(Some(Err(silent)));
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}
