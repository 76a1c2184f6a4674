//! The phone's own key: hosts make a certificate for it when they pair.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A key pair, RSA with 2048 bits.
#[derive(Clone)]
pub struct Identity {
    /// PKCS#8.
    pub private: Vec<u8>,
    /// PKCS#1, DER.
    pub public: Vec<u8>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Identity")
    }
}

impl Identity {
    /// Makes one.
    pub fn make() -> Self {
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        Self { private: key.as_der().unwrap().as_ref().to_vec(), public: key.public_key().as_ref().to_vec() }
    }

    /// `DevicePublicKey`: PEM, PKCS#1.
    pub fn public_pem(&self) -> Vec<u8> {
        let text = STANDARD.encode(&self.public);
        let lines = text.as_bytes().chunks(64).map(|line| format!("{}\n", String::from_utf8_lossy(line)));
        let body = lines.collect::<String>();
        format!("-----BEGIN RSA PUBLIC KEY-----\n{body}-----END RSA PUBLIC KEY-----\n").into_bytes()
    }
}
