//! TLS in which the server's certificate itself is pinned, as Incus does it: no authority vouches for it, and its names and dates mean nothing.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use sha2::{Digest, Sha256};

use crate::incus::credentials::Identity;

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
    provider: Arc<CryptoProvider>,
}

impl Pin {
    pub(super) fn new(fingerprint: String) -> Arc<Self> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Arc::new(Self { fingerprint, shown: Mutex::new(None), provider })
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
        ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(self.clone())
            .with_client_auth_cert(vec![identity.certificate], identity.key)
            .context("use the client key with its certificate")
    }
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(end_entity.clone().into_owned());
        if fingerprint(end_entity) == self.fingerprint {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
