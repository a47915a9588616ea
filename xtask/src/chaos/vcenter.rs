//! The vCenter of a campaign: looked at past `pilot`, and by the record that it keeps itself of
//! each request that reached it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::Programs;
use crate::mcp::Client;
use crate::sim::Vcsim;

/// The credential profile that steps refer to.
pub(super) const PROFILE: &str = "lab";
/// How long the changes of a campaign take, so that troubles meet them half-way.
const SLOWLY: &str = "PowerOffVM_Task:50,PowerOnVM_Task:50,CreateSnapshot_Task:50,\
    RemoveSnapshot_Task:50,ReconfigVM_Task:50";
/// How long sessions may take to end after the programs that opened them.
const SESSIONS: Duration = Duration::from_secs(10);
/// How often they are looked at meanwhile.
const LOOK: Duration = Duration::from_millis(100);

/// What the vCenter says of a machine.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) on: bool,
    pub(super) cpu: u64,
    pub(super) memory_mb: u64,
    pub(super) snapshots: Vec<String>,
}

/// A simulator, and the auditor's own connection to it.
pub(super) struct Vcenter {
    auditor: Client,
    /// The machines by their reference.
    pub(super) machines: BTreeMap<String, String>,
    trace: PathBuf,
    /// How often the auditor itself powered a machine on.
    own: RefCell<BTreeMap<String, usize>>,
    // Stopped last.
    _simulator: Vcsim,
}

impl Vcenter {
    /// Starts one with so many machines per pool, slow or not, and saves a profile for it in that home.
    pub(super) async fn start(
        programs: &Programs,
        home: &Path,
        dir: &Path,
        machines: usize,
        slow: bool,
    ) -> Result<Self> {
        let trace = dir.join("vcenter-trace");
        let (many, file) = (machines.to_string(), trace.to_string_lossy().into_owned());
        let mut flags = vec!["-vm", &many, "-trace-file", &file];
        if slow {
            flags.extend(["-method-delay", SLOWLY]);
        }
        if wants_to_be_told(&programs.simulator)? {
            flags.push("-trace");
        }
        let simulator = Vcsim::start(&programs.simulator, &flags)?;
        save_profile(&programs.control, home, &simulator)?;
        let environment = [
            ("PILOTHOUSE_HOME", home.as_os_str()),
            ("PILOTHOUSE_PRIVILEGES", "UNSANDBOXED_EXEC".as_ref()),
        ];
        let auditor =
            Client::start(&programs.control, &environment, &dir.join("auditor.log")).await?;
        let mut vcenter = Self {
            auditor,
            machines: BTreeMap::new(),
            trace,
            own: RefCell::default(),
            _simulator: simulator,
        };
        let listed = vcenter.ask(json!({"action": "list_vms"})).await?;
        for vm in listed["vms"].as_array().into_iter().flatten() {
            let text = |name: &str| vm[name].as_str().unwrap_or_default().to_owned();
            vcenter.machines.insert(text("moref"), text("name"));
        }
        ensure!(
            !vcenter.machines.is_empty(),
            "no machines are listed: {listed}"
        );
        Ok(vcenter)
    }

    async fn ask(&self, mut arguments: Value) -> Result<Value> {
        arguments["credential_profile"] = PROFILE.into();
        self.auditor.ask("vmware_control", arguments).await
    }

    /// Looks at a machine.
    pub(super) async fn see(&self, name: &str) -> Result<Seen> {
        let vm = self
            .ask(json!({"action": "get_vm", "vm_name": name}))
            .await?;
        let snapshots = self
            .ask(json!({"action": "snapshot_list", "vm_name": name}))
            .await?;
        let vm = &vm["vm"];
        Ok(Seen {
            on: vm["power_state"] == "poweredOn",
            cpu: vm["cpu"].as_u64().context("no number of CPUs")?,
            memory_mb: vm["memory_mb"].as_u64().context("no memory")?,
            snapshots: snapshots["snapshots"]
                .as_array()
                .context("no list of snapshots")?
                .iter()
                .filter_map(|snapshot| Some(snapshot["name"].as_str()?.to_owned()))
                .collect(),
        })
    }

    /// Powers a machine on that an earlier workflow left off.
    pub(super) async fn power_on(&self, name: &str) -> Result<()> {
        self.ask(json!({"action": "power_on", "vm_name": name}))
            .await?;
        *self.own.borrow_mut().entry(name.to_owned()).or_insert(0) += 1;
        Ok(())
    }

    /// How many sessions are left, once there are as few as `expected` or it has been waited long
    /// enough.
    pub(super) async fn sessions(&self, expected: usize) -> Result<usize> {
        let begun = Instant::now();
        loop {
            let found = self.ask(json!({"action": "list_sessions"})).await?;
            let left = found["sessions"]
                .as_array()
                .context("the answer lists no sessions")?
                .iter()
                .filter(|session| session["own"] != true)
                .count();
            if left <= expected || begun.elapsed() > SESSIONS {
                return Ok(left);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How many requests for a change of others reached it, by machine and method. Snapshots are removed by
    /// their own reference, so that method stands under no machine.
    pub(super) fn changes(&self) -> Result<BTreeMap<(String, String), usize>> {
        let text = fs::read(&self.trace).context("the simulator wrote no trace")?;
        let text = String::from_utf8_lossy(&text);
        let mut changes: BTreeMap<(String, String), usize> = BTreeMap::new();
        for request in text.split("Request: ").skip(1) {
            // Its answer follows.
            let request = request.split("Response: ").next().unwrap_or_default();
            let Some((method, machine)) = changing(request) else {
                continue;
            };
            let name = self.machines.get(machine).cloned().unwrap_or_default();
            *changes.entry((name, method.to_owned())).or_insert(0) += 1;
        }
        for (name, times) in self.own.borrow().iter() {
            let what = (name.clone(), "PowerOnVM_Task".to_owned());
            if let Some(count) = changes.get_mut(&what) {
                *count = count.saturating_sub(*times);
            }
        }
        Ok(changes)
    }

    /// Ends the auditor's connection.
    pub(super) async fn stop(self) -> Result<()> {
        self.auditor.stop().await
    }
}

/// Whether the simulator traces only when it is told so beside the file: govmomi's own command does.
fn wants_to_be_told(simulator: &Path) -> Result<bool> {
    let help = Command::new(simulator)
        .arg("-h")
        .output()
        .context("could not ask the simulator for its flags")?;
    let said = String::from_utf8_lossy(&help.stderr);
    Ok(said.lines().any(|line| line.trim() == "-trace"))
}

/// The method and the object of a request that makes a task.
fn changing(request: &str) -> Option<(&str, &str)> {
    let body = request.split_once("Body>")?.1;
    let element = body.split_once('<')?.1;
    let name = element
        .split(|c: char| c.is_whitespace() || c == '>')
        .next()?;
    let method = name.rsplit(':').next()?;
    if !method.ends_with("_Task") {
        return None;
    }
    let this = element.split_once("_this")?.1;
    let object = this.split_once('>')?.1.split('<').next()?;
    Some((method, object.trim()))
}

fn save_profile(control: &Path, home: &Path, simulator: &Vcsim) -> Result<()> {
    let mut child = Command::new(control)
        .args(["credential", "save", PROFILE, "--user", "operator"])
        .args(["--host", simulator.host()])
        .args(["--port", &simulator.port().to_string()])
        .env("PILOTHOUSE_HOME", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("could not start `vmware-control`")?;
    child
        .stdin
        .take()
        .context("no standard input")?
        .write_all(b"any-will-do\n")?;
    let out = child.wait_with_output()?;
    if !out.status.success() {
        bail!(
            "`vmware-control credential save` failed: {}",
            String::from_utf8_lossy(&out.stderr).trim()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::changing;

    #[test]
    fn only_requests_that_make_a_task_are_changes() {
        let of = |body: &str| format!("<e:Envelope><e:Body>{body}</e:Body></e:Envelope>");
        let off = of(
            r#"<PowerOffVM_Task xmlns="urn:vim25"><_this type="VirtualMachine">vm-7</_this></PowerOffVM_Task>"#,
        );
        assert_eq!(changing(&off), Some(("PowerOffVM_Task", "vm-7")));
        let look = of(
            r#"<RetrieveServiceContent><_this type="ServiceInstance">x</_this></RetrieveServiceContent>"#,
        );
        assert_eq!(changing(&look), None);
        assert_eq!(changing("no envelope"), None);
    }
}
