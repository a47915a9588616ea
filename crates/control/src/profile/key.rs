//! The key that profiles are encrypted with: 32 bytes in the file `key` of the home, in
//! hexadecimal; or in another file that the environment names; or derived from a passphrase.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chacha20poly1305::aead::Generate as _;
use home::Home;
use zeroize::Zeroizing;

use super::passphrase::Passphrase;
use crate::failure::Failure;

/// A key in memory, wiped on drop.
#[derive(Clone)]
pub(super) struct Key(pub(super) Zeroizing<[u8; 32]>);

impl Key {
    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Tells keys apart without giving one away: the first 8 bytes of a hash of it.
    pub(super) fn id(&self) -> String {
        let mut named = Zeroizing::new(b"pilothouse/key-id/1\n".to_vec());
        named.extend_from_slice(self.bytes());
        guard::digest::sha256_hex(&named)[..16].to_owned()
    }
}

/// Where a path to the key is given, in place of the home's own.
pub(crate) const KEY_FILE: &str = "PILOTHOUSE_KEY_FILE";

/// Where a path to a passphrase is given, from which the key is derived.
pub(crate) const PASSPHRASE_FILE: &str = "PILOTHOUSE_PASSPHRASE_FILE";

/// Where the key comes from.
#[derive(Debug, Clone, Default)]
pub(crate) enum KeySource {
    /// The file `key` in the home, which is made when the first profile is saved.
    #[default]
    Home,
    /// A file that somebody else puts there, which is never made.
    File(PathBuf),
    /// A passphrase in a file.
    Passphrase(Arc<Passphrase>),
    /// Two at once.
    Contradiction,
}

impl KeySource {
    /// As the environment says.
    pub(crate) fn from_environment(env: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let path = |name| env(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        match (path(KEY_FILE), path(PASSPHRASE_FILE)) {
            (None, None) => Self::Home,
            (Some(path), None) => Self::File(path),
            (None, Some(path)) => Self::Passphrase(Arc::new(Passphrase::in_file(path))),
            (Some(_), Some(_)) => Self::Contradiction,
        }
    }

    /// Reads the key.
    pub(super) fn load(&self, home: &Home) -> Result<Key, Failure> {
        match self {
            Self::Home => load(&home.key(), "save the profiles again"),
            Self::File(path) => load(
                path,
                &format!("make one there (64 hexadecimal digits, mode 0600), or unset {KEY_FILE}"),
            ),
            Self::Passphrase(passphrase) => passphrase.key(home, false),
            Self::Contradiction => Err(contradiction()),
        }
    }

    /// Reads the key, and makes one if it is the home's own and there is none. Several processes
    /// agree on one.
    pub(super) fn load_or_create(&self, home: &Home) -> Result<Key, Failure> {
        match self {
            Self::Home => load_or_create(home),
            Self::Passphrase(passphrase) => passphrase.key(home, true),
            Self::File(_) | Self::Contradiction => self.load(home),
        }
    }
}

fn contradiction() -> Failure {
    Failure::new(
        "profile.key_source",
        format!(
            "Set {KEY_FILE} or {PASSPHRASE_FILE}, and unset the other: only one can hold the key"
        ),
    )
}

/// Reads the key from a file; `or` is what else can be done where there is none.
fn load(path: &Path, or: &str) -> Result<Key, Failure> {
    match home::read_private(path) {
        Ok(bytes) => parse(path, Zeroizing::new(bytes)),
        Err(error) if error.is_missing() => Err(Failure::new(
            "profile.key_missing",
            format!(
                "Put `{}` back from a backup, or {or}: the key that profiles are encrypted with is not there",
                path.display()
            ),
        )),
        Err(error) => Err(error.into()),
    }
}

fn load_or_create(home: &Home) -> Result<Key, Failure> {
    let path = home.key();
    let there = || load(&home.key(), "save the profiles again");
    if path.exists() {
        return there();
    }
    let _held = home.lock("key")?;
    // Someone else may have made it while we waited.
    if path.exists() {
        return there();
    }
    let bytes = <[u8; 32]>::try_generate()
        .map(Zeroizing::new)
        .map_err(|error| {
            Failure::new(
                "profile.not_sealed",
                format!("Check the system's random source: {error}"),
            )
        })?;
    let mut text = Zeroizing::new(String::with_capacity(64));
    for byte in bytes.iter() {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    home.write(&path, text.as_bytes())?;
    Ok(Key(bytes))
}

fn parse(path: &Path, text: Zeroizing<Vec<u8>>) -> Result<Key, Failure> {
    let damaged = || {
        Failure::new(
            "profile.key_damaged",
            format!(
                "Put `{}` back from a backup, or delete it and save the profiles again: it is not 64 hexadecimal digits",
                path.display()
            ),
        )
    };
    let digits = text.trim_ascii();
    if digits.len() != 64 {
        return Err(damaged());
    }
    let mut bytes = Zeroizing::new([0; 32]);
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |d: u8| char::from(d).to_digit(16);
        let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
            return Err(damaged());
        };
        // Two hexadecimal digits always fit in a byte.
        *byte = (high * 16 + low) as u8;
    }
    Ok(Key(bytes))
}
