//! One HTTP exchange at a time: what is sent, what counts as an answer, what a failure means.
//!
//! Never follows a redirect, never asks a proxy, never repeats a change.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONNECTION, CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use reqwest::{Response, StatusCode};

use crate::client::Settings;
use crate::endpoint::Endpoint;
use crate::envelope::Envelope;
use crate::error::{Effect, Error};
use crate::lane::{Lane, Slot};
use crate::soap;
use crate::tls::Verifier;
use crate::value::Value;
use crate::xml::XmlError;

/// The largest answer that is read as a whole.
const WHOLE_LIMIT: u64 = 16 << 20;
/// Asks the server to hang up after its answer.
const CLOSE: HeaderValue = HeaderValue::from_static("close");
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
    client: reqwest::Client,
    endpoint: Endpoint,
    verifier: Arc<Verifier>,
    cookie: Mutex<Option<HeaderValue>>,
    action: Mutex<HeaderValue>,
    settings: Settings,
    /// The last field: it is given back after the connections are.
    lane: Lane,
}

impl Http {
    pub(crate) fn new(
        endpoint: Endpoint,
        verifier: Arc<Verifier>,
        settings: &Settings,
        lane: Lane,
    ) -> Result<Self, Error> {
        Ok(Self {
            client: connections(&endpoint, &verifier, settings)?,
            endpoint,
            verifier,
            cookie: Mutex::new(None),
            action: Mutex::new(HeaderValue::from_static("\"urn:vim25/6.5\"")),
            settings: settings.clone(),
            lane,
        })
    }

    /// The same, over connections that do not exist yet: for a call that must not be repeated.
    /// On a connection that was idle, nobody could tell a server that had closed it before the
    /// call from one that took the call and then went away.
    ///
    /// # Errors
    /// [`Error::Tls`].
    pub(crate) fn over_new_connections(self) -> Result<Self, Error> {
        let client = connections(&self.endpoint, &self.verifier, &self.settings)?;
        Ok(Self { client, ..self })
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
            let request = self.client.get(self.endpoint.url(path));
            // The login comes next, over a connection of its own.
            let request = request.header(CONNECTION, CLOSE);
            let sent = request.send().await;
            sent.map_err(|e| self.failure(call, Deed::Read, &e))
        };
        let fetch = async {
            let _slot = self.lane.slot().await;
            let mut response = match get().await {
                Err(Error::Lost { .. }) => get().await?,
                other => other?,
            };
            if response.status() != StatusCode::OK {
                return Ok(None);
            }
            let mut bytes = Vec::new();
            while let Some(piece) = response
                .chunk()
                .await
                .map_err(|e| self.failure(call, Deed::Read, &e))?
            {
                if bytes.len() + piece.len() > limit {
                    return Ok(None);
                }
                bytes.extend_from_slice(&piece);
            }
            Ok(Some(bytes))
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
            let _slot = self.lane.slot().await;
            let mut response = self.post_body(method, body, deed).await?;
            let status = response.status();
            let mut bytes = Vec::new();
            while let Some(piece) = response
                .chunk()
                .await
                .map_err(|e| self.failure(method, deed, &e))?
            {
                if (bytes.len() + piece.len()) as u64 > WHOLE_LIMIT {
                    return Err(Error::TooLarge {
                        call: method,
                        limit: WHOLE_LIMIT,
                        effect: deed.effect(),
                    });
                }
                bytes.extend_from_slice(&piece);
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

    /// Sends a call; the caller reads the answer as it arrives, and keeps the slot until it has.
    /// Status is 200, or 500 with XML.
    pub(crate) async fn post(
        &self,
        envelope: Envelope,
        deed: Deed,
    ) -> Result<(Response, Slot), Error> {
        let method = envelope.method();
        let body = envelope.finish()?;
        let slot = self.lane.slot().await;
        let response = self
            .in_time(method, deed, self.post_body(method, body, deed))
            .await?;
        Ok((response, slot))
    }

    async fn post_body(
        &self,
        method: &'static str,
        body: Bytes,
        deed: Deed,
    ) -> Result<Response, Error> {
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
    ) -> Result<Response, Error> {
        let action = self
            .action
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let cookie = self
            .cookie
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut request = self
            .client
            .post(self.endpoint.url("/sdk"))
            .header(CONTENT_TYPE, "text/xml; charset=\"utf-8\"")
            .header("SOAPAction", action)
            .body(body);
        if let Some(cookie) = cookie {
            request = request.header(COOKIE, cookie);
        }
        if method == "Logout" {
            request = request.header(CONNECTION, CLOSE);
        }
        let response = request
            .send()
            .await
            .map_err(|e| self.failure(method, deed, &e))?;
        if let Some(cookie) = session_cookie(response.headers()) {
            *self.cookie.lock().unwrap_or_else(PoisonError::into_inner) = Some(cookie);
        }
        let status = response.status();
        let xml = response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|t| is_xml(t.as_bytes()));
        match status {
            StatusCode::OK | StatusCode::INTERNAL_SERVER_ERROR if xml => Ok(response),
            StatusCode::OK => Err(Error::Malformed {
                call: method,
                reason: "its content type is not XML".into(),
                effect: deed.effect(),
            }),
            _ => Err(Error::Http {
                call: method,
                status: status.as_u16(),
                effect: deed.effect(),
            }),
        }
    }

    /// What a failure of the HTTP client means.
    pub(crate) fn failure(&self, call: &'static str, deed: Deed, error: &reqwest::Error) -> Error {
        let endpoint = || self.endpoint.to_string();
        if error.is_builder() {
            return Error::InvalidEndpoint {
                host: self.endpoint.host().to_owned(),
                reason: "it makes no URL",
            };
        }
        if error.is_connect() {
            if let Some(refusal) = self.verifier.refused() {
                return refusal.into_error(&self.endpoint);
            }
            return match find::<rustls::Error>(error) {
                Some(tls) => Error::Tls {
                    endpoint: endpoint(),
                    reason: tls.to_string(),
                },
                None => Error::Unreachable {
                    endpoint: endpoint(),
                    reason: cause(error),
                    timed_out: error.is_timeout(),
                },
            };
        }
        if error.is_timeout() {
            return Error::Timeout {
                call,
                after: self.timeout(),
                effect: deed.effect(),
            };
        }
        Error::Lost {
            call,
            reason: cause(error),
            effect: deed.effect(),
        }
    }
}

/// An HTTP client that has no connection yet.
fn connections(
    endpoint: &Endpoint,
    verifier: &Arc<Verifier>,
    settings: &Settings,
) -> Result<reqwest::Client, Error> {
    let tls_error = |reason: String| Error::Tls {
        endpoint: endpoint.to_string(),
        reason,
    };
    let config = Arc::clone(verifier)
        .config()
        .map_err(|e| tls_error(e.to_string()))?;
    reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .user_agent(&settings.user_agent)
        // Well before the call's own time is up: else nobody could tell which of the two it was,
        // and a change that never left would count as one that may have happened.
        .connect_timeout(settings.connect_timeout.min(settings.call_timeout / 2))
        // A connection that the server is about to close for being idle must not carry a change:
        // it would count as lost. Servers wait longer than this.
        .pool_idle_timeout(Duration::from_secs(10))
        // What else is idle is closed: a session keeps one.
        .pool_max_idle_per_host(1)
        // Between two pieces of an answer that is read as it arrives.
        .read_timeout(settings.call_timeout)
        .build()
        .map_err(|e| tls_error(cause(&e)))
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
            limit: WHOLE_LIMIT,
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

/// A cause of this type, also within an `io::Error` (whose `source` leaves out what it wraps).
fn find<'e, E: std::error::Error + 'static>(
    error: &'e (dyn std::error::Error + 'static),
) -> Option<&'e E> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let within = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        if let Some(found) = within.and_then(|e| find::<E>(e)) {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
