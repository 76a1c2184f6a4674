//! Reads pieces in their order, some of them before they are asked for: so the latency of an object store is waited for once, and not with each piece.

use std::collections::VecDeque;
use std::fmt;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::vec;

use anyhow::{Result, anyhow};
use bytes::Bytes;

use super::SavedTree;
use super::format::BlobId;
use super::saved::READERS;

/// How many pieces are under way or wait to be taken: twice as many as are read at a time, so that nobody waits for whoever takes them. A piece has one MiB on average,
/// and eight at most.
const AHEAD: usize = 2 * READERS;

/// A piece that is to be read, and who waits for it.
type Job = (BlobId, SyncSender<Result<Bytes>>);

/// Pieces in their order.
pub struct Ahead {
    tree: SavedTree,
    wanted: vec::IntoIter<BlobId>,
    under_way: VecDeque<Receiver<Result<Bytes>>>,
    /// `None` until somebody has something to read: threads are not begun for a single piece.
    readers: Option<Sender<Job>>,
}

impl Ahead {
    pub(super) fn new(tree: SavedTree, wanted: Vec<BlobId>) -> Self {
        Self { tree, wanted: wanted.into_iter(), under_way: VecDeque::new(), readers: None }
    }

    /// Has as many pieces under way as there may be.
    fn fill(&mut self) {
        if self.wanted.len() == 0 {
            return;
        }
        let readers = self.readers.get_or_insert_with(|| readers(&self.tree, self.wanted.len()));
        while self.under_way.len() < AHEAD
            && let Some(blob) = self.wanted.next()
        {
            let (done, waiting) = sync_channel(1);
            // When no reader is there to take it, whoever waits hears of that.
            drop(readers.send((blob, done)));
            self.under_way.push_back(waiting);
        }
    }
}

impl Iterator for Ahead {
    type Item = Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.readers.is_none() && self.wanted.len() == 1 {
            return self.wanted.next().map(|blob| self.tree.stored(&blob));
        }
        self.fill();
        let waiting = self.under_way.pop_front()?;
        Some(waiting.recv().unwrap_or_else(|_| Err(anyhow!("nobody has read the piece"))))
    }
}

impl fmt::Debug for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ahead").field("wanted", &self.wanted.len()).finish_non_exhaustive()
    }
}

/// Begins threads that end when nobody has anything for them any more.
fn readers(tree: &SavedTree, most: usize) -> Sender<Job> {
    let (readers, jobs) = channel::<Job>();
    let jobs = Arc::new(Mutex::new(jobs));
    for _ in 0..READERS.min(most) {
        let (jobs, tree) = (Arc::clone(&jobs), tree.clone());
        thread::spawn(move || {
            loop {
                let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok((blob, done)) = job else { return };
                // Whoever wanted it may have gone.
                drop(done.send(tree.stored(&blob)));
            }
        });
    }
    readers
}
