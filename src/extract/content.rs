//! Files on their way: made under a name of ours, filled from the store, and renamed when they are whole.
//!
//! Runs of zero bytes are not written but left as holes, so that sparse files come back sparse.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Error, Result};
use rustix::fs::{Advice, OFlags, fadvise, syncfs};
use rustix::io::Errno;

use super::directory::{Directory, Identity};
use super::links::Key;
use super::temporary::{Temporary, Workshop};
use crate::error::{Annotate, chain};
use crate::monitor::Task;
use crate::store::{Node, SavedTree};

/// The unit in which file systems keep holes.
const BLOCK: usize = 4096;
const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// A file that waits for its content.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) directory: Directory,
    pub(super) name: OsString,
    /// Where it is in the point.
    pub(super) path: PathBuf,
    /// Where it will be on this machine.
    pub(super) destination: PathBuf,
    pub(super) node: Node,
    /// The real size of its content in bytes.
    pub(super) size: u64,
    /// Whether something that stands in its place is replaced.
    pub(super) replaces: bool,
    /// Set when further names will be linked to it, with the names that lead to it.
    pub(super) leads: Option<(Key, Vec<OsString>)>,
    pub(super) temporary: Temporary,
    pub(super) identity: Identity,
    failure: Mutex<Option<String>>,
}

/// Where a file belongs, before anything is made.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) directory: Directory,
    pub(super) name: OsString,
    pub(super) path: PathBuf,
    pub(super) destination: PathBuf,
    pub(super) node: Node,
    pub(super) size: u64,
    pub(super) replaces: bool,
    pub(super) leads: Option<(Key, Vec<OsString>)>,
}

impl Staged {
    /// Makes the file as one large hole under a temporary name.
    pub(super) fn make(wanted: Wanted, workshop: &mut Workshop) -> io::Result<Self> {
        let Wanted { directory, name, path, destination, node, size, replaces, leads } = wanted;
        let (temporary, file) = workshop.make(&directory, |name| directory.make_file(name))?;
        file.set_len(size)?;
        let made = file.metadata()?;
        let identity = (made.dev(), made.ino());
        let failure = Mutex::default();
        Ok(Self { directory, name, path, destination, node, size, replaces, leads, temporary, identity, failure })
    }

    /// Opens the file under its temporary name.
    pub(super) fn open(&self, access: OFlags) -> io::Result<File> {
        self.directory.open_file(self.temporary.name(), self.identity, access)
    }

    /// Why it must not be put in its place.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn fail(&self, why: String) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        // Opened anew for each piece: a batch has more files than a process may have open.
        let file = self.open(OFlags::WRONLY)?;
        for run in data_runs(offset, bytes) {
            file.write_all_at(&bytes[run.clone()], offset + run.start as u64)?;
        }
        Ok(())
    }

    /// Writes a piece; only an error that will meet every other file, too, is returned.
    fn take(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        match self.write(offset, bytes) {
            Ok(()) => Ok(()),
            Err(error) if is_fatal(&error) => fatal(error, &format!("write {}", self.destination.display())),
            Err(error) => {
                self.fail(format!("write its content: {error}"));
                Ok(())
            }
        }
    }

    fn compare(&self, offset: u64, bytes: &[u8]) {
        match self.open(OFlags::RDONLY).and_then(|file| holds(&file, offset, bytes)) {
            Ok(true) => {}
            Ok(false) => {
                self.fail(format!("what was written differs from the store, in the piece at byte {offset}"));
            }
            Err(error) => self.fail(format!("read back what was written: {error}")),
        }
    }
}

/// Whether a file holds these bytes at this offset.
pub(super) fn holds(file: &File, offset: u64, bytes: &[u8]) -> io::Result<bool> {
    let mut found = vec![0; bytes.len()];
    match file.read_exact_at(&mut found, offset) {
        Ok(()) => Ok(found == bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether an error means that the target takes nothing more.
pub(super) fn is_fatal(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::DQUOT | Errno::ROFS))
}

/// Fails because the target takes nothing more.
pub(super) fn fatal<T>(error: io::Error, doing: &str) -> Result<T> {
    Err(Error::new(error).context(doing.to_owned()))
        .hint("Make room or choose another target, then run it again with --overwrite: what is there already is kept.")
}

/// Fills the files from the store. What becomes of each one says [`Staged::failure`].
///
/// # Errors
///
/// When the target takes nothing more.
pub(super) fn fill(saved: &SavedTree, files: &[&Staged], task: &dyn Task) -> Result<()> {
    let nodes: Vec<&Node> = files.iter().map(|file| &file.node).collect();
    let target_is_full = AtomicBool::new(false);
    let filled = saved.read_many(&nodes, &|index, offset, bytes| {
        task.advance(bytes.len() as u64);
        files[index].take(offset, bytes).inspect_err(|_| target_is_full.store(true, Ordering::Relaxed))
    });
    match filled {
        Ok(()) => Ok(()),
        Err(error) if target_is_full.into_inner() => Err(error),
        // The store could not give something. That must not cost the files that it can give.
        Err(_) => files.iter().filter(|file| file.failure().is_none()).try_for_each(|file| fill_one(saved, file)),
    }
}

fn fill_one(saved: &SavedTree, file: &Staged) -> Result<()> {
    let mut offset = 0;
    let pieces = match saved.read(&file.node) {
        Ok(pieces) => pieces,
        Err(error) => {
            file.fail(chain(&error));
            return Ok(());
        }
    };
    for piece in pieces {
        match piece {
            Ok(bytes) => {
                file.take(offset, &bytes)?;
                offset += bytes.len() as u64;
            }
            Err(error) => {
                file.fail(chain(&error));
                break;
            }
        }
    }
    Ok(())
}

/// Reads the files back and compares them with the store. What differs is a [`Staged::failure`].
pub(super) fn verify(saved: &SavedTree, files: &[&Staged]) {
    let whole: Vec<&Staged> = files.iter().copied().filter(|file| file.failure().is_none()).collect();
    if let Some(first) = whole.first() {
        // Else the comparison would be with the page cache, which nobody doubts.
        let _ = syncfs(&first.directory);
        for file in &whole {
            if let Ok(open) = file.open(OFlags::RDONLY) {
                let _ = fadvise(&open, 0, None, Advice::DontNeed);
            }
        }
    }
    let nodes: Vec<&Node> = whole.iter().map(|file| &file.node).collect();
    let compared = saved.read_many(&nodes, &|index, offset, bytes| {
        whole[index].compare(offset, bytes);
        Ok(())
    });
    if let Err(error) = compared {
        let why = format!("compare it with the store: {}", chain(&error));
        whole.iter().for_each(|file| file.fail(why.clone()));
    }
}

/// The parts of a piece that are not blocks of zero bytes.
fn data_runs(offset: u64, bytes: &[u8]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    // Blocks begin where the file system's do, not where the piece does.
    let mut end = (BLOCK - (offset % BLOCK as u64) as usize).min(bytes.len());
    while start < bytes.len() {
        if bytes[start..end] != ZEROS {
            match runs.last_mut() {
                Some(run) if run.end == start => run.end = end,
                _ => runs.push(start..end),
            }
        }
        start = end;
        end = (end + BLOCK).min(bytes.len());
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_blocks_of_zeros_are_not_written() {
        let mut bytes = vec![0; 4 * BLOCK];
        assert_eq!(data_runs(0, &bytes), [] as [Range<usize>; 0]);
        bytes[BLOCK + 1] = 1;
        bytes[2 * BLOCK] = 1;
        assert_eq!(data_runs(BLOCK as u64, &bytes), [Range { start: BLOCK, end: 3 * BLOCK }]);
    }

    #[test]
    fn blocks_are_those_of_the_file_not_of_the_piece() {
        let bytes = vec![0; 2 * BLOCK];
        // 10 bytes to the end of a block, one whole block, and the rest.
        let offset = (BLOCK - 10) as u64;
        assert_eq!(data_runs(offset, &bytes), [0..10, 10 + BLOCK..2 * BLOCK]);
    }

    #[test]
    fn part_of_a_block_is_written_even_when_it_is_zero() {
        assert_eq!(data_runs(0, &[0; 5]), [Range { start: 0, end: 5 }]);
        assert!(data_runs(7, &[]).is_empty());
    }
}
