//! How long work tells that it goes on, without knowing who watches.
//!
//! Drivers and the store report to a [`Monitor`]; what is shown is decided in [`crate::ui`]. Nothing here prints.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What the numbers of a [`Task`] count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of content.
    Bytes,
    /// Things: packs, snapshots, files.
    Count,
    /// Nothing countable; only that it takes a while.
    None,
}

/// Somebody who watches the run.
pub trait Monitor: Debug + Send + Sync {
    /// A piece of work begins: `start("files.host", "save", Unit::Bytes)`.
    fn start(&self, subject: &str, action: &str, unit: Unit) -> Arc<dyn Task>;

    /// Whether somebody sees how far the work is, so that finding out the total is worth a walk through the source.
    fn is_watched(&self) -> bool;

    /// One line for people, at normal verbosity, printed without tearing a progress bar.
    fn say(&self, line: &str);
}

/// A piece of work under way. Every method may be called from any thread.
pub trait Task: Debug + Send + Sync {
    /// The total is known, or known better.
    fn expect(&self, total: u64);

    /// So many more units are done.
    fn advance(&self, amount: u64);

    /// So many more files are done; shown beside bytes.
    fn advance_files(&self, files: u64);

    /// The work is over; called once.
    fn finish(&self);
}

/// Watches without a sound.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Monitor for Silent {
    fn start(&self, _subject: &str, _action: &str, _unit: Unit) -> Arc<dyn Task> {
        Arc::new(Silent)
    }

    fn is_watched(&self) -> bool {
        false
    }

    fn say(&self, _line: &str) {}
}

impl Task for Silent {
    fn expect(&self, _total: u64) {}
    fn advance(&self, _amount: u64) {}
    fn advance_files(&self, _files: u64) {}
    fn finish(&self) {}
}

/// Remembers what it was told; for tests.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    log: Arc<Mutex<Vec<String>>>,
    amount: Arc<AtomicU64>,
}

impl Recording {
    /// Everything that was said and started, in order.
    pub fn lines(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The sum of all units that all tasks advanced by.
    pub fn amount(&self) -> u64 {
        self.amount.load(Ordering::Relaxed)
    }

    fn push(&self, line: String) {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

impl Monitor for Recording {
    fn start(&self, subject: &str, action: &str, _unit: Unit) -> Arc<dyn Task> {
        self.push(format!("{subject}: {action}"));
        Arc::new(self.clone())
    }

    fn is_watched(&self) -> bool {
        true
    }

    fn say(&self, line: &str) {
        self.push(line.to_owned());
    }
}

impl Task for Recording {
    fn expect(&self, _total: u64) {}
    fn advance(&self, amount: u64) {
        self.amount.fetch_add(amount, Ordering::Relaxed);
    }
    fn advance_files(&self, _files: u64) {}
    fn finish(&self) {}
}
