//! One HTTP exchange at a time: what is sent, what counts as an answer, what a failure means.
//!
//! Never follows a redirect, never asks a proxy, never repeats a change.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderValue, SET_COOKIE, USER_AGENT,
};
use hyper::{Method, Request, StatusCode};
use tokio::io::AsyncReadExt as _;

use crate::client::Settings;
use crate::endpoint::Endpoint;
use crate::envelope::Envelope;
use crate::error::{Effect, Error};
use crate::lane::{Lane, Slot};
use crate::soap;
use crate::tls::Verifier;
use crate::value::Value;
use crate::wire::{Answer, Idle, Sparing, Wire};
use crate::xml::XmlError;

/// The largest answer that is read as a whole.
const WHOLE_LIMIT: usize = 16 << 20;
/// What requests are.
const CONTENT: HeaderValue = HeaderValue::from_static("text/xml; charset=\"utf-8\"");
const COOKIE_NAME: &[u8] = b"vmware_soap_session=";

/// What a call does, and so what its failure means and whether it may be repeated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Deed {
    /// Changes nothing; sent again once if the connection was lost before an answer.
    Read,
    /// Changes nothing that a user cares for, but is not repeated by itself: a login must not be,
    /// a logout is repeated by its caller.
    Once,
    /// Changes something: never repeated.
    Change,
}

impl Deed {
    pub(crate) fn effect(self) -> Effect {
        match self {
            Self::Read | Self::Once => Effect::None,
            Self::Change => Effect::Unknown,
        }
    }
}

/// The HTTP side of a session.
pub(crate) struct Http {
    idle: Idle,
    endpoint: Endpoint,
    verifier: Arc<Verifier>,
    cookie: Mutex<Option<HeaderValue>>,
    action: Mutex<HeaderValue>,
    settings: Settings,
    /// The last field: it is given back after the connection is.
    lane: Lane,
}

impl Http {
    pub(crate) fn new(
        endpoint: Endpoint,
        verifier: Arc<Verifier>,
        settings: &Settings,
        lane: Lane,
    ) -> Self {
        Self {
            idle: Idle::default(),
            endpoint,
            verifier,
            cookie: Mutex::new(None),
            action: Mutex::new(HeaderValue::from_static("\"urn:vim25/6.5\"")),
            settings: settings.clone(),
            lane,
        }
    }

    /// The session's first call goes over this connection, whose certificate is accepted.
    pub(crate) fn begin_on(&self, wire: Wire) {
        self.idle.begin(wire);
    }

    /// Closes the connection, so that the next call goes over a new one: for a call that must not be
    /// repeated. On a connection that was idle, nobody could tell a server that had closed it before
    /// the call from one that took the call and then went away.
    pub(crate) fn hang_up(&self) {
        self.idle.clear();
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.settings.call_timeout
    }

    pub(crate) fn has_cookie(&self) -> bool {
        self.cookie
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }

    pub(crate) fn set_version(&self, version: &str) {
        if let Ok(value) = HeaderValue::try_from(format!("\"urn:vim25/{version}\"")) {
            *self.action.lock().unwrap_or_else(PoisonError::into_inner) = value;
        }
    }

    /// A file beside the API, as bytes; `None` if the server has none or it is over `limit`.
    pub(crate) async fn file(
        &self,
        path: &str,
        call: &'static str,
        limit: usize,
    ) -> Result<Option<Vec<u8>>, Error> {
        let get = || async {
            let request = self.request(Method::GET, path, Bytes::new())?;
            self.exchange(call, Deed::Read, request).await
        };
        let fetch = async {
            let answer = match get().await {
                Err(Error::Lost { .. }) => get().await?,
                other => other?,
            };
            if answer.status != StatusCode::OK {
                return Ok(None);
            }
            let bytes = self.whole(call, Deed::Read, answer, limit).await?;
            Ok(Some(bytes).filter(|bytes| bytes.len() <= limit))
        };
        self.in_time(call, Deed::Read, fetch).await
    }

    async fn in_time<T>(
        &self,
        call: &'static str,
        deed: Deed,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(self.timeout(), work).await {
            Ok(result) => result,
            Err(_) => Err(Error::Timeout {
                call,
                after: self.timeout(),
                effect: deed.effect(),
            }),
        }
    }

    /// Sends a call and reads its whole answer.
    pub(crate) async fn call(&self, envelope: Envelope, deed: Deed) -> Result<Value, Error> {
        let method = envelope.method();
        let body = envelope.finish()?;
        let exchange = async {
            let answer = self.post_body(method, body, deed).await?;
            let status = answer.status;
            let bytes = self.whole(method, deed, answer, WHOLE_LIMIT).await?;
            if bytes.len() > WHOLE_LIMIT {
                return Err(Error::TooLarge {
                    call: method,
                    limit: WHOLE_LIMIT as u64,
                    effect: deed.effect(),
                });
            }
            let answer = soap::read_whole(&bytes, method)
                .await
                .map_err(|e| unreadable(method, status, deed, e))?;
            match answer {
                Ok(value) if status == StatusCode::OK => Ok(value),
                Ok(_) => Err(Error::Http {
                    call: method,
                    status: status.as_u16(),
                    effect: deed.effect(),
                }),
                Err(fault) => Err(refusal(method, deed, fault)),
            }
        };
        let result = self.in_time(method, deed, exchange).await;
        match &result {
            Ok(_) => tracing::debug!(method, "call"),
            Err(error) => tracing::debug!(method, ?error, "call failed"),
        }
        result
    }

    /// Sends a call; the caller reads the answer as it arrives. Status is 200, or 500 with XML.
    pub(crate) async fn post(&self, envelope: Envelope, deed: Deed) -> Result<Answer, Error> {
        let method = envelope.method();
        let body = envelope.finish()?;
        self.in_time(method, deed, self.post_body(method, body, deed))
            .await
    }

    async fn post_body(
        &self,
        method: &'static str,
        body: Bytes,
        deed: Deed,
    ) -> Result<Answer, Error> {
        match self.post_once(method, body.clone(), deed).await {
            Err(Error::Lost { .. }) if deed == Deed::Read => {
                self.post_once(method, body, deed).await
            }
            other => other,
        }
    }

    async fn post_once(
        &self,
        method: &'static str,
        body: Bytes,
        deed: Deed,
    ) -> Result<Answer, Error> {
        let mut request = self.request(Method::POST, "/sdk", body)?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, CONTENT);
        headers.insert(
            "soapaction",
            self.action
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        );
        let cookie = self
            .cookie
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(cookie) = cookie {
            headers.insert(COOKIE, cookie);
        }
        let answer = self.exchange(method, deed, request).await?;
        if let Some(cookie) = session_cookie(&answer.headers) {
            *self.cookie.lock().unwrap_or_else(PoisonError::into_inner) = Some(cookie);
        }
        let xml = answer
            .headers
            .get(CONTENT_TYPE)
            .is_some_and(|t| is_xml(t.as_bytes()));
        match answer.status {
            StatusCode::OK | StatusCode::INTERNAL_SERVER_ERROR if xml => Ok(answer),
            StatusCode::OK => Err(Error::Malformed {
                call: method,
                reason: "its content type is not XML".into(),
                effect: deed.effect(),
            }),
            status => Err(Error::Http {
                call: method,
                status: status.as_u16(),
                effect: deed.effect(),
            }),
        }
    }

    /// A request with what all of them have.
    fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let host = self.endpoint.to_string();
        // The usual port is not said.
        let host = host.strip_suffix(":443").unwrap_or(&host);
        Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, host)
            .header(USER_AGENT, &self.settings.user_agent)
            .header(ACCEPT_ENCODING, "gzip")
            .body(Full::new(body))
            .map_err(|_| Error::InvalidEndpoint {
                host: self.endpoint.host().to_owned(),
                reason: "it makes no request",
            })
    }

    /// Room for one exchange, and the connection that is there for it: the session's own, or one
    /// that was kept from page to page.
    async fn room(&self) -> (Slot, Option<Wire>) {
        if let Some(own) = self.lane.own() {
            return (own, self.idle.take().await);
        }
        if let Some((wire, borrowed)) = self.idle.take_spare().await {
            return (borrowed, Some(wire));
        }
        let slot = self.lane.another().await;
        let idle = if slot.is_own() {
            self.idle.take().await
        } else {
            None
        };
        (slot, idle)
    }

    /// A borrowed connection is kept from page to page until what this returns is dropped.
    pub(crate) fn sparing(&self) -> Sparing {
        self.idle.sparing()
    }

    /// One request and the head of its answer, on the session's connection or a new one.
    async fn exchange(
        &self,
        call: &'static str,
        deed: Deed,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, Error> {
        let (slot, idle) = self.room().await;
        let wire = match idle {
            Some(wire) => wire,
            None => {
                // Well before the call's own time is up: else nobody could tell which of the two it
                // was, and a change that never left would count as one that may have happened.
                let settings = &self.settings;
                let limit = settings.connect_timeout.min(settings.call_timeout / 2);
                Box::pin(Wire::open(&self.endpoint, &self.verifier, limit)).await?
            }
        };
        Box::pin(wire.send(slot, request, &self.idle, self.timeout()))
            .await
            .map_err(|error| Error::Lost {
                call,
                reason: cause(&error),
                // Cancelled is what was still waiting to be sent.
                effect: if error.is_canceled() {
                    Effect::None
                } else {
                    deed.effect()
                },
            })
    }

    /// The body of an answer, at most one byte more than `limit`.
    async fn whole(
        &self,
        call: &'static str,
        deed: Deed,
        answer: Answer,
        limit: usize,
    ) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let mut body = answer.body().take(limit as u64 + 1);
        match body.read_to_end(&mut bytes).await {
            Ok(_) => Ok(bytes),
            Err(error) => Err(self.broken(call, deed, &error)),
        }
    }

    /// What it means that a body came to an end that is none.
    pub(crate) fn broken(&self, call: &'static str, deed: Deed, error: &std::io::Error) -> Error {
        let effect = deed.effect();
        if error.kind() == std::io::ErrorKind::TimedOut {
            return Error::Timeout {
                call,
                after: self.timeout(),
                effect,
            };
        }
        Error::Lost {
            call,
            reason: cause(error),
            effect,
        }
    }
}

/// What an answer that cannot be read means. Shared with the streaming reader.
pub(crate) fn unreadable(
    call: &'static str,
    status: StatusCode,
    deed: Deed,
    error: XmlError,
) -> Error {
    let effect = deed.effect();
    match error {
        XmlError::Budget => Error::TooLarge {
            call,
            limit: WHOLE_LIMIT as u64,
            effect,
        },
        XmlError::Io(io) => Error::Lost {
            call,
            reason: cause(&io),
            effect,
        },
        // A 500 without a fault in it is the web server's, not vSphere's.
        XmlError::Malformed(_) if status != StatusCode::OK => Error::Http {
            call,
            status: status.as_u16(),
            effect,
        },
        XmlError::Malformed(reason) => Error::Malformed {
            call,
            reason,
            effect,
        },
    }
}

/// A fault is the server's own word that it did not do it, except where it only gave up waiting
/// for a third party.
pub(crate) fn refusal(call: &'static str, deed: Deed, fault: crate::fault::Fault) -> Error {
    const GAVE_UP: &[&str] = &[
        "HostCommunication",
        "HostNotReachable",
        "SystemError",
        "Timedout",
        "RequestCanceled",
        "UnexpectedFault",
    ];
    // Calls that only start a task did not start it when they fault; the others act on their own.
    let acts_itself = !call.ends_with("_Task");
    let effect = match deed {
        Deed::Change if acts_itself && GAVE_UP.contains(&fault.kind.as_str()) => Effect::Unknown,
        _ => Effect::None,
    };
    Error::Fault {
        call,
        fault: Box::new(fault),
        effect,
    }
}

fn is_xml(content_type: &[u8]) -> bool {
    let media = content_type
        .split(|b| *b == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    [
        &b"text/xml"[..],
        b"application/xml",
        b"application/soap+xml",
    ]
    .iter()
    .any(|x| media.eq_ignore_ascii_case(x))
}

/// The session's cookie as the server spelled it, quotes included, ready to be sent back.
fn session_cookie(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get_all(SET_COOKIE).iter().find_map(|value| {
        let bytes = value.as_bytes();
        if !bytes.starts_with(COOKIE_NAME) {
            return None;
        }
        let mut quoted = false;
        let end = bytes.iter().position(|b| {
            quoted ^= *b == b'"';
            *b == b';' && !quoted
        });
        let pair = bytes[..end.unwrap_or(bytes.len())].trim_ascii_end();
        // An empty value takes a cookie back; there is nothing to send then.
        if pair.len() == COOKIE_NAME.len() || pair.ends_with(b"=\"\"") {
            return None;
        }
        let mut cookie = HeaderValue::from_bytes(pair).ok()?;
        cookie.set_sensitive(true);
        Some(cookie)
    })
}

/// What is at the bottom of an error, for people: the layers above it only say that they failed
/// as well. It carries no header and no body.
fn cause(error: &dyn std::error::Error) -> String {
    let mut bottom = error;
    while let Some(error) = bottom.source() {
        bottom = error;
    }
    let text = bottom.to_string();
    // Some libraries add where their own manual explains it.
    let end = text.find(": https://").unwrap_or(text.len());
    text[..end].to_owned()
}
