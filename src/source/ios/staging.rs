//! What a device has sent, on disk until it is in the store.
//!
//! Each file is there under a number of its own for as long as somebody needs it, and no longer: it goes with the last one who has it. All of it goes with the
//! session, also when a signal ends it; what is left when the machine or the process is killed is swept away by the next run ([`sweep`]).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::{Context, Result, anyhow};

use crate::cleanup::Guard;
use crate::config::{IosConfig, locate};
use crate::error::Annotate;
use crate::store::format::BlobId;

/// How much of the disk is not offered to the device, in bytes: something is always written beside it.
const RESERVE: u64 = 64 << 20;

/// How much is written at a time, in bytes: whole pages, which cost the system half of what pieces cost that begin and end within one.
const PIECE: usize = 64 << 10;

/// The directory of one session.
#[derive(Debug)]
pub(super) struct Staging {
    directory: Arc<Path>,
    next: u64,
    /// Shut while the directory is removed, which a signal does at any moment: a file that is made meanwhile would stay.
    gate: Arc<Mutex<()>>,
    /// Removes the directory.
    _guard: Guard,
}

/// Where the source of this configuration stages.
///
/// # Errors
///
/// When nothing is configured, and there is no cache directory.
pub(super) fn place(config: &IosConfig, id: &str) -> Result<PathBuf> {
    let above = match &config.staging {
        Some(directory) => directory.clone(),
        None => locate::cache_dir()
            .ok_or_else(|| anyhow!("there is no cache directory for what {id} sends"))
            .hint("Set `staging` to a directory with room for what the device sends.")?
            .join("staging"),
    };
    Ok(above.join(id))
}

/// How many bytes a run that was killed has left here; 0 when there is nothing.
pub(super) fn left(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    entries.filter_map(|entry| entry.ok()?.metadata().ok()).map(|metadata| metadata.len().max(1)).sum()
}

/// Removes what a run that was killed has left. Only while no other run can be under way.
///
/// # Errors
///
/// When it cannot be removed.
pub(super) fn sweep(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

fn shut(gate: &Mutex<()>) -> MutexGuard<'_, ()> {
    gate.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Staging {
    /// Begins a session with an empty directory that nobody else can look into.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub(super) fn begin(directory: &Path) -> Result<Self> {
        sweep(directory)?;
        let make = |directory: &Path| DirBuilder::new().recursive(true).mode(0o700).create(directory);
        make(directory)
            .with_context(|| format!("make the staging directory {}", directory.display()))
            .hint("Set `staging` to a directory that this user may write to.")?;
        let swept = directory.to_path_buf();
        let gate = Arc::<Mutex<()>>::default();
        let guard = Guard::new({
            let gate = Arc::clone(&gate);
            move |_| {
                let _shut = shut(&gate);
                if let Err(error) = sweep(&swept) {
                    tracing::warn!("what was received stays behind until the next run: {error:#}");
                }
            }
        });
        Ok(Self { directory: directory.into(), next: 0, gate, _guard: guard })
    }

    /// One that is not there, in which nothing can be kept: for finding out what would be done.
    pub(super) fn pretend(directory: &Path) -> Self {
        Self { directory: directory.into(), next: 0, gate: Arc::default(), _guard: Guard::new(|_| ()) }
    }

    /// Where it is.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// How many bytes the device may send.
    ///
    /// # Errors
    ///
    /// When the system does not tell.
    pub(super) fn free(&self) -> io::Result<u64> {
        let system = rustix::fs::statvfs(&*self.directory)?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize).saturating_sub(RESERVE))
    }

    /// Begins a file.
    ///
    /// # Errors
    ///
    /// When the disk takes no more.
    pub(super) fn receive(&mut self) -> io::Result<Receiving> {
        let staged =
            Staged { directory: Arc::clone(&self.directory), number: self.next, size: 0, blobs: OnceLock::new() };
        self.next += 1;
        let _shut = shut(&self.gate);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(staged.path())?;
        Ok(Receiving { staged, file, waiting: Vec::with_capacity(PIECE) })
    }

    /// Stages what we make ourselves.
    ///
    /// # Errors
    ///
    /// When the disk takes no more.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> io::Result<Arc<Staged>> {
        let mut receiving = self.receive()?;
        receiving.write(bytes)?;
        receiving.finish()
    }
}

/// A file that is still coming. It is gone when this is dropped before its end.
#[derive(Debug)]
pub(super) struct Receiving {
    staged: Staged,
    file: File,
    /// What is not on the disk yet; less than [`PIECE`].
    waiting: Vec<u8>,
}

impl Receiving {
    /// Takes in the next bytes.
    ///
    /// # Errors
    ///
    /// When the disk takes no more.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.staged.size += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - self.waiting.len()));
            self.waiting.extend_from_slice(now);
            bytes = later;
            if self.waiting.len() == PIECE {
                self.file.write_all(&self.waiting)?;
                self.waiting.clear();
            }
        }
        Ok(())
    }

    /// The file is whole.
    ///
    /// # Errors
    ///
    /// When the disk takes no more.
    pub(super) fn finish(mut self) -> io::Result<Arc<Staged>> {
        self.file.write_all(&self.waiting)?;
        Ok(Arc::new(self.staged))
    }
}

/// A file that has come. It is removed from the disk with the last one who has it.
#[derive(Debug)]
pub(super) struct Staged {
    directory: Arc<Path>,
    number: u64,
    size: u64,
    /// Where it is in the store, once it is there.
    blobs: OnceLock<Box<[BlobId]>>,
}

impl Staged {
    fn path(&self) -> PathBuf {
        self.directory.join(self.number.to_string())
    }

    /// How long it is, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Opens it for reading.
    ///
    /// # Errors
    ///
    /// As opening a file has them.
    pub(super) fn open(&self) -> io::Result<File> {
        File::open(self.path())
    }

    /// It is in the store, in these pieces. Only what is as long as it is told counts.
    pub(super) fn is_stored(&self, blobs: Vec<BlobId>, size: u64) {
        if size == self.size {
            // Each file is deposited once.
            let _ = self.blobs.set(blobs.into());
        }
    }

    /// Where it is in the store.
    pub(super) fn blobs(&self) -> Option<&[BlobId]> {
        self.blobs.get().map(|blobs| &**blobs)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // What stays goes with the directory.
        let _ = fs::remove_file(self.path());
    }
}

/// Whether there is no more room.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn file_is_there_as_long_as_somebody_has_it() {
        let above = tempfile::tempdir().unwrap();
        let directory = above.path().join("ios.phone");
        let mut staging = Staging::begin(&directory).unwrap();
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
        let staged = staging.keep(b"hello").unwrap();
        let copy = Arc::clone(&staged);
        drop(staged);
        let mut text = String::new();
        copy.open().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), copy.size()), ("hello", 5));
        drop(copy);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
        drop(staging.receive().unwrap());
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_run_left_is_counted_and_swept() {
        let above = tempfile::tempdir().unwrap();
        let directory = above.path().join("ios.phone");
        assert_eq!(left(&directory), 0);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("7"), b"half").unwrap();
        assert_eq!(left(&directory), 4);
        sweep(&directory).unwrap();
        sweep(&directory).unwrap();
        assert!(!directory.exists());
    }

    #[test]
    fn directory_goes_with_the_session() {
        let above = tempfile::tempdir().unwrap();
        let directory = above.path().join("ios.phone");
        let mut staging = Staging::begin(&directory).unwrap();
        let staged = staging.keep(b"hello").unwrap();
        drop(staging);
        assert!(!directory.exists());
        drop(staged);
    }
}
