//! The state directory and where everything in it lies.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::{Config, HomeError, Lock, file, user};

/// An opened state directory: it exists, is the caller's own, and closed to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// Where the state directory lies: `$PILOTHOUSE_HOME`, else `$HOME/.pilothouse`.
    /// An empty variable counts as not set. Touches no file.
    ///
    /// # Errors
    ///
    /// [`HomeError::NotSet`], [`HomeError::Relative`].
    pub fn locate(env: &dyn Fn(&str) -> Option<OsString>) -> Result<PathBuf, HomeError> {
        let get = |name| {
            env(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let path = get("PILOTHOUSE_HOME")
            .or_else(|| get("HOME").map(|home| home.join(".pilothouse")))
            .ok_or(HomeError::NotSet)?;
        if path.is_relative() {
            return Err(HomeError::Relative { path });
        }
        Ok(path)
    }

    /// Opens the state directory, and creates it with mode 0700 if it is not there.
    ///
    /// A symbolic link is followed: what it leads to must satisfy the same rules.
    ///
    /// # Errors
    ///
    /// [`HomeError`]: not a directory, of another owner, or open to others; or the system's.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, HomeError> {
        let root = root.into();
        ensure_private_dir(&root, true)?;
        Ok(Self { root })
    }

    /// [`Home::locate`] and [`Home::open`] with the environment of the process.
    ///
    /// # Errors
    ///
    /// As those two.
    pub fn open_default(env: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, HomeError> {
        Self::open(Self::locate(env)?)
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The orchestrator's database.
    #[must_use]
    pub fn pilot_db(&self) -> PathBuf {
        self.root.join("pilot.db")
    }

    /// The audit chain of `vmware-control`.
    #[must_use]
    pub fn control_audit_db(&self) -> PathBuf {
        self.root.join("control-audit.db")
    }

    /// The companions and how they are started.
    #[must_use]
    pub fn companions(&self) -> PathBuf {
        self.root.join("companions.json")
    }

    /// The operator's configuration, see [`Config`].
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// Who holds which privilege.
    #[must_use]
    pub fn privileges(&self) -> PathBuf {
        self.root.join("privileges.toml")
    }

    /// The key that profiles are encrypted with.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.root.join("key")
    }

    /// How the key is derived where it comes from a passphrase.
    #[must_use]
    pub fn key_derivation(&self) -> PathBuf {
        self.root.join("key-derivation.json")
    }

    /// The connection profiles of one user of the operating system.
    ///
    /// # Errors
    ///
    /// [`HomeError::Name`] if the name cannot be a file name.
    pub fn profiles(&self, os_user: &str) -> Result<PathBuf, HomeError> {
        Ok(self.root.join("profiles").join(file_name(os_user)?))
    }

    /// One connection profile.
    ///
    /// # Errors
    ///
    /// [`HomeError::Name`] if a name cannot be a file name.
    pub fn profile(&self, os_user: &str, name: &str) -> Result<PathBuf, HomeError> {
        Ok(self
            .profiles(os_user)?
            .join(format!("{}.json", file_name(name)?)))
    }

    /// The certificate pins of one user of the operating system.
    ///
    /// # Errors
    ///
    /// [`HomeError::Name`] if the name cannot be a file name.
    pub fn pins(&self, os_user: &str) -> Result<PathBuf, HomeError> {
        Ok(self
            .root
            .join("pins")
            .join(format!("{}.json", file_name(os_user)?)))
    }

    /// The file that the lock of this name is held on.
    ///
    /// # Errors
    ///
    /// [`HomeError::Name`] if the name cannot be a file name.
    pub fn lock_file(&self, name: &str) -> Result<PathBuf, HomeError> {
        Ok(self
            .root
            .join("locks")
            .join(format!("{}.lock", file_name(name)?)))
    }

    /// The file that an owner of workflows holds a lock on while it lives.
    ///
    /// # Errors
    ///
    /// [`HomeError::Name`] if the id cannot be a file name.
    pub fn owner_file(&self, id: &str) -> Result<PathBuf, HomeError> {
        Ok(self.root.join("owners").join(file_name(id)?))
    }

    /// Where logs go, if they go to files.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Waits for the lock of this name.
    ///
    /// # Errors
    ///
    /// [`HomeError`] if the lock's file cannot be opened.
    pub fn lock(&self, name: &str) -> Result<Lock, HomeError> {
        Lock::lock(&self.prepared_lock_file(name)?)
    }

    /// Takes the lock of this name if nobody holds it.
    ///
    /// # Errors
    ///
    /// [`HomeError`] if the lock's file cannot be opened.
    pub fn try_lock(&self, name: &str) -> Result<Option<Lock>, HomeError> {
        Lock::try_lock(&self.prepared_lock_file(name)?)
    }

    fn prepared_lock_file(&self, name: &str) -> Result<PathBuf, HomeError> {
        let path = self.lock_file(name)?;
        self.ensure_dir(path.parent().unwrap_or(&self.root))?;
        Ok(path)
    }

    /// Creates a directory inside the state directory with mode 0700, parents included,
    /// and checks its owner and mode.
    ///
    /// # Errors
    ///
    /// [`HomeError`] as for [`Home::open`].
    pub fn ensure_dir(&self, path: &Path) -> Result<(), HomeError> {
        if let Some(parent) = path
            .parent()
            .filter(|p| p.starts_with(&self.root) && *p != self.root)
        {
            self.ensure_dir(parent)?;
        }
        ensure_private_dir(path, false)
    }

    /// Writes a file inside the state directory: its directory is created if need be, and
    /// the file is replaced at once, see [`crate::replace`].
    ///
    /// # Errors
    ///
    /// [`HomeError`], and the old file is still there.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), HomeError> {
        if let Some(parent) = path.parent() {
            self.ensure_dir(parent)?;
        }
        file::replace(path, bytes)
    }

    /// Reads the operator's configuration; without the file, the defaults.
    ///
    /// # Errors
    ///
    /// [`HomeError::Content`] names the line, the key and what is allowed.
    pub fn load_config(&self) -> Result<Config, HomeError> {
        Config::load(&self.config())
    }
}

/// Checks that a name can be a file name everywhere: no separator, no hidden file, no
/// surprise for a shell.
fn file_name(name: &str) -> Result<&str, HomeError> {
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let begins = name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric());
    if plain && begins && name.len() <= 64 {
        Ok(name)
    } else {
        Err(HomeError::Name)
    }
}

fn ensure_private_dir(path: &Path, parents: bool) -> Result<(), HomeError> {
    let made = fs::DirBuilder::new()
        .recursive(parents)
        .mode(0o700)
        .create(path);
    match made {
        Ok(()) => {}
        // Someone else may just have made it; and a file in its place is told apart below.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
            return Err(HomeError::NotADirectory {
                path: path.to_owned(),
            });
        }
        Err(e) => return Err(HomeError::from_io(path, e)),
    }
    let meta = fs::metadata(path).map_err(|e| HomeError::from_io(path, e))?;
    if !meta.is_dir() {
        return Err(HomeError::NotADirectory {
            path: path.to_owned(),
        });
    }
    user::check_owner(path, meta.uid())?;
    let mode = meta.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(HomeError::Mode {
            path: path.to_owned(),
            mode,
            wanted: 0o700,
        });
    }
    Ok(())
}
