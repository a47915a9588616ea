//! The database file: how it comes to be, what is looked at before it is used, and how each
//! connection is set up.
//!
//! A new database is made beside its place and moved there when it is whole. So a `pilot.db` that
//! is empty, or a log without a database, can only be damage, and is said to be.
//!
//! The file is never opened past SQLite while SQLite has it open: closing any descriptor of it
//! would drop the locks of the process on it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use home::Home;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::Fault;
use crate::room::Room;
use crate::schema;

/// Readers and writers never wait for each other in WAL mode; this is for the moment in which
/// another process recovers the log after a crash.
const BUSY: Duration = Duration::from_secs(5);

/// The log is folded into the database when it has so many pages. Many workflows at once write the
/// same pages again and again, which are then copied once.
const LOG_PAGES: u32 = 4096;

/// The log is cut to this size after a checkpoint, in bytes: room for so many pages, their headers,
/// and the transaction that came to that number.
const LOG_LIMIT: u32 = (LOG_PAGES + 128) * (24 + 4096);

/// Less free space than this, in bytes, counts as a full disk: what a transaction writes fits into it.
const SPACE: u64 = 64 * 1024;

/// With less free space than this, in bytes, what is left belongs to those who need it.
const PLENTY: u64 = 64 * 1024 * 1024;

/// The file at the path, as the file system knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

/// Where the database lies.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    db: PathBuf,
}

impl Place {
    pub(crate) fn of(home: &Home) -> Self {
        Self {
            db: home.pilot_db(),
        }
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.db.clone().into_os_string();
        path.push(suffix);
        path.into()
    }

    /// The room that its log has.
    pub(crate) fn room(&self) -> Room {
        Room::new(self.beside("-wal"), u64::from(LOG_LIMIT))
    }

    /// Whether the disk has so much space that the log may have room ahead of time. Where it has none
    /// for a transaction, it is full: while there is room, that would go unnoticed, and more changes
    /// be sent.
    pub(crate) fn has_plenty(&self) -> Result<bool, Fault> {
        match home::free_bytes(&self.db) {
            Ok(free) if free < SPACE => Err(Fault::Full),
            Ok(free) => Ok(free >= PLENTY),
            // Where it cannot be told, SQLite finds out.
            Err(_) => Ok(false),
        }
    }

    /// Which file lies there now. Reads nothing of it.
    pub(crate) fn identity(&self) -> Result<Identity, Fault> {
        match fs::symlink_metadata(&self.db) {
            Ok(meta) => Ok(Identity {
                device: meta.dev(),
                inode: meta.ino(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Fault::Moved),
            Err(error) => Err(Fault::io(&error)),
        }
    }

    /// Looks at what is there, and closes it to others if it is open to them. Where there is no
    /// database, makes a draft of one: [`Place::settle`] is due then, and the answer is true. To be
    /// called with the gate passed, and the same pass held until the draft is settled.
    pub(crate) fn prepare(&self, max_pages: Option<u32>) -> Result<bool, Fault> {
        match fs::symlink_metadata(&self.db) {
            Ok(meta) if !meta.is_file() => {
                Err(Fault::Other("`pilot.db` is not a regular file".to_owned()))
            }
            Ok(meta) if meta.len() == 0 => Err(Fault::Corrupted("the file is empty".to_owned())),
            Ok(_) => self.close_to_others().map(|()| false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.draft(max_pages).map(|()| true)
            }
            Err(error) => Err(Fault::io(&error)),
        }
    }

    /// Puts the draft into its place. Slow where the disk is: it is synced first, so that what lies
    /// there is whole after any crash.
    pub(crate) fn settle(&self) -> Result<(), Fault> {
        let draft = self.beside(".new");
        // Durable with the first commit: SQLite syncs the directory when it first syncs its log.
        let settled = File::open(&draft)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&draft, &self.db));
        settled.map_err(|error| {
            // The first error is the one to tell.
            let _ = self.clear_draft();
            Fault::io(&error)
        })
    }

    /// Whether the modes say that nobody may write.
    fn is_read_only(&self) -> Result<bool, Fault> {
        let read_only = |path: &Path| -> Result<bool, Fault> {
            let meta = fs::metadata(path).map_err(|e| Fault::io(&e))?;
            // Of the three kinds of users, only the owner counts here.
            Ok(meta.mode() & 0o200 == 0)
        };
        Ok(read_only(self.db.parent().unwrap_or(Path::new(".")))? || read_only(&self.db)?)
    }

    /// SQLite gives the log and its index the mode of the database; an older file may be wider.
    fn close_to_others(&self) -> Result<(), Fault> {
        for path in [self.db.clone(), self.beside("-wal"), self.beside("-shm")] {
            let meta = match fs::symlink_metadata(&path) {
                Ok(meta) => meta,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Fault::io(&error)),
            };
            if meta.mode() & 0o077 != 0 {
                let closed = fs::Permissions::from_mode(meta.mode() & 0o700);
                fs::set_permissions(&path, closed).map_err(|e| Fault::io(&e))?;
                tracing::warn!("a file of the journal was open to others; its mode is now private");
            }
        }
        Ok(())
    }

    fn draft(&self, max_pages: Option<u32>) -> Result<(), Fault> {
        if fs::symlink_metadata(self.beside("-wal")).is_ok_and(|meta| meta.len() > 0) {
            return Err(Fault::Corrupted(
                "its log `pilot.db-wal` is there and the database is not".to_owned(),
            ));
        }
        // The gate is passed, so nobody else is making one: what lies there is of a killed process.
        self.clear_draft()?;
        let made = write_draft(&self.beside(".new"), max_pages);
        if made.is_err() {
            // The first error is the one to tell.
            let _ = self.clear_draft();
        }
        made
    }

    fn clear_draft(&self) -> Result<(), Fault> {
        for suffix in [".new", ".new-wal", ".new-shm"] {
            match fs::remove_file(self.beside(suffix)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Fault::io(&error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The one connection of the process that writes. To be called with the gate passed.
    pub(crate) fn writer(&self, max_pages: Option<u32>) -> Result<Connection, Fault> {
        let mut connection = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // SQLite falls back by itself to reading only, and says no more than that it could not
        // open a file when it may not make its log.
        if connection.is_readonly("main")? || self.is_read_only()? {
            return Err(Fault::ReadOnly);
        }
        // Looked at before anything is written: a header that is none, a file that is shorter than
        // its header says, another program's database, a version that is not known.
        schema::check(&connection)?;
        write_ahead(&connection)?;
        connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
        connection.pragma_update(None, "journal_size_limit", LOG_LIMIT)?;
        connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
        connection.set_prepared_statement_cache_capacity(64);
        limit(&connection, max_pages)?;
        schema::migrate(&mut connection, schema::MIGRATIONS)?;
        fold_log_at_close(&connection, true);
        Ok(connection)
    }

    /// A connection that can only read.
    pub(crate) fn reader(&self) -> Result<Connection, Fault> {
        let connection = self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(connection)
    }

    fn connect(&self, access: OpenFlags) -> Result<Connection, Fault> {
        let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.db, flags)?;
        connection.busy_timeout(BUSY)?;
        fold_log_at_close(&connection, false);
        // A statement is not planned anew for each value that is bound to it.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        // A damaged page is noticed when it is read, not when something falls over it.
        connection.execute_batch(
            "PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;",
        )?;
        Ok(connection)
    }
}

fn write_draft(path: &Path, max_pages: Option<u32>) -> Result<(), Fault> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| Fault::io(&e))?;
    let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // Nobody sees the file before it is whole and synced, so nothing needs to be synced on the way.
    connection.execute_batch("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF;")?;
    limit(&connection, max_pages)?;
    schema::migrate(&mut connection, schema::MIGRATIONS)?;
    // Written into the header; the log itself comes with the first real connection.
    write_ahead(&connection)?;
    connection.close().map_err(|(_, error)| Fault::from(error))
}

fn write_ahead(connection: &Connection) -> Result<(), Fault> {
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode == "wal" {
        return Ok(());
    }
    Err(Fault::Other(
        "the file system has no shared memory for SQLite's write-ahead log".to_owned(),
    ))
}

fn limit(connection: &Connection, max_pages: Option<u32>) -> Result<(), Fault> {
    if let Some(pages) = max_pages {
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    }
    Ok(())
}

/// Whether the last connection writes the log into the database when it is closed. Not done where
/// the database is damaged: then nothing more is written to it.
pub(crate) fn fold_log_at_close(connection: &Connection, fold: bool) {
    let option = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    if let Err(error) = connection.set_db_config(option, !fold) {
        // Only an SQLite without this option refuses it, and the one built in has it.
        tracing::error!(%error, "SQLite does not know how to leave its log alone");
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]
mod tests {
    use super::*;

    #[test]
    fn p18_a_commit_is_synced_and_a_reader_cannot_write() {
        let dir = tempfile::TempDir::new().unwrap();
        let home = Home::open(dir.path().join("home")).unwrap();
        let place = Place::of(&home);
        assert!(place.prepare(None).unwrap());
        place.settle().unwrap();
        let (writer, reader) = (place.writer(None).unwrap(), place.reader().unwrap());
        let pragma = |name: &str| -> i64 {
            writer
                .pragma_query_value(None, name, |row| row.get(0))
                .unwrap()
        };
        assert_eq!((pragma("synchronous"), pragma("foreign_keys")), (2, 1));
        assert_eq!(reader.is_readonly("main"), Ok(true));
    }

    #[test]
    fn p18_what_a_killed_process_began_to_make_is_made_anew() {
        let dir = tempfile::TempDir::new().unwrap();
        let home = Home::open(dir.path().join("home")).unwrap();
        let place = Place::of(&home);
        fs::write(place.beside(".new"), "half").unwrap();
        fs::write(place.beside(".new-wal"), "half").unwrap();
        assert!(place.prepare(None).unwrap());
        place.settle().unwrap();
        assert!(!place.prepare(None).unwrap());
        place.writer(None).unwrap();
        assert!(!place.beside(".new").exists() && !place.beside(".new-wal").exists());
    }
}
