//! What waits to be finished, in the order of the tree: files for their content, further names for the first one, directories for
//! everything in them.
//!
//! Content is fetched for the whole batch at once, in the order that suits the store; after that everything is finished in order, so a
//! directory gets its times after the last change in it.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rustix::fs::OFlags;

use super::content::{self, Staged, Wanted};
use super::directory::{Directory, Identity};
use super::extraction::Extraction;
use super::links::{Key, Made};
use super::metadata::{self, Subject};
use crate::store::Node;

/// Bounds of a batch. Its directories are kept open: there must be fewer than the 1,024 a process may have.
const FILES: usize = 4096;
const DIRECTORIES: usize = 200;
const BYTES: u64 = 256 << 20;

/// One entry that waits.
#[derive(Debug)]
pub(super) enum Pending {
    /// A file without content yet.
    File(Staged),
    /// A further name of a file.
    Link(Further),
    /// A directory that gets no more entries.
    Directory { directory: Directory, node: Node, path: PathBuf },
}

/// A further name of a file whose first name comes before it in the batch, or came in an earlier one.
#[derive(Debug)]
pub(super) struct Further {
    pub(super) wanted: Wanted,
    /// The file it is a name of.
    pub(super) key: Key,
    /// The names from the target down to it.
    pub(super) names: Vec<OsString>,
    /// What stands in its place.
    pub(super) found: Option<Identity>,
}

/// Everything that waits.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pending: Vec<Pending>,
    bytes: u64,
    directories: usize,
}

impl Batch {
    /// Puts an entry at the end.
    pub(super) fn push(&mut self, pending: Pending) {
        let directory = |pending: &Pending| match pending {
            Pending::File(file) => file.directory.clone(),
            Pending::Link(link) => link.wanted.directory.clone(),
            Pending::Directory { directory, .. } => directory.clone(),
        };
        // Neighbours are mostly in one directory; counting the changes is a bound that needs no set.
        if !self.pending.last().is_some_and(|last| directory(last).is_same(&directory(&pending))) {
            self.directories += 1;
        }
        if let Pending::File(file) = &pending {
            self.bytes = self.bytes.saturating_add(file.size);
        }
        self.pending.push(pending);
    }

    /// Whether it must be finished before more is added, of which this many bytes.
    pub(super) fn is_full_for(&self, bytes: u64) -> bool {
        self.pending.len() >= FILES
            || self.directories >= DIRECTORIES
            || (self.bytes > 0 && self.bytes.saturating_add(bytes) > BYTES)
    }
}

impl Extraction<'_> {
    /// Puts an entry into the batch, which is finished first when it is full.
    pub(super) fn wait(&mut self, pending: Pending) -> Result<()> {
        let bytes = if let Pending::File(file) = &pending { file.size } else { 0 };
        if self.batch.is_full_for(bytes) {
            self.finish_batch()?;
        }
        self.batch.push(pending);
        Ok(())
    }

    /// Fetches the content of the batch and finishes everything in it.
    pub(super) fn finish_batch(&mut self) -> Result<()> {
        let Batch { pending, .. } = std::mem::take(&mut self.batch);
        let files: Vec<&Staged> = pending.iter().filter_map(as_file).collect();
        self.fill(&files)?;
        for pending in pending {
            match pending {
                Pending::File(file) => self.finish_file(file)?,
                Pending::Link(link) => self.finish_link(link)?,
                Pending::Directory { directory, node, path } => {
                    let refused = metadata::apply(Subject::Open(directory.as_fd()), &node);
                    self.warn(&path, refused);
                }
            }
        }
        Ok(())
    }

    fn fill(&self, files: &[&Staged]) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        content::fill(self.saved, files, &*self.task)?;
        if self.options.verify {
            content::verify(self.saved, files);
        }
        Ok(())
    }

    fn finish_file(&mut self, mut file: Staged) -> Result<()> {
        self.task.advance_files(1);
        if let Some(why) = file.failure() {
            self.problem(&file.path, &why);
            return Ok(());
        }
        let finished = file.open(OFlags::RDONLY).and_then(|open| {
            let refused = metadata::apply(Subject::Open(open.as_fd()), &file.node);
            file.temporary.put_in_place(&file.name, file.replaces)?;
            Ok(refused)
        });
        match finished {
            Ok(refused) => {
                self.warn(&file.path, refused);
                self.done.files += 1;
                self.done.bytes += file.size;
                if let Some((key, names)) = file.leads.take() {
                    self.links.made(key, Made { names, identity: file.identity });
                }
                Ok(())
            }
            Err(error) => self.trouble(&file.path, "finish it", error),
        }
    }

    fn finish_link(&mut self, link: Further) -> Result<()> {
        let first = self.links.first(link.key).cloned();
        let size = link.wanted.size;
        match first {
            Some(first) if link.found == Some(first.identity) => {
                self.done.unchanged += 1;
            }
            Some(first) if self.link(&link, &first).is_ok() => {
                self.done.files += 1;
            }
            // The first name could not be made, or the file system takes no more names of it: it gets the content itself.
            _ => return self.finish_copy(link),
        }
        self.task.advance(size);
        self.task.advance_files(1);
        Ok(())
    }

    fn link(&mut self, link: &Further, first: &Made) -> std::io::Result<()> {
        let Wanted { directory, name, replaces, .. } = &link.wanted;
        let Some((old, way)) = first.names.split_last() else {
            return Err(std::io::ErrorKind::NotFound.into());
        };
        let from = self.passage(way)?;
        let (made, ()) = self.workshop.make(directory, |name| directory.make_link(name, &from, old))?;
        // What was linked must be the file that was made, not what somebody put in its place.
        directory.open_file(made.name(), first.identity, OFlags::PATH)?;
        made.put_in_place(name, *replaces)
    }

    fn finish_copy(&mut self, link: Further) -> Result<()> {
        let Further { mut wanted, key, names, .. } = link;
        wanted.leads = Some((key, names));
        let path = wanted.path.clone();
        match Staged::make(wanted, &mut self.workshop) {
            Ok(file) => {
                self.fill(&[&file])?;
                self.finish_file(file)
            }
            Err(error) => self.trouble(&path, "make the file", error),
        }
    }

    /// Tells what metadata an entry could not be given.
    pub(super) fn warn(&mut self, path: &Path, refused: Vec<String>) {
        for error in refused {
            self.warning(path, error);
        }
    }
}

fn as_file(pending: &Pending) -> Option<&Staged> {
    match pending {
        Pending::File(file) => Some(file),
        Pending::Link(_) | Pending::Directory { .. } => None,
    }
}
