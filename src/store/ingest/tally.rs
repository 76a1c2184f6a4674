//! What a run counts; every thread adds to it.

use std::sync::atomic::{AtomicU64, Ordering};

use rustic_core::repofile::{BlobType, SnapshotSummary};

use super::known::number;

/// How something compares with the point before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    New,
    Changed,
    Unmodified,
}

/// The counters. Bytes are bytes; everything else is a number of things.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// By [`Change`].
    files: [AtomicU64; 3],
    directories: [AtomicU64; 3],
    bytes: AtomicU64,
    /// New blobs by kind, their content, and what they take in packs.
    blobs: [AtomicU64; 2],
    added: [AtomicU64; 2],
    packed: [AtomicU64; 2],
}

impl Tally {
    /// Counts a file, link or device that is in the point, with the size of its content.
    pub(super) fn count_file(&self, change: Change, bytes: u64) {
        add(&self.files[change as usize], 1);
        add(&self.bytes, bytes);
    }

    pub(super) fn count_directory(&self, change: Change) {
        add(&self.directories[change as usize], 1);
    }

    /// Counts a blob that the store did not have.
    pub(super) fn count_blob(&self, kind: BlobType, plain: u64, stored: u64) {
        add(&self.blobs[number(kind)], 1);
        add(&self.added[number(kind)], plain);
        add(&self.packed[number(kind)], stored);
    }

    /// Adds the blobs that were counted elsewhere, and not the files.
    pub(super) fn add_blobs_of(&self, other: &Self) {
        let pairs = [(&self.blobs, &other.blobs), (&self.added, &other.added), (&self.packed, &other.packed)];
        for (own, others) in pairs {
            own.iter().zip(others).for_each(|(own, other)| add(own, get(other)));
        }
    }

    /// Writes the counts into a snapshot's summary.
    pub(super) fn fill(&self, summary: &mut SnapshotSummary) {
        let [new, changed, unmodified] = self.files.each_ref().map(get);
        (summary.files_new, summary.files_changed, summary.files_unmodified) = (new, changed, unmodified);
        summary.total_files_processed = new + changed + unmodified;
        let [new, changed, unmodified] = self.directories.each_ref().map(get);
        (summary.dirs_new, summary.dirs_changed, summary.dirs_unmodified) = (new, changed, unmodified);
        summary.total_dirs_processed = new + changed + unmodified;
        summary.total_bytes_processed = get(&self.bytes);
        [summary.data_blobs, summary.tree_blobs] = self.blobs.each_ref().map(get);
        [summary.data_added_files, summary.data_added_trees] = self.added.each_ref().map(get);
        [summary.data_added_files_packed, summary.data_added_trees_packed] = self.packed.each_ref().map(get);
        summary.data_added = summary.data_added_files + summary.data_added_trees;
        summary.data_added_packed = summary.data_added_files_packed + summary.data_added_trees_packed;
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
