//! Real companions for the tests: the fake in `examples/fake_companion/`, as a child process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use companions::{Companions, Config, Settings};
use engine::ports::{Dispatch as _, Meta, Outgoing, Unfit};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use workflow::event::{Direction, Left};
use workflow::model::{Call, Facts, ScalarKind, StepId, WorkflowId};
use workflow::reply::Reply;

/// A time that is never reached unless something hangs.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Where cargo puts the fake.
pub(crate) fn fake() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/fake_companion");
    assert!(
        path.exists(),
        "build it first: cargo build -p companions --examples"
    );
    path
}

/// Companions on a state directory of their own.
pub(crate) struct Lab {
    pub(crate) dir: TempDir,
    pub(crate) companions: Companions,
}

impl Lab {
    /// One companion, `fake`, with words for `FAKE_MODE`.
    pub(crate) fn new(mode: &str) -> Self {
        Self::with(&[(
            "fake",
            json!({"command": fake(), "env": {"FAKE_MODE": mode}}),
        )])
    }

    /// These entries of `companions.json`; each gets a ledger and a store.
    pub(crate) fn with(entries: &[(&str, Value)]) -> Self {
        Self::tuned(entries, |settings| settings)
    }

    pub(crate) fn tuned(
        entries: &[(&str, Value)],
        tune: impl FnOnce(Settings) -> Settings,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = home::Home::open(dir.path().join("home")).unwrap();
        let mut servers = Map::new();
        for (skill, entry) in entries {
            let mut entry = entry.clone();
            if entry.get("env").is_none() {
                entry["env"] = json!({});
            }
            entry["env"]["FAKE_LEDGER"] = json!(dir.path().join("ledger"));
            entry["env"]["FAKE_STORE"] = json!(dir.path().join("store"));
            servers.insert((*skill).to_owned(), entry);
        }
        std::fs::write(
            home.companions(),
            json!({"mcpServers": servers}).to_string(),
        )
        .unwrap();
        let config = Config::load(&home, None).unwrap();
        assert!(config.unusable.is_empty(), "{:?}", config.unusable);
        let settings = tune(Settings::new(config, &home));
        Self {
            companions: Companions::new(settings),
            dir,
        }
    }

    /// What the fakes really did.
    pub(crate) fn ledger(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.dir.path().join("ledger")).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub(crate) async fn describe(&self, tool: &str, arguments: Value) -> Result<Facts, Unfit> {
        self.describe_with(tool, arguments, &[]).await
    }

    pub(crate) async fn describe_with(
        &self,
        tool: &str,
        arguments: Value,
        holes: &[(&str, ScalarKind)],
    ) -> Result<Facts, Unfit> {
        let holes: BTreeMap<_, _> = holes
            .iter()
            .map(|(at, kind)| ((*at).to_owned(), *kind))
            .collect();
        self.companions
            .describe(&call("fake", tool, arguments), &holes)
            .await
    }

    pub(crate) async fn unfit(&self, tool: &str, arguments: Value) -> Unfit {
        self.describe(tool, arguments).await.unwrap_err()
    }

    /// Describes a call and sends it.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Reply {
        let outgoing = self.outgoing(tool, arguments).await;
        self.companions.call(outgoing).await
    }

    pub(crate) async fn outgoing(&self, tool: &str, arguments: Value) -> Outgoing {
        let call = call("fake", tool, arguments);
        let facts = self
            .companions
            .describe(&call, &BTreeMap::new())
            .await
            .unwrap();
        Outgoing {
            call,
            workflow: WorkflowId("wf_1".to_owned()),
            step: StepId("a".to_owned()),
            direction: Direction::Do,
            facts,
            meta: Meta {
                key: "wf_1/a/do/0".to_owned(),
                attempt: 1,
                target: None,
            },
            timeout: LONG,
        }
    }

    /// The process of the fake.
    pub(crate) async fn pid(&self) -> u64 {
        success(self.call("env", json!({})).await)["pid"]
            .as_u64()
            .unwrap()
    }
}

pub(crate) fn call(skill: &str, tool: &str, arguments: Value) -> Call {
    Call {
        skill: skill.to_owned(),
        tool: tool.to_owned(),
        arguments: arguments.as_object().unwrap().clone(),
    }
}

pub(crate) fn success(reply: Reply) -> Value {
    match reply {
        Reply::Success { body, .. } => body,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn failure(reply: Reply) -> (String, String, Left) {
    match reply {
        Reply::Failure { code, error, left } => (code, error, left),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn lost(reply: Reply) -> String {
    match reply {
        Reply::Lost { why } => why,
        other => panic!("{other:?}"),
    }
}

/// Whether a process is there, be it as a zombie.
pub(crate) fn is_there(pid: u64) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Waits for a condition, and gives up with a panic.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited in vain: {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Ends a process that this test started.
pub(crate) fn kill(pid: u64) {
    let status = std::process::Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}
