//! The report file: one JSON line a run, appended, so that `holdall history` and programs can look back. Never fails the run.
//!
//! A line: `{"type":"run","time","finished","host","version","command","outcome","exit_code","seconds","summary","items":[…],"not_due",
//! "errors":[{"error","hint"}]}`. The items are those of [`super::json`] without their type, with the first problems and their number; items that
//! were not due are only counted, since a timer asks about them all day. Names and meaning of the fields are a promise to users' scripts, and what
//! [`crate::history`] reads. How a line gets into the file is decided in [`append`].

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Error;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use toml::de::DeTable;

use super::{ItemReport, Outcome, Report, json, text};
use crate::cleanup::Guard;
use crate::error::{ExitCode, chain, hints};
use crate::output::printable;

mod append;

/// How many problems of an item a line holds.
const PROBLEMS: usize = 10;
/// How many errors beside the items a line holds.
const ERRORS: usize = 100;
/// How long a text of others may be in a line, in bytes.
const TEXT: usize = 4096;

/// How a run ended that has no [`Report`]: `prune`, `verify`.
#[derive(Debug)]
pub struct Ended {
    /// The code it ends with.
    pub code: ExitCode,
    /// What it did, in one line.
    pub summary: String,
    /// What is wrong.
    pub errors: Vec<String>,
}

/// Writes down how one run goes, if a report file is configured; warns when it cannot.
#[derive(Debug)]
pub struct Recorder {
    file: Option<PathBuf>,
    command: &'static str,
    time: DateTime<Utc>,
    begun: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the line of this run is written: there is only one.
    is_told: bool,
    /// What came of the items so far, for a run that does not come to its end.
    items: Vec<Value>,
    not_due: u64,
}

/// A line of the file.
#[derive(Serialize)]
struct Line<'a> {
    r#type: &'static str,
    time: String,
    finished: String,
    host: String,
    version: &'static str,
    command: &'static str,
    outcome: &'static str,
    exit_code: u8,
    seconds: f64,
    summary: String,
    items: &'a [Value],
    not_due: u64,
    errors: Vec<Value>,
}

impl Recorder {
    /// For a run of this command that begins at `time`; without a file nothing is written.
    pub fn new(file: Option<&Path>, command: &'static str, time: DateTime<Utc>) -> Self {
        Self { file: file.map(Path::to_path_buf), command, time, begun: Instant::now(), state: Mutex::default() }
    }

    /// What came of one more item.
    pub fn add(&self, item: &ItemReport) {
        if self.file.is_none() {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.add(item);
    }

    /// The run has ended, with what was told of its items in the report.
    pub fn finish(&self, report: &Report) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // In the report they are in the order of the configuration.
        (state.items, state.not_due) = (Vec::new(), 0);
        if self.file.is_some() {
            report.items.iter().for_each(|item| state.add(item));
        }
        let errors = report.errors.iter().map(error_value).collect();
        self.write(&mut state, report.verdict().word(), report.exit_code(), text::summary(report), errors);
    }

    /// The run has ended, and has no report of items.
    pub fn end(&self, ended: &Ended) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let errors = ended.errors.iter().map(|error| json!({"error": error, "hint": null})).collect();
        self.write(&mut state, word(ended.code), ended.code, ended.summary.clone(), errors);
    }

    /// The run could not begin or go on: a broken configuration, no store, a lock.
    pub fn fail(&self, error: &Error, code: ExitCode) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(&mut state, "failed", code, format!("failed: {}", chain(error)), vec![error_value(error)]);
    }

    /// What writes the line when a signal ends the run, or a fault in the program. To be disarmed when the run has come to its end.
    pub fn guard(self: &Arc<Self>) -> Guard {
        let recorder = Arc::clone(self);
        Guard::new(move |signal| {
            let why = match signal {
                Some(ExitCode::Interrupted) => "stopped by SIGINT",
                Some(_) => "stopped by SIGTERM",
                None => "holdall broke off: this is a fault in the program",
            };
            // Not waited for: whoever has it may be the thread that is being stopped.
            let Ok(mut state) = recorder.state.try_lock() else { return };
            let errors = vec![json!({"error": why, "hint": null})];
            recorder.write(&mut state, "failed", signal.unwrap_or(ExitCode::Failed), format!("failed: {why}"), errors);
        })
    }

    fn write(&self, state: &mut State, outcome: &'static str, code: ExitCode, summary: String, errors: Vec<Value>) {
        let Some(file) = &self.file else { return };
        if std::mem::replace(&mut state.is_told, true) {
            return;
        }
        let elapsed = self.begun.elapsed();
        let mut errors = errors;
        errors.truncate(ERRORS);
        errors.iter_mut().for_each(shorten);
        let line = Line {
            r#type: "run",
            time: crate::quantity::rfc3339(self.time),
            finished: crate::quantity::rfc3339(self.time + elapsed),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            version: env!("HOLDALL_VERSION"),
            command: self.command,
            outcome,
            exit_code: code as u8,
            seconds: json::seconds(elapsed),
            summary: shortened(&summary),
            items: &state.items,
            not_due: state.not_due,
            errors,
        };
        let written = serde_json::to_string(&line).map_err(Error::from).and_then(|line| append::append(file, &line));
        if let Err(error) = written {
            let hint = hints(&error).join("\n");
            tracing::warn!(hint, "this run has no line in the report file: {}", chain(&error));
        }
    }
}

impl State {
    fn add(&mut self, item: &ItemReport) {
        if matches!(item.outcome, Outcome::NotDue { .. }) {
            self.not_due += 1;
            return;
        }
        let mut value = serde_json::to_value(json::item_json(item)).unwrap_or_default();
        if let Some(object) = value.as_object_mut() {
            object.shift_remove("type");
            if let Outcome::Saved(saved) | Outcome::Incomplete(saved) = &item.outcome {
                let first = saved.foremost_problems().take(PROBLEMS).map(
                    |problem| json!({"path": printable(problem.path.as_os_str()), "error": shortened(&problem.error)}),
                );
                object.insert("problems".to_owned(), first.collect());
                let count = saved.problem_count.max(saved.problems.len() as u64);
                object.insert("problem_count".to_owned(), count.into());
            }
            object.values_mut().for_each(shorten);
        }
        self.items.push(value);
    }
}

/// `ok` for everything that is well; `prune` and `verify` leave nothing incomplete.
fn word(code: ExitCode) -> &'static str {
    match code {
        ExitCode::Done => "ok",
        ExitCode::Incomplete => "incomplete",
        _ => "failed",
    }
}

fn error_value(error: &Error) -> Value {
    let hints = hints(error).join("\n");
    json!({"error": chain(error), "hint": Some(hints).filter(|hints| !hints.is_empty())})
}

/// Cuts the texts of a value: what a program of somebody else says may be megabytes long.
fn shorten(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > TEXT => *text = shortened(text),
        Value::Object(object) => object.values_mut().for_each(shorten),
        _ => {}
    }
}

fn shortened(text: &str) -> String {
    if text.len() <= TEXT {
        return text.to_owned();
    }
    format!("{} ... cut", &text[..text.floor_char_boundary(TEXT)])
}

/// The report file that a configuration names which may be invalid, or not even TOML, as far as it can be made out: a typing error that keeps
/// every backup from running belongs into the history, too.
pub fn file_in_broken_config(text: &str) -> Option<PathBuf> {
    let top = text.find("\n[").map_or(text, |end| &text[..end]);
    let (document, _) = DeTable::parse_recoverable(top);
    let file = document.get_ref().get("report-file")?.get_ref().as_str().map(PathBuf::from)?;
    file.is_absolute().then_some(file)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use anyhow::anyhow;

    use super::*;
    use crate::error::Annotate;
    use crate::report::Saved;
    use crate::source::{Problem, Severity};

    fn lines(recorder: impl FnOnce(Recorder)) -> Vec<Value> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("report.jsonl");
        recorder(Recorder::new(Some(&file), "backup", "2026-02-05T11:59:00Z".parse().unwrap()));
        let text = fs::read_to_string(file).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn item(name: &str, outcome: Outcome) -> ItemReport {
        ItemReport { item: name.into(), outcome, elapsed: Duration::from_secs(1) }
    }

    #[test]
    fn run_is_one_line_with_the_first_problems_that_matter() {
        let problem = |severity| Problem { path: "/a\n".into(), error: "x".repeat(5000), severity };
        let mut problems = vec![problem(Severity::Warning); 20];
        problems.push(problem(Severity::Unread));
        let saved = Saved { snapshot: "a1".into(), problems, problem_count: 500, ..Saved::default() };
        let now = DateTime::default();
        let items = vec![
            item("files.a", Outcome::Incomplete(saved)),
            item("files.b", Outcome::NotDue { newest: now, due: now }),
        ];
        let report =
            Report { items, errors: vec![anyhow!("disk full")], elapsed: Duration::from_secs(2), ..Report::default() };
        let lines = lines(|recorder| {
            recorder.add(&report.items[0]);
            recorder.finish(&report);
            recorder.fail(&anyhow!("told twice"), ExitCode::Failed);
        });
        assert_eq!(lines.len(), 1);
        let line = &lines[0];
        let keys: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "type",
                "time",
                "finished",
                "host",
                "version",
                "command",
                "outcome",
                "exit_code",
                "seconds",
                "summary",
                "items",
                "not_due",
                "errors"
            ]
        );
        assert_eq!(line["items"].as_array().unwrap().len(), 1);
        assert_eq!((&line["not_due"], &line["exit_code"], &line["outcome"]), (&1.into(), &1.into(), &"failed".into()));
        let item = &line["items"][0];
        assert_eq!(item.as_object().unwrap().keys().next().unwrap(), "item");
        assert_eq!((item["problems"].as_array().unwrap().len(), &item["problem_count"]), (PROBLEMS, &500.into()));
        assert_eq!(item["problems"][0]["path"], "/a\\n");
        assert!(item["problems"][0]["error"].as_str().unwrap().ends_with("x ... cut"));
        assert_eq!(line["errors"], json!([{"error": "disk full", "hint": null}]));
    }

    #[test]
    fn run_that_could_not_begin_says_why() {
        let error = Err::<(), _>(anyhow!("no store")).hint("make one").unwrap_err();
        let lines = lines(|recorder| recorder.fail(&error, ExitCode::NoStore));
        assert_eq!(lines[0]["errors"], json!([{"error": "no store", "hint": "make one"}]));
        assert_eq!((&lines[0]["exit_code"], &lines[0]["items"]), (&10.into(), &json!([])));
    }

    #[test]
    fn run_that_is_stopped_keeps_what_it_has_done() {
        let lines = lines(|recorder| {
            let recorder = Arc::new(recorder);
            recorder.add(&item("files.a", Outcome::Saved(Saved::default())));
            drop(recorder.guard());
        });
        assert_eq!(lines[0]["items"][0]["item"], "files.a");
        assert_eq!(lines[0]["outcome"], "failed");
    }

    #[test]
    fn report_file_is_found_in_a_broken_configuration() {
        let found = |text: &str| file_in_broken_config(text);
        assert_eq!(found("report-file = \"/x\"\n[store\nrepo = 1\n"), Some("/x".into()));
        assert_eq!(found("report-file = \"/x\"\ncolor = blue\n"), Some("/x".into()));
        for text in ["", "report-file = 3", "report-file = \"x\"", "[store]\nreport-file = \"/x\""] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
