//! Feeds a [`Tree`] to rustic_core, and remembers what went wrong.
//!
//! rustic_core logs errors from a source and saves the snapshot without the entry. For a backup that is not enough: a snapshot that
//! misses files must not look like one that has them. So every error (listing, opening, reading) passes through here and is
//! counted before rustic_core sees it. What follows from the count is decided in [`super::save`].

use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustic_core::{ErrorKind, ReadSource, ReadSourceEntry, ReadSourceOpen, RusticError, RusticResult};

use crate::monitor::Task;
use crate::output::printable;
use crate::source::{Content, Entries, Entry, Problem, Severity, Tree};

/// How many problems of each severity are kept by name; the rest are only counted, so that a source in which nothing can be
/// read does not fill the memory.
const KEPT: usize = 1000;

/// What the adapter saw, shared by its iterator and all readers.
#[derive(Debug, Default)]
pub(super) struct Seen {
    problems: Mutex<Vec<Problem>>,
    warnings: AtomicU64,
    unread: AtomicU64,
    /// Entries other than directories that were handed to rustic_core.
    given: AtomicU64,
    /// Of those, the ones that failed in opening or reading: rustic_core drops them.
    dropped: AtomicU64,
}

impl Seen {
    /// Remembers a problem.
    pub(super) fn add(&self, problem: Problem) {
        let counter = match problem.severity {
            Severity::Warning => &self.warnings,
            Severity::Unread => &self.unread,
        };
        if counter.fetch_add(1, Ordering::Relaxed) < KEPT as u64 {
            self.problems.lock().unwrap_or_else(PoisonError::into_inner).push(problem);
        }
    }

    /// The problems that were kept.
    pub(super) fn problems(&self) -> Vec<Problem> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many problems there were in all.
    pub(super) fn problem_count(&self) -> u64 {
        self.warnings.load(Ordering::Relaxed) + self.unread.load(Ordering::Relaxed)
    }

    /// Whether something of the source is missing.
    pub(super) fn is_incomplete(&self) -> bool {
        self.unread.load(Ordering::Relaxed) > 0
    }

    /// How many entries other than directories must be in the snapshot.
    pub(super) fn expected_files(&self) -> u64 {
        self.given.load(Ordering::Relaxed).saturating_sub(self.dropped.load(Ordering::Relaxed))
    }
}

/// The one adapter between our trees and rustic_core.
pub(super) struct Reading {
    tree: Box<dyn Tree>,
    seen: Arc<Seen>,
    task: Arc<dyn Task>,
}

impl Reading {
    pub(super) fn new(tree: Box<dyn Tree>, task: Arc<dyn Task>) -> Self {
        Self { tree, seen: Arc::default(), task }
    }

    pub(super) fn seen(&self) -> &Seen {
        &self.seen
    }

    pub(super) fn tree(&self) -> &dyn Tree {
        &*self.tree
    }

    pub(super) fn into_tree(self) -> Box<dyn Tree> {
        self.tree
    }
}

impl ReadSource for Reading {
    type Open = Opening;
    type Iter = ReadingEntries;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(None)
    }

    fn entries(&self) -> ReadingEntries {
        ReadingEntries { entries: self.tree.entries(), seen: self.seen.clone(), task: self.task.clone() }
    }
}

pub(super) struct ReadingEntries {
    entries: Entries,
    seen: Arc<Seen>,
    task: Arc<dyn Task>,
}

impl Iterator for ReadingEntries {
    type Item = RusticResult<ReadSourceEntry<Opening>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.entries.next()? {
                Ok(Entry { path, node, content }) => {
                    // A driver that lets a hostile path through would make rustic_core panic or write a tree that lies.
                    if !is_plain(&path) {
                        let error = "its path is not one that a snapshot can hold".to_owned();
                        self.seen.add(Problem { path, error, severity: Severity::Unread });
                        continue;
                    }
                    tracing::debug!("{}", printable(path.as_os_str()));
                    if !node.is_dir() {
                        self.seen.given.fetch_add(1, Ordering::Relaxed);
                        self.task.advance_files(1);
                    }
                    let size = node.meta.size;
                    let open =
                        content.map(|content| Opening { content, path: path.clone(), size, seen: self.seen.clone() });
                    return Some(Ok(ReadSourceEntry { path, node, open }));
                }
                Err(problem) => self.seen.add(problem),
            }
        }
    }
}

/// Whether a path is absolute, has a name, and is made of plain names only.
fn is_plain(path: &Path) -> bool {
    let mut components = path.components();
    components.next() == Some(Component::RootDir)
        && path.file_name().is_some()
        && components.all(|component| matches!(component, Component::Normal(_)))
}

/// A file's content that was not opened yet.
pub(super) struct Opening {
    content: Content,
    path: PathBuf,
    size: u64,
    seen: Arc<Seen>,
}

impl ReadSourceOpen for Opening {
    type Reader = Reader;

    fn open(self) -> RusticResult<Reader> {
        match self.content.open() {
            Ok(inner) => Ok(Reader { inner, path: self.path, left: self.size, padding: false, seen: self.seen }),
            Err(error) => {
                let (severity, text) = if error.kind() == io::ErrorKind::NotFound {
                    (Severity::Warning, "vanished before it was read".to_owned())
                } else {
                    (Severity::Unread, error.to_string())
                };
                self.seen.add(Problem { path: self.path, error: text, severity });
                self.seen.dropped.fetch_add(1, Ordering::Relaxed);
                Err(RusticError::with_source(ErrorKind::InputOutput, "open", error))
            }
        }
    }
}

/// Gives exactly as many bytes as were listed.
///
/// rustic_core writes the listed size into the tree; a file with more or fewer bytes would make restic's `check` fail. So a file
/// that grew is cut where it ended when it was listed, and one that shrank is filled up with zero bytes; both are told.
pub(super) struct Reader {
    inner: Box<dyn Read + Send>,
    path: PathBuf,
    left: u64,
    padding: bool,
    seen: Arc<Seen>,
}

impl Reader {
    fn tell(&self, error: &str, severity: Severity) {
        self.seen.add(Problem { path: self.path.clone(), error: error.to_owned(), severity });
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            // Asked once at the end: is there more than was listed?
            if !self.padding && matches!(self.inner.read(&mut [0]), Ok(1)) {
                self.tell("grew while it was read; saved up to the size it had when it was listed", Severity::Warning);
            }
            self.padding = true;
            return Ok(0);
        }
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = if self.padding {
            buffer[..wanted].fill(0);
            wanted
        } else {
            match self.inner.read(&mut buffer[..wanted]) {
                Ok(0) => {
                    self.tell("shrank while it was read; its end is filled with zero bytes", Severity::Unread);
                    self.padding = true;
                    return self.read(buffer);
                }
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                Err(error) => {
                    self.tell(&error.to_string(), Severity::Unread);
                    self.seen.dropped.fetch_add(1, Ordering::Relaxed);
                    return Err(error);
                }
            }
        };
        self.left -= read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(content: &'static [u8], listed: u64) -> (Vec<u8>, Vec<Problem>) {
        let seen = Arc::<Seen>::default();
        let content = Content::new(move || Ok(Box::new(content)));
        let mut reader = Opening { content, path: "/f".into(), size: listed, seen: seen.clone() }.open().unwrap();
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        (bytes, seen.problems())
    }

    #[test]
    fn file_as_listed_is_read_without_a_word() {
        assert_eq!(read_all(b"abc", 3), (b"abc".to_vec(), vec![]));
    }

    #[test]
    fn file_that_grew_is_cut_with_a_warning() {
        let (bytes, problems) = read_all(b"abcdef", 3);
        assert_eq!(bytes, b"abc");
        assert_eq!(problems.iter().map(|p| p.severity).collect::<Vec<_>>(), [Severity::Warning]);
    }

    #[test]
    fn file_that_shrank_is_filled_and_makes_the_point_incomplete() {
        let (bytes, problems) = read_all(b"abc", 5);
        assert_eq!(bytes, b"abc\0\0");
        assert_eq!(problems.iter().map(|p| p.severity).collect::<Vec<_>>(), [Severity::Unread]);
    }

    #[test]
    fn only_plain_absolute_paths_pass() {
        assert!(is_plain(Path::new("/a/b")));
        for path in ["/", "a", "/a/../b", "../a", "", "./a"] {
            assert!(!is_plain(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn a_flood_of_problems_is_counted_but_not_kept() {
        let seen = Seen::default();
        for _ in 0..KEPT + 5 {
            seen.add(Problem { path: "/x".into(), error: "no".into(), severity: Severity::Warning });
        }
        assert_eq!((seen.problems().len(), seen.problem_count()), (KEPT, KEPT as u64 + 5));
        seen.add(Problem { path: "/y".into(), error: "no".into(), severity: Severity::Unread });
        assert!(seen.is_incomplete());
        assert_eq!(seen.problems().len(), KEPT + 1);
    }
}
