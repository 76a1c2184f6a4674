//! What the store holds already: the index, as the ingest engine asks it.
//!
//! For data it only matters whether a blob is there: 32 bytes each, sorted. For trees their place matters too, since the trees of the
//! newest point are read for comparison. What this run adds stands in tables of its own, shared by all items of the run.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use rustic_core::Id;
use rustic_core::repofile::BlobType;

use crate::store::format::BlobId;
use crate::store::format::index::{KnownBlob, KnownPack};

/// Tables of new blobs, so that threads seldom wait for each other.
const SHARDS: usize = 16;

/// Some ids.
type Ids = HashSet<BlobId, BuildHasherDefault<IdHasher>>;

/// Where a tree is stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) pack: Id,
    pub(super) offset: u32,
    /// Stored length in bytes.
    pub(super) length: u32,
    /// Length before compression, when it is compressed.
    pub(super) raw_length: Option<u32>,
}

/// The index of a repository, and what was added since it was read.
pub(super) struct Known {
    data: Sorted,
    trees: HashMap<BlobId, StoredPlace, BuildHasherDefault<IdHasher>>,
    tree_packs: Vec<Id>,
    /// New blobs by kind and first bits.
    new: [Vec<Mutex<Ids>>; 2],
    /// Bytes of all packs, by kind.
    pub(super) pack_bytes: [u64; 2],
}

/// A [`Place`] whose pack is a number.
#[derive(Debug, Clone, Copy)]
struct StoredPlace {
    pack: u32,
    offset: u32,
    length: u32,
    raw_length: u32,
}

/// The place of a kind in tables of two.
pub(super) fn number(kind: BlobType) -> usize {
    match kind {
        BlobType::Data => 0,
        BlobType::Tree => 1,
    }
}

impl Known {
    /// Adds what an index file names; to be followed by [`Known::sort`].
    ///
    /// Packs that a prune has marked to be deleted are not among it: nothing new may rely on them.
    pub(super) fn add(&mut self, packs: Vec<KnownPack>) -> Result<()> {
        for pack in packs {
            let kind = pack.blobs.first().map_or(BlobType::Data, |blob| blob.kind);
            let blobs: u64 = pack.blobs.iter().map(|blob| u64::from(blob.length)).sum();
            self.pack_bytes[number(kind)] += pack.size.map_or(blobs, u64::from);
            let place = u32::try_from(self.tree_packs.len()).context("count the packs")?;
            let mut has_trees = false;
            for KnownBlob { id, kind, offset, length, raw_length } in pack.blobs {
                match kind {
                    BlobType::Data => self.data.ids.push(id),
                    BlobType::Tree => {
                        has_trees = true;
                        let raw_length = raw_length.unwrap_or(0);
                        self.trees.insert(id, StoredPlace { pack: place, offset, length, raw_length });
                    }
                }
            }
            if has_trees {
                self.tree_packs.push(pack.id.into());
            }
        }
        Ok(())
    }

    /// Brings what was added into order.
    pub(super) fn sort(&mut self) {
        self.data = Sorted::new(std::mem::take(&mut self.data.ids));
    }

    /// Whether the store has the blob, or will have it when this run is over.
    pub(super) fn has(&self, kind: BlobType, id: &BlobId) -> bool {
        self.is_stored(kind, id) || self.shard(kind, id).lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    /// Says that the caller will store this blob; `false` when it is there, or somebody else has said so.
    pub(super) fn claim(&self, kind: BlobType, id: &BlobId) -> bool {
        !self.is_stored(kind, id) && self.shard(kind, id).lock().unwrap_or_else(PoisonError::into_inner).insert(*id)
    }

    /// Where a tree is that was there before this run.
    pub(super) fn tree(&self, id: &BlobId) -> Option<Place> {
        let &StoredPlace { pack, offset, length, raw_length } = self.trees.get(id)?;
        let raw_length = (raw_length > 0).then_some(raw_length);
        Some(Place { pack: self.tree_packs[pack as usize], offset, length, raw_length })
    }

    fn is_stored(&self, kind: BlobType, id: &BlobId) -> bool {
        match kind {
            BlobType::Data => self.data.contains(id),
            BlobType::Tree => self.trees.contains_key(id),
        }
    }

    fn shard(&self, kind: BlobType, id: &BlobId) -> &Mutex<Ids> {
        // Not the first bytes, by which the table itself sorts.
        &self.new[number(kind)][usize::from(id.0[31]) % SHARDS]
    }
}

impl Default for Known {
    fn default() -> Self {
        let tables = || (0..SHARDS).map(|_| Mutex::default()).collect();
        let (data, trees, tree_packs, pack_bytes) = Default::default();
        Self { data, trees, tree_packs, new: [tables(), tables()], pack_bytes }
    }
}

/// Ids in order, with where those of each first two bytes begin: ids are hashes, so each such part is small.
#[derive(Debug, Default)]
struct Sorted {
    ids: Vec<BlobId>,
    begins: Vec<usize>,
}

impl Sorted {
    fn new(mut ids: Vec<BlobId>) -> Self {
        ids.sort_unstable_by(|a, b| first_eight(a).cmp(&first_eight(b)).then_with(|| a.cmp(b)));
        ids.dedup();
        ids.shrink_to_fit();
        let mut begins = vec![0; (1 << 16) + 1];
        for id in &ids {
            begins[first_two(id) + 1] += 1;
        }
        for part in 1..begins.len() {
            begins[part] += begins[part - 1];
        }
        Self { ids, begins }
    }

    fn contains(&self, id: &BlobId) -> bool {
        let part = first_two(id);
        let (Some(&begin), Some(&end)) = (self.begins.get(part), self.begins.get(part + 1)) else { return false };
        // There are few: one after the other is quicker than jumping.
        let wanted = first_eight(id);
        self.ids[begin..end].iter().any(|known| first_eight(known) == wanted && known == id)
    }
}

/// Takes bytes of the id for its hash: that is what they are.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        // Not the last byte, which says the table.
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What nearly always decides which of two ids comes first.
fn first_eight(id: &BlobId) -> u64 {
    id.0.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

fn first_two(id: &BlobId) -> usize {
    usize::from(u16::from_be_bytes([id.0[0], id.0[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> BlobId {
        BlobId::of(&number.to_le_bytes())
    }

    #[test]
    fn every_id_is_found_and_no_other() {
        let sorted = Sorted::new((0..1000).chain(0..10).map(id).collect());
        assert_eq!(sorted.ids.len(), 1000);
        assert!((0..1000).all(|number| sorted.contains(&id(number))));
        assert!(!(1000..2000).any(|number| sorted.contains(&id(number))));
        for extreme in [BlobId([0; 32]), BlobId([255; 32])] {
            assert!(!sorted.contains(&extreme) && Sorted::new(vec![extreme]).contains(&extreme));
            assert!(!Sorted::default().contains(&extreme));
        }
    }

    #[test]
    fn a_blob_is_claimed_once_and_by_its_kind() {
        let known = Known { data: Sorted::new(vec![id(1)]), ..Known::default() };
        assert!(!known.claim(BlobType::Data, &id(1)));
        assert!(known.claim(BlobType::Tree, &id(1)), "a tree and data of the same content are two blobs");
        assert!(known.claim(BlobType::Data, &id(2)));
        assert!(known.has(BlobType::Data, &id(2)));
        assert!(!known.claim(BlobType::Data, &id(2)));
    }
}
