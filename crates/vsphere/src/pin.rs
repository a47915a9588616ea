//! The fingerprint of a server's certificate, as it is pinned.

use std::fmt;
use std::str::FromStr;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest, Sha256};

/// SHA-256 of a leaf certificate (DER). Shown and read as upper-case hex with colons.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

/// What was given is not the SHA-256 of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a certificate fingerprint is 64 hexadecimal digits (SHA-256), with or without colons")]
pub struct NotAFingerprint;

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// The fingerprint of the first certificate in PEM; `None` if there is none.
    pub fn of_pem(pem: &[u8]) -> Option<Self> {
        let certificate = CertificateDer::from_pem_slice(pem).ok()?;
        Some(Self::of(&certificate))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(":")?;
            }
            write!(f, "{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        let mut digits = Vec::with_capacity(64);
        for c in text.trim().chars().filter(|c| *c != ':') {
            digits.push(c.to_digit(16).ok_or(NotAFingerprint)?);
        }
        if digits.len() != 64 {
            return Err(NotAFingerprint);
        }
        let mut out = [0u8; 32];
        for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
            // Two hexadecimal digits always fit in a byte.
            *byte = (pair[0] * 16 + pair[1]) as u8;
        }
        Ok(Self(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c8_a_fingerprint_is_written_in_upper_case_with_colons_and_read_back() {
        let pin = Fingerprint::of(b"abc");
        let text = pin.to_string();
        assert!(text.starts_with("BA:78:16:BF:8F:01:CF:EA"), "{text}");
        assert_eq!(text.len(), 95);
        assert_eq!(text.parse(), Ok(pin));
        assert_eq!(text.replace(':', "").to_lowercase().parse(), Ok(pin));
    }

    #[test]
    fn c8_what_is_no_fingerprint_is_refused() {
        for text in [
            "",
            "AA",
            "zz",
            &"A".repeat(63),
            &"A".repeat(65),
            &"é".repeat(64),
        ] {
            assert_eq!(text.parse::<Fingerprint>(), Err(NotAFingerprint), "{text}");
        }
    }
}
