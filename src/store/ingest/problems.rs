//! What went wrong with the source while it was read.
//!
//! A snapshot that misses files must not look like one that has them. So every error (listing, opening, reading) is counted here;
//! what follows from the count is decided in [`crate::store::save`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::source::{Problem, Severity};

/// How many problems of each severity are kept by name; the rest are only counted, so that a source in which nothing can be
/// read does not fill the memory.
const KEPT: usize = 1000;

/// Problems, and how many.
#[derive(Debug, Default)]
pub(in crate::store) struct Problems {
    kept: Mutex<Vec<Problem>>,
    warnings: AtomicU64,
    unread: AtomicU64,
}

impl Problems {
    /// Remembers a problem.
    pub(in crate::store) fn add(&self, problem: Problem) {
        let counter = match problem.severity {
            Severity::Warning => &self.warnings,
            Severity::Unread => &self.unread,
        };
        if counter.fetch_add(1, Ordering::Relaxed) < KEPT as u64 {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(problem);
        }
    }

    /// The problems that were kept.
    pub(in crate::store) fn kept(&self) -> Vec<Problem> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many problems there were in all.
    pub(in crate::store) fn count(&self) -> u64 {
        self.warnings.load(Ordering::Relaxed) + self.unread.load(Ordering::Relaxed)
    }

    /// Whether something of the source is missing.
    pub(in crate::store) fn is_incomplete(&self) -> bool {
        self.unread.load(Ordering::Relaxed) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_problems_is_counted_but_not_kept() {
        let problems = Problems::default();
        for _ in 0..KEPT + 5 {
            problems.add(Problem { path: "/x".into(), error: "no".into(), severity: Severity::Warning });
        }
        assert_eq!((problems.kept().len(), problems.count()), (KEPT, KEPT as u64 + 5));
        problems.add(Problem { path: "/y".into(), error: "no".into(), severity: Severity::Unread });
        assert!(problems.is_incomplete());
        assert_eq!(problems.kept().len(), KEPT + 1);
    }
}
