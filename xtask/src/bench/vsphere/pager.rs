//! A proxy that pages: in front of a simulator that is fast and answers everything at once, it gives
//! the objects of an answer a hundred at a time, as a vCenter does, and serves the tokens.
//!
//! It speaks TLS to its clients, as a vCenter does, and none to the simulator.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Objects of an answer, whatever is asked for.
pub(super) const MOST: usize = 100;
/// The head of a request is no longer than this.
const HEAD: usize = 64 << 10;

/// A running proxy; it ends when it is dropped.
pub(super) struct Pager {
    pub(super) port: u16,
    end: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Pager {
    /// Starts one in a thread of its own, in front of the server at that address.
    pub(super) fn start(upstream: SocketAddr) -> Result<Self> {
        let acceptor = acceptor()?;
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .context("the pager could not listen")?;
        let port = listener.local_addr()?.port();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (end, ended) = oneshot::channel();
        let thread = thread::spawn(move || {
            let kept = Arc::new(Mutex::new(Kept::default()));
            runtime.block_on(async {
                let Ok(listener) = TcpListener::from_std(listener) else {
                    return; // Whoever connects is told by the silence.
                };
                tokio::select! {
                    () = serve(listener, acceptor, upstream, kept) => {}
                    _ = ended => {}
                }
            });
        });
        Ok(Self {
            port,
            end: Some(end),
            thread: Some(thread),
        })
    }
}

impl Drop for Pager {
    fn drop(&mut self) {
        // Dropped unsent, it ends the thread as well.
        self.end.take();
        if let Some(thread) = self.thread.take() {
            // It has nobody left to tell that it failed.
            let _ = thread.join();
        }
    }
}

fn acceptor() -> Result<TlsAcceptor> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let certificate = rcgen::CertificateParams::new(names)?.self_signed(&key)?;
    let secret = PrivateKeyDer::try_from(key.serialize_der())
        .map_err(|why| anyhow::anyhow!("the pager's key cannot be used: {why}"))?;
    let config = ServerConfig::builder_with_provider(Arc::new(
        tokio_rustls::rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()?
    .with_no_client_auth()
    .with_single_cert(vec![certificate.der().clone()], secret)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The answers of which pages are still to be fetched.
#[derive(Default)]
struct Kept {
    made: u64,
    answers: HashMap<String, (Arc<Paged>, usize)>,
}

/// An answer in pages.
struct Paged {
    bytes: Vec<u8>,
    pages: Vec<Range<usize>>,
}

impl Kept {
    /// The body of one page, and the token of the next one where there is one.
    fn page(&mut self, paged: &Arc<Paged>, nth: usize, method: &str) -> Vec<u8> {
        let token = (nth + 1 < paged.pages.len()).then(|| {
            self.made += 1;
            let token = format!("page-{}", self.made);
            self.answers
                .insert(token.clone(), (Arc::clone(paged), nth + 1));
            token
        });
        let range = paged.pages.get(nth).cloned().unwrap_or_default();
        body(method, token.as_deref(), &paged.bytes[range])
    }

    /// What a client that continues gets: nothing if the token is not one of ours.
    fn continued(&mut self, request: &str) -> Option<Vec<u8>> {
        let (paged, nth) = self.answers.remove(token_in(request)?)?;
        Some(self.page(&paged, nth, CONTINUE))
    }
}

const RETRIEVE: &str = "RetrievePropertiesEx";
const CONTINUE: &str = "ContinueRetrievePropertiesEx";
const CANCEL: &str = "CancelRetrievePropertiesEx";

/// An answer with these objects.
fn body(method: &str, token: Option<&str>, objects: &[u8]) -> Vec<u8> {
    let token = token.map_or_else(String::new, |token| format!("<token>{token}</token>"));
    let head = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body>\
         <{method}Response xmlns=\"urn:vim25\"><returnval>{token}"
    );
    let tail = format!("</returnval></{method}Response></soapenv:Body></soapenv:Envelope>");
    [head.as_bytes(), objects, tail.as_bytes()].concat()
}

/// Where the objects of an answer begin and end, so many at a time. Nothing if there are none.
fn pages(answer: &[u8], most: usize) -> Vec<Range<usize>> {
    const OPEN: &[u8] = b"<objects>";
    const CLOSE: &[u8] = b"</objects>";
    let mut pages = Vec::new();
    let (mut from, mut count, mut at) = (None, 0, 0);
    while let Some(open) = find(&answer[at..], OPEN) {
        let open = at + open;
        let Some(close) = find(&answer[open..], CLOSE) else {
            break;
        };
        at = open + close + CLOSE.len();
        let begin = *from.get_or_insert(open);
        count += 1;
        if count == most {
            pages.push(begin..at);
            (from, count) = (None, 0);
        }
    }
    if let Some(begin) = from {
        pages.push(begin..at);
    }
    pages
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    let first = *what.first()?;
    let mut at = 0;
    while let Some(hit) = text[at..].iter().position(|byte| *byte == first) {
        if text[at + hit..].starts_with(what) {
            return Some(at + hit);
        }
        at += hit + 1;
    }
    None
}

/// The token in a request: some clients give it a type.
fn token_in(request: &str) -> Option<&str> {
    let (_, token) = between(request, "<token", "</token>")?.split_once('>')?;
    Some(token)
}

fn between<'t>(text: &'t str, open: &str, close: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(open)?;
    rest.split_once(close).map(|(inner, _)| inner)
}

async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    upstream: SocketAddr,
    kept: Arc<Mutex<Kept>>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, kept) = (acceptor.clone(), Arc::clone(&kept));
        tokio::spawn(async move {
            // A page leaves as a whole: nothing is gained by waiting for more.
            let _ = stream.set_nodelay(true);
            if let Ok(stream) = acceptor.accept(stream).await {
                // A client that goes away in the middle is its own business.
                let _ = converse(BufReader::new(stream), upstream, &kept).await;
            }
        });
    }
}

/// One connection: request after request, until the client closes it.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut client: BufReader<S>,
    upstream: SocketAddr,
    kept: &Mutex<Kept>,
) -> io::Result<()> {
    while let Some((head, body)) = request(&mut client).await? {
        let text = String::from_utf8_lossy(&body);
        let paged = |method: &str| {
            text.contains(&format!("<{method} ")) || text.contains(&format!("<{method}>"))
        };
        let hold = || kept.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = if paged(CONTINUE) {
            let page = hold().continued(&text);
            match page {
                Some(page) => reply("200 OK", "", &page),
                None => reply("400 Bad Request", "", b"no such token"),
            }
        } else if paged(CANCEL) {
            if let Some(token) = token_in(&text) {
                hold().answers.remove(token);
            }
            reply("200 OK", "", &body_of_nothing(CANCEL))
        } else {
            let (status, headers, bytes) = forward(&head, &body, upstream).await?;
            let pages = if paged(RETRIEVE) && status.starts_with("200") {
                pages(&bytes, MOST)
            } else {
                Vec::new()
            };
            if pages.len() > 1 {
                let whole = Arc::new(Paged { bytes, pages });
                let page = hold().page(&whole, 0, RETRIEVE);
                reply(&status, &headers, &page)
            } else {
                reply(&status, &headers, &bytes)
            }
        };
        let client = client.get_mut();
        client.write_all(&answer).await?;
        client.flush().await?;
    }
    Ok(())
}

fn body_of_nothing(method: &str) -> Vec<u8> {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\"><soapenv:Body>\
         <{method}Response xmlns=\"urn:vim25\"/></soapenv:Body></soapenv:Envelope>"
    )
    .into_bytes()
}

fn reply(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/xml; charset=utf-8\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The next request: its head and its body; nothing at the end of the connection.
async fn request<S: AsyncRead + Unpin>(
    client: &mut BufReader<S>,
) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match client.read_u8().await {
            Ok(byte) if head.len() < HEAD => head.push(byte),
            Ok(_) => return Err(io::Error::other("the head of a request is too long")),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut body = Vec::new();
    if header(&head, "transfer-encoding").is_some_and(|how| how.eq_ignore_ascii_case("chunked")) {
        loop {
            let size = line(client).await?;
            let size = size.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
            let from = body.len();
            body.resize(from + size, 0);
            client.read_exact(&mut body[from..]).await?;
            // The end of the piece; after the last one, there are no trailers to expect.
            line(client).await?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = header(&head, "content-length") {
        body.resize(length.parse().map_err(io::Error::other)?, 0);
        client.read_exact(&mut body).await?;
    }
    Ok(Some((head, body)))
}

async fn line<S: AsyncRead + Unpin>(client: &mut BufReader<S>) -> io::Result<String> {
    let mut line = String::new();
    let mut limited = client.take(HEAD as u64);
    limited.read_line(&mut line).await?;
    Ok(line)
}

/// The value of a header, by its name in lower case.
fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Asks the simulator, by HTTP/1.0: its answer comes in one piece and ends with the connection.
/// Returns the status, the cookie's header, and the body.
async fn forward(
    head: &str,
    body: &[u8],
    upstream: SocketAddr,
) -> io::Result<(String, String, Vec<u8>)> {
    let first = head.lines().next().unwrap_or_default();
    let target = first.rsplit_once(' ').map_or(first, |(target, _)| target);
    let mut sent = format!(
        "{target} HTTP/1.0\r\nHost: {upstream}\r\nContent-Length: {}\r\n",
        body.len()
    );
    for name in ["Content-Type", "SOAPAction", "Cookie", "User-Agent"] {
        if let Some(value) = header(head, name) {
            sent.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    sent.push_str("\r\n");
    let mut server = TcpStream::connect(upstream).await?;
    server.write_all(sent.as_bytes()).await?;
    server.write_all(body).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    let end =
        find(&answer, b"\r\n\r\n").ok_or_else(|| io::Error::other("the answer has no head"))?;
    let bytes = answer.split_off(end + 4);
    let head = String::from_utf8_lossy(&answer).into_owned();
    let status = head
        .lines()
        .next()
        .and_then(|line| line.split_once(' '))
        .map_or_else(
            || "502 Bad Gateway".to_owned(),
            |(_, status)| status.to_owned(),
        );
    // The server takes its cookie to be for TLS or not; the client is told neither.
    let cookie = header(&head, "set-cookie")
        .map_or_else(String::new, |value| format!("Set-Cookie: {value}\r\n"));
    Ok((status, cookie, bytes))
}

#[cfg(test)]
#[path = "pager_tests.rs"]
mod tests;
