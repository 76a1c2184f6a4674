//! Walks ahead of whoever consumes the entries, on two threads: one finds them, the other one makes them what they are.
//!
//! Nearly all that a walk costs is the kernel's work for each entry, so whoever compares the entries need not wait for it.
//! They change hands in batches, since waking a thread for each would cost more than it saves; the first ones are small, so
//! that a small tree is not held up. The walk stops a few batches ahead, and ends when nobody wants its entries any more.

use std::any::Any;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::vec;

use super::inode::Inspector;
use super::seen::{Clerk, Seen};
use super::walk::Walk;
use crate::source::{Entries, Entry, Problem, Severity};

type Batch = Vec<Result<Entry, Problem>>;

/// How many entries the first batch has. Each has twice as many as the one before, up to [`LARGEST`].
const FIRST: usize = 8;
const LARGEST: usize = 256;

/// How many batches may wait: enough to go on while a pack is written.
const WAITING: usize = 8;
/// How many may wait between the two threads.
const SEEN: usize = 2;

/// The entries of the walk that `begin` makes. `path` is named should it break off.
pub(super) fn ahead(path: PathBuf, begin: impl FnOnce() -> Walk + Send + 'static) -> Entries {
    let walk = move |batches: SyncSender<Vec<Seen>>| {
        let mut walk = begin();
        let mut size = FIRST;
        loop {
            let batch = walk.batch(size);
            if batch.is_empty() || batches.send(batch).is_err() {
                return;
            }
            size = (size * 2).min(LARGEST);
        }
    };
    let make = |seen: Receiver<Vec<Seen>>, batches: SyncSender<Batch>| {
        let mut clerk = Clerk::new(Inspector::on_own_thread());
        for seen in seen {
            if batches.send(clerk.entries(seen)).is_err() {
                return;
            }
        }
    };
    Ahead::spawn(path, walk, make)
}

struct Ahead {
    path: PathBuf,
    batch: vec::IntoIter<Result<Entry, Problem>>,
    /// `None` after the last batch.
    batches: Option<Receiver<Batch>>,
    /// The one that walks is the first.
    threads: Vec<JoinHandle<()>>,
}

impl Ahead {
    fn spawn<S: Send + 'static>(
        path: PathBuf,
        walk: impl FnOnce(SyncSender<S>) + Send + 'static,
        make: impl FnOnce(Receiver<S>, SyncSender<Batch>) + Send + 'static,
    ) -> Entries {
        let (seen_sender, seen) = sync_channel(SEEN);
        let (sender, batches) = sync_channel(WAITING);
        let thread = |name: &str| Builder::new().name(name.to_owned());
        let threads = thread("walk").spawn(move || walk(seen_sender)).and_then(|walking| {
            // Without this thread the other one ends by itself: nobody takes what it gives.
            Ok(vec![walking, thread("inspect").spawn(move || make(seen, sender))?])
        });
        match threads {
            Ok(threads) => Box::new(Self { path, batch: Vec::new().into_iter(), batches: Some(batches), threads }),
            Err(error) => Box::new(std::iter::once(Err(super::problem(path, error)))),
        }
    }

    /// Nothing more comes: because all was given, or because a thread panicked.
    fn end(&mut self) -> Option<Result<Entry, Problem>> {
        self.batches = None;
        let ended: Vec<_> = self.threads.drain(..).map(JoinHandle::join).collect();
        let panic = ended.into_iter().find_map(Result::err)?;
        let error = format!("the walk broke off: {}", message(&*panic));
        Some(Err(Problem { path: self.path.clone(), error, severity: Severity::Unread }))
    }
}

impl Iterator for Ahead {
    type Item = Result<Entry, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.batch.next() {
                return Some(entry);
            }
            match self.batches.as_ref()?.recv() {
                Ok(batch) => self.batch = batch.into_iter(),
                Err(_) => return self.end(),
            }
        }
    }
}

impl Drop for Ahead {
    /// Whoever lets go of the entries may take away what they are read from: the threads have ended then.
    fn drop(&mut self) {
        self.batches = None;
        for thread in self.threads.drain(..) {
            // A panic after the last entry that was wanted is of no consequence.
            let _ = thread.join();
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn warning(number: usize) -> Result<Entry, Problem> {
        Err(Problem { path: "/x".into(), error: number.to_string(), severity: Severity::Warning })
    }

    fn told(entries: Entries) -> Vec<String> {
        entries.filter_map(|entry| entry.err()).map(|problem| problem.error).collect()
    }

    /// Passes on what the first thread gives.
    fn pass(seen: Receiver<Batch>, batches: SyncSender<Batch>) {
        let _ = seen.into_iter().try_for_each(|batch| batches.send(batch));
    }

    #[test]
    fn batches_arrive_in_order_and_end() {
        let walk = |batches: SyncSender<Batch>| {
            for number in 0..100 {
                batches.send(vec![warning(2 * number), warning(2 * number + 1)]).unwrap();
            }
        };
        let entries = Ahead::spawn("/x".into(), walk, pass);
        assert_eq!(told(entries), (0..200).map(|number| number.to_string()).collect::<Vec<_>>());
    }

    #[test]
    fn thread_that_panics_is_told_after_what_it_gave() {
        let walk = |batches: SyncSender<Batch>| {
            batches.send(vec![warning(1)]).unwrap();
            panic!("no more");
        };
        let make = |seen: Receiver<()>, batches: SyncSender<Batch>| {
            batches.send(vec![warning(1)]).unwrap();
            drop(seen);
            panic!("no more");
        };
        let begin = |seen: SyncSender<()>| while seen.send(()).is_ok() {};
        for mut entries in [Ahead::spawn("/x".into(), walk, pass), Ahead::spawn("/x".into(), begin, make)] {
            assert_eq!(entries.next().and_then(Result::err).map(|problem| problem.error).as_deref(), Some("1"));
            let broken = entries.next().and_then(Result::err).unwrap();
            assert_eq!((broken.severity, broken.error.as_str()), (Severity::Unread, "the walk broke off: no more"));
            assert!(entries.next().is_none());
        }
    }

    #[test]
    fn walk_goes_only_a_little_ahead_and_ends_when_its_entries_are_dropped() {
        let sent = Arc::new(AtomicUsize::new(0));
        let count = sent.clone();
        let walk = move |batches: SyncSender<Batch>| {
            while batches.send(vec![warning(0)]).is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
            count.fetch_add(1000, Ordering::SeqCst);
        };
        let mut entries = Ahead::spawn("/x".into(), walk, pass);
        assert!(entries.next().is_some());
        drop(entries);
        let sent = sent.load(Ordering::SeqCst);
        assert!((1000..=1000 + SEEN + WAITING + 2).contains(&sent), "{sent}");
    }
}
