//! Bodies as they lie in a backup: plain, or under AES-256-CBC with an initial vector of zeros and PKCS7 padding.

use std::io::{self, Read};

use aws_lc_rs::cipher::{
    AES_256, DecryptionContext, EncryptionContext, StreamingDecryptingKey, StreamingEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use aws_lc_rs::iv::FixedLength;

use super::content::{Sha1, finish};
use super::keybag::Key;

const PIECE: usize = 1 << 16;

/// How many bytes of body there are for a content of `size` bytes.
pub fn body_size(size: u64, encrypted: bool) -> u64 {
    if encrypted { (size / 16 + 1) * 16 } else { size }
}

/// Reads a content as its body, and computes the SHA-1 of the content.
pub struct Body<R> {
    inner: R,
    cipher: Option<StreamingEncryptingKey>,
    hash: Context,
    plain: Vec<u8>,
    ready: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<R: Read> Body<R> {
    /// The body of what `inner` reads, under `key` if there is one.
    pub fn new(inner: R, key: Option<&Key>) -> Self {
        let cipher = key.map(|key| {
            let key = UnboundCipherKey::new(&AES_256, key).expect("a key of 32 bytes");
            let start = EncryptionContext::Iv128(FixedLength::from([0; 16]));
            StreamingEncryptingKey::less_safe_cbc_pkcs7(key, start).expect("a key of AES")
        });
        let hash = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        Self { inner, cipher, hash, plain: vec![0; PIECE], ready: Vec::new(), at: 0, ended: false }
    }

    /// The SHA-1 of the content that was read.
    pub fn sha1(self) -> Sha1 {
        finish(self.hash)
    }

    fn fill(&mut self) -> io::Result<()> {
        let count = self.inner.read(&mut self.plain)?;
        let plain = &self.plain[..count];
        self.hash.update(plain);
        self.at = 0;
        self.ended = count == 0;
        self.ready.resize(count + 16, 0);
        let length = match &mut self.cipher {
            None => {
                self.ready[..count].copy_from_slice(plain);
                count
            }
            Some(cipher) if count > 0 => {
                cipher.update(plain, &mut self.ready).map_err(io::Error::other)?.written().len()
            }
            Some(_) => match self.cipher.take() {
                Some(cipher) => cipher.finish(&mut self.ready).map_err(io::Error::other)?.1.written().len(),
                None => 0,
            },
        };
        self.ready.truncate(length);
        Ok(())
    }
}

impl<R: Read> Read for Body<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.ready.len() && !self.ended {
            self.fill()?;
        }
        let count = (self.ready.len() - self.at).min(buffer.len());
        buffer[..count].copy_from_slice(&self.ready[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// Takes a body piece by piece, and knows size and SHA-1 of its content.
pub struct Opened {
    cipher: Option<StreamingDecryptingKey>,
    hash: Context,
    size: u64,
}

impl Opened {
    /// For a body under `key`, if there is one.
    pub fn new(key: Option<&Key>) -> Self {
        let cipher = key.map(|key| {
            let key = UnboundCipherKey::new(&AES_256, key).expect("a key of 32 bytes");
            let start = DecryptionContext::Iv128(FixedLength::from([0; 16]));
            StreamingDecryptingKey::cbc_pkcs7(key, start).expect("a key of AES")
        });
        Self { cipher, hash: Context::new(&SHA1_FOR_LEGACY_USE_ONLY), size: 0 }
    }

    /// Takes the next piece, and hands its plain text to `sink`.
    ///
    /// # Errors
    /// The sink's.
    pub fn take(&mut self, piece: &[u8], sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut plain = Vec::new();
        let piece = match &mut self.cipher {
            None => piece,
            Some(cipher) => {
                plain.resize(piece.len() + 16, 0);
                let length = cipher.update(piece, &mut plain).map_err(io::Error::other)?.written().len();
                &plain[..length]
            }
        };
        self.hash.update(piece);
        self.size += piece.len() as u64;
        sink(piece)
    }

    /// After the last piece: size and SHA-1 of the content. `None`: its padding is wrong.
    ///
    /// # Errors
    /// The sink's.
    pub fn end(mut self, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<Option<(u64, Sha1)>> {
        if let Some(cipher) = self.cipher.take() {
            let mut plain = [0; 16];
            let Ok(last) = cipher.finish(&mut plain) else { return Ok(None) };
            self.hash.update(last.written());
            self.size += last.written().len() as u64;
            sink(last.written())?;
        }
        Ok(Some((self.size, finish(self.hash))))
    }
}
