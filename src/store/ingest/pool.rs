//! Buffers that are used again: asking the kernel for tens of MiB of fresh memory for each pack and each piece of a file costs more
//! than what is done with them.
//!
//! Their memory is the kernel's own and not the allocator's. It begins at a page, so that a disk can take what is written from where it is; it comes
//! in huge pages where there are some, which cost a hundredth of the faults; and it is given back.

use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use memmap2::{Advice, MmapMut};

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
    free: Vec<MmapMut>,
    used: usize,
}

impl Pool {
    pub(super) fn new(size: usize, most: usize) -> Arc<Self> {
        let (state, returned) = Default::default();
        Arc::new(Self { size, most, state, returned })
    }

    /// A buffer of at least the pool's size, holding anything; waits for one while too many are in use.
    ///
    /// # Errors
    ///
    /// When there is no memory for it.
    pub(super) fn take(self: &Arc<Self>) -> io::Result<Buffer> {
        let mut state = self.lock();
        while state.used >= self.most {
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let free = state.free.pop();
        let memory = free.map_or_else(|| map(self.size), Ok)?;
        state.used += 1;
        drop(state);
        Ok(Buffer { memory: Some(memory), pool: Arc::clone(self) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A page of the larger kind, in bytes, as most processors have it.
const HUGE_PAGE: usize = 2 << 20;

/// Fresh memory of at least this length, in huge pages if the kernel has them and few bytes are lost by that.
fn map(length: usize) -> io::Result<MmapMut> {
    // The kernel puts it where a huge page begins only if its length is one of theirs.
    let rounded = length.next_multiple_of(HUGE_PAGE);
    if rounded - length > length / 8 {
        return MmapMut::map_anon(length);
    }
    let memory = MmapMut::map_anon(rounded)?;
    drop(memory.advise(Advice::HugePage));
    Ok(memory)
}

/// A buffer that goes back to its pool when it is dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    /// `None` only while it is dropped.
    memory: Option<MmapMut>,
    pool: Arc<Pool>,
}

impl Buffer {
    /// Makes it this long at least; what is in it stays.
    ///
    /// # Errors
    ///
    /// When there is no memory for that.
    pub(super) fn grow(&mut self, length: usize) -> io::Result<()> {
        if self.len() < length {
            let mut longer = map(length)?;
            longer[..self.len()].copy_from_slice(self);
            self.memory = Some(longer);
        }
        Ok(())
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.memory.as_deref().unwrap_or_default()
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.memory.as_deref_mut().unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // One that had to grow for a giant is not kept.
        let kept = self.memory.take_if(|memory| memory.len() < self.pool.size + HUGE_PAGE);
        let mut state = self.pool.lock();
        state.used -= 1;
        state.free.extend(kept);
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
        let mut buffer = pool.take().unwrap();
        buffer[0] = 7;
        drop(buffer);
        let mut buffer = pool.take().unwrap();
        assert_eq!(buffer[0], 7);
        buffer.grow(9 << 20).unwrap();
        assert_eq!((buffer[0], buffer[(9 << 20) - 1]), (7, 0));
        assert_eq!(buffer.as_ptr().addr() % 4096, 0);
        drop(buffer);
        assert_eq!(pool.take().unwrap().len(), 8);
    }

    #[test]
    fn who_wants_one_too_many_waits_for_one_that_comes_back() {
        let pool = Pool::new(8, 2);
        let (mut first, _second) = (pool.take().unwrap(), pool.take().unwrap());
        first[0] = 7;
        std::thread::scope(|scope| {
            let third = scope.spawn(|| pool.take().unwrap()[0]);
            drop(first);
            assert_eq!(third.join().unwrap(), 7);
        });
    }
}
