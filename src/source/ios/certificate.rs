//! The keys and certificates of a pairing, as libimobiledevice makes them (common/userpref.c, `pair_record_generate_keys_and_certs`): a root, and signed by it one
//! certificate of this machine and one for the device's own key.
//!
//! Nobody looks at names and dates: each side knows the other by its key. So the dates hold whatever a device with an empty battery takes for today.

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_RSA_SHA256, PublicKeyData, SignatureAlgorithm, date_time_ymd,
};

/// The longest key of a device that is taken, in bytes; one of 2048 bits has 270.
const LONGEST: usize = 4096;

/// How a key begins in DER.
const SEQUENCE: u8 = 0x30;

/// What a pairing is made of, all as PEM.
pub(super) struct Made {
    /// The certificate for the device's key.
    pub(super) device: String,
    /// The certificate of this machine.
    pub(super) host: String,
    /// The certificate that both are signed with.
    pub(super) root: String,
    /// The private key of this machine.
    pub(super) host_key: String,
    /// The private key of the root.
    pub(super) root_key: String,
}

/// The public key of a device.
struct DeviceKey(Vec<u8>);

impl PublicKeyData for DeviceKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

/// Makes new keys of 2048 bits and their certificates, for a device with this public key: PEM, `RSA PUBLIC KEY`.
///
/// # Errors
///
/// When that is no such key, or there are no random numbers.
pub(super) fn make(device_key: &[u8]) -> Result<Made> {
    let device_key = DeviceKey(public_key(device_key)?);
    let [root_key, host_key] = [KeyPair::generate_for(&PKCS_RSA_SHA256), KeyPair::generate_for(&PKCS_RSA_SHA256)];
    let (root_key, host_key) = (root_key.context("make a private key")?, host_key.context("make a private key")?);
    let mut authority = parameters("holdall root");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let root = authority.self_signed(&root_key).context("make a certificate")?;
    let root_key_pem = root_key.serialize_pem();
    let issuer = Issuer::new(authority, root_key);
    let device = parameters("Device").signed_by(&device_key, &issuer).context("make a certificate for the device")?;
    let host = parameters("holdall").signed_by(&host_key, &issuer).context("make a certificate")?;
    Ok(Made {
        device: device.pem(),
        host: host.pem(),
        root: root.pem(),
        host_key: host_key.serialize_pem(),
        root_key: root_key_pem,
    })
}

fn parameters(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.not_before = date_time_ymd(1970, 1, 2);
    parameters.not_after = date_time_ymd(2049, 12, 31);
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    parameters
}

/// The PKCS#1 bytes of a key in PEM.
fn public_key(pem: &[u8]) -> Result<Vec<u8>> {
    let inner = || {
        let text = std::str::from_utf8(pem.get(..pem.len().min(LONGEST))?).ok()?;
        let (_, rest) = text.split_once("-----BEGIN RSA PUBLIC KEY-----")?;
        let (digits, _) = rest.split_once("-----END RSA PUBLIC KEY-----")?;
        let digits: String = digits.chars().filter(|c| !c.is_whitespace()).collect();
        STANDARD.decode(digits).ok().filter(|bytes| bytes.first() == Some(&SEQUENCE))
    };
    inner().context("the device's public key is none of RSA")
}

#[cfg(test)]
pub(super) mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use rustls::server::ParsedCertificate;

    use super::*;

    fn pem(kind: &str, bytes: &[u8]) -> String {
        format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", STANDARD.encode(bytes))
    }

    /// A key as a device has one, in its words.
    pub(in crate::source::ios) fn device_key() -> Vec<u8> {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        pem("RSA PUBLIC KEY", key.der_bytes()).into_bytes()
    }

    #[test]
    fn certificate_of_the_device_holds_its_own_key() {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let made = make(pem("RSA PUBLIC KEY", key.der_bytes()).as_bytes()).unwrap();
        let spki = |pem: &str| {
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
            ParsedCertificate::try_from(&der).unwrap().subject_public_key_info().to_vec()
        };
        assert_eq!(spki(&made.device), key.subject_public_key_info());
        assert_eq!(spki(&made.host), KeyPair::from_pem(&made.host_key).unwrap().subject_public_key_info());
        assert_eq!(spki(&made.root), KeyPair::from_pem(&made.root_key).unwrap().subject_public_key_info());
        assert_ne!(spki(&made.host), spki(&made.root));
    }

    #[test]
    fn what_is_no_key_is_an_error() {
        let other = pem("PUBLIC KEY", b"\x30\x82");
        let wrong = pem("RSA PUBLIC KEY", b"abc");
        for text in ["", "-----BEGIN RSA PUBLIC KEY-----", &other, &wrong] {
            assert!(make(text.as_bytes()).is_err(), "{text}");
        }
    }
}
