//! What is to be read, waiting for a thread that reads it.
//!
//! Two lines: files, in the order of the source, and pieces of large files that were read and are not stored yet. Pieces go first, since they hold
//! memory. Small files are handed out several at a time. Both lines are short: the source is asked for more when there is room.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::goal::Goal;
use super::pool::Buffer;
use super::tally::Change;
use super::worker::OpenFile;
use crate::source::Opener;

/// How many files may wait.
const FILES: usize = 1024;
/// How many files are handed out at once, and how many bytes they may have together.
const BATCH: usize = 32;
const BATCH_BYTES: u64 = 256 << 10;

/// A file to be read.
pub(super) struct FileJob {
    pub(super) goal: Goal,
    pub(super) path: PathBuf,
    /// Its size when it was listed, in bytes, if that was known.
    pub(super) size: Option<u64>,
    pub(super) change: Change,
    pub(super) opener: Opener,
}

/// A piece of a file that was read.
pub(super) struct ChunkJob {
    pub(super) file: Arc<OpenFile>,
    /// Which piece it is.
    pub(super) number: usize,
    pub(super) segment: Arc<Buffer>,
    pub(super) range: Range<usize>,
}

/// One piece of work.
pub(super) enum Job {
    File(FileJob),
    Chunk(ChunkJob),
}

/// The lines.
pub(super) struct Jobs {
    workers: usize,
    state: Mutex<State>,
    /// There is something to do, or nothing will come any more.
    work: Condvar,
    /// There is room for files again.
    room: Condvar,
}

#[derive(Default)]
struct State {
    files: VecDeque<FileJob>,
    chunks: VecDeque<ChunkJob>,
    /// Threads that wait for work.
    idle: usize,
    /// Threads that are at work and may bring forth pieces.
    busy: usize,
    /// Whether the source waits for room.
    is_full: bool,
    is_closed: bool,
    is_stopped: bool,
}

impl Jobs {
    pub(super) fn new(workers: usize) -> Self {
        let (state, work, room) = Default::default();
        Self { workers, state, work, room }
    }

    /// Lines a file up; waits while the line is full. `false` when the run was stopped.
    pub(super) fn push_file(&self, job: FileJob) -> bool {
        let mut state = self.lock();
        while state.files.len() >= FILES && !state.is_stopped {
            state.is_full = true;
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.is_stopped {
            return false;
        }
        state.files.push_back(job);
        self.wake_one(&state);
        true
    }

    /// Lines a piece up; gives it back when there are enough, so that the caller stores it itself.
    pub(super) fn offer_chunk(&self, job: ChunkJob) -> Option<ChunkJob> {
        let mut state = self.lock();
        // One for each other thread: more would only be held in memory.
        if state.is_stopped || state.chunks.len() + 1 >= self.workers {
            return Some(job);
        }
        state.chunks.push_back(job);
        self.wake_one(&state);
        None
    }

    /// Takes work; waits until there is some. `false` when it is over.
    pub(super) fn take(&self, batch: &mut Vec<Job>, was_busy: bool) -> bool {
        let mut state = self.lock();
        if was_busy {
            state.busy -= 1;
        }
        loop {
            if state.is_stopped {
                return false;
            }
            if let Some(chunk) = state.chunks.pop_front() {
                batch.push(Job::Chunk(chunk));
            } else {
                self.take_files(&mut state, batch);
            }
            if !batch.is_empty() {
                state.busy += 1;
                return true;
            }
            if state.is_closed && state.busy == 0 {
                self.work.notify_all();
                return false;
            }
            state.idle += 1;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    fn take_files(&self, state: &mut State, batch: &mut Vec<Job>) {
        let share = (state.files.len() / self.workers).clamp(1, BATCH);
        let mut bytes = 0;
        while batch.len() < share
            && let Some(job) = state.files.front()
        {
            bytes += job.size.unwrap_or(BATCH_BYTES);
            if bytes > BATCH_BYTES && !batch.is_empty() {
                break;
            }
            batch.extend(state.files.pop_front().map(Job::File));
        }
        // Not at the first free place: the source would be woken for each file.
        if state.is_full && state.files.len() <= FILES / 2 {
            state.is_full = false;
            self.room.notify_one();
        }
    }

    /// No further file will come.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.work.notify_all();
    }

    /// Nothing more is to be done: what waits is dropped, and everybody is told.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.is_stopped = true;
        let dropped = (std::mem::take(&mut state.files), std::mem::take(&mut state.chunks));
        self.work.notify_all();
        self.room.notify_all();
        drop(state);
        drop(dropped);
    }

    fn wake_one(&self, state: &State) {
        if state.idle > 0 {
            self.work.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
