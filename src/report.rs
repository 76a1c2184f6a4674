//! What came of a run: one outcome an item, and what follows for the exit code and the monitor.
//!
//! How it is written (text, JSON, the body of a ping) is decided in [`text`] and [`json`].

use std::time::Duration;

use anyhow::Error;
use chrono::{DateTime, Utc};

use crate::error::ExitCode;
use crate::source::{Problem, Severity};

pub mod file;
pub mod json;
pub mod mirror;
pub mod text;

use mirror::MirrorReport;

/// What came of one item.
#[derive(Debug)]
pub enum Outcome {
    /// A point was made with everything in it. `Saved::problems` may hold warnings.
    Saved(Saved),
    /// A point was made, but some of the source is not in it.
    Incomplete(Saved),
    /// Not there to be backed up, which is no fault. Says why.
    Away(String),
    /// Its newest point is younger than `every`; nothing was done. Says when it is due.
    NotDue {
        /// When the newest point was made.
        newest: DateTime<Utc>,
        /// When the next one is due.
        due: DateTime<Utc>,
    },
    /// No point was made.
    Failed(Error),
}

/// A point that was made, and what it took.
#[derive(Debug, Clone, Default)]
pub struct Saved {
    /// Snapshot id in full; empty in a dry run.
    pub snapshot: String,
    /// When the point was made.
    pub time: DateTime<Utc>,
    /// Files that the previous point does not have.
    pub files_new: u64,
    /// Files that differ from the previous point.
    pub files_changed: u64,
    /// Files as in the previous point, not read again.
    pub files_unmodified: u64,
    /// Sum of the sizes of all files in the point.
    pub bytes_processed: u64,
    /// Bytes that the store did not have yet, before compression.
    pub bytes_added: u64,
    /// Bytes by which the store grew.
    pub bytes_stored: u64,
    /// What was not read, and warnings; the first of each kind up to a bound, see [`crate::store`].
    pub problems: Vec<Problem>,
    /// How many problems there were in all.
    pub problem_count: u64,
    /// What servers did among themselves; then the numbers above are those of the store, if it was saved there, too.
    pub copied: Option<Copied>,
}

/// What came of a copy from one server to another one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Whether there is another server; else there is only a snapshot on the first one.
    pub to_target: bool,
    /// Whether there was no replica before.
    pub is_first: bool,
    /// What went over in bytes, as far as the servers told: of a short copy they tell nothing.
    pub bytes: u64,
    /// Whether it was saved into the store as well.
    pub exported: bool,
}

impl Saved {
    /// The problems, what was not read before mere warnings.
    pub fn foremost_problems(&self) -> impl Iterator<Item = &Problem> {
        let of = |severity| self.problems.iter().filter(move |problem| problem.severity == severity);
        of(Severity::Unread).chain(of(Severity::Warning))
    }

    /// The outcome of a point with these problems.
    pub fn into_outcome(self) -> Outcome {
        if self.problems.iter().any(|problem| problem.severity == Severity::Unread) {
            Outcome::Incomplete(self)
        } else {
            Outcome::Saved(self)
        }
    }
}

/// One item's line in the report.
#[derive(Debug)]
pub struct ItemReport {
    /// `files.host`
    pub item: String,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it took.
    pub elapsed: Duration,
}

/// How the whole run went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Everything that was due is saved, or there was nothing to do.
    Ok,
    /// Saved, but not all of it.
    Incomplete,
    /// Something failed.
    Failed,
}

impl Verdict {
    /// `ok`, `incomplete` or `failed`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
        }
    }

    /// The verdict that this word stands for.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Ok, Self::Incomplete, Self::Failed].into_iter().find(|verdict| verdict.word() == word)
    }
}

/// Everything that came of one run.
#[derive(Debug, Default)]
pub struct Report {
    /// One line an item, in the order of the run.
    pub items: Vec<ItemReport>,
    /// One line a mirror that was to be caught up.
    pub mirrors: Vec<MirrorReport>,
    /// What failed beside the items: mirrors, pruning, letting go of a lock.
    pub errors: Vec<Error>,
    /// How long the run took.
    pub elapsed: Duration,
}

/// How many items had which outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Points made, complete.
    pub saved: u64,
    /// Points made, incomplete.
    pub incomplete: u64,
    /// Sources that were not there.
    pub away: u64,
    /// Items whose newest point is young enough.
    pub not_due: u64,
    /// Items that failed.
    pub failed: u64,
}

impl Report {
    /// How many items had which outcome.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for item in &self.items {
            match item.outcome {
                Outcome::Saved(_) => counts.saved += 1,
                Outcome::Incomplete(_) => counts.incomplete += 1,
                Outcome::Away(_) => counts.away += 1,
                Outcome::NotDue { .. } => counts.not_due += 1,
                Outcome::Failed(_) => counts.failed += 1,
            }
        }
        counts
    }

    /// The worst that happened: failed > incomplete > ok.
    pub fn verdict(&self) -> Verdict {
        let counts = self.counts();
        if counts.failed > 0 || !self.errors.is_empty() {
            Verdict::Failed
        } else if counts.incomplete > 0 {
            Verdict::Incomplete
        } else {
            Verdict::Ok
        }
    }

    /// The exit code of the run.
    pub fn exit_code(&self) -> ExitCode {
        match self.verdict() {
            Verdict::Ok => ExitCode::Done,
            Verdict::Incomplete => ExitCode::Incomplete,
            Verdict::Failed => ExitCode::Failed,
        }
    }

    /// Whether the run found nothing to do: no item was due or there.
    pub fn nothing_was_due(&self) -> bool {
        let counts = self.counts();
        self.errors.is_empty() && counts.saved + counts.incomplete + counts.failed == 0
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use anyhow::anyhow;

    use super::*;

    fn report(outcomes: Vec<Outcome>) -> Report {
        let item = |outcome| ItemReport { item: "files.host".into(), outcome, elapsed: Duration::ZERO };
        Report { items: outcomes.into_iter().map(item).collect(), ..Report::default() }
    }

    fn saved(severities: &[Severity]) -> Saved {
        let problem = |&severity| Problem { path: PathBuf::from("/a"), error: "gone".into(), severity };
        Saved { problems: severities.iter().map(problem).collect(), ..Saved::default() }
    }

    #[test]
    fn worst_outcome_decides_the_exit_code() {
        let incomplete = || Outcome::Incomplete(saved(&[]));
        let failed = || Outcome::Failed(anyhow!("x"));
        assert_eq!(report(vec![Outcome::Saved(saved(&[])), Outcome::Away("x".into())]).exit_code(), ExitCode::Done);
        assert_eq!(report(vec![incomplete(), Outcome::Saved(saved(&[]))]).exit_code(), ExitCode::Incomplete);
        assert_eq!(report(vec![incomplete(), failed(), incomplete()]).exit_code(), ExitCode::Failed);
    }

    #[test]
    fn error_beside_the_items_fails_the_run() {
        let mut report = report(vec![Outcome::Saved(saved(&[]))]);
        report.errors.push(anyhow!("prune"));
        assert_eq!(report.exit_code(), ExitCode::Failed);
    }

    #[test]
    fn only_what_was_not_read_makes_a_point_incomplete() {
        assert!(matches!(saved(&[Severity::Warning]).into_outcome(), Outcome::Saved(_)));
        assert!(matches!(saved(&[Severity::Warning, Severity::Unread]).into_outcome(), Outcome::Incomplete(_)));
    }

    #[test]
    fn run_that_only_found_sources_away_or_not_due_had_nothing_to_do() {
        let newest = DateTime::default();
        let idle = || vec![Outcome::Away("x".into()), Outcome::NotDue { newest, due: newest }];
        assert!(report(idle()).nothing_was_due());
        let mut with_error = report(idle());
        with_error.errors.push(anyhow!("prune"));
        assert!(!with_error.nothing_was_due());
        assert!(!report(vec![Outcome::Saved(saved(&[]))]).nothing_was_due());
    }
}
