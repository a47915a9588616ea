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
        write(f, &self.0)
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
        read(text).map(Self).ok_or(NotAFingerprint)
    }
}

/// SHA-1 of a leaf certificate (DER), as vSphere and older tools show it. Only ever compared with:
/// what is pinned is a [`Fingerprint`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Thumbprint([u8; 20]);

/// What was given is not the SHA-1 of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a certificate thumbprint is 40 hexadecimal digits (SHA-1), with or without colons")]
pub struct NotAThumbprint;

impl Thumbprint {
    /// The thumbprint of a certificate in DER.
    pub fn of(der: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, der);
        let mut out = [0; 20];
        for (to, from) in out.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(out)
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, &self.0)
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Thumbprint {
    type Err = NotAThumbprint;

    fn from_str(text: &str) -> Result<Self, NotAThumbprint> {
        read(text).map(Self).ok_or(NotAThumbprint)
    }
}

/// Upper-case hexadecimal with colons.
fn write(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for (i, byte) in bytes.iter().enumerate() {
        if i > 0 {
            f.write_str(":")?;
        }
        write!(f, "{byte:02X}")?;
    }
    Ok(())
}

/// Exactly so many bytes in hexadecimal, with or without colons.
fn read<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut digits = text.trim().chars().filter(|c| *c != ':');
    let mut out = [0; N];
    for byte in &mut out {
        let high = digits.next()?.to_digit(16)?;
        let low = digits.next()?.to_digit(16)?;
        // Two hexadecimal digits always fit in a byte.
        *byte = (high * 16 + low) as u8;
    }
    digits.next().is_none().then_some(out)
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
    fn c8_a_thumbprint_is_the_sha_1_that_other_tools_show() {
        let thumb = Thumbprint::of(b"abc");
        let text = "A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D";
        assert_eq!(thumb.to_string(), text);
        assert_eq!(text.parse(), Ok(thumb));
        assert_eq!(
            Fingerprint::of(b"abc").to_string().parse::<Thumbprint>(),
            Err(NotAThumbprint)
        );
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
