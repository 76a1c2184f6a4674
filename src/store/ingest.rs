//! The ingest engine: gets the bytes of a source into the store.
//!
//! ```text
//!  the source       assembler                  workers, one a core                        senders
//!  entries() ──▶ compare with the   ─files─▶ open, read ▶ cut ▶ SHA-256 ▶ known? ──┐
//!               point before                    ▲   │ pieces of large files        │ new
//!                   │ unchanged, links          └───┘                              ▼
//!                   ▼                                              zstd ▶ AES, Poly1305 ▶ pack ──▶ store ▶ index
//!               directories, from the bottom up ──trees──────────────────────────────┘
//! ```
//!
//! A source that does not know yet where its contents belong leaves them here first ([`Engine::deposit`]): the same workers, without the assembler. What another
//! repository has comes as it was cut there ([`copy`]).
//!
//! It writes what restic writes: blobs in packs, trees as JSON, indexes; any restic reads, checks, prunes and goes on with it. Why it is ours: rustic_core's
//! archiver logs what a source could not give and saves all the same, opens files in an order of its own, and is slow.
//!
//! Memory is bounded: the lines between the threads are short ([`jobs`]), each thread fills at most one pack of each kind ([`packer`]), and few packs are under way
//! ([`upload`]). What grows with the source is one directory's entries, and the index. A snapshot is written only when [`super::save`] says
//! so: when everything else is in the store, and the source has said that it was whole.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};

use anyhow::{Context, Error, Result, anyhow};
use rustic_core::repofile::{BlobType, ConfigFile, SnapshotSummary};

use super::Store;
use super::explain;
use super::format::BlobId;
use super::seal::Sealer;
use crate::monitor::{Silent, Task};
use crate::source::{Entries, Opener, Stored};

mod assemble;
mod chunker;
mod copy;
mod directory;
mod files;
mod goal;
mod index;
mod jobs;
mod known;
mod pack;
mod packer;
mod parent;
mod pool;
mod problems;
mod tally;
#[cfg(test)]
mod tests;
mod trees;
mod upload;
mod worker;

use assemble::Assembler;
use chunker::Chunker;
use files::Files;
use goal::Goal;
use jobs::{FileJob, Jobs};
use known::{Known, number};
use pack::OpenPack;
use packer::Packer;
use pool::Pool;
pub(super) use problems::Problems;
use tally::{Change, Tally};
use trees::Trees;
use upload::Uploads;
use worker::Worker;

/// More threads than this would wait for the source or the store, and each takes the memory of a pack.
const MOST_WORKERS: usize = 8;
/// How many packs are written to a disk at a time: while one waits for the disk, the next is written.
const LOCAL_SENDERS: usize = 2;
/// How many packs are sent to a server at a time: its answers take their time.
const REMOTE_SENDERS: usize = 6;

/// What the items of one run share: the index, and what is needed to add to the store.
pub(super) struct Engine {
    /// Where the store is, for messages.
    repository: String,
    /// Whether nothing is to be written.
    pub(super) dry_run: bool,
    files: Files,
    config: ConfigFile,
    level: Option<i32>,
    sealer: Sealer,
    chunker: Chunker,
    known: Known,
    trees: Trees,
    /// Bytes of packs that were added, by kind.
    packed: [AtomicU64; 2],
    packs: [Arc<Pool>; 2],
    segments: Arc<Pool>,
    workers: usize,
    senders: usize,
    /// What was added for an item whose tree is yet to come.
    deposited: Mutex<Tally>,
}

/// One item on its way into the store.
struct Run<'r> {
    engine: &'r Engine,
    problems: &'r Problems,
    task: &'r dyn Task,
    jobs: Jobs,
    uploads: Uploads<'r>,
    failure: &'r Failure,
    tally: Tally,
    /// The tree of the root, when it is complete.
    root: OnceLock<BlobId>,
    /// Who is told of contents that have no place in the tree yet.
    deposit: Option<&'r (dyn Fn(usize, Stored) + Sync)>,
}

/// What failed for the whole item, and not only for a file; then everybody stops.
#[derive(Default)]
struct Failure {
    happened: AtomicBool,
    first: Mutex<Option<Error>>,
}

impl Failure {
    fn happened(&self) -> bool {
        self.happened.load(Ordering::Acquire)
    }
}

/// What to take in.
pub(super) struct Ingest<'i> {
    pub(super) entries: Entries,
    /// The tree of the point before.
    pub(super) parent: Option<BlobId>,
    pub(super) problems: &'i Problems,
    pub(super) task: &'i dyn Task,
    /// Called when nothing more will be read of the source, before all of it is in the store.
    pub(super) when_read: &'i dyn Fn(),
}

impl Engine {
    /// Reads the index of the store and gets ready. With `dry_run` nothing will be written.
    pub(super) fn open(store: &Store, dry_run: bool) -> Result<Self> {
        let repository = store.opened()?;
        let config = repository.config().clone();
        let level =
            config.zstd().map_err(|error| explain(*error)).context("understand the repository's compression")?;
        let sealer = Sealer::new(&store.key, level)?;
        let files = Files::of(store);
        let known = index::read(&files, &sealer).context("read the index of the repository")?;
        let workers = thread::available_parallelism().map_or(1, |cores| cores.get().min(MOST_WORKERS));
        let is_local = super::local_path(&store.repository).is_some();
        let senders = if is_local { LOCAL_SENDERS } else { REMOTE_SENDERS };
        // One for each thread that fills such packs, and one for each that sends them; to a disk one, since the memory of a pack is free before
        // the wait for the disk begins.
        let sent = if is_local { 1 } else { senders };
        let pool = |kind, fillers| {
            let size = pack::target_size(&config, kind, known.pack_bytes[number(kind)]);
            Pool::new(size, fillers + sent)
        };
        Ok(Self {
            repository: store.repository.clone(),
            dry_run,
            files,
            level,
            sealer,
            chunker: Chunker::new(&config)?,
            trees: Trees::default(),
            packed: Default::default(),
            // The assembler stores trees only.
            packs: [pool(BlobType::Data, workers), pool(BlobType::Tree, workers + 1)],
            // What each worker reads, what it keeps to use again, and what waits to be stored.
            segments: Pool::new(worker::SEGMENT, usize::MAX),
            workers,
            senders,
            deposited: Mutex::default(),
            known,
            config,
        })
    }

    /// Takes a source in; gives back the tree of its root. After an error the engine must not be used again: it counts on blobs that
    /// were not stored.
    ///
    /// # Errors
    ///
    /// When the store fails. What the source could not give is among the problems instead.
    pub(super) fn ingest(&self, work: Ingest<'_>, summary: &mut SnapshotSummary) -> Result<BlobId> {
        let Ingest { entries, parent, problems, task, when_read } = work;
        let failure = Failure::default();
        let run = self.begin(problems, task, &failure, None);
        run.tally.add_blobs_of(&std::mem::take(&mut *self.deposited.lock().unwrap_or_else(PoisonError::into_inner)));
        run.work(|| Assembler::new(&run, parent)?.run(entries).map(Some), when_read);
        let (tally, root) = run.end()?;
        tally.fill(summary);
        root.context("the tree of the root was not completed")
    }

    /// Takes contents in for a tree that is yet to come; see [`crate::source::Deposit::take`]. After an error the engine must not be used again.
    pub(super) fn deposit(
        &self,
        contents: &mut (dyn Iterator<Item = Opener> + Send),
        stored: &(dyn Fn(usize, Stored) + Sync),
    ) -> Result<()> {
        // What was left for an item that then failed is not part of this one.
        *self.deposited.lock().unwrap_or_else(PoisonError::into_inner) = Tally::default();
        let (problems, failure) = Default::default();
        let run = self.begin(&problems, &Silent, &failure, Some(stored));
        let feed = || {
            for (number, opener) in contents.enumerate() {
                let (goal, path, change) = (Goal::Deposit(number), PathBuf::new(), Change::New);
                if !run.jobs.push_file(FileJob { goal, path, size: None, change, opener }) {
                    break;
                }
            }
            Ok(None)
        };
        run.work(feed, &|| {});
        let (tally, _) = run.end()?;
        self.deposited.lock().unwrap_or_else(PoisonError::into_inner).add_blobs_of(&tally);
        Ok(())
    }

    fn begin<'r>(
        &'r self,
        problems: &'r Problems,
        task: &'r dyn Task,
        failure: &'r Failure,
        deposit: Option<&'r (dyn Fn(usize, Stored) + Sync)>,
    ) -> Run<'r> {
        let (tally, root) = Default::default();
        let uploads = Uploads::new(self, failure);
        Run { engine: self, problems, task, jobs: Jobs::new(self.workers), uploads, failure, tally, root, deposit }
    }

    fn new_pack(&self, kind: BlobType) -> Result<OpenPack> {
        let stored = self.known.pack_bytes[number(kind)] + self.packed[number(kind)].load(Ordering::Relaxed);
        let buffer = self.packs[number(kind)].take().context(pack::NO_MEMORY)?;
        Ok(OpenPack::new(buffer, pack::target_size(&self.config, kind, stored)))
    }
}

impl Run<'_> {
    /// Does the work: `feed` lines up what is to be read, and gives back what it has in packs of its own.
    fn work(&self, feed: impl FnOnce() -> Result<Option<Packer>>, when_read: &dyn Fn()) {
        thread::scope(|scope| {
            for _ in 0..self.engine.senders {
                self.spawn(scope, "send", || self.uploads.run());
            }
            let workers: Vec<_> = (0..self.engine.workers)
                .filter_map(|_| self.spawn(scope, "ingest", || Worker::new(self).and_then(Worker::work)))
                .collect();
            let fed = self.watch(feed);
            self.jobs.close();
            let mut packers: Vec<Packer> = fed.flatten().into_iter().collect();
            for worker in workers {
                packers.extend(worker.join().ok().flatten());
            }
            when_read();
            self.watch(|| Packer::finish_all(packers, self));
            self.uploads.close();
        });
    }

    /// What was counted, and the tree of the root, after everything is in the store.
    fn end(self) -> Result<(Tally, Option<BlobId>)> {
        let Self { uploads, tally, root, failure, .. } = self;
        if let Some(error) = failure.first.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        uploads.finish()?;
        Ok((tally, root.into_inner()))
    }

    /// Starts a thread. When the system has none to give, that is an error like others: those that run already are stopped.
    fn spawn<'scope, T: Send + 'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        name: &str,
        work: impl FnOnce() -> Result<T> + Send + 'scope,
    ) -> Option<ScopedJoinHandle<'scope, Option<T>>> {
        let spawned = thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, || self.watch(work));
        self.watch(|| spawned.context("start a thread"))
    }

    /// Does the work of a thread. An error of it, or a panic, stops the others.
    fn watch<T>(&self, work: impl FnOnce() -> Result<T>) -> Option<T> {
        let result = catch_unwind(AssertUnwindSafe(work));
        let error = match result {
            Ok(Ok(done)) => return Some(done),
            Ok(Err(error)) => error,
            Err(_) => anyhow!("a thread broke off: this is a fault in the program"),
        };
        self.failure.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.failure.happened.store(true, Ordering::Release);
        self.jobs.stop();
        self.uploads.wake();
        None
    }
}
