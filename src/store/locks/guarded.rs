//! Stands before the repository's backend and lets nothing be written under a lock that is lost.
//!
//! Whoever writes (rustic_core, our own archiving, a thread of theirs) needs to know nothing of locks: each write and each removal is
//! asked for here. While no lock is held everything passes: keys and a new repository are written without one.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rustic_core::{BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend};

use super::keeper::Keeper;

/// The right to write, which goes with a lock.
#[derive(Default)]
pub(in crate::store) struct Lease {
    keeper: Mutex<Option<Arc<Keeper>>>,
}

impl Lease {
    /// From now on the right to write depends on this lock.
    pub(super) fn begin(&self, keeper: Arc<Keeper>) {
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper);
    }

    /// It depends on nothing any more.
    pub(super) fn end(&self) {
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Says why nothing may be written, if that is so.
    pub(super) fn check(&self) -> Result<(), String> {
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).clone();
        keeper.map_or(Ok(()), |keeper| keeper.check())
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").finish_non_exhaustive()
    }
}

/// A backend that asks the lease.
#[derive(Debug)]
pub(in crate::store) struct Guarded {
    inner: Arc<dyn WriteBackend>,
    lease: Arc<Lease>,
}

impl Guarded {
    pub(in crate::store) fn new(inner: Arc<dyn WriteBackend>, lease: Arc<Lease>) -> Self {
        Self { inner, lease }
    }

    fn ask(&self) -> RusticResult<()> {
        self.lease.check().map_err(|why| {
            let message = "Nothing is written to the store any more, because its lock is lost";
            RusticError::with_source(ErrorKind::Backend, message, io::Error::other(why))
        })
    }
}

impl ReadBackend for Guarded {
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

impl WriteBackend for Guarded {
    fn create(&self) -> RusticResult<()> {
        self.inner.create()
    }

    fn write_bytes(&self, tpe: FileType, id: &Id, cacheable: bool, content: BytesList) -> RusticResult<()> {
        self.ask()?;
        self.inner.write_bytes(tpe, id, cacheable, content)
    }

    fn remove(&self, tpe: FileType, id: &Id, cacheable: bool) -> RusticResult<()> {
        self.ask()?;
        self.inner.remove(tpe, id, cacheable)
    }
}

#[cfg(test)]
mod tests {
    use rustic_backend::BackendOptions;

    use super::*;
    use crate::error::chain;
    use crate::store::explain;
    use crate::store::locks::keeper::tests::lost;

    #[test]
    fn nothing_is_written_or_removed_under_a_lost_lock_and_reading_goes_on() {
        let root = tempfile::tempdir().unwrap();
        let place = format!("local:{}", root.path().display());
        let inner = BackendOptions::default().repository(place).to_backends().unwrap().repository();
        let lease = Arc::<Lease>::default();
        let backend = Guarded::new(inner, Arc::clone(&lease));
        backend.create().unwrap();
        let (one, other) = (Id::random(), Id::random());
        let content = || BytesList::from(Bytes::from_static(b"x"));
        backend.write_bytes(FileType::Snapshot, &one, false, content()).unwrap();

        let kept = lost(root.path(), &lease);
        let error = backend.write_bytes(FileType::Snapshot, &other, false, content()).unwrap_err();
        let said = "Nothing is written to the store any more, because its lock is lost: it was not refreshed in time, ";
        let shown = chain(&explain(*error));
        assert!(shown.starts_with(said), "{shown}");
        backend.remove(FileType::Snapshot, &one, false).unwrap_err();
        assert_eq!(backend.list(FileType::Snapshot).unwrap(), [one]);
        assert_eq!(backend.read_full(FileType::Snapshot, &one).unwrap(), "x");

        drop(kept);
        backend.remove(FileType::Snapshot, &one, false).unwrap();
    }
}
