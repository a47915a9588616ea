//! A home with the companion that does nothing, and workflows in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::bench::companion::TIMES;
use crate::bench::startup::home;
use crate::mcp::Client;

/// As long as one call may wait. The client waits no longer than two minutes.
const WAIT_S: u64 = 100;

/// A home, and the way to its companion.
pub(super) struct Lab {
    pub(super) home: TempDir,
    /// This program, as the companion.
    pub(super) idle: PathBuf,
}

impl Lab {
    /// A home in which a plan that destroys nothing is not asked about.
    pub(super) fn new() -> Result<Self> {
        Self::with(|_| json!({}))
    }

    /// As [`Lab::new`], with a companion that writes the moment of each call down.
    pub(super) fn timed() -> Result<Self> {
        Self::with(|home| json!({TIMES: home.join("times")}))
    }

    fn with(environment: impl FnOnce(&Path) -> Value) -> Result<Self> {
        let home = home()?;
        let idle = std::env::current_exe().context("where is this program?")?;
        let companions = json!({"mcpServers": {"idle": {
            "command": idle, "args": ["companion"], "env": environment(home.path()),
        }}});
        fs::write(home.path().join("companions.json"), companions.to_string())?;
        fs::write(
            home.path().join("config.toml"),
            "plan_approval = \"destructive\"\n",
        )?;
        Ok(Self { home, idle })
    }

    /// Starts `pilot` on it.
    pub(super) async fn client(&self, pilot: &Path) -> Result<Client> {
        let environment = [("PILOTHOUSE_HOME", self.home.path())];
        Client::start(pilot, &environment, &self.log()).await
    }

    /// Starts the companion by itself.
    pub(super) async fn companion(&self) -> Result<Client> {
        let environment: [(&str, &str); 0] = [];
        Client::start_with(&self.idle, "companion", &environment, &self.log()).await
    }

    /// The moments of the calls since the last time, in nanoseconds.
    pub(super) fn take_times(&self) -> Result<Vec<u128>> {
        let path = self.home.path().join("times");
        let bytes = fs::read(&path).context("the companion wrote down no times")?;
        fs::write(&path, "")?;
        let (moments, rest) = bytes.as_chunks();
        if !rest.is_empty() {
            bail!("a moment was written in part");
        }
        Ok(moments
            .iter()
            .map(|bytes| u128::from_le_bytes(*bytes))
            .collect())
    }

    /// The database.
    pub(super) fn database(&self) -> PathBuf {
        self.home.path().join("pilot.db")
    }

    fn log(&self) -> PathBuf {
        self.home.path().join("bench.log")
    }
}

/// Makes a workflow with a step for each of the tools, and returns its id.
pub(super) async fn create(client: &Client, tools: &[&str]) -> Result<String> {
    let steps: Vec<Value> = tools
        .iter()
        .enumerate()
        .map(|(n, tool)| json!({"id": format!("s{n}"), "skill": "idle", "tool": tool, "params": {"n": n}}))
        .collect();
    let definition =
        json!({"name": "bench", "description": "Steps that do nothing.", "steps": steps});
    made(client, definition).await
}

/// Makes a workflow, and returns its id.
pub(super) async fn made(client: &Client, definition: Value) -> Result<String> {
    let made = client.ask("create_workflow", definition).await?;
    Ok(made["workflow_id"]
        .as_str()
        .context("`create_workflow` gave no id")?
        .to_owned())
}

/// Runs a workflow to its end, and returns the last answer.
pub(super) async fn run(client: &Client, id: &str) -> Result<Value> {
    let go = json!({"workflow_id": id, "wait_seconds": WAIT_S});
    let mut answer = client.ask("run_workflow", go.clone()).await?;
    while answer["outcome"] == "running" {
        answer = client.ask("get_workflow_status", go.clone()).await?;
    }
    if answer["outcome"] != "completed" {
        bail!("the measured workflow did not complete: {answer}");
    }
    Ok(answer)
}

/// Runs workflows to their ends, all at once, and returns how long it took.
pub(super) async fn run_all(client: &Rc<Client>, ids: &[String]) -> Result<Duration> {
    let begun = Instant::now();
    let mut running = JoinSet::new();
    for id in ids {
        let (client, id) = (Rc::clone(client), id.clone());
        running.spawn_local(async move { run(&client, &id).await.map(|_| ()) });
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok(begun.elapsed())
}
