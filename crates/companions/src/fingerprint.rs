//! What a companion is, as a digest: approvals are bound to it.

use guard::digest::{Digest, digest};
use serde_json::json;

use crate::process::Launch;

/// What a companion is: what it says it is, how it is started, and the program itself. Not its
/// environment, which holds secrets and may change without making it another companion.
pub(crate) async fn fingerprint(launch: &Launch, name: &str, version: &str) -> Digest {
    let program = launch.program.clone();
    let sum = tokio::task::spawn_blocking(move || sum::of(&program))
        .await
        .ok()
        .flatten();
    digest(
        "pilothouse/companion/1",
        &json!({
            "name": name,
            "version": version,
            "command": launch.program.to_string_lossy(),
            "args": launch.args,
            "sha256": sum,
        }),
    )
}

mod sum {
    //! The SHA-256 of a program, remembered while the file stays the same.

    use std::collections::HashMap;
    use std::fs::File;
    use std::io::Read as _;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;
    use std::sync::{Mutex, OnceLock, PoisonError};

    use sha2::{Digest as _, Sha256};

    /// Device, inode, size, and when content and inode last changed.
    type Identity = (u64, u64, u64, i64, i64, i64, i64);

    static KNOWN: OnceLock<Mutex<HashMap<Identity, String>>> = OnceLock::new();

    /// `None` when it cannot be read.
    pub(super) fn of(path: &Path) -> Option<String> {
        let mut file = File::open(path).ok()?;
        let meta = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let identity = (
            meta.dev(),
            meta.ino(),
            meta.size(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec(),
        );
        let known = KNOWN.get_or_init(Mutex::default);
        if let Some(sum) = known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&identity)
        {
            return Some(sum.clone());
        }
        let mut hasher = Sha256::new();
        let mut block = vec![0; 64 * 1024];
        loop {
            match file.read(&mut block).ok()? {
                0 => break,
                read => hasher.update(&block[..read]),
            }
        }
        let sum: String = hasher
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(identity, sum.clone());
        Some(sum)
    }
}
