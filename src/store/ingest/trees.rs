//! Reads saved trees, for comparison with what is there now.
//!
//! Trees of one point lie close together in few packs. So a pack of trees is taken whole, from the cache or the store, and the
//! last few are kept in memory.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use rustic_core::{FileType, Id};

use super::files::Files;
use super::known::Place;
use crate::store::seal::Sealer;

/// How many packs are kept in memory.
const KEPT: usize = 6;

/// Reads trees.
#[derive(Default)]
pub(super) struct Trees {
    packs: Mutex<VecDeque<(Id, Bytes)>>,
}

impl Trees {
    /// The tree at this place, as JSON.
    pub(super) fn read(&self, files: &Files, place: Place, sealer: &Sealer) -> Result<Vec<u8>> {
        let mut packs = self.packs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = packs.iter().position(|(id, _)| *id == place.pack) {
            let found = packs.remove(at);
            packs.extend(found);
        } else {
            // The cipher tells when the piece that is wanted is damaged in the cache. Then the store itself is asked.
            let pack = files.read(FileType::Pack, &place.pack, |pack| open(pack, place, sealer).is_ok())?;
            if packs.len() >= KEPT {
                packs.pop_front();
            }
            packs.push_back((place.pack, pack));
        }
        let pack = packs.back().map(|(_, pack)| pack.clone()).unwrap_or_default();
        drop(packs);
        open(&pack, place, sealer)
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
