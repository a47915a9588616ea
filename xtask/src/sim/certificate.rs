//! A TLS certificate of our own for the simulator.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A self-signed P-256 certificate for this machine, as two PEM files.
///
/// The one that old simulators bring along is RSA-1024, which modern TLS
/// refuses; and a fresh one for each start shows that nothing trusts a
/// certificate it has not pinned.
pub(crate) struct Certificate {
    /// The certificate's file.
    pub(crate) cert: PathBuf,
    /// The private key's file.
    pub(crate) key: PathBuf,
}

impl Certificate {
    /// Makes one in that directory.
    pub(crate) fn make(dir: &Path) -> Result<Self> {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
            .context("could not make a key for the simulator")?;
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let cert = rcgen::CertificateParams::new(names)
            .and_then(|params| params.self_signed(&key))
            .context("could not make a certificate for the simulator")?;
        let made = Self {
            cert: dir.join("cert.pem"),
            key: dir.join("key.pem"),
        };
        fs::write(&made.cert, cert.pem()).context("could not write the simulator's certificate")?;
        fs::write(&made.key, key.serialize_pem()).context("could not write the simulator's key")?;
        Ok(made)
    }
}
