//! Reads all index files of the repository, several at a time: decoding them takes a while, and so do a server's answers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use rustic_core::{FileType, Id};

use super::files::Files;
use super::known::Known;
use crate::store::format::index::{self, KnownPack};
use crate::store::seal::Sealer;

/// How many are read at a time.
const READERS: usize = 2;

/// What the index files name.
pub(super) fn read(files: &Files, sealer: &Sealer) -> Result<Known> {
    let ids = files.list(FileType::Index)?;
    let next = AtomicUsize::new(0);
    let known = Mutex::new(Ok(Known::default()));
    let work = || {
        while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
            let read = read_one(files, sealer, id);
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            let Ok(all) = &mut *known else { return };
            if let Err(error) = read.and_then(|packs| all.add(packs)) {
                *known = Err(error);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..READERS.min(ids.len()) {
            // Without a thread to be had it only takes longer.
            drop(thread::Builder::new().spawn_scoped(scope, work));
        }
        work();
    });
    let mut known = known.into_inner().unwrap_or_else(PoisonError::into_inner)?;
    known.sort();
    Ok(known)
}

fn read_one(files: &Files, sealer: &Sealer, id: &Id) -> Result<Vec<KnownPack>> {
    // What is in the cache was compared with its name when the store was opened.
    let stored = files.read(FileType::Index, id, |_| true)?;
    let json = sealer.open(&stored).with_context(|| format!("open index {}", id.to_hex().as_str()))?;
    index::decode(&json).with_context(|| format!("read index {}", id.to_hex().as_str()))
}
