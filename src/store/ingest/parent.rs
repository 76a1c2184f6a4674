//! The point before: what an entry is compared with.

use anyhow::Error;
use rustic_core::repofile::BlobType;

use super::Run;
use crate::source::{Problem, Severity};
use crate::store::Node;
use crate::store::format::BlobId;
use crate::store::format::cursor::{Cursor, Held};
use crate::store::format::parent::{self, Known};

/// A saved directory, while the same directory of the source is listed.
pub(super) struct SavedDirectory {
    pub(super) tree: BlobId,
    entries: Entries,
}

enum Entries {
    /// As long as all entries were as they are saved.
    Same(Cursor),
    /// From the first one on that was not; and which entry is expected next.
    Read(Vec<Known>, usize),
}

impl SavedDirectory {
    /// Reads a saved tree. `None` when it cannot be read: then everything in the directory is read anew.
    pub(super) fn read(run: &Run<'_>, tree: BlobId) -> Option<Self> {
        // One that the index lacks will be stored anew, and the store is whole again.
        let place = run.engine.known.tree(&tree)?;
        match run.engine.trees.read(&run.engine.files, place, &run.engine.sealer) {
            Ok(json) => {
                let entries = match Cursor::new(json) {
                    Ok(cursor) => Entries::Same(cursor),
                    Err(json) => read(run, &json),
                };
                Some(Self { tree, entries })
            }
            Err(error) => {
                tell(run, &error);
                None
            }
        }
    }

    /// What the next entry held when it was saved, if it is this one and nothing of it has changed, and all before it were so too.
    pub(super) fn next_if_same(&mut self, node: &Node) -> Option<Held> {
        match &mut self.entries {
            Entries::Same(cursor) => cursor.next_if_same(node),
            Entries::Read(..) => None,
        }
    }

    /// The saved entry of this name.
    pub(super) fn find(&mut self, run: &Run<'_>, name: &[u8]) -> Option<&Known> {
        if let Entries::Same(cursor) = &mut self.entries {
            let json = cursor.take_json();
            self.entries = read(run, &json);
        }
        let Entries::Read(entries, next) = &mut self.entries else { return None };
        let is_next = entries.get(*next).is_some_and(|entry| entry.name() == name);
        if !is_next {
            *next = entries.partition_point(|entry| entry.name() < name);
        }
        let found = entries.get(*next).filter(|entry| entry.name() == name)?;
        *next += 1;
        Some(found)
    }

    /// Whether all saved entries were there, and none was another.
    pub(super) fn is_all_same(&self) -> bool {
        matches!(&self.entries, Entries::Same(cursor) if cursor.is_at_end())
    }
}

fn read(run: &Run<'_>, json: &[u8]) -> Entries {
    let entries = parent::parse(json).unwrap_or_else(|error| {
        tell(run, &error);
        Vec::new()
    });
    Entries::Read(entries, 0)
}

/// Says that a saved tree cannot be read. The index has it, so it is not stored again when it is made again: the new point shares the damage.
fn tell(run: &Run<'_>, error: &Error) {
    let error = format!("{error:#}; the new point shares what is damaged, see `holdall verify`");
    let path = run.engine.repository.clone().into();
    run.problems.add(Problem { path, error, severity: Severity::Unread });
}

/// Whether a file that has not changed need not be read again, because all its blobs are in the store. A file with a size but no blobs was
/// damaged, and without a modification time nothing is known.
pub(super) fn is_reusable(run: &Run<'_>, blobs: &[BlobId], node: &Node) -> bool {
    node.meta.mtime.is_some()
        && (node.meta.size == 0 || !blobs.is_empty())
        && blobs.iter().all(|blob| run.engine.known.has(BlobType::Data, blob))
}
