//! A home with its companions, and what they did.

use std::cell::{Cell, RefCell};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::Programs;
use super::plan::{BASE, Deed, MORE, Plan, Step};
use super::vcenter::Vcenter;
use crate::mcp::Client;

/// The environment variable of `home::crash`.
const CRASH_AT: &str = "PILOTHOUSE_CRASH_AT";

/// One home. Removed when this is dropped, unless something was found in it.
pub(super) struct Stage {
    dir: RefCell<Option<TempDir>>,
    path: PathBuf,
    programs: Rc<Programs>,
    vcenter: Option<Vcenter>,
    begun: Instant,
    /// How many servers were started on it.
    pub(super) started: Cell<usize>,
}

impl Stage {
    /// A home with the fake companion; with the real one and a vCenter of so many machines per
    /// pool, slow or not, if there are to be any.
    pub(super) async fn set(programs: &Rc<Programs>, machines: usize, slow: bool) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("pilothouse-chaos-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .context("could not make a temporary home")?;
        let path = dir.path().to_owned();
        let mut stage = Self {
            dir: RefCell::new(Some(dir)),
            path,
            programs: Rc::clone(programs),
            vcenter: None,
            begun: Instant::now(),
            started: Cell::new(0),
        };
        fs::create_dir(stage.home())?;
        fs::set_permissions(stage.home(), Permissions::from_mode(0o700))?;
        let environment =
            json!({"FAKE_LEDGER": stage.ledger_file(), "FAKE_STORE": stage.store_file()});
        let mut servers =
            json!({"fake": {"command": programs.fake, "args": [], "env": environment}});
        if machines > 0 {
            servers["control"] = json!({
                "command": programs.control, "args": ["mcp"],
                "env": {"PILOTHOUSE_PRIVILEGES": "UNSANDBOXED_EXEC"},
            });
        }
        let file = stage.home().join("companions.json");
        fs::write(&file, json!({"mcpServers": servers}).to_string())?;
        fs::set_permissions(&file, Permissions::from_mode(0o600))?;
        if machines > 0 {
            let vcenter =
                Vcenter::start(programs, &stage.home(), &stage.path, machines, slow).await?;
            stage.vcenter = Some(vcenter);
        }
        Ok(stage)
    }

    fn home(&self) -> PathBuf {
        self.path.join("home")
    }

    fn ledger_file(&self) -> PathBuf {
        self.path.join("ledger")
    }

    fn store_file(&self) -> PathBuf {
        self.path.join("store")
    }

    /// Keeps everything, and says where.
    pub(super) fn keep(&self) -> &Path {
        if let Some(dir) = self.dir.borrow_mut().take() {
            let _ = dir.keep();
        }
        &self.path
    }

    /// Adds a line to the diary, for whoever has to find out what happened.
    pub(super) fn note(&self, what: &str) -> Result<()> {
        let mut diary = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path.join("diary"))?;
        let since = self.begun.elapsed().as_millis();
        Ok(writeln!(diary, "{since:>8} ms {what}")?)
    }

    /// The vCenter of this home.
    pub(super) fn vcenter(&self) -> Result<&Vcenter> {
        self.vcenter.as_ref().context("there is no vCenter")
    }

    /// Ends what belongs to the stage itself.
    pub(super) async fn strike(mut self) -> Result<()> {
        match self.vcenter.take() {
            Some(vcenter) => vcenter.stop().await,
            None => Ok(()),
        }
    }

    /// Starts a server; with what it says on standard error, which goes to a file of its own. With
    /// `crash` it ends there.
    pub(super) async fn start(&self, crash: Option<&str>) -> Result<(Client, PathBuf)> {
        let number = self.started.get() + 1;
        self.started.set(number);
        let log = self.path.join(format!("pilot-{number}.log"));
        let home = self.home();
        let mut environment = vec![("PILOTHOUSE_HOME", home.as_os_str())];
        if let Some(at) = crash {
            environment.push((CRASH_AT, at.as_ref()));
        }
        let client = Client::start(&self.programs.pilot, &environment, &log).await?;
        Ok((client, log))
    }

    /// Puts the values there that a plan works on.
    pub(super) fn furnish(&self, plan: &Plan) -> Result<()> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.store_file())?;
        file.lock()?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let mut values: Map<String, Value> = serde_json::from_str(&text).unwrap_or_default();
        for step in plan.steps() {
            let before = match step.deed {
                Deed::Add => json!(BASE),
                Deed::Unset => json!("old"),
                _ => continue,
            };
            values.insert(plan.value(step), before);
        }
        let whole = format!("{:1$}", Value::Object(values).to_string(), text.len());
        file.rewind()?;
        file.write_all(whole.as_bytes())?;
        Ok(())
    }

    /// What the fake companion really did, in order.
    pub(super) fn ledger(&self) -> Result<Vec<Value>> {
        let text = fs::read_to_string(self.ledger_file()).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).context("a line of the ledger is torn"))
            .collect()
    }

    fn store(&self) -> Result<Value> {
        // Shared, so that it is not read while it is written.
        let mut text = String::new();
        match File::open(self.store_file()) {
            Ok(mut file) => {
                file.lock_shared()?;
                file.read_to_string(&mut text)?;
            }
            Err(_) => return Ok(json!({})),
        }
        serde_json::from_str(&text).context("the store is torn")
    }

    /// Whether a step is in effect, seen past `pilot`.
    pub(super) async fn in_effect(&self, workflow: &str, plan: &Plan, step: &Step) -> Result<bool> {
        let name = plan.value(step);
        let value = || -> Result<Value> { Ok(self.store()?[&name].clone()) };
        let seen = async || {
            let machine = plan.machine_of(step).context("the plan has no machine")?;
            self.vcenter()?.see(machine).await
        };
        Ok(match step.deed {
            Deed::Set => match value()? {
                Value::Null => false,
                found if found == "new" => true,
                found => bail!("`{name}` is {found}"),
            },
            Deed::Add => match value()?.as_i64() {
                Some(BASE) => false,
                Some(found) if found == BASE + MORE => true,
                found => bail!("`{name}` is {found:?}: done twice, or undone twice"),
            },
            Deed::Unset => match value()? {
                Value::Null => true,
                found if found == "old" => false,
                found => bail!("`{name}` is {found}"),
            },
            Deed::Send => {
                let key = format!("{workflow}/{}/do/", step.id);
                let mut lines = self.ledger()?.into_iter();
                lines.any(|line| line["key"].as_str().is_some_and(|k| k.starts_with(&key)))
            }
            Deed::Fails | Deed::Reset => false,
            Deed::Snapshot => {
                let all = seen().await?.snapshots;
                match all.iter().filter(|name| **name == plan.tag).count() {
                    0 => false,
                    1 => true,
                    many => bail!("there are {many} snapshots `{}`", plan.tag),
                }
            }
            Deed::Off => !seen().await?.on,
            Deed::On => seen().await?.on,
            Deed::Size => {
                let (now, (cpu, memory_mb)) = (seen().await?, plan.size(step));
                (now.cpu, now.memory_mb) == (cpu, memory_mb)
            }
        })
    }

    /// The events of a workflow, in order, as (kind, body): read past `pilot`.
    pub(super) fn events(&self, workflow: &str) -> Result<Vec<(String, Value)>> {
        let journal = Connection::open_with_flags(
            self.home().join("pilot.db"),
            OpenFlags::SQLITE_OPEN_READ_ONLY,
        )?;
        let mut query =
            journal.prepare("SELECT kind, body FROM event WHERE workflow = ?1 ORDER BY seq")?;
        let rows = query.query_map([workflow], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })?;
        rows.map(|row| {
            let (kind, body) = row?;
            Ok((kind, serde_json::from_str(&body)?))
        })
        .collect()
    }
}
