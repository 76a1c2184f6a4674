//! What the store holds already: the index, as the ingest engine asks it.
//!
//! For data it only matters whether a blob is there: 32 bytes each, sorted. For trees their place matters too, since the trees of the
//! newest point are read for comparison. What this run adds stands in tables of its own, shared by all items of the run.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use rustic_core::repofile::{BlobType, IndexFile};
use rustic_core::{Id, OpenStatus, Repository};

use crate::store::explain;
use crate::store::format::BlobId;

/// Tables of new blobs, so that threads seldom wait for each other.
const SHARDS: usize = 16;

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
    trees: HashMap<BlobId, StoredPlace>,
    tree_packs: Vec<Id>,
    /// New blobs by kind and first bits.
    new: [Vec<Mutex<HashSet<BlobId>>>; 2],
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
    /// Reads the index of the repository.
    ///
    /// Packs that a prune has marked to be deleted do not count: nothing new may rely on them.
    pub(super) fn load(repository: &Repository<OpenStatus>) -> Result<Self> {
        let mut known = Self::default();
        let mut data = Vec::new();
        let files = repository.stream_files::<IndexFile>().map_err(|error| explain(*error));
        for file in files.context("read the index of the repository")? {
            let (_, file) = file.map_err(|error| explain(*error)).context("read the index of the repository")?;
            for pack in file.packs {
                known.pack_bytes[number(pack.blob_type())] += u64::from(pack.pack_size());
                let number = u32::try_from(known.tree_packs.len()).context("count the packs")?;
                let mut has_trees = false;
                for blob in pack.blobs {
                    let id = BlobId::from(*blob.id);
                    match blob.tpe {
                        BlobType::Data => data.push(id),
                        BlobType::Tree => {
                            has_trees = true;
                            let location = blob.location;
                            let place = StoredPlace {
                                pack: number,
                                offset: location.offset,
                                length: location.length,
                                raw_length: location.uncompressed_length.map_or(0, u32::from),
                            };
                            known.trees.insert(id, place);
                        }
                    }
                }
                if has_trees {
                    known.tree_packs.push(*pack.id);
                }
            }
        }
        known.data = Sorted::new(data);
        Ok(known)
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

    fn shard(&self, kind: BlobType, id: &BlobId) -> &Mutex<HashSet<BlobId>> {
        // Not the first byte, by which the table itself may sort.
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
        ids.sort_unstable();
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
        self.ids[begin..end].binary_search(id).is_ok()
    }
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
