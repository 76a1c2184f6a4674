//! Reads saved trees, for comparison with what is there now.
//!
//! Trees of one point lie close together in few packs. So a pack of trees is taken whole, from the cache or the store, and the
//! last few are kept in memory.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use rustic_core::{FileType, Id, ReadBackend};

use super::known::Place;
use crate::store::gate::Gate;
use crate::store::seal::Sealer;
use crate::store::{cache, explain};

/// How many packs are kept in memory.
const KEPT: usize = 6;

/// Reads trees.
pub(super) struct Trees {
    gate: Arc<Gate>,
    cache: Option<PathBuf>,
    packs: Mutex<VecDeque<(Id, Bytes)>>,
}

impl Trees {
    pub(super) fn new(gate: Arc<Gate>, cache: Option<PathBuf>) -> Self {
        Self { gate, cache, packs: Mutex::default() }
    }

    /// The tree at this place, as JSON.
    pub(super) fn read(&self, place: Place, sealer: &Sealer) -> Result<Vec<u8>> {
        let mut packs = self.packs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = packs.iter().position(|(id, _)| *id == place.pack) {
            let found = packs.remove(at);
            packs.extend(found);
        } else {
            let pack = self.fetch(place, sealer)?;
            if packs.len() >= KEPT {
                packs.pop_front();
            }
            packs.push_back((place.pack, pack));
        }
        let pack = packs.back().map(|(_, pack)| pack.clone()).unwrap_or_default();
        drop(packs);
        open(&pack, place, sealer)
    }

    /// The pack, from the cache if it is right there.
    fn fetch(&self, place: Place, sealer: &Sealer) -> Result<Bytes> {
        if let Some(cache) = &self.cache {
            let cached = fs::read(cache::path(cache, FileType::Pack, &place.pack)).map(Bytes::from);
            // The cipher tells when the piece that is wanted is damaged. Then the store itself is asked.
            if let Ok(pack) = cached
                && open(&pack, place, sealer).is_ok()
            {
                return Ok(pack);
            }
        }
        let pack = self.gate.read_full(FileType::Pack, &place.pack).map_err(|error| explain(*error))?;
        if let Some(cache) = &self.cache {
            cache::put(cache, FileType::Pack, &place.pack, &pack);
        }
        Ok(pack)
    }
}

fn open(pack: &[u8], place: Place, sealer: &Sealer) -> Result<Vec<u8>> {
    let begin = place.offset as usize;
    let sealed = pack.get(begin..begin + place.length as usize).context("the pack is shorter than the index says")?;
    let mut sealed = sealed.to_vec();
    let plain = sealer.open_in_place(&mut sealed)?;
    let Some(length) = place.raw_length.map(|length| length as usize) else { return Ok(plain.to_vec()) };
    zstd::bulk::decompress(plain, length).context("decompress the tree")
}
