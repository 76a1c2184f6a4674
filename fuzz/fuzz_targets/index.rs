//! Whatever an index holds that rustic can read, rustic reads the same when we have written it.
#![no_main]

use std::num::NonZeroU32;

use holdall_fuzz::format::BlobId;
use holdall_fuzz::format::index::{IndexedPack, PlacedBlob, decode, encode};
use holdall_fuzz::format::pack::PackedBlob;
use libfuzzer_sys::fuzz_target;
use rustic_core::Id;
use rustic_core::jiff::Timestamp;
use rustic_core::repofile::IndexFile;

fuzz_target!(|json: &[u8]| {
    // An error for what is none, and no panic.
    let _ = decode(json);
    if let Some(packs) = packs(json) {
        let again = self::packs(&encode(&packs));
        assert_eq!(again.as_ref(), Some(&packs));
        let blobs = |packs: &[IndexedPack]| packs.iter().map(|pack| pack.blobs.len()).sum::<usize>();
        let decoded = decode(&encode(&packs)).map(|packs| packs.iter().map(|pack| pack.blobs.len()).sum());
        assert_eq!(decoded.ok(), Some(blobs(&packs)));
    }
});

fn packs(json: &[u8]) -> Option<Vec<IndexedPack>> {
    let file: IndexFile = serde_json::from_slice(json).ok()?;
    // Go has no years below 0: they are written as another.
    let year_0: Timestamp = "0000-01-01T00:00:00Z".parse().ok()?;
    file.packs
        .iter()
        .map(|pack| {
            let blobs = pack.blobs.iter().map(|blob| {
                let location = blob.location;
                let raw_length = location.uncompressed_length.map(NonZeroU32::get);
                let blob = PackedBlob { id: id(*blob.id)?, kind: blob.tpe, length: location.length, raw_length };
                Some(PlacedBlob { blob, offset: location.offset })
            });
            Some(IndexedPack {
                id: id(*pack.id)?,
                blobs: blobs.collect::<Option<_>>()?,
                size: pack.size.unwrap_or_default(),
                time: pack.time.filter(|time| *time >= year_0),
            })
        })
        .collect()
}

fn id(id: Id) -> Option<BlobId> {
    BlobId::from_hex(&id.to_hex())
}
