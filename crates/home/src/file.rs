//! Reading files that only their owner may touch, and replacing them at once or not at all.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::OFlags;

use crate::{HomeError, user};

/// No file in the state directory that is read whole is larger (16 MiB).
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Reads a file that holds a secret: a regular file of the caller's own that nobody
/// else may read or write (mode 0600 or less).
///
/// # Errors
///
/// [`HomeError`]; [`HomeError::is_missing`] tells whether it is just not there.
pub fn read_private(path: &Path) -> Result<Vec<u8>, HomeError> {
    read(path, 0o077)
}

/// Reads a file that holds rules: a regular file of the caller's own that nobody else
/// may write. Others may read it.
///
/// # Errors
///
/// As [`read_private`].
pub fn read_owned(path: &Path) -> Result<Vec<u8>, HomeError> {
    read(path, 0o022)
}

/// Checks that a file is a regular one of the caller's own that nobody else may read or
/// write, without opening it.
///
/// # Errors
///
/// As [`read_private`].
pub fn check_private(path: &Path) -> Result<(), HomeError> {
    let meta = std::fs::metadata(path).map_err(|e| HomeError::from_io(path, e))?;
    check(path, &meta, 0o077)
}

/// How many bytes are free for the caller on the file system of `path`.
///
/// # Errors
///
/// [`HomeError`] of the system.
pub fn free_bytes(path: &Path) -> Result<u64, HomeError> {
    let stat = rustix::fs::statvfs(path).map_err(|e| HomeError::from_io(path, e.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn check(path: &Path, meta: &Metadata, forbidden: u32) -> Result<(), HomeError> {
    if !meta.is_file() {
        return Err(HomeError::NotAFile {
            path: path.to_owned(),
        });
    }
    user::check_owner(path, meta.uid())?;
    let mode = meta.mode() & 0o7777;
    if mode & forbidden != 0 {
        return Err(HomeError::Mode {
            path: path.to_owned(),
            mode,
            wanted: 0o600,
        });
    }
    Ok(())
}

fn read(path: &Path, forbidden: u32) -> Result<Vec<u8>, HomeError> {
    let io = |e| HomeError::from_io(path, e);
    // Without NONBLOCK, a pipe in the file's place would hold us until someone writes to it.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(io)?;
    // What was opened is checked, not what lies at the path by now.
    check(path, &file.metadata().map_err(io)?, forbidden)?;
    // Room for all of it: a buffer that grows leaves copies of a secret behind.
    let length = file.metadata().map_err(io)?.len().min(MAX_BYTES);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(HomeError::TooLarge {
            path: path.to_owned(),
            max: MAX_BYTES,
        });
    }
    Ok(bytes)
}

/// Replaces a file at once, with mode 0600: whoever reads it sees the old content or the
/// new, also after a crash. The directory must exist.
///
/// # Errors
///
/// [`HomeError`], and the old file is still there.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), HomeError> {
    let io = |e| HomeError::from_io(path, e);
    let dir = path.parent().unwrap_or(Path::new("."));
    let (mut file, temporary) = create_temporary(path, dir)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&temporary, path));
    if let Err(e) = written {
        // The first error is the one to tell.
        let _ = std::fs::remove_file(&temporary);
        return Err(io(e));
    }
    // The rename itself is durable only once the directory is.
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)
}

fn create_temporary(path: &Path, dir: &Path) -> Result<(File, PathBuf), HomeError> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    loop {
        let n = COUNTER.fetch_add(1, Ordering::Relaxed);
        let temporary = dir.join(format!(".{name}.{}.{n}.tmp", std::process::id()));
        let opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary);
        match opened {
            Ok(file) => return Ok((file, temporary)),
            // Left behind by a killed process of the same id: take the next number.
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(HomeError::from_io(path, e)),
        }
    }
}
