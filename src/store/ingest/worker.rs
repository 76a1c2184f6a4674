//! A thread that reads files, cuts them, and stores the pieces.
//!
//! A file that is one piece is read and stored in one go. A longer one is read in segments; its pieces are offered to the other
//! threads, and stored here when those have enough to do. So one large file keeps all cores busy, and so do many small ones.

use std::io::{self, Read};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use rustic_core::repofile::BlobType;

use super::Run;
use super::directory::Payload;
use super::goal::Goal;
use super::jobs::{ChunkJob, FileJob, Job};
use super::packer::Packer;
use super::pool::Buffer;
use super::tally::Change;
use crate::source::{Problem, Severity};
use crate::store::format::BlobId;

/// How much of a file is read at once, in bytes.
pub(super) const SEGMENT: usize = 4 << 20;

/// What failed when there is no buffer to read into.
const NO_MEMORY: &str = "get memory for what is read";

/// A file of which some pieces are not stored yet.
pub(super) struct OpenFile {
    /// Pieces that are not stored, and one more as long as the file is read.
    open: AtomicUsize,
    state: Mutex<FileState>,
}

struct FileState {
    blobs: Vec<BlobId>,
    /// What was read of it; `None` while it is read, and when it could not be read to its end.
    read: Option<u64>,
    target: Option<Target>,
}

/// Where a file that was read goes.
struct Target {
    goal: Goal,
    change: Change,
}

/// A reading thread.
pub(super) struct Worker<'r> {
    run: &'r Run<'r>,
    packer: Packer,
    /// A segment to be used again.
    spare: Option<Arc<Buffer>>,
}

/// A file that is being read.
struct Reading {
    reader: Box<dyn Read + Send>,
    path: PathBuf,
    /// Its size when it was listed, in bytes, if that was known.
    listed: Option<u64>,
    /// Bytes read so far.
    read: u64,
    is_end: bool,
}

impl<'r> Worker<'r> {
    pub(super) fn new(run: &'r Run<'r>) -> Result<Self> {
        Ok(Self { run, packer: Packer::new(run.engine.level)?, spare: None })
    }

    /// Works until there is nothing more to do, and gives back what is left in its packs.
    pub(super) fn work(mut self) -> Result<Packer> {
        let mut batch = Vec::new();
        let mut was_busy = false;
        while self.run.jobs.take(&mut batch, was_busy) {
            was_busy = true;
            for job in batch.drain(..) {
                if self.run.failure.happened() {
                    break;
                }
                match job {
                    Job::File(file) => self.read_file(file)?,
                    Job::Chunk(chunk) => self.store_chunk(&chunk)?,
                }
            }
        }
        Ok(self.packer)
    }

    fn read_file(&mut self, job: FileJob) -> Result<()> {
        let FileJob { goal, path, size, change, opener } = job;
        let target = Target { goal, change };
        let reader = match opener.open() {
            Ok(reader) => reader,
            Err(error) => {
                self.run.problems.add(Problem::of_io(path, &error));
                return target.goal.settle(Payload::Gone, self.run, &mut self.packer);
            }
        };
        let mut reading = Reading { reader, path, listed: size, read: 0, is_end: false };
        let mut segment = match self.spare.take() {
            Some(segment) => segment,
            None => Arc::new(self.run.engine.segments.take().context(NO_MEMORY)?),
        };
        let read = match self.fill(&mut reading, &mut segment, 0) {
            Ok(filled) if reading.is_end && self.is_one_piece(&segment[..filled]) => {
                let mut blobs = Vec::new();
                if filled > 0 {
                    blobs.push(self.packer.store(self.run, BlobType::Data, &segment[..filled])?);
                }
                self.compare_size(&reading);
                self.finish(target, Some((blobs, filled as u64)))?;
                self.spare = Some(segment);
                return Ok(());
            }
            Ok(filled) => Some(filled),
            Err(error) => {
                self.run.problems.add(Problem::of_io(reading.path.clone(), &error));
                None
            }
        };
        let state = FileState { blobs: Vec::new(), read: None, target: Some(target) };
        let file = Arc::new(OpenFile { open: AtomicUsize::new(1), state: Mutex::new(state) });
        if let Some(filled) = read
            && self.read_pieces(&mut reading, segment, filled, &file)?
        {
            self.compare_size(&reading);
            file.lock().read = Some(reading.read);
        }
        self.release(&file)
    }

    /// Whether these bytes, which are a whole file, are a single piece.
    fn is_one_piece(&self, content: &[u8]) -> bool {
        content.is_empty() || self.run.engine.chunker.cut(content, true) == Some(content.len())
    }

    /// Reads a file of several pieces to its end; `false` when that could not be done.
    fn read_pieces(
        &mut self,
        reading: &mut Reading,
        mut segment: Arc<Buffer>,
        mut filled: usize,
        file: &Arc<OpenFile>,
    ) -> Result<bool> {
        let engine = self.run.engine;
        loop {
            // A file may be of any length, and nobody takes what is read of it any more.
            if self.run.failure.happened() {
                return Ok(false);
            }
            let mut begin = 0;
            while begin < filled
                && let Some(length) = engine.chunker.cut(&segment[begin..filled], reading.is_end)
            {
                self.give(file, &segment, begin..begin + length)?;
                begin += length;
            }
            if reading.is_end {
                self.spare =
                    Some(segment).filter(|segment| segment.len() == SEGMENT && Arc::strong_count(segment) == 1);
                return Ok(true);
            }
            segment = self.turn_over(segment, begin..filled)?;
            filled = match self.fill(reading, &mut segment, filled - begin) {
                Ok(filled) => filled,
                Err(error) => {
                    self.run.problems.add(Problem::of_io(reading.path.clone(), &error));
                    return Ok(false);
                }
            };
        }
    }

    /// A segment that begins with the rest of another one: the same again if nobody has pieces of it any more.
    fn turn_over(&self, mut segment: Arc<Buffer>, rest: Range<usize>) -> Result<Arc<Buffer>> {
        // In a long piece: with little room behind it, it would be looked through again and again.
        let length = if rest.len() > SEGMENT / 2 { rest.len() + SEGMENT } else { SEGMENT };
        if let Some(own) = Arc::get_mut(&mut segment) {
            own.copy_within(rest, 0);
            own.grow(length).context(NO_MEMORY)?;
            return Ok(segment);
        }
        let mut next = self.run.engine.segments.take().context(NO_MEMORY)?;
        next.grow(length).context(NO_MEMORY)?;
        next[..rest.len()].copy_from_slice(&segment[rest]);
        Ok(Arc::new(next))
    }

    /// Reads behind the first `filled` bytes of a segment until it is full or the file ends; how much of it is filled then.
    fn fill(&self, reading: &mut Reading, segment: &mut Arc<Buffer>, mut filled: usize) -> io::Result<usize> {
        // Nobody else has it yet.
        let Some(buffer) = Arc::get_mut(segment) else { return Err(io::Error::other("a buffer is in use twice")) };
        while filled < buffer.len() && !reading.is_end {
            match reading.reader.read(&mut buffer[filled..]) {
                Ok(0) => reading.is_end = true,
                Ok(read) => {
                    filled += read;
                    reading.read += read as u64;
                    self.run.task.advance(read as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Has a piece stored by whoever has time.
    fn give(&mut self, file: &Arc<OpenFile>, segment: &Arc<Buffer>, range: Range<usize>) -> Result<()> {
        file.open.fetch_add(1, Ordering::Relaxed);
        let number = {
            let mut state = file.lock();
            state.blobs.push(BlobId([0; 32]));
            state.blobs.len() - 1
        };
        let chunk = ChunkJob { file: Arc::clone(file), number, segment: Arc::clone(segment), range };
        match self.run.jobs.offer_chunk(chunk) {
            Some(chunk) => self.store_chunk(&chunk),
            None => Ok(()),
        }
    }

    fn store_chunk(&mut self, chunk: &ChunkJob) -> Result<()> {
        let blob = self.packer.store(self.run, BlobType::Data, &chunk.segment[chunk.range.clone()])?;
        chunk.file.lock().blobs[chunk.number] = blob;
        self.release(&chunk.file)
    }

    /// Counts one open piece less; the last completes the file.
    fn release(&mut self, file: &OpenFile) -> Result<()> {
        if file.open.fetch_sub(1, Ordering::AcqRel) > 1 {
            return Ok(());
        }
        let mut state = file.lock();
        let blobs = std::mem::take(&mut state.blobs);
        let content = state.read.map(|read| (blobs, read));
        let Some(target) = state.target.take() else { return Ok(()) };
        drop(state);
        self.finish(target, content)
    }

    /// Puts a file into its directory: its blobs and size, or nothing when it could not be read.
    fn finish(&mut self, target: Target, content: Option<(Vec<BlobId>, u64)>) -> Result<()> {
        let payload = match content {
            Some((blobs, size)) => {
                self.run.tally.count_file(target.change, size);
                self.run.task.advance_files(1);
                Payload::Content(blobs, size)
            }
            None => Payload::Gone,
        };
        target.goal.settle(payload, self.run, &mut self.packer)
    }

    /// Tells when a file is not as long as it was when it was listed. What was read is saved, and is what its size says.
    fn compare_size(&self, reading: &Reading) {
        let Some(listed) = reading.listed else { return };
        if reading.read != listed {
            let how = if reading.read > listed { "grew" } else { "shrank" };
            let error = format!("{how} while it was backed up, from {listed} to {} bytes; saved as read", reading.read);
            self.run.problems.add(Problem { path: reading.path.clone(), error, severity: Severity::Warning });
        }
    }
}

impl OpenFile {
    fn lock(&self) -> MutexGuard<'_, FileState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
