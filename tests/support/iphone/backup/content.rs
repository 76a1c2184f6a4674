//! What is in a file of the virtual phone: made anew from a seed whenever it is read, so that gigabytes need no memory.

use std::io::{self, Read};
use std::sync::Arc;

use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use aws_lc_rs::iv::FixedLength;

/// The SHA-1 of something, which Apple's backups name files and check contents by.
pub type Sha1 = [u8; 20];

/// The contents of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Bytes without any order, always the same ones for the same seed.
    Seeded {
        /// What tells contents apart.
        seed: u64,
        /// How many bytes.
        size: u64,
    },
    /// Just these bytes.
    Bytes(Arc<[u8]>),
}

impl Content {
    /// Contents of `size` bytes that nothing compresses.
    pub fn seeded(seed: u64, size: u64) -> Self {
        Self::Seeded { seed, size }
    }

    /// How many bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Seeded { size, .. } => *size,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Reads it from the beginning.
    pub fn reader(&self) -> Reader {
        Reader { content: self.clone(), at: 0 }
    }

    /// All of it.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.reader().read_to_end(&mut bytes).expect("contents can always be made");
        bytes
    }

    /// The SHA-1 of all of it.
    pub fn sha1(&self) -> Sha1 {
        let mut hash = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        let (mut reader, mut buffer) = (self.reader(), vec![0; 1 << 16]);
        loop {
            let count = reader.read(&mut buffer).expect("contents can always be made");
            if count == 0 {
                return finish(hash);
            }
            hash.update(&buffer[..count]);
        }
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().into())
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// The SHA-1 that was computed piece by piece.
pub fn finish(hash: Context) -> Sha1 {
    hash.finish().as_ref().try_into().expect("SHA-1 has 20 bytes")
}

/// The SHA-1 of `bytes`.
pub fn sha1(bytes: &[u8]) -> Sha1 {
    let mut hash = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(bytes);
    finish(hash)
}

/// Hands out contents from the beginning.
pub struct Reader {
    content: Content,
    at: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.content.size() - self.at;
        let mut count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        match &self.content {
            Content::Bytes(bytes) => {
                let at = usize::try_from(self.at).expect("it is in memory");
                buffer[..count].copy_from_slice(&bytes[at..at + count]);
            }
            Content::Seeded { seed, .. } => {
                // The stream of AES-CTR: fast without optimisation too, since it is done by assembly.
                let skip = usize::try_from(self.at % 16).expect("less than 16");
                let mut key = [0x5e; 16];
                key[..8].copy_from_slice(&seed.to_be_bytes());
                let key = UnboundCipherKey::new(&AES_128, &key).expect("a key of 16 bytes");
                let start = EncryptionContext::Iv128(FixedLength::from(u128::from(self.at / 16).to_be_bytes()));
                count = count.min(1 << 16);
                let mut stream = vec![0; skip + count];
                let key = EncryptingKey::ctr(key).expect("a key of AES");
                key.less_safe_encrypt(&mut stream, start).expect("a counter of 16 bytes");
                buffer[..count].copy_from_slice(&stream[skip..]);
            }
        }
        self.at += count as u64;
        Ok(count)
    }
}
