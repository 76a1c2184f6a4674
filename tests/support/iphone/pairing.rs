//! What a phone keeps of a host that it trusts.

use std::sync::Arc;

use plist::Dictionary;
use rand::RngExt;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::identity::Identity;

/// A host that is trusted.
#[derive(Debug, Clone)]
pub struct Pairing {
    /// The name of the host.
    pub host_id: String,
    /// The name of its muxer.
    pub system_buid: String,
    /// What the phone shows in TLS: made by the host for the phone's key.
    pub device: CertificateDer<'static>,
    /// What the host may show in TLS.
    pub host: CertificateDer<'static>,
    /// What it may show too.
    pub root: CertificateDer<'static>,
    /// With it the phone's keys are opened while it is locked.
    pub escrow_bag: Arc<Vec<u8>>,
    /// The key that the phone uses with it.
    pub identity: Identity,
    /// Whether any certificate is taken for the host's.
    pub takes_anybody: bool,
}

impl Pairing {
    /// Reads the record that a host sends in `Pair`. `None` when something is missing, or the device certificate is not for this phone's key.
    pub fn of(record: &Dictionary, identity: &Identity) -> Option<Self> {
        let text = |key: &str| record.get(key)?.as_string().map(str::to_owned);
        let certificate = |key: &str| CertificateDer::from_pem_slice(record.get(key)?.as_data()?).ok();
        let device = certificate("DeviceCertificate")?;
        let parsed = Certificate::from_der(&device).ok()?;
        let key = parsed.tbs_certificate.subject_public_key_info.subject_public_key;
        if key.as_bytes() != Some(&identity.public) {
            return None;
        }
        Some(Self {
            host_id: text("HostID")?,
            system_buid: text("SystemBUID")?,
            host: certificate("HostCertificate")?,
            root: certificate("RootCertificate")?,
            device,
            escrow_bag: Arc::new(rand::rng().random::<[u8; 32]>().to_vec()),
            identity: identity.clone(),
            takes_anybody: false,
        })
    }

    /// What an impostor takes for a pairing: it believes whoever comes, and shows a certificate which it made itself, or one that it saw elsewhere
    /// and has no key for.
    pub fn of_impostor(identity: &Identity, seen: Option<CertificateDer<'static>>) -> Self {
        let own = || {
            let key = rcgen::KeyPair::try_from(identity.private.as_slice()).unwrap();
            rcgen::CertificateParams::default().self_signed(&key).unwrap().der().clone()
        };
        let device = seen.unwrap_or_else(own);
        Self {
            host_id: String::new(),
            system_buid: String::new(),
            host: device.clone(),
            root: device.clone(),
            device,
            escrow_bag: Arc::new(Vec::new()),
            identity: identity.clone(),
            takes_anybody: true,
        }
    }
}
