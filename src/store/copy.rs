//! Copies points from one repository to another, and reads nothing but the repository that has them.
//!
//! rustic_core has a copy of its own, which passes over a blob that its index lacks and saves the snapshot all the same, does not compare what it reads with its id,
//! and keeps the reason of a failed write to itself. So what is lacking is found here and given to the ingest engine of the mirror.
//!
//! Of each point all trees are walked: that the mirror has the tree of a directory does not say that it has what is below it, since an earlier copy may have broken
//! off. A snapshot is written when all that it needs is there and indexed. Newest points come first: a mirror that is only half made is worth most then.
//! What cannot be read right is not copied, nor is any point that needs it; the others are.
//!
//! Memory: both indexes, the ids of the trees that were walked, and some 100 bytes for each blob of a [`Batch`].

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use bytes::Bytes;
use rustic_core::repofile::{BlobType, SnapshotFile, SnapshotId};
use rustic_core::{BlobId as RusticBlobId, DataId, FileType, Id, IndexedFullStatus, ReadBackend, Repository, TreeId};

use super::format::{BlobId, parent};
use super::ingest::Engine;
use super::seal::Sealer;
use super::trouble::is_missing;
use super::{Store, explain, local_path, points};
use crate::error::hinted;
use crate::monitor::{Monitor, Task, Unit};
use crate::timeline::Point;

mod batch;

use batch::{Batch, Blob, Place, spans};

/// A point that another repository lacks.
#[derive(Debug, Clone)]
pub struct Missing {
    /// The point, where it is.
    pub point: Point,
    snapshot: SnapshotFile,
}

/// What came of copying.
#[derive(Debug, Default)]
pub struct Copied {
    /// How many points were copied.
    pub points: u64,
    /// How many bytes were added to packs.
    pub bytes: u64,
    /// Why points could not be copied: those that are damaged here, and what ended the work before its end.
    pub failed: Vec<Error>,
}

/// What tells one snapshot from all others, also after it was copied.
fn likeness(snapshot: &SnapshotFile) -> (i128, &str, &str, Id) {
    (snapshot.time.timestamp().as_nanosecond(), &snapshot.hostname, &snapshot.label, *snapshot.tree)
}

/// What restic calls a snapshot's persistent id.
fn original(snapshot: &SnapshotFile) -> SnapshotId {
    snapshot.original.unwrap_or(snapshot.id)
}

impl Store {
    /// The points of this repository that a mirror lacks, newest first. A snapshot there is a copy when it says so (`original`, as restic does), or when time, host,
    /// label and tree are the same.
    ///
    /// # Errors
    ///
    /// When the snapshots of one of them cannot be listed.
    pub fn lacking_in(&self, mirror: &Self) -> Result<Vec<Missing>> {
        let there = mirror.snapshots()?;
        let ids: HashSet<SnapshotId> = there.iter().flat_map(|one| [original(one), one.id]).collect();
        let alike: HashSet<_> = there.iter().map(likeness).collect();
        let is_there = |one: &SnapshotFile| {
            ids.contains(&original(one)) || ids.contains(&one.id) || alike.contains(&likeness(one))
        };
        let lacking = self.snapshots()?.into_iter().filter(|one| !is_there(one));
        let mut lacking: Vec<Missing> = lacking
            .filter_map(|snapshot| Some(Missing { point: points::point(&snapshot, self.place)?, snapshot }))
            .collect();
        lacking.sort_by_key(|missing| Reverse(missing.point.time));
        Ok(lacking)
    }

    /// Whether both cut files in the same places, so that what is saved into each of them is stored once where one is copied to the other.
    pub fn cuts_as(&self, other: &Self) -> Result<bool> {
        Ok(self.opened()?.config().chunker_polynomial == other.opened()?.config().chunker_polynomial)
    }

    /// Copies these points to a mirror, which is held by the caller as this one is. `subject` names the work for whoever watches.
    ///
    /// # Errors
    ///
    /// When the index of one of the two cannot be read. What fails later is told in [`Copied::failed`], and what was copied until then stays.
    pub fn copy(&self, wanted: &[Missing], mirror: &Self, subject: &str, monitor: &dyn Monitor) -> Result<Copied> {
        if wanted.is_empty() {
            return Ok(Copied::default());
        }
        // Its index takes memory that is needed now.
        self.forget_engine();
        self.trust_cached_trees();
        let sealer = Sealer::new(&self.key, None)?;
        let repository = self.indexed()?;
        let engine = mirror.engine(false)?;
        let task = monitor.start(subject, "copy", Unit::Bytes);
        let mut copy = Copy {
            source: self,
            repository: &repository,
            sealer: &sealer,
            engine: &engine,
            task: &*task,
            seen: HashSet::new(),
            expected: 0,
            done: Copied::default(),
        };
        let result = copy.run(wanted);
        let mut done = copy.done;
        task.finish();
        match result {
            Ok(()) => mirror.keep_engine(engine),
            // What was copied until then stays, and counts.
            Err(error) => done.failed.push(error),
        }
        Ok(done)
    }
}

/// A copy under way.
struct Copy<'c> {
    source: &'c Store,
    repository: &'c Repository<IndexedFullStatus>,
    sealer: &'c Sealer,
    /// That of the mirror.
    engine: &'c Engine,
    task: &'c dyn Task,
    /// Trees of which everything below is in the mirror, or in the batch.
    seen: HashSet<BlobId>,
    expected: u64,
    done: Copied,
}

impl Copy<'_> {
    fn run(&mut self, wanted: &[Missing]) -> Result<()> {
        let mut batch = Batch::default();
        for missing in wanted {
            match self.collect(missing, &mut batch) {
                Ok(()) => batch.points.push(missing),
                Err(error) => {
                    // It was left half-way.
                    self.seen.clear();
                    self.fail(missing, error);
                }
            }
            if batch.is_full() {
                self.flush(std::mem::take(&mut batch))?;
            }
        }
        self.flush(batch)
    }

    /// Finds what the mirror lacks of a point.
    fn collect(&mut self, missing: &Missing, batch: &mut Batch<'_>) -> Result<()> {
        let mut open = vec![BlobId::from(*missing.snapshot.tree)];
        while let Some(tree) = open.pop() {
            if !self.seen.insert(tree) {
                continue;
            }
            if self.engine.lacks(BlobType::Tree, &tree) && batch.wanted.insert(tree) {
                batch.add(BlobType::Tree, tree, self.place(BlobType::Tree, &tree)?)?;
            }
            for node in self.tree(tree)? {
                open.extend(node.subtree());
                for blob in node.content().unwrap_or_default() {
                    if self.engine.lacks(BlobType::Data, blob) && batch.wanted.insert(*blob) {
                        batch.add(BlobType::Data, *blob, self.place(BlobType::Data, blob)?)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn place(&self, kind: BlobType, id: &BlobId) -> Result<Place> {
        let found = match kind {
            BlobType::Data => self.repository.get_index_entry(&DataId::from(Id::from(*id))),
            BlobType::Tree => self.repository.get_index_entry(&TreeId::from(Id::from(*id))),
        };
        let Ok(entry) = found else { bail!("{kind} {id} is not in the index of the store") };
        let (pack, at) = (*entry.pack, entry.location);
        let raw_length = at.uncompressed_length.map(u32::from);
        Ok(Place { pack, offset: at.offset, length: at.length, raw_length })
    }

    fn tree(&self, tree: BlobId) -> Result<Vec<parent::Known>> {
        let read = self.repository.get_blob_cached(&RusticBlobId::from(Id::from(tree)), BlobType::Tree);
        let json = read.map_err(|error| explain(*error)).with_context(|| format!("read tree {tree}"))?;
        parent::parse(&json).with_context(|| format!("read tree {tree}"))
    }

    /// Copies what a batch wants, and writes the snapshots of those points that have everything.
    fn flush(&mut self, mut batch: Batch<'_>) -> Result<()> {
        self.expected += batch.bytes;
        self.task.expect(self.expected);
        let mut damaged = HashMap::new();
        // The trees last: a mirror that has the tree of a directory mostly has what it names.
        for (kind, blobs) in [(BlobType::Data, &mut batch.data), (BlobType::Tree, &mut batch.trees)] {
            self.done.bytes += self.hand_over(kind, &batch.packs, blobs, &mut damaged)?;
        }
        for missing in &batch.points {
            if !damaged.is_empty()
                && let Err(error) = self.ensure_without(missing, &damaged)
            {
                self.fail(missing, error);
                continue;
            }
            let mut snapshot = missing.snapshot.clone();
            snapshot.original = Some(original(&snapshot));
            // They are snapshots of this repository, and of no meaning in the other one.
            (snapshot.id, snapshot.parent, snapshot.parents) = (SnapshotId::default(), None, Vec::new());
            self.engine.write_snapshot(&snapshot)?;
            self.done.points += 1;
        }
        if !damaged.is_empty() {
            // What is damaged is below trees that would be taken for done.
            self.seen.clear();
        }
        Ok(())
    }

    /// Gives blobs to the engine; what cannot be read right is added to `damaged`, with the reason.
    fn hand_over(
        &self,
        kind: BlobType,
        packs: &[Id],
        blobs: &mut [Blob],
        damaged: &mut HashMap<BlobId, String>,
    ) -> Result<u64> {
        let spans = spans(blobs);
        let found = Mutex::new(damaged);
        self.engine.take_over(kind, spans.len(), &|span, put| {
            let blobs = &blobs[spans[span].clone()];
            let tell = |blob: &Blob, error: &Error| {
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                found.insert(blob.id, format!("{error:#}"));
            };
            match self.read(packs, blobs)? {
                Ok(bytes) => {
                    for blob in blobs {
                        match self.open(blobs[0].offset, blob, &bytes) {
                            Ok(plain) if put(&plain)? == blob.id => {}
                            Ok(_) => tell(blob, &anyhow!("it has other content than its id says")),
                            Err(error) => tell(blob, &error),
                        }
                    }
                }
                Err(error) => blobs.iter().for_each(|blob| tell(blob, &error)),
            }
            self.task.advance(blobs.iter().map(|blob| u64::from(blob.length)).sum());
            Ok(())
        })
    }

    /// Reads a span. The outer error is one of the place as a whole, the inner one of this pack alone.
    fn read(&self, packs: &[Id], blobs: &[Blob]) -> Result<Result<Bytes>> {
        let (first, last) = (blobs[0], blobs[blobs.len() - 1]);
        let length = last.offset.saturating_add(last.length).saturating_sub(first.offset);
        let pack = packs.get(first.pack as usize).context("find the pack")?;
        let name = pack.to_hex();
        let doing = || format!("read pack {}", name.as_str());
        match self.source.gate.read_partial(FileType::Pack, pack, false, first.offset, length) {
            Ok(bytes) if bytes.len() == length as usize => Ok(Ok(bytes)),
            Ok(_) => Ok(Err(anyhow!("the pack is cut short")).with_context(doing)),
            Err(error) => {
                // A disk fails in places; a server that does not answer would be asked for every pack in vain.
                let is_of_pack = is_missing(&error) || local_path(&self.source.repository).is_some();
                let error = explain(*error).context(doing());
                if is_of_pack { Ok(Err(error)) } else { Err(error) }
            }
        }
    }

    /// A blob of a span that begins at `begin` in its pack.
    fn open(&self, begin: u32, blob: &Blob, bytes: &[u8]) -> Result<Vec<u8>> {
        let start = (blob.offset - begin) as usize;
        let sealed =
            bytes.get(start..start + blob.length as usize).context("the pack is shorter than the index says")?;
        let mut sealed = sealed.to_vec();
        let plain = self.sealer.open_in_place(&mut sealed)?;
        match blob.raw_length {
            None => Ok(plain.to_vec()),
            Some(length) => zstd::bulk::decompress(plain, length as usize).context("decompress it"),
        }
    }

    /// That a point needs nothing that is damaged.
    fn ensure_without(&self, missing: &Missing, damaged: &HashMap<BlobId, String>) -> Result<()> {
        let (mut seen, mut open) = (HashSet::new(), vec![BlobId::from(*missing.snapshot.tree)]);
        let check = |what: &str, id: &BlobId| {
            let why = damaged.get(id);
            ensure!(why.is_none(), "{what} {id}: {}", why.map_or("", String::as_str));
            Ok(())
        };
        while let Some(tree) = open.pop() {
            if !seen.insert(tree) {
                continue;
            }
            check("tree", &tree)?;
            for node in self.tree(tree)? {
                open.extend(node.subtree());
                node.content().unwrap_or_default().iter().try_for_each(|blob| check("piece", blob))?;
            }
        }
        Ok(())
    }

    fn fail(&mut self, missing: &Missing, error: Error) {
        let Point { item, .. } = &missing.point;
        let what = format!("the point {} of {item} is damaged and was not copied", missing.point.short_id());
        let hint = "Run `holdall verify --read-data`; \"Damage\" in doc/format.md says what can be done.";
        self.done.failed.push(hinted(error.context(what), hint));
    }
}
