//! TLS with a device, under the key that the pairing record names.
//!
//! No authority vouches for a device. Its certificate was made by us when it was paired, for the key that only it has; so the one that it shows must be just that, or
//! another one for the same key, and the handshake must be signed with the key. Other clients accept any certificate and any signature, and whoever is in the network then
//! gets the escrow bag, and the last backup.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::record::Record;
use super::way::Socket;
use crate::error::hinted;

/// How long the device may take to show who it is.
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody answers who is not the device of the record.
#[derive(Debug, thiserror::Error)]
#[error("what answers is not the device that was paired: it cannot show that it has the device's key")]
pub(super) struct Impostor;

/// How to open TLS with one device.
#[derive(Clone)]
pub(super) struct Tls(TlsConnector);

impl Tls {
    /// For the device of this record.
    ///
    /// # Errors
    ///
    /// When the keys of the record cannot be used.
    pub(super) fn new(record: &Record) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let pin = Pin { certificate: record.device_certificate().clone(), provider: provider.clone() };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("set up TLS")?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(pin))
            .with_client_auth_cert(vec![record.host_certificate().clone()], record.host_key()?)
            .context("use the private key of the pairing record with its certificate")?;
        // A device has no name in the sense of TLS, and each connection shows the key anew.
        config.enable_sni = false;
        config.resumption = Resumption::disabled();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Goes over to TLS on a connection.
    ///
    /// # Errors
    ///
    /// [`Impostor`] when the other side is not the device of the record; else when it breaks off.
    pub(super) async fn wrap(&self, socket: Socket) -> Result<Socket> {
        let name = ServerName::try_from("Device").context("set up TLS")?;
        match timeout(PATIENCE, self.0.connect(name, socket)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(explain(error)),
            Err(_) => Err(explain(io::Error::new(ErrorKind::TimedOut, "no answer within a minute"))),
        }
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

/// The device does not accept the keys of the record.
#[derive(Debug, thiserror::Error)]
#[error("the device refuses the keys of the pairing record: {0:?}")]
pub(super) struct KeysRefused(AlertDescription);

fn explain(error: io::Error) -> Error {
    told(&error).unwrap_or_else(|| Error::new(error).context("open an encrypted connection to the device"))
}

/// What an error of TLS means for people, if it is one. In TLS 1.3 our keys are refused only when the first answer is read.
pub(super) fn told(error: &io::Error) -> Option<Error> {
    let of_tls = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match of_tls {
        rustls::Error::InvalidCertificate(_) => hinted(
            Impostor,
            "Nothing was sent to it. If the device was set up anew: `holdall pair --remove UDID`, and then `holdall pair` with it on USB. Else somebody in the network \
             pretends to be it.",
        ),
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) | rustls::Error::PeerIncompatible(_) => hinted(
            anyhow!("the device and holdall have no version of TLS in common: {of_tls}"),
            "Its system is too old: TLS 1.2 is asked for.",
        ),
        rustls::Error::AlertReceived(alert) => {
            hinted(KeysRefused(*alert), "Run `holdall pair` with the device on USB.")
        }
        _ => anyhow!("the encrypted connection to the device is broken: {of_tls}"),
    })
}

/// Accepts one key.
#[derive(Debug)]
struct Pin {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl Pin {
    fn has_same_key(&self, shown: &CertificateDer<'_>) -> bool {
        let key = |certificate| ParsedCertificate::try_from(certificate).map(|parsed| parsed.subject_public_key_info());
        matches!((key(&self.certificate), key(shown)), (Ok(known), Ok(shown)) if known == shown)
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
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.certificate || self.has_same_key(end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
