//! Stands before the repository's backend and holds snapshot files back while data is archived.
//!
//! rustic_core writes the snapshot at the end of `archive`, before the source could be asked whether what it gave was whole, and
//! without the tag that an incomplete one must bear. So during `archive` the gate is closed: packs and indexes pass, a snapshot is
//! taken and dropped. The caller then writes the one true snapshot through the open gate, or none.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rustic_core::{BytesList, FileType, Id, ReadBackend, RusticResult, WriteBackend};

/// A backend that can hold snapshot files back.
#[derive(Debug)]
pub(super) struct Gate {
    inner: Arc<dyn WriteBackend>,
    closed: AtomicBool,
    last_snapshot: Mutex<Option<Id>>,
}

impl Gate {
    pub(super) fn new(inner: Arc<dyn WriteBackend>) -> Self {
        Self { inner, closed: AtomicBool::new(false), last_snapshot: Mutex::new(None) }
    }

    /// Runs `work` with the gate closed.
    pub(super) fn hold_snapshots_during<T>(&self, work: impl FnOnce() -> T) -> T {
        self.closed.store(true, Ordering::SeqCst);
        let result = work();
        self.closed.store(false, Ordering::SeqCst);
        result
    }

    /// The id of the snapshot that was written last; rustic_core does not tell it.
    pub(super) fn last_snapshot(&self) -> Option<Id> {
        *self.last_snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadBackend for Gate {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn list_with_size(&self, tpe: FileType) -> RusticResult<Vec<(Id, u32)>> {
        self.inner.list_with_size(tpe)
    }

    fn list(&self, tpe: FileType) -> RusticResult<Vec<Id>> {
        self.inner.list(tpe)
    }

    fn read_full(&self, tpe: FileType, id: &Id) -> RusticResult<Bytes> {
        self.inner.read_full(tpe, id)
    }

    fn read_partial(&self, tpe: FileType, id: &Id, cacheable: bool, offset: u32, length: u32) -> RusticResult<Bytes> {
        self.inner.read_partial(tpe, id, cacheable, offset, length)
    }

    fn warmup_path(&self, tpe: FileType, id: &Id) -> String {
        self.inner.warmup_path(tpe, id)
    }

    fn needs_warm_up(&self) -> bool {
        self.inner.needs_warm_up()
    }

    fn warm_up(&self, tpe: FileType, id: &Id) -> RusticResult<()> {
        self.inner.warm_up(tpe, id)
    }
}

impl WriteBackend for Gate {
    fn create(&self) -> RusticResult<()> {
        self.inner.create()
    }

    fn write_bytes(&self, tpe: FileType, id: &Id, cacheable: bool, content: BytesList) -> RusticResult<()> {
        if tpe == FileType::Snapshot {
            if self.closed.load(Ordering::SeqCst) {
                return Ok(());
            }
            *self.last_snapshot.lock().unwrap_or_else(PoisonError::into_inner) = Some(*id);
        }
        self.inner.write_bytes(tpe, id, cacheable, content)
    }

    fn remove(&self, tpe: FileType, id: &Id, cacheable: bool) -> RusticResult<()> {
        self.inner.remove(tpe, id, cacheable)
    }
}
