//! A report as JSON lines. Names and order of the fields are a promise to users' scripts.
//!
//! A field that does not apply is `null`, a number that does not apply 0; none is left out.

use std::ffi::OsStr;
use std::time::Duration;

use anyhow::Error;
use serde::Serialize;

use super::{Copied, ItemReport, Outcome, Report, Saved};
use crate::error::{chain, hints};
use crate::output::printable;
use crate::quantity::rfc3339;

/// `{"type":"progress","item","done","total","files","seconds"}`
///
/// `done` and `total` count bytes where content is moved, and else things; `total` is `null` until it is known.
pub fn progress_json(item: &str, done: u64, total: Option<u64>, files: u64, elapsed: Duration) -> impl Serialize {
    #[derive(Serialize)]
    struct Line<'a> {
        r#type: &'static str,
        item: &'a str,
        done: u64,
        total: Option<u64>,
        files: u64,
        seconds: f64,
    }
    Line { r#type: "progress", item, done, total, files, seconds: seconds(elapsed) }
}

/// `{"type":"item","item","outcome","snapshot","time",…,"problems":[{"path","error"}],"error","hint"}`, and `"copied"` for what servers did among themselves.
///
/// `error` says why an item failed, or why its source is away.
pub fn item_json(report: &ItemReport) -> impl Serialize {
    #[derive(Serialize)]
    struct Line<'a> {
        r#type: &'static str,
        item: &'a str,
        outcome: &'static str,
        snapshot: Option<&'a str>,
        time: Option<String>,
        files_new: u64,
        files_changed: u64,
        files_unmodified: u64,
        bytes_processed: u64,
        bytes_added: u64,
        bytes_stored: u64,
        seconds: f64,
        problems: Vec<ProblemJson<'a>>,
        error: Option<String>,
        hint: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        copied: Option<CopiedJson>,
    }
    let nothing = Saved::default();
    let (outcome, saved, error, hint) = match &report.outcome {
        Outcome::Saved(saved) => ("saved", Some(saved), None, None),
        Outcome::Incomplete(saved) => ("incomplete", Some(saved), None, None),
        Outcome::Away(why) => ("away", None, Some(why.clone()), None),
        Outcome::NotDue { .. } => ("not-due", None, None, None),
        Outcome::Failed(error) => ("failed", None, Some(chain(error)), hint(error)),
    };
    let numbers = saved.unwrap_or(&nothing);
    // A dry run makes no point.
    let point = saved.filter(|saved| !saved.snapshot.is_empty());
    Line {
        r#type: "item",
        item: &report.item,
        outcome,
        snapshot: point.map(|point| point.snapshot.as_str()),
        time: point.map(|point| rfc3339(point.time)),
        files_new: numbers.files_new,
        files_changed: numbers.files_changed,
        files_unmodified: numbers.files_unmodified,
        bytes_processed: numbers.bytes_processed,
        bytes_added: numbers.bytes_added,
        bytes_stored: numbers.bytes_stored,
        seconds: seconds(report.elapsed),
        problems: saved.map(problems).unwrap_or_default(),
        error,
        hint,
        copied: saved.and_then(|saved| saved.copied).map(CopiedJson::of),
    }
}

/// `{"first","bytes","target","store"}`: what Incus servers did among themselves; `target` and `store` say where the point is besides the source.
#[derive(Serialize)]
struct CopiedJson {
    first: bool,
    bytes: u64,
    target: bool,
    store: bool,
}

impl CopiedJson {
    fn of(copied: Copied) -> Self {
        Self { first: copied.is_first, bytes: copied.bytes, target: copied.to_target, store: copied.exported }
    }
}

/// `{"type":"summary","outcome":"ok|incomplete|failed","exit_code","items":{…},"seconds","errors":[{"error","hint"}]}`
///
/// `errors` is what failed beside the items.
pub fn summary_json(report: &Report) -> impl Serialize {
    #[derive(Serialize)]
    struct Line {
        r#type: &'static str,
        outcome: &'static str,
        exit_code: u8,
        items: Items,
        seconds: f64,
        errors: Vec<ErrorJson>,
    }
    #[derive(Serialize)]
    struct Items {
        saved: u64,
        incomplete: u64,
        away: u64,
        not_due: u64,
        failed: u64,
    }
    let counts = report.counts();
    Line {
        r#type: "summary",
        outcome: report.verdict().word(),
        exit_code: report.exit_code() as u8,
        items: Items {
            saved: counts.saved,
            incomplete: counts.incomplete,
            away: counts.away,
            not_due: counts.not_due,
            failed: counts.failed,
        },
        seconds: seconds(report.elapsed),
        errors: report.errors.iter().map(|error| ErrorJson { error: chain(error), hint: hint(error) }).collect(),
    }
}

#[derive(Serialize)]
struct ProblemJson<'a> {
    path: String,
    error: &'a str,
}

#[derive(Serialize)]
struct ErrorJson {
    error: String,
    hint: Option<String>,
}

fn problems(saved: &Saved) -> Vec<ProblemJson<'_>> {
    saved
        .problems
        .iter()
        .map(|problem| ProblemJson { path: path_text(problem.path.as_os_str()), error: &problem.error })
        .collect()
}

/// JSON escapes control characters itself; only a path that is not UTF-8 needs help.
fn path_text(path: &OsStr) -> String {
    path.to_str().map_or_else(|| printable(path), ToOwned::to_owned)
}

pub(super) fn hint(error: &Error) -> Option<String> {
    let hints = hints(error);
    (!hints.is_empty()).then(|| hints.join("\n"))
}

/// Seconds with the milliseconds.
pub(super) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::path::PathBuf;

    use anyhow::{Context, anyhow};

    use super::*;
    use crate::error::Annotate;
    use crate::source::{Problem, Severity};

    fn text(value: impl Serialize) -> String {
        serde_json::to_string(&value).unwrap()
    }

    fn item(outcome: Outcome) -> String {
        text(item_json(&ItemReport { item: "files.host".into(), outcome, elapsed: Duration::from_micros(4_200_400) }))
    }

    const NUMBERS: &str =
        r#""files_new":0,"files_changed":0,"files_unmodified":0,"bytes_processed":0,"bytes_added":0,"bytes_stored":0"#;

    #[test]
    fn incomplete_item_has_every_field_in_the_promised_order() {
        let path = PathBuf::from(OsStr::from_bytes(b"/a\n\xff"));
        let saved = Saved {
            snapshot: "a1b2c3d4".into(),
            time: "2026-02-05T11:59:00.5Z".parse().unwrap(),
            files_new: 1,
            files_changed: 2,
            files_unmodified: 3,
            bytes_processed: 4,
            bytes_added: 5,
            bytes_stored: 6,
            problems: vec![Problem { path, error: "permission denied".into(), severity: Severity::Unread }],
            problem_count: 1,
            copied: None,
        };
        assert_eq!(
            item(Outcome::Incomplete(saved)),
            concat!(
                r#"{"type":"item","item":"files.host","outcome":"incomplete","snapshot":"a1b2c3d4","time":"2026-02-05T11:59:00Z","#,
                r#""files_new":1,"files_changed":2,"files_unmodified":3,"bytes_processed":4,"bytes_added":5,"bytes_stored":6,"#,
                r#""seconds":4.2,"problems":[{"path":"/a\\n\\xff","error":"permission denied"}],"error":null,"hint":null}"#
            )
        );
    }

    #[test]
    fn failed_item_has_its_chain_and_its_hints() {
        let error =
            Err::<(), _>(anyhow!("no such file")).hint("inner").context("list \"/etc\"").hint("outer").unwrap_err();
        let expected = format!(
            r#"{{"type":"item","item":"files.host","outcome":"failed","snapshot":null,"time":null,{NUMBERS},"seconds":4.2,"problems":[],"error":"list \"/etc\": no such file","hint":"outer\ninner"}}"#
        );
        assert_eq!(item(Outcome::Failed(error)), expected);
    }

    #[test]
    fn away_says_why_and_not_due_is_no_error() {
        let expected = |outcome: &str, error: &str| {
            format!(
                r#"{{"type":"item","item":"files.host","outcome":"{outcome}","snapshot":null,"time":null,{NUMBERS},"seconds":4.2,"problems":[],"error":{error},"hint":null}}"#
            )
        };
        assert_eq!(item(Outcome::Away("not home".into())), expected("away", r#""not home""#));
        let newest = "2026-02-05T11:59:00Z".parse().unwrap();
        assert_eq!(item(Outcome::NotDue { newest, due: newest }), expected("not-due", "null"));
    }

    #[test]
    fn dry_run_has_neither_id_nor_time() {
        assert!(item(Outcome::Saved(Saved::default())).contains(r#""outcome":"saved","snapshot":null,"time":null,"#));
    }

    #[test]
    fn summary_counts_outcomes_and_names_other_errors() {
        let item = ItemReport { item: "a".into(), outcome: Outcome::Saved(Saved::default()), elapsed: Duration::ZERO };
        let mut report = Report { items: vec![item], elapsed: Duration::from_millis(1500), ..Report::default() };
        assert_eq!(
            text(summary_json(&report)),
            r#"{"type":"summary","outcome":"ok","exit_code":0,"items":{"saved":1,"incomplete":0,"away":0,"not_due":0,"failed":0},"seconds":1.5,"errors":[]}"#
        );
        report.errors.push(anyhow!("disk full").context("prune"));
        assert_eq!(
            text(summary_json(&report)),
            r#"{"type":"summary","outcome":"failed","exit_code":1,"items":{"saved":1,"incomplete":0,"away":0,"not_due":0,"failed":0},"seconds":1.5,"errors":[{"error":"prune: disk full","hint":null}]}"#
        );
    }

    #[test]
    fn progress_says_how_far_the_work_is() {
        assert_eq!(
            text(progress_json("files.host", 10, None, 2, Duration::from_millis(250))),
            r#"{"type":"progress","item":"files.host","done":10,"total":null,"files":2,"seconds":0.25}"#
        );
    }
}
