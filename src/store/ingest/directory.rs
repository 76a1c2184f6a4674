//! Directories whose content is not all known yet.
//!
//! A directory is complete when the source has named everything in it and each of these things is complete; whoever sees the last of it become so writes
//! its tree and tells the directory above. So trees are built from the bottom, by whichever thread is there, and only the directories on the way to
//! something unfinished are held in memory. A directory in which everything equals the saved one is not written at all: its tree is there.

use std::ffi::OsString;
use std::mem;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use rustic_core::repofile::BlobType;

use super::Run;
use super::packer::Packer;
use super::tally::Change;
use crate::source::{Problem, Severity};
use crate::store::Node;
use crate::store::format::{BlobId, tree};

/// A directory that is not complete.
pub(super) struct Directory {
    /// Where its tree is to go; `None` for the root.
    above: Option<Slot>,
    name: Box<[u8]>,
    /// The tree of the directory in the point before.
    saved: Option<BlobId>,
    /// How many of its children are not complete, and one more as long as there may be further children.
    open: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    children: Vec<Child>,
    /// Whether all children so far are as they were saved.
    is_same: bool,
    is_sorted: bool,
}

struct Child {
    node: Node,
    payload: Payload,
}

/// What a child has beside its metadata.
pub(super) enum Payload {
    /// Nothing: a link, a device.
    None,
    /// Not known yet.
    Pending,
    /// A file's content, and its size in bytes.
    Content(Vec<BlobId>, u64),
    /// A directory's tree; and whether it is the saved one.
    Subtree(BlobId, bool),
    /// It could not be read, and will not be in the point.
    Gone,
}

/// The place of a child in its directory.
#[derive(Clone)]
pub(super) struct Slot {
    directory: Arc<Directory>,
    number: usize,
}

impl Directory {
    pub(super) fn new(above: Option<Slot>, name: &[u8], saved: Option<BlobId>) -> Arc<Self> {
        let state = State { children: Vec::new(), is_same: true, is_sorted: true };
        Arc::new(Self { above, name: name.into(), saved, open: AtomicUsize::new(1), state: Mutex::new(state) })
    }

    /// Adds a child. `is_same`: it is as it was saved, as far as that is known now. `is_next`: its name comes behind all names before.
    pub(super) fn add(self: &Arc<Self>, node: Node, payload: Payload, is_same: bool, is_next: bool) -> Slot {
        if matches!(payload, Payload::Pending) {
            self.open.fetch_add(1, Ordering::Relaxed);
        }
        let mut state = self.lock();
        state.is_same &= is_same;
        state.is_sorted &= is_next;
        state.children.push(Child { node, payload });
        Slot { directory: Arc::clone(self), number: state.children.len() - 1 }
    }

    /// Says that no further child will come. `is_all_same`: there were those that are saved, and no others.
    pub(super) fn close(self: Arc<Self>, is_all_same: bool, run: &Run<'_>, packer: &mut Packer) -> Result<()> {
        self.lock().is_same &= is_all_same;
        self.release(run, packer)
    }

    /// Counts one open thing less; if it was the last, writes the tree and goes on with the directory above.
    fn release(self: Arc<Self>, run: &Run<'_>, packer: &mut Packer) -> Result<()> {
        let mut directory = self;
        while directory.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            let tree = directory.store(run, packer)?;
            let Some(above) = directory.above.clone() else {
                // There is one root, and it becomes complete once.
                let _ = run.root.set(tree);
                return Ok(());
            };
            let is_same = directory.saved == Some(tree);
            above.put(Payload::Subtree(tree, is_same));
            directory = above.directory;
        }
        Ok(())
    }

    /// Stores the tree of a complete directory.
    fn store(&self, run: &Run<'_>, packer: &mut Packer) -> Result<BlobId> {
        let mut state = self.lock();
        let mut children = mem::take(&mut state.children);
        if let Some(saved) = self.saved
            && state.is_same
        {
            run.tally.count_directory(Change::Unmodified);
            return Ok(saved);
        }
        children.retain(|child| !matches!(child.payload, Payload::Gone));
        if !state.is_sorted {
            self.sort(&mut children, run);
        }
        let mut json = Vec::with_capacity(children.len() * 512);
        tree::begin(&mut json);
        for (number, Child { node, payload }) in children.iter().enumerate() {
            let payload = match payload {
                Payload::Content(blobs, _) => tree::Payload::Content(blobs),
                Payload::Subtree(id, _) => tree::Payload::Subtree(*id),
                Payload::None | Payload::Pending | Payload::Gone => tree::Payload::None,
            };
            tree::node(&mut json, node, &payload, number == 0);
        }
        tree::end(&mut json);
        let tree = packer.store(run, BlobType::Tree, &json)?;
        let change = match self.saved {
            None => Change::New,
            Some(saved) if saved == tree => Change::Unmodified,
            Some(_) => Change::Changed,
        };
        run.tally.count_directory(change);
        Ok(tree)
    }

    /// Puts the children into the order in which a tree must have them; a name can be there only once.
    fn sort(&self, children: &mut Vec<Child>, run: &Run<'_>) {
        children.sort_by(|a, b| a.node.name().cmp(&b.node.name()));
        children.dedup_by(|again, first| {
            let is_twice = again.node.name() == first.node.name();
            if is_twice {
                let error = "the source gave two things of this name; the first one is saved".to_owned();
                let path = self.path_of(again.node.name().as_bytes());
                run.problems.add(Problem { path, error, severity: Severity::Unread });
            }
            is_twice
        });
    }

    /// The path of what has this name in the directory.
    fn path_of(&self, name: &[u8]) -> PathBuf {
        let mut names = vec![name];
        let mut directory = self;
        while let Some(slot) = &directory.above {
            names.push(&directory.name);
            directory = &slot.directory;
        }
        let path = names.into_iter().rev().flat_map(|name| [b"/", name].concat()).collect();
        PathBuf::from(OsString::from_vec(path))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Each directory holds the one above: a long chain of them that goes at once, after a failure, would need a deep stack.
        let mut above = self.above.take();
        while let Some(mut directory) = above.and_then(|slot| Arc::into_inner(slot.directory)) {
            above = directory.above.take();
        }
    }
}

impl Slot {
    /// Completes the child: this is what it has.
    pub(super) fn settle(self, payload: Payload, run: &Run<'_>, packer: &mut Packer) -> Result<()> {
        self.put(payload);
        self.directory.release(run, packer)
    }

    fn put(&self, payload: Payload) {
        let mut state = self.directory.lock();
        state.is_same &= matches!(payload, Payload::Subtree(_, true));
        let child = &mut state.children[self.number];
        if let Payload::Content(_, size) = payload {
            child.node.meta.size = size;
        }
        child.payload = payload;
    }
}
