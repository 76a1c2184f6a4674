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
        let kept = packs.iter().position(|(id, _)| *id == place.pack).and_then(|at| packs.remove(at));
        if let Some((id, pack)) = kept
            && let Ok(tree) = open(&pack, place, sealer)
        {
            packs.push_back((id, pack));
            return Ok(tree);
        }
        // The cipher tells when the piece that is wanted is damaged in the cache, whichever piece it was fetched for first. Then the store itself is asked.
        let mut cached = None;
        let is_right = |pack: &[u8]| {
            cached = open(pack, place, sealer).ok();
            cached.is_some()
        };
        let pack = files.read(FileType::Pack, &place.pack, is_right)?;
        let tree = cached.map_or_else(|| open(&pack, place, sealer), Ok);
        if packs.len() >= KEPT {
            packs.pop_front();
        }
        packs.push_back((place.pack, pack));
        tree
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
