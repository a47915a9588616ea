//! The key that profiles are encrypted with: 32 bytes in the file `key`, in hexadecimal.

use chacha20poly1305::aead::Generate as _;
use home::Home;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// A key in memory, wiped on drop.
pub(super) struct Key(Zeroizing<[u8; 32]>);

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

/// Reads the key.
pub(super) fn load(home: &Home) -> Result<Key, Failure> {
    match home::read_private(&home.key()) {
        Ok(bytes) => parse(home, Zeroizing::new(bytes)),
        Err(error) if error.is_missing() => Err(Failure::new(
            "profile.key_missing",
            format!(
                "Put `{}` back from a backup, or save the profiles again: the key that they are encrypted with is not there",
                home.key().display()
            ),
        )),
        Err(error) => Err(error.into()),
    }
}

/// Reads the key, and makes one if there is none. Several processes agree on one.
pub(super) fn load_or_create(home: &Home) -> Result<Key, Failure> {
    let path = home.key();
    if path.exists() {
        return load(home);
    }
    let _held = home.lock("key")?;
    // Someone else may have made it while we waited.
    if path.exists() {
        return load(home);
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

fn parse(home: &Home, text: Zeroizing<Vec<u8>>) -> Result<Key, Failure> {
    let damaged = || {
        Failure::new(
            "profile.key_damaged",
            format!(
                "Put `{}` back from a backup, or delete it and save the profiles again: it is not 64 hexadecimal digits",
                home.key().display()
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
