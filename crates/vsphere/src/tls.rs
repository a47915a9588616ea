//! Whom we talk to: certificates checked against roots, an authority, or a pin.
//!
//! Signatures of the handshake are verified in every mode: a pin alone would let anyone who has
//! the (public) certificate pose as its owner.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::pin::{Fingerprint, Thumbprint};

/// RSA keys below this prove nothing any more (and ring does not verify them).
const LEAST_RSA_BITS: usize = 2048;

/// Certificate authorities that are trusted in addition to the system's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaBundle(Vec<CertificateDer<'static>>);

impl CaBundle {
    /// Reads one or more certificates in PEM.
    ///
    /// # Errors
    /// [`Error::UnusableCa`] if there is none, or one cannot be used as an authority.
    pub fn from_pem(pem: &[u8]) -> Result<Self, Error> {
        let certificates = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| Error::UnusableCa {
                reason: e.to_string(),
            })?;
        if certificates.is_empty() {
            return Err(Error::UnusableCa {
                reason: "there is no certificate in it".into(),
            });
        }
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            store
                .add(certificate.clone())
                .map_err(|e| Error::UnusableCa {
                    reason: e.to_string(),
                })?;
        }
        Ok(Self(certificates))
    }

    /// The fingerprints of the authorities, in their order: for a person to compare.
    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        self.0.iter().map(|c| Fingerprint::of(c)).collect()
    }
}

/// Which certificates of a server are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Only what verifies under the system's roots or the authorities given (`verify_ssl=true`).
    Roots {
        /// Authorities beside the system's.
        ca: Option<CaBundle>,
    },
    /// The pinned certificate, and any other that verifies (`verify_ssl=false`).
    Pinned {
        /// The leaf that was stored at the first contact, see [`crate::Client::probe`].
        pin: Fingerprint,
        /// Authorities beside the system's.
        ca: Option<CaBundle>,
    },
}

/// What a server showed in a handshake without anything else being sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Of the leaf certificate.
    pub fingerprint: Fingerprint,
    /// Of the same certificate, for comparing with what other tools have stored.
    pub thumbprint: Thumbprint,
    /// `None` if it verifies under the system's roots or the authorities given; else why not.
    pub unverified: Option<String>,
}

/// How a certificate came to be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is the pinned one.
    Pin,
    /// It verifies under roots or authority; if a pin was given, it is **another** one.
    Roots,
}

/// The system's roots, loaded when first needed (some 300 KB of files).
#[derive(Default)]
pub(crate) struct Roots(OnceLock<Arc<RootCertStore>>);

impl Roots {
    fn system(&self) -> &Arc<RootCertStore> {
        self.0.get_or_init(|| {
            let mut store = RootCertStore::empty();
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::debug!(%error, "system roots");
            }
            store.add_parsable_certificates(found.certs);
            Arc::new(store)
        })
    }
}

enum Rule {
    Trust(Trust),
    Probe { ca: Option<CaBundle> },
}

#[derive(Clone)]
pub(crate) enum Refusal {
    Changed {
        pinned: Fingerprint,
        seen: Fingerprint,
    },
    Untrusted {
        seen: Fingerprint,
        reason: String,
    },
    Unusable {
        seen: Fingerprint,
        reason: String,
    },
}

impl Refusal {
    pub(crate) fn into_error(self, endpoint: &Endpoint) -> Error {
        let endpoint = endpoint.to_string();
        match self {
            Self::Changed { pinned, seen } => Error::CertificateChanged {
                endpoint,
                pinned,
                seen,
            },
            Self::Untrusted { seen, reason } => Error::CertificateUntrusted {
                endpoint,
                seen,
                reason,
            },
            Self::Unusable { seen, reason } => Error::CertificateUnusable {
                endpoint,
                seen,
                reason,
            },
        }
    }
}

#[derive(Default)]
struct Record {
    refused: Option<Refusal>,
    accepted: Option<(Fingerprint, Accepted)>,
    probed: Option<Probed>,
}

/// What a server showed to a probe. Whether it verifies is found out when somebody asks.
#[derive(Clone)]
struct Probed {
    leaf: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
    name: ServerName<'static>,
    now: UnixTime,
}

/// Checks the certificate of one server, and remembers what it saw.
pub(crate) struct Verifier {
    rule: Rule,
    roots: Arc<Roots>,
    provider: Arc<CryptoProvider>,
    record: Mutex<Record>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier")
    }
}

impl Verifier {
    pub(crate) fn trusting(trust: Trust, roots: Arc<Roots>, provider: Arc<CryptoProvider>) -> Self {
        Self {
            rule: Rule::Trust(trust),
            roots,
            provider,
            record: Mutex::default(),
        }
    }

    pub(crate) fn probing(
        ca: Option<CaBundle>,
        roots: Arc<Roots>,
        provider: Arc<CryptoProvider>,
    ) -> Self {
        Self {
            rule: Rule::Probe { ca },
            roots,
            provider,
            record: Mutex::default(),
        }
    }

    /// The TLS settings that use this verifier.
    pub(crate) fn config(self: Arc<Self>) -> Result<ClientConfig, rustls::Error> {
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .dangerous()
            .with_custom_certificate_verifier(self)
            .with_no_client_auth();
        // A resumed session would show no certificate; there is one handshake per call of ours anyway.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(config)
    }

    fn record(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn refused(&self) -> Option<Refusal> {
        self.record().refused.clone()
    }

    pub(crate) fn accepted(&self) -> Option<(Fingerprint, Accepted)> {
        self.record().accepted
    }

    /// The leaf that a probe was shown.
    pub(crate) fn shown(&self) -> Option<Fingerprint> {
        let record = self.record();
        let probed = record.probed.as_ref()?;
        Some(Fingerprint::of(&probed.leaf))
    }

    /// What a probe was shown, checked under the roots and the authorities of the probe.
    pub(crate) fn probed(&self) -> Option<Handshake> {
        let Probed {
            leaf,
            intermediates,
            name,
            now,
        } = self.record().probed.clone()?;
        let ca = match &self.rule {
            Rule::Probe { ca } | Rule::Trust(Trust::Roots { ca } | Trust::Pinned { ca, .. }) => ca,
        };
        let verified = self.verify_under_roots(ca.as_ref(), &leaf, &intermediates, &name, now);
        Some(Handshake {
            fingerprint: Fingerprint::of(&leaf),
            thumbprint: Thumbprint::of(&leaf),
            unverified: verified.err(),
        })
    }

    fn verify_under_roots(
        &self,
        ca: Option<&CaBundle>,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), String> {
        let mut store = Arc::clone(self.roots.system());
        if let Some(CaBundle(certificates)) = ca {
            Arc::make_mut(&mut store).add_parsable_certificates(certificates.iter().cloned());
        }
        WebPkiServerVerifier::builder_with_provider(store, Arc::clone(&self.provider))
            .build()
            .map_err(|e| e.to_string())?
            .verify_server_cert(leaf, intermediates, name, &[], now)
            .map_err(|e| e.to_string())?;
        Ok(())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let seen = Fingerprint::of(leaf);
        let refuse = |refusal| {
            self.record().refused = Some(refusal);
            // What the user is told comes from the record, not from this.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            ))
        };
        if let Err(reason) = usable(leaf) {
            return refuse(Refusal::Unusable { seen, reason });
        }
        let accept = |how| {
            self.record().accepted = Some((seen, how));
            Ok(ServerCertVerified::assertion())
        };
        match &self.rule {
            Rule::Probe { .. } => {
                self.record().probed = Some(Probed {
                    leaf: leaf.clone().into_owned(),
                    intermediates: intermediates
                        .iter()
                        .map(|c| c.clone().into_owned())
                        .collect(),
                    name: name.to_owned(),
                    now,
                });
                Ok(ServerCertVerified::assertion())
            }
            // The pin first: it needs no roots, and the answer is the same.
            Rule::Trust(Trust::Pinned { pin, .. }) if *pin == seen => accept(Accepted::Pin),
            Rule::Trust(Trust::Pinned { pin, ca }) => {
                match self.verify_under_roots(ca.as_ref(), leaf, intermediates, name, now) {
                    Ok(()) => {
                        tracing::warn!(%pin, %seen, "another certificate than the pinned one, which verifies");
                        accept(Accepted::Roots)
                    }
                    Err(_) => refuse(Refusal::Changed { pinned: *pin, seen }),
                }
            }
            Rule::Trust(Trust::Roots { ca }) => {
                match self.verify_under_roots(ca.as_ref(), leaf, intermediates, name, now) {
                    Ok(()) => accept(Accepted::Roots),
                    Err(reason) => refuse(Refusal::Untrusted { seen, reason }),
                }
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            leaf,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            leaf,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Whether a certificate can prove anything at all, whoever vouches for it.
fn usable(leaf: &CertificateDer<'_>) -> Result<(), String> {
    let parsed =
        ParsedCertificate::try_from(leaf).map_err(|e| format!("it cannot be read: {e}"))?;
    match rsa_bits(&parsed.subject_public_key_info()) {
        Some(bits) if bits < LEAST_RSA_BITS => Err(format!(
            "its RSA key has {bits} bits, at least {LEAST_RSA_BITS} are needed"
        )),
        _ => Ok(()),
    }
}

/// The length of an RSA key from its SubjectPublicKeyInfo (RFC 5280, RFC 8017); `None` for other keys.
fn rsa_bits(spki: &[u8]) -> Option<usize> {
    const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    let (spki, _) = der(spki, 0x30)?;
    let (algorithm, rest) = der(spki, 0x30)?;
    let (oid, _) = der(algorithm, 0x06)?;
    if oid != RSA_ENCRYPTION {
        return None;
    }
    let (bits, _) = der(rest, 0x03)?;
    let (key, _) = der(bits.strip_prefix(&[0])?, 0x30)?;
    let (modulus, _) = der(key, 0x02)?;
    let first = modulus.iter().position(|b| *b != 0)?;
    let significant = &modulus[first..];
    Some(significant.len() * 8 - significant.first()?.leading_zeros() as usize)
}

/// The content of a DER element with this tag, and what follows it.
fn der(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (octets, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (
                octets.iter().try_fold(0usize, |n, b| {
                    n.checked_mul(256)?.checked_add(usize::from(*b))
                })?,
                rest,
            )
        }
        _ => return None,
    };
    (found == tag)
        .then(|| rest.split_at_checked(length))
        .flatten()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    fn certificate(pem: &[u8]) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem).unwrap()
    }

    #[test]
    fn c8_a_certificate_with_a_weak_key_is_refused_with_the_reason() {
        let weak = certificate(include_bytes!("../tests/data/rsa-1024.pem"));
        let reason = usable(&weak).unwrap_err();
        assert!(reason.contains("1024 bits"), "{reason}");
        assert_eq!(
            usable(&certificate(include_bytes!("../tests/data/rsa-2048.pem"))),
            Ok(())
        );

        // Also where it is the pinned one, and the user is told which it was.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let pin = Fingerprint::of(&weak);
        let verifier =
            Verifier::trusting(Trust::Pinned { pin, ca: None }, Arc::default(), provider);
        let name = ServerName::try_from("localhost").unwrap();
        assert!(
            verifier
                .verify_server_cert(&weak, &[], &name, &[], UnixTime::now())
                .is_err()
        );
        let endpoint = Endpoint::new("localhost", 443).unwrap();
        match verifier.refused().unwrap().into_error(&endpoint) {
            Error::CertificateUnusable { seen, reason, .. } => {
                assert!(seen == pin && reason.contains("1024"))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn c8_what_is_no_certificate_is_refused_and_panics_nothing() {
        let whole = certificate(include_bytes!("../tests/data/rsa-2048.pem"));
        for end in 0..whole.len() {
            let cut = CertificateDer::from(&whole[..end]);
            assert!(usable(&cut).is_err(), "cut at {end}");
            assert_eq!(rsa_bits(&whole[..end]), None);
        }
        assert_eq!(rsa_bits(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
