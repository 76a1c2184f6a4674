//! The header of a pack file: what is in the pack, in the order in which it lies there.
//!
//! Here is its plain text. In the file it stands enciphered after the blobs, and the length of that (little endian, 4 bytes) ends the file.

use anyhow::{Context, Result, bail, ensure};
use rustic_core::repofile::BlobType;

use super::BlobId;

/// What the cipher adds to each stored piece: 16 bytes of nonce before, 16 of tag after it.
const OVERHEAD: u32 = 32;

/// The length at the end of the file.
const LENGTH: u32 = 4;

/// How long the entry of a blob in the header is at most, in bytes: its type, its length in the pack and before compression, its id.
pub const MAX_ENTRY: usize = 1 + 4 + 4 + 32;

/// A blob as it lies in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedBlob {
    /// Hash of the plain bytes.
    pub id: BlobId,
    /// Whether it is of a tree or of data.
    pub kind: BlobType,
    /// Bytes in the pack, nonce and tag included.
    pub length: u32,
    /// Plain bytes before compression; `None` when it is not compressed.
    pub raw_length: Option<u32>,
}

/// The plain text of the header of a pack with these blobs.
pub fn encode_header(blobs: &[PackedBlob]) -> Vec<u8> {
    let mut header = Vec::with_capacity(blobs.len() * MAX_ENTRY);
    for blob in blobs {
        let kind = match blob.kind {
            BlobType::Data => 0,
            BlobType::Tree => 1,
        };
        header.push(if blob.raw_length.is_some() { kind | COMPRESSED } else { kind });
        header.extend_from_slice(&blob.length.to_le_bytes());
        if let Some(length) = blob.raw_length {
            header.extend_from_slice(&length.to_le_bytes());
        }
        header.extend_from_slice(&blob.id.0);
    }
    header
}

/// Flag of the type byte.
const COMPRESSED: u8 = 2;

/// Reads the plain text of a header; encoded again it is the same.
///
/// # Errors
///
/// When it is cut short, has a type that is not known, a blob that cannot be so small, or more than fits into a pack (4 GiB).
pub fn decode_header(header: &[u8]) -> Result<Vec<PackedBlob>> {
    decode(header).context("read the header of a pack")
}

fn decode(mut rest: &[u8]) -> Result<Vec<PackedBlob>> {
    let header = u32::try_from(rest.len()).ok().and_then(|length| length.checked_add(OVERHEAD + LENGTH));
    let mut size = header.context("it is too large")?;
    let mut blobs = Vec::new();
    while let Some((&kind, entry)) = rest.split_first() {
        if kind > 3 {
            bail!("blob {} has the unknown type {kind}", blobs.len());
        }
        let fields = blob(kind, entry).with_context(|| format!("it ends within blob {}", blobs.len()))?;
        let (blob, after) = fields;
        ensure!(blob.length >= OVERHEAD, "blob {} has only {} bytes", blobs.len(), blob.length);
        // rustic would take it for one that is not compressed.
        ensure!(blob.raw_length != Some(0), "blob {} is compressed from nothing", blobs.len());
        size = size.checked_add(blob.length).context("its blobs are too large")?;
        blobs.push(blob);
        rest = after;
    }
    Ok(blobs)
}

/// What follows the type byte of an entry, and what follows the entry.
fn blob(kind: u8, rest: &[u8]) -> Option<(PackedBlob, &[u8])> {
    let (length, mut rest) = rest.split_first_chunk()?;
    let mut raw_length = None;
    if kind & COMPRESSED != 0 {
        let (length, after) = rest.split_first_chunk()?;
        raw_length = Some(u32::from_le_bytes(*length));
        rest = after;
    }
    let (id, rest) = rest.split_first_chunk()?;
    let kind = if kind & 1 == 0 { BlobType::Data } else { BlobType::Tree };
    Some((PackedBlob { id: BlobId(*id), kind, length: u32::from_le_bytes(*length), raw_length }, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn blob(kind: BlobType, length: u32, raw_length: Option<u32>) -> PackedBlob {
        PackedBlob { id: BlobId([7; 32]), kind, length, raw_length }
    }

    #[test]
    fn a_header_has_type_lengths_and_id_of_each_blob() {
        let blobs = [
            blob(BlobType::Data, 0x0102_0304, None),
            blob(BlobType::Tree, 33, None),
            blob(BlobType::Data, 34, Some(0x0a0b)),
            blob(BlobType::Tree, 35, Some(1)),
        ];
        let id = [7; 32];
        let expected = [
            &[0, 4, 3, 2, 1][..],
            &id,
            &[1, 33, 0, 0, 0],
            &id,
            &[2, 34, 0, 0, 0, 0xb, 0xa, 0, 0],
            &id,
            &[3, 35, 0, 0, 0, 1, 0, 0, 0],
            &id,
        ];
        assert_eq!(encode_header(&blobs), expected.concat());
        assert_eq!(decode_header(&expected.concat()).unwrap(), blobs);
        assert_eq!(decode_header(&[]).unwrap(), []);
    }

    #[test]
    fn a_damaged_header_is_an_error() {
        let error = |header: &[u8]| format!("{:#}", decode_header(header).unwrap_err());
        let two = encode_header(&[blob(BlobType::Data, 50, None), blob(BlobType::Tree, 50, Some(60))]);
        for end in (1..two.len()).filter(|end| *end != 37) {
            assert_eq!(
                error(&two[..end]),
                format!("read the header of a pack: it ends within blob {}", usize::from(end > 37))
            );
        }
        let mut unknown = two.clone();
        unknown[37] = 4;
        assert_eq!(error(&unknown), "read the header of a pack: blob 1 has the unknown type 4");
        let small = encode_header(&[blob(BlobType::Data, 31, None)]);
        assert_eq!(error(&small), "read the header of a pack: blob 0 has only 31 bytes");
        let nothing = encode_header(&[blob(BlobType::Data, 50, Some(0))]);
        assert_eq!(error(&nothing), "read the header of a pack: blob 0 is compressed from nothing");
        let large = encode_header(&[blob(BlobType::Data, u32::MAX - 200, None), blob(BlobType::Data, 100, None)]);
        assert_eq!(error(&large), "read the header of a pack: its blobs are too large");
    }

    proptest! {
        #[test]
        fn every_header_is_read_back(
            blobs in prop::collection::vec((any::<[u8; 32]>(), any::<bool>(), 32..10_000_000_u32, prop::option::of(1_u32..)), 0..50)
        ) {
            let blobs: Vec<_> = blobs
                .into_iter()
                .map(|(id, is_tree, length, raw_length)| {
                    let kind = if is_tree { BlobType::Tree } else { BlobType::Data };
                    PackedBlob { id: BlobId(id), kind, length, raw_length }
                })
                .collect();
            prop_assert_eq!(decode_header(&encode_header(&blobs)).unwrap(), blobs);
        }

        #[test]
        fn what_can_be_read_is_written_the_same(mut header in prop::collection::vec(any::<u8>(), 0..200)) {
            for (index, byte) in header.iter_mut().enumerate() {
                // Chance alone finds few types that are known.
                if index % 37 == 0 {
                    *byte &= 1;
                }
            }
            if let Ok(blobs) = decode_header(&header) {
                prop_assert_eq!(encode_header(&blobs), header);
            }
        }
    }
}
