//! Two servers that do not know us, and an environment in which nothing is configured.

use std::fs::{self, File};
use std::path::PathBuf;

use crate::support::env::TestEnv;
use crate::support::incusd::{Incusd, Pair};
use crate::support::outcome::Outcome;

/// Servers and environment of one test.
pub struct Setup {
    pub env: TestEnv,
    pub source: Incusd,
    pub target: Incusd,
}

impl Setup {
    pub fn new() -> Self {
        let Pair { source, target } = Pair::start();
        Self { env: TestEnv::new(), source, target }
    }

    /// `onboard incus lab` with the URLs of both servers.
    pub fn arguments(&self) -> Vec<String> {
        let words = ["onboard", "incus", "lab", "--source-url", &self.source.url(), "--target-url", &self.target.url()];
        words.map(str::to_owned).to_vec()
    }

    /// The same with what follows.
    pub fn onboard(&self, rest: &[&str]) -> Outcome {
        self.env.run(self.arguments().into_iter().chain(rest.iter().map(|&word| word.to_owned())))
    }

    /// The same, with a file as standard input.
    pub fn onboard_with_input(&self, rest: &[&str], input: &str) -> Outcome {
        let arguments = self.arguments().into_iter().chain(rest.iter().map(|&word| word.to_owned()));
        let mut command = self.env.holdall(arguments);
        let shown = format!("{command:?}");
        Outcome::new(shown, command.stdin(File::open(input).unwrap()).output().unwrap())
    }

    /// A file with a new token of a server, and its path as text.
    pub fn token(&self, server: &Incusd, options: &[&str]) -> String {
        let token = server.token(options);
        self.env
            .write_secret(&format!("{}.token", token.len() + usize::from(server.port())), &token)
            .display()
            .to_string()
    }

    /// Where the key and what was pinned are without further words.
    pub fn credentials(&self) -> PathBuf {
        self.env.config_file().with_file_name("incus")
    }

    /// The configuration, empty when there is none.
    pub fn config(&self) -> String {
        fs::read_to_string(self.env.config_file()).unwrap_or_default()
    }

    /// The file with the certificate that was pinned.
    pub fn pin(&self, server: &Incusd) -> PathBuf {
        self.credentials().join(format!("servers/127.0.0.1_{}.pem", server.port()))
    }
}

/// The names of the clients that a server trusts.
pub fn trusted(server: &Incusd) -> Vec<String> {
    let list = server.query("/1.0/certificates?recursion=1");
    list.as_array().unwrap().iter().map(|client| client["name"].as_str().unwrap().to_owned()).collect()
}

/// How many tokens of a server were not used yet.
pub fn unused_tokens(server: &Incusd) -> usize {
    server.incus(["config", "trust", "list-tokens", "--format", "csv"]).lines().filter(|line| !line.is_empty()).count()
}
