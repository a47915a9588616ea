//! A key derived from a passphrase with Argon2id.
//!
//! The passphrase lies in a file that the environment names; what the home holds is the salt and
//! how much work the derivation is. Deriving takes time and memory on purpose, so a process does
//! it once for as long as neither changes.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::Generate as _;
use home::Home;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::key::{Key, PASSPHRASE_FILE};
use crate::failure::Failure;

/// The shortest passphrase, in bytes.
const SHORTEST: usize = 12;

/// The longest passphrase, in bytes.
const LONGEST: usize = 1_024;

/// How much work a new derivation is: 64 MiB, three times over (RFC 9106, second recommendation,
/// with one lane).
const WORK: Work = Work {
    m_kib: 65_536,
    t: 3,
    p: 1,
};

/// No derivation may ask for more: a file that was altered must not exhaust the machine.
const MOST: Work = Work {
    m_kib: 1_048_576,
    t: 16,
    p: 8,
};

/// Argon2's cost parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Work {
    m_kib: u32,
    t: u32,
    p: u32,
}

/// The file in the home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Derivation {
    v: u64,
    kdf: String,
    #[serde(flatten)]
    work: Work,
    salt: String,
}

/// What was derived last, and from what.
struct Derived {
    from: Derivation,
    passphrase: Zeroizing<Vec<u8>>,
    key: Key,
}

/// A passphrase in a file, and the key that was derived from it.
pub(crate) struct Passphrase {
    path: PathBuf,
    derived: Mutex<Option<Derived>>,
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Passphrase").field(&self.path).finish()
    }
}

impl Passphrase {
    pub(super) fn in_file(path: PathBuf) -> Self {
        Self {
            path,
            derived: Mutex::new(None),
        }
    }

    /// The key; with `create`, a salt is made if there is none.
    pub(super) fn key(&self, home: &Home, create: bool) -> Result<Key, Failure> {
        let passphrase = self.read()?;
        let from = match derivation(home)? {
            Some(from) => from,
            None if create => new_derivation(home)?,
            None => {
                return Err(Failure::new(
                    "profile.key_missing",
                    format!(
                        "Put `{}` back from a backup, or save the profiles again: the salt that the passphrase belongs to is not there",
                        home.key_derivation().display()
                    ),
                ));
            }
        };
        // Held while deriving: many calls at once do it once.
        let mut derived = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = derived.as_ref()
            && known.from == from
            && known.passphrase == passphrase
        {
            return Ok(known.key.clone());
        }
        let key = derive(home, &from, &passphrase)?;
        *derived = Some(Derived {
            from,
            passphrase,
            key: key.clone(),
        });
        Ok(key)
    }

    fn read(&self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let unusable = |why: &str| {
            Failure::new(
                "profile.passphrase",
                format!(
                    "Put a passphrase of {SHORTEST} to {LONGEST} bytes into `{}`, which {PASSPHRASE_FILE} names: {why}",
                    self.path.display()
                ),
            )
        };
        let bytes = match home::read_private(&self.path) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.is_missing() => return Err(unusable("there is no such file")),
            Err(error) => return Err(error.into()),
        };
        // One line, as an editor leaves it.
        let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() < SHORTEST {
            return Err(unusable("it is shorter"));
        }
        if line.len() > LONGEST {
            return Err(unusable("it is longer"));
        }
        Ok(Zeroizing::new(line.to_vec()))
    }
}

fn damaged(home: &Home) -> Failure {
    Failure::new(
        "profile.key_damaged",
        format!(
            "Put `{}` back from a backup, or delete it and save the profiles again: it does not say how the key is derived",
            home.key_derivation().display()
        ),
    )
}

fn derivation(home: &Home) -> Result<Option<Derivation>, Failure> {
    let bytes = match home::read_private(&home.key_derivation()) {
        Ok(bytes) => bytes,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let from: Derivation = serde_json::from_slice(&bytes).map_err(|_| damaged(home))?;
    let work = from.work;
    let is_bounded = work.m_kib <= MOST.m_kib && work.t <= MOST.t && work.p <= MOST.p;
    if from.v != 1 || from.kdf != "argon2id" || !is_bounded {
        return Err(damaged(home));
    }
    Ok(Some(from))
}

fn new_derivation(home: &Home) -> Result<Derivation, Failure> {
    let _held = home.lock("key")?;
    // Someone else may have made it while we waited.
    if let Some(from) = derivation(home)? {
        return Ok(from);
    }
    let not_sealed = |reason: String| Failure::new("profile.not_sealed", reason);
    let salt = <[u8; 16]>::try_generate()
        .map_err(|error| not_sealed(format!("Check the system's random source: {error}")))?;
    let from = Derivation {
        v: 1,
        kdf: "argon2id".to_owned(),
        work: WORK,
        salt: STANDARD.encode(salt),
    };
    let bytes = serde_json::to_vec(&from)
        .map_err(|_| not_sealed("Report this: the salt cannot be written as JSON".to_owned()))?;
    home.write(&home.key_derivation(), &bytes)?;
    Ok(from)
}

fn derive(home: &Home, from: &Derivation, passphrase: &[u8]) -> Result<Key, Failure> {
    let salt = STANDARD.decode(&from.salt).map_err(|_| damaged(home))?;
    let Work { m_kib, t, p } = from.work;
    let params = Params::new(m_kib, t, p, Some(32)).map_err(|_| damaged(home))?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, &salt, &mut *key)
        .map_err(|_| damaged(home))?;
    Ok(Key(key))
}
