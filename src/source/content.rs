//! Contents that were handed out: in memory, within a budget, or in pieces as they come.

use std::fmt;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes};

use crate::source::Content;

/// How long a content may be to wait in memory, in bytes.
pub(super) const SMALL: u64 = 512 << 10;

/// How much all those in memory may have together, in bytes.
pub(super) const BUDGET: u64 = 32 << 20;

/// How many pieces of a large content may wait.
const PIECES: usize = 8;

/// The memory for contents that wait, and whether anybody still waits for them.
#[derive(Debug)]
pub(super) struct Budget {
    most: u64,
    used: Mutex<u64>,
    /// There is more of it, or nobody needs any.
    changed: Condvar,
    is_given_up: AtomicBool,
}

impl Budget {
    /// One of so many bytes.
    pub(super) fn new(most: u64) -> Arc<Self> {
        let (used, changed, is_given_up) = Default::default();
        Arc::new(Self { most, used, changed, is_given_up })
    }

    /// Takes so many bytes of it, which must not be more than there are at all; waits until there are enough. `None` when the reading was given up.
    pub(super) fn take(self: &Arc<Self>, amount: u64) -> Option<Share> {
        let mut used = self.lock();
        loop {
            if self.is_given_up() {
                return None;
            }
            if *used + amount <= self.most {
                *used += amount;
                return Some(Share { budget: Arc::clone(self), amount });
            }
            used = self.changed.wait(used).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nobody wants the rest.
    pub(super) fn give_up(&self) {
        let _used = self.lock();
        self.is_given_up.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Relaxed)
    }

    /// How much is used, in bytes.
    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of a budget, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    amount: u64,
}

impl Drop for Share {
    fn drop(&mut self) {
        *self.budget.lock() -= self.amount;
        self.budget.changed.notify_all();
    }
}

/// A content that is in memory.
pub(super) fn in_memory(bytes: Vec<u8>, share: Share) -> Content {
    Content::new(move || Ok(Box::new(InMemory { bytes: bytes.into(), share: Some(share) })))
}

struct InMemory {
    bytes: Bytes,
    share: Option<Share>,
}

impl Read for InMemory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.bytes.len().min(buffer.len());
        self.bytes.copy_to_slice(&mut buffer[..length]);
        if self.bytes.is_empty() {
            self.bytes = Bytes::new();
            self.share = None;
        }
        Ok(length)
    }
}

/// What comes of a content.
pub(super) enum Piece {
    Bytes(Bytes),
    /// It was all.
    End,
    Broken(io::Error),
}

/// A content in pieces, and where they are to be put.
pub(super) fn in_pieces() -> (SyncSender<Piece>, Content) {
    let (sender, pieces) = sync_channel(PIECES);
    let content = Content::new(move || {
        let mut content = InPieces { pieces, piece: Bytes::new(), is_whole: false };
        // That it could not be opened there may be known only now.
        content.fetch()?;
        Ok(Box::new(content))
    });
    (sender, content)
}

struct InPieces {
    pieces: Receiver<Piece>,
    piece: Bytes,
    is_whole: bool,
}

impl InPieces {
    /// Waits for the next piece.
    fn fetch(&mut self) -> io::Result<()> {
        match self.pieces.recv() {
            Ok(Piece::Bytes(piece)) => self.piece = piece,
            Ok(Piece::End) => self.is_whole = true,
            Ok(Piece::Broken(error)) => return Err(error),
            // Whoever sends them is gone, and did not say that it was all.
            Err(_) => return Err(ended()),
        }
        Ok(())
    }
}

impl Read for InPieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.is_whole {
            self.fetch()?;
        }
        let length = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// The stream ended, and what is in it did not.
pub(super) fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the stream ended in the middle")
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Piece")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn who_wants_too_much_waits_until_it_is_given_back() {
        let budget = Budget::new(10);
        let (first, second) = (budget.take(6).unwrap(), budget.take(4).unwrap());
        let (sender, receiver) = mpsc::channel();
        let waiting = Arc::clone(&budget);
        let thread = thread::spawn(move || {
            let _share = waiting.take(5).unwrap();
            sender.send(()).unwrap();
        });
        drop(second);
        assert_eq!(receiver.try_recv(), Err(mpsc::TryRecvError::Empty));
        drop(first);
        thread.join().unwrap();
        assert_eq!(receiver.try_recv(), Ok(()));
        assert_eq!(budget.used(), 0);
    }
}
