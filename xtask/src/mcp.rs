//! A real MCP client for the programs of this workspace, over stdio.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rmcp::model::{CallToolRequestParams, RequestMetaObject, Tool};
use rmcp::service::RunningService;
use rmcp::transport::TokioChildProcess;
use rmcp::{RoleClient, ServiceExt};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value};
use tokio::process::Command;

/// How long a server may take to end once its input has ended.
const STOP: Duration = Duration::from_secs(10);
/// How long one call may take: more than any `wait_seconds` we ask for.
const CALL: Duration = Duration::from_secs(120);

/// One server that this process started, and the connection to it.
pub(crate) struct Client {
    service: RunningService<RoleClient, ()>,
    process: u32,
    /// A text that no answer may hold, and how many did.
    canary: Option<String>,
    heard: Cell<usize>,
}

/// What a tool answered.
pub(crate) struct Answer {
    /// Whether the tool says that it failed.
    pub(crate) failed: bool,
    /// The structured content, or the text if there is none.
    pub(crate) value: Value,
}

impl Client {
    /// Starts `program mcp` with that environment in addition to our own. What
    /// it writes to standard error goes to the file `log`.
    pub(crate) async fn start<K, V>(
        program: &Path,
        environment: &[(K, V)],
        log: &Path,
    ) -> Result<Self>
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        Self::start_with(program, "mcp", environment, log).await
    }

    /// The same with another word than `mcp`.
    pub(crate) async fn start_with<K, V>(
        program: &Path,
        word: &str,
        environment: &[(K, V)],
        log: &Path,
    ) -> Result<Self>
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        let mut command = Command::new(program);
        command.arg(word);
        for (name, value) in environment {
            command.env(name, value);
        }
        // A group of its own: Ctrl-C reaches us alone, and we end it in order.
        command.process_group(0).kill_on_drop(true);
        let log = File::options()
            .create(true)
            .append(true)
            .open(log)
            .context("could not open a log file")?;
        let (child, _) = TokioChildProcess::builder(command)
            .stderr(log)
            .spawn()
            .with_context(|| format!("could not start {}", program.display()))?;
        let process = child.id().context("a server ended at once")?;
        let service = ()
            .serve(child)
            .await
            .with_context(|| format!("{} did not begin to speak MCP", program.display()))?;
        Ok(Self {
            service,
            process,
            canary: None,
            heard: Cell::new(0),
        })
    }

    /// Counts from now on the answers that hold a text that none may hold.
    pub(crate) fn listening_for(mut self, canary: &str) -> Self {
        self.canary = Some(canary.to_owned());
        self
    }

    /// How many answers held it.
    pub(crate) fn heard(&self) -> usize {
        self.heard.get()
    }

    /// The number of its process.
    pub(crate) fn process(&self) -> u32 {
        self.process
    }

    /// Whether the connection is over, whoever ended it.
    pub(crate) fn gone(&self) -> bool {
        self.service.peer().is_transport_closed()
    }

    /// Hangs up in the midst of whatever goes on.
    pub(crate) fn hang_up(&self) {
        self.service.cancellation_token().cancel();
    }

    /// The tools it offers.
    pub(crate) async fn tools(&self) -> Result<Vec<Tool>> {
        self.service
            .list_all_tools()
            .await
            .context("could not list the tools")
    }

    /// Calls a tool with an object of arguments.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Result<Answer> {
        self.call_with(tool, arguments, None).await
    }

    /// The same with what is told beside the arguments (`_meta`).
    async fn call_with(
        &self,
        tool: &str,
        arguments: Value,
        beside: Option<Map<String, Value>>,
    ) -> Result<Answer> {
        let Value::Object(arguments) = arguments else {
            bail!("arguments of `{tool}` must be an object")
        };
        let mut request = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        request.meta = beside.map(RequestMetaObject::from);
        let result = tokio::time::timeout(CALL, self.service.call_tool(request))
            .await
            .with_context(|| format!("`{tool}` did not answer within {} s", CALL.as_secs()))?
            .with_context(|| format!("could not call `{tool}`"))?;
        if let Some(canary) = &self.canary
            && serde_json::to_string(&result)?.contains(canary.as_str())
        {
            self.heard.set(self.heard.get() + 1);
        }
        let failed = result.is_error == Some(true);
        let value = match result.structured_content {
            Some(value) => value,
            None => Value::String(
                result
                    .content
                    .iter()
                    .filter_map(|part| Some(part.as_text()?.text.as_str()))
                    .collect::<Vec<_>>()
                    .join("\n"),
            ),
        };
        Ok(Answer { failed, value })
    }

    /// Calls a tool that must succeed.
    pub(crate) async fn ask(&self, tool: &str, arguments: Value) -> Result<Value> {
        self.ask_with(tool, arguments, None).await
    }

    /// The same with what is told beside the arguments (`_meta`).
    pub(crate) async fn ask_with(
        &self,
        tool: &str,
        arguments: Value,
        beside: Option<Map<String, Value>>,
    ) -> Result<Value> {
        let answer = self.call_with(tool, arguments, beside).await?;
        if answer.failed {
            bail!("`{tool}` refused: {}", answer.value);
        }
        Ok(answer.value)
    }

    /// Kills it, and it alone, as `kill -9` does, and waits until it has gone.
    pub(crate) async fn kill(self) -> Result<()> {
        let pid = i32::try_from(self.process).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a process has no number")?, Signal::KILL)
            .context("could not kill a server")?;
        // Its transport ends with it, and is waited for as in `stop`; how it ended is known.
        let _ = tokio::time::timeout(STOP, self.service.waiting())
            .await
            .context("a server outlived its kill")?;
        Ok(())
    }

    /// Ends its input and waits until it has gone.
    pub(crate) async fn stop(self) -> Result<()> {
        tokio::time::timeout(STOP, self.service.cancel())
            .await
            .context("a server did not end with its input")?
            .context("a server did not end well")?;
        Ok(())
    }
}
