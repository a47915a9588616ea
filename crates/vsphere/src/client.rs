//! Connecting: look at the certificate first, log in, log out whatever happens.

use std::sync::Arc;
use std::time::Duration;

use guard::secret::Secret;
use rustls::crypto::CryptoProvider;
use tokio_util::task::TaskTracker;

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::known::Known;
use crate::lane::{Lane, Lanes};
use crate::pin::Fingerprint;
use crate::session::{self, Session};
use crate::tls::{CaBundle, Handshake, Roots, Trust, Verifier};
use crate::transport::Http;
use crate::wire::Wire;

/// How a [`Client`] behaves. [`Settings::default`] fits people's networks.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Shown in the server's list of sessions.
    pub user_agent: String,
    /// How long a connection, TLS included, may take to come about.
    pub connect_timeout: Duration,
    /// How long a call may take, answer included; for an answer that is read as it arrives:
    /// how long the server may be silent.
    pub call_timeout: Duration,
    /// How long a logout may take.
    pub logout_timeout: Duration,
    /// How many sessions may be open at the same time, of one user on one server.
    pub sessions: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            user_agent: concat!("vmware-control/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(60),
            logout_timeout: Duration::from_secs(10),
            sessions: 8,
        }
    }
}

/// A user and the password.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// As `u@vsphere.local`, `DOMAIN\u`, or plain on an ESXi host.
    pub user: String,
    /// Only ever sent to the server whose certificate was accepted.
    pub password: Secret,
}

/// Where to connect, and whom to believe.
#[derive(Clone, Debug)]
pub struct Target {
    /// The server's address.
    pub endpoint: Endpoint,
    /// Which of its certificates are accepted.
    pub trust: Trust,
    /// An id that the server writes to its own logs with every call.
    pub operation_id: Option<String>,
}

/// A connection whose certificate was looked at, and over which nothing was sent. Dropping it hangs up.
pub struct Greeted {
    fingerprint: Fingerprint,
    verifier: Arc<Verifier>,
    endpoint: Endpoint,
    ca: Option<CaBundle>,
    wire: Wire,
}

impl Greeted {
    /// Of the leaf certificate that the server showed.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// All that the server showed. Asking reads the system's roots, once for a [`Client`].
    ///
    /// # Errors
    /// [`Error::Tls`] if it showed no certificate.
    pub fn handshake(&self) -> Result<Handshake, Error> {
        let probed = self.verifier.probed();
        probed.ok_or_else(|| no_certificate(&self.endpoint))
    }

    /// The connection, if what the server showed on it is accepted there.
    fn accepted(self, target: &Target) -> Option<Wire> {
        let is_trusted = match &target.trust {
            Trust::Pinned { pin, .. } => *pin == self.fingerprint,
            Trust::Roots { ca } => {
                let verifies = |shown: Handshake| shown.unverified.is_none();
                *ca == self.ca && self.handshake().is_ok_and(verifies)
            }
        };
        (is_trusted && self.endpoint == target.endpoint).then_some(self.wire)
    }
}

fn no_certificate(endpoint: &Endpoint) -> Error {
    Error::Tls {
        endpoint: endpoint.to_string(),
        reason: "the server showed no certificate".into(),
    }
}

/// Makes sessions, and sees to it that each one ends. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) settings: Settings,
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) roots: Arc<Roots>,
    pub(crate) lanes: Lanes,
    /// What servers were like at the last login.
    pub(crate) known: Known,
    /// Logins whose caller may be gone, and logouts.
    pub(crate) tasks: TaskTracker,
}

impl Default for Client {
    fn default() -> Self {
        Self::new(Settings::default())
    }
}

impl Client {
    /// A client without any connection.
    pub fn new(settings: Settings) -> Self {
        Self {
            inner: Arc::new(Inner {
                lanes: Lanes::new(settings.sessions),
                settings,
                provider: Arc::new(rustls::crypto::ring::default_provider()),
                roots: Arc::default(),
                known: Known::default(),
                tasks: TaskTracker::new(),
            }),
        }
    }

    /// Waits until there is room for one more session of this user on this server, and takes it:
    /// see [`Settings::sessions`]. Whoever waited longest is next.
    pub async fn lane(&self, endpoint: &Endpoint, user: &str) -> Lane {
        self.inner.lanes.take(endpoint, user).await
    }

    /// Connects, looks at the certificate, and hangs up. Nothing is sent beyond the handshake: no
    /// user, no password, no request.
    ///
    /// For the first contact: store the fingerprint, then connect with [`Trust::Pinned`] to it.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Tls`], [`Error::CertificateUnusable`].
    pub async fn probe(
        &self,
        endpoint: &Endpoint,
        ca: Option<&CaBundle>,
    ) -> Result<Handshake, Error> {
        self.greet(endpoint, ca).await?.handshake()
    }

    /// As [`Client::probe`], without hanging up: what [`Client::connect_in`] asks before the login
    /// can go over the same connection, where its certificate is accepted.
    ///
    /// # Errors
    /// As [`Client::probe`].
    pub async fn greet(
        &self,
        endpoint: &Endpoint,
        ca: Option<&CaBundle>,
    ) -> Result<Greeted, Error> {
        let verifier = Arc::new(Verifier::probing(
            ca.cloned(),
            Arc::clone(&self.inner.roots),
            Arc::clone(&self.inner.provider),
        ));
        let limit = self.inner.settings.connect_timeout;
        let wire = Box::pin(Wire::open(endpoint, &verifier, limit)).await?;
        let fingerprint = verifier.shown();
        Ok(Greeted {
            fingerprint: fingerprint.ok_or_else(|| no_certificate(endpoint))?,
            verifier,
            endpoint: endpoint.clone(),
            ca: ca.cloned(),
            wire,
        })
    }

    /// Logs in. The session logs out when it is dropped, in a task of its own; see also
    /// [`Session::logout`] and [`Client::with_session`].
    ///
    /// Dropping the returned future leaves no session: a login that is on its way is waited for
    /// in the background, and its session ended.
    ///
    /// # Errors
    /// [`Error::LoginRefused`], [`Error::LoginLost`], those of the connection, those of any call.
    pub async fn connect(
        &self,
        target: Target,
        credentials: Credentials,
    ) -> Result<Session, Error> {
        let lane = self.lane(&target.endpoint, &credentials.user).await;
        self.connect_in(lane, target, credentials, None).await
    }

    /// As [`Client::connect`], in a lane that was taken before: it is free again once the session
    /// has logged out. What comes before the login goes over the connection of [`Client::greet`], if
    /// one is given whose certificate is accepted; the login goes over a new one in any case.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_in(
        &self,
        lane: Lane,
        target: Target,
        credentials: Credentials,
        greeted: Option<Greeted>,
    ) -> Result<Session, Error> {
        let greeted = greeted.and_then(|greeted| greeted.accepted(&target));
        let verifier = Arc::new(Verifier::trusting(
            target.trust,
            Arc::clone(&self.inner.roots),
            Arc::clone(&self.inner.provider),
        ));
        let http = Http::new(target.endpoint, verifier, &self.inner.settings, lane);
        if let Some(wire) = greeted {
            http.begin_on(wire);
        }
        session::open(
            Arc::clone(&self.inner),
            http,
            target.operation_id,
            credentials,
        )
        .await
    }

    /// Logs in, works, and logs out: also when the work fails, panics, or the returned future is
    /// dropped. Waits for the logout, at most [`Settings::logout_timeout`].
    ///
    /// The session is handed over shared, so that the work can make several calls at once; calls
    /// on a copy that outlives the work fail with `NotAuthenticated`.
    ///
    /// # Errors
    /// Those of [`Client::connect`], and the work's own. A failed logout is logged, not returned:
    /// it does not change what the work did.
    pub async fn with_session<T, E, W, F>(
        &self,
        target: Target,
        credentials: Credentials,
        work: W,
    ) -> Result<T, E>
    where
        W: FnOnce(Arc<Session>) -> F,
        F: Future<Output = Result<T, E>>,
        E: From<Error>,
    {
        let session = Arc::new(self.connect(target, credentials).await?);
        let end = session::EndOnDrop(&session);
        let result = work(Arc::clone(&session)).await;
        drop(end);
        if let Err(error) = session.ended().await {
            // The task has warned already.
            tracing::debug!(%error, "the work is done, the logout failed");
        }
        result
    }

    /// Waits until every login and logout that is under way has ended: for the end of a process.
    /// Returns how many have not, after `limit`.
    pub async fn drain(&self, limit: Duration) -> usize {
        self.inner.tasks.close();
        let all = tokio::time::timeout(limit, self.inner.tasks.wait()).await;
        self.inner.tasks.reopen();
        if all.is_ok() {
            0
        } else {
            self.inner.tasks.len()
        }
    }
}
