//! The client's end of a conversation with a server that runs as a process.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Home, LONG, answer, decision, pilot};

impl Home {
    pub(crate) fn pilot(&self) -> Pilot {
        self.pilot_as("tests", "1.0")
    }

    /// A server whose client calls itself so.
    pub(crate) fn pilot_as(&self, name: &str, version: &str) -> Pilot {
        let mut pilot = self.fresh();
        let hello = json!({
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": name, "version": version},
        });
        pilot.request("initialize", hello).unwrap();
        pilot.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        pilot
    }

    /// A server to which nobody has said anything.
    pub(crate) fn fresh(&self) -> Pilot {
        let mut command = Command::new(pilot());
        command.arg("mcp");
        self.start(command)
    }

    /// Starts a command that becomes the server.
    pub(crate) fn start(&self, mut command: Command) -> Pilot {
        command
            .env("PILOTHOUSE_HOME", self.root())
            .env_remove("PILOTHOUSE_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines() {
                let Ok(line) = line else { return };
                // Anything that is no message on standard output is a failure of its own.
                let message =
                    serde_json::from_str(&line).unwrap_or_else(|_| json!({"noise": line}));
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let stderr = Arc::<Mutex<String>>::default();
        let log = Arc::clone(&stderr);
        let pipe = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in pipe.lines().map_while(Result::ok) {
                let mut log = log.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Pilot {
            child,
            stdin,
            lines,
            stderr,
            last: 0,
            notes: Vec::new(),
            answers: Vec::new(),
        }
    }
}

/// A running server, and the client's end of the conversation.
pub(crate) struct Pilot {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
    stderr: Arc<Mutex<String>>,
    last: u64,
    /// Notifications, in the order in which they came.
    pub(crate) notes: Vec<Value>,
    /// Answers to requests that nobody has waited for yet.
    answers: Vec<Value>,
}

impl Pilot {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    pub(crate) fn send(&mut self, message: &Value) {
        self.send_raw(&message.to_string());
    }

    pub(crate) fn send_raw(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
        stdin.flush().unwrap();
    }

    /// The next line of standard output.
    pub(crate) fn next_line(&mut self) -> Value {
        match self.lines.recv_timeout(LONG) {
            Ok(message) => {
                assert!(message.get("noise").is_none(), "not a message: {message}");
                message
            }
            Err(RecvTimeoutError::Timeout) => {
                panic!("no answer within {LONG:?}; log:\n{}", self.log())
            }
            Err(RecvTimeoutError::Disconnected) => panic!("the server ended; log:\n{}", self.log()),
        }
    }

    /// Sends a request and does not wait for its answer.
    pub(crate) fn begin(&mut self, method: &str, params: Value) -> u64 {
        self.last += 1;
        let id = self.last;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    /// Waits for the answer to a request: its result, or its JSON-RPC error.
    pub(crate) fn wait(&mut self, id: u64) -> Result<Value, Value> {
        loop {
            let known = self.answers.iter().position(|answer| answer["id"] == id);
            if let Some(at) = known {
                let mut answer = self.answers.remove(at);
                return match answer.get_mut("error") {
                    Some(error) => Err(error.take()),
                    None => Ok(answer["result"].take()),
                };
            }
            let message = self.next_line();
            if message.get("method").is_some() {
                self.notes.push(message);
            } else {
                self.answers.push(message);
            }
        }
    }

    pub(crate) fn request(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let id = self.begin(method, params);
        self.wait(id)
    }

    /// Begins a call of a tool.
    pub(crate) fn begin_call(&mut self, tool: &str, arguments: Value) -> u64 {
        self.begin("tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// What a tool answered: its structured content, which is the same as its text.
    pub(crate) fn call(&mut self, tool: &str, arguments: Value) -> Result<Value, Value> {
        let id = self.begin_call(tool, arguments);
        let result = self.wait(id).unwrap();
        answer(&result)
    }

    /// A call that must succeed.
    pub(crate) fn ok(&mut self, tool: &str, arguments: Value) -> Value {
        match self.call(tool, arguments) {
            Ok(answer) => answer,
            Err(refusal) => panic!("`{tool}` was refused: {refusal}"),
        }
    }

    /// A call that must be refused with this code, and nothing done.
    pub(crate) fn refused(&mut self, tool: &str, arguments: Value, code: &str) -> Value {
        match self.call(tool, arguments) {
            Ok(answer) => panic!("`{tool}` was not refused: {answer}"),
            Err(refusal) => {
                assert_eq!(refusal["code"], code, "{refusal}");
                assert_eq!(refusal["effect"], "none", "{refusal}");
                assert!(!refusal["error"].as_str().unwrap().is_empty(), "{refusal}");
                refusal
            }
        }
    }

    /// Makes a workflow of these steps, and gives its id.
    pub(crate) fn create(&mut self, steps: Value) -> String {
        self.create_with(steps, json!({}))
    }

    /// The same, with more fields.
    pub(crate) fn create_with(&mut self, steps: Value, more: Value) -> String {
        let mut definition =
            json!({"name": "A test", "description": "Of the tests.", "steps": steps});
        definition
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let made = self.ok("create_workflow", definition);
        assert_eq!(made["state"], "pending", "{made}");
        made["workflow_id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn run(&mut self, workflow: &str) -> Value {
        self.ok("run_workflow", json!({"workflow_id": workflow}))
    }

    pub(crate) fn status(&mut self, workflow: &str) -> Value {
        self.ok(
            "get_workflow_status",
            json!({"workflow_id": workflow, "wait_seconds": 30}),
        )
    }

    /// Approves what is open in the last answer.
    pub(crate) fn approve(&mut self, last: &Value) -> Value {
        self.ok("approve", decision(last))
    }

    /// Runs a workflow and approves whatever is asked, until it rests otherwise.
    pub(crate) fn run_approving(&mut self, workflow: &str) -> Value {
        let mut answer = self.run(workflow);
        while answer["outcome"] == "awaiting_approval" {
            answer = self.approve(&answer);
        }
        answer
    }

    /// All rows of the audit trail.
    pub(crate) fn audit(&mut self) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut cursor = Value::Null;
        loop {
            let page = self.ok("get_audit_log", json!({"limit": 200, "cursor": cursor}));
            rows.extend(page["rows"].as_array().unwrap().clone());
            cursor = page["next_cursor"].clone();
            if cursor.is_null() {
                return rows;
            }
        }
    }

    /// Closes the client's end, and waits for the server's.
    pub(crate) fn end(mut self) -> ExitStatus {
        drop(self.stdin.take());
        self.ended()
    }

    /// Waits until the process has ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                begun.elapsed() < LONG,
                "the server did not end; log:\n{}",
                self.log()
            );
            std::thread::yield_now();
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }

    /// A signal to the process, such as `TERM`.
    pub(crate) fn signal(&mut self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.pid().to_string()])
            .status();
        assert!(status.unwrap().success());
    }

    /// Ends it as a power failure would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.ended();
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        // A test that failed half way leaves nothing running; one that ended well has waited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
