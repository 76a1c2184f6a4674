//! A pack that is being filled: blobs behind each other, each compressed and enciphered where it will stay.
//!
//! The layout is restic's (its doc/design.rst, "Pack Format"): the blobs, each `nonce ‖ ciphertext ‖ tag`; the header, enciphered as a
//! blob is; the length of that in four bytes, little-endian. The name of the file is the SHA-256 of it all.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rustic_core::repofile::{BlobType, ConfigFile};
use sha2::{Digest, Sha256};
use zstd::bulk::Compressor;

use super::pool::Buffer;
use crate::store::format::BlobId;
use crate::store::format::pack::{MAX_ENTRY, PackedBlob, encode_header};
use crate::store::seal::{NONCE, OVERHEAD, Sealer};

/// How many blobs a pack holds at most, so that its header stays small; as rustic.
const MAX_BLOBS: usize = 10_000;
/// No pack may be longer: places in it are 32 bits; as rustic.
const MAX_SIZE: u64 = 4076 << 20;

/// What failed when there is no buffer for a pack.
pub(super) const NO_MEMORY: &str = "get memory for a pack";

/// How large packs of a kind are to be, in bytes: larger ones in a larger repository, as rustic has it.
pub(super) fn target_size(config: &ConfigFile, kind: BlobType, pack_bytes: u64) -> usize {
    let (default, growth, limit) = config.packsize(kind);
    let size = u64::from(default) + u64::from(growth) * pack_bytes.isqrt();
    size.min(u64::from(limit)).min(MAX_SIZE) as usize
}

/// How long the header of a pack with so many blobs is at most, with what follows it, in bytes.
fn header_length(blobs: usize) -> usize {
    blobs * MAX_ENTRY + OVERHEAD + size_of::<u32>()
}

/// A pack that is being filled.
pub(super) struct OpenPack {
    buffer: Buffer,
    /// How much of the buffer is filled.
    length: usize,
    hasher: Sha256,
    blobs: Vec<PackedBlob>,
    /// How many bytes it is to hold.
    target: usize,
    begun: Instant,
}

/// A pack that is ready to be stored.
pub(super) struct FinishedPack {
    pub(super) id: BlobId,
    pub(super) kind: BlobType,
    pub(super) blobs: Vec<PackedBlob>,
    pub(super) buffer: Buffer,
    pub(super) length: usize,
}

impl OpenPack {
    pub(super) fn new(buffer: Buffer, target: usize) -> Self {
        Self { buffer, length: 0, hasher: Sha256::new(), blobs: Vec::new(), target, begun: Instant::now() }
    }

    /// How many bytes are in it.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// When its first blob came.
    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    /// Whether it has reached its size, or as many blobs as it may hold.
    pub(super) fn is_full(&self) -> bool {
        !self.fits(1, 0)
    }

    /// Whether a blob of this length may come into it as it is without making it larger than it is to be. Into an empty one any may.
    pub(super) fn is_room_for(&self, plain: usize) -> bool {
        self.blobs.is_empty() || self.fits(1, plain + OVERHEAD)
    }

    /// Whether the blobs of another pack may come into this one.
    pub(super) fn has_room_for(&self, other: &Self) -> bool {
        self.fits(other.blobs.len(), other.length)
    }

    /// Whether so many more blobs, of so many bytes together, leave it no larger than it is to be, its header included: its buffer need not grow then.
    fn fits(&self, blobs: usize, bytes: usize) -> bool {
        let blobs = self.blobs.len() + blobs;
        blobs <= MAX_BLOBS && self.length + bytes + header_length(blobs) <= self.target
    }

    /// Puts a blob in, compressed if that makes it smaller, and returns how many bytes it takes.
    pub(super) fn add(
        &mut self,
        id: BlobId,
        kind: BlobType,
        plain: &[u8],
        compressor: Option<&mut Compressor<'_>>,
        sealer: &Sealer,
    ) -> Result<u32> {
        let begin = self.length;
        let body = begin + NONCE;
        let most = body + plain.len() + OVERHEAD - NONCE;
        ensure!(most as u64 <= MAX_SIZE, "a blob of {} bytes does not fit a pack", plain.len());
        self.buffer.grow(most).context(NO_MEMORY)?;
        // No room is given for anything that is not smaller: the library then stops, which is quicker than to compress to the end.
        let room = plain.len().saturating_sub(1);
        let compressed = compressor.and_then(|compressor| {
            if is_incompressible(plain, compressor, &mut self.buffer[body..]) {
                return None;
            }
            compressor.compress_to_buffer(plain, &mut self.buffer[body..body + room]).ok().filter(|&length| length > 0)
        });
        let length = compressed.unwrap_or(plain.len());
        if compressed.is_none() {
            self.buffer[body..body + length].copy_from_slice(plain);
        }
        let end = begin + length + OVERHEAD;
        sealer.seal_in_place(&mut self.buffer[begin..end]).context("encipher a blob")?;
        self.hasher.update(&self.buffer[begin..end]);
        self.length = end;
        let stored = u32::try_from(end - begin).context("store a blob")?;
        let raw_length = compressed.map(|_| u32::try_from(plain.len())).transpose().context("store a blob")?;
        self.blobs.push(PackedBlob { id, kind, length: stored, raw_length });
        Ok(stored)
    }

    /// Takes over the blobs of another pack.
    pub(super) fn absorb(&mut self, other: &Self) -> Result<()> {
        let end = self.length + other.length;
        self.buffer.grow(end).context(NO_MEMORY)?;
        self.buffer[self.length..end].copy_from_slice(&other.buffer[..other.length]);
        self.hasher.update(&other.buffer[..other.length]);
        self.length = end;
        self.blobs.extend_from_slice(&other.blobs);
        self.begun = self.begun.min(other.begun);
        Ok(())
    }

    /// Writes the header.
    pub(super) fn finish(mut self, kind: BlobType, sealer: &Sealer) -> Result<FinishedPack> {
        let header = encode_header(&self.blobs);
        let begin = self.length;
        let sealed = header.len() + OVERHEAD;
        let end = begin + sealed + size_of::<u32>();
        self.buffer.grow(end).context(NO_MEMORY)?;
        self.buffer[begin + NONCE..begin + NONCE + header.len()].copy_from_slice(&header);
        sealer.seal_in_place(&mut self.buffer[begin..begin + sealed]).context("encipher a pack's header")?;
        let length = u32::try_from(sealed).context("write a pack's header")?;
        self.buffer[begin + sealed..end].copy_from_slice(&length.to_le_bytes());
        self.hasher.update(&self.buffer[begin..end]);
        let id = BlobId(self.hasher.finalize().into());
        Ok(FinishedPack { id, kind, blobs: self.blobs, buffer: self.buffer, length: end })
    }
}

/// How many bytes of a blob are tried first, and in how many pieces.
const SAMPLE: usize = 16 << 10;
const PIECES: usize = 16;

/// Whether a large blob can be taken for incompressible (pictures, archives, what is enciphered) from a look at a sixteenth of it at most. `scratch` is at least as
/// long as the blob.
fn is_incompressible(plain: &[u8], compressor: &mut Compressor<'_>, scratch: &mut [u8]) -> bool {
    if plain.len() < 16 * SAMPLE {
        return false;
    }
    let (sample, room) = scratch.split_at_mut(SAMPLE);
    let step = (plain.len() - SAMPLE / PIECES) / (PIECES - 1);
    for (number, piece) in sample.chunks_mut(SAMPLE / PIECES).enumerate() {
        piece.copy_from_slice(&plain[number * step..][..SAMPLE / PIECES]);
    }
    // A fiftieth is not worth the time that the whole would take.
    compressor.compress_to_buffer(sample, &mut room[..SAMPLE - SAMPLE / 50]).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        rand::Rng::fill_bytes(&mut rand::rng(), &mut bytes);
        bytes
    }

    fn looks_incompressible(plain: &[u8]) -> bool {
        let mut scratch = vec![0; plain.len()];
        is_incompressible(plain, &mut Compressor::new(3).unwrap(), &mut scratch)
    }

    #[test]
    fn noise_is_told_from_what_zstd_can_use() {
        assert!(looks_incompressible(&noise(1 << 20)));
        assert!(looks_incompressible(&noise(300_001)));
        assert!(!looks_incompressible(&noise(100_000)), "a small one is tried as a whole");
        assert!(!looks_incompressible(&vec![7; 1 << 20]));
        let text: Vec<u8> = noise(1 << 20).iter().map(|byte| b'a' + byte % 64).collect();
        assert!(!looks_incompressible(&text));
        // A quarter of it is text.
        let mut mixed = noise(1 << 20);
        mixed[300_000..562_144].fill(b'x');
        assert!(!looks_incompressible(&mixed));
    }
}
