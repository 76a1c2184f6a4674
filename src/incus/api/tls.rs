//! TLS in which the server's certificate itself is pinned, as Incus does it: no authority vouches for it, and its names and dates mean nothing.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};

use crate::incus::credentials::Identity;
use crate::pinned::{self, Judge};

/// The SHA-256 of a certificate, as 64 lower-case hexadecimal digits: what Incus calls its fingerprint.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    Sha256::digest(certificate).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A server that shows another certificate than the pinned one.
#[derive(Debug, thiserror::Error)]
#[error("the server shows another certificate than the one that was pinned\n  pinned: {pinned}\n  shown:  {shown}")]
pub struct OtherCertificate {
    /// The fingerprint that was expected.
    pub pinned: String,
    /// The fingerprint of what was shown.
    pub shown: String,
}

/// Accepts one certificate and remembers what was shown.
#[derive(Debug)]
pub(super) struct Pin {
    fingerprint: String,
    shown: Mutex<Option<CertificateDer<'static>>>,
}

impl Pin {
    pub(super) fn new(fingerprint: String) -> Arc<Self> {
        Arc::new(Self { fingerprint, shown: Mutex::new(None) })
    }

    /// The certificate that the server has shown last, if any.
    pub(super) fn shown(&self) -> Option<CertificateDer<'static>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The fingerprint of a certificate that was shown and is not the pinned one.
    pub(super) fn other(&self) -> Option<String> {
        self.shown().map(|shown| fingerprint(&shown)).filter(|shown| *shown != self.fingerprint)
    }

    /// The fingerprint that is accepted.
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// How to connect; `identity` is shown when the server asks for it.
    pub(super) fn config(self: &Arc<Self>, identity: Identity) -> Result<ClientConfig> {
        pinned::config(self.clone(), identity.certificate, identity.key)
    }
}

impl Judge for Pin {
    fn accepts(&self, shown: &CertificateDer<'_>) -> bool {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown.clone().into_owned());
        fingerprint(shown) == self.fingerprint
    }
}
