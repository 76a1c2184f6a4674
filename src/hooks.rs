//! Runs what is configured to be run on this machine: before and after a run, and before and after each source.
//!
//! A hook is a program with its arguments, never a shell. It is told what happens by `HOLDALL_*` in its environment (doc/config.md says all of them), and
//! nothing of systemd's credentials. What it writes is read as it comes, and only the last lines are kept. `after` is run whatever becomes of the work in
//! between, also when a signal ends it: see [`Around`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Error, anyhow};

use crate::error::{ExitCode, chain, exit_code, hinted};
use crate::process::{found_in_path, shell_word};
use crate::quantity::show_duration;
use crate::report::{Outcome, Report, Verdict, text};

mod around;
mod child;

pub use around::{Around, Start};

use child::Ended;

/// The code of a hook that says: not now, and that is no fault. `EX_TEMPFAIL` of sysexits.h, as in borgmatic.
const NOT_NOW: i32 = 75;

/// What a hook is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Before the work.
    Before,
    /// After it.
    After,
    /// After that, if it failed.
    OnFailure,
}

impl Event {
    /// As it stands in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
            Self::OnFailure => "on-failure",
        }
    }
}

/// What came of the work, for the hooks behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Came {
    /// `ok`, `incomplete`, `failed`, or `away` when there was nothing that could be done.
    pub outcome: &'static str,
    /// The code a run of only this would end with.
    pub exit_code: ExitCode,
    /// The items that failed, and the incomplete ones.
    pub failed: Vec<String>,
    /// In one line.
    pub summary: String,
}

impl Came {
    /// What came of a run, or of the items of one source.
    pub fn of(report: &Report) -> Self {
        let counts = report.counts();
        let is_away = report.nothing_was_due() && counts.away > 0;
        let is_bad = |outcome: &Outcome| matches!(outcome, Outcome::Failed(_) | Outcome::Incomplete(_));
        let failed = report.items.iter().filter(|item| is_bad(&item.outcome)).map(|item| item.item.clone());
        Self {
            outcome: if is_away { "away" } else { report.verdict().word() },
            exit_code: report.exit_code(),
            failed: failed.collect(),
            summary: text::summary(report),
        }
    }

    /// What came of a run that could not go on.
    pub fn of_error(error: &Error) -> Self {
        let summary = format!("failed: {}", chain(error));
        Self { outcome: Verdict::Failed.word(), exit_code: exit_code(error), failed: Vec::new(), summary }
    }

    /// The same after something behind it failed.
    fn but_failed(self) -> Self {
        Self { outcome: Verdict::Failed.word(), exit_code: ExitCode::Failed, ..self }
    }

    fn is_bad(&self) -> bool {
        self.exit_code != ExitCode::Done
    }
}

/// For what a hook is run: the source, or the whole run.
#[derive(Debug, Clone)]
pub struct Occasion {
    /// `files.host`; `None`: the whole run.
    pub source: Option<String>,
    /// The configuration file.
    pub config: PathBuf,
}

impl Occasion {
    /// `hook before of files.host`, for messages.
    fn name(&self, event: Event) -> String {
        let of = self.source.as_ref().map_or(String::new(), |source| format!(" of {source}"));
        format!("hook {}{of}", event.word())
    }

    /// What the hook finds in its environment.
    fn variables(&self, event: Event, came: Option<&Came>) -> BTreeMap<&'static str, String> {
        let mut variables = BTreeMap::from([
            ("HOLDALL_EVENT", event.word().to_owned()),
            ("HOLDALL_CONFIG", self.config.display().to_string()),
        ]);
        variables.extend(self.source.clone().map(|source| ("HOLDALL_SOURCE", source)));
        if let Some(came) = came {
            variables.insert("HOLDALL_OUTCOME", came.outcome.to_owned());
            variables.insert("HOLDALL_EXIT_CODE", (came.exit_code as u8).to_string());
            variables.insert("HOLDALL_ITEMS_FAILED", came.failed.join("\n"));
            // A zero byte cannot be in an environment.
            variables.insert("HOLDALL_SUMMARY", came.summary.replace('\0', " "));
        }
        variables
    }
}

/// A hook that was run.
#[derive(Debug)]
pub struct Ran {
    /// What it was run for.
    pub event: Event,
    /// The source, if it is one's.
    pub source: Option<String>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// The last lines that it wrote.
    pub output: Vec<String>,
    /// How long it took.
    pub elapsed: Duration,
    /// What came of it.
    pub result: Result<Answer, Error>,
}

/// What a hook says that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Done.
    Done,
    /// Before: this is not the time.
    NotNow,
}

/// Runs one hook to its end.
fn run(
    command: &[String],
    occasion: &Occasion,
    event: Event,
    came: Option<&Came>,
    limit: Duration,
    may_be_ended: bool,
) -> Ran {
    let begun = Instant::now();
    let ended = child::run(command, &occasion.variables(event, came), limit, may_be_ended);
    let (result, output) = match ended {
        Ok(Ended { status, output, in_time }) => {
            let program = command.first().map(String::as_str).unwrap_or_default();
            let result = if !in_time {
                let text = format!("{program:?} did not end within {}{}", show_duration(limit), said(&output));
                Err(hinted(anyhow!(text), "Give it longer with `timeout` in its table of hooks, if it needs it."))
            } else if status.success() {
                Ok(Answer::Done)
            } else if event == Event::Before && status.code() == Some(NOT_NOW) {
                Ok(Answer::NotNow)
            } else {
                let how =
                    status.code().map_or_else(|| format!("was ended by {status}"), |code| format!("ended with {code}"));
                Err(anyhow!("{program:?} {how}{}", said(&output)))
            };
            (result, output)
        }
        Err(error) => (Err(error), Vec::new()),
    };
    let result = result.map_err(|error| error.context(occasion.name(event)));
    Ran { event, source: occasion.source.clone(), command: command.to_vec(), output, elapsed: begun.elapsed(), result }
}

/// The last lines of a hook, as the end of a message.
fn said(output: &[String]) -> String {
    match output {
        [] => String::new(),
        [line] => format!(": {line}"),
        lines => format!(", and said at last:\n{}", lines.join("\n")),
    }
}

/// A command as it can be typed.
pub fn shown(command: &[String]) -> String {
    command.iter().map(shell_word).collect::<Vec<_>>().join(" ")
}

/// Whether the program of a hook is there and can be run.
///
/// # Errors
///
/// When it is not.
pub fn check(command: &[String]) -> Result<(), Error> {
    let program = command.first().map(String::as_str).unwrap_or_default();
    if found_in_path(Path::new(program)).is_some() {
        return Ok(());
    }
    let text = anyhow!("there is no program {program:?} that can be run");
    Err(hinted(text, "Write its whole path, and make it executable with chmod +x; a timer's $PATH is short."))
}
