//! Counts what a task is told, so that the report can say it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::monitor::Task;

/// A task that counts.
#[derive(Debug, Clone)]
pub(super) struct Counting {
    inner: Arc<dyn Task>,
    amount: Arc<AtomicU64>,
}

impl Counting {
    pub(super) fn new(inner: Arc<dyn Task>) -> Self {
        Self { inner, amount: Arc::default() }
    }

    pub(super) fn shared(&self) -> Arc<dyn Task> {
        Arc::new(self.clone())
    }

    /// What was counted.
    pub(super) fn amount(&self) -> u64 {
        self.amount.load(Ordering::Relaxed)
    }
}

impl Task for Counting {
    fn expect(&self, total: u64) {
        self.inner.expect(total);
    }

    fn advance(&self, amount: u64) {
        self.amount.fetch_add(amount, Ordering::Relaxed);
        self.inner.advance(amount);
    }

    fn advance_files(&self, files: u64) {
        self.inner.advance_files(files);
    }

    fn finish(&self) {
        self.inner.finish();
    }
}
