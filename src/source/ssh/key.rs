//! The key that holdall logs in with. The only user of ssh-key.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{LineEnding, PrivateKey, PublicKey};

use crate::durable::sync_directory;
use crate::error::Annotate;
use crate::secret::make_private_dir;

/// Makes a new ed25519 key in a file that only its owner can read, and the public key beside it, as `ssh-keygen` does. Never takes the
/// place of another file.
///
/// # Errors
///
/// When there is a file already, or none can be made.
pub fn make(path: &Path, comment: &str) -> Result<()> {
    let mut seed = [0; 32];
    File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut seed)).context("read random bytes")?;
    let pair = KeypairData::from(Ed25519Keypair::from_seed(&seed));
    let key = PrivateKey::new(pair, comment).context("make a key")?;
    let text = key.to_openssh(LineEnding::LF).context("write a key")?;
    let public = key.public_key().to_openssh().context("write a key")?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    make_private_dir(directory)?;
    let write = |path: &Path, text: &str, mode| -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write(path, &text, 0o600).with_context(|| format!("make the key {}", path.display()))?;
    let beside = path.with_added_extension("pub");
    write(&beside, &format!("{public}\n"), 0o644).with_context(|| format!("make the key {}", beside.display()))?;
    sync_directory(directory).with_context(|| format!("make the key {}", path.display()))
}

/// The public half of a key, as a line of `authorized_keys`.
///
/// # Errors
///
/// When the file beside it does not have it, and the key itself cannot be read for want of its passphrase.
pub fn public_line(path: &Path) -> Result<String> {
    let beside = path.with_added_extension("pub");
    let from_public = || PublicKey::from_openssh(fs::read_to_string(&beside).ok()?.trim()).ok();
    let from_private = || {
        let text = fs::read_to_string(path).with_context(|| format!("read the key {}", path.display()))?;
        let key = PrivateKey::from_openssh(text.trim()).ok();
        key.map(|key| key.public_key().clone())
            .ok_or_else(|| anyhow!("the public key {} is not there", beside.display()))
            .hint(format!("Make it with: ssh-keygen -y -f {0} > {0}.pub", path.display()))
    };
    let key = from_public().map_or_else(from_private, Ok)?;
    key.to_openssh().context("write a key")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn new_key_is_private_random_and_never_takes_the_place_of_another() {
        let scratch = tempfile::tempdir().unwrap();
        let [one, two] = ["new/one", "new/two"].map(|name| scratch.path().join(name));
        make(&one, "holdall@nas").unwrap();
        make(&two, "holdall@nas").unwrap();
        assert_eq!(fs::metadata(&one).unwrap().permissions().mode() & 0o777, 0o600);
        let line = public_line(&one).unwrap();
        assert!(line.starts_with("ssh-ed25519 AAAA") && line.ends_with(" holdall@nas"), "{line}");
        assert_ne!(line, public_line(&two).unwrap());
        assert!(make(&one, "x").is_err());
        assert_eq!(public_line(&one).unwrap(), line);
        fs::remove_file(one.with_added_extension("pub")).unwrap();
        assert_eq!(public_line(&one).unwrap(), line, "it is in the private key as well");
    }
}
