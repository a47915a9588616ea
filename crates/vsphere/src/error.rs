//! One error for everything that can go wrong between us and a vSphere server.

use std::time::Duration;

use crate::fault::Fault;
use crate::pin::Fingerprint;
use crate::value::MoRef;

/// What a failed call may have done to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it was a read, it never left, or the server refused it.
    None,
    /// It was a change, it may have arrived, and no answer tells what came of it.
    Unknown,
}

/// Why a call to a vSphere server did not succeed.
///
/// Every variant tells what to do; [`Error::effect`] tells what may have happened. The text of
/// the variants holds no password and no cookie; the text *of the server* in it is raw.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The host or port cannot be used as an address.
    #[error("Correct `host` and `port`: `{host}` cannot be used: {reason}")]
    InvalidEndpoint {
        /// As given.
        host: String,
        /// Why.
        reason: &'static str,
    },
    /// A text that XML cannot carry (a control character) was to be sent.
    #[error("Remove the control characters from `{field}`: vSphere cannot be sent them")]
    InvalidText {
        /// The name of the field in the vSphere API.
        field: String,
    },
    /// The given certificate authorities cannot be read.
    #[error("Give the certificate authorities as PEM: {reason}")]
    UnusableCa {
        /// Why.
        reason: String,
    },
    /// No connection could be made. Nothing was sent.
    #[error("Check host, port and network: {endpoint} cannot be reached: {reason}")]
    Unreachable {
        /// Where.
        endpoint: String,
        /// What the system said.
        reason: String,
        /// True if nobody answered in time, false if the connection was refused or cannot be made.
        timed_out: bool,
    },
    /// The server's certificate is another one than the pinned one, and does not verify otherwise.
    #[error(
        "Check that the certificate of {endpoint} was changed on purpose before trusting it: pinned {pinned}, seen {seen}"
    )]
    CertificateChanged {
        /// Where.
        endpoint: String,
        /// The pinned one.
        pinned: Fingerprint,
        /// The one that the server showed.
        seen: Fingerprint,
    },
    /// The certificate does not verify under the system's roots (or the given authority).
    #[error(
        "Trust the certificate's authority, or use verify_ssl=false to pin it: {endpoint} showed {seen}: {reason}"
    )]
    CertificateUntrusted {
        /// Where.
        endpoint: String,
        /// The one that the server showed.
        seen: Fingerprint,
        /// Why it does not verify.
        reason: String,
    },
    /// The certificate is unfit to prove anything, pinned or not.
    #[error("Renew the certificate of {endpoint}: {seen} cannot be used: {reason}")]
    CertificateUnusable {
        /// Where.
        endpoint: String,
        /// The one that the server showed.
        seen: Fingerprint,
        /// Why: a weak key, an unreadable certificate.
        reason: String,
    },
    /// TLS could not be established for another reason than the certificate.
    #[error("Check that {endpoint} speaks TLS 1.2 or newer: {reason}")]
    Tls {
        /// Where.
        endpoint: String,
        /// What failed.
        reason: String,
    },
    /// User or password is wrong, or the account is locked. Do not repeat: accounts get locked.
    #[error("Check user and password: the server refused the login: {message}")]
    LoginRefused {
        /// The server's words.
        message: String,
    },
    /// `Login` was sent and its answer lost: a session nobody can end may be left on the server.
    #[error(
        "Try again; the answer to the login was lost, a session may be left until it idles out: {source}"
    )]
    LoginLost {
        /// What happened.
        source: Box<Error>,
    },
    /// The server answered with a vSphere fault.
    #[error("{call} was refused by the server: {}: {}", .fault.kind, .fault.message)]
    Fault {
        /// The method.
        call: &'static str,
        /// The fault.
        fault: Box<Fault>,
        /// See [`Error::effect`].
        effect: Effect,
    },
    /// The connection was lost after the request had begun to leave.
    #[error(
        "{}: the connection was lost during {call}: {reason}", remedy("Check the network", *.effect)
    )]
    Lost {
        /// The method.
        call: &'static str,
        /// What the transport said.
        reason: String,
        /// See [`Error::effect`].
        effect: Effect,
    },
    /// No answer in time.
    #[error(
        "{}: no answer to {call} within {after:?}", remedy("Check the load of the server", *.effect)
    )]
    Timeout {
        /// The method.
        call: &'static str,
        /// How long was waited.
        after: Duration,
        /// See [`Error::effect`].
        effect: Effect,
    },
    /// An HTTP status that is neither success nor a vSphere fault; 503 while a vCenter starts or is full.
    #[error(
        "Try again later (503) or check host and port: HTTP {status} instead of an answer to {call}"
    )]
    Http {
        /// The method.
        call: &'static str,
        /// The HTTP status.
        status: u16,
        /// See [`Error::effect`].
        effect: Effect,
    },
    /// The answer is no vSphere answer: another content type, broken or truncated XML, another method's.
    #[error(
        "Check that host and port are those of a vSphere server: the answer to {call} makes no sense: {reason}"
    )]
    Malformed {
        /// The method.
        call: &'static str,
        /// What is wrong with it.
        reason: String,
        /// See [`Error::effect`].
        effect: Effect,
    },
    /// The answer is larger than any such answer may be.
    #[error("Ask for less: the answer to {call} is larger than {limit} bytes")]
    TooLarge {
        /// The method.
        call: &'static str,
        /// The limit in bytes.
        limit: u64,
        /// See [`Error::effect`].
        effect: Effect,
    },
    /// A task was started, and waiting for it failed. The task goes on without us.
    #[error("Look at the task {}: waiting for its end failed: {source}", .task.id)]
    Wait {
        /// The task that was started.
        task: MoRef,
        /// Why we no longer know about it.
        source: Box<Error>,
    },
    /// This server does not have what the call needs (a manager that only a vCenter has).
    #[error("Use a vCenter: this server has no {what}")]
    Absent {
        /// What is missing, by its name in ServiceContent.
        what: &'static str,
    },
}

/// What to do about an answer that did not come.
fn remedy(check: &str, effect: Effect) -> String {
    match effect {
        Effect::None => format!("{check}, then try again"),
        Effect::Unknown => format!("{check} and look whether it happened"),
    }
}

impl Error {
    /// What the failed call may have done. Only a change can be [`Effect::Unknown`].
    pub fn effect(&self) -> Effect {
        match self {
            Self::Fault { effect, .. }
            | Self::Lost { effect, .. }
            | Self::Timeout { effect, .. }
            | Self::Http { effect, .. }
            | Self::Malformed { effect, .. }
            | Self::TooLarge { effect, .. } => *effect,
            Self::Wait { .. } => Effect::Unknown,
            Self::InvalidEndpoint { .. }
            | Self::InvalidText { .. }
            | Self::UnusableCa { .. }
            | Self::Unreachable { .. }
            | Self::CertificateChanged { .. }
            | Self::CertificateUntrusted { .. }
            | Self::CertificateUnusable { .. }
            | Self::Tls { .. }
            | Self::LoginRefused { .. }
            | Self::LoginLost { .. }
            | Self::Absent { .. } => Effect::None,
        }
    }

    /// The fault, if the server answered with one (also while waiting for a task).
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Fault { fault, .. } => Some(fault),
            Self::Wait { source, .. } | Self::LoginLost { source } => source.fault(),
            _ => None,
        }
    }

    /// Whether it is a fault of this type (by its name in the vSphere API, as `NotAuthenticated`).
    pub fn is_fault(&self, kind: &str) -> bool {
        self.fault().is_some_and(|f| f.kind == kind)
    }

    /// Whether a session may have been left behind on the server.
    pub fn session_possibly_left(&self) -> bool {
        matches!(self, Self::LoginLost { .. })
    }
}
