//! Stands before the repository's backend: lets no damaged file and no listing pass that is not whole, nothing be written under a lock that is lost,
//! and no server keep a run waiting for ever.
//!
//! rustic_core's cache takes whole files as they come and cuts pieces out of them: a pack that was cut short makes it panic, on a
//! thread that others wait for without end. But a file is named by the SHA-256 of its content, so a damaged one is known here.
//!
//! Whoever writes (rustic_core, our own engine, a thread of theirs) needs to know nothing of locks: each write and each removal asks the
//! [`Lease`] here. While no lock is held everything passes: keys and a new repository are written without one.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rustic_core::{BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend};

use super::format::BlobId;
use super::locks::Lease;
use super::trouble::{NOT_AUTHENTIC, is_missing};
use crate::logging;

/// How long a server may take for one piece of work, all tries of it and the slowest upload included.
pub(super) const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// The backend, watched.
#[derive(Debug)]
pub(super) struct Gate {
    inner: Arc<dyn WriteBackend>,
    lease: Arc<Lease>,
    /// `None`: as long as it takes; a disk that hangs cannot be left anyway.
    patience: Option<Duration>,
}

impl Gate {
    pub(super) fn new(inner: Arc<dyn WriteBackend>, lease: Arc<Lease>, patience: Option<Duration>) -> Self {
        Self { inner, lease, patience }
    }

    /// Has the backend do something, and waits no longer than there is patience.
    ///
    /// A server that takes a connection and then says nothing would be waited for without end: opendal has no time limit.
    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn WriteBackend) -> RusticResult<T> + Send + 'static,
    ) -> RusticResult<T> {
        let Some(patience) = self.patience else { return work(&*self.inner) };
        let (sender, receiver) = mpsc::channel();
        let inner = Arc::clone(&self.inner);
        thread::spawn(move || {
            let result = work(&*inner);
            // Let go of before the answer: whoever waits for it may be the last to hold the backend, and ends what it started.
            drop(inner);
            drop(sender.send(result));
        });
        receiver.recv_timeout(patience).unwrap_or_else(|error| {
            let text = match error {
                RecvTimeoutError::Timeout => format!("no answer within {} s", patience.as_secs()),
                RecvTimeoutError::Disconnected => "the work ended without an answer".to_owned(),
            };
            Err(RusticError::with_source(ErrorKind::Backend, "The store does not respond", io::Error::other(text)))
        })
    }

    /// Lists. rustic_backend only logs what goes wrong on the way and gives what it could list; half a listing would make points
    /// look lost, data look unused, and a repository look empty.
    fn list_whole<T: Send + 'static>(
        &self,
        tpe: FileType,
        list: impl FnOnce(&dyn WriteBackend) -> RusticResult<T> + Send + 'static,
    ) -> RusticResult<T> {
        let before = logging::rustic_errors();
        let listed = self.ask(list)?;
        if logging::rustic_errors() == before {
            return Ok(listed);
        }
        let reason = io::Error::other(logging::last_rustic_error());
        Err(RusticError::with_source(ErrorKind::Backend, "The listing of the {type} files is not whole", reason)
            .attach_context("type", tpe.dirname().trim_end_matches('s')))
    }
}

/// Fails when nothing may be written or removed any more.
fn permit(lease: &Lease) -> RusticResult<()> {
    lease.check().map_err(|why| {
        let message = "Nothing is written to the store any more, because its lock is lost";
        RusticError::with_source(ErrorKind::Backend, message, io::Error::other(why))
    })
}

/// Whether files of this type are named by the SHA-256 of their content, and so belong to one write alone.
fn is_named_by_hash(tpe: FileType) -> bool {
    matches!(tpe, FileType::Pack | FileType::Index | FileType::Snapshot)
}

impl ReadBackend for Gate {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn list_with_size(&self, tpe: FileType) -> RusticResult<Vec<(Id, u32)>> {
        self.list_whole(tpe, move |inner| inner.list_with_size(tpe))
    }

    fn list(&self, tpe: FileType) -> RusticResult<Vec<Id>> {
        self.list_whole(tpe, move |inner| inner.list(tpe))
    }

    fn read_full(&self, tpe: FileType, id: &Id) -> RusticResult<Bytes> {
        let id = *id;
        let content = self.ask(move |inner| inner.read_full(tpe, &id))?;
        if is_named_by_hash(tpe) && id != Id::from(BlobId::of(&content)) {
            let error = RusticError::new(ErrorKind::Verification, "{type} {id} in the store is damaged")
                .attach_context("type", tpe.to_string())
                .attach_context("id", id.to_string());
            return Err(error.attach_error_code(NOT_AUTHENTIC));
        }
        Ok(content)
    }

    fn read_partial(&self, tpe: FileType, id: &Id, cacheable: bool, offset: u32, length: u32) -> RusticResult<Bytes> {
        let id = *id;
        self.ask(move |inner| inner.read_partial(tpe, &id, cacheable, offset, length))
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
        self.ask(|inner| inner.create())
    }

    fn write_bytes(&self, tpe: FileType, id: &Id, cacheable: bool, content: BytesList) -> RusticResult<()> {
        let (id, lease) = (*id, Arc::clone(&self.lease));
        self.ask(move |inner| {
            permit(&lease)?;
            let written = inner.write_bytes(tpe, &id, cacheable, content);
            if written.is_err() && is_named_by_hash(tpe) && permit(&lease).is_ok() {
                // Not every place does without the file when it gets only a part of it: half an index would keep every later run from working.
                drop(inner.remove(tpe, &id, cacheable));
            }
            written
        })
    }

    fn remove(&self, tpe: FileType, id: &Id, cacheable: bool) -> RusticResult<()> {
        let (id, lease) = (*id, Arc::clone(&self.lease));
        match self.ask(move |inner| permit(&lease).and_then(|()| inner.remove(tpe, &id, cacheable))) {
            // Somebody else's prune was there before; what is to go is gone.
            Err(error) if is_missing(&error) => Ok(()),
            removed => removed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use rustic_backend::BackendOptions;

    use super::*;
    use crate::error::{chain, hints};
    use crate::store::explain;
    use crate::store::locks::tests::lost;

    /// Says nothing until the test is over.
    #[derive(Debug)]
    struct Mute {
        over: Arc<Barrier>,
    }

    impl ReadBackend for Mute {
        fn location(&self) -> String {
            String::new()
        }

        fn list_with_size(&self, _: FileType) -> RusticResult<Vec<(Id, u32)>> {
            Ok(Vec::new())
        }

        fn read_full(&self, _: FileType, _: &Id) -> RusticResult<Bytes> {
            self.over.wait();
            Ok(Bytes::new())
        }

        fn read_partial(&self, tpe: FileType, id: &Id, _: bool, _: u32, _: u32) -> RusticResult<Bytes> {
            self.read_full(tpe, id)
        }

        fn warmup_path(&self, _: FileType, _: &Id) -> String {
            String::new()
        }
    }

    impl WriteBackend for Mute {
        fn write_bytes(&self, _: FileType, _: &Id, _: bool, _: BytesList) -> RusticResult<()> {
            Ok(())
        }

        fn remove(&self, _: FileType, _: &Id, _: bool) -> RusticResult<()> {
            Ok(())
        }
    }

    #[test]
    fn server_that_does_not_answer_is_left() {
        let over = Arc::new(Barrier::new(2));
        let gate = Gate::new(Arc::new(Mute { over: over.clone() }), Arc::default(), Some(Duration::from_millis(1)));
        let error = explain(*gate.read_full(FileType::Config, &Id::default()).unwrap_err());
        over.wait();
        assert_eq!(chain(&error), "The store does not respond: no answer within 0 s");
        assert!(hints(&error)[0].starts_with("Is the server running"), "{:?}", hints(&error));
    }

    #[test]
    fn nothing_is_written_or_removed_under_a_lost_lock_and_reading_goes_on() {
        let root = tempfile::tempdir().unwrap();
        let place = format!("local:{}", root.path().display());
        let inner = BackendOptions::default().repository(place).to_backends().unwrap().repository();
        let lease = Arc::<Lease>::default();
        let gate = Gate::new(inner, Arc::clone(&lease), None);
        gate.create().unwrap();
        let (one, other) = (Id::from(BlobId::of(b"x")), Id::random());
        let content = || BytesList::from(Bytes::from_static(b"x"));
        gate.write_bytes(FileType::Snapshot, &one, false, content()).unwrap();

        let held = lost(root.path(), &lease);
        let error = gate.write_bytes(FileType::Snapshot, &other, false, content()).unwrap_err();
        let said = "Nothing is written to the store any more, because its lock is lost: it was not refreshed in time, ";
        let shown = chain(&explain(*error));
        assert!(shown.starts_with(said), "{shown}");
        gate.remove(FileType::Snapshot, &one, false).unwrap_err();
        assert_eq!(gate.list(FileType::Snapshot).unwrap(), [one]);
        assert_eq!(gate.read_full(FileType::Snapshot, &one).unwrap(), "x");

        drop(held);
        gate.remove(FileType::Snapshot, &one, false).unwrap();
    }
}
