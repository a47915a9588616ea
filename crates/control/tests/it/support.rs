//! A client of the real binary, a temporary home, and a look at the simulator from outside.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::outside::{no_session_is_left, sessions};
use serde_json::{Value, json};

use crate::vcsim::Vcsim;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_vmware-control");

/// Longer than any answer takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A state directory of its own.
pub(crate) struct TestHome {
    dir: tempfile::TempDir,
}

impl TestHome {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// Every file in it with its content.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        fn walk(dir: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    walk(&path, files);
                } else {
                    files.push((path.clone(), std::fs::read(&path).unwrap_or_default()));
                }
            }
        }
        let mut files = Vec::new();
        walk(self.dir.path(), &mut files);
        files
    }
}

/// A command of the program with nothing of our environment but what it needs.
pub(crate) fn command(home: &TestHome) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("PILOTHOUSE_HOME", home.path());
    command
}

/// What a call answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) is_error: bool,
    pub(crate) body: Value,
}

impl Answer {
    /// From a JSON-RPC response; checks that text and structured content are the same.
    pub(crate) fn of(response: &Value) -> Self {
        let result = &response["result"];
        assert!(result.is_object(), "no result: {response}");
        let body = result["structuredContent"].clone();
        let text = result["content"][0]["text"].as_str().unwrap();
        assert_eq!(text, body.to_string(), "text and structured content differ");
        Self {
            is_error: result["isError"] == true,
            body,
        }
    }

    /// The body of a success.
    pub(crate) fn ok(self) -> Value {
        assert!(!self.is_error, "{}", self.body);
        self.body
    }

    /// The code of a failure; every failure says its effect.
    pub(crate) fn code(&self) -> &str {
        assert!(self.is_error, "not a failure: {}", self.body);
        assert!(
            ["none", "partial", "unknown"].contains(&self.body["effect"].as_str().unwrap()),
            "{}",
            self.body
        );
        assert!(self.body["error"].is_string(), "{}", self.body);
        self.body["code"].as_str().unwrap()
    }

    /// The answer to a change was lost, and what came of it could not be seen.
    pub(crate) fn is_lost(&self) -> &Value {
        let body = self.fails("vsphere.lost_answer", "unknown");
        assert_eq!(body["cause"]["code"], "connection.lost", "{body}");
        body
    }

    /// A failure with this code and effect.
    pub(crate) fn fails(&self, code: &str, effect: &str) -> &Value {
        assert_eq!(self.code(), code, "{}", self.body);
        assert_eq!(self.body["effect"], effect, "{}", self.body);
        &self.body
    }
}

type Waiting = Arc<Mutex<HashMap<u64, Sender<Value>>>>;

/// The running server, and a client of it.
pub(crate) struct Server {
    child: Child,
    stdin: Mutex<Option<ChildStdin>>,
    waiting: Waiting,
    next: AtomicU64,
    out: Arc<Mutex<String>>,
    err: Arc<Mutex<String>>,
}

impl Server {
    /// Starts it with the privilege, and shakes hands.
    pub(crate) fn start(home: &TestHome) -> Self {
        Self::start_with(home, &[("PILOTHOUSE_PRIVILEGES", "UNSANDBOXED_EXEC")])
    }

    pub(crate) fn start_with(home: &TestHome, env: &[(&str, &str)]) -> Self {
        Self::greeted(Self::raw(home, env))
    }

    fn greeted(server: Self) -> Self {
        let hello = server.request(
            "initialize",
            json!({
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": { "name": "test", "version": "1" }
            }),
        );
        assert_eq!(
            hello["result"]["serverInfo"]["name"], "vmware-control",
            "{hello}"
        );
        server.write(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        server
    }

    /// Starts it with arguments of its own, with the privilege, and shakes hands.
    pub(crate) fn start_as(home: &TestHome, arguments: &[&str]) -> Self {
        let env = [("PILOTHOUSE_PRIVILEGES", "UNSANDBOXED_EXEC")];
        Self::greeted(Self::raw_as(home, arguments, &env))
    }

    /// Starts it without a word.
    pub(crate) fn raw(home: &TestHome, env: &[(&str, &str)]) -> Self {
        Self::raw_as(home, &["mcp"], env)
    }

    fn raw_as(home: &TestHome, arguments: &[&str], env: &[(&str, &str)]) -> Self {
        let mut child = command(home)
            .args(arguments)
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let waiting: Waiting = Arc::default();
        let out = Arc::new(Mutex::new(String::new()));
        let err = Arc::new(Mutex::new(String::new()));
        let stdout = child.stdout.take().unwrap();
        let (to, all) = (Arc::clone(&waiting), Arc::clone(&out));
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                all.lock().unwrap().push_str(&format!("{line}\n"));
                let message: Value = serde_json::from_str(&line).expect("only JSON on stdout");
                let id = message["id"].as_u64().unwrap_or(0);
                if let Some(sender) = to.lock().unwrap().remove(&id) {
                    let _ = sender.send(message);
                }
            }
        });
        let (mut stderr, all) = (child.stderr.take().unwrap(), Arc::clone(&err));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = stderr.read(&mut buffer) {
                all.lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&buffer[..n]));
            }
        });
        let stdin = Mutex::new(child.stdin.take());
        Self {
            child,
            stdin,
            waiting,
            next: AtomicU64::new(1),
            out,
            err,
        }
    }

    /// Writes one line as it is.
    pub(crate) fn line(&self, line: &str) {
        let mut stdin = self.stdin.lock().unwrap();
        let stdin = stdin.as_mut().unwrap();
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    pub(crate) fn write(&self, message: &Value) {
        self.line(&message.to_string());
    }

    /// Registers an id, and where its answer will arrive.
    pub(crate) fn expect(&self) -> (u64, Receiver<Value>) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = channel();
        self.waiting.lock().unwrap().insert(id, sender);
        (id, receiver)
    }

    /// Sends a request, and gives where its answer will arrive.
    pub(crate) fn send(&self, method: &str, params: Value) -> (u64, Receiver<Value>) {
        let (id, receiver) = self.expect();
        self.write(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        (id, receiver)
    }

    pub(crate) fn request(&self, method: &str, params: Value) -> Value {
        let (_, receiver) = self.send(method, params);
        receiver
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("no answer to {method}; stderr: {}", self.err()))
    }

    /// Sends a call.
    pub(crate) fn start_call(&self, arguments: &Value) -> (u64, Receiver<Value>) {
        self.send(
            "tools/call",
            json!({ "name": "vmware_control", "arguments": arguments }),
        )
    }

    /// Calls the tool.
    pub(crate) fn call(&self, arguments: Value) -> Answer {
        self.call_with(arguments, json!({}))
    }

    /// Calls the tool with something in `_meta`.
    pub(crate) fn call_with(&self, arguments: Value, meta: Value) -> Answer {
        let params = json!({ "name": "vmware_control", "arguments": arguments, "_meta": meta });
        Answer::of(&self.request("tools/call", params))
    }

    pub(crate) fn cancel(&self, id: u64) {
        self.write(&json!({
            "jsonrpc": "2.0", "method": "notifications/cancelled",
            "params": { "requestId": id, "reason": "test" }
        }));
    }

    pub(crate) fn out(&self) -> String {
        self.out.lock().unwrap().clone()
    }

    pub(crate) fn err(&self) -> String {
        self.err.lock().unwrap().clone()
    }

    /// Closes standard input.
    pub(crate) fn close(&self) {
        drop(self.stdin.lock().unwrap().take());
    }

    pub(crate) fn terminate(&self) {
        let status = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                Instant::now() < until,
                "the server does not end: {}",
                self.err()
            );
            std::thread::yield_now();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Listens like a server and counts who comes.
pub(crate) struct Listener {
    pub(crate) port: u16,
    count: Arc<AtomicUsize>,
}

impl Listener {
    /// Accepts, counts, and keeps every connection open without a word.
    pub(crate) fn silent() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::SeqCst);
                kept.push(stream);
            }
        });
        Self { port, count }
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

/// The arguments that connect to the simulator.
pub(crate) fn to(vcsim: &Vcsim, arguments: Value) -> Value {
    let mut all = json!({
        "host": Vcsim::HOST, "port": vcsim.port, "user": Vcsim::USER, "password": Vcsim::PASSWORD
    });
    merge(&mut all, &arguments);
    all
}

pub(crate) fn merge(all: &mut Value, more: &Value) {
    for (key, value) in more.as_object().unwrap() {
        all[key] = value.clone();
    }
}

/// A server, its home, a simulator, and a saved profile `lab` for it.
pub(crate) struct Lab {
    pub(crate) server: Server,
    pub(crate) home: TestHome,
    pub(crate) vcsim: Vcsim,
}

impl Lab {
    pub(crate) fn new(flags: &[&str]) -> Self {
        let home = TestHome::new();
        let vcsim = Vcsim::start(flags);
        let server = Server::start(&home);
        let lab = Self {
            server,
            home,
            vcsim,
        };
        let saved = lab.server.call(to(
            &lab.vcsim,
            json!({ "action": "credential_save", "credential_profile": "lab" }),
        ));
        assert_eq!(saved.ok()["pinned"], true);
        lab
    }

    /// Calls with the profile.
    pub(crate) fn call(&self, action: &str, arguments: Value) -> Answer {
        self.call_with(action, arguments, json!({}))
    }

    pub(crate) fn call_with(&self, action: &str, arguments: Value, meta: Value) -> Answer {
        let mut all = json!({ "action": action, "credential_profile": "lab" });
        merge(&mut all, &arguments);
        self.server.call_with(all, meta)
    }

    /// The first VM of the list, as `(row, name)`.
    pub(crate) fn vm(&self) -> Value {
        self.call("list_vms", json!({})).ok()["vms"][0].clone()
    }

    /// One VM in detail.
    pub(crate) fn look(&self, vm: &Value) -> Value {
        let mut vm = self.call("get_vm", json!({ "moref": vm["moref"] })).ok()["vm"].clone();
        // What every change moves, and its undo does not move back.
        for moving in ["change_version", "booted", "cpu_used_mhz", "memory_used_mb"] {
            vm.as_object_mut().unwrap().remove(moving);
        }
        vm
    }

    /// The other sessions that are on the simulator now.
    pub(crate) fn sessions(&self) -> usize {
        sessions(&self.vcsim)
    }

    /// Waits until no other session is left.
    pub(crate) fn no_session_is_left(&self) {
        no_session_is_left(&self.vcsim);
    }
}

/// Waits for something to become true, by looking again and again.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "never came about: {what}");
        std::thread::yield_now();
    }
}
