//! The point before: what an entry is compared with.

use anyhow::Error;
use rustic_core::repofile::BlobType;

use super::Run;
use super::known::Known as Stored;
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

/// Whether a regular file to which nothing has happened need not be read again: what it held when it was saved is known, and all of it is in the store.
///
/// Content that is `null`, or of no pieces though the file has a size, was damaged; and without a modification time nobody knows what has
/// happened.
pub(super) fn is_reusable(saved: Option<&[BlobId]>, node: &Node, stored: &Stored) -> bool {
    let is_whole = |blobs: &[BlobId]| node.meta.size == 0 || !blobs.is_empty();
    node.is_file()
        && node.meta.mtime.is_some()
        && saved.is_some_and(|blobs| is_whole(blobs) && blobs.iter().all(|blob| stored.has(BlobType::Data, blob)))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use rustic_core::jiff::Timestamp;

    use super::*;
    use crate::store::format::tree::{self, Payload};
    use crate::store::{Metadata, NodeType};

    /// Whether a file that was saved so need not be read again: found as the next entry that is the same, and found by its name.
    fn both_ways(node: &Node, payload: Payload<'_>, stored: &Stored) -> [bool; 2] {
        let mut json = Vec::new();
        tree::begin(&mut json);
        tree::node(&mut json, node, &payload, true);
        tree::end(&mut json);
        let by_name = parent::parse(&json).unwrap().remove(0);
        let next = match Cursor::new(json).unwrap().next_if_same(node).unwrap() {
            Held::Content(blobs) => Some(blobs),
            Held::Nothing | Held::Subtree(_) => None,
        };
        [is_reusable(next.as_deref(), node, stored), is_reusable(by_name.content(), node, stored)]
    }

    #[test]
    fn a_file_whose_content_or_time_is_not_known_is_read() {
        let (stored, [there, gone]) = (Stored::default(), [b"there", b"gone."].map(|bytes| BlobId::of(bytes)));
        stored.claim(BlobType::Data, &there);
        let file = |size| {
            let meta = Metadata { size, mtime: Some(Timestamp::UNIX_EPOCH), ..Metadata::default() };
            Node::new_node(OsStr::new("file"), NodeType::File, meta)
        };
        let blobs = [there, gone];
        let [empty, one, both] = [&blobs[..0], &blobs[..1], &blobs].map(Payload::Content);
        assert_eq!(both_ways(&file(5), one, &stored), [true; 2]);
        assert_eq!(both_ways(&file(10), both, &stored), [false; 2]);
        assert_eq!(both_ways(&file(5), empty, &stored), [false; 2]);
        assert_eq!(both_ways(&file(0), empty, &stored), [true; 2]);
        for size in [0, 5] {
            assert_eq!(
                both_ways(&file(size), Payload::None, &stored),
                [false; 2],
                "`restic check` calls that an error"
            );
        }
        let mut timeless = file(5);
        timeless.meta.mtime = None;
        assert_eq!(both_ways(&timeless, one, &stored), [false; 2]);
        let no_file = Node { node_type: NodeType::Fifo, ..file(5) };
        assert_eq!(both_ways(&no_file, one, &stored), [false; 2]);
    }
}
