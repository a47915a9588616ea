//! Every way in which the state directory can fail. Each message leads with the remedy.

use std::io;
use std::path::{Path, PathBuf};

/// Why the state directory, or a file in it, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Neither `PILOTHOUSE_HOME` nor `HOME` is set.
    #[error("Set `PILOTHOUSE_HOME` to an absolute path: neither it nor `HOME` is set")]
    NotSet,
    /// The path of the state directory is relative, so it would depend on where one stands.
    #[error("Set `PILOTHOUSE_HOME` to an absolute path: `{}` is relative", path.display())]
    Relative {
        /// The path that was given.
        path: PathBuf,
    },
    /// Something else than a directory lies there.
    #[error("Move `{}` away, or set `PILOTHOUSE_HOME` to a directory: it is not a directory", path.display())]
    NotADirectory {
        /// What is not a directory.
        path: PathBuf,
    },
    /// Something else than a regular file lies there.
    #[error("Replace `{}` by a regular file: it is none", path.display())]
    NotAFile {
        /// What is not a file.
        path: PathBuf,
    },
    /// The directory or file belongs to someone else.
    #[error("Run as the user with uid {owner}, or set `PILOTHOUSE_HOME` to a directory of your own: `{}` belongs to uid {owner}, and this process runs as uid {uid}", path.display())]
    Owner {
        /// What belongs to someone else.
        path: PathBuf,
        /// Whom it belongs to.
        owner: u32,
        /// Who asks.
        uid: u32,
    },
    /// Others than the owner may read or write it.
    #[error("Run `chmod {wanted:o} {}`: its mode is {mode:o}, so that others can get at it", path.display())]
    Mode {
        /// What is too open.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The mode that it should have.
        wanted: u32,
    },
    /// A name that is to become a file name.
    #[error(
        "Write the name with 1 to 64 letters a-z, digits, `.`, `_` and `-`, beginning with a letter or a digit"
    )]
    Name,
    /// A file of the operator's that does not say what it may say.
    #[error("Correct line {line} of `{}`: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, with the values that are allowed.
        reason: String,
    },
    /// A file larger than anything that belongs here.
    #[error("Replace `{}`: it is larger than {max} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit, in bytes.
        max: u64,
    },
    /// The disk is full, or a quota is used up.
    #[error("Free some space for `{}`: the disk is full", path.display())]
    Full {
        /// What could not be written.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The file system, or the directory, cannot be written.
    #[error("Make `{}` writable: it is read-only", path.display())]
    ReadOnly {
        /// What could not be written.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// There is no such file.
    #[error("Create `{}`: it does not exist", path.display())]
    Missing {
        /// What is missing.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// Any other error of the system.
    #[error("Check `{}`: {source}", path.display())]
    Io {
        /// What was tried on.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

impl HomeError {
    /// The stable code of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotSet => "home.not_set",
            Self::Relative { .. } => "home.relative",
            Self::NotADirectory { .. } => "home.not_a_directory",
            Self::NotAFile { .. } => "home.not_a_file",
            Self::Owner { .. } => "home.owner",
            Self::Mode { .. } => "home.mode",
            Self::Name => "home.name",
            Self::Content { .. } => "home.content",
            Self::TooLarge { .. } => "home.too_large",
            Self::Full { .. } => "home.full",
            Self::ReadOnly { .. } => "home.read_only",
            Self::Missing { .. } => "home.missing",
            Self::Io { .. } => "home.io",
        }
    }

    /// Whether the file is simply not there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }

    /// Sorts an error of the system.
    #[must_use]
    pub fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { path, source }
            }
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                Self::ReadOnly { path, source }
            }
            io::ErrorKind::NotFound => Self::Missing { path, source },
            _ => Self::Io { path, source },
        }
    }
}
