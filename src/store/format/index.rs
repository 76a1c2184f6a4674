//! Index files: which blobs lie where in which packs.
//!
//! Restic's JSON, with two fields more for each pack, `time` and `size`, which rustic writes and restic does not read.

use anyhow::{Context, Result};
use rustic_core::jiff::Timestamp;
use rustic_core::repofile::BlobType;
use serde::Deserialize;

use super::moment::Moment;
use super::pack::PackedBlob;
use super::{BlobId, decimal};

/// A blob and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedBlob {
    /// What is there.
    pub blob: PackedBlob,
    /// Bytes of the pack before it.
    pub offset: u32,
}

/// A pack and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedPack {
    /// The pack's name: the hash of the whole file.
    pub id: BlobId,
    /// What is in it.
    pub blobs: Vec<PlacedBlob>,
    /// Size of the file in bytes.
    pub size: u32,
    /// When it was made.
    pub time: Option<Timestamp>,
}

/// The JSON of an index file with these packs.
pub fn encode(packs: &[IndexedPack]) -> Vec<u8> {
    let blobs: usize = packs.iter().map(|pack| pack.blobs.len()).sum();
    let mut out = Vec::with_capacity(32 + packs.len() * 160 + blobs * 160);
    out.extend_from_slice(br#"{"packs":["#);
    for (index, pack) in packs.iter().enumerate() {
        out.extend_from_slice(if index == 0 { br#"{"id":""# } else { br#",{"id":""# });
        pack.id.write_hex(&mut out);
        out.extend_from_slice(br#"","blobs":["#);
        for (index, blob) in pack.blobs.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            placed(&mut out, blob);
        }
        out.push(b']');
        if pack.time.is_some() {
            out.extend_from_slice(br#","time":""#);
            Moment::of(pack.time).write(&mut out);
            out.push(b'"');
        }
        out.extend_from_slice(br#","size":"#);
        decimal(&mut out, pack.size.into());
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    out
}

fn placed(out: &mut Vec<u8>, placed: &PlacedBlob) {
    out.extend_from_slice(br#"{"id":""#);
    placed.blob.id.write_hex(out);
    out.extend_from_slice(match placed.blob.kind {
        BlobType::Data => br#"","type":"data","offset":"#,
        BlobType::Tree => br#"","type":"tree","offset":"#,
    });
    decimal(out, placed.offset.into());
    out.extend_from_slice(br#","length":"#);
    decimal(out, placed.blob.length.into());
    if let Some(length) = placed.blob.raw_length {
        out.extend_from_slice(br#","uncompressed_length":"#);
        decimal(out, length.into());
    }
    out.push(b'}');
}

/// A pack as an index names it. What a prune has marked to be deleted is not among them.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct KnownPack {
    /// The pack's name.
    pub id: BlobId,
    /// What is in it.
    pub blobs: Vec<KnownBlob>,
    /// Size of the file in bytes, when the index was written by one that says it.
    #[serde(default)]
    pub size: Option<u32>,
}

/// A blob as an index names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct KnownBlob {
    /// Hash of the plain bytes.
    pub id: BlobId,
    /// Whether it is of a tree or of data.
    #[serde(rename = "type")]
    pub kind: BlobType,
    /// Bytes of the pack before it.
    pub offset: u32,
    /// Bytes in the pack, nonce and tag included.
    pub length: u32,
    /// Plain bytes before compression; `None` when it is not compressed.
    #[serde(default, rename = "uncompressed_length")]
    pub raw_length: Option<u32>,
}

/// Reads the JSON of an index file, whoever wrote it.
///
/// # Errors
///
/// When it is not an index file of restic's format.
pub fn decode(json: &[u8]) -> Result<Vec<KnownPack>> {
    #[derive(Deserialize)]
    struct File {
        packs: Option<Vec<KnownPack>>,
    }
    let file: File = serde_json::from_slice(json).context("read an index file")?;
    Ok(file.packs.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;
    use rustic_core::repofile::IndexFile;

    use super::*;

    /// What rustic makes of the JSON.
    fn read_by_rustic(json: &[u8]) -> Vec<IndexedPack> {
        let file: IndexFile = serde_json::from_slice(json).unwrap();
        assert!(file.supersedes.is_none() && file.packs_to_delete.is_empty());
        let id = |hex: &str| BlobId::from_hex(hex).unwrap();
        file.packs
            .iter()
            .map(|pack| IndexedPack {
                id: id(&pack.id.to_hex()),
                blobs: pack
                    .blobs
                    .iter()
                    .map(|blob| PlacedBlob {
                        blob: PackedBlob {
                            id: id(&blob.id.to_hex()),
                            kind: blob.tpe,
                            length: blob.location.length,
                            raw_length: blob.location.uncompressed_length.map(NonZeroU32::get),
                        },
                        offset: blob.location.offset,
                    })
                    .collect(),
                size: pack.size.unwrap(),
                time: pack.time,
            })
            .collect()
    }

    #[test]
    fn an_index_is_written_as_restic_and_rustic_know_it() {
        let blob = |byte, kind, raw_length| PackedBlob { id: BlobId([byte; 32]), kind, length: 40, raw_length };
        let packs = [
            IndexedPack {
                id: BlobId([0xab; 32]),
                blobs: vec![
                    PlacedBlob { blob: blob(1, BlobType::Data, None), offset: 0 },
                    PlacedBlob { blob: blob(2, BlobType::Tree, Some(60)), offset: 40 },
                ],
                size: 200,
                time: Timestamp::new(1_700_000_000, 0).ok(),
            },
            IndexedPack { id: BlobId([0xcd; 32]), blobs: Vec::new(), size: 36, time: None },
        ];
        let json = encode(&packs);
        let (ab, cd, one, two) = ("ab".repeat(32), "cd".repeat(32), "01".repeat(32), "02".repeat(32));
        let expected = format!(
            "{{\"packs\":[{{\"id\":\"{ab}\",\"blobs\":[{{\"id\":\"{one}\",\"type\":\"data\",\"offset\":0,\"length\":40}},\
             {{\"id\":\"{two}\",\"type\":\"tree\",\"offset\":40,\"length\":40,\"uncompressed_length\":60}}],\
             \"time\":\"2023-11-14T22:13:20Z\",\"size\":200}},{{\"id\":\"{cd}\",\"blobs\":[],\"size\":36}}]}}"
        );
        assert_eq!(String::from_utf8(json.clone()).unwrap(), expected);
        assert_eq!(read_by_rustic(&json), packs);
        for (known, written) in decode(&json).unwrap().iter().zip(&packs) {
            assert_eq!((known.id, known.size), (written.id, Some(written.size)));
            let placed = |blob: &KnownBlob| {
                let KnownBlob { id, kind, offset, length, raw_length } = *blob;
                PlacedBlob { blob: PackedBlob { id, kind, length, raw_length }, offset }
            };
            assert_eq!(known.blobs.iter().map(placed).collect::<Vec<_>>(), written.blobs);
        }
        assert_eq!(read_by_rustic(&encode(&[])), []);
    }

    prop_compose! {
        fn any_pack()(
            id: [u8; 32],
            blobs in prop::collection::vec((any::<[u8; 32]>(), any::<bool>(), any::<[u32; 2]>(), prop::option::of(1_u32..)), 0..5),
            size: u32,
            time in prop::option::of((0_i64..253_402_207_200, 0..1_000_000_000)),
        ) -> IndexedPack {
            let blobs = blobs
                .into_iter()
                .map(|(id, is_tree, [length, offset], raw_length)| {
                    let kind = if is_tree { BlobType::Tree } else { BlobType::Data };
                    PlacedBlob { blob: PackedBlob { id: BlobId(id), kind, length, raw_length }, offset }
                })
                .collect();
            let time = time.map(|(seconds, nanoseconds)| Timestamp::new(seconds, nanoseconds).unwrap());
            IndexedPack { id: BlobId(id), blobs, size, time }
        }
    }

    proptest! {
        #[test]
        fn rustic_reads_what_every_index_holds(packs in prop::collection::vec(any_pack(), 0..4)) {
            prop_assert_eq!(read_by_rustic(&encode(&packs)), packs);
        }
    }
}
