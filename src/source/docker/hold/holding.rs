//! What a tree holds until it is read, and what is told of it afterwards.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Error, Result, anyhow};

use super::Held;
use crate::error::{Annotate, chain, hints};
use crate::monitor::{Monitor, Silent};

/// What did not come back: collected while items are read, told when the source is closed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Failures(Arc<Mutex<Vec<Error>>>);

impl Failures {
    /// Collects errors.
    pub(crate) fn add(&self, errors: Vec<Error>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(errors);
    }

    /// All that was collected, as one error.
    pub(crate) fn tell(&self) -> Result<()> {
        let mut errors = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if errors.len() < 2 {
            return errors.pop().map_or(Ok(()), Err);
        }
        let texts: Vec<String> = errors.iter().map(chain).collect();
        let mut hints: Vec<&str> = errors.iter().flat_map(hints).collect();
        hints.dedup();
        Err(anyhow!("{}", texts.join("; "))).hint(hints.join(" "))
    }
}

/// What is held for a tree. Dropping it lets go, too.
#[derive(Debug, Default)]
pub(crate) struct Holding {
    held: Mutex<Option<Held>>,
    failures: Failures,
}

impl Holding {
    /// Who does not come back is told to `failures`.
    pub(crate) fn new(held: Held, failures: &Failures) -> Self {
        Self { held: Mutex::new(Some(held)), failures: failures.clone() }
    }

    /// Lets go, at the first call.
    pub(crate) fn let_go(&self, monitor: &dyn Monitor) {
        // Nobody holds this lock while it takes its time.
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.failures.add(held.map_or_else(Vec::new, |held| held.let_go(monitor)));
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.let_go(&Silent);
    }
}
