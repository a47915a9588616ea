//! What can go wrong with the store, and what a person does about it.
//!
//! One table turns every error of SQLite, of the file system and of the locks into a stable code
//! and a sentence that leads with the remedy. The sentences name `pilot.db` and nothing else of
//! the machine.

use std::io;
use std::path::PathBuf;

use engine::ports::JournalError;
use home::HomeError;
use policy::audit_file::AuditError;
use rusqlite::ErrorCode;

/// Why the journal could not be opened. Nothing was changed on the disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// A newer program wrote the database. Code `store.newer`.
    #[error(
        "Update this program: `pilot.db` has version {found}, and this build knows versions up to {known}. \
         Nothing was changed"
    )]
    Newer {
        /// The version of the database.
        found: i64,
        /// The newest version that this build knows.
        known: i64,
    },
    /// The store cannot be used. The codes are those of [`JournalError::Store`].
    #[error("{message}")]
    Store {
        /// The stable code.
        code: &'static str,
        /// What to do, for a person.
        message: String,
    },
}

impl OpenError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Newer { .. } => "store.newer",
            Self::Store { code, .. } => code,
        }
    }
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Newer { found, known } => Self::Newer { found, known },
            other => Self::Store {
                code: other.code(),
                message: other.to_string(),
            },
        }
    }
}

/// Everything that can be wrong with the store, sorted by what a person does about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error(
        "Free some space on the disk of the state directory, then call again: `pilot.db` cannot grow. Nothing of this was stored"
    )]
    Full,
    #[error(
        "Make the state directory and `pilot.db` writable for this user, then call again: they are read-only. Nothing of this was stored"
    )]
    ReadOnly,
    #[error(
        "Call again in a moment, and end any program that holds `pilot.db` for long: it stayed locked. Nothing of this was stored"
    )]
    Locked,
    #[error(
        "Move `pilot.db` and its `-wal` and `-shm` files away and put a backup in their place: {0}. Nothing was overwritten"
    )]
    Corrupted(String),
    #[error(
        "Put a backup of `pilot.db` in its place, or have its audit trail verified to learn more: {0}. Nothing was overwritten"
    )]
    Altered(String),
    #[error("Update this program: {0}")]
    Unreadable(String),
    #[error(
        "Restart this program after checking the state directory: `pilot.db` was moved, replaced or deleted while it was in use. Nothing of this was stored"
    )]
    Moved,
    #[error(
        "Update this program: `pilot.db` has version {found}, and this build knows versions up to {known}"
    )]
    Newer { found: i64, known: i64 },
    #[error("Restart this program: the journal's own thread has ended")]
    Stopped,
    #[error("Report this: the journal was asked for what cannot be: {0}. Nothing of it was stored")]
    Misuse(String),
    #[error("Check the state directory and call again: {0}")]
    Other(String),
}

impl Fault {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Full => "store.full",
            Self::ReadOnly => "store.read_only",
            Self::Locked => "store.locked",
            Self::Corrupted(_) | Self::Altered(_) => "store.corrupted",
            Self::Newer { .. } => "store.newer",
            Self::Unreadable(_)
            | Self::Moved
            | Self::Stopped
            | Self::Misuse(_)
            | Self::Other(_) => "store.failed",
        }
    }

    /// Whether the file itself is damaged, so that writing to it would make things worse.
    pub(crate) fn is_corruption(&self) -> bool {
        matches!(self, Self::Corrupted(_))
    }

    /// Of the system, on a file of the journal's.
    pub(crate) fn io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Self::ReadOnly,
            _ => Self::Other(error.to_string()),
        }
    }

    /// Of a lock or a directory of the state directory.
    pub(crate) fn home(error: &HomeError) -> Self {
        match error {
            HomeError::Full { .. } => Self::Full,
            HomeError::ReadOnly { .. } => Self::ReadOnly,
            HomeError::Missing { .. } => Self::Moved,
            HomeError::Io { source, .. } => Self::io(source),
            other => Self::Other(other.code().to_owned()),
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        let rusqlite::Error::SqliteFailure(failure, text) = &error else {
            // A column of another type than was written: somebody else wrote it.
            return match error {
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..) => {
                    Self::Altered("a row holds a value that this program never writes".to_owned())
                }
                other => Self::Other(other.to_string()),
            };
        };
        match failure.code {
            ErrorCode::DiskFull => Self::Full,
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => Self::ReadOnly,
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Locked,
            ErrorCode::DatabaseCorrupt => Self::Corrupted("the database is damaged".to_owned()),
            ErrorCode::NotADatabase => Self::Corrupted("the file is not a database".to_owned()),
            ErrorCode::ConstraintViolation => {
                Self::Misuse("a rule of its tables refuses it".to_owned())
            }
            // The shared index beside the log could not grow, which is what a full disk looks like there.
            ErrorCode::SystemIoFailure
                if failure.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE =>
            {
                Self::Full
            }
            _ => Self::Other(text.clone().unwrap_or_else(|| failure.to_string())),
        }
    }
}

impl From<Fault> for JournalError {
    fn from(fault: Fault) -> Self {
        // A newer program can migrate the database while this one runs.
        let code = match &fault {
            Fault::Newer { .. } => "store.failed",
            other => other.code(),
        };
        Self::Store {
            code,
            message: fault.to_string(),
        }
    }
}

impl From<Fault> for AuditError {
    fn from(fault: Fault) -> Self {
        let path = PathBuf::from("pilot.db");
        match fault {
            Fault::Full => Self::Full { path },
            Fault::ReadOnly => Self::ReadOnly { path },
            Fault::Locked => Self::Locked { path },
            Fault::Corrupted(_) | Fault::Altered(_) => Self::Corrupted { path },
            Fault::Stopped => Self::Closed,
            Fault::Newer { .. }
            | Fault::Unreadable(_)
            | Fault::Moved
            | Fault::Misuse(_)
            | Fault::Other(_) => {
                let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ERROR);
                let source = rusqlite::Error::SqliteFailure(code, Some(fault.to_string()));
                Self::Sql { path, source }
            }
        }
    }
}
