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
    /// The key that the device certificate is for.
    pub identity: Identity,
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
        })
    }
}
