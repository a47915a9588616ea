//! A server that passes everything on to a simulator, except what it is told to spoil.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio::runtime::{Handle, Runtime};

use crate::fake::{Fake, Identity, Reply, Seen};
use crate::support::PATIENCE;
use crate::vcsim::Vcsim;

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoil {
    /// The request never gets there, and the connection is closed.
    CutBefore,
    /// The server does it, and the connection is closed before the answer.
    CutAfter,
    /// The server does it, and its answer ends in the middle.
    Middle,
    /// The server does it, and says nothing for longer than anyone waits.
    Silence,
    /// The server does it, and something that is no HTTP comes back.
    Garbage,
    /// The server is too busy: it did nothing.
    Unavailable,
    /// The server does it, and a web page comes back.
    WrongType,
}

/// Every way to spoil an answer.
pub(crate) const SPOILS: [Spoil; 7] = [
    Spoil::CutBefore,
    Spoil::CutAfter,
    Spoil::Middle,
    Spoil::Silence,
    Spoil::Garbage,
    Spoil::Unavailable,
    Spoil::WrongType,
];

/// A request that was passed on, or was not.
#[derive(Debug, Clone)]
pub(crate) struct Passed {
    pub(crate) method: String,
    /// Whether the server got it and answered with success.
    pub(crate) accepted: bool,
}

#[derive(Default)]
struct State {
    /// Spoils the request that is the n-th after the login, counted from 0.
    armed: Option<(usize, Spoil)>,
    /// What came since the last [`Ground::arm`].
    passed: Vec<Passed>,
    logins: usize,
    logouts: usize,
}

/// The server in the middle.
pub(crate) struct Ground {
    /// Where it listens, at 127.0.0.1.
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
    /// Told of each logout.
    closed: Arc<Condvar>,
    _runtime: Runtime,
}

impl Ground {
    pub(crate) fn before(vcsim: &Vcsim, identity: Identity) -> Self {
        // Another test may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let upstream = format!("https://127.0.0.1:{}", vcsim.port);
        let client = reqwest::Client::builder()
            .tls_danger_accept_invalid_certs(true)
            .build()
            .unwrap();
        let state: Arc<Mutex<State>> = Arc::default();
        let closed: Arc<Condvar> = Arc::default();
        let (shared, told) = (Arc::clone(&state), Arc::clone(&closed));
        let script = move |seen: &Seen| {
            let forward = || {
                tokio::task::block_in_place(|| {
                    Handle::current().block_on(forward(&client, &upstream, seen))
                })
            };
            let reply = answer(&shared, seen, forward);
            told.notify_all();
            reply
        };
        let fake = runtime.block_on(Fake::start(identity, script));
        Self {
            port: fake.port,
            state,
            closed,
            _runtime: runtime,
        }
    }

    /// Forgets what came so far, and spoils what comes next: the n-th request after the login.
    pub(crate) fn arm(&self, spoil: Option<(usize, Spoil)>) {
        let mut state = self.state.lock().unwrap();
        state.armed = spoil;
        state.passed.clear();
    }

    /// What came after the login and before the logout since it was armed.
    pub(crate) fn passed(&self) -> Vec<Passed> {
        let passed = &self.state.lock().unwrap().passed;
        let own = passed
            .iter()
            .skip_while(|p| p.method != "Login")
            .filter(|p| p.method != "Login" && p.method != "Logout");
        own.cloned().collect()
    }

    /// Waits until every session that was opened is closed. `after` is what was done last.
    pub(crate) fn no_session_is_left(&self, after: &str) {
        let state = self.state.lock().unwrap();
        let open = |state: &mut State| state.logins > state.logouts;
        let waited = self.closed.wait_timeout_while(state, PATIENCE, open);
        assert!(
            !waited.unwrap().1.timed_out(),
            "a session is left after {after}"
        );
    }
}

/// What the simulator answers: whether with success, and the whole of it.
struct Upstream {
    status: u16,
    headers: String,
    body: Vec<u8>,
}

async fn forward(client: &reqwest::Client, upstream: &str, seen: &Seen) -> Option<Upstream> {
    let path = seen.head.split(' ').nth(1)?;
    let url = format!("{upstream}{path}");
    let mut request = if seen.method == "GET" {
        client.get(url)
    } else {
        client.post(url).body(seen.body.clone())
    };
    for name in ["content-type", "soapaction", "cookie"] {
        if let Some(value) = seen.header(name) {
            request = request.header(name, value);
        }
    }
    let response = request.send().await.ok()?;
    let mut headers = String::new();
    for name in ["content-type", "set-cookie"] {
        for value in response.headers().get_all(name) {
            headers.push_str(&format!("{name}: {}\r\n", value.to_str().ok()?));
        }
    }
    Some(Upstream {
        status: response.status().as_u16(),
        headers,
        body: response.bytes().await.ok()?.to_vec(),
    })
}

fn answer(state: &Mutex<State>, seen: &Seen, forward: impl FnOnce() -> Option<Upstream>) -> Reply {
    let spoil = {
        let mut state = state.lock().unwrap();
        let after = state.passed.iter().position(|p| p.method == "Login");
        let nth = after.map(|at| state.passed.len() - at - 1);
        match state.armed {
            Some((at, spoil)) if nth == Some(at) => {
                state.armed = None;
                Some(spoil)
            }
            _ => None,
        }
    };
    let answered = match spoil {
        Some(Spoil::CutBefore | Spoil::Unavailable) => None,
        _ => forward(),
    };
    let accepted = answered.as_ref().is_some_and(|a| a.status == 200);
    {
        let mut state = state.lock().unwrap();
        state.passed.push(Passed {
            method: seen.method.clone(),
            accepted,
        });
        match seen.method.as_str() {
            "Login" if accepted => state.logins += 1,
            "Logout" if accepted => state.logouts += 1,
            _ => {}
        }
    }
    let whole = |a: &Upstream, cut: usize| {
        let head = format!(
            "HTTP/1.1 {} Said\r\nConnection: close\r\n{}Content-Length: {}\r\n\r\n",
            a.status,
            a.headers,
            a.body.len()
        );
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&a.body[..a.body.len() - cut]);
        Reply::Raw(bytes)
    };
    match (spoil, answered) {
        (None, Some(a)) => whole(&a, 0),
        (Some(Spoil::Middle), Some(a)) => whole(&a, a.body.len() / 2),
        (Some(Spoil::Silence), _) => Reply::Late(Duration::from_secs(600), Box::new(Reply::Close)),
        (Some(Spoil::Garbage), _) => Reply::Raw(b"\x00\xff*** what is this ***\r\n\r\n".to_vec()),
        (Some(Spoil::Unavailable), _) => Reply::http("503 Service Unavailable", "", "", 0),
        (Some(Spoil::WrongType), _) => Reply::http(
            "200 OK",
            "Content-Type: text/html\r\n",
            "<html>It works!</html>",
            0,
        ),
        (Some(Spoil::CutBefore | Spoil::CutAfter), _) | (_, None) => Reply::Close,
    }
}
