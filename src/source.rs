//! What can be backed up: the seam between the drivers and the store.
//!
//! A driver implements [`Source`] and hands out [`Tree`]s; it never sees the store, and the store never asks which
//! driver it reads from. `restore --to DIR` needs no driver at all.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Error, Result, anyhow};

use crate::error::{Annotate, ExitCode};
use crate::extract::{Extracted, Layout, RestoreOptions};
use crate::monitor::Monitor;
use crate::store::format::BlobId;
use crate::store::{Node, SavedNode, SavedTree};

pub mod compose;
mod content;
pub mod docker;
mod failure;
pub mod files;
mod globs;
pub mod ios;
pub(crate) mod parts;
pub mod ssh;
mod stream;

pub(crate) use failure::Failure;

/// One configured thing that can be read as trees of files, and put back from one.
pub trait Source: Send + Sync {
    /// Says whether a backup could start now. Changes nothing, here or there.
    fn preflight(&self) -> Result<Readiness>;

    /// What there is to say of a source that is ready, in one line. Changes nothing.
    fn describe(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// The items that would fail although the source is ready, and why. Changes nothing.
    fn examine(&self) -> Result<Vec<(String, Error)>> {
        Ok(Vec::new())
    }

    /// Starts what [`Source::open`] will need and what takes time, on a thread of its own, if there is such. Changes nothing. Called after the source has said
    /// that it is ready, when a backup is going to be made.
    fn anticipate(&self) {}

    /// What there is to back up right now.
    fn items(&self) -> Result<Vec<Item>>;

    /// Brings an item into a readable, consistent state.
    ///
    /// Whatever can go wrong for the whole item goes wrong here, before anything is written to the store.
    fn open(&self, item: &Item, options: &OpenOptions<'_>, monitor: &dyn Monitor) -> Result<Box<dyn Tree>>;

    /// Whether [`Source::open`] makes use of the point before, which takes time and memory to get ready.
    fn wants_previous(&self) -> bool {
        false
    }

    /// Whether an earlier run that was killed may have left something that [`Source::mend`] puts right. Changes nothing. Called after the source has said
    /// that it is ready.
    fn needs_mending(&self) -> Result<bool> {
        Ok(false)
    }

    /// Puts right what an earlier run of this source has left that was killed: starts what it has stopped. Says for each what was done. Only under the lock
    /// of the source, so that no run is under way.
    fn mend(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Puts back what was changed for a backup, after the last item, whatever became of it. Called also when nothing was opened.
    fn close(&self) -> Result<()> {
        Ok(())
    }

    /// Makes sure that [`Source::restore`] can do its work with the same arguments, and stops whoever is in its way when it may; [`Source::restore`]
    /// starts them again, and so does dropping the source. In a dry run it only looks.
    ///
    /// # Errors
    ///
    /// When it cannot, or would disturb somebody who may not be stopped; exit code [`ExitCode::Usage`] when it is asked for what has no meaning here.
    fn make_way(&self, item: &Item, saved: &SavedTree, options: &RestoreOptions, monitor: &dyn Monitor) -> Result<()> {
        let _ = (saved, monitor);
        options.without_containers(&item.id)
    }

    /// What [`Source::restore`] with the same arguments would overwrite, as a tree: the safety point is made of it.
    /// `None` when nothing would be overwritten. `opening` has the newest point of the item for a source that makes use of it.
    fn overwritten(
        &self,
        item: &Item,
        saved: &SavedTree,
        path: Option<&Path>,
        opening: &OpenOptions<'_>,
        monitor: &dyn Monitor,
    ) -> Result<Option<Box<dyn Tree>>>;

    /// What whoever confirms [`Source::restore`] should know of it besides the point: which device it changes. `None`: nothing.
    ///
    /// # Errors
    ///
    /// When the restore would fail.
    fn caution(&self, options: &RestoreOptions) -> Result<Option<String>> {
        let _ = options;
        Ok(None)
    }

    /// Puts a saved tree, or the part of it that `options` name, back where it came from.
    fn restore(
        &self,
        item: &Item,
        saved: &SavedTree,
        options: &RestoreOptions,
        monitor: &dyn Monitor,
    ) -> Result<Extracted>;

    /// Looks at what is at `path` of the source itself, as the user who is logged in there.
    ///
    /// # Errors
    ///
    /// When it cannot be reached, or there is nothing; exit code [`ExitCode::Usage`] when the source is none that can be looked at.
    fn browse(&self, path: &Path, is_recursive: bool) -> Result<Browsed> {
        let _ = is_recursive;
        Err(anyhow!("{} is not on another machine", path.display())).hint("Look with ls.").exit(ExitCode::Usage)
    }

    /// Puts a saved tree, or the part of it that `options` name, below a directory of the machine that this source is. The tree may be that of any item of
    /// any source.
    ///
    /// # Errors
    ///
    /// As [`crate::extract::extract`] has them for a directory here; exit code [`ExitCode::Usage`] when there is no other machine.
    fn restore_to(
        &self,
        saved: &SavedTree,
        directory: &Path,
        layout: Layout,
        options: &RestoreOptions,
        monitor: &dyn Monitor,
    ) -> Result<Extracted> {
        let _ = (saved, layout, options, monitor);
        Err(anyhow!("this source is no other machine on which {} could be", directory.display()))
            .hint("Without the name of a source before it, DIR is a directory of this machine.")
            .exit(ExitCode::Usage)
    }
}

/// What is at a place of a source right now, for looking around.
#[derive(Debug, Default)]
pub struct Browsed {
    /// The content of a directory, or all below it, in the order of a tree; or the one thing that was named.
    pub entries: Vec<SavedNode>,
    /// What could not be looked at.
    pub problems: Vec<Problem>,
}

/// How an item is opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenOptions<'o> {
    /// The point that unchanged files are taken from, for drivers that can ask for changes only.
    pub previous: Option<&'o SavedTree>,
    /// Whether nothing may be changed anywhere.
    pub dry_run: bool,
    /// Whether everything is to be given anew, by a source that otherwise gives only what has changed since the point before.
    pub full: bool,
    /// Where contents can be left before it is known where in the tree they belong. `None` in a dry run.
    pub deposit: Option<&'o dyn Deposit>,
}

/// Takes contents into the store while a source is still being opened: for those that send what they have in an order of their own.
///
/// What was left here and is in no tree afterwards is as any other blob that no snapshot has: `prune` removes it, and the next backup finds it there.
pub trait Deposit: fmt::Debug + Sync {
    /// Takes in each content as it comes, several at a time, until there are no more, and tells `stored` the number of each, counted from 0 as they came, and
    /// where it is. Returns when all are safely in the store. Of a content that could not be read nothing is told: given in the tree, it is read again and its error told there.
    ///
    /// # Errors
    ///
    /// When the store fails.
    fn take(
        &self,
        contents: &mut (dyn Iterator<Item = Opener> + Send),
        stored: &(dyn Fn(usize, Stored) + Sync),
    ) -> Result<()>;
}

/// A content that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its pieces, in order, as [`Content::Stored`] wants them.
    pub blobs: Vec<BlobId>,
    /// How many bytes they are together.
    pub size: u64,
}

/// A tree held still for reading. Dropping it lets go; `finish` lets go and tells.
pub trait Tree: Send + Sync {
    /// Everything in the tree: parents before children, names of each directory in byte order.
    ///
    /// May be called more than once; each call reads the source anew.
    fn entries(&self) -> Entries;

    /// The sum of the sizes of all regular files in bytes, when that can be told without reading them. May walk the whole source; it is
    /// asked only when somebody watches and no earlier point tells what to expect.
    fn size(&self) -> Option<u64>;

    /// How many of its files are not the source's, but say something about it: a tree of nothing else is empty.
    fn made_up(&self) -> u64 {
        0
    }

    /// Everything was read: lets go of what was held still, while what was read is still on its way into the store.
    fn let_go(&self, monitor: &dyn Monitor) {
        let _ = monitor;
    }

    /// Lets go of the source. An error means: what was read is not whole, and no snapshot may be made of it.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// The entries of a tree, and what could not be read of it.
pub type Entries = Box<dyn Iterator<Item = Result<Entry, Problem>> + Send>;

/// One file, directory, link or device.
#[derive(Debug)]
pub struct Entry {
    /// Absolute path inside the snapshot, made of plain names only.
    pub path: PathBuf,
    /// Type, mode, owner, times, extended attributes, links.
    pub node: Node,
    /// How to read it; regular files only.
    pub content: Option<Content>,
}

/// The content of one regular file.
#[derive(Debug)]
pub enum Content {
    /// To be read; the size in the node is what is expected.
    Read(Opener),
    /// To be read; how much it is shows at its end: the output of a command.
    Unsized(Opener),
    /// In the store already, in these blobs: a driver that knows that a file is unchanged, or only moved, need not give it again.
    /// The size in the node must be that of the blobs together.
    Stored(Vec<BlobId>),
}

impl Content {
    /// Content that `open` gives, called at most once, on any thread.
    ///
    /// Contents are opened in about the order of their entries, several at a time; each is read to its end or dropped without waiting for any other, so
    /// they may all come out of one sequential stream. An open that fails with [`io::ErrorKind::NotFound`] says that the file vanished since
    /// it was listed.
    pub fn new(open: impl FnOnce() -> io::Result<Box<dyn Read + Send>> + Send + 'static) -> Self {
        Self::Read(Opener::new(open))
    }

    /// The same for content whose size is not known before its end.
    pub fn unsized_stream(open: impl FnOnce() -> io::Result<Box<dyn Read + Send>> + Send + 'static) -> Self {
        Self::Unsized(Opener::new(open))
    }
}

/// Opens the content of a file.
pub struct Opener(Box<dyn FnOnce() -> io::Result<Box<dyn Read + Send>> + Send>);

impl Opener {
    /// See [`Content::new`].
    pub fn new(open: impl FnOnce() -> io::Result<Box<dyn Read + Send>> + Send + 'static) -> Self {
        Self(Box::new(open))
    }

    /// Opens the content.
    pub fn open(self) -> io::Result<Box<dyn Read + Send>> {
        (self.0)()
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opener")
    }
}

/// Something of a source that did not get into the point as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, in the source.
    pub path: PathBuf,
    /// Why, without the path.
    pub error: String,
    /// How bad.
    pub severity: Severity,
}

impl Problem {
    /// Something was there when it was listed and is gone.
    pub fn vanished(path: PathBuf) -> Self {
        Self { path, error: "vanished before it was read".to_owned(), severity: Severity::Warning }
    }

    /// Something that should have been read failed so. What vanished in between is only worth a warning.
    pub fn of_io(path: PathBuf, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            return Self::vanished(path);
        }
        Self { path, error: error.to_string(), severity: Severity::Unread }
    }
}

/// What a [`Problem`] means for the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth a line, no harm: a file vanished between listing and reading, or grew while it was read.
    Warning,
    /// Something that is there could not be read: the point is incomplete.
    Unread,
}

/// Whether a source can be backed up now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It can.
    Ready,
    /// It is not here, and that is no fault: a phone that is not home. Says why.
    Away(String),
}

/// An error that says: the source was there, and went or refused before anything was read, and that is no fault. The same as [`Readiness::Away`], found out later:
/// nobody entered the passcode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Away(pub String);

/// The unit that is backed up, kept, restored and reported on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// `files.host`, `docker.nas/volume/pgdata`.
    pub id: String,
    /// `KIND.NAME` of its source; the host of its snapshots.
    pub source: String,
    /// The `paths` of its snapshots, as restic shows them.
    pub paths: Vec<PathBuf>,
}

/// The paths without those that lie below another one, in the order in which a tree names them.
fn outermost(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut sorted: Vec<&PathBuf> = paths.iter().collect();
    sorted.sort();
    let mut roots: Vec<PathBuf> = Vec::new();
    for path in sorted {
        if !roots.last().is_some_and(|root| path.starts_with(root)) {
            roots.push(path.clone());
        }
    }
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_and_repeated_paths_are_read_once() {
        let paths = ["/home/me", "/etc", "/home", "/etc", "/home-two", "/home/you"].map(PathBuf::from);
        assert_eq!(outermost(&paths), ["/etc", "/home", "/home-two"].map(PathBuf::from));
    }
}
