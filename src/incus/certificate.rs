//! Certificates: makes ours, and says when one ends. The only user of rcgen and x509-cert.
//!
//! Servers take a client for the one whose certificate they were given; no authority signs it, and nobody looks at its names. But one
//! that has ended opens nothing any more (`CheckTrustState` in Incus's `internal/server/util/http.go`), and servers compare the dates of each
//! other's when they copy.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use chrono::{DateTime, TimeDelta, Utc};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P384_SHA384, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::api::Server;
use super::{Replication, Servers};

/// How long ours is good for.
const GOOD_FOR: TimeDelta = TimeDelta::days(10 * 365);

/// By how much a server's clock may be behind.
const BACKDATED: TimeDelta = TimeDelta::minutes(5);

/// How long before its end a certificate is worth a warning.
const SOON: TimeDelta = TimeDelta::days(30);

/// A private key and its certificate, as PEM.
pub struct Made {
    /// PKCS#8.
    pub key: String,
    /// X.509, signed by its own key.
    pub certificate: String,
}

/// Makes a key on the curve P-384, and a certificate that says `holdall@HOST`.
///
/// # Errors
///
/// When there are no random numbers.
pub fn make(host: &str, now: DateTime<Utc>) -> Result<Made> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).context("make a private key")?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("holdall@{host}"));
    let since_1970 = |time: DateTime<Utc>| Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0));
    params.not_before = date_time_ymd(1970, 1, 1) + since_1970(now - BACKDATED);
    params.not_after = date_time_ymd(1970, 1, 1) + since_1970(now + GOOD_FOR);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.self_signed(&key).context("make a certificate")?;
    Ok(Made { key: key.serialize_pem(), certificate: certificate.pem() })
}

/// The last moment at which a certificate is good.
///
/// # Errors
///
/// When it is none.
pub fn end(certificate: &CertificateDer<'_>) -> Result<DateTime<Utc>> {
    let parsed = Certificate::from_der(certificate).context("read the certificate")?;
    let seconds = parsed.tbs_certificate.validity.not_after.to_unix_duration().as_secs();
    let end = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    end.ok_or_else(|| anyhow!("the certificate ends at no date"))
}

/// The end of a certificate, when it has come or is at most 30 days away.
///
/// # Errors
///
/// When it is no certificate.
pub fn ends_soon(certificate: &CertificateDer<'_>, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
    Ok(Some(end(certificate)?).filter(|end| *end <= now + SOON))
}

/// One line for each certificate of a replication, ours and the servers', that ends within 30 days or has ended.
pub fn expiring(replication: &Replication, servers: &Servers, now: DateTime<Utc>) -> Vec<String> {
    let mut lines = Vec::new();
    let (file, _) = replication.credentials.identity_files();
    if let Ok(identity) = replication.credentials.identity()
        && let Ok(Some(end)) = ends_soon(&identity.certificate, now)
    {
        lines.push(format!(
            "our own certificate {} {}: after that no server trusts us. Move it and its key away, make new tokens on the \
             servers with `incus config trust add holdall`, and run `holdall onboard incus {}` with them",
            file.display(),
            ends_when(end, now),
            replication.config.common.name
        ));
    }
    for server in std::iter::once(&servers.source).chain(&servers.target) {
        lines.extend(of_server(server, replication, now));
    }
    lines
}

fn of_server(server: &Server, replication: &Replication, now: DateTime<Utc>) -> Option<String> {
    let end = ends_soon(&server.certificate()?, now).ok()??;
    let (role, address, name) = (server.role().word(), server.address(), &replication.config.common.name);
    Some(format!(
        "the certificate of the {role} {address} {}: after that servers refuse to copy. Give it a new one, and run `holdall \
         onboard incus {name} --{role}-token-file FILE --force` with a new token",
        ends_when(end, now)
    ))
}

fn ends_when(end: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let day = end.format("%Y-%m-%d");
    match (end - now).num_days() {
        _ if end <= now => format!("has ended on {day}"),
        0 => format!("ends today or tomorrow, on {day}"),
        days => format!("ends in {days} days, on {day}"),
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn certificate_of_ours_holds_ten_years_and_is_told_of_thirty_days_before_its_end() {
        let now: DateTime<Utc> = "2026-02-05T12:00:00Z".parse().unwrap();
        let made = make("nas", now).unwrap();
        assert!(made.key.starts_with("-----BEGIN PRIVATE KEY-----"));
        PrivateKeyDer::from_pem_slice(made.key.as_bytes()).unwrap();
        let der = CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap();
        let parsed = Certificate::from_der(&der).unwrap().tbs_certificate;
        assert_eq!(parsed.subject.to_string(), "CN=holdall@nas");
        assert_eq!(parsed.validity.not_before.to_unix_duration().as_secs(), now.timestamp() as u64 - 300);
        let last = end(&der).unwrap();
        assert_eq!(last, now + TimeDelta::days(3650));
        assert_eq!(ends_soon(&der, now).unwrap(), None);
        assert_eq!(ends_soon(&der, last - TimeDelta::seconds(30 * 86400 + 1)).unwrap(), None);
        assert_eq!(ends_soon(&der, last - TimeDelta::days(30)).unwrap(), Some(last));
        assert_eq!(ends_when(last, last - TimeDelta::days(30)), "ends in 30 days, on 2036-02-03");
        assert_eq!(ends_when(last, last), "has ended on 2036-02-03");
        assert!(end(&CertificateDer::from(vec![0x30, 0x82])).is_err());
    }
}
