//! Real mail servers: aiosmtpd, with TLS, STARTTLS and logins, that refuse whom they are told to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::daemon::{Daemon, free_ports, from_venv, listens};

/// The user that servers with logins let in.
pub const USER: &str = "nas@example.org";
/// That user's password.
pub const PASSWORD: &str = "mail-84c1-secret";

/// What a server is to be.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `wrapped`, `started` or `never`.
    pub tls: &'static str,
    /// Whether it wants a login.
    pub login: bool,
    /// Whose mail it does not take.
    pub refused: Vec<&'static str>,
    /// How many mails it puts off before it takes one.
    pub busy: u32,
    /// For what name its certificate is.
    pub name: &'static str,
}

impl Default for Settings {
    fn default() -> Self {
        Self { tls: "wrapped", login: true, refused: Vec::new(), busy: 0, name: "localhost" }
    }
}

/// A running mail server; ended and removed when dropped.
#[derive(Debug)]
pub struct MailServer {
    _daemon: Daemon,
    port: u16,
    scheme: &'static str,
    directory: TempDir,
}

impl MailServer {
    /// Starts a server of this kind.
    pub fn start(settings: &Settings) -> Self {
        let directory = tempfile::Builder::new().prefix("holdall-mail-").tempdir().unwrap();
        let [port] = free_ports();
        make_certificates(directory.path(), settings.name);
        let path = |name: &str| directory.path().join(name);
        let told = json!({
            "port": port,
            "tls": settings.tls,
            "user": settings.login.then_some(USER),
            "password": PASSWORD,
            "refused": settings.refused,
            "busy": settings.busy,
            "certificate": path("server.pem"),
            "key": path("server.key"),
            "mails": path("mails.jsonl"),
        });
        fs::write(path("settings.json"), told.to_string()).unwrap();
        let mut command = Command::new(from_venv("python3"));
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/mail.py")).arg(path("settings.json"));
        let mut daemon = Daemon::start(command, &path("log"));
        daemon.wait_until(|| listens(port));
        let scheme = match settings.tls {
            "wrapped" => "smtps",
            "started" => "smtp",
            _ => "smtp+plain",
        };
        Self { _daemon: daemon, port, scheme, directory }
    }

    /// Its address, as the configuration has it.
    pub fn url(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.port)
    }

    /// Its port on the loopback interface.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of the authority that vouches for it.
    pub fn ca_file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// The mails that it took.
    pub fn mails(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.directory.path().join("mails.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A header of a mail.
pub fn header<'m>(mail: &'m Value, name: &str) -> &'m str {
    let headers = mail["headers"].as_array().unwrap();
    let found: Vec<&Value> = headers.iter().filter(|header| header[0] == name).collect();
    assert_eq!(found.len(), 1, "{name} in {headers:?}");
    found[0][1].as_str().unwrap()
}

fn make_certificates(directory: &Path, name: &str) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    fs::write(directory.join("ca.pem"), authority.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(authority, key);
    let server_key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&server_key, &issuer).unwrap();
    fs::write(directory.join("server.pem"), server.pem()).unwrap();
    fs::write(directory.join("server.key"), server_key.serialize_pem()).unwrap();
}
