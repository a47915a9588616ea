//! Everything that must be there, and must be gone afterwards.

use std::cell::Cell;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Programs, tell::Tell};
use crate::mcp::Client;
use crate::sim::Vcsim;

/// The name of the credential profile that steps refer to.
pub(super) const PROFILE: &str = "lab";
/// The user that it logs in as.
const USER: &str = "operator";

/// What was set up so far; filled piece by piece, so that an interruption at
/// any moment finds what there is to clean up.
#[derive(Default)]
pub(super) struct Stage {
    home: Option<TempDir>,
    /// What the simulator is asked, as it writes it down itself. Outside of the home.
    trace: Option<TempDir>,
    simulator: Option<Vcsim>,
    agent: Option<Client>,
    auditor: Option<Client>,
    password: String,
    heard: Cell<usize>,
}

/// Who plays, once everything is set up.
#[derive(Clone, Copy)]
pub(super) struct Cast<'a> {
    /// The agent's connection: to `pilot`, and to nothing else.
    pub(super) agent: &'a Client,
    /// The auditor's own connection to `vmware-control`, past `pilot`.
    pub(super) auditor: &'a Client,
    pub(super) home: &'a Path,
    /// The password that must be found nowhere.
    pub(super) password: &'a str,
    programs: &'a Programs,
    /// Where the simulator writes down what it is asked.
    trace: &'a Path,
    /// How many answers of those who left held the password.
    heard: &'a Cell<usize>,
}

impl Cast<'_> {
    /// The same cast, with the agent at another `pilot`.
    pub(super) fn at<'b>(&'b self, agent: &'b Client) -> Cast<'b> {
        Cast { agent, ..*self }
    }

    /// Another `pilot` on the same home, as another client starts it.
    pub(super) async fn another(&self) -> Result<Client> {
        let environment = [("PILOTHOUSE_HOME", self.home.as_os_str())];
        let client = Client::start(&self.programs.pilot, &environment, &log(self.home)).await?;
        Ok(client.listening_for(self.password))
    }

    /// Ends one in order.
    pub(super) async fn dismiss(&self, client: Client) -> Result<()> {
        self.heard.set(self.heard.get() + client.heard());
        client.stop().await
    }

    /// Kills one, as `kill -9` does.
    pub(super) async fn kill(&self, client: Client) -> Result<()> {
        self.heard.set(self.heard.get() + client.heard());
        client.kill().await
    }

    /// How many answers held the password, of all that were heard so far.
    pub(super) fn heard(&self) -> usize {
        self.heard.get() + self.agent.heard() + self.auditor.heard()
    }

    /// Puts the relay between the `pilot`s that are started from now on and their companion, or
    /// takes it away again. Returns the file by which an answer is held back.
    pub(super) fn relay(&self, between: bool) -> Result<PathBuf> {
        let hold = self.trace.join("hold");
        let direct = companions(&self.programs.control);
        let configuration = if between {
            let relay = std::env::current_exe().context("where is this program?")?;
            let mut relayed = direct;
            let control = &mut relayed["mcpServers"]["control"];
            control["command"] = json!(relay);
            control["args"] = json!(["relay", hold, "--", self.programs.control, "mcp"]);
            relayed
        } else {
            direct
        };
        fs::write(self.home.join("companions.json"), configuration.to_string())
            .context("could not write companions.json")?;
        Ok(hold)
    }

    /// What the vCenter has been asked so far, in its own record.
    pub(super) fn asked(&self) -> Result<String> {
        let bytes = fs::read(self.trace.join("trace")).context("the simulator wrote no trace")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn log(home: &Path) -> PathBuf {
    home.join("demo.log")
}

impl Stage {
    /// Sets everything up.
    pub(super) async fn set(
        &mut self,
        programs: &Programs,
        keep: bool,
        tell: &mut Tell,
    ) -> Result<()> {
        let trace = tempfile::Builder::new()
            .prefix("pilothouse-demo-trace-")
            .tempdir()
            .context("could not make a directory for the simulator's record")?;
        let trace = self.trace.insert(trace).path().join("trace");
        let flag = trace
            .to_str()
            .context("the temporary directory has no name in UTF-8")?
            .to_owned();
        let program = programs.simulator.clone();
        // In another thread, so that Ctrl-C is noticed meanwhile.
        let start = move || {
            let flags = ["-trace-file", &flag];
            if keep {
                Vcsim::start_to_leave(&program, &flags)
            } else {
                Vcsim::start(&program, &flags)
            }
        };
        let simulator = self
            .simulator
            .insert(tokio::task::spawn_blocking(start).await??);
        tell.act(
            "simulator",
            format_args!(
                "listens on {}, over TLS with a certificate made just now",
                simulator.address()
            ),
        );

        let home = tempfile::Builder::new()
            .prefix("pilothouse-demo-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .context("could not make a temporary home")?;
        let home = self.home.insert(home).path();
        fs::write(
            home.join("companions.json"),
            companions(&programs.control).to_string(),
        )
        .context("could not write companions.json")?;

        tell.act(
            "operator",
            "saves a credential profile in the terminal, where no model sees the password:",
        );
        tell.more(format_args!(
            "$ vmware-control credential save {PROFILE} --host {} --port {} --user {USER}",
            simulator.host(),
            simulator.port()
        ));
        self.password = secret()?;
        let said = save_profile(&programs.control, home, simulator, &self.password)?;
        for line in said.lines() {
            tell.more(line.trim());
        }

        let log = log(home);
        let environment = [("PILOTHOUSE_HOME", home.as_os_str())];
        let agent = Client::start(&programs.pilot, &environment, &log).await?;
        self.agent = Some(agent.listening_for(&self.password));
        let environment = [
            ("PILOTHOUSE_HOME", home.as_os_str()),
            ("PILOTHOUSE_PRIVILEGES", "UNSANDBOXED_EXEC".as_ref()),
        ];
        let auditor = Client::start(&programs.control, &environment, &log).await?;
        self.auditor = Some(auditor.listening_for(&self.password));
        Ok(())
    }

    /// Who plays.
    pub(super) fn cast<'a>(&'a self, programs: &'a Programs) -> Result<Cast<'a>> {
        match (&self.agent, &self.auditor, &self.home, &self.trace) {
            (Some(agent), Some(auditor), Some(home), Some(trace)) => Ok(Cast {
                agent,
                auditor,
                home: home.path(),
                password: &self.password,
                programs,
                trace: trace.path(),
                heard: &self.heard,
            }),
            _ => bail!("the stage is not set"),
        }
    }

    /// Ends all programs and removes what they left; or leaves the simulator
    /// and the home, and says how to go on with them.
    pub(super) async fn close(
        mut self,
        keep: bool,
        programs: &Programs,
        tell: &mut Tell,
    ) -> Result<()> {
        let mut ended = Ok(());
        for client in [self.agent.take(), self.auditor.take()]
            .into_iter()
            .flatten()
        {
            // The first complaint is told; the others are still ended.
            ended = ended.and(client.stop().await);
        }
        if keep && let (Some(simulator), Some(home)) = (self.simulator.take(), self.home.take()) {
            let home = home.keep();
            let trace = self.trace.take().map(TempDir::keep).unwrap_or_default();
            let address = simulator.address();
            let (pid, scratch) = simulator.leave();
            let configuration = json!({"mcpServers": {"pilot": {
                "command": programs.pilot, "args": ["mcp"], "env": {"PILOTHOUSE_HOME": home},
            }}});
            tell.part("Going on by yourself");
            tell.line(format_args!(
                "The simulator runs on at {address}. The configuration for your MCP client:"
            ));
            tell.pause();
            tell.paste(&serde_json::to_string_pretty(&configuration)?);
            tell.pause();
            tell.line(format_args!(
                "Ask your agent, for instance: \"Which virtual machines are there? Use the skill control \
                 and the credential profile {PROFILE}.\" When you are done:"
            ));
            tell.pause();
            tell.paste(&format!(
                "kill {pid}; rm -r {} {} {}",
                home.display(),
                scratch.display(),
                trace.display()
            ));
        }
        ended
    }
}

/// Where `pilot` finds its companion. The privilege to use it is granted here,
/// by the operator, and not in the agent's own configuration.
fn companions(control: &Path) -> Value {
    json!({"mcpServers": {"control": {
        "command": control,
        "args": ["mcp"],
        "env": {"PILOTHOUSE_PRIVILEGES": "UNSANDBOXED_EXEC"},
    }}})
}

/// A password that cannot occur anywhere by chance.
fn secret() -> Result<String> {
    let mut bytes = [0; 16];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes.iter().fold(String::from("Canary-"), |text, byte| {
        format!("{text}{byte:02x}")
    }))
}

/// What the operator does in the terminal: the password goes in on standard
/// input and is in no argument, environment or file. Returns what the program said.
fn save_profile(control: &Path, home: &Path, simulator: &Vcsim, password: &str) -> Result<String> {
    let mut child = Command::new(control)
        .args([
            "credential",
            "save",
            PROFILE,
            "--host",
            simulator.host(),
            "--user",
            USER,
        ])
        .args(["--port", &simulator.port().to_string()])
        .env("PILOTHOUSE_HOME", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("could not start `vmware-control`")?;
    // Dropped at the end of the statement, so that the program sees the end.
    child
        .stdin
        .take()
        .context("no standard input")?
        .write_all(format!("{password}\n").as_bytes())?;
    let out = child.wait_with_output()?;
    if !out.status.success() {
        bail!(
            "`vmware-control credential save` failed: {}",
            String::from_utf8_lossy(&out.stderr).trim()
        );
    }
    String::from_utf8(out.stdout).context("`vmware-control` wrote no UTF-8")
}
