//! The point before: what an entry is compared with.

use rustic_core::repofile::BlobType;

use super::Run;
use super::directory::Saved;
use crate::source::{Problem, Severity};
use crate::store::Node;
use crate::store::format::BlobId;
use crate::store::format::parent::{self, Known};

/// A saved directory, while the same directory of the source is listed.
pub(super) struct SavedDirectory {
    pub(super) saved: Saved,
    entries: Vec<Known>,
    /// The entry that is expected next.
    next: usize,
}

impl SavedDirectory {
    /// Reads a saved tree. `None` when it cannot be read: then everything in the directory is read anew.
    pub(super) fn read(run: &Run<'_>, tree: BlobId) -> Option<Self> {
        // One that the index lacks will be stored anew, and the store is whole again.
        let place = run.engine.known.tree(&tree)?;
        let json = run.engine.trees.read(place, &run.engine.sealer);
        match json.and_then(|json| parent::parse(&json)) {
            Ok(entries) => Some(Self { saved: Saved { tree, entries: entries.len() }, entries, next: 0 }),
            Err(error) => {
                // The index has it, so it is not stored again: the new point shares the damage.
                let error = format!("{error:#}; the new point shares what is damaged, see `holdall verify`");
                let path = run.engine.repository.clone().into();
                run.problems.add(Problem { path, error, severity: Severity::Unread });
                None
            }
        }
    }

    /// The saved entry of this name.
    pub(super) fn find(&mut self, name: &[u8]) -> Option<&Known> {
        let is_next = self.entries.get(self.next).is_some_and(|entry| entry.name() == name);
        if !is_next {
            self.next = self.entries.partition_point(|entry| entry.name() < name);
        }
        let found = self.entries.get(self.next).filter(|entry| entry.name() == name)?;
        self.next += 1;
        Some(found)
    }
}

/// The blobs of a file that need not be read again: as it was saved, and all of it is in the store.
pub(super) fn reusable<'k>(run: &Run<'_>, known: Option<&'k Known>, node: &Node) -> Option<&'k [BlobId]> {
    let known = known.filter(|known| known.is_same_file(node))?;
    let blobs = known.content();
    blobs.iter().all(|blob| run.engine.known.has(BlobType::Data, blob)).then_some(blobs)
}
