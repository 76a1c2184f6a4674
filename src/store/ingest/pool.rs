//! Buffers that are used again: asking the kernel for tens of MiB of fresh memory for each pack and each piece of a file costs more
//! than what is done with them.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Buffers of one purpose.
#[derive(Debug)]
pub(super) struct Pool {
    /// The length of a new buffer in bytes.
    size: usize,
    /// How many buffers may be in use at a time.
    most: usize,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct State {
    free: Vec<Vec<u8>>,
    used: usize,
}

impl Pool {
    pub(super) fn new(size: usize, most: usize) -> Arc<Self> {
        let (state, returned) = Default::default();
        Arc::new(Self { size, most, state, returned })
    }

    /// A buffer of at least the pool's size, holding anything; waits for one while too many are in use.
    pub(super) fn take(self: &Arc<Self>) -> Buffer {
        let mut state = self.lock();
        while state.used >= self.most {
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.used += 1;
        let free = state.free.pop();
        drop(state);
        Buffer { bytes: free.unwrap_or_else(|| vec![0; self.size]), pool: Arc::clone(self) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer that goes back to its pool when it is dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    pool: Arc<Pool>,
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut state = self.pool.lock();
        state.used -= 1;
        // One that had to grow for a giant is not kept.
        if bytes.len() <= 2 * self.pool.size {
            state.free.push(bytes);
        }
        drop(state);
        self.pool.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_unless_it_has_grown() {
        let pool = Pool::new(8, 1);
        let mut buffer = pool.take();
        buffer[0] = 7;
        drop(buffer);
        let mut buffer = pool.take();
        assert_eq!(buffer[0], 7);
        buffer.resize(100, 0);
        drop(buffer);
        assert_eq!(pool.take().len(), 8);
    }

    #[test]
    fn who_wants_one_too_many_waits_for_one_that_comes_back() {
        let pool = Pool::new(8, 2);
        let (mut first, _second) = (pool.take(), pool.take());
        first[0] = 7;
        std::thread::scope(|scope| {
            let third = scope.spawn(|| pool.take()[0]);
            drop(first);
            assert_eq!(third.join().unwrap(), 7);
        });
    }
}
