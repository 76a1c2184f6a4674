//! What is copied together: points, the blobs that they lack, and how these are read.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use anyhow::{Context, Result};
use rustic_core::Id;
use rustic_core::repofile::BlobType;

use super::Missing;
use crate::store::format::BlobId;

/// When so much is lacking it is copied, and the points are written that need it: bytes in packs, and number of blobs.
const BATCH: (u64, usize) = (2 << 30, 500_000);
/// How much of a pack is read at once, in bytes, and what is read and thrown away to save a request.
const SPAN: u32 = 8 << 20;
const GAP: u32 = 64 << 10;

/// Points that are copied together.
#[derive(Default)]
pub(super) struct Batch<'w> {
    pub(super) points: Vec<&'w Missing>,
    pub(super) packs: Vec<Id>,
    numbers: HashMap<Id, u32>,
    pub(super) wanted: HashSet<BlobId>,
    pub(super) data: Vec<Blob>,
    pub(super) trees: Vec<Blob>,
    /// Bytes of all blobs, as they are stored here.
    pub(super) bytes: u64,
}

/// Where a blob is stored.
pub(super) struct Place {
    pub(super) pack: Id,
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) raw_length: Option<u32>,
}

/// A blob that is wanted, and where it is.
#[derive(Clone, Copy)]
pub(super) struct Blob {
    pub(super) id: BlobId,
    /// Which one of the batch's packs.
    pub(super) pack: u32,
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) raw_length: Option<u32>,
}

impl Batch<'_> {
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= BATCH.0 || self.wanted.len() >= BATCH.1
    }

    pub(super) fn add(&mut self, kind: BlobType, id: BlobId, place: Place) -> Result<()> {
        let Place { pack, offset, length, raw_length } = place;
        let next = u32::try_from(self.packs.len()).context("count the packs")?;
        let number = *self.numbers.entry(pack).or_insert_with(|| {
            self.packs.push(pack);
            next
        });
        let blob = Blob { id, pack: number, offset, length, raw_length };
        self.bytes += u64::from(length);
        match kind {
            BlobType::Data => self.data.push(blob),
            BlobType::Tree => self.trees.push(blob),
        }
        Ok(())
    }
}

/// Blobs that are read in one go, all of one pack: which, in a list that is sorted by their places.
pub(super) fn spans(blobs: &mut [Blob]) -> Vec<Range<usize>> {
    blobs.sort_unstable_by_key(|blob| (blob.pack, blob.offset));
    let mut spans: Vec<Range<usize>> = Vec::new();
    for (number, blob) in blobs.iter().enumerate() {
        let end = blob.offset.saturating_add(blob.length);
        let goes_on = spans.last().is_some_and(|span| {
            let (first, last) = (blobs[span.start], blobs[span.end - 1]);
            first.pack == blob.pack
                && blob.offset.saturating_sub(last.offset.saturating_add(last.length)) <= GAP
                && end.saturating_sub(first.offset) <= SPAN
        });
        match spans.last_mut() {
            Some(span) if goes_on => span.end = number + 1,
            _ => spans.push(number..number + 1),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(pack: u32, offset: u32, length: u32) -> Blob {
        Blob { id: BlobId([0; 32]), pack, offset, length, raw_length: None }
    }

    #[test]
    fn neighbours_in_a_pack_are_read_together_up_to_a_length() {
        let mut blobs = vec![
            blob(1, 0, 10),
            blob(0, 100, 50),
            blob(0, 0, 100),
            blob(0, 150 + GAP, 10),
            blob(0, 161 + 2 * GAP, 10),
            blob(1, 10, SPAN),
        ];
        let found: Vec<Vec<(u32, u32)>> = spans(&mut blobs)
            .into_iter()
            .map(|span| blobs[span].iter().map(|blob| (blob.pack, blob.offset)).collect())
            .collect();
        assert_eq!(
            found,
            [vec![(0, 0), (0, 100), (0, 150 + GAP)], vec![(0, 161 + 2 * GAP)], vec![(1, 0)], vec![(1, 10)],]
        );
        assert!(spans(&mut []).is_empty());
    }
}
