//! Two Incus servers, and an environment whose configuration names them and whose key both of them trust.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::env::TestEnv;
use super::incusd::{Incusd, Pair};
use super::outcome::Outcome;

/// Servers and environment of one test.
#[derive(Debug)]
pub struct Bench {
    /// Where holdall runs.
    pub env: TestEnv,
    /// The server that is backed up.
    pub source: Incusd,
    /// The server with the replicas.
    pub target: Incusd,
}

/// Makes `client.key` and `client.crt` in a directory, which end after so many days.
pub fn make_identity(directory: &Path, days: u32) {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1", "-nodes"]);
    openssl.args(["-subj", "/CN=holdall", "-keyout", "client.key", "-out", "client.crt"]);
    let done = openssl.args(["-days", &days.to_string()]).current_dir(directory).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

impl Bench {
    /// Both servers trust the environment's key; nothing is configured yet.
    pub fn new() -> Self {
        let Pair { source, target } = Pair::start();
        let env = TestEnv::new();
        let bench = Self { env, source, target };
        fs::create_dir_all(bench.credentials().join("servers")).unwrap();
        make_identity(&bench.credentials(), 3650);
        let certificate = bench.credentials().join("client.crt");
        for server in [&bench.source, &bench.target] {
            server.incus([OsStr::new("config"), "trust".as_ref(), "add-certificate".as_ref(), certificate.as_os_str()]);
            let pinned = bench.credentials().join(format!("servers/127.0.0.1_{}.pem", server.port()));
            fs::copy(server.dir().join("server.crt"), pinned).unwrap();
        }
        bench
    }

    /// The same with a store and a configuration: see [`Bench::configure`].
    pub fn with(stanza: &str) -> Self {
        let bench = Self::new();
        bench.env.onboard_store();
        bench.configure(stanza);
        bench
    }

    /// The same without a store.
    pub fn without_store(stanza: &str) -> Self {
        let bench = Self::new();
        bench.configure_alone(stanza);
        bench
    }

    /// The directory with what opens the servers.
    pub fn credentials(&self) -> PathBuf {
        self.env.path("credentials")
    }

    /// The table `[incus.lab]` with both servers, to which `rest` belongs: further keys, then projects.
    pub fn stanza(&self, rest: &str) -> String {
        format!(
            "[incus.lab]\nsource = \"{}\"\ntarget = \"{}\"\ncredentials = \"{}\"\n{rest}\n",
            self.source.url(),
            self.target.url(),
            self.credentials().display()
        )
    }

    /// Writes a configuration of the store, which must be there, and of [`Bench::stanza`].
    pub fn configure(&self, rest: &str) {
        self.env.configure(&self.stanza(rest));
    }

    /// The same without the store.
    pub fn configure_alone(&self, rest: &str) {
        fs::write(self.env.config_file(), self.stanza(rest)).unwrap();
    }

    /// Runs holdall.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Outcome {
        self.env.run(arguments)
    }
}
