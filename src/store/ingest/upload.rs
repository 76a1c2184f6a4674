//! Writes finished packs to the store, several at a time, and then tells the index of them.
//!
//! A pack that no index names is lost to the next run, which would send its content again. So an index is written whenever there is enough for one, and at
//! least every [`INDEX_AGE`]; and never before the packs it names are stored.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use rustic_core::FileType;
use rustic_core::jiff::Timestamp;
use rustic_core::repofile::{BlobType, SnapshotFile};

use super::known::number;
use super::pack::FinishedPack;
use super::{Engine, Failure};
use crate::store::format::BlobId;
use crate::store::format::index::{self, IndexedPack, PlacedBlob};
use crate::store::format::pack::PackedBlob;

/// How old a pack may get before an index names it.
const INDEX_AGE: Duration = Duration::from_secs(60);
/// How many packs, and how many blobs, an index names at most. Blobs: as restic.
const INDEX_PACKS: usize = 2_000;
const INDEX_BLOBS: usize = 50_000;
/// How many packs may wait for a thread that sends them.
const WAITING: usize = 1;

/// Packs on their way to the store.
pub(super) struct Uploads<'e> {
    engine: &'e Engine,
    failure: &'e Failure,
    state: Mutex<State>,
    /// Something for the senders has come.
    work: Condvar,
    /// A waiting pack was taken.
    room: Condvar,
}

#[derive(Default)]
struct State {
    packs: VecDeque<FinishedPack>,
    is_closed: bool,
    /// Packs that are stored and not yet named by an index.
    stored: Stored,
}

#[derive(Default)]
struct Stored {
    packs: Vec<IndexedPack>,
    blobs: usize,
    oldest: Option<Instant>,
}

impl Stored {
    fn is_due(&self) -> bool {
        self.packs.len() >= INDEX_PACKS
            || self.blobs >= INDEX_BLOBS
            || self.oldest.is_some_and(|oldest| oldest.elapsed() >= INDEX_AGE)
    }
}

impl<'e> Uploads<'e> {
    pub(super) fn new(engine: &'e Engine, failure: &'e Failure) -> Self {
        let (state, work, room) = Default::default();
        Self { engine, failure, state, work, room }
    }

    /// Hands a pack over to be stored; waits while too many do already.
    pub(super) fn send(&self, pack: FinishedPack) {
        if self.engine.dry_run {
            return;
        }
        let mut state = self.lock();
        while state.packs.len() >= WAITING && !self.failure.happened() {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if self.failure.happened() {
            // Nobody would take it, and somebody may wait for its buffer.
            return;
        }
        state.packs.push_back(pack);
        self.work.notify_one();
    }

    /// No further pack will come.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.work.notify_all();
    }

    /// Lets everybody go who waits, after a failure.
    pub(super) fn wake(&self) {
        // With the lock, so that nobody is between looking at the failure and going to sleep.
        let mut state = self.lock();
        // Somebody may wait for their buffers.
        let dropped = mem::take(&mut state.packs);
        self.work.notify_all();
        self.room.notify_all();
        drop(state);
        drop(dropped);
    }

    /// The work of one sending thread, until there is no more.
    pub(super) fn run(&self) -> Result<()> {
        let mut state = self.lock();
        loop {
            if self.failure.happened() {
                return Ok(());
            }
            if state.stored.is_due() {
                let stored = mem::take(&mut state.stored);
                drop(state);
                self.engine.write_index(&stored.packs)?;
                state = self.lock();
            } else if let Some(pack) = state.packs.pop_front() {
                self.room.notify_one();
                drop(state);
                let stored = self.engine.write_pack(pack)?;
                state = self.lock();
                state.stored.oldest.get_or_insert_with(Instant::now);
                state.stored.blobs += stored.blobs.len();
                state.stored.packs.push(stored);
            } else if state.is_closed {
                return Ok(());
            } else {
                let age = state.stored.oldest.map_or(Duration::ZERO, |oldest| oldest.elapsed());
                let waited = self.work.wait_timeout(state, INDEX_AGE.saturating_sub(age));
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// Writes the index of what is stored and not yet named by one, when all senders have ended.
    pub(super) fn finish(self) -> Result<()> {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        if state.stored.packs.is_empty() { Ok(()) } else { self.engine.write_index(&state.stored.packs) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    fn write_pack(&self, pack: FinishedPack) -> Result<IndexedPack> {
        let FinishedPack { id, kind, blobs, buffer, length } = pack;
        let size = u32::try_from(length).context("store a pack")?;
        let content = Bytes::from_owner(Shared(buffer)).slice(..length);
        self.packed[number(kind)].fetch_add(u64::from(size), Ordering::Relaxed);
        // Packs of data would fill the cache.
        let is_cached = kind == BlobType::Tree;
        let written = self.files.write(FileType::Pack, &id.into(), content, is_cached);
        written.with_context(|| format!("store pack {id}"))?;
        let mut offset = 0;
        let place = |blob: PackedBlob| {
            let placed = PlacedBlob { blob, offset };
            offset += blob.length;
            placed
        };
        let blobs = blobs.into_iter().map(place).collect();
        Ok(IndexedPack { id, blobs, size, time: Some(Timestamp::now()) })
    }

    fn write_index(&self, packs: &[IndexedPack]) -> Result<()> {
        self.write_unpacked(FileType::Index, &index::encode(packs)).context("write an index").map(drop)
    }

    /// Writes a snapshot, after everything that it needs; its id.
    pub(in crate::store) fn write_snapshot(&self, snapshot: &SnapshotFile) -> Result<String> {
        let written = serde_json::to_vec(snapshot).context("write it as JSON");
        let written = written.and_then(|json| self.write_unpacked(FileType::Snapshot, &json));
        Ok(written.context("write the snapshot")?.to_string())
    }

    /// Writes a file that is not a pack.
    fn write_unpacked(&self, kind: FileType, json: &[u8]) -> Result<BlobId> {
        let content = Bytes::from(self.sealer.seal(json)?);
        let name = BlobId::of(&content);
        self.files.write(kind, &name.into(), content, true)?;
        Ok(name)
    }
}

/// A buffer as what [`Bytes`] can own.
struct Shared(super::pool::Buffer);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
