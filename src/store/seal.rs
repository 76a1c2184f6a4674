//! The repository's cipher: seals what goes into the store, opens what comes out.
//!
//! restic's design document, "Keys, Encryption and MAC": AES-256 in counter mode, authenticated with Poly1305-AES, under the master key. What
//! is stored is `nonce (16 bytes) || ciphertext || tag (16 bytes)`. A file that is not a pack ("unpacked") holds JSON; in a repository of version 2
//! it may be compressed: then its plaintext is the byte 0x02 and a zstd frame, which JSON cannot begin with.

use aes256ctr_poly1305aes::aead::AeadInPlace;
use aes256ctr_poly1305aes::{Aes256CtrPoly1305Aes, Key, Nonce, Tag};
use anyhow::{Context, Result, anyhow, bail};
use rand::Rng;
use rustic_core::repofile::MasterKey;

/// Length of a nonce in bytes.
pub(super) const NONCE: usize = 16;
/// Length of a tag in bytes.
pub(super) const TAG: usize = 16;

/// Lengths in bytes of the parts of a master key: for AES-256, for AES-128 (`k`), for Poly1305 (`r`).
const PARTS: [usize; 3] = [32, 16, 16];

/// The first byte of a plaintext that is compressed.
const COMPRESSED: u8 = 2;

/// The cipher with the master key of one repository.
pub(super) struct Sealer {
    cipher: Aes256CtrPoly1305Aes,
    level: Option<i32>,
}

impl Sealer {
    /// Makes one from a master key. `level` is the zstd level for unpacked files; `None`: they are not compressed, as those of a
    /// version 1 repository must not be, and those of a version 2 one need not.
    ///
    /// # Errors
    ///
    /// When a part of the key has another length than the cipher needs.
    pub(super) fn new(key: &MasterKey, level: Option<i32>) -> Result<Self> {
        let parts = [&key.encrypt, &key.mac.k, &key.mac.r];
        if parts.map(Vec::len) != PARTS {
            bail!("the master key of the repository has not the length that it must have");
        }
        let mut whole = Key::default();
        let (encrypt, mac) = whole.split_at_mut(PARTS[0]);
        let (k, r) = mac.split_at_mut(PARTS[1]);
        encrypt.copy_from_slice(parts[0]);
        k.copy_from_slice(parts[1]);
        r.copy_from_slice(parts[2]);
        Ok(Self { cipher: Aes256CtrPoly1305Aes::new(&whole), level })
    }

    /// A nonce that was never used before.
    pub(super) fn nonce() -> Nonce {
        let mut nonce = Nonce::default();
        rand::rng().fill_bytes(&mut nonce);
        nonce
    }

    /// Encrypts in place; what it returns is needed to decrypt.
    ///
    /// # Errors
    ///
    /// When the cipher refuses, which it has no reason to.
    pub(super) fn encrypt_in_place(&self, nonce: &Nonce, data: &mut [u8]) -> Result<Tag> {
        self.cipher.encrypt_in_place_detached(nonce, &[], data).map_err(|_| anyhow!("the cipher refuses to encrypt"))
    }

    /// Checks and decrypts in place; on an error the data is as it was.
    ///
    /// # Errors
    ///
    /// When it was changed, or sealed with another key.
    pub(super) fn decrypt_in_place(&self, nonce: &Nonce, data: &mut [u8], tag: &Tag) -> Result<()> {
        let decrypted = self.cipher.decrypt_in_place_detached(nonce, &[], data, tag);
        decrypted.map_err(|_| anyhow!("it is damaged, or was not written with the key of this repository"))
    }

    /// An unpacked file as it is stored; its name is the hex SHA-256 of that.
    ///
    /// # Errors
    ///
    /// When there is no memory to compress it.
    pub(super) fn seal(&self, plain: &[u8]) -> Result<Vec<u8>> {
        let mut stored = Vec::with_capacity(NONCE + 1 + plain.len() + TAG);
        let nonce = Self::nonce();
        stored.extend_from_slice(&nonce);
        match self.level {
            None => stored.extend_from_slice(plain),
            Some(level) => {
                stored.push(COMPRESSED);
                zstd::stream::copy_encode(plain, &mut stored, level).context("compress")?;
            }
        }
        let tag = self.encrypt_in_place(&nonce, &mut stored[NONCE..])?;
        stored.extend_from_slice(&tag);
        Ok(stored)
    }

    /// What an unpacked file holds, compressed or not.
    ///
    /// # Errors
    ///
    /// When it is damaged, or not sealed with this key.
    pub(super) fn open(&self, stored: &[u8]) -> Result<Vec<u8>> {
        let Some((nonce, rest)) = stored.split_at_checked(NONCE) else { bail!("it is cut short") };
        let Some(end) = rest.len().checked_sub(TAG) else { bail!("it is cut short") };
        let (sealed, tag) = rest.split_at(end);
        let mut plain = sealed.to_vec();
        self.decrypt_in_place(Nonce::from_slice(nonce), &mut plain, Tag::from_slice(tag))?;
        match plain.first() {
            Some(b'{' | b'[') => Ok(plain),
            Some(&COMPRESSED) => zstd::decode_all(&plain[1..]).context("decompress"),
            _ => bail!("it is neither JSON nor compressed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealer(key: u8, level: Option<i32>) -> Sealer {
        let mut master = MasterKey::new();
        master.encrypt = vec![key; 32];
        master.mac.k = vec![key + 1; 16];
        master.mac.r = vec![key + 2; 16];
        Sealer::new(&master, level).unwrap()
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_whether_compressed_or_not(text in "\\{[a-z]{0,200}\\}", level in prop::option::of(1..9)) {
            let stored = sealer(1, level).seal(text.as_bytes()).unwrap();
            prop_assert_eq!(sealer(1, None).open(&stored).unwrap(), text.as_bytes());
            prop_assert!(sealer(9, None).open(&stored).is_err());
        }

        #[test]
        fn every_changed_byte_is_noticed(at in 0..40_usize, by in 1..=255_u8) {
            let mut stored = sealer(1, None).seal(b"{\"a\":1}").unwrap();
            let at = at % stored.len();
            stored[at] ^= by;
            prop_assert!(sealer(1, None).open(&stored).is_err());
        }

        #[test]
        fn hostile_bytes_are_an_error_and_no_panic(stored in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(sealer(1, None).open(&stored).is_err());
        }
    }

    #[test]
    fn it_is_the_cipher_of_the_repository() {
        fn bytes(hex: &str) -> impl Iterator<Item = u8> {
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        }
        // D. J. Bernstein, "The Poly1305-AES message-authentication code", appendix B, the first example.
        let mut master = MasterKey::new();
        master.encrypt = vec![0; 32];
        master.mac.k = bytes("ec074c835580741701425b623235add6").collect();
        master.mac.r = bytes("851fc40c3467ac0be05cc20404f3f700").collect();
        let nonce = Nonce::from_iter(bytes("fb447350c4e868c52ac3275cf9d4327e"));
        let sealer = Sealer::new(&master, None).unwrap();
        // The ciphertext of that example is f3f6: the tag does not depend on what it decrypts to.
        let mut data = [0xf3, 0xf6];
        let tag = Tag::from_iter(bytes("f4c633c3044fc145f84f335cb81953de"));
        sealer.decrypt_in_place(&nonce, &mut data, &tag).unwrap();
        assert_eq!(sealer.encrypt_in_place(&nonce, &mut data).unwrap(), tag);
        assert_eq!(data, [0xf3, 0xf6]);
    }

    #[test]
    fn key_of_another_length_is_refused() {
        let mut master = MasterKey::new();
        master.mac.k.pop();
        assert!(Sealer::new(&master, None).is_err());
    }
}
