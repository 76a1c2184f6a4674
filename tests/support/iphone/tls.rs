//! TLS as a phone does it: it shows the certificate that the host made for it, and wants to see that host's.
//!
//! Nobody looks at names, dates or who signed: libimobiledevice 1.3.0 signs with SHA-1, with empty names. What counts is that the certificate is the
//! one of the pairing, and that the other side has its key.

use std::io;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, ServerConnection, SignatureScheme,
};

use super::pairing::Pairing;

/// The phone's side of a connection with a host that it trusts.
///
/// # Errors
///
/// When there is no such TLS.
pub fn connection(pairing: &Pairing) -> io::Result<ServerConnection> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = PrivateKeyDer::try_from(pairing.identity.private.clone()).map_err(io::Error::other)?;
    let key = provider.key_provider.load_private_key(key).map_err(io::Error::other)?;
    let shown = Shown(Arc::new(CertifiedKey::new(vec![pairing.device.clone()], key)));
    let taken = [&pairing.host, &pairing.root].map(|certificate| certificate.clone().into_owned());
    let taken = (!pairing.takes_anybody).then_some(taken);
    let host = Host { taken, provider: Arc::clone(&provider) };
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_client_cert_verifier(Arc::new(host))
        .with_cert_resolver(Arc::new(shown));
    ServerConnection::new(Arc::new(config)).map_err(io::Error::other)
}

#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Takes the certificates of one host, and no others.
#[derive(Debug)]
struct Host {
    /// `None`: all.
    taken: Option<[CertificateDer<'static>; 2]>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Host {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let is_taken = self.taken.as_ref().is_none_or(|taken| taken.contains(shown));
        is_taken.then(ClientCertVerified::assertion).ok_or(CertificateError::UnknownIssuer.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
