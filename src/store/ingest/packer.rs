//! The packs that one thread fills. Each thread has its own, so that no thread waits for another while it compresses and enciphers;
//! what is left at the end is put together.

use std::time::Duration;

use anyhow::{Context, Result};
use rustic_core::repofile::BlobType;
use zstd::bulk::Compressor;

use super::Run;
use super::known::number;
use super::pack::OpenPack;
use crate::store::format::BlobId;

/// How long a pack may stay open: what is in it is lost when the run is killed.
const MAX_AGE: Duration = Duration::from_secs(60);

/// The open packs of a thread, by kind.
pub(super) struct Packer {
    /// `None` when the repository is not compressed.
    compressor: Option<Compressor<'static>>,
    open: [Option<OpenPack>; 2],
}

impl Packer {
    pub(super) fn new(level: Option<i32>) -> Result<Self> {
        let compressor = level.map(Compressor::new).transpose().context("set up the compression")?;
        Ok(Self { compressor, open: [None, None] })
    }

    /// Sees to it that the store gets this blob, if it does not have it.
    pub(super) fn store(&mut self, run: &Run<'_>, kind: BlobType, plain: &[u8]) -> Result<BlobId> {
        let id = BlobId::of(plain);
        if !run.engine.known.claim(kind, &id) {
            return Ok(id);
        }
        let open = &mut self.open[number(kind)];
        if let Some(full) = open.take_if(|pack| !pack.is_room_for(plain.len())) {
            run.uploads.send(full.finish(kind, &run.engine.sealer)?);
        }
        let pack = match open {
            Some(pack) => pack,
            None => open.insert(run.engine.new_pack(kind)?),
        };
        let stored = pack.add(id, kind, plain, self.compressor.as_mut(), &run.engine.sealer)?;
        run.tally.count_blob(kind, plain.len() as u64, u64::from(stored));
        if (pack.is_full() || pack.begun().elapsed() > MAX_AGE)
            && let Some(full) = open.take()
        {
            run.uploads.send(full.finish(kind, &run.engine.sealer)?);
        }
        Ok(id)
    }

    /// Stores what is left in the packs of all threads, in as few packs as will do.
    pub(super) fn finish_all(packers: Vec<Self>, run: &Run<'_>) -> Result<()> {
        let mut left: [Vec<OpenPack>; 2] = Default::default();
        for packer in packers {
            for (left, open) in left.iter_mut().zip(packer.open) {
                left.extend(open);
            }
        }
        for (kind, mut packs) in [BlobType::Data, BlobType::Tree].into_iter().zip(left) {
            packs.sort_unstable_by_key(OpenPack::length);
            while let Some(mut pack) = packs.pop() {
                while !pack.is_full() && packs.first().is_some_and(|smallest| pack.has_room_for(smallest)) {
                    pack.absorb(&packs.remove(0))?;
                }
                run.uploads.send(pack.finish(kind, &run.engine.sealer)?);
            }
        }
        Ok(())
    }
}
