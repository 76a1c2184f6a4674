//! TLS with a device, under the key that the pairing record names.
//!
//! No authority vouches for a device. Its certificate was made by us when it was paired, for the key that only it has; so the one that it shows must be just that, or
//! another one for the same key, and the handshake must be signed with the key. Other clients accept any certificate and any signature, and whoever is in the network then
//! gets the escrow bag, and the last backup.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow};
use rustls::AlertDescription;
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::record::Record;
use super::way::Socket;
use crate::error::hinted;
use crate::pinned::{self, Judge};

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
        let pin = Arc::new(Pin { certificate: record.device_certificate().clone() });
        let mut config = pinned::config(pin, record.host_certificate().clone(), record.host_key()?)
            .context("use the keys of the pairing record")?;
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
}

impl Judge for Pin {
    fn accepts(&self, shown: &CertificateDer<'_>) -> bool {
        let key = |certificate| ParsedCertificate::try_from(certificate).map(|parsed| parsed.subject_public_key_info());
        *shown == self.certificate
            || matches!((key(&self.certificate), key(shown)), (Ok(known), Ok(shown)) if known == shown)
    }
}
