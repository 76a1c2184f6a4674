//! Keys as `ssh-keygen` makes them.

use std::fmt;
use std::path::Path;
use std::process::Command;

/// What opens a key that is locked.
pub const PASSPHRASE: &str = "open sesame, if you please";

/// A type of key, of a server or of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    Ed25519,
    Ecdsa,
    Rsa,
}

impl fmt::Display for KeyType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Ed25519 => "ed25519",
            Self::Ecdsa => "ecdsa",
            Self::Rsa => "rsa",
        })
    }
}

/// Makes a private key, and its public half beside it.
pub(super) fn make(file: &Path, kind: KeyType, passphrase: &str) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", &kind.to_string(), "-N", passphrase, "-C", "test"]);
    if kind == KeyType::Rsa {
        // The least that OpenSSH's defaults leave alone: longer ones take seconds to find.
        command.args(["-b", "2048"]);
    }
    super::run(command.arg("-f").arg(file));
}

/// `SHA256:…` of a key, given one of its halves.
pub fn fingerprint_of(key: &Path) -> String {
    let said = super::run(Command::new("ssh-keygen").arg("-lf").arg(key));
    said.split(' ').nth(1).unwrap().to_owned()
}
