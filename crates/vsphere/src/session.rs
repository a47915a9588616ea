//! A session on a server, from login to logout.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::{Credentials, Inner};
use crate::endpoint::Endpoint;
use crate::envelope::Envelope;
use crate::error::Error;
use crate::known::Server;
use crate::pin::Fingerprint;
use crate::tls::Accepted;
use crate::transport::{Deed, Http};
use crate::value::{MoRef, Value};
use crate::version;

/// What a server says of itself (`AboutInfo`), raw; empty where it says nothing.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct About {
    /// As `VMware vCenter Server`.
    pub name: String,
    /// Name, version and build in one.
    pub full_name: String,
    /// As `8.0.3`.
    pub version: String,
    /// The build number.
    pub build: String,
    /// `VirtualCenter` or `HostAgent`.
    pub api_type: String,
    /// The newest version of the API it speaks.
    pub api_version: String,
    /// The id of this installation; a standalone host has none.
    pub instance_uuid: String,
    /// As `linux-x64`, `vmnix-x86`.
    pub os_type: String,
}

impl About {
    /// Whether this is a vCenter and not a standalone host.
    pub fn is_vcenter(&self) -> bool {
        self.api_type == "VirtualCenter"
    }
}

/// The managers of a server: each reference as the server names it. What it does not have is absent.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ServiceContent {
    value: Value,
    /// See [`About`].
    pub about: About,
}

impl ServiceContent {
    fn new(value: Value) -> Self {
        let text = |name| {
            value
                .at("about")
                .and_then(|a| a.text_at(name))
                .unwrap_or_default()
                .to_owned()
        };
        let about = About {
            name: text("name"),
            full_name: text("fullName"),
            version: text("version"),
            build: text("build"),
            api_type: text("apiType"),
            api_version: text("apiVersion"),
            instance_uuid: text("instanceUuid"),
            os_type: text("osType"),
        };
        Self { value, about }
    }

    /// The reference of that name, as `searchIndex` or `taskManager`.
    pub fn find(&self, name: &str) -> Option<MoRef> {
        self.value.get(name).and_then(Value::as_moref)
    }

    /// As [`ServiceContent::find`], where there is no going on without it.
    ///
    /// # Errors
    /// [`Error::Absent`].
    pub fn need(&self, name: &'static str) -> Result<MoRef, Error> {
        self.find(name).ok_or(Error::Absent { what: name })
    }
}

/// One session of the server's list (`UserSession`), raw.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct UserSession {
    /// The session's key; it gives no access.
    pub key: String,
    /// The user in the server's own spelling.
    pub user_name: String,
    /// The user's full name.
    pub full_name: String,
    /// When it began, as the server writes times (ISO 8601).
    pub login_time: String,
    /// When it was last used.
    pub last_active_time: String,
    /// From where, if the server says so.
    pub ip_address: String,
    /// With which program, if the server says so.
    pub user_agent: String,
}

impl UserSession {
    pub(crate) fn from_value(value: &Value) -> Self {
        let text = |name| value.text_at(name).unwrap_or_default().to_owned();
        Self {
            key: text("key"),
            user_name: text("userName"),
            full_name: text("fullName"),
            login_time: text("loginTime"),
            last_active_time: text("lastActiveTime"),
            ip_address: text("ipAddress"),
            user_agent: text("userAgent"),
        }
    }
}

/// A session on a server. Calls take `&self` and may run at the same time.
///
/// Dropping it logs out, in a task of its own on the runtime that it was made on.
pub struct Session {
    core: Arc<Core>,
}

pub(crate) struct Core {
    pub(crate) client: Arc<Inner>,
    pub(crate) http: Http,
    server: Server,
    pub(crate) user: UserSession,
    operation_id: Option<String>,
    runtime: Handle,
    ended: AtomicBool,
    ending: Mutex<Option<JoinHandle<Result<(), Error>>>>,
}

/// Logs in within a task of its own: if the caller goes away, the answer is still received, and
/// the session that nobody wants is dropped, which logs it out.
pub(crate) async fn open(
    client: Arc<Inner>,
    http: Http,
    operation_id: Option<String>,
    credentials: Credentials,
) -> Result<Session, Error> {
    let (hand_over, handed) = oneshot::channel();
    client.tasks.clone().spawn(async move {
        let result = log_in(client, http, operation_id, credentials, || {
            hand_over.is_closed()
        })
        .await;
        // Nobody there any more: the session comes back and is dropped.
        drop(hand_over.send(result));
    });
    // The task ends without handing over only if its runtime is shut down.
    handed.await.unwrap_or_else(|_| {
        Err(Error::Lost {
            call: "Login",
            reason: "the program is ending".into(),
            effect: crate::Effect::None,
        })
    })
}

async fn log_in(
    client: Arc<Inner>,
    http: Http,
    operation_id: Option<String>,
    credentials: Credentials,
    unwanted: impl Fn() -> bool,
) -> Result<Session, Error> {
    let endpoint = http.endpoint().clone();
    let operation = operation_id.as_deref();
    // What the server was like a short while ago spares two calls and a connection: the login goes
    // first over a new one, and what the server is like now is asked after it.
    let remembered = client.known.get(&endpoint);
    let is_remembered = remembered.is_some();
    let server = match remembered {
        Some(server) => server,
        None => look(&http, operation, None).await?,
    };
    http.set_version(&server.version);
    let manager = server.content.need("sessionManager")?;

    let mut login = Envelope::new("Login", &manager, operation);
    login
        .text("userName", &credentials.user)
        .text("password", credentials.password.expose())
        .text("locale", "en_US");
    let lost_caller = || Error::Lost {
        call: "Login",
        reason: "the call was cancelled before it".into(),
        effect: crate::Effect::None,
    };
    if unwanted() {
        return Err(lost_caller());
    }
    // A login that got lost leaves a session that nobody can end.
    http.hang_up();
    let answer = http.call(login, Deed::Once).await;
    if answer.is_err() {
        client.known.forget(&endpoint);
    }
    // It was another server, or another version of it: nobody looked at the password.
    let is_elsewhere =
        |error: &Error| is_remembered && ELSEWHERE.iter().any(|kind| error.is_fault(kind));
    if answer.as_ref().is_err_and(is_elsewhere) {
        return Box::pin(log_in(client, http, operation_id, credentials, unwanted)).await;
    }
    drop(credentials);
    let mut core = Core {
        client,
        http,
        server,
        user: UserSession::default(),
        operation_id,
        runtime: Handle::current(),
        ended: AtomicBool::new(false),
        ending: Mutex::new(None),
    };
    match answer {
        Ok(answer) if core.http.has_cookie() => {
            core.user = answer
                .get("returnval")
                .map(UserSession::from_value)
                .unwrap_or_default();
            core.look_again(&endpoint, is_remembered).await
        }
        Ok(_) => Err(Error::LoginLost {
            source: Box::new(Error::Malformed {
                call: "Login",
                reason: "it came without a session cookie".into(),
                effect: crate::Effect::None,
            }),
        }),
        Err(Error::Fault { fault, .. }) if fault.kind == "InvalidLogin" => {
            Err(Error::LoginRefused {
                message: fault.message,
            })
        }
        Err(
            error @ (Error::Lost { .. }
            | Error::Timeout { .. }
            | Error::Malformed { .. }
            | Error::TooLarge { .. }),
        ) => {
            if core.http.has_cookie() {
                // The head of the answer came through: what it opened can be closed.
                drop(Session {
                    core: Arc::new(core),
                });
            }
            Err(Error::LoginLost {
                source: Box::new(error),
            })
        }
        Err(error) => Err(error),
    }
}

/// What a server says of a call that it does not understand.
const ELSEWHERE: &[&str] = &["ManagedObjectNotFound", "MethodNotFound", "InvalidRequest"];

/// Asks a server what it is like. Of one that is as before, the version is known.
async fn look(
    http: &Http,
    operation: Option<&str>,
    before: Option<Server>,
) -> Result<Server, Error> {
    let instance = MoRef::new("ServiceInstance", "ServiceInstance");
    let ask = Envelope::new("RetrieveServiceContent", &instance, operation);
    let answer = http.call(ask, Deed::Read).await?;
    let content = ServiceContent::new(answer.get("returnval").cloned().unwrap_or_default());
    if let Some(before) = before.filter(|before| before.content == content) {
        return Ok(before);
    }
    let all = ["sessionManager", "propertyCollector", "rootFolder"];
    if all.iter().any(|name| content.find(name).is_none()) {
        return Err(Error::Malformed {
            call: "RetrieveServiceContent",
            reason: "it names no session manager, property collector or root folder".into(),
            effect: crate::Effect::None,
        });
    }
    let file = http
        .file("/sdk/vimServiceVersions.xml", "vimServiceVersions", 1 << 20)
        .await?;
    let mut version = None;
    if let Some(file) = file {
        version = version::newest_common(&file).await;
    }
    let version = version.unwrap_or_else(|| version::from_about(&content.about.api_version));
    Ok(Server { content, version })
}

/// How often a logout is tried: it does no harm twice, and a session that is left is in the way of
/// others until it idles out.
const LOGOUTS: u32 = 3;

fn logout_timeout(after: Duration) -> Error {
    Error::Timeout {
        call: "Logout",
        after,
        effect: crate::Effect::None,
    }
}

impl Core {
    /// The session of a login, once it is known what the server is like now.
    async fn look_again(
        mut self,
        endpoint: &Endpoint,
        is_remembered: bool,
    ) -> Result<Session, Error> {
        if is_remembered {
            let before = Some(self.server.clone());
            let looked = look(&self.http, self.operation_id.as_deref(), before).await;
            match looked {
                Ok(server) => self.server = server,
                Err(error) => {
                    self.client.known.forget(endpoint);
                    // The session that nobody gets is logged out.
                    drop(Session {
                        core: Arc::new(self),
                    });
                    return Err(error);
                }
            }
            self.http.set_version(&self.server.version);
        }
        self.client.known.put(endpoint, self.server.clone());
        Ok(Session {
            core: Arc::new(self),
        })
    }

    /// Logs out, tried again while no server answers it. Each try may take `limit`.
    async fn log_out(&self, limit: Duration) -> Result<(), Error> {
        let manager = self.server.content.need("sessionManager")?;
        let mut tries = 1;
        loop {
            let envelope = Envelope::new("Logout", &manager, self.operation_id.as_deref());
            let answer = tokio::time::timeout(limit, self.http.call(envelope, Deed::Once)).await;
            match answer.unwrap_or_else(|_| Err(logout_timeout(limit))) {
                Ok(_) => return Ok(()),
                // The server has already ended it (also an earlier try of ours, its answer lost).
                Err(error) if error.is_fault("NotAuthenticated") => return Ok(()),
                Err(error) if error.fault().is_some() || tries == LOGOUTS => return Err(error),
                Err(error) => tracing::debug!(%error, tries, "a logout is tried again"),
            }
            tries += 1;
        }
    }

    /// Starts the logout, once.
    fn end(self: &Arc<Self>) {
        if self.ended.swap(true, Ordering::AcqRel) {
            return;
        }
        let core = Arc::clone(self);
        let task = async move {
            let limit = core.client.settings.logout_timeout;
            let logout = core.log_out(limit / LOGOUTS);
            let result = match tokio::time::timeout(limit, logout).await {
                Ok(result) => result,
                Err(_) => Err(logout_timeout(limit)),
            };
            if let Err(error) = &result {
                tracing::warn!(%error, "a session is left on the server until it idles out");
            }
            result
        };
        let task = self.client.tasks.spawn_on(task, &self.runtime);
        *self.ending.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }
}

/// Ends a session at the end of a scope, also when others still hold it.
pub(crate) struct EndOnDrop<'s>(pub(crate) &'s Session);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.core.end();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.core.end();
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("about", &self.core.server.content.about)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Starts the logout, and does not wait for it: see [`Session::logout`]. Calls that are still to
    /// come fail with `NotAuthenticated`.
    pub fn begin_logout(&self) {
        self.core.end();
    }

    /// Logs out, or waits for a logout that was begun.
    ///
    /// # Errors
    /// Why the session may be left on the server until it idles out.
    pub async fn logout(self) -> Result<(), Error> {
        self.core.end();
        self.ended().await
    }

    /// Waits for a logout that was started.
    pub(crate) async fn ended(&self) -> Result<(), Error> {
        let task = self
            .core
            .ending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match task {
            Some(task) => task.await.unwrap_or(Ok(())),
            None => Ok(()),
        }
    }

    /// The server's managers.
    pub fn content(&self) -> &ServiceContent {
        &self.core.server.content
    }

    /// What the server says of itself.
    pub fn about(&self) -> &About {
        &self.core.server.content.about
    }

    /// The version of the API that is spoken in this session.
    pub fn api_version(&self) -> &str {
        &self.core.server.version
    }

    /// Our own entry in the server's list of sessions.
    pub fn user(&self) -> &UserSession {
        &self.core.user
    }

    /// The certificate that was accepted, and why. [`Accepted::Roots`] under a pin means that it
    /// is another one than the pinned.
    pub fn certificate(&self) -> Option<(Fingerprint, Accepted)> {
        self.core.http.verifier().accepted()
    }

    /// What all sessions of its client share.
    pub(crate) fn client(&self) -> &Inner {
        &self.core.client
    }

    pub(crate) fn http(&self) -> &Http {
        &self.core.http
    }

    pub(crate) fn envelope(&self, method: &'static str, this: &MoRef) -> Envelope {
        Envelope::new(method, this, self.core.operation_id.as_deref())
    }

    /// Calls a method and takes the answer's `returnval`.
    pub(crate) async fn call(
        &self,
        envelope: Envelope,
        deed: Deed,
    ) -> Result<Option<Value>, Error> {
        let mut answer = self.core.http.call(envelope, deed).await?;
        let at = answer.fields.iter().position(|(n, _)| &**n == "returnval");
        Ok(at.map(|at| answer.fields.swap_remove(at).1))
    }
}
