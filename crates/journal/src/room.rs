//! Room in the write-ahead log. A commit that makes its file longer has the file's length synced
//! besides what it wrote, which takes as long once more. So the log is made longer ahead of time,
//! by zeros that SQLite writes over: to it they are what is left of an older log.
//!
//! None of it is needed for anything but speed, so whatever fails here is left as it was.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

/// The header of the log, in bytes: <https://www.sqlite.org/fileformat.html#the_write_ahead_log>.
const HEADER: u64 = 32;

/// The header of each frame, in bytes. A page follows it.
const FRAME: u64 = 24;

/// Where the salts are in the header of the log, and in that of a frame. Those of a frame of an
/// older log are others.
const SALTS: (u64, u64) = (16, 8);

/// Room is made when so many frames are left: more than what most transactions write.
const LEFT: u64 = 64;

/// So much room is made at once, in bytes: as much as there is already, within these bounds.
const LEAST: u64 = 128 * 1024;
const MOST: u64 = 1024 * 1024;

/// The zeros of one write.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// The log of one connection.
pub(crate) struct Room {
    log: PathBuf,
    limit: u64,
    file: Option<File>,
}

impl Room {
    /// For the log at the path, which is never made longer than the limit, in bytes.
    pub(crate) fn new(log: PathBuf, limit: u64) -> Self {
        Self {
            log,
            limit,
            file: None,
        }
    }

    /// Makes room if little is left. To be called in a write transaction that has not written yet:
    /// nobody else writes to the log then.
    pub(crate) fn make(&mut self) {
        if let Err(error) = self.try_make() {
            tracing::debug!(%error, "the log of the journal could not be made longer ahead of time");
        }
    }

    fn try_make(&mut self) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            // SQLite holds no lock on it, so a descriptor of ours takes none away.
            None => {
                let opened = OpenOptions::new().read(true).write(true).open(&self.log)?;
                self.file.insert(opened)
            }
        };
        let length = file.metadata()?.len();
        if length >= self.limit || !is_nearly_full(file, length)? {
            return Ok(());
        }
        let end = (length + length.clamp(LEAST, MOST)).min(self.limit);
        let made = fill(file, length, end);
        if made.is_err() {
            // What little is left of the disk belongs to those who need it.
            file.set_len(length)?;
        }
        made
    }
}

/// Whether this log has come to the last frames that its file has room for.
fn is_nearly_full(file: &File, length: u64) -> io::Result<bool> {
    let Some(frames) = length.checked_sub(HEADER) else {
        // The first transaction writes the header.
        return Ok(false);
    };
    let mut page = [0; 4];
    file.read_exact_at(&mut page, 8)?;
    let frame = FRAME + u64::from(u32::from_be_bytes(page));
    let watched = (frames / frame).saturating_sub(LEFT);
    let (mut now, mut there) = ([0; 8], [0; 8]);
    file.read_exact_at(&mut now, SALTS.0)?;
    file.read_exact_at(&mut there, HEADER + watched * frame + SALTS.1)?;
    Ok(now == there)
}

fn fill(file: &File, from: u64, to: u64) -> io::Result<()> {
    let mut at = from;
    while at < to {
        let zeros =
            usize::try_from(to - at).map_or(&ZEROS[..], |left| ZEROS.get(..left).unwrap_or(&ZEROS));
        file.write_all_at(zeros, at)?;
        at += zeros.len() as u64;
    }
    Ok(())
}
