//! Finds out whether a source is just as its newest point has it, without archiving it.
//!
//! Most runs of most sources find nothing changed. rustic_core's archiver takes as long for that as for a first look at small files: it
//! hands every entry from thread to thread, and writes every directory anew to see that its hash is the same. So the entries are first compared
//! with the saved tree, in one pass over both; only when all of them are equal in everything a snapshot holds is the saved tree used again. The
//! archiver would have come to the same tree (but for the times of the directories above the configured paths), so nothing else may be concluded
//! here: at the first difference, or problem, it does its work.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::vec;

use rustic_core::{IndexedFullStatus, Repository, TreeId};

use super::{Metadata, Node};
use crate::monitor::Task;
use crate::source::{Entries, Entry};

/// How many entries go from the walking thread to the comparing one at a time, and how many such loads may wait.
const LOAD: usize = 512;
const WAITING: usize = 8;

/// What was found equal.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Equal {
    /// Directories, the root among them.
    pub(super) directories: u64,
    /// Everything else.
    pub(super) files: u64,
    /// Sum of the files' sizes.
    pub(super) bytes: u64,
}

/// Compares all entries with the saved tree `root`; `None` when anything differs or cannot be compared.
pub(super) fn compare(
    repository: &Repository<IndexedFullStatus>,
    root: TreeId,
    paths: &[PathBuf],
    entries: Entries,
    task: &dyn Task,
) -> Option<Equal> {
    thread::scope(|scope| {
        let (sender, loads) = mpsc::sync_channel(WAITING);
        scope.spawn(move || send(entries, &sender));
        let mut comparison = Comparison { repository, paths, levels: Vec::new(), equal: Equal::default() };
        if !comparison.enter(root) {
            return None;
        }
        for load in loads {
            let before = comparison.equal;
            if !load.iter().all(|entry| comparison.is_next(entry.as_ref())) {
                return None;
            }
            task.advance(comparison.equal.bytes - before.bytes);
            task.advance_files(comparison.equal.files - before.files);
        }
        comparison.is_over().then_some(comparison.equal)
    })
}

/// Walks on this thread; a problem ends it, as a load that can equal nothing.
fn send(entries: Entries, sender: &mpsc::SyncSender<Vec<Option<Entry>>>) {
    let mut load = Vec::with_capacity(LOAD);
    for entry in entries {
        let is_problem = entry.is_err();
        load.push(entry.ok());
        if is_problem || load.len() == LOAD {
            // The comparing side is gone when it has seen a difference.
            if sender.send(std::mem::replace(&mut load, Vec::with_capacity(LOAD))).is_err() || is_problem {
                return;
            }
        }
    }
    let _ = sender.send(load);
}

struct Comparison<'r> {
    repository: &'r Repository<IndexedFullStatus>,
    /// The configured paths.
    paths: &'r [PathBuf],
    /// What is left of each saved directory on the way down; the first is the root.
    levels: Vec<vec::IntoIter<Node>>,
    equal: Equal,
}

impl Comparison<'_> {
    /// Goes down into a saved directory; `false` when it cannot be read.
    fn enter(&mut self, tree: TreeId) -> bool {
        // The archiver, which has the last word, will say what is wrong with it.
        let Ok(tree) = self.repository.get_tree(&tree) else { return false };
        self.levels.push(tree.nodes.into_iter());
        self.equal.directories += 1;
        true
    }

    /// Whether the entry is the next one of the saved tree, in everything but content; that is then the saved one.
    fn is_next(&mut self, entry: Option<&Entry>) -> bool {
        let Some(entry) = entry else { return false };
        // `/` is a component too: what is in the root has depth 1.
        let depth = entry.path.components().count() - 1;
        while self.levels.len() > depth {
            // A directory that has entries left has lost some since.
            if self.levels.pop().is_some_and(|level| level.len() > 0) {
                return false;
            }
        }
        if self.levels.len() < depth {
            return false;
        }
        let Some(saved) = self.levels.last_mut().and_then(Iterator::next) else { return false };
        let new = &entry.node;
        if saved.name != new.name || saved.node_type != new.node_type {
            return false;
        }
        if saved.meta != new.meta && !(self.is_above(&entry.path) && same_rights(&saved.meta, &new.meta)) {
            return false;
        }
        if saved.is_dir() {
            return saved.subtree.is_some_and(|tree| self.enter(tree));
        }
        self.equal.files += 1;
        self.equal.bytes += saved.meta.size;
        // A piece that the index does not know makes the archiver read the file again, which mends the store.
        saved.content.iter().flatten().all(|id| self.repository.get_index_entry(id).is_ok())
    }

    /// Whether a directory only leads to a configured path. Its times change with everything beside that path; they stay those of
    /// the last point that was archived.
    fn is_above(&self, directory: &Path) -> bool {
        self.paths.iter().any(|path| path != directory && path.starts_with(directory))
            && !self.paths.iter().any(|path| directory.starts_with(path))
    }

    /// Whether nothing of the saved tree is left over.
    fn is_over(&self) -> bool {
        self.levels.iter().all(|level| level.len() == 0)
    }
}

/// Whether two directories have the same owner and may be used by the same people.
fn same_rights(a: &Metadata, b: &Metadata) -> bool {
    let rights = |meta: &Metadata| (meta.mode, meta.uid, meta.gid, meta.user.clone(), meta.group.clone());
    rights(a) == rights(b) && a.extended_attributes == b.extended_attributes
}
