//! The real program over standard input and output, with a JSON-RPC client of the tests' own.

mod client;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

pub(crate) use client::Pilot;

/// A time that is never reached unless something hangs.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// The program.
pub(crate) fn pilot() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_pilot"))
}

/// The fake companion, whose own documentation tells what it can do. Built where it is not there.
pub(crate) fn fake() -> &'static Path {
    static FAKE: OnceLock<PathBuf> = OnceLock::new();
    FAKE.get_or_init(|| {
        let pilot = pilot();
        let profile = pilot.parent().unwrap();
        let fake = profile.join("examples/fake_companion");
        if !fake.exists() {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args([
                "build",
                "--quiet",
                "-p",
                "companions",
                "--example",
                "fake_companion",
            ]);
            cargo.arg("--target-dir").arg(profile.parent().unwrap());
            if profile.ends_with("release") {
                cargo.arg("--release");
            }
            assert!(
                cargo.status().unwrap().success(),
                "the fake companion was not built"
            );
        }
        fake
    })
}

/// A state directory with one companion, `fake`, whose ledger and store lie beside it.
pub(crate) struct Home {
    dir: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self::with_fake(&[])
    }

    /// With these variables in the fake's environment.
    pub(crate) fn with_fake(env: &[(&str, &str)]) -> Self {
        let home = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(home.root()).unwrap();
        fs::set_permissions(home.root(), fs::Permissions::from_mode(0o700)).unwrap();
        let mut vars = Map::from_iter([
            ("FAKE_LEDGER".to_owned(), json!(home.ledger_file())),
            ("FAKE_STORE".to_owned(), json!(home.store_file())),
        ]);
        vars.extend(
            env.iter()
                .map(|(name, value)| ((*name).to_owned(), json!(value))),
        );
        let servers = json!({"mcpServers": {"fake": {"command": fake(), "env": vars}}});
        home.write("companions.json", servers.to_string());
        home
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    fn ledger_file(&self) -> PathBuf {
        self.dir.path().join("ledger")
    }

    fn store_file(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.root().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Whether the fake stands still in a call with the fault `until_go`.
    pub(crate) fn waits(&self) -> bool {
        self.ledger_file().with_added_extension("waits").exists()
    }

    /// Lets the fake go on.
    pub(crate) fn go(&self) {
        fs::write(self.ledger_file().with_added_extension("go"), "").unwrap();
    }

    /// What the fake really did, in order.
    pub(crate) fn ledger(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.ledger_file()).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The step and direction of each thing that the fake really did: `set_a/do`.
    pub(crate) fn deeds(&self) -> Vec<String> {
        self.ledger()
            .iter()
            .map(|line| {
                let key: Vec<&str> = line["key"].as_str().unwrap().split('/').collect();
                format!("{}/{}", key[1], key[2])
            })
            .collect()
    }

    /// The values that the fake holds.
    pub(crate) fn store(&self) -> Value {
        let text = fs::read_to_string(self.store_file()).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_else(|_| json!({}))
    }

    pub(crate) fn set_store(&self, values: &Value) {
        fs::write(self.store_file(), values.to_string()).unwrap();
    }

    /// Every file in the state directory, with what it holds.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        let mut dirs = vec![self.root()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    let bytes = fs::read(&path).unwrap();
                    files.push((path, bytes));
                }
            }
        }
        assert!(!files.is_empty());
        files
    }

    /// Which files hold the words, as they are or in UTF-16 as SQLite never writes them.
    pub(crate) fn holding(&self, words: &str) -> Vec<PathBuf> {
        let found = |bytes: &[u8]| {
            bytes
                .windows(words.len())
                .any(|window| window == words.as_bytes())
        };
        self.files()
            .into_iter()
            .filter(|(_, bytes)| found(bytes))
            .map(|(path, _)| path)
            .collect()
    }
}

/// What a tool's result says, after checking that its text is the very same JSON.
pub(crate) fn answer(result: &Value) -> Result<Value, Value> {
    let body = result["structuredContent"].clone();
    assert!(body.is_object(), "{result}");
    let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(text, body);
    let size = body.to_string().chars().count();
    assert!(
        size <= 61_000,
        "an answer of {size} characters fits no agent"
    );
    if result["isError"] == true {
        Err(body)
    } else {
        Ok(body)
    }
}

/// The arguments of a decision on what is open in the last answer.
pub(crate) fn decision(last: &Value) -> Value {
    let id = &last["approval"]["id"];
    assert!(id.is_string(), "nothing is open: {last}");
    json!({"workflow_id": last["workflow_id"], "approval_id": id, "approver": "Alice"})
}

/// A step of the tool `store`.
pub(crate) fn store(id: &str, action: &str, name: &str, value: Value) -> Value {
    let mut params = json!({"action": action, "name": name});
    if !value.is_null() {
        params["value"] = value;
    }
    json!({"id": id, "skill": "fake", "tool": "store", "params": params})
}

/// A step of another tool.
pub(crate) fn step(id: &str, tool: &str, params: Value) -> Value {
    json!({"id": id, "skill": "fake", "tool": tool, "params": params})
}

/// A step that fails, and says that it left nothing behind.
pub(crate) fn failing(id: &str) -> Value {
    step(id, "note", json!({"text": "never", "fault": "error_none"}))
}

/// The row of a step in an answer.
pub(crate) fn row<'a>(answer: &'a Value, id: &str) -> &'a Value {
    let rows = answer["steps"].as_array().unwrap();
    rows.iter()
        .find(|row| row["id"] == id)
        .unwrap_or_else(|| panic!("no step `{id}` in {answer}"))
}

/// Waits until something holds.
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LONG, "never came: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
