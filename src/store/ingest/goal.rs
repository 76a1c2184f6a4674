//! Where the content of a file goes once it is stored: into a directory of the tree, or to whoever has brought it before it is known where it belongs.

use anyhow::Result;

use super::Run;
use super::directory::{Payload, Slot};
use super::packer::Packer;
use crate::source::Stored;

/// Where a content goes.
pub(super) enum Goal {
    /// A place in the tree.
    Tree(Slot),
    /// To whoever has brought it, under the number that it came with.
    Deposit(usize),
}

impl Goal {
    /// This is what became of the content.
    pub(super) fn settle(self, payload: Payload, run: &Run<'_>, packer: &mut Packer) -> Result<()> {
        let number = match self {
            Self::Tree(slot) => return slot.settle(payload, run, packer),
            Self::Deposit(number) => number,
        };
        if let (Some(tell), Payload::Content(blobs, size)) = (run.deposit, payload) {
            tell(number, Stored { blobs, size });
        }
        Ok(())
    }
}
