//! Is it the machine that was meant? Its key is compared with the one that was pinned; nothing is ever learnt here.
//!
//! A server has a key of each type and shows one of the type that is asked for first. So a pin may be of another type than the key that comes
//! first, and a key counts as changed only when none that the server has is the pinned one.

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ssh2::{CheckResult, HashType, KnownHostFileKind, MethodType, Session};

use crate::config::SshHostKey;
use crate::error::Annotate;

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
/// When the file of known hosts cannot be read.
pub(super) fn judge(session: &Session, host: &str, port: u16, pinned: &SshHostKey) -> Result<Judgement> {
    let is_right = match pinned {
        SshHostKey::Fingerprint(fingerprint) => shown(session)?.fingerprint == *fingerprint,
        SshHostKey::KnownHosts(file) => {
            let mut known = session.known_hosts()?;
            known
                .read_file(file, KnownHostFileKind::OpenSSH)
                .with_context(|| format!("read the known hosts in {}", file.display()))?;
            let (key, _) = session.host_key().context("the server showed no key")?;
            matches!(known.check_port(host, port, key), CheckResult::Match)
        }
    };
    Ok(if is_right { Judgement::Right } else { Judgement::Other })
}

/// What to say when none of the keys that a server has is the one that was pinned.
pub(super) fn changed(host: &str, pinned: &SshHostKey, seen: &[ShownKey]) -> anyhow::Error {
    let seen: Vec<String> = seen.iter().map(|key| format!("{} ({})", key.fingerprint, key.kind)).collect();
    let seen = seen.join(", ");
    let error = match pinned {
        SshHostKey::Fingerprint(pinned) => {
            anyhow!("{host} is not the machine it was: its host key was {pinned} and is {seen}")
        }
        SshHostKey::KnownHosts(file) => anyhow!("{host} is not known in {}: its host key is {seen}", file.display()),
    };
    let change = match pinned {
        SshHostKey::Fingerprint(_) => {
            "put the new fingerprint into `host-key` (`jump-host-key` for a machine on the way)".to_owned()
        }
        SshHostKey::KnownHosts(file) => format!("put the new key into {}", file.display()),
    };
    let hinted: Result<()> = Err(error).hint(format!(
        "Somebody may be in between: nothing was sent. If the machine was set up anew, compare with \
         `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` typed at its console, then {change}."
    ));
    hinted.err().unwrap_or_else(|| anyhow!("the host key has changed"))
}
