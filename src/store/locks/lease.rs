//! What a lock is held for: the right to write, which every write and removal asks for ([`crate::store::gate`]).

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::keeper::Keeper;

/// The right to write, which goes with a lock.
#[derive(Default)]
pub(in crate::store) struct Lease {
    keeper: Mutex<Option<Arc<Keeper>>>,
}

impl Lease {
    /// From now on the right to write depends on this lock.
    pub(super) fn begin(&self, keeper: Arc<Keeper>) {
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper);
    }

    /// It depends on nothing any more.
    pub(super) fn end(&self) {
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Says why nothing may be written, if that is so.
    pub(in crate::store) fn check(&self) -> Result<(), String> {
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).clone();
        keeper.map_or(Ok(()), |keeper| keeper.check())
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").finish_non_exhaustive()
    }
}
