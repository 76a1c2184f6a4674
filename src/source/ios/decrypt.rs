//! AES in the forms that backups use it: CBC over whole files, and wrapped keys.

use anyhow::{Result, anyhow, ensure};
use aws_lc_rs::cipher::{self, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::key_wrap::{self, AesKek, KeyWrap};

/// Length of a block in bytes.
pub(super) const BLOCK: usize = 16;

/// A key of AES-256. Not shown by `Debug`.
#[derive(Clone)]
pub(super) struct Key(pub(super) [u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// The key inside a wrapped one (RFC 3394); `None` when it was not wrapped with this key.
    pub(super) fn unwrap_key(&self, wrapped: &[u8]) -> Option<Self> {
        let mut key = [0; 32];
        // One byte more or less, and it is no key of this length.
        if wrapped.len() != key.len() + 8 {
            return None;
        }
        let kek = AesKek::new(&key_wrap::AES_256, &self.0).ok()?;
        kek.unwrap(wrapped, &mut key).ok()?;
        Some(Self(key))
    }
}

/// AES-256-CBC from the beginning of a file to its end, with an initialisation vector of zeros, as `BackupAgent2` enciphers.
pub(super) struct Decipher {
    key: DecryptingKey,
    /// The last block that came, enciphered.
    last: [u8; BLOCK],
    /// Less than a block that waits for the rest of it.
    rest: Vec<u8>,
}

impl Decipher {
    /// # Errors
    ///
    /// When the cipher cannot be set up.
    pub(super) fn new(key: &Key) -> Result<Self> {
        let key = UnboundCipherKey::new(&cipher::AES_256, &key.0).and_then(DecryptingKey::cbc);
        Ok(Self { key: key.map_err(|_| anyhow!("set up AES"))?, last: [0; BLOCK], rest: Vec::with_capacity(BLOCK) })
    }

    /// Takes the next bytes, and gives what they make whole.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut blocks = std::mem::take(&mut self.rest);
        blocks.extend_from_slice(bytes);
        self.rest = blocks.split_off(blocks.len() / BLOCK * BLOCK);
        let Some(last) = blocks.last_chunk::<BLOCK>().copied() else { return Ok(blocks) };
        let context = DecryptionContext::Iv128(FixedLength::from(self.last));
        self.key.decrypt(&mut blocks, context).map_err(|_| anyhow!("decipher with AES"))?;
        self.last = last;
        Ok(blocks)
    }

    /// The end of the file.
    ///
    /// # Errors
    ///
    /// When it did not end with a whole block.
    pub(super) fn finish(&self) -> Result<()> {
        ensure!(self.rest.is_empty(), "the enciphered content does not end with a whole block: it is cut short");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn vector_of_rfc_3394_is_unwrapped_and_a_changed_one_is_not() {
        // RFC 3394, 4.6: 256 bits of key data with a 256-bit KEK.
        let kek = Key(hex("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F").try_into().unwrap());
        let mut wrapped = hex("28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21");
        let expected = hex("00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F");
        assert_eq!(kek.unwrap_key(&wrapped).unwrap().0[..], expected);
        wrapped[3] ^= 1;
        assert!(kek.unwrap_key(&wrapped).is_none());
        assert!(kek.unwrap_key(&wrapped[..32]).is_none());
    }

    #[test]
    fn pieces_of_any_length_are_deciphered_as_one() {
        // NIST SP 800-38A, F.2.6, of which the second block does not depend on the initialisation vector.
        let key = Key(hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4").try_into().unwrap());
        let enciphered =
            hex("f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d39f23369a9d9bacfa530e26304231461");
        let whole = Decipher::new(&key).unwrap().push(&enciphered).unwrap();
        assert_eq!(whole[16..32], hex("ae2d8a571e03ac9c9eb76fac45af8e51"));
        for length in [1, 7, 16, 17, 40] {
            let mut decipher = Decipher::new(&key).unwrap();
            let pieces: Vec<u8> = enciphered.chunks(length).flat_map(|piece| decipher.push(piece).unwrap()).collect();
            assert_eq!(pieces, whole, "{length}");
            decipher.finish().unwrap();
        }
        let mut decipher = Decipher::new(&key).unwrap();
        decipher.push(&enciphered[..20]).unwrap();
        assert!(decipher.finish().is_err());
    }
}
