//! Takes the entries of a source as they come, and puts each where it belongs.
//!
//! This runs on one thread, which is also the one that asks the source: what needs no reading (unchanged files, links, directories) is done
//! here, and files to be read are lined up for the workers. An entry that the source gives is lined up before the next one is asked for,
//! so a source that is one sequential stream may wait in its iterator until the content it gave out before was read.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use rustic_core::repofile::BlobType;

use super::Run;
use super::directory::{Directory, Payload, Slot};
use super::jobs::FileJob;
use super::packer::Packer;
use super::parent::{SavedDirectory, is_reusable};
use super::tally::Change;
use crate::output::printable;
use crate::source::{Content, Entries, Entry, Problem, Severity};
use crate::store::format::BlobId;
use crate::store::format::cursor::Held;
use crate::store::format::parent::Known;
use crate::store::{Metadata, Node, NodeType};

/// The permissions of a directory that the source did not name, as restic has it.
const UNNAMED_MODE: u32 = 1 << 31 | 0o755;

/// A directory on the way down.
struct Level {
    directory: Arc<Directory>,
    /// How many bytes its path has.
    length: usize,
    saved: Option<SavedDirectory>,
    /// The name that came last.
    last: Vec<u8>,
}

/// Where the source is.
pub(super) struct Assembler<'r> {
    run: &'r Run<'r>,
    packer: Packer,
    /// The directories from the root down to where the source is.
    levels: Vec<Level>,
    /// The path of the last of them; that of the root is empty. There is one for all: those of a deep tree would fill the memory.
    here: Vec<u8>,
}

impl<'r> Assembler<'r> {
    pub(super) fn new(run: &'r Run<'r>, parent: Option<BlobId>) -> Result<Self> {
        let packer = Packer::new(run.engine.level)?;
        let mut assembler = Self { run, packer, levels: Vec::new(), here: Vec::new() };
        assembler.enter(None, b"", parent);
        Ok(assembler)
    }

    /// Takes all entries, and gives back what is left in its packs.
    pub(super) fn run(mut self, entries: Entries) -> Result<Packer> {
        for entry in entries {
            if self.run.failure.happened() {
                break;
            }
            match entry {
                Ok(entry) => self.take(entry)?,
                Err(problem) => self.run.problems.add(problem),
            }
        }
        self.leave(0)?;
        Ok(self.packer)
    }

    fn take(&mut self, entry: Entry) -> Result<()> {
        let Entry { path, node, content } = entry;
        // A driver that lets a hostile path or name through must not bring forth a tree that lies.
        let Some(split) = split(&path).filter(|&split| is_named(&node, &path.as_os_str().as_bytes()[split + 1..]))
        else {
            let error = "its path is not one that a snapshot can hold".to_owned();
            self.run.problems.add(Problem { path, error, severity: Severity::Unread });
            return Ok(());
        };
        tracing::debug!("{}", printable(path.as_os_str()));
        self.go_to(&path.as_os_str().as_bytes()[..split])?;
        let name = &path.as_os_str().as_bytes()[split + 1..];
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        let is_next = level.last.as_slice() < name;
        level.last.clear();
        level.last.extend_from_slice(name);

        if let Some(held) = level.saved.as_mut().and_then(|saved| saved.next_if_same(&node)) {
            match (held, &content) {
                (Held::Subtree(tree), None) if node.is_dir() => {
                    let slot = level.directory.add(node, Payload::Pending, true, is_next);
                    self.enter(Some(slot), name, Some(tree));
                    return Ok(());
                }
                (Held::Nothing, None) if !node.is_dir() && !node.is_file() => {
                    self.put(node, Payload::None, Change::Unmodified, true, is_next);
                    return Ok(());
                }
                (Held::Content(blobs), Some(Content::Read(_)))
                    if is_reusable(Some(&blobs), &node, &self.run.engine.known) =>
                {
                    let size = node.meta.size;
                    self.put(node, Payload::Content(blobs, size), Change::Unmodified, true, is_next);
                    return Ok(());
                }
                _ => {}
            }
        }
        let known = level.saved.as_mut().and_then(|saved| saved.find(self.run, name));
        let is_same = known.is_some_and(|known| known.is_same_node(&node));
        if node.is_dir() {
            let tree = known.filter(|known| known.is_dir()).and_then(|known| known.subtree());
            let slot = level.directory.add(node, Payload::Pending, is_same, is_next);
            self.enter(Some(slot), name, tree);
            return Ok(());
        }
        let change = match known.filter(|known| !known.is_dir()) {
            None => Change::New,
            Some(known) if !node.is_file() && known.is_untouched(&node) => Change::Unmodified,
            Some(_) => Change::Changed,
        };
        let (payload, change, is_same) = match content {
            None if node.is_file() => (Payload::Content(Vec::new(), 0), change, false),
            None => (Payload::None, change, is_same),
            Some(Content::Stored(blobs)) => {
                if !blobs.iter().all(|blob| self.run.engine.known.has(BlobType::Data, blob)) {
                    let error = "the store lacks content that was taken for stored".to_owned();
                    self.run.problems.add(Problem { path, error, severity: Severity::Unread });
                    return Ok(());
                }
                let is_same_content = known.and_then(Known::content) == Some(&*blobs);
                let change = if is_same_content { Change::Unmodified } else { change };
                (Payload::Content(blobs, node.meta.size), change, is_same && is_same_content)
            }
            Some(Content::Read(opener)) => {
                let blobs = known.filter(|known| known.is_untouched(&node)).and_then(Known::content);
                match blobs {
                    Some(blobs) if is_reusable(Some(blobs), &node, &self.run.engine.known) => {
                        (Payload::Content(blobs.to_vec(), node.meta.size), Change::Unmodified, is_same)
                    }
                    _ => {
                        let size = node.meta.size;
                        let slot = level.directory.add(node, Payload::Pending, false, is_next);
                        self.run.jobs.push_file(FileJob { slot, path, size, change, opener });
                        return Ok(());
                    }
                }
            }
        };
        self.put(node, payload, change, is_same, is_next);
        Ok(())
    }

    /// Puts what need not be read into the directory where the source is.
    fn put(&self, mut node: Node, payload: Payload, change: Change, is_same: bool, is_next: bool) {
        let Some(level) = self.levels.last() else { return };
        let size = if let Payload::Content(_, size) = payload { size } else { 0 };
        if node.is_file() {
            node.meta.size = size;
        }
        level.directory.add(node, payload, is_same, is_next);
        self.run.tally.count_file(change, size);
        self.run.task.advance(size);
        self.run.task.advance_files(1);
    }

    /// Goes to a directory: out of those that it is not in, and into those that the source did not name.
    fn go_to(&mut self, path: &[u8]) -> Result<()> {
        let is_in = |level: &Level| {
            let rest = path.strip_prefix(&self.here[..level.length]);
            rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        };
        let depth = self.levels.iter().rposition(is_in).unwrap_or(0);
        self.leave(depth + 1)?;
        loop {
            let Some(level) = self.levels.last_mut() else { return Ok(()) };
            let rest = path[level.length..].strip_prefix(b"/").unwrap_or_default();
            let Some(name) = rest.split(|&byte| byte == b'/').next().filter(|name| !name.is_empty()) else {
                return Ok(());
            };
            let metadata = Metadata { mode: Some(UNNAMED_MODE), ..Metadata::default() };
            let node = Node::new_node(OsStr::from_bytes(name), NodeType::Dir, metadata);
            let tree =
                level.saved.as_mut().and_then(|saved| saved.find(self.run, name)).and_then(|known| known.subtree());
            let is_next = level.last.as_slice() < name;
            name.clone_into(&mut level.last);
            let slot = level.directory.add(node, Payload::Pending, false, is_next);
            self.enter(Some(slot), name, tree);
        }
    }

    /// Enters a directory of the one where the source is; without one above it, the root.
    fn enter(&mut self, above: Option<Slot>, name: &[u8], tree: Option<BlobId>) {
        if above.is_some() {
            self.here.push(b'/');
            self.here.extend_from_slice(name);
        }
        let saved = tree.and_then(|tree| SavedDirectory::read(self.run, tree));
        let directory = Directory::new(above, name, saved.as_ref().map(|saved| saved.tree));
        self.levels.push(Level { directory, length: self.here.len(), saved, last: Vec::new() });
    }

    /// Leaves directories until only so many levels are left.
    fn leave(&mut self, depth: usize) -> Result<()> {
        while self.levels.len() > depth
            && let Some(level) = self.levels.pop()
        {
            self.here.truncate(self.levels.last().map_or(0, |above| above.length));
            let is_all_same = level.saved.is_some_and(|saved| saved.is_all_same());
            level.directory.close(is_all_same, self.run, &mut self.packer)?;
        }
        Ok(())
    }
}

/// Whether the node has this name.
fn is_named(node: &Node, name: &[u8]) -> bool {
    // In the node some names are quoted with backslashes; all others can be compared as they are.
    if name.contains(&b'\\') {
        node.name().as_bytes() == name
    } else {
        node.name.as_bytes() == name || node.name().as_bytes() == name
    }
}

/// Where the last `/` of a path is, if the path is absolute, has a name, and is made of plain names only.
fn split(path: &Path) -> Option<usize> {
    let bytes = path.as_os_str().as_bytes();
    let rest = bytes.strip_prefix(b"/")?;
    let is_plain = |name: &[u8]| !name.is_empty() && name != b"." && name != b".." && !name.contains(&0);
    rest.split(|&byte| byte == b'/').all(is_plain).then(|| bytes.iter().rposition(|&byte| byte == b'/'))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_absolute_paths_pass() {
        assert_eq!(split(Path::new("/a")), Some(0));
        assert_eq!(split(Path::new("/a/b")), Some(2));
        for path in ["/", "a", "/a/../b", "../a", "", "./a", "/a/", "//a", "/a//b", "/a/./b", "/a\0b"] {
            assert_eq!(split(Path::new(path)), None, "{path:?}");
        }
    }
}
