//! Takes blobs in that another repository has: no source, no cutting; they come as they were cut there.
//!
//! The packs are filled, sent and indexed as those of a source are, so that a copy that is killed has lost no more than a minute or two of its work.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::Result;
use rustic_core::repofile::{BlobType, SnapshotSummary};

use super::packer::Packer;
use super::{Engine, Run};
use crate::monitor::Silent;
use crate::store::format::BlobId;

/// Gives the blobs of the span of this number: each to a function that stores it and says which blob it was.
pub(in crate::store) type Give<'g> = dyn Fn(usize, &mut dyn FnMut(&[u8]) -> Result<BlobId>) -> Result<()> + Sync + 'g;

impl Engine {
    /// Whether the store lacks a blob, and nothing that is under way brings it.
    pub(in crate::store) fn lacks(&self, kind: BlobType, id: &BlobId) -> bool {
        !self.known.has(kind, id)
    }

    /// Takes the blobs of so many spans in, several spans at a time; how many bytes they take in packs. After an error the engine must not be used again.
    ///
    /// # Errors
    ///
    /// When the store fails, and what `give` cannot bear.
    pub(in crate::store) fn take_over(&self, kind: BlobType, spans: usize, give: &Give<'_>) -> Result<u64> {
        let (problems, failure) = Default::default();
        let run = self.begin(&problems, &Silent, &failure, None);
        run.take_over(kind, spans, give);
        let mut summary = SnapshotSummary::default();
        run.end()?.0.fill(&mut summary);
        Ok(summary.data_added_packed)
    }
}

impl Run<'_> {
    fn take_over(&self, kind: BlobType, spans: usize, give: &Give<'_>) {
        let next = AtomicUsize::new(0);
        let fill = || {
            let mut packer = Packer::new(self.engine.level)?;
            while !self.failure.happened() {
                let span = next.fetch_add(1, Ordering::Relaxed);
                if span >= spans {
                    break;
                }
                give(span, &mut |plain| packer.store(self, kind, plain))?;
            }
            Ok(packer)
        };
        thread::scope(|scope| {
            for _ in 0..self.engine.senders {
                self.spawn(scope, "send", || self.uploads.run());
            }
            let workers: Vec<_> =
                (0..self.engine.workers.min(spans)).filter_map(|_| self.spawn(scope, "copy", fill)).collect();
            let packers = workers.into_iter().filter_map(|worker| worker.join().ok().flatten()).collect();
            self.watch(|| Packer::finish_all(packers, self));
            self.uploads.close();
        });
    }
}
