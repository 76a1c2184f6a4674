//! A report as text: on the terminal with the summary last, in a ping with the summary first.
//!
//! Everything that comes from outside (paths, messages of other programs) is made printable here, so that it cannot control the
//! terminal or pretend to be another line.

use std::ffi::OsStr;

use anyhow::Error;

use super::{Copied, ItemReport, Outcome, Report, Saved};
use crate::error::{chain, hints};
use crate::output::printable;
use crate::quantity::{show_bytes, show_duration, show_time};
use crate::source::Severity;

mod table;

/// How many problems of an item are shown.
const PROBLEMS_SHOWN: usize = 10;

/// The run in one line: `ok: 2 saved, 1 not due, in 4.2s`.
pub fn summary(report: &Report) -> String {
    let verdict = report.verdict().word();
    let counts = report.counts();
    let others = report.errors.len() as u64;
    let mirrors = report.mirrors.iter().filter(|mirror| mirror.is_well).count() as u64;
    let counted = [
        (counts.saved, "saved"),
        (counts.incomplete, "incomplete"),
        (counts.away, "away"),
        (counts.not_due, "not due"),
        (counts.failed, "failed"),
        (mirrors, if mirrors == 1 { "mirror up to date" } else { "mirrors up to date" }),
        (others, if others == 1 { "other error" } else { "other errors" }),
    ];
    let mut parts: Vec<String> =
        counted.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if parts.is_empty() {
        parts.push("nothing to do".to_owned());
    }
    format!("{verdict}: {}, in {}", parts.join(", "), show_duration(report.elapsed))
}

/// The report for the end of a run on a terminal of this many columns, `None` elsewhere: a row an item with what went wrong below it, other errors,
/// the summary. Where a row has no room it is stacked, and nothing is left out.
pub fn for_terminal(report: &Report, width: Option<usize>) -> String {
    let mut text = table::rows(report, width);
    let mirrors = report.mirrors.iter().map(|mirror| format!("{}\n", mirror.line()));
    mirrors.for_each(|line| text.push_str(&table::wrapped(&line, "  ", width)));
    report.errors.iter().for_each(|other| text.push_str(&table::wrapped(&error(other), "  ", width)));
    text.push_str(&table::wrapped(&format!("{}\n", summary(report)), "  ", width));
    text
}

/// The report as the body of a ping: the summary, then the same lines, since a server keeps the beginning.
pub fn for_ping(report: &Report) -> String {
    format!("{}\n{}", summary(report), details(report))
}

/// An error with its causes and hints: `error: …`, then `hint: …` lines.
pub fn error(error: &Error) -> String {
    let mut text = format!("error: {}\n", indented(&chain(error), ""));
    for hint in hints(error) {
        text.push_str(&format!("hint: {}\n", indented(hint, "")));
    }
    text
}

fn details(report: &Report) -> String {
    let item_width = report.items.iter().map(|item| item.item.chars().count()).max().unwrap_or(0);
    let outcome_width = report.items.iter().map(|item| outcome(item).len()).max().unwrap_or(0);
    let mut text = String::new();
    for item in &report.items {
        let name = printable(OsStr::new(&item.item));
        text.push_str(&format!("{name:<item_width$}  {:<outcome_width$}  {}\n", outcome(item), what(item)));
        for line in below(item) {
            text.push_str(&format!("    {line}\n"));
        }
    }
    report.mirrors.iter().for_each(|mirror| text.push_str(&format!("{}\n", mirror.line())));
    report.errors.iter().for_each(|other| text.push_str(&error(other)));
    text
}

fn outcome(item: &ItemReport) -> &'static str {
    match &item.outcome {
        Outcome::Saved(saved) if saved.snapshot.is_empty() => "would save",
        Outcome::Saved(_) => "saved",
        Outcome::Incomplete(_) => "incomplete",
        Outcome::Away(_) => "away",
        Outcome::NotDue { .. } => "not due",
        Outcome::Failed(_) => "failed",
    }
}

/// What there is to say about an item on its own line.
fn what(item: &ItemReport) -> String {
    match &item.outcome {
        Outcome::Saved(saved) | Outcome::Incomplete(saved) => {
            let done = saved.copied.map_or_else(|| stored(saved), |copied| replicated(saved, copied));
            format!("{done}, in {}", show_duration(item.elapsed))
        }
        Outcome::Away(why) => indented(why, "    "),
        Outcome::NotDue { newest, due } => format!("newest {}, due {}", show_time(*newest), show_time(*due)),
        Outcome::Failed(error) => indented(&chain(error), "    "),
    }
}

fn stored(saved: &Saved) -> String {
    format!(
        "{} new, {} changed, {} unchanged, {}",
        saved.files_new,
        saved.files_changed,
        saved.files_unmodified,
        added(saved)
    )
}

fn added(saved: &Saved) -> String {
    format!("added {} (stored {})", show_bytes(saved.bytes_added), show_bytes(saved.bytes_stored))
}

/// What servers did among themselves, and what of it went into the store.
fn replicated(saved: &Saved, copied: Copied) -> String {
    let is_rehearsal = saved.snapshot.is_empty();
    let mut text = printable(OsStr::new(if is_rehearsal { "a new snapshot" } else { &saved.snapshot }));
    if copied.to_target {
        text.push_str(if copied.is_first { " to the target for the first time" } else { " to the target" });
        if copied.bytes > 0 {
            text.push_str(&format!(" ({})", show_bytes(copied.bytes)));
        }
    }
    if copied.exported {
        text.push_str(if copied.to_target { ", and into the store" } else { " into the store" });
        if !is_rehearsal {
            text.push_str(&format!(": {}", added(saved)));
        }
    }
    text
}

/// What went wrong with an item, in lines of their own.
fn below(item: &ItemReport) -> Vec<String> {
    match &item.outcome {
        Outcome::Saved(saved) | Outcome::Incomplete(saved) => problems(saved),
        Outcome::Failed(error) => {
            hints(error).into_iter().map(|hint| format!("hint: {}", indented(hint, "    "))).collect()
        }
        Outcome::Away(_) | Outcome::NotDue { .. } => Vec::new(),
    }
}

/// The first problems, what was not read before mere warnings, and how many more there are.
fn problems(saved: &Saved) -> Vec<String> {
    let mut lines: Vec<String> = saved
        .foremost_problems()
        .take(PROBLEMS_SHOWN)
        .map(|problem| {
            let kind = if problem.severity == Severity::Warning { "warning: " } else { "" };
            format!("{kind}{}: {}", printable(problem.path.as_os_str()), indented(&problem.error, "    "))
        })
        .collect();
    let count = saved.problem_count.max(saved.problems.len() as u64);
    let more = count.saturating_sub(lines.len() as u64);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}

/// Foreign text made printable, its further lines set in.
fn indented(text: &str, indent: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| printable(OsStr::new(line))).collect();
    lines.join(&format!("\n{indent}  "))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use anyhow::{Context, anyhow};

    use super::*;
    use crate::error::Annotate;
    use crate::source::Problem;

    fn item(name: &str, outcome: Outcome) -> ItemReport {
        ItemReport { item: name.into(), outcome, elapsed: Duration::from_millis(4200) }
    }

    fn saved() -> Saved {
        Saved {
            snapshot: "a1b2".into(),
            files_new: 1,
            files_changed: 2,
            files_unmodified: 30,
            bytes_added: 1536,
            bytes_stored: 700,
            ..Saved::default()
        }
    }

    fn problem(path: &str, severity: Severity) -> Problem {
        Problem { path: PathBuf::from(path), error: "permission denied".into(), severity }
    }

    fn report(items: Vec<ItemReport>) -> Report {
        Report { items, elapsed: Duration::from_secs(83), ..Report::default() }
    }

    #[test]
    fn summary_counts_what_there_was() {
        assert_eq!(summary(&report(Vec::new())), "ok: nothing to do, in 1min 23s");
        let newest = "2026-02-05T11:59:00Z".parse().unwrap();
        let not_due = || Outcome::NotDue { newest, due: newest };
        let items = vec![item("a", Outcome::Saved(saved())), item("b", not_due()), item("c", not_due())];
        assert_eq!(summary(&report(items)), "ok: 1 saved, 2 not due, in 1min 23s");
        let mut failed = report(vec![item("a", Outcome::Incomplete(saved())), item("b", Outcome::Away("no".into()))]);
        assert_eq!(summary(&failed), "incomplete: 1 incomplete, 1 away, in 1min 23s");
        failed.errors.push(anyhow!("prune"));
        assert_eq!(summary(&failed), "failed: 1 incomplete, 1 away, 1 other error, in 1min 23s");
    }

    #[test]
    fn what_servers_did_is_told_with_what_went_into_the_store() {
        let line = |saved: Saved| what(&item("incus.lab/default/instance/vm1", Outcome::Saved(saved)));
        let mut point = Saved { snapshot: "IAB_20260205-115900".into(), ..saved() };
        let mut copied = Copied { to_target: true, is_first: true, bytes: 12_000_000, exported: false };
        point.copied = Some(copied);
        assert_eq!(line(point.clone()), "IAB_20260205-115900 to the target for the first time (11.4 MiB), in 4.2s");
        copied = Copied { is_first: false, bytes: 0, exported: true, ..copied };
        point.copied = Some(copied);
        let expected = "IAB_20260205-115900 to the target, and into the store: added 1.50 KiB (stored 700 B), in 4.2s";
        assert_eq!(line(point.clone()), expected);
        point.snapshot.clear();
        assert_eq!(line(point), "a new snapshot to the target, and into the store, in 4.2s");
    }

    #[test]
    fn terminal_has_the_summary_last_and_a_ping_has_it_first() {
        let newest = "2026-02-05T11:59:00Z".parse().unwrap();
        let due = "2026-02-06T07:59:00Z".parse().unwrap();
        let failed =
            Err::<(), _>(anyhow!("connection refused")).context("list volumes").hint("start docker").unwrap_err();
        let mut report = report(vec![
            item("files.host", Outcome::Saved(saved())),
            item("files.etc", Outcome::NotDue { newest, due }),
            item("ios.phone", Outcome::Away("not on the network".into())),
            item("docker.nas", Outcome::Failed(failed)),
        ]);
        report.errors.push(Err::<(), _>(anyhow!("disk full")).context("prune").hint("free some").unwrap_err());
        let lines = "\
files.host  saved    1 new, 2 changed, 30 unchanged, added 1.50 KiB (stored 700 B), in 4.2s
files.etc   not due  newest 2026-02-05 11:59:00, due 2026-02-06 07:59:00
ios.phone   away     not on the network
docker.nas  failed   list volumes: connection refused
    hint: start docker
error: prune: disk full
hint: free some
";
        let summary = "failed: 1 saved, 1 away, 1 not due, 1 failed, 1 other error, in 1min 23s\n";
        assert_eq!(for_ping(&report), format!("{summary}{lines}"));
        let rows = "\
item        outcome  new  changed  unchanged     added  stored  took
files.host  saved      1        2         30  1.50 KiB   700 B  4.2s
files.etc   not due  newest 2026-02-05 11:59:00, due 2026-02-06 07:59:00
ios.phone   away     not on the network
docker.nas  failed   list volumes: connection refused
    hint: start docker
error: prune: disk full
hint: free some
";
        assert_eq!(for_terminal(&report, None), format!("{rows}{summary}"));
        assert_eq!(for_terminal(&report, Some(80)), format!("{rows}{summary}"));
    }

    #[test]
    fn incomplete_item_names_its_first_problems_and_counts_the_rest() {
        let mut problems = vec![problem("/w", Severity::Warning)];
        problems.extend((0..10).map(|number| problem(&format!("/r{number}"), Severity::Unread)));
        let saved = Saved { problems, problem_count: 500, ..saved() };
        let text = details(&report(vec![item("files.host", Outcome::Incomplete(saved))]));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 12);
        assert!(lines[0].starts_with("files.host  incomplete  1 new"), "{text}");
        assert_eq!(lines[1], "    /r0: permission denied");
        assert_eq!(lines[10], "    /r9: permission denied");
        assert_eq!(lines[11], "    and 490 more");
    }

    #[test]
    fn warnings_of_a_saved_item_are_shown_as_such() {
        let saved = Saved { problems: vec![problem("/w", Severity::Warning)], problem_count: 1, ..saved() };
        let text = details(&report(vec![item("files.host", Outcome::Saved(saved))]));
        assert_eq!(text.lines().nth(1), Some("    warning: /w: permission denied"));
    }

    #[test]
    fn dry_run_says_what_would_be_done() {
        let saved = Saved { snapshot: String::new(), ..saved() };
        let text = details(&report(vec![item("files.host", Outcome::Saved(saved))]));
        assert!(text.starts_with("files.host  would save  1 new"), "{text}");
    }

    #[test]
    fn foreign_text_cannot_control_the_terminal_or_begin_a_line() {
        let mut hostile = problem("/a\nok: all saved\x1b[2J", Severity::Unread);
        hostile.error = "first\nok: second\x07".into();
        let saved = Saved { problems: vec![hostile], problem_count: 1, ..saved() };
        let text = details(&report(vec![item("files.host", Outcome::Incomplete(saved))]));
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines, ["    /a\\nok: all saved\\u{1b}[2J: first", "      ok: second\\u{7}"]);
        assert_eq!(error(&anyhow!("a\x1b\nb")), "error: a\\u{1b}\n  b\n");
    }
}
