//! How much content may be in memory before somebody reads it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// A number of bytes that several take from and give back to.
#[derive(Debug)]
pub(super) struct Budget {
    left: Mutex<usize>,
    given_back: Condvar,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { left: Mutex::new(bytes), given_back: Condvar::new() })
    }

    /// Waits until there are as many bytes left, which must not be more than there are at all. They are given back when the share is dropped.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Share {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = self.given_back.wait_while(left, |left| *left < bytes).unwrap_or_else(PoisonError::into_inner);
        *left -= bytes;
        Share { budget: Arc::clone(self), bytes }
    }
}

/// Bytes that were taken.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        *self.budget.left.lock().unwrap_or_else(PoisonError::into_inner) += self.bytes;
        self.budget.given_back.notify_all();
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
        let (first, second) = (budget.take(6), budget.take(4));
        let (sender, receiver) = mpsc::channel();
        let waiting = Arc::clone(&budget);
        let thread = thread::spawn(move || {
            let _share = waiting.take(5);
            sender.send(()).unwrap();
        });
        drop(second);
        assert_eq!(receiver.try_recv(), Err(mpsc::TryRecvError::Empty));
        drop(first);
        thread.join().unwrap();
        assert_eq!(receiver.try_recv(), Ok(()));
        assert_eq!(*budget.left.lock().unwrap(), 10);
    }
}
