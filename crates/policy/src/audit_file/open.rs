//! Opening the database, and what its errors mean.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use home::HomeError;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{AuditError, PATIENCE};
use crate::audit_store;

/// `PRAGMA application_id`: "PHau".
const APPLICATION: i32 = 0x5048_6175;

/// `PRAGMA user_version` of the layout below.
const VERSION: i32 = 1;

const PAYLOAD_DDL: &str = "
CREATE TABLE payload (
    seq  INTEGER PRIMARY KEY REFERENCES audit (seq),
    json TEXT NOT NULL
) STRICT;
";

/// Opens the database; the caller holds the lock.
pub(super) fn open(path: &Path) -> Result<Connection, AuditError> {
    create(path)?;
    identity(path)?;
    let connection = connect(path)
        .map_err(|e| classify(path, e))?
        .ok_or_else(|| AuditError::Corrupted {
            path: path.to_owned(),
        })?;
    // SQLite opens a file that it may not write for reading alone, without a word.
    match connection.is_readonly("main") {
        Ok(false) => Ok(connection),
        _ => Err(AuditError::ReadOnly {
            path: path.to_owned(),
        }),
    }
}

/// Made by hand, since SQLite would make it with the mode of the umask.
fn create(path: &Path) -> Result<(), AuditError> {
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            Err(AuditError::ReadOnly {
                path: path.to_owned(),
            })
        }
        Err(e) => Err(HomeError::from_io(path, e).into()),
    }
}

/// Device and inode: which file it is, whatever its name.
pub(super) type Identity = (u64, u64);

/// The identity of the file at `path`, which must be private.
pub(super) fn identity(path: &Path) -> Result<Identity, AuditError> {
    home::check_private(path)?;
    let meta = std::fs::metadata(path).map_err(|e| HomeError::from_io(path, e))?;
    Ok((meta.dev(), meta.ino()))
}

/// `None` if the file is a database of another kind.
fn connect(path: &Path) -> rusqlite::Result<Option<Connection>> {
    let mut connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(PATIENCE)?;
    let pragma =
        |c: &Connection, name| c.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let fresh = tables == 0 && pragma(&connection, "application_id")? == 0;
    if !fresh
        && (
            pragma(&connection, "application_id")?,
            pragma(&connection, "user_version")?,
        ) != (APPLICATION, VERSION)
    {
        return Ok(None);
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    if fresh {
        let transaction = connection.transaction()?;
        transaction.execute_batch(audit_store::DDL)?;
        transaction.execute_batch(PAYLOAD_DDL)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()?;
    }
    Ok(Some(connection))
}

/// Sorts an error of SQLite.
pub(super) fn classify(path: &Path, error: rusqlite::Error) -> AuditError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            AuditError::Corrupted { path }
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            AuditError::ReadOnly { path }
        }
        Some(ErrorCode::DiskFull) => AuditError::Full { path },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => AuditError::Locked { path },
        _ => AuditError::Sql {
            path,
            source: error,
        },
    }
}
