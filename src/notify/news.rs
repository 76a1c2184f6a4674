//! What there is to tell of a run, and whether somebody wants to hear it.

use std::path::PathBuf;

use anyhow::Error;
use chrono::{DateTime, Utc};

use super::standing::{ItemStanding, Standing};
use crate::config::When;
use crate::error::{ExitCode, chain};
use crate::report::{Outcome, Report, Verdict, text};

/// What there is to tell of a run that has ended.
#[derive(Debug)]
pub struct News<'n> {
    /// How it ended.
    pub end: End<'n>,
    /// How every item stands now; `None` when the store could not be asked.
    pub standing: Option<&'n Standing>,
    /// The name of this machine.
    pub host: String,
    /// The configuration file.
    pub config: PathBuf,
    /// When it ended.
    pub time: DateTime<Utc>,
    /// How the run before ended, if that is known.
    pub previous: Option<Verdict>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy)]
pub enum End<'n> {
    /// With something to say of each item.
    Report(&'n Report),
    /// It could not begin or go on.
    Error(&'n Error, ExitCode),
    /// By a signal.
    Signal(ExitCode),
}

impl News<'_> {
    /// How the run went.
    pub fn verdict(&self) -> Verdict {
        match self.end {
            End::Report(report) => report.verdict(),
            End::Error(..) | End::Signal(_) => Verdict::Failed,
        }
    }

    /// The code the run ends with.
    pub fn exit_code(&self) -> ExitCode {
        match self.end {
            End::Report(report) => report.exit_code(),
            End::Error(_, code) | End::Signal(code) => code,
        }
    }

    /// The run in one line, as the report has it.
    pub fn summary(&self) -> String {
        match self.end {
            End::Report(report) => text::summary(report),
            End::Error(error, _) => format!("failed: {}", first_line(&chain(error))),
            End::Signal(code) => format!("failed: ended by {}", signal_name(code)),
        }
    }

    /// The items that failed, then those that are incomplete.
    pub fn failed(&self) -> Vec<&str> {
        let End::Report(report) = self.end else { return Vec::new() };
        let of = |wanted: fn(&Outcome) -> bool| {
            report.items.iter().filter(move |item| wanted(&item.outcome)).map(|item| item.item.as_str())
        };
        let failed = of(|outcome| matches!(outcome, Outcome::Failed(_)));
        failed.chain(of(|outcome| matches!(outcome, Outcome::Incomplete(_)))).collect()
    }

    /// The items that are older than they may be.
    pub fn stale(&self) -> Vec<&ItemStanding> {
        self.standing.map(|standing| standing.stale().collect()).unwrap_or_default()
    }

    /// Whether the run found nothing to do.
    pub fn is_idle(&self) -> bool {
        matches!(self.end, End::Report(report) if report.nothing_was_due())
    }

    /// Whether somebody who is told at these times is told of this run.
    ///
    /// Of a run that found another one at work nobody is told: that one tells how it ends. A run that somebody ends at the keyboard is seen by whoever does.
    pub fn is_for(&self, when: When) -> bool {
        if matches!(self.exit_code(), ExitCode::Locked | ExitCode::Interrupted) {
            return false;
        }
        match when {
            When::Always => !self.is_idle(),
            When::Failure => self.verdict() != Verdict::Ok || (!self.is_idle() && !self.stale().is_empty()),
            When::Change => self.verdict() != self.previous.unwrap_or(Verdict::Ok),
        }
    }
}

/// The signal behind an exit code.
pub fn signal_name(code: ExitCode) -> &'static str {
    if code == ExitCode::Interrupted { "SIGINT" } else { "SIGTERM or SIGHUP" }
}

/// The first line of a text.
pub fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anyhow::anyhow;

    use super::*;
    use crate::report::{ItemReport, Saved};

    fn report(outcomes: Vec<Outcome>) -> Report {
        let item = |outcome| ItemReport { item: "files.host".into(), outcome, elapsed: Duration::ZERO };
        Report { items: outcomes.into_iter().map(item).collect(), ..Report::default() }
    }

    fn news<'n>(end: End<'n>, standing: Option<&'n Standing>, previous: Option<Verdict>) -> News<'n> {
        News {
            end,
            standing,
            host: "nas".into(),
            config: "/etc/holdall/config.toml".into(),
            time: DateTime::default(),
            previous,
        }
    }

    fn told(end: End<'_>, standing: Option<&Standing>, previous: Option<Verdict>) -> [bool; 3] {
        let news = news(end, standing, previous);
        [When::Failure, When::Always, When::Change].map(|when| news.is_for(when))
    }

    fn stale() -> Standing {
        let item = ItemStanding {
            item: "ios.phone".into(),
            newest: None,
            newest_complete: None,
            max_age: Some(Duration::from_secs(1)),
            is_stale: true,
            points: 0,
            bytes: None,
        };
        Standing { items: vec![item], unknown: Vec::new() }
    }

    #[test]
    fn who_wants_failures_hears_of_them_and_of_what_is_stale() {
        let (saved, failed) =
            (report(vec![Outcome::Saved(Saved::default())]), report(vec![Outcome::Failed(anyhow!("x"))]));
        let (incomplete, idle) =
            (report(vec![Outcome::Incomplete(Saved::default())]), report(vec![Outcome::Away("x".into())]));
        assert_eq!(told(End::Report(&saved), None, None), [false, true, false]);
        assert_eq!(told(End::Report(&failed), None, None), [true, true, true]);
        assert_eq!(told(End::Report(&incomplete), None, None), [true, true, true]);
        assert_eq!(told(End::Report(&idle), None, None), [false, false, false]);
        assert_eq!(told(End::Report(&saved), Some(&stale()), None), [true, true, false]);
        assert_eq!(told(End::Report(&idle), Some(&stale()), None), [false, false, false], "a timer asks all day");
    }

    #[test]
    fn change_is_what_differs_from_the_run_before() {
        let (saved, failed) =
            (report(vec![Outcome::Saved(Saved::default())]), report(vec![Outcome::Failed(anyhow!("x"))]));
        let idle = report(vec![Outcome::Away("x".into())]);
        assert!(!told(End::Report(&failed), None, Some(Verdict::Failed))[2]);
        assert!(told(End::Report(&failed), None, Some(Verdict::Incomplete))[2]);
        assert!(told(End::Report(&saved), None, Some(Verdict::Failed))[2]);
        assert!(told(End::Report(&idle), None, Some(Verdict::Failed))[2], "that it is over");
        assert!(!told(End::Report(&saved), None, Some(Verdict::Ok))[2]);
    }

    #[test]
    fn run_that_finds_another_one_or_is_ended_at_the_keyboard_is_told_to_nobody() {
        let error = anyhow!("in use");
        assert_eq!(told(End::Error(&error, ExitCode::Locked), None, None), [false; 3]);
        assert_eq!(told(End::Signal(ExitCode::Interrupted), None, None), [false; 3]);
        assert_eq!(told(End::Signal(ExitCode::Terminated), None, None), [true; 3]);
        assert_eq!(told(End::Error(&error, ExitCode::Usage), None, None), [true; 3]);
    }
}
