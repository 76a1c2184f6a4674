//! Buffers that are used again: asking the kernel for tens of MiB of fresh memory for each pack and each piece of a file costs more
//! than what is done with them.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// Buffers of one purpose.
#[derive(Debug)]
pub(super) struct Pool {
    /// The length of a new buffer in bytes.
    size: usize,
    free: Mutex<Vec<Vec<u8>>>,
}

impl Pool {
    pub(super) fn new(size: usize) -> Arc<Self> {
        Arc::new(Self { size, free: Mutex::default() })
    }

    /// A buffer of at least the pool's size, holding anything.
    pub(super) fn take(self: &Arc<Self>) -> Buffer {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Buffer { bytes: free.unwrap_or_else(|| vec![0; self.size]), pool: Arc::clone(self) }
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
        // One that had to grow for a giant is not kept.
        if self.bytes.len() <= 2 * self.pool.size {
            let bytes = std::mem::take(&mut self.bytes);
            self.pool.free.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_unless_it_has_grown() {
        let pool = Pool::new(8);
        let mut buffer = pool.take();
        buffer[0] = 7;
        drop(buffer);
        let mut buffer = pool.take();
        assert_eq!(buffer[0], 7);
        buffer.resize(100, 0);
        drop(buffer);
        assert_eq!(pool.take().len(), 8);
    }
}
