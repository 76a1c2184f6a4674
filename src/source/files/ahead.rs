//! Walks ahead of whoever consumes the entries: one thread finds them, others make them what they are.
//!
//! Nearly all that a walk costs is the kernel's work for each entry, so whoever compares the entries need not wait for it.
//! They change hands in batches, since waking a thread for each would cost more than it saves; the first ones are small, so
//! that a small tree is not held up. Batches are dealt out in turn and taken in turn, which keeps their order. The walk stops a few batches ahead, and ends
//! when nobody wants its entries any more.

use std::any::Any;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::vec;

use super::inode::Inspector;
use super::rules::Rules;
use super::seen::{Clerk, Seen};
use super::walk::Walk;
use crate::source::{Entries, Entry, Problem, Severity};

type Batch = Vec<Result<Entry, Problem>>;

/// How many entries the first batch has. Each has twice as many as the one before, up to [`LARGEST`].
const FIRST: usize = 8;
const LARGEST: usize = 256;

/// How many threads make entries of what the walk finds: about twice its own work.
const HANDS: usize = 2;

/// How many batches may wait for each of them, and behind each: enough to go on while a pack is written.
const SEEN: usize = 1;
const MADE: usize = 4;

/// The entries of a walk. `path` is named should it break off.
pub(super) fn ahead(path: PathBuf, roots: Vec<PathBuf>, rules: Arc<Rules>) -> Entries {
    let walked = Arc::clone(&rules);
    let walk = move |mut hands: Hands<Vec<Seen>>| {
        let mut walk = Walk::new(roots, walked);
        let mut size = FIRST;
        loop {
            let batch = walk.batch(size);
            if batch.is_empty() || !hands.deal(batch) {
                return;
            }
            size = (size * 2).min(LARGEST);
        }
    };
    let make = move |seen: Receiver<Vec<Seen>>, batches: SyncSender<Batch>| {
        let mut clerk = Clerk::new(Inspector::on_own_thread(), Arc::clone(&rules));
        for seen in seen {
            if batches.send(clerk.entries(seen)).is_err() {
                return;
            }
        }
    };
    Ahead::spawn(path, walk, make)
}

/// Those who make entries, from the side of the walk.
struct Hands<S> {
    hands: [SyncSender<S>; HANDS],
    turn: usize,
}

impl<S> Hands<S> {
    /// Gives a batch to the next one; `false` when nobody wants it any more.
    fn deal(&mut self, batch: S) -> bool {
        let hand = &self.hands[self.turn];
        self.turn = (self.turn + 1) % HANDS;
        hand.send(batch).is_ok()
    }
}

struct Ahead {
    path: PathBuf,
    batch: vec::IntoIter<Result<Entry, Problem>>,
    /// None are left after the last batch.
    batches: Vec<Receiver<Batch>>,
    turn: usize,
    threads: Vec<JoinHandle<()>>,
}

impl Ahead {
    fn spawn<S: Send + 'static>(
        path: PathBuf,
        walk: impl FnOnce(Hands<S>) + Send + 'static,
        make: impl Fn(Receiver<S>, SyncSender<Batch>) + Send + Sync + 'static,
    ) -> Entries {
        match Self::try_spawn(path.clone(), walk, Arc::new(make)) {
            Ok(entries) => Box::new(entries),
            Err(error) => Box::new(std::iter::once(Err(Problem::of_io(path, &error)))),
        }
    }

    fn try_spawn<S: Send + 'static>(
        path: PathBuf,
        walk: impl FnOnce(Hands<S>) + Send + 'static,
        make: Arc<impl Fn(Receiver<S>, SyncSender<Batch>) + Send + Sync + 'static>,
    ) -> io::Result<Self> {
        let mut entries = Self { path, batch: Vec::new().into_iter(), batches: vec![], turn: 0, threads: vec![] };
        let mut hand = || {
            let (sender, seen) = sync_channel(SEEN);
            let (made, batches) = sync_channel(MADE);
            let make = Arc::clone(&make);
            entries.batches.push(batches);
            // When a later thread cannot be had, this one ends by itself: nobody gives it anything.
            entries.threads.push(thread("inspect").spawn(move || make(seen, made))?);
            Ok::<_, io::Error>(sender)
        };
        let hands = [hand()?, hand()?];
        entries.threads.push(thread("walk").spawn(move || walk(Hands { hands, turn: 0 }))?);
        Ok(entries)
    }

    /// Nothing more comes: because all was given, or because a thread panicked.
    fn end(&mut self) -> Option<Result<Entry, Problem>> {
        self.batches.clear();
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
            match self.batches.get(self.turn)?.recv() {
                Ok(batch) => self.batch = batch.into_iter(),
                Err(_) => return self.end(),
            }
            self.turn = (self.turn + 1) % HANDS;
        }
    }
}

impl Drop for Ahead {
    /// Whoever lets go of the entries may take away what they are read from: the threads have ended then.
    fn drop(&mut self) {
        self.batches.clear();
        for thread in self.threads.drain(..) {
            // A panic after the last entry that was wanted is of no consequence.
            let _ = thread.join();
        }
    }
}

fn thread(name: &str) -> Builder {
    Builder::new().name(name.to_owned())
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic")
}

#[cfg(test)]
mod tests {
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
        let walk = |mut hands: Hands<Batch>| {
            for number in 0..100 {
                assert!(hands.deal(vec![warning(2 * number), warning(2 * number + 1)]));
            }
        };
        let entries = Ahead::spawn("/x".into(), walk, pass);
        assert_eq!(told(entries), (0..200).map(|number| number.to_string()).collect::<Vec<_>>());
    }

    #[test]
    fn thread_that_panics_is_told_after_what_it_gave() {
        let walk = |mut hands: Hands<Batch>| {
            assert!(hands.deal(vec![warning(1)]));
            panic!("no more");
        };
        let make = |seen: Receiver<()>, batches: SyncSender<Batch>| {
            batches.send(vec![warning(1)]).unwrap();
            drop(seen);
            panic!("no more");
        };
        let begin = |mut hands: Hands<()>| while hands.deal(()) {};
        for entries in [Ahead::spawn("/x".into(), walk, pass), Ahead::spawn("/x".into(), begin, make)] {
            let mut given: Vec<_> = entries.filter_map(Result::err).collect();
            let broken = given.pop().unwrap();
            assert_eq!((broken.severity, broken.error.as_str()), (Severity::Unread, "the walk broke off: no more"));
            assert!(!given.is_empty() && given.iter().all(|problem| problem.error == "1"));
        }
    }

    #[test]
    fn walk_goes_only_a_little_ahead_and_ends_when_its_entries_are_dropped() {
        let sent = Arc::new(AtomicUsize::new(0));
        let count = sent.clone();
        let walk = move |mut hands: Hands<Batch>| {
            while hands.deal(vec![warning(0)]) {
                count.fetch_add(1, Ordering::SeqCst);
            }
            count.fetch_add(1000, Ordering::SeqCst);
        };
        let mut entries = Ahead::spawn("/x".into(), walk, pass);
        assert!(entries.next().is_some());
        drop(entries);
        let sent = sent.load(Ordering::SeqCst);
        assert!((1000..=1001 + HANDS * (SEEN + MADE + 1)).contains(&sent), "{sent}");
    }
}
