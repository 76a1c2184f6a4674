//! Is it the machine that was meant? Its key is compared with the one that was pinned; nothing is ever learnt here.
//!
//! A server has a key of each type and shows one of the type that is asked for first. So a pin may be of another type than the key that comes
//! first, and a key counts as changed only when none that the server has is the pinned one.

use std::fs;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ssh2::{CheckResult, HashType, KnownHostFileKind, MethodType, Session};

use crate::config::SshHostKey;
use crate::error::hinted;

/// The types of host keys, each with the names of its signatures (RFC 8709, 5656, 8332), the best first.
pub(super) const TYPES: [&str; 3] =
    ["ssh-ed25519", "ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521", "rsa-sha2-512,rsa-sha2-256,ssh-rsa"];

/// What a server showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownKey {
    /// `ED25519`, `ECDSA`, `RSA`, as OpenSSH says.
    pub kind: &'static str,
    /// `SHA256:` and the base64 of the hash of the public key.
    pub fingerprint: String,
}

/// How a shown key compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It is the pinned one.
    Right,
    /// It is another one; the server may have the pinned one as well, of another type.
    Other,
}

/// The key that the server has shown in this handshake.
pub(super) fn shown(session: &Session) -> Result<ShownKey> {
    let hash = session.host_key_hash(HashType::Sha256).context("the server showed no key")?;
    let names = session.methods(MethodType::HostKey).unwrap_or_default();
    let kind = match names {
        "ssh-ed25519" => "ED25519",
        name if name.starts_with("ecdsa") => "ECDSA",
        _ => "RSA",
    };
    Ok(ShownKey { kind, fingerprint: format!("SHA256:{}", STANDARD_NO_PAD.encode(hash)) })
}

/// Compares the key of this handshake with what is known of the host.
///
/// # Errors
///
/// When the file of known hosts cannot be read, or says that the key is not to be trusted any more.
pub(super) fn judge(session: &Session, host: &str, port: u16, pinned: &SshHostKey) -> Result<Judgement> {
    let is_right = match pinned {
        SshHostKey::Fingerprint(fingerprint) => shown(session)?.fingerprint == *fingerprint,
        SshHostKey::KnownHosts(file) => {
            let text = fs::read(file).with_context(|| format!("read the known hosts in {}", file.display()))?;
            let (key, _) = session.host_key().context("the server showed no key")?;
            let mut known = session.known_hosts()?;
            for line in String::from_utf8_lossy(&text).lines().map(str::trim) {
                if revokes(line, key) {
                    bail!("the host key of {host} is revoked in {}", file.display());
                }
                // Other marks are of certificates. What is not understood vouches for nobody.
                if !line.is_empty() && !line.starts_with(['#', '@']) {
                    let _ = known.read_str(line, KnownHostFileKind::OpenSSH);
                }
            }
            matches!(known.check_port(host, port, key), CheckResult::Match)
        }
    };
    Ok(if is_right { Judgement::Right } else { Judgement::Other })
}

/// Whether a line of a file of known hosts takes this key back. For which hosts it does so is not looked at: nobody else has the key.
fn revokes(line: &str, key: &[u8]) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some("@revoked")
        && words.nth(2).and_then(|word| STANDARD.decode(word).ok()).is_some_and(|it| it == key)
}

/// What to say when none of the keys that a server has is the one that was pinned with `setting`.
pub(super) fn changed(host: &str, pinned: &SshHostKey, setting: &str, seen: &[ShownKey]) -> anyhow::Error {
    let seen: Vec<String> = seen.iter().map(|key| format!("{} ({})", key.fingerprint, key.kind)).collect();
    let seen = seen.join(", ");
    let (error, place) = match pinned {
        SshHostKey::Fingerprint(pinned) => (
            anyhow!("{host} is not the machine it was: its host key was {pinned} and is {seen}"),
            format!("`{setting}`"),
        ),
        SshHostKey::KnownHosts(file) => {
            let file = file.display();
            (anyhow!("{host} is not known in {file}: its host key is {seen}"), file.to_string())
        }
    };
    let hint = format!(
        "Somebody may be in between: nothing was sent. If the machine was set up anew, compare with \
         `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` typed at its console, then change {place}."
    );
    hinted(error, hint)
}
