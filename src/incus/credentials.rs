//! What opens Incus servers: our key and certificate, and the certificates of the servers that were pinned when they were onboarded.
//!
//! ```text
//! DIR/client.crt, DIR/client.key              ours; IncusAutobackup's iab_client.crt and iab_client.key are taken, too
//! DIR/servers/HOST_PORT.pem                   of a server; IncusAutobackup's HOST.pem is taken, too
//! ```

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::{Annotate, hinted};
use crate::secret::Secret;

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
        let text = Secret::file(&key).read().with_context(|| format!("read the client key {}", key.display()))?;
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes())
            .with_context(|| format!("{} is not a private key", key.display()))?;
        Ok(Identity { certificate: read_certificate(&certificate)?, key })
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
        let own = self.server_file(url);
        let host = url.strip_prefix("https://").and_then(|rest| rest.rsplit_once(':')).map_or(url, |(host, _)| host);
        let without_port = own.with_file_name(format!("{}.pem", plain(host)));
        let file = [&own, &without_port].into_iter().find(|file| file.exists()).ok_or_else(|| {
            let hint = "`holdall onboard incus` pins it, with a token of that server.";
            hinted(anyhow!("no certificate of {url} is pinned in {}", self.directory.display()), hint)
        })?;
        read_certificate(file)
    }
}

fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' }).collect()
}

fn read_certificate(file: &Path) -> Result<CertificateDer<'static>> {
    let text = match fs::read(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(error)
                .with_context(|| format!("read the certificate {}", file.display()))
                .hint("`holdall onboard incus` makes one.");
        }
        other => other.with_context(|| format!("read the certificate {}", file.display()))?,
    };
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
}
