//! A fake companion for tests: MCP over standard input and output, by hand with `serde_json`, so
//! that it shares no code with the client that it tests. It keeps its own ledger of what it really
//! did, which is the oracle for lost and doubled work.
//!
//! # Environment
//!
//! | variable | means |
//! |---|---|
//! | `FAKE_LEDGER` | a file; each thing that is really done is appended to it as one JSON line: `{"tool", "action", "key", "attempt", "name", "value", "pid"}` |
//! | `FAKE_STORE` | a JSON file with the values of `store`; survives the process, shared by several |
//! | `FAKE_MODE` | words, separated by commas, see below |
//! | `FAKE_FAULTS` | a file with faults that are put beside the arguments, see below; it may change while the fake runs |
//! | `FAKE_CALLS` | a file; each call that is heard is appended to it as one JSON line: `{"step", "stage", "key", "n", "fault"}` |
//! | `FAKE_NAME`, `FAKE_VERSION` | what it says it is; `fake`, `1.0.0` |
//!
//! | word of `FAKE_MODE` | what it does |
//! |---|---|
//! | `hang_start` | never answers `initialize` |
//! | `exit_start` | says two lines on standard error and ends with code 3 |
//! | `quit_start` | ends at once with code 0, without a word |
//! | `noise` | writes lines that are no messages before each of its own |
//! | `pages` | lists one tool per page |
//! | `endless` | the list of tools never ends |
//! | `list_error` | refuses `tools/list` |
//! | `bad_table` | the table of `store` is malformed |
//! | `stubborn` | does not end when its input is closed |
//! | `deaf` | reads nothing after `tools/list` |
//! | `no_newline` | the last thing it writes before an `exit_after` has no end of line |
//!
//! # Tools
//!
//! | tool | annotations | what it does |
//! |---|---|---|
//! | `peek` | read | answers `{"value": …}` of the name in the store; with `barrier: n`, only once n calls wait |
//! | `note` | write, idempotent | appends `text` to the ledger; once per key |
//! | `bump` | write, not idempotent | appends to the ledger each time |
//! | `erase` | destructive, idempotent | removes `name` from the store |
//! | `plain` | none at all | as `note`: what says nothing is treated as destructive |
//! | `env` | read | answers the names of its environment variables, sorted |
//! | `grow` | write, idempotent | adds a tool `grown`, and says `notifications/tools/list_changed` |
//! | `strict` | read | has a schema with every kind of check |
//! | `store` | a table | actions `get` (read), `set` (write, idempotent, undo `set` or `unset`, preview), `unset` (destructive, idempotent, undo `set`, preview), `add` (write, once, undo `add`, preview), `send` (write, once, no undo, preview) |
//!
//! `set`, `unset`, `add` and `send` answer previews and changes in the forms that the workflows
//! expect of a companion; the identity that they compare with `pilothouse/target` is
//! `{"server": "fake", "type": "Value", "name": …, "incarnation": n}`, where `n` is kept in the store
//! under `<name>#` (0 if it is not there): change it to pretend that the object was replaced.
//!
//! # Faults
//!
//! Every tool takes `fault` (schema: a string), and does it where it stands; a preview is only
//! faulty with `fault_on: "preview"`, an undo only with `fault_on: "undo"` (told by the key), the
//! deed itself with neither or with `"do"`. With `fault_attempts: n`, only the first n attempts
//! (by `pilothouse/attempt`) are faulty.
//!
//! Where a fault must not show in the arguments, which a person approves and an undo does not take
//! over, it is put by `FAKE_FAULTS`, a JSON list of `{"step", "stage", "fault", "from", "times"}`: the
//! calls of that step (told by the key) in that stage (`preview`, `do`, `undo`, `verify`) are faulty,
//! from the `from`-th one on (1), `times` of them (all). Calls are counted in `FAKE_CALLS`, and so
//! over the ends of processes.
//!
//! | fault | done? | answer |
//! |---|---|---|
//! | `error` | no | an error that does not say what it left |
//! | `error_none` | no | an error with `effect: none` |
//! | `error_partial` | yes | an error with `effect: partial` |
//! | `error_unknown` | yes | an error with `effect: unknown` |
//! | `error_half` | half of the value, where it has one | an error with `effect: partial` |
//! | `error_partial_not` | no | an error with `effect: partial` |
//! | `error_none_after` | yes | an error with `effect: none`: as of what an earlier attempt did that came late |
//! | `error_unknown_not` | no | an error with `effect: unknown` |
//! | `error_after` | yes | an error that does not say what it left |
//! | `error_field` | no | no `isError`, and a non-empty `error` at the top level |
//! | `dirty` | no | an error with escapes, a bidi override, a bearer token, and the value of `FAKE_PASSWORD` |
//! | `hang` | no | none; it goes on answering other calls |
//! | `lost` | yes | none |
//! | `late` | yes | only once the call was cancelled |
//! | `exit_before` | no | it ends |
//! | `exit_after` | yes | it ends |
//! | `noise` | yes | the right one, in the midst of noise |
//! | `garbage` | yes | a result that is no tool result |
//! | `garbage_not` | no | a result that is no tool result |
//! | `both` | yes | a message with a result and an error |
//! | `unreadable` | yes | a line that answers the call and is no JSON to the end |
//! | `huge` | yes | one that is larger than 16 MiB |
//! | `slow` | yes | the right one, a fifth of a second later |
//! | `text_only` | yes | the right one, as text without structured content |
//! | `preview_only` | no | a preview that nobody asked for |
//! | `no_preview` | no | one that is no preview, whatever was asked for |
//! | `rpc_params`, `rpc_method` | no | JSON-RPC error -32602, -32601 |
//! | `rpc_internal` | yes | JSON-RPC error -32603 |
//! | `input` | no | a result that asks for input |
//! | `string_id` | yes | the right one, with the number of the call as a string |
//! | `until_go` | yes | the right one, once there is a file `$FAKE_LEDGER.go`; meanwhile there is `$FAKE_LEDGER.waits`, and nothing else is heard |

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "it speaks on standard output, and ends when it is told to"
)]

mod call;
mod faults;
mod tools;

use std::collections::HashMap;
use std::io::{self, BufRead as _, Write as _};
use std::process::exit;

use call::Call;
use serde_json::{Value, json};
use tools::{tool, tools};

fn main() -> io::Result<()> {
    let mut fake = Fake::new();
    if fake.is("exit_start") {
        eprintln!("first line\nTraceback: \u{1b}[31mcannot find its configuration");
        exit(3);
    }
    if fake.is("quit_start") {
        exit(0);
    }
    for line in io::stdin().lock().lines() {
        if let Ok(message) = serde_json::from_str::<Value>(&line?) {
            fake.hear(&message);
        }
    }
    if fake.is("stubborn") {
        loop {
            std::thread::park();
        }
    }
    Ok(())
}

struct Fake {
    mode: Vec<String>,
    grown: bool,
    /// Calls that wait for others, by the number of calls that each wants.
    waiting: HashMap<u64, Vec<(Value, Value)>>,
    /// Calls that are answered once they are cancelled, by id.
    late: HashMap<String, (Value, Value)>,
}

impl Fake {
    fn new() -> Self {
        let mode = var("FAKE_MODE").unwrap_or_default();
        Self {
            mode: mode.split(',').map(str::to_owned).collect(),
            grown: false,
            waiting: HashMap::new(),
            late: HashMap::new(),
        }
    }

    fn is(&self, word: &str) -> bool {
        self.mode.iter().any(|mode| mode == word)
    }

    fn hear(&mut self, message: &Value) {
        let id = message.get("id").cloned();
        let params = message.get("params").cloned().unwrap_or_default();
        match (message["method"].as_str().unwrap_or_default(), id) {
            ("initialize", Some(_)) if self.is("hang_start") => {}
            ("initialize", Some(id)) => self.say(&result(id, json!({
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {"listChanged": true}},
                "serverInfo": {"name": var("FAKE_NAME").unwrap_or("fake".into()), "version": var("FAKE_VERSION").unwrap_or("1.0.0".into())},
            }))),
            ("ping", Some(id)) => self.say(&result(id, json!({}))),
            ("tools/list", Some(id)) if self.is("list_error") => self.say(&error(id, -32603, "no list today")),
            ("tools/list", Some(id)) => {
                let list = self.list(&params);
                self.say(&result(id, list));
                if self.is("deaf") {
                    loop {
                        std::thread::park();
                    }
                }
            }
            ("tools/call", Some(id)) => self.call(id, &params),
            ("notifications/cancelled", None) => {
                if let Some((id, answer)) = self.late.remove(&params["requestId"].to_string()) {
                    self.say(&result(id, answer));
                }
            }
            (_, Some(id)) => self.say(&error(id, -32601, "no such method")),
            (_, None) => {}
        }
    }

    fn say(&self, message: &Value) {
        let mut out = io::stdout().lock();
        if self.is("noise") {
            let _ = out.write_all(
                b"Starting up...\n{\"level\": \"info\"}\n\xff\xfe\n[1, 2]\n\n\"text\"\n",
            );
        }
        let _ = writeln!(out, "{message}");
        let _ = out.flush();
    }

    fn list(&self, params: &Value) -> Value {
        let mut tools = tools();
        if self.is("bad_table") {
            for tool in &mut tools {
                if tool.get("_meta").is_some() {
                    tool["_meta"]["pilothouse/table"]["rows"]["get"]["risk"] = json!("harmless");
                }
            }
        }
        if self.grown {
            tools.push(tool("grown", json!({"readOnlyHint": true}), json!({}), &[]));
        }
        if self.is("endless") {
            let page = params["cursor"]
                .as_str()
                .and_then(|page| page.parse::<u64>().ok())
                .unwrap_or_default();
            return json!({"tools": tools, "nextCursor": (page + 1).to_string()});
        }
        if self.is("pages") {
            let page = params["cursor"]
                .as_str()
                .and_then(|page| page.parse::<usize>().ok())
                .unwrap_or_default();
            let next = (page + 1 < tools.len()).then(|| (page + 1).to_string());
            let mut list = json!({"tools": [tools[page]]});
            if let Some(next) = next {
                list["nextCursor"] = next.into();
            }
            return list;
        }
        json!({"tools": tools})
    }

    fn call(&mut self, id: Value, params: &Value) {
        let call = Call::new(params);
        if call.tool == "grow" && !self.grown {
            self.grown = true;
            self.say(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
        }
        if let Some(barrier) = call.arguments.get("barrier").and_then(Value::as_u64) {
            let answer = call.perform();
            let waiting = self.waiting.entry(barrier).or_default();
            waiting.push((id, answer));
            if waiting.len() as u64 >= barrier {
                // The last comes first: answers need not keep the order of the calls.
                for (id, answer) in self
                    .waiting
                    .remove(&barrier)
                    .unwrap_or_default()
                    .into_iter()
                    .rev()
                {
                    self.say(&result(id, answer));
                }
            }
            return;
        }
        match call.fault().unwrap_or_default() {
            "" => self.say(&result(id, call.perform())),
            "error" => self.say(&result(id, failure(json!({"error": "it broke", "code": "fake.broken"})))),
            "error_none" => self.say(&result(id, failure(json!({"error": "it broke", "code": "fake.broken", "effect": "none"})))),
            "error_field" => self.say(&result(id, structured(json!({"error": {"message": "it broke", "code": "fake.broken", "effect": "none"}})))),
            "error_half" => {
                call.halved().perform();
                self.say(&result(id, failure(json!({"error": "it broke half way", "code": "fake.half", "effect": "partial"}))));
            }
            "error_partial_not" => self.say(&result(id, failure(json!({"error": "it broke half way", "code": "fake.half", "effect": "partial"})))),
            "error_unknown_not" => self.say(&result(id, failure(json!({"error": "it broke half way", "code": "fake.half", "effect": "unknown"})))),
            "error_partial" | "error_unknown" | "error_after" | "error_none_after" => {
                call.perform();
                let mut body = json!({"error": "it broke half way", "code": "fake.half"});
                match call.fault() {
                    Some("error_none_after") => body["effect"] = "none".into(),
                    Some("error_partial") => body["effect"] = "partial".into(),
                    Some("error_unknown") => body["effect"] = "unknown".into(),
                    _ => {}
                }
                self.say(&result(id, failure(body)));
            }
            "dirty" => {
                let token = format!("ghp_{}", "a1".repeat(18));
                let text = format!("\u{1b}[31mno\u{202E} entry\n with Bearer {token} and {}", var("FAKE_PASSWORD").unwrap_or_default());
                self.say(&result(id, json!({"isError": true, "content": [{"type": "text", "text": text}]})));
            }
            "hang" => {}
            "lost" => {
                call.perform();
            }
            "late" => {
                let answer = call.perform();
                self.late.insert(id.to_string(), (id, answer));
            }
            "exit_before" => exit(9),
            "exit_after" => {
                let answer = call.perform();
                if self.is("no_newline") {
                    print!("{}", result(id, answer));
                    let _ = io::stdout().flush();
                }
                eprintln!("fatal: the fake was told to end");
                exit(9);
            }
            "noise" => {
                let answer = call.perform();
                println!("just a line\n{{\"jsonrpc\": \"2.0\"}}\n{{\"jsonrpc\": \"2.0\", \"id\": 4711, \"result\": {{}}}}");
                self.say(&result(id, answer));
                println!("one more");
            }
            "garbage" => {
                call.perform();
                self.say(&result(id, json!("done")));
            }
            "garbage_not" => self.say(&result(id, json!("done"))),
            "both" => {
                let mut message = result(id, call.perform());
                message["error"] = json!({"code": 1, "message": "and not"});
                self.say(&message);
            }
            "unreadable" => {
                call.perform();
                println!("{{\"jsonrpc\": \"2.0\", \"id\": {id}, \"result\": {{\"content\": [\"\\ud800\"]}}}}");
            }
            "huge" => {
                call.perform();
                self.say(&result(id, structured(json!({"text": "x".repeat(17 * 1024 * 1024)}))));
            }
            "slow" => {
                let answer = call.perform();
                std::thread::sleep(std::time::Duration::from_millis(200));
                self.say(&result(id, answer));
            }
            "text_only" => {
                let mut answer = call.perform();
                answer.as_object_mut().map(|answer| answer.remove("structuredContent"));
                self.say(&result(id, answer));
            }
            "preview_only" => self.say(&result(id, structured(json!({"preview": true})))),
            "no_preview" => self.say(&result(id, structured(json!({"changed": true})))),
            "rpc_params" => self.say(&error(id, -32602, "no such argument")),
            "rpc_method" => self.say(&error(id, -32601, "no such tool")),
            "rpc_internal" => {
                call.perform();
                self.say(&error(id, -32603, "internal"));
            }
            "input" => self.say(&result(id, json!({"resultType": "input_required", "inputRequests": {}}))),
            "string_id" => {
                let answer = call.perform();
                self.say(&result(id.to_string().into(), answer));
            }
            "until_go" => {
                wait_for_go();
                let answer = call.perform();
                self.say(&result(id, answer));
            }
            other => self.say(&error(id, -32602, &format!("no such fault: {other}"))),
        }
    }
}

/// Stands still until a test says that it may go on, or is over.
fn wait_for_go() {
    let ledger = var("FAKE_LEDGER").unwrap_or_default();
    let (waits, go) = (format!("{ledger}.waits"), format!("{ledger}.go"));
    let _ = std::fs::write(&waits, "");
    let is_there = |path: &str| std::fs::exists(path).unwrap_or_default();
    while is_there(&waits) && !is_there(&go) {
        std::thread::park_timeout(std::time::Duration::from_millis(2));
    }
}

fn var(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn result(id: Value, result: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

fn error(id: Value, code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}

fn structured(body: Value) -> Value {
    json!({"content": [{"type": "text", "text": body.to_string()}], "structuredContent": body})
}

fn failure(body: Value) -> Value {
    let mut answer = structured(body);
    answer["isError"] = true.into();
    answer
}
