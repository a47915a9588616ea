//! A simulator with many VMs, and a home with a profile for it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bench::startup::home;
use crate::mcp::Client;
use crate::sim::Vcsim;

pub(in crate::bench) const PROFILE: &str = "lab";
const USER: &str = "bench";
/// The simulator accepts any.
const PASSWORD: &str = "no-secret";
/// So long may a simulator take for each thousand VMs, on a machine that has other things to do.
const START_PER_THOUSAND: Duration = Duration::from_secs(20);
const START_LEAST: Duration = Duration::from_secs(120);

/// The properties that are read of every VM. The examples have the same.
pub(super) const PROPERTIES: &[&str] = &[
    "name",
    "runtime.powerState",
    "runtime.connectionState",
    "runtime.host",
    "summary.config.numCpu",
    "summary.config.memorySizeMB",
    "summary.config.guestFullName",
    "summary.config.uuid",
    "summary.config.instanceUuid",
    "summary.config.vmPathName",
    "guest.toolsRunningStatus",
    "summary.storage.committed",
];

/// Starts a simulator with so many VMs.
pub(in crate::bench) fn simulator(program: &Path, vms: usize, flags: &[&str]) -> Result<Vcsim> {
    // Two pools, each with half of them.
    let half = (vms / 2).to_string();
    let thousands = u32::try_from(vms.div_ceil(1_000))?;
    let limit = START_LEAST.max(START_PER_THOUSAND * thousands);
    let flags: Vec<&str> = ["-vm", half.as_str()]
        .into_iter()
        .chain(flags.iter().copied())
        .collect();
    println!("A simulator with {vms} VMs is started.");
    Vcsim::start_within(program, &flags, limit)
}

/// Where a server listens, and what its clients need to reach it.
pub(in crate::bench) struct Lab {
    home: TempDir,
    host: String,
    port: u16,
}

impl Lab {
    /// A lab for the server at that place.
    pub(in crate::bench) fn at(host: &str, port: u16) -> Result<Self> {
        let home = home()?;
        fs::write(home.path().join("password"), PASSWORD)?;
        fs::write(home.path().join("pyvmomi.py"), include_str!("pyvmomi.py"))?;
        Ok(Self {
            home,
            host: host.to_owned(),
            port,
        })
    }

    /// An example of the room `vsphere`, or the script of the peer: they take the same arguments.
    pub(super) fn example(&self, program: &Path, more: &[&str]) -> Command {
        let mut command = Command::new(program);
        self.place(&mut command).args(more);
        command
    }

    pub(super) fn pyvmomi(&self, python: &Path) -> Command {
        let mut command = Command::new(python);
        command.arg(self.path("pyvmomi.py"));
        self.place(&mut command);
        command
    }

    fn place<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .args([self.host.as_str(), &self.port.to_string(), USER])
            .arg(self.path("password"))
    }

    /// `govc`, which keeps its session from one run to the next, as it does by itself.
    pub(super) fn govc(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env(
                "GOVC_URL",
                format!("https://{USER}:{PASSWORD}@{}:{}/sdk", self.host, self.port),
            )
            .env("GOVC_INSECURE", "true")
            .env("GOVMOMI_HOME", self.path("govmomi"));
        command
    }

    pub(in crate::bench) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// What the tool is started with.
    pub(in crate::bench) fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [
            ("PILOTHOUSE_HOME", self.path("")),
            ("PILOTHOUSE_PRIVILEGES", "UNSANDBOXED_EXEC".into()),
        ]
    }

    /// Saves a profile and starts the tool.
    pub(in crate::bench) async fn tool(&self, control: &Path) -> Result<Tool> {
        let mut child = Command::new(control)
            .args(["credential", "save", PROFILE, "--host", &self.host])
            .args(["--port", &self.port.to_string(), "--user", USER])
            .env("PILOTHOUSE_HOME", self.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("could not start `vmware-control`")?;
        // Dropped at the end of the statement, so that the program sees the end.
        child
            .stdin
            .take()
            .context("no standard input")?
            .write_all(format!("{PASSWORD}\n").as_bytes())?;
        let out = child.wait_with_output()?;
        if !out.status.success() {
            bail!(
                "no profile was saved: {}",
                String::from_utf8_lossy(&out.stderr).trim()
            );
        }
        let client = Client::start(control, &self.environment(), &self.path("tool.log")).await?;
        let schema = client
            .tools()
            .await?
            .into_iter()
            .find(|tool| tool.name == TOOL)
            .map(|tool| Value::Object(tool.input_schema.as_ref().clone()))
            .context("the tool is not offered")?;
        Ok(Tool {
            client,
            takes_fields: schema["properties"]["fields"].is_object(),
        })
    }
}

pub(in crate::bench) const TOOL: &str = "vmware_control";
/// Rows of a page: an answer holds somewhat fewer, and is cut before.
const ROWS: usize = 1_000;

/// The tool in a running server.
pub(in crate::bench) struct Tool {
    client: Client,
    /// Whether a list can be asked for certain properties.
    pub(super) takes_fields: bool,
}

impl Tool {
    pub(in crate::bench) async fn ask(&self, arguments: Value) -> Result<Value> {
        self.ask_with(arguments, Value::Null).await
    }

    /// The same with what is told beside the arguments (`_meta`).
    pub(in crate::bench) async fn ask_with(
        &self,
        mut arguments: Value,
        beside: Value,
    ) -> Result<Value> {
        arguments["credential_profile"] = PROFILE.into();
        let beside = beside.as_object().cloned();
        self.client.ask_with(TOOL, arguments, beside).await
    }

    /// One page of the list of all VMs: how many rows, and where the next one begins.
    pub(super) async fn page(
        &self,
        rows: usize,
        cursor: Option<Value>,
    ) -> Result<(usize, Option<Value>)> {
        let mut arguments = json!({"action": "list_vms", "limit": rows});
        if self.takes_fields {
            arguments["fields"] = json!(PROPERTIES);
        }
        if let Some(cursor) = cursor {
            arguments["cursor"] = cursor;
        }
        let mut answer = self.ask(arguments).await?;
        let count = answer["vms"].as_array().map_or(0, Vec::len);
        let cursor = answer["next_cursor"].take();
        Ok((count, cursor.is_string().then_some(cursor)))
    }

    /// All pages: how many rows, and in how many.
    pub(super) async fn all_pages(&self) -> Result<(usize, usize)> {
        let (mut rows, mut pages, mut cursor) = (0, 0, None);
        loop {
            let (more, next) = self.page(ROWS, cursor).await?;
            rows += more;
            pages += 1;
            match next {
                Some(next) if more > 0 => cursor = Some(next),
                _ => return Ok((rows, pages)),
            }
        }
    }

    /// The most memory that it held so far.
    pub(super) fn peak_kb(&self) -> u64 {
        super::timed::peak_kb(self.client.process()).unwrap_or_default()
    }

    pub(in crate::bench) async fn stop(self) -> Result<()> {
        self.client.stop().await
    }
}
