//! TLS in which we ourselves judge the certificate that is shown, and no authority does: its names and dates mean nothing.

use std::fmt::Debug;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

/// Who knows the certificate that is meant.
pub trait Judge: Debug + Send + Sync + 'static {
    /// Whether this is the certificate, or one as good. That its owner is there is seen to by the handshake, which is signed with its key.
    fn accepts(&self, shown: &CertificateDer<'_>) -> bool;
}

/// How to connect to whom the judge accepts, with a certificate and a key of our own for when they are asked for.
///
/// # Errors
///
/// When the key is none, or not that of the certificate.
pub fn config<J: Judge>(
    judge: Arc<J>,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .context("set up TLS")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { judge, provider }))
        .with_client_auth_cert(vec![certificate], key)
        .context("use the private key with its certificate")
}

#[derive(Debug)]
struct Verifier<J> {
    judge: Arc<J>,
    provider: Arc<CryptoProvider>,
}

impl<J: Judge> ServerCertVerifier for Verifier<J> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.judge.accepts(end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
