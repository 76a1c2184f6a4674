//! A run as one readable text: what failed, why, and what to type; what is too old; then everything else.
//!
//! What comes from outside is made printable here, so that it can neither begin a line of its own nor a header.

use std::ffi::OsStr;

use crate::error::{chain, hints};
use crate::output::printable;
use crate::quantity::{show_bytes, show_duration, show_time};
use crate::report::{ItemReport, Outcome, Report, Saved, Verdict, text};
use crate::source::{Problem, Severity};

use super::news::{End, News, first_line, signal_name};
use super::standing::ItemStanding;

/// How long a subject may be, in characters: what phones and lists show of one.
const SUBJECT: usize = 120;

/// How many problems of an item are named.
const PROBLEMS: usize = 10;

/// More than anybody reads, in bytes.
const BODY: usize = 256 << 10;

/// The run in a few words: `holdall on nas: failed: files.host, docker.nas`.
pub fn subject(news: &News<'_>) -> String {
    let stale: Vec<&str> = news.stale().iter().map(|item| item.item.as_str()).collect();
    let what = match news.end {
        End::Report(report) if news.verdict() == Verdict::Ok && stale.is_empty() => text::summary(report),
        End::Report(_) if news.verdict() == Verdict::Ok => format!("too old: {}", stale.join(", ")),
        End::Report(report) => {
            let failed = news.failed().join(", ");
            let first_error = || report.errors.first().map(|error| first_line(&chain(error)).to_owned());
            let what = if failed.is_empty() { first_error().unwrap_or_default() } else { failed };
            format!("{}: {what}", news.verdict().word())
        }
        End::Error(..) | End::Signal(_) => news.summary(),
    };
    let subject = printable(OsStr::new(&format!("holdall on {}: {what}", news.host)));
    match subject.char_indices().nth(SUBJECT) {
        Some((end, _)) => format!("{}…", &subject[..end]),
        None => subject,
    }
}

/// The whole text.
pub fn body(news: &News<'_>) -> String {
    let mut text = format!("{}\n", printable(OsStr::new(&news.summary())));
    match news.end {
        End::Report(report) => {
            section(&mut text, "What went wrong", &went_wrong(report));
            section(&mut text, "Too old", &news.stale().into_iter().flat_map(too_old).collect::<Vec<_>>());
            section(&mut text, "All items of this run", &rows(report));
        }
        End::Error(error, _) => {
            text.push_str(&format!("\n{}", text::error(error)));
            section(&mut text, "Too old", &news.stale().into_iter().flat_map(too_old).collect::<Vec<_>>());
        }
        End::Signal(code) => {
            text.push_str(&format!("\nThe run was ended by {}. The next one goes on from there.\n", signal_name(code)));
        }
    }
    if let Some(standing) = news.standing {
        let unknown = standing.unknown.iter().map(|error| plain(&chain(error), ""));
        section(&mut text, "Not known", &unknown.collect::<Vec<_>>());
    }
    if text.len() > BODY {
        text.truncate(text.floor_char_boundary(BODY));
        text.push_str("\n… cut\n");
    }
    let version = env!("HOLDALL_VERSION");
    let (host, config) = (printable(OsStr::new(&news.host)), printable(news.config.as_os_str()));
    text.push_str(&format!("\n-- \nholdall {version} on {host}, {} UTC\n{config}\n", show_time(news.time)));
    text
}

fn section(text: &mut String, title: &str, lines: &[String]) {
    if !lines.is_empty() {
        text.push_str(&format!("\n{title}:\n\n{}\n", lines.join("\n")));
    }
}

fn went_wrong(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for item in &report.items {
        let name = printable(OsStr::new(&item.item));
        match &item.outcome {
            Outcome::Failed(error) => {
                lines.push(format!("{name}: {}", plain(&chain(error), "  ")));
                lines.extend(hints(error).into_iter().map(|hint| format!("  hint: {}", plain(hint, "  "))));
            }
            Outcome::Incomplete(saved) => {
                let not_read = saved.problem_count.max(saved.problems.len() as u64);
                lines.push(format!("{name}: {not_read} could not be read; the rest is saved"));
                lines.extend(problems(saved));
            }
            Outcome::Saved(_) | Outcome::Away(_) | Outcome::NotDue { .. } => {}
        }
    }
    for error in &report.errors {
        lines.push(plain(&chain(error), "  "));
        lines.extend(hints(error).into_iter().map(|hint| format!("  hint: {}", plain(hint, "  "))));
    }
    lines
}

/// The first problems, what was not read before mere warnings, and how many more there are.
fn problems(saved: &Saved) -> Vec<String> {
    let of = |severity| saved.problems.iter().filter(move |problem| problem.severity == severity);
    let shown = of(Severity::Unread).chain(of(Severity::Warning)).take(PROBLEMS);
    let line =
        |problem: &Problem| format!("  {}: {}", printable(problem.path.as_os_str()), plain(&problem.error, "  "));
    let mut lines: Vec<String> = shown.map(line).collect();
    let more = saved.problem_count.max(saved.problems.len() as u64).saturating_sub(lines.len() as u64);
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
    lines
}

fn too_old(item: &ItemStanding) -> Vec<String> {
    let name = printable(OsStr::new(&item.item));
    let allowed = item.max_age.map(show_duration).unwrap_or_default();
    let line = match item.newest {
        Some(newest) => format!("{name}: the newest point is of {} UTC; {allowed} are allowed", show_time(newest)),
        None => format!("{name}: there is no point yet; {allowed} are allowed"),
    };
    vec![line, format!("  hint: holdall backup {name}")]
}

/// A line an item, without what stands above already.
fn rows(report: &Report) -> Vec<String> {
    let width = report.items.iter().map(|item| item.item.chars().count()).max().unwrap_or(0);
    let row = |item: &ItemReport| {
        let (outcome, what) = in_short(item);
        format!("{:<width$}  {outcome:<10}  {what}", printable(OsStr::new(&item.item))).trim_end().to_owned()
    };
    report.items.iter().map(row).collect()
}

fn in_short(item: &ItemReport) -> (&'static str, String) {
    let elapsed = show_duration(item.elapsed);
    let made = |saved: &Saved| {
        let changed = format!("{} new, {} changed", saved.files_new, saved.files_changed);
        format!("{changed}, added {}, in {elapsed}", show_bytes(saved.bytes_added))
    };
    match &item.outcome {
        Outcome::Saved(saved) => ("saved", made(saved)),
        Outcome::Incomplete(saved) => ("incomplete", made(saved)),
        Outcome::Away(why) => ("away", plain(why, "  ")),
        Outcome::NotDue { due, .. } => ("not due", format!("due {} UTC", show_time(*due))),
        Outcome::Failed(_) => ("failed", format!("after {elapsed}")),
    }
}

/// Foreign text made printable, its further lines set in.
fn plain(text: &str, indent: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| printable(OsStr::new(line))).collect();
    lines.join(&format!("\n{indent}  "))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use anyhow::{Context, Error, anyhow};
    use chrono::DateTime;

    use super::*;
    use crate::error::{Annotate, ExitCode};
    use crate::notify::standing::Standing;

    fn item(name: &str, outcome: Outcome) -> ItemReport {
        ItemReport { item: name.into(), outcome, elapsed: Duration::from_secs(83) }
    }

    fn news<'n>(end: End<'n>, standing: Option<&'n Standing>) -> News<'n> {
        let time: DateTime<chrono::Utc> = "2026-02-05T11:59:00Z".parse().unwrap();
        News { end, standing, host: "nas".into(), config: "/etc/holdall/config.toml".into(), time, previous: None }
    }

    fn refused() -> Error {
        let refused = Err::<(), _>(anyhow!("connection refused")).context("list volumes");
        refused.hint("systemctl start docker").unwrap_err()
    }

    fn standing() -> Standing {
        let item = ItemStanding {
            item: "ios.phone".into(),
            newest: Some("2026-01-01T00:00:00Z".parse().unwrap()),
            newest_complete: None,
            max_age: Some(Duration::from_secs(14 * 86_400)),
            is_stale: true,
            points: 1,
            bytes: None,
        };
        Standing { items: vec![item], unknown: Vec::new() }
    }

    #[test]
    fn letter_says_what_failed_why_and_what_to_type() {
        let problem = Problem { path: PathBuf::from("/root/x"), error: "denied".into(), severity: Severity::Unread };
        let saved = Saved { problems: vec![problem], problem_count: 4, files_new: 1, ..Saved::default() };
        let report = Report {
            items: vec![
                item("files.host", Outcome::Saved(Saved::default())),
                item("files.root", Outcome::Incomplete(saved)),
                item("docker.nas", Outcome::Failed(refused())),
            ],
            errors: vec![anyhow!("prune: disk full")],
            elapsed: Duration::from_secs(100),
            ..Report::default()
        };
        let standing = standing();
        let news = news(End::Report(&report), Some(&standing));
        assert_eq!(subject(&news), "holdall on nas: failed: docker.nas, files.root");
        let version = env!("HOLDALL_VERSION");
        assert_eq!(
            body(&news),
            format!(
                "\
failed: 1 saved, 1 incomplete, 1 failed, 1 other error, in 1min 40s

What went wrong:

files.root: 4 could not be read; the rest is saved
  /root/x: denied
  and 3 more
docker.nas: list volumes: connection refused
  hint: systemctl start docker
prune: disk full

Too old:

ios.phone: the newest point is of 2026-01-01 00:00:00 UTC; 14d are allowed
  hint: holdall backup ios.phone

All items of this run:

files.host  saved       0 new, 0 changed, added 0 B, in 1min 23s
files.root  incomplete  1 new, 0 changed, added 0 B, in 1min 23s
docker.nas  failed      after 1min 23s

-- \nholdall {version} on nas, 2026-02-05 11:59:00 UTC
/etc/holdall/config.toml
"
            )
        );
    }

    #[test]
    fn subject_names_what_matters_and_is_short() {
        let saved = || item("files.host", Outcome::Saved(Saved::default()));
        let mut report = Report { items: vec![saved()], ..Report::default() };
        assert_eq!(subject(&news(End::Report(&report), None)), "holdall on nas: ok: 1 saved, in 0.0s");
        let stale = standing();
        assert_eq!(subject(&news(End::Report(&report), Some(&stale))), "holdall on nas: too old: ios.phone");
        report.errors.push(anyhow!("prune: disk full"));
        assert_eq!(subject(&news(End::Report(&report), Some(&stale))), "holdall on nas: failed: prune: disk full");
        report.items.push(item(&"x".repeat(300), Outcome::Failed(anyhow!("x"))));
        assert_eq!(subject(&news(End::Report(&report), None)).chars().count(), SUBJECT + 1);
        let error = anyhow!("read configuration:\n  line 3: x");
        let ended = news(End::Error(&error, ExitCode::Usage), None);
        assert_eq!(subject(&ended), "holdall on nas: failed: read configuration:");
        assert!(body(&ended).contains("\nerror: read configuration:\n    line 3: x\n"), "{}", body(&ended));
    }

    #[test]
    fn foreign_text_begins_neither_a_line_nor_a_header() {
        let report = Report {
            items: vec![item("files.a\r\nBcc: eve@example.org", Outcome::Failed(anyhow!("x\x1b[2J\r\ny")))],
            ..Report::default()
        };
        let news = news(End::Report(&report), None);
        assert_eq!(subject(&news), "holdall on nas: failed: files.a\\r\\nBcc: eve@example.org");
        assert!(!body(&news).contains(['\r', '\x1b']) && !body(&news).contains("\nBcc"), "{}", body(&news));
    }
}
