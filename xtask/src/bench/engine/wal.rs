//! Commits, counted from outside: in the write-ahead log of the database, where each transaction
//! ends with a frame that says so. With `synchronous=FULL` each of them is one sync.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rusqlite::{Connection, OpenFlags};

/// Length of the header of the log, and of that of a frame.
const HEADER: usize = 32;
const FRAME: usize = 24;

/// Watches the log. A reader that stays where it is keeps it from being begun anew.
pub(super) struct Watch {
    log: PathBuf,
    salt: [u8; 8],
    before: usize,
    _reader: Connection,
}

impl Watch {
    /// Begins to count. There must be something in the log already.
    pub(super) fn begin(database: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(database, flags)?;
        reader.execute_batch("BEGIN; SELECT count(*) FROM workflow;")?;
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        let log = PathBuf::from(log);
        let (salt, before) = count(&fs::read(&log)?)?;
        if before == 0 {
            bail!("the log is empty: a reader would not hold it");
        }
        Ok(Self {
            log,
            salt,
            before,
            _reader: reader,
        })
    }

    /// How many transactions were committed since then.
    pub(super) fn end(self) -> Result<usize> {
        let (salt, after) = count(&fs::read(&self.log)?)?;
        if salt != self.salt {
            bail!("the log was begun anew meanwhile, so its commits cannot be counted");
        }
        Ok(after - self.before)
    }
}

/// The salt of a log, and how many of its frames end a transaction.
fn count(log: &[u8]) -> Result<([u8; 8], usize)> {
    let number = |at: usize| -> Option<u32> {
        Some(u32::from_be_bytes(log.get(at..at + 4)?.try_into().ok()?))
    };
    let page = number(8).context("the log has no header")?;
    let salt: [u8; 8] = log
        .get(16..24)
        .and_then(|salt| salt.try_into().ok())
        .context("the log has no header")?;
    let step = FRAME + usize::try_from(page)?;
    let frames = log.get(HEADER..).unwrap_or_default().chunks_exact(step);
    let commits = frames
        // What an earlier turn of the log left has another salt.
        .take_while(|frame| frame.get(8..16) == Some(&salt[..]))
        .filter(|frame| frame.get(4..8) != Some(&[0; 4][..]))
        .count();
    Ok((salt, commits))
}

#[cfg(test)]
mod tests {
    use anyhow::Result;
    use rusqlite::Connection;

    use super::Watch;

    #[test]
    fn each_transaction_is_counted_once_however_large_it_is() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("x.db");
        let db = Connection::open(&path)?;
        db.execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=10; CREATE TABLE workflow(x);",
        )?;
        let watch = Watch::begin(&path)?;
        for n in 0..50 {
            let rows = "INSERT INTO workflow VALUES (hex(zeroblob(3000)));".repeat(n % 4 + 1);
            db.execute_batch(&format!("BEGIN; {rows} COMMIT;"))?;
        }
        assert_eq!(watch.end()?, 50);
        Ok(())
    }
}
