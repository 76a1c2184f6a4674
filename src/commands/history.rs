//! `holdall history`: how runs went, from the report file: how often each item was saved, how long that took, and why it last was not.
//!
//! The file is read once, one run at a time; what is shown of single runs is printed as it is read, so that a file of years needs no memory.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{BufRead, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::Context;
use crate::error::{Annotate, ExitCode};
use crate::history::tally::{Tallies, Tally, troubles};
use crate::history::{self, Run, Runs};
use crate::output::printable;
use crate::quantity::{parse_duration, rfc3339, show_bytes, show_duration, show_time};
use crate::select::{self, Selector};

/// Arguments of `history`.
#[derive(Debug, clap::Args)]
pub struct HistoryArgs {
    /// Which items: KIND.NAME, KIND.NAME/REST, globs; none = all
    #[arg(value_name = "SELECTOR")]
    selectors: Vec<String>,

    /// Only runs since then: a duration back from now (30d), or a date with or without a time
    #[arg(long, value_name = "WHEN", value_parser = parse_since)]
    since: Option<Since>,

    /// Show every run, oldest first
    #[arg(long)]
    runs: bool,

    /// Read this file, for instance one that was rotated away, and not the configured one
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// From when on runs count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    Ago(Duration),
    At(DateTime<Utc>),
}

fn parse_since(text: &str) -> Result<Since, String> {
    if let Some(time) = select::start_of(text) {
        return Ok(Since::At(time));
    }
    let hint = |_| format!("`{text}` is neither a duration such as 30d nor a date such as 2026-02-05");
    parse_duration(text).map(Since::Ago).map_err(hint)
}

impl Since {
    fn time(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(time) => time,
            Self::Ago(ago) => chrono::Duration::from_std(ago)
                .ok()
                .and_then(|ago| now.checked_sub_signed(ago))
                .unwrap_or(DateTime::<Utc>::MIN_UTC),
        }
    }
}

/// Runs `history`.
pub fn run(args: &HistoryArgs, context: &Context) -> Result<ExitCode> {
    let file = match &args.file {
        Some(file) => file.clone(),
        None => configured(context)?,
    };
    let selectors = args.selectors.iter().map(|text| Selector::parse(text)).collect::<Result<Vec<_>>>()?;
    let since = args.since.map(|since| since.time(context.now()));
    let Some(runs) = history::open(&file)? else {
        if args.file.is_some() {
            return Err(anyhow!("there is no file {}", file.display()));
        }
        context.monitor.say(&format!("{} is not there yet. The next `holdall backup` begins it.", file.display()));
        if context.output.json {
            context.output.json_document(&Vec::<Value>::new())?;
        }
        return Ok(ExitCode::Done);
    };
    if args.runs {
        known(&args.selectors, &file)?;
        show_runs(runs, &file, since, &selectors, context)
    } else {
        show_items(args, runs, &file, since, context)
    }
}

/// The report file of the configuration.
fn configured(context: &Context) -> Result<PathBuf> {
    let config = context.config()?;
    let missing = || anyhow!("{} names no report file, so runs leave no history", config.file.display());
    config
        .report_file
        .clone()
        .ok_or_else(missing)
        .hint("Write `report-file = \"/var/lib/holdall/report.jsonl\"` into it, above the first table; the next runs are kept.")
        .exit(ExitCode::Usage)
}

/// Refuses selectors that mean nothing in the whole file, before anything is printed.
fn known(selectors: &[String], file: &Path) -> Result<()> {
    if selectors.is_empty() {
        return Ok(());
    }
    let mut tallies = Tallies::default();
    for run in history::open(file)?.into_iter().flatten() {
        tallies.add(&run?);
    }
    let items: Vec<String> = tallies.items.into_keys().collect();
    select::resolve(selectors, &items).map(drop)
}

fn warn(runs: &Runs<impl BufRead>, file: &Path) {
    if let Some(complaint) = runs.complaint() {
        tracing::warn!("{}: {complaint}", file.display());
    }
}

fn is_wanted(selectors: &[Selector], item: &str) -> bool {
    selectors.is_empty() || selectors.iter().any(|selector| selector.matches(item))
}

fn show_items(
    args: &HistoryArgs,
    mut runs: Runs<impl BufRead>,
    file: &Path,
    since: Option<DateTime<Utc>>,
    context: &Context,
) -> Result<ExitCode> {
    let (mut tallies, mut before) = (Tallies::default(), BTreeSet::new());
    for run in runs.by_ref() {
        let run = run?;
        if since.is_none_or(|since| run.time >= since) {
            tallies.add(&run);
        } else {
            before.extend(run.items.into_iter().map(|item| item.item));
        }
    }
    warn(&runs, file);
    // One that was only there before is known, and has no row.
    let known: Vec<String> = tallies.items.keys().cloned().chain(before).collect();
    let wanted = select::resolve(&args.selectors, &known)?;
    let rows: Vec<(&str, &Tally)> =
        wanted.iter().filter_map(|item| Some((item.as_str(), tallies.items.get(item)?))).collect();
    if context.output.json {
        let rows: Vec<Value> = rows.into_iter().map(|(item, tally)| item_json(item, tally)).collect();
        context.output.json_document(&rows)?;
        return Ok(ExitCode::Done);
    }
    if !rows.is_empty() {
        let table: Vec<Vec<String>> = rows.into_iter().map(|(item, tally)| item_row(item, tally)).collect();
        let headers = [
            "item",
            ">runs",
            ">saved",
            ">incomplete",
            ">away",
            ">failed",
            ">success",
            ">average",
            ">longest",
            ">added",
            "last failure (UTC)",
        ];
        context.output.table(&headers, &table)?;
    }
    for (command, tally) in &tallies.commands {
        context.monitor.say(&command_line(command, tally));
    }
    if tallies.commands.is_empty() {
        context.monitor.say("There are no runs.");
    }
    Ok(ExitCode::Done)
}

fn item_json(item: &str, tally: &Tally) -> Value {
    json!({
        "item": item,
        "runs": tally.runs,
        "saved": tally.saved,
        "incomplete": tally.incomplete,
        "away": tally.away,
        "failed": tally.failed,
        "success_percent": tally.success().map(tenth),
        "average_seconds": tally.average().map(tenth),
        "longest_seconds": tenth(tally.longest),
        "bytes_added": tally.added,
        "last_failure": tally.last_trouble.as_ref().map(|last| json!({
            "time": rfc3339(last.time), "outcome": last.outcome, "error": last.error,
        })),
    })
}

fn tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn item_row(item: &str, tally: &Tally) -> Vec<String> {
    let trouble = tally.last_trouble.as_ref();
    vec![
        plain(item),
        tally.runs.to_string(),
        tally.saved.to_string(),
        tally.incomplete.to_string(),
        tally.away.to_string(),
        tally.failed.to_string(),
        percent(tally),
        tally.average().map(duration).unwrap_or_default(),
        tally.average().map(|_| duration(tally.longest)).unwrap_or_default(),
        show_bytes(tally.added),
        trouble.map(|last| format!("{}  {}", show_time(last.time), plain(&last.error))).unwrap_or_default(),
    ]
}

fn percent(tally: &Tally) -> String {
    tally.success().map(|percent| format!("{:.0} %", percent.floor())).unwrap_or_default()
}

/// How the runs of a command went: `backup: 31 runs, 30 ok, 1 failed (96 %); 4min 2s on average, 12min at most`.
fn command_line(command: &str, tally: &Tally) -> String {
    let count = |number: u64, what: &str| if number > 0 { format!(", {number} {what}") } else { String::new() };
    let runs = if tally.runs == 1 { "run" } else { "runs" };
    let mut line = format!("{}: {} {runs}", plain(command), tally.runs);
    let counts = [(tally.saved, "ok"), (tally.incomplete, "incomplete"), (tally.failed, "failed")];
    counts.iter().for_each(|(number, what)| line.push_str(&count(*number, what)));
    if let Some(average) = tally.average() {
        let longest = duration(tally.longest);
        let _ = write!(line, " ({}); {} on average, {longest} at most", percent(tally), duration(average));
    }
    if let Some(last) = &tally.last_trouble {
        let _ = write!(line, "; last {} {}: {}", last.outcome, show_time(last.time), plain(&last.error));
    }
    line
}

/// Prints runs as they are read. Columns have fixed widths, since the widest cell is only known at the end.
fn show_runs(
    mut runs: Runs<impl BufRead>,
    file: &Path,
    since: Option<DateTime<Utc>>,
    selectors: &[Selector],
    context: &Context,
) -> Result<ExitCode> {
    let mut out = context.output.writer();
    let mut is_first = true;
    for run in runs.by_ref() {
        let mut run = run?;
        if since.is_some_and(|since| run.time < since) {
            continue;
        }
        run.items.retain(|item| is_wanted(selectors, &item.item));
        if run.items.is_empty() && !selectors.is_empty() {
            continue;
        }
        let begin = match (context.output.json, is_first) {
            (true, true) => "[\n  ",
            (true, false) => ",\n  ",
            (false, true) => &columns(["time (UTC)", "command", "outcome", "took", "added", "what"]),
            (false, false) => "",
        };
        let row = if context.output.json {
            serde_json::to_string(&run_json(&run)).context("write JSON")?
        } else {
            run_row(&run)
        };
        write!(out, "{begin}{row}").context("write to standard output")?;
        is_first = false;
    }
    let end = match (context.output.json, is_first) {
        (true, true) => "[]\n",
        (true, false) => "\n]\n",
        (false, _) => "",
    };
    out.write_all(end.as_bytes()).and_then(|()| out.flush()).context("write to standard output")?;
    warn(&runs, file);
    if is_first {
        context.monitor.say("There are no runs.");
    }
    Ok(ExitCode::Done)
}

fn added(run: &Run) -> u64 {
    run.items.iter().map(history::Item::added).fold(0, u64::saturating_add)
}

fn run_row(run: &Run) -> String {
    let added = if run.items.is_empty() { String::new() } else { show_bytes(added(run)) };
    let why = troubles(run).into_iter().next().filter(|trouble| trouble.error != run.summary);
    let why = why.map(|trouble| format!("; {}: {}", plain(&trouble.what), plain(&trouble.error))).unwrap_or_default();
    let (time, command, outcome) = (show_time(run.time), plain(&run.command), plain(&run.outcome));
    let what = format!("{}{why}", plain(&run.summary));
    columns([&time, &command, &outcome, &duration(run.seconds), &added, &what])
}

/// Columns of the widths that nearly everything has.
fn columns([time, command, outcome, took, added, what]: [&str; 6]) -> String {
    format!("{time:<19}  {command:<8}  {outcome:<10}  {took:>10}  {added:>9}  {what}\n")
}

fn run_json(run: &Run) -> Value {
    json!({
        "time": rfc3339(run.time),
        "command": run.command,
        "outcome": run.outcome,
        "exit_code": run.exit_code,
        "seconds": run.seconds,
        "summary": run.summary,
        "items": run.items.iter().map(|item| json!({
            "item": item.item,
            "outcome": item.outcome,
            "seconds": item.seconds,
            "bytes_added": item.added(),
            "bytes_stored": item.bytes_stored,
            "error": item.trouble().or_else(|| item.error.clone()),
        })).collect::<Vec<_>>(),
        "errors": run.errors.iter().map(|error| error.text()).collect::<Vec<_>>(),
    })
}

/// What stands in the file as one line of printable text.
fn plain(text: &str) -> String {
    printable(OsStr::new(text))
}

fn duration(seconds: f64) -> String {
    show_duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_duration_or_a_date() {
        assert_eq!(parse_since("30d"), Ok(Since::Ago(Duration::from_secs(30 * 86_400))));
        assert_eq!(parse_since("2026-02-05"), Ok(Since::At("2026-02-05T00:00:00Z".parse().unwrap())));
        assert_eq!(parse_since("2026-02-05 12:30"), Ok(Since::At("2026-02-05T12:30:00Z".parse().unwrap())));
        assert!(parse_since("yesterday").unwrap_err().contains("neither a duration"));
        let now: DateTime<Utc> = "2026-02-05T00:00:00Z".parse().unwrap();
        assert_eq!(Since::Ago(Duration::MAX).time(now), DateTime::<Utc>::MIN_UTC);
    }
}
