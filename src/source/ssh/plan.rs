//! What has to travel: the listing, compared with the point before.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::listing::{Listing, Row, Steps};
use super::node::{Extra, extra_of, is_same};
use super::tree::Shared;
use crate::store::SavedTree;
use crate::store::format::BlobId;

/// What a machine has, and which of it is as it was saved.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) listing: Listing,
    /// By row: it is as it was saved, and need not travel.
    same: Vec<bool>,
    /// Of those, what the listing does not tell; most have nothing.
    extras: HashMap<Row, Extra>,
    /// Of files that are as they were saved, what they hold; only when it was asked for.
    blobs: HashMap<Row, Vec<BlobId>>,
}

/// What entries have of which nothing more is known.
static NOTHING: Extra = Extra { xattrs: Vec::new(), device: 0 };

impl Plan {
    /// Compares a listing with the point before; without one everything travels. With `keeps_blobs` it keeps what is stored of files that are the same:
    /// for whoever saves on the basis of another point.
    pub(super) fn new(listing: Listing, previous: Option<&SavedTree>, keeps_blobs: bool) -> Self {
        let (extras, blobs) = Default::default();
        let mut plan = Self { same: vec![false; listing.len()], extras, blobs, listing };
        if let Some(previous) = previous {
            plan.compare(previous, keeps_blobs);
        }
        plan
    }

    fn compare(&mut self, previous: &SavedTree, keeps_blobs: bool) {
        let mut directories: Vec<(Row, BlobId)> = previous.root_tree().map(|tree| (0, tree)).into_iter().collect();
        while let Some((row, tree)) = directories.pop() {
            // What cannot be read is told by whoever saves. Here it means that everything travels again.
            let Ok(saved) = previous.known(&tree) else { continue };
            let mut saved = saved.into_iter().peekable();
            let listing = &self.listing;
            for &child in listing.children(row) {
                let name = listing.name(child);
                while saved.next_if(|known| known.name() < name).is_some() {}
                let Some(known) = saved.next_if(|known| known.name() == name) else { continue };
                let stat = listing.stat(child);
                let extra = extra_of(&known);
                if is_same(&known, name, stat, listing.target(child), &extra) {
                    self.same[child as usize] = true;
                    if extra != NOTHING {
                        self.extras.insert(child, extra);
                    }
                    if keeps_blobs && stat.is_file() {
                        self.blobs.insert(child, known.content().unwrap_or_default().to_vec());
                    }
                }
                if let Some(tree) = known.subtree().filter(|_| stat.is_dir() && known.is_dir()) {
                    directories.push((child, tree));
                }
            }
        }
    }

    /// Says which device an entry is, when the listing told it.
    pub(super) fn set_device(&mut self, path: &Path, device: u64) {
        if let Some(row) = self.listing.find(path) {
            self.extras.entry(row).or_default().device = device;
        }
    }

    /// Whether an entry is as it was saved.
    pub(super) fn is_same(&self, row: Row) -> bool {
        self.same[row as usize]
    }

    /// Whether an entry is given without being asked for.
    pub(super) fn need_not_travel(&self, row: Row) -> bool {
        self.is_same(row) || self.listing.is_above(row)
    }

    /// What is known of an entry that is as it was saved, beyond the listing.
    pub(super) fn extra(&self, row: Row) -> &Extra {
        self.extras.get(&row).unwrap_or(&NOTHING)
    }

    /// What is stored of a file that is as it was saved.
    pub(super) fn blobs(&self, row: Row) -> Option<&[BlobId]> {
        self.blobs.get(&row).map(Vec::as_slice)
    }
}

/// The names of what has to travel, in the order of a tree, each with a NUL behind it.
pub(super) struct Names {
    shared: Arc<Shared>,
    steps: Steps,
    /// What of the last name was not given yet.
    rest: Vec<u8>,
    given: usize,
}

impl Names {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { steps: shared.plan.listing.steps(), shared, rest: Vec::new(), given: 0 }
    }
}

impl Read for Names {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            if self.given == self.rest.len() {
                let Some(row) = self.steps.next(&self.shared.plan.listing) else { break };
                if self.shared.plan.need_not_travel(row) || self.shared.dumps.contains_key(&row) {
                    continue;
                }
                self.rest.clear();
                self.rest.extend_from_slice(self.steps.path());
                self.rest.push(0);
                self.given = 0;
            }
            let count = (buffer.len() - filled).min(self.rest.len() - self.given);
            buffer[filled..filled + count].copy_from_slice(&self.rest[self.given..self.given + count]);
            filled += count;
            self.given += count;
        }
        Ok(filled)
    }
}
