//! TLS of the virtual iPhone, by a client that can be told which version to speak and what to show.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use plist::{Dictionary, Value};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned, SupportedProtocolVersion,
};

use super::raw::{dictionary, network, request, type_of};
use super::support::iphone::{Phone, Settings};
use super::{told, trusting};

/// Takes one certificate for the phone's.
#[derive(Debug)]
struct Pinned(CertificateDer<'static>, Arc<CryptoProvider>);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        assert_eq!(*shown, self.0);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.1.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.1.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.1.signature_verification_algorithms.supported_schemes()
    }
}

/// A pairing record.
struct Record(Dictionary);

impl Record {
    fn of(phone: &Phone) -> Self {
        let file = phone.muxer().records().join(format!("{}.plist", phone.udid()));
        Self(Value::from_file(file).unwrap().into_dictionary().unwrap())
    }

    fn certificate(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.0.get(&format!("{name}Certificate")).unwrap().as_data().unwrap()).unwrap()
    }

    /// Opens a session by the network, showing what the record has under a name; `None`: nothing. Returns its `SessionID` too.
    fn session(
        &self,
        phone: &Phone,
        version: &'static SupportedProtocolVersion,
        shown: Option<&str>,
    ) -> (String, StreamOwned<ClientConnection, TcpStream>) {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&[version]);
        let pinned = Arc::new(Pinned(self.certificate("Device"), provider));
        let config = config.unwrap().dangerous().with_custom_certificate_verifier(pinned);
        let config = match shown {
            None => config.with_no_client_auth(),
            Some(name) => {
                let key = self.0.get(&format!("{name}PrivateKey")).unwrap().as_data().unwrap();
                let key = PrivateKeyDer::from_pem_slice(key).unwrap();
                config.with_client_auth_cert(vec![self.certificate(name)], key).unwrap()
            }
        };
        let mut socket = network(phone);
        let who = ["HostID", "SystemBUID"].map(|key| (key, self.0.get(key).unwrap().clone()));
        let answer = request(&mut socket, "StartSession", dictionary(who)).unwrap();
        assert_eq!(answer.get("EnableSessionSSL"), Some(&true.into()), "{answer:?}");
        let client = ClientConnection::new(Arc::new(config), "phone".try_into().unwrap()).unwrap();
        (answer.get("SessionID").unwrap().as_string().unwrap().to_owned(), StreamOwned::new(client, socket))
    }
}

fn serial(stream: &mut (impl Read + Write)) -> Option<Dictionary> {
    request(stream, "GetValue", dictionary([("Key", "SerialNumber".into())]))
}

#[test]
fn a_session_is_tls_1_2_or_1_3_with_the_certificates_of_the_pairing_and_can_be_stopped() {
    let phone = trusting(Settings { wifi: true, ..Settings::default() });
    told(&phone, "idevicepair", &["pair"]);
    let record = Record::of(&phone);
    for version in [&TLS12, &TLS13] {
        for shown in ["Host", "Root"] {
            let (id, mut stream) = record.session(&phone, version, Some(shown));
            let answer = serial(&mut stream).unwrap();
            assert_eq!(answer.get("Value").unwrap().as_string(), Some("F4GX000000"));
            assert_eq!(stream.conn.protocol_version(), Some(version.version));
            let stop = request(&mut stream, "StopSession", dictionary([("SessionID", "another".into())])).unwrap();
            assert_eq!(stop.get("Error").unwrap().as_string(), Some("InvalidSessionID"));
            let stop = request(&mut stream, "StopSession", dictionary([("SessionID", id.into())])).unwrap();
            assert_eq!(stop.get("Error"), None);
            // The connection goes on without TLS.
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
            stream.conn.send_close_notify();
            stream.flush().unwrap();
            assert_eq!(type_of(&mut stream.sock).as_deref(), Some("com.apple.mobile.lockdown"));
        }
        let (_, mut stream) = record.session(&phone, version, None);
        let refused = stream.flush().and_then(|()| stream.read(&mut [0]).map(drop));
        assert!(refused.is_err(), "{version:?}");
    }
    assert!(phone.seen().refused_tls.iter().all(|why| why.contains("certificate")), "{:?}", phone.seen().refused_tls);
    assert_eq!(phone.seen().refused_tls.len(), 2);
}
