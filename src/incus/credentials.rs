//! What opens Incus servers: our key and certificate, and the certificates of the servers that were pinned when they were onboarded.
//!
//! ```text
//! DIR/client.crt, DIR/client.key              ours; IncusAutobackup's iab_client.crt and iab_client.key are taken, too
//! DIR/servers/HOST_PORT.pem                   of a server; IncusAutobackup's HOST.pem is taken, too
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::certificate::Made;
use crate::error::hinted;
use crate::secret::{self, Secret};

/// The names of our certificate and its key: our own, and those of IncusAutobackup.
const NAMES: [(&str, &str); 2] = [("client.crt", "client.key"), ("iab_client.crt", "iab_client.key")];

/// A directory of credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    directory: PathBuf,
}

/// What we show to servers.
#[derive(Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
}

impl Credentials {
    /// Those in this directory, which need not be there yet.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The files of our certificate and its key: those that are there, else where they belong.
    pub fn identity_files(&self) -> (PathBuf, PathBuf) {
        let files = NAMES.map(|(certificate, key)| (self.directory.join(certificate), self.directory.join(key)));
        let there = files.iter().find(|(certificate, key)| certificate.exists() || key.exists());
        there.unwrap_or(&files[0]).clone()
    }

    /// What we show to servers.
    ///
    /// # Errors
    ///
    /// When it is not there, or others may read the key.
    pub fn identity(&self) -> Result<Identity> {
        let (certificate, key) = self.identity_files();
        self.must_be_whole(&certificate, &key)?;
        let text = Secret::file(&key).read().context("read the client key")?;
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes())
            .with_context(|| format!("{} is not a private key", key.display()))?;
        Ok(Identity { certificate: read_certificate(&certificate)?, key })
    }

    fn must_be_whole(&self, certificate: &Path, key: &Path) -> Result<()> {
        let (there, missing) = match (certificate.exists(), key.exists()) {
            (true, true) => return Ok(()),
            (false, false) => {
                let text = format!("there is no key of ours in {}", self.directory.display());
                return Err(hinted(
                    anyhow!(text),
                    "`holdall onboard incus` makes one, and makes it known to the servers.",
                ));
            }
            (true, false) => (certificate, key),
            (false, true) => (key, certificate),
        };
        let hint = "Bring the missing one back. If it is lost, move the other one away, too, and run `holdall onboard incus` with new tokens \
                    and --force.";
        Err(hinted(anyhow!("{} is there, but {} is not", there.display(), missing.display()), hint))
    }

    /// Whether there is a key or a certificate of ours, good or not.
    ///
    /// # Errors
    ///
    /// When one cannot look.
    pub fn has_identity(&self) -> Result<bool> {
        let (certificate, key) = self.identity_files();
        let there = |file: &Path| file.try_exists().with_context(|| format!("look at {}", file.display()));
        Ok(there(&key)? || there(&certificate)?)
    }

    /// Writes what we show to servers from now on; only its owner can read it.
    ///
    /// # Errors
    ///
    /// When there is a key or a certificate already: neither is ever overwritten.
    pub fn keep_identity(&self, made: &Made) -> Result<()> {
        let (certificate, key) = self.identity_files();
        // With a key alone there is nothing that a server could trust, and nothing is lost.
        secret::write_new(&key, made.key.as_bytes())
            .with_context(|| format!("make the client key {}", key.display()))?;
        secret::write_new(&certificate, made.certificate.as_bytes())
            .with_context(|| format!("make the client certificate {}", certificate.display()))
    }

    /// Where the certificate of the server at this URL belongs.
    pub fn server_file(&self, url: &str) -> PathBuf {
        let host_and_port = url.strip_prefix("https://").unwrap_or(url);
        self.directory.join("servers").join(format!("{}.pem", plain(host_and_port)))
    }

    /// The certificate that was pinned for the server at this URL.
    ///
    /// # Errors
    ///
    /// When none was.
    pub fn server_certificate(&self, url: &str) -> Result<CertificateDer<'static>> {
        self.find_pin(url)?.ok_or_else(|| {
            let hint = "`holdall onboard incus` pins it, with a token of that server.";
            hinted(anyhow!("no certificate of {url} is pinned in {}", self.directory.display()), hint)
        })
    }

    /// The same; `None` when none was.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn find_pin(&self, url: &str) -> Result<Option<CertificateDer<'static>>> {
        let own = self.server_file(url);
        let host = url.strip_prefix("https://").and_then(|rest| rest.rsplit_once(':')).map_or(url, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let without_port = own.with_file_name(format!("{}.pem", plain(host)));
        [own, without_port].iter().find(|file| file.exists()).map(|file| read_certificate(file)).transpose()
    }

    /// Pins the certificate of the server at this URL, in the place of one that was pinned before.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn pin(&self, url: &str, certificate: &CertificateDer<'_>) -> Result<()> {
        let file = self.server_file(url);
        let digits = STANDARD.encode(certificate);
        let lines: Vec<&str> =
            (0..digits.len()).step_by(64).filter_map(|at| digits.get(at..digits.len().min(at + 64))).collect();
        let text = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"));
        secret::write_over(&file, text.as_bytes())
            .with_context(|| format!("pin the certificate of {url} in {}", file.display()))
    }
}

impl Identity {
    /// What was just made.
    ///
    /// # Errors
    ///
    /// When it is not what was to be made.
    pub fn of(made: &Made) -> Result<Self> {
        let key = PrivateKeyDer::from_pem_slice(made.key.as_bytes()).context("read the new key")?;
        let certificate = CertificateDer::from_pem_slice(made.certificate.as_bytes());
        Ok(Self { certificate: certificate.context("read the new certificate")?, key })
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { certificate: self.certificate.clone(), key: self.key.clone_key() }
    }
}

fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' }).collect()
}

/// A certificate in a file, as PEM.
pub(super) fn read_certificate(file: &Path) -> Result<CertificateDer<'static>> {
    let text = fs::read(file).with_context(|| format!("read the certificate {}", file.display()))?;
    CertificateDer::from_pem_slice(&text).with_context(|| format!("{} is not a certificate", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_on_one_host_have_files_of_their_own() {
        let credentials = Credentials::new("/c");
        let file = |url| credentials.server_file(url).display().to_string();
        assert_eq!(file("https://nas.lan:8443"), "/c/servers/nas.lan_8443.pem");
        assert_eq!(file("https://nas.lan:8444"), "/c/servers/nas.lan_8444.pem");
        assert_eq!(file("https://[fd00::1]:8443"), "/c/servers/_fd00__1__8443.pem");
    }

    #[test]
    fn pin_is_found_again_and_the_file_of_incusautobackup_has_no_port() {
        let scratch = tempfile::tempdir().unwrap();
        let credentials = Credentials::new(scratch.path().join("new"));
        let certificate = CertificateDer::from((0..200).collect::<Vec<u8>>());
        let (here, there) = ("https://nas:8443", "https://[fd00::1]:8443");
        credentials.pin(here, &certificate).unwrap();
        assert_eq!(credentials.find_pin(here).unwrap(), Some(certificate.clone()));
        assert_eq!(credentials.find_pin("https://nas:8444").unwrap(), None);
        assert_eq!(credentials.find_pin(there).unwrap(), None);
        fs::rename(credentials.server_file(here), credentials.directory().join("servers/fd00__1.pem")).unwrap();
        assert_eq!(credentials.find_pin(there).unwrap(), Some(certificate));
    }

    #[test]
    fn key_is_for_its_owner_alone_and_never_overwritten() {
        use std::os::unix::fs::MetadataExt;
        let scratch = tempfile::tempdir().unwrap();
        let credentials = Credentials::new(scratch.path().join("new"));
        let made = super::super::certificate::make("nas", chrono::Utc::now()).unwrap();
        assert!(!credentials.has_identity().unwrap());
        credentials.keep_identity(&made).unwrap();
        assert!(credentials.has_identity().unwrap() && credentials.identity().is_ok());
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(credentials.directory()), 0o700);
        assert_eq!(mode(&credentials.identity_files().1), 0o600);
        let before = fs::read(credentials.identity_files().1).unwrap();
        assert!(credentials.keep_identity(&made).is_err());
        assert_eq!(fs::read(credentials.identity_files().1).unwrap(), before);
        fs::remove_file(credentials.identity_files().0).unwrap();
        let error = credentials.identity().unwrap_err().to_string();
        assert!(error.ends_with("client.crt is not") && error.contains("client.key is there"), "{error}");
    }
}
