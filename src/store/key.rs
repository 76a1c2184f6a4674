//! The key file of a new repository.
//!
//! It holds the master key, sealed with a key that is derived from the password; the layout is restic's (its doc/design.rst, "Keys, Encryption
//! and MAC"). rustic_core would write one whose derivation takes 128 MiB of memory at every start of every command, which is more than all
//! the rest of holdall takes together. This one takes 32 MiB, as restic's own.

use anyhow::{Context, Result};
use chrono::Utc;
use rand::Rng;
use rustic_core::WriteBackend;
use rustic_core::repofile::{KeyFile, MasterKey};
use rustic_core::{FileType, Id};

use super::explain;
use super::format::BlobId;
use super::seal::Sealer;

/// scrypt's parameters: N as a power of two, r, p. Memory is 128 · N · r bytes, time goes with N · r · p. OWASP's Password Storage Cheat Sheet names
/// these among those of equal strength.
const LOG_N: u8 = 15;
const R: u32 = 8;
const P: u32 = 3;

/// Writes a key file that opens the repository of `master` with `password`.
pub(super) fn write(backend: &dyn WriteBackend, master: &MasterKey, password: &str) -> Result<()> {
    let file = make(master, password)?;
    let content = serde_json::to_vec(&file).context("write the key file")?;
    let id = Id::from(BlobId::of(&content));
    backend
        .write_bytes(FileType::Key, &id, false, content.into())
        .map_err(|error| explain(*error))
        .context("write the key file")
}

fn make(master: &MasterKey, password: &str) -> Result<KeyFile> {
    let mut salt = vec![0; 64];
    rand::rng().fill_bytes(&mut salt);
    let mut derived = [0; 64];
    let parameters = scrypt::Params::new(LOG_N, R, P).context("derive a key from the password")?;
    scrypt::scrypt(password.as_bytes(), &salt, &parameters, &mut derived).context("derive a key from the password")?;
    // restic's layout of the 64 bytes.
    let mut key = MasterKey::new();
    key.encrypt = derived[..32].to_vec();
    key.mac.k = derived[32..48].to_vec();
    key.mac.r = derived[48..].to_vec();
    let plain = serde_json::to_vec(master).context("write the key file")?;
    let created = rustic_core::jiff::Timestamp::from_second(Utc::now().timestamp())
        .context("tell the time")?
        .to_zoned(rustic_core::jiff::tz::TimeZone::UTC);
    Ok(KeyFile {
        hostname: hostname(),
        username: None,
        created: Some(created),
        kdf: "scrypt".to_owned(),
        n: 1 << LOG_N,
        r: R,
        p: P,
        data: Sealer::new(&key, None)?.seal(&plain)?,
        salt,
    })
}

/// Where the key was made, as `restic key list` shows it.
fn hostname() -> Option<String> {
    Some(rustix::system::uname().nodename().to_string_lossy().into_owned())
}
