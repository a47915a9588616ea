//! Privileges and who grants them: `privileges.toml` and the environment of the server.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use home::{Home, HomeError};
use serde::Deserialize;

/// What a caller may be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Privilege {
    /// To act on a vCenter or ESXi host through `vmware_control` (C5).
    UnsandboxedExec,
}

impl Privilege {
    /// All of them.
    pub const ALL: &[Self] = &[Self::UnsandboxedExec];

    /// Its name in files, in the environment and in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnsandboxedExec => "UNSANDBOXED_EXEC",
        }
    }
}

impl fmt::Display for Privilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Privilege {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL
            .iter()
            .copied()
            .find(|p| p.as_str() == name)
            .ok_or(())
    }
}

/// Why it cannot be said what is granted. Nothing is granted then.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// The file cannot be read, or is not what it must be.
    #[error(transparent)]
    File(#[from] HomeError),
    /// The environment grants something that does not exist.
    #[error(
        "Write in `PILOTHOUSE_PRIVILEGES` only {}, separated by commas: `{given}` is not a privilege",
        allowed()
    )]
    Environment {
        /// What was given, sanitised.
        given: String,
    },
}

impl PrivilegeError {
    /// The stable code of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Environment { .. } => "privilege.unknown",
        }
    }
}

fn allowed() -> String {
    Privilege::ALL
        .iter()
        .map(|p| format!("`{p}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    users: BTreeMap<String, Vec<toml::Spanned<String>>>,
}

/// What `os_user` is granted: by `[users]` in `privileges.toml`, or by the value of
/// `PILOTHOUSE_PRIVILEGES` in the environment of the server (names separated by commas).
///
/// # Errors
///
/// [`PrivilegeError`] if either grants something unknown, to whomever: a slip of the pen
/// is said, not passed over.
pub fn grants(
    home: &Home,
    env_value: Option<&str>,
    os_user: &str,
) -> Result<BTreeSet<Privilege>, PrivilegeError> {
    let mut granted = from_environment(env_value.unwrap_or_default())?;
    let path = home.privileges();
    let bytes = match home::read_owned(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.is_missing() => return Ok(granted),
        Err(e) => return Err(e.into()),
    };
    let mut users =
        parse(&bytes).map_err(|(line, reason)| HomeError::Content { path, line, reason })?;
    granted.append(&mut users.remove(os_user).unwrap_or_default());
    Ok(granted)
}

fn from_environment(value: &str) -> Result<BTreeSet<Privilege>, PrivilegeError> {
    value
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(|name| {
            name.parse().map_err(|()| PrivilegeError::Environment {
                given: guard::text::sanitize_to(name, 64),
            })
        })
        .collect()
}

fn parse(bytes: &[u8]) -> Result<BTreeMap<String, BTreeSet<Privilege>>, (usize, String)> {
    let text = std::str::from_utf8(bytes).map_err(|_| (1, "the file is not UTF-8".to_owned()))?;
    let line = |start: usize| text[..start.min(text.len())].matches('\n').count() + 1;
    let file: File = toml::from_str(text).map_err(|e| {
        (
            line(e.span().map_or(0, |s| s.start)),
            e.message().to_owned(),
        )
    })?;
    let mut users = BTreeMap::new();
    for (user, names) in file.users {
        let mut granted = BTreeSet::new();
        for name in names {
            let privilege = name.get_ref().parse().map_err(|()| {
                let given = guard::text::sanitize_to(name.get_ref(), 64);
                (
                    line(name.span().start),
                    format!("`{given}` is not a privilege; allowed: {}", allowed()),
                )
            })?;
            granted.insert(privilege);
        }
        users.insert(user, granted);
    }
    Ok(users)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn granted(file: Option<&str>, env: Option<&str>) -> Result<bool, (String, &'static str)> {
        let dir = tempfile::TempDir::new().unwrap();
        let home = Home::open(dir.path().join("home")).unwrap();
        if let Some(text) = file {
            home.write(&home.privileges(), text.as_bytes()).unwrap();
        }
        grants(&home, env, "alice")
            .map(|granted| granted.contains(&Privilege::UnsandboxedExec))
            .map_err(|e| {
                (
                    e.to_string().replace(home.root().to_str().unwrap(), "HOME"),
                    e.code(),
                )
            })
    }

    #[test]
    fn c5_nothing_is_granted_by_default() {
        assert_eq!(granted(None, None), Ok(false));
        assert_eq!(granted(Some(""), Some("")), Ok(false));
        assert_eq!(
            granted(Some("[users]\nbob = [\"UNSANDBOXED_EXEC\"]"), Some(" , ")),
            Ok(false)
        );
        assert_eq!(granted(Some("[users]\nalice = []"), None), Ok(false));
    }

    #[test]
    fn c5_the_file_or_the_environment_grants() {
        assert_eq!(
            granted(Some("[users]\nalice = [\"UNSANDBOXED_EXEC\"]"), None),
            Ok(true)
        );
        assert_eq!(granted(None, Some("UNSANDBOXED_EXEC")), Ok(true));
        assert_eq!(granted(None, Some(" UNSANDBOXED_EXEC ,")), Ok(true));
    }

    #[test]
    fn c5_what_is_unknown_is_said_with_its_line_and_what_is_allowed() {
        let file = "[users]\nalice = [\"UNSANDBOXED_EXEC\"]\nbob = [\n  \"ROOT\\u202e\",\n]";
        let (text, code) = granted(Some(file), None).unwrap_err();
        assert_eq!(code, "home.content");
        assert_eq!(
            text,
            "Correct line 4 of `HOME/privileges.toml`: `ROOT` is not a privilege; allowed: `UNSANDBOXED_EXEC`"
        );
        let (text, code) = granted(None, Some("UNSANDBOXED_EXEC,unsandboxed_exec")).unwrap_err();
        assert_eq!(code, "privilege.unknown");
        assert!(
            text.contains("`UNSANDBOXED_EXEC`") && text.contains("`unsandboxed_exec` is not"),
            "{text}"
        );
        for bad in [
            "user = 1",
            "[users]\nalice = \"UNSANDBOXED_EXEC\"",
            "[users",
            "[groups]",
        ] {
            assert_eq!(
                granted(Some(bad), Some("UNSANDBOXED_EXEC")).unwrap_err().1,
                "home.content",
                "{bad}"
            );
        }
    }
}
