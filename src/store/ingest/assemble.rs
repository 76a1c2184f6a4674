//! Takes the entries of a source as they come, and puts each where it belongs.
//!
//! This runs on one thread, which is also the one that asks the source: what needs no reading (unchanged files, links, directories) is done
//! here, and files to be read are lined up for the workers. An entry that the source gives is lined up before the next one is asked for,
//! so a source that is one sequential stream may wait in its iterator until the content it gave out before was read.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use rustic_core::repofile::BlobType;

use super::Run;
use super::directory::{Directory, Payload, Slot};
use super::goal::Goal;
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
    /// Whether it comes behind the name before it.
    is_next: bool,
}

impl Level {
    /// Goes on to the entry of this name.
    fn go_on(&mut self, name: &[u8]) {
        self.is_next = self.last.as_slice() < name;
        name.clone_into(&mut self.last);
    }

    /// What is saved of the entry that it went on to.
    fn find(&mut self, run: &Run<'_>) -> Option<&Known> {
        self.saved.as_mut()?.find(run, &self.last)
    }

    /// Adds that entry. `is_same`: it is as it was saved, as far as that is known now.
    fn add(&self, node: Node, payload: Payload, is_same: bool) -> Slot {
        self.directory.add(node, payload, is_same, self.is_next)
    }
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

    /// Puts an entry where it belongs.
    fn take(&mut self, entry: Entry) -> Result<()> {
        let Entry { path, node, content } = entry;
        // A driver that lets a hostile path or name through must not bring forth a tree that lies.
        let Some(split) = split(&path).filter(|&split| is_named(&node, &path.as_os_str().as_bytes()[split + 1..]))
        else {
            self.refuse(path, "its path is not one that a snapshot can hold");
            return Ok(());
        };
        tracing::debug!("{}", printable(path.as_os_str()));
        self.go_to(&path.as_os_str().as_bytes()[..split])?;
        let name = &path.as_os_str().as_bytes()[split + 1..];
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        level.go_on(name);
        let held = level.saved.as_mut().and_then(|saved| saved.next_if_same(&node));
        match held.filter(|held| self.may_keep(held, &node, content.as_ref())) {
            Some(held) => self.keep(held, node, name),
            None if node.is_dir() => self.take_directory(node, name),
            None => self.take_other(node, path, content),
        }
        Ok(())
    }

    /// Whether an entry that is the same as it was saved has what it held then.
    fn may_keep(&self, held: &Held, node: &Node, content: Option<&Content>) -> bool {
        match (held, content) {
            (Held::Subtree(_), None) => node.is_dir(),
            (Held::Nothing, None) => !node.is_dir() && !node.is_file(),
            (Held::Content(blobs), Some(Content::Read(_))) => is_reusable(Some(blobs), node, &self.run.engine.known),
            _ => false,
        }
    }

    /// Takes an entry with what it held when it was saved.
    fn keep(&mut self, held: Held, node: Node, name: &[u8]) {
        match held {
            Held::Subtree(tree) => {
                let Some(level) = self.levels.last() else { return };
                let slot = level.add(node, Payload::Pending, true);
                self.enter(Some(slot), name, Some(tree));
            }
            Held::Nothing => self.put(node, Payload::None, Change::Unmodified, true),
            Held::Content(blobs) => {
                let payload = Payload::Content(blobs, node.meta.size);
                self.put(node, payload, Change::Unmodified, true);
            }
        }
    }

    /// Takes a directory that is not the next one that was saved, or has changed.
    fn take_directory(&mut self, node: Node, name: &[u8]) {
        let Some(level) = self.levels.last_mut() else { return };
        let known = level.find(self.run);
        let is_same = known.is_some_and(|known| known.is_same_node(&node));
        let tree = known.filter(|known| known.is_dir()).and_then(Known::subtree);
        let slot = level.add(node, Payload::Pending, is_same);
        self.enter(Some(slot), name, tree);
    }

    /// Takes what is no directory: finds out what has happened to it, and lines it up when it must be read.
    fn take_other(&mut self, node: Node, path: PathBuf, content: Option<Content>) {
        let (run, size) = (self.run, node.meta.size);
        let Some(level) = self.levels.last_mut() else { return };
        let known = level.find(run);
        let is_same = known.is_some_and(|known| known.is_same_node(&node));
        let change = change(known, &node);
        match content {
            None if node.is_file() => self.put(node, Payload::Content(Vec::new(), 0), change, false),
            None => self.put(node, Payload::None, change, is_same),
            Some(Content::Stored(blobs)) => {
                if !blobs.iter().all(|blob| run.engine.known.has(BlobType::Data, blob)) {
                    return self.refuse(path, "the store lacks content that was taken for stored");
                }
                let is_same_content = known.and_then(Known::content) == Some(&*blobs);
                let change = if is_same_content { Change::Unmodified } else { change };
                self.put(node, Payload::Content(blobs, size), change, is_same && is_same_content);
            }
            Some(Content::Read(opener)) => {
                let saved = known.filter(|known| known.is_untouched(&node)).and_then(Known::content);
                if let Some(blobs) = saved.filter(|&blobs| is_reusable(Some(blobs), &node, &run.engine.known)) {
                    let payload = Payload::Content(blobs.to_vec(), size);
                    return self.put(node, payload, Change::Unmodified, is_same);
                }
                let goal = Goal::Tree(level.add(node, Payload::Pending, false));
                run.jobs.push_file(FileJob { goal, path, size: Some(size), change, opener });
            }
            Some(Content::Unsized(opener)) => {
                let goal = Goal::Tree(level.add(node, Payload::Pending, false));
                run.jobs.push_file(FileJob { goal, path, size: None, change, opener });
            }
        }
    }

    /// Leaves an entry out, and says why.
    fn refuse(&self, path: PathBuf, error: &str) {
        self.run.problems.add(Problem { path, error: error.to_owned(), severity: Severity::Unread });
    }

    /// Puts what need not be read into the directory where the source is.
    fn put(&self, mut node: Node, payload: Payload, change: Change, is_same: bool) {
        let Some(level) = self.levels.last() else { return };
        let size = if let Payload::Content(_, size) = payload { size } else { 0 };
        if node.is_file() {
            node.meta.size = size;
        }
        level.add(node, payload, is_same);
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
            level.go_on(name);
            let tree = level.find(self.run).and_then(Known::subtree);
            let slot = level.add(node, Payload::Pending, false);
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
        self.levels.push(Level { directory, length: self.here.len(), saved, last: Vec::new(), is_next: true });
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

/// What has happened to an entry that is no directory since it was saved; to a file, if it must be read.
fn change(known: Option<&Known>, node: &Node) -> Change {
    match known.filter(|known| !known.is_dir()) {
        None => Change::New,
        Some(known) if !node.is_file() && known.is_untouched(node) => Change::Unmodified,
        Some(_) => Change::Changed,
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
