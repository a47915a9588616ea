//! `companions.json`: which companions there are and how they are started.
//!
//! The file has the shape that MCP clients share (`mcpServers` with `command`, `args`, `env`).
//! `vmware-control` beside the running program is there by itself. Executables on PATH that
//! are named like a companion are shown as found, and never used until they are listed.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use guard::json::{JsonError, parse_strict};
use guard::secret::{Secret, is_secret_key};
use guard::text::sanitize_to;
use home::{Home, HomeError};
use serde_json::{Map, Value};

/// The skill that `vmware-control` beside the program is.
const BUILT_IN: &str = "control";

/// How long a companion may take to start where its entry does not say.
const START: Duration = Duration::from_secs(10);

/// The longest time that an entry may set, in seconds.
const LONGEST_S: u64 = 24 * 60 * 60;

/// Where an entry comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `companions.json`.
    Listed,
    /// `vmware-control`, beside the running program.
    BuiltIn,
}

/// How one companion is started.
#[derive(Clone)]
pub struct Entry {
    /// Its name: `[a-z][a-z0-9_-]*`, at most 64 characters.
    pub skill: String,
    /// An absolute path, or a name that is looked up on PATH.
    pub command: String,
    /// In order.
    pub args: Vec<String>,
    /// On top of the few variables that every companion gets.
    pub env: BTreeMap<String, Secret>,
    /// The longest time that one call may take; a step's own shorter one wins.
    pub timeout: Option<Duration>,
    /// How long it may take to start.
    pub start: Duration,
    /// Where this comes from.
    pub origin: Origin,
}

// The environment may hold secrets: only its names are shown.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("skill", &self.skill)
            .field("command", &self.command)
            .field("args", &self.args)
            .field("env", &self.env.keys())
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// Why the list of companions cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read, or others could have written it.
    #[error(transparent)]
    File(#[from] HomeError),
    /// It is not JSON.
    #[error("Correct `companions.json`: {0}")]
    Json(#[from] JsonError),
    /// It is JSON of another shape.
    #[error(
        "Write `companions.json` as {{\"mcpServers\": {{\"<skill>\": {{\"command\": …}}}}}}: {0}"
    )]
    Shape(&'static str),
}

impl ConfigError {
    /// The stable code of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Json(_) | Self::Shape(_) => "companion.config",
        }
    }
}

/// The companions that there are.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Those that can be started.
    pub entries: BTreeMap<String, Entry>,
    /// Those that are listed and cannot be used, each with what to do about it.
    pub unusable: BTreeMap<String, String>,
    /// What is odd about the file without being in the way.
    pub findings: Vec<String>,
}

impl Config {
    /// Reads `companions.json` in the state directory, if it is there, and adds `vmware-control`
    /// if it lies in `beside`, the directory of the running program.
    ///
    /// # Errors
    /// [`ConfigError`], when the file as a whole cannot be used. An entry that cannot be used is
    /// no error: it is in [`Config::unusable`].
    pub fn load(home: &Home, beside: Option<&Path>) -> Result<Self, ConfigError> {
        let path = home.companions();
        let mut config = match home::read_owned(&path) {
            Ok(bytes) => Self::parse(&bytes)?,
            Err(error) if error.is_missing() => Self::default(),
            Err(error) => return Err(error.into()),
        };
        let secrets = config
            .entries
            .values()
            .any(|entry| entry.env.keys().any(|key| is_secret_key(key)));
        if secrets && readable_by_others(&path) {
            config.findings.push(format!(
                "Run `chmod 600 {}`: it holds secrets, and others can read it",
                sanitize_to(&path.to_string_lossy(), 200)
            ));
        }
        if let Some(beside) = beside {
            config.add_built_in(beside);
        }
        Ok(config)
    }

    /// Reads the text of a `companions.json`.
    ///
    /// # Errors
    /// [`ConfigError`], when it is not JSON or has another shape.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let value = parse_strict(bytes)?;
        let Value::Object(file) = value else {
            return Err(ConfigError::Shape("it is no object"));
        };
        let mut config = Self::default();
        for key in file.keys().filter(|key| *key != "mcpServers") {
            config.findings.push(format!(
                "`{}` in `companions.json` is not known, and is ignored",
                shown(key)
            ));
        }
        let Some(servers) = file.get("mcpServers") else {
            return Err(ConfigError::Shape("`mcpServers` is missing"));
        };
        let Value::Object(servers) = servers else {
            return Err(ConfigError::Shape("`mcpServers` is no object"));
        };
        for (skill, entry) in servers {
            config.add(skill, entry);
        }
        Ok(config)
    }

    fn add(&mut self, skill: &str, entry: &Value) {
        if !is_skill(skill) {
            self.findings.push(format!(
                "Rename the companion `{}` in `companions.json`: a name has 1 to 64 of a-z, 0-9, `_` and `-`, beginning with a letter",
                shown(skill)
            ));
            return;
        }
        match read_entry(skill, entry, &mut self.findings) {
            Ok(entry) => {
                self.entries.insert(skill.to_owned(), entry);
            }
            Err(why) => {
                self.unusable.insert(skill.to_owned(), why);
            }
        }
    }

    fn add_built_in(&mut self, beside: &Path) {
        let program = beside.join("vmware-control");
        let listed = self.entries.contains_key(BUILT_IN) || self.unusable.contains_key(BUILT_IN);
        let Some(command) = program
            .to_str()
            .filter(|_| !listed && is_executable(&program))
        else {
            return;
        };
        let entry = Entry {
            skill: BUILT_IN.to_owned(),
            command: command.to_owned(),
            args: vec!["mcp".to_owned()],
            // No environment, so no privilege: `privileges.toml` may still grant one.
            env: BTreeMap::new(),
            timeout: None,
            start: START,
            origin: Origin::BuiltIn,
        };
        self.entries.insert(BUILT_IN.to_owned(), entry);
    }

    /// Every name that is listed or built in, usable or not.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .entries
            .keys()
            .chain(self.unusable.keys())
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        names
    }
}

fn read_entry(skill: &str, entry: &Value, findings: &mut Vec<String>) -> Result<Entry, String> {
    let fix = |what: &str| format!("Correct the companion `{skill}` in `companions.json`: {what}");
    let Value::Object(entry) = entry else {
        return Err(fix("it is no object"));
    };
    if entry.contains_key("url") || !matches!(text(entry, "type"), Ok(None | Some("stdio"))) {
        return Err(fix(
            "only companions over standard input and output can be used (`command`)",
        ));
    }
    match entry.get("disabled") {
        None | Some(Value::Bool(false)) => {}
        Some(Value::Bool(true)) => {
            return Err(format!(
                "Remove `disabled` from the companion `{skill}` in `companions.json` to use it"
            ));
        }
        Some(_) => return Err(fix("`disabled` is neither true nor false")),
    }
    for key in entry.keys() {
        if ![
            "command",
            "args",
            "env",
            "type",
            "disabled",
            "timeout_s",
            "start_timeout_s",
        ]
        .contains(&key.as_str())
        {
            findings.push(format!(
                "`{}` of the companion `{skill}` is not known, and is ignored",
                shown(key)
            ));
        }
    }
    let command = match text(entry, "command") {
        Ok(Some(command)) if !command.is_empty() && !command.contains('\0') => command,
        Ok(_) => return Err(fix("`command` is missing")),
        Err(()) => return Err(fix("`command` is no string")),
    };
    if command.contains('/') && !command.starts_with('/') {
        return Err(fix(
            "`command` is a relative path: give an absolute one, or a name that is on PATH",
        ));
    }
    let args = match entry.get("args") {
        None => Vec::new(),
        Some(Value::Array(args)) => args
            .iter()
            .map(|arg| {
                arg.as_str()
                    .filter(|arg| !arg.contains('\0'))
                    .map(str::to_owned)
            })
            .collect::<Option<_>>()
            .ok_or_else(|| fix("`args` holds something that is no string"))?,
        Some(_) => return Err(fix("`args` is no array")),
    };
    let env = match entry.get("env") {
        None => BTreeMap::new(),
        Some(Value::Object(env)) => env
            .iter()
            .map(|(key, value)| {
                let value = value.as_str().filter(|value| !value.contains('\0'))?;
                let named = !key.is_empty() && !key.contains(['=', '\0']);
                named.then(|| (key.clone(), Secret::new(value.to_owned())))
            })
            .collect::<Option<_>>()
            .ok_or_else(|| fix("`env` holds something that is no string, or a name with `=`"))?,
        Some(_) => return Err(fix("`env` is no object")),
    };
    let seconds = |key: &str| match entry.get(key) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(s @ 1..=LONGEST_S) => Ok(Some(Duration::from_secs(s))),
            _ => Err(fix(&format!(
                "`{key}` is no whole number of seconds from 1 to {LONGEST_S}"
            ))),
        },
    };
    Ok(Entry {
        skill: skill.to_owned(),
        command: command.to_owned(),
        args,
        env,
        timeout: seconds("timeout_s")?,
        start: seconds("start_timeout_s")?.unwrap_or(START),
        origin: Origin::Listed,
    })
}

/// The string under `key`, if there is one.
fn text<'a>(entry: &'a Map<String, Value>, key: &str) -> Result<Option<&'a str>, ()> {
    match entry.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(()),
    }
}

/// Whether this can be the name of a companion.
fn is_skill(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

fn shown(name: &str) -> String {
    sanitize_to(name, 64)
}

fn readable_by_others(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o044 != 0)
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The absolute directories of a PATH. A relative one would depend on where one stands.
fn directories(path: &OsStr) -> impl Iterator<Item = PathBuf> + '_ {
    std::env::split_paths(path).filter(|dir| dir.is_absolute())
}

/// The program that a command names: itself if it is a path, else the first on PATH.
pub(crate) fn program(command: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    if command.starts_with('/') {
        return Some(PathBuf::from(command));
    }
    directories(path?)
        .map(|dir| dir.join(command))
        .find(|file| is_executable(file))
}

/// Executables named `vmware-<skill>-mcp` on PATH: the first of each name.
pub(crate) fn found(path: Option<&OsStr>) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for dir in path.into_iter().flat_map(directories) {
        let Ok(files) = std::fs::read_dir(&dir) else {
            continue;
        };
        for file in files.flatten() {
            let name = file.file_name();
            let skill = name
                .to_str()
                .and_then(|name| name.strip_prefix("vmware-")?.strip_suffix("-mcp"));
            let Some(skill) = skill.filter(|skill| is_skill(skill)) else {
                continue;
            };
            if !found.contains_key(skill) && is_executable(&file.path()) {
                found.insert(skill.to_owned(), file.path());
            }
        }
    }
    found
}

/// Whether a variable of this process's environment is handed to every companion.
pub(crate) fn is_shared(name: &OsString) -> bool {
    name.to_str().is_some_and(|name| {
        matches!(
            name,
            "PATH" | "HOME" | "PILOTHOUSE_HOME" | "LANG" | "TMPDIR"
        ) || name.starts_with("LC_")
    })
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
