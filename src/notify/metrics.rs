//! Writes the file that Prometheus' node_exporter reads: numbers of each item and of the run.
//!
//! It is written anew after each run, whatever came of it. What a run says nothing of is taken from the store's points, and from the file before: the last
//! success of an item that fails, or of one that is not due, is there all the same. There are no other notes, so a file that is lost is as good again after
//! the next backup of each item.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use chrono::{DateTime, Utc};

use self::exposition::{Name, Sample};
use super::news::{End, News};
use super::standing::ItemStanding;
use super::warn;
use crate::config::MetricsConfig;
use crate::durable::sync_directory;
use crate::error::{Annotate, ExitCode};
use crate::process::shell_word;
use crate::report::{ItemReport, Outcome, Saved, Verdict};
use crate::source::Severity;

mod exposition;

/// The mode of the file: it is for a program of another user.
const MODE: u32 = 0o644;

/// A file of metrics.
#[derive(Debug)]
pub struct Metrics {
    config: MetricsConfig,
}

/// The numbers of the items: by item, then name.
type Items = BTreeMap<String, BTreeMap<Name, f64>>;

impl Metrics {
    /// By this configuration. Nothing is read yet.
    pub fn new(config: &MetricsConfig) -> Self {
        Self { config: config.clone() }
    }

    /// Writes the file. What goes wrong is a warning in the log.
    pub fn tell(&self, news: &News<'_>) {
        // The run that is under way writes it.
        if news.exit_code() == ExitCode::Locked {
            return;
        }
        if let Err(error) = self.write(news) {
            warn(&error.context("the metrics are not those of this run"));
        }
    }

    /// Looks whether the file could be written. Changes nothing.
    ///
    /// # Errors
    ///
    /// When it could not.
    pub fn check(&self) -> Result<String> {
        let file = &self.config.textfile;
        let folder = file.parent().unwrap_or(Path::new("/"));
        if !fs::metadata(folder).is_ok_and(|folder| folder.is_dir()) {
            return Err(anyhow!("there is no folder {folder:?} for {file:?}")).hint(missing_hint(folder));
        }
        rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
            .with_context(|| format!("write to the folder {folder:?}"))
            .hint(closed_hint(folder))?;
        Ok(format!("{} can be written", file.display()))
    }

    fn write(&self, news: &News<'_>) -> Result<()> {
        let file = &self.config.textfile;
        let before = fs::read_to_string(file).map(|text| exposition::read(&text)).unwrap_or_default();
        let text = exposition::write(&samples(news, before));
        put(file, text.as_bytes()).with_context(|| format!("write {file:?}"))
    }
}

/// Puts a file in the place of another one at once, so that nobody reads half of it.
fn put(file: &Path, content: &[u8]) -> Result<()> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    if !folder.exists() {
        return Err(anyhow!("there is no folder {folder:?}")).hint(missing_hint(folder));
    }
    // node_exporter reads every name that ends with .prom, so this one does not.
    let mut temporary =
        tempfile::Builder::new().prefix(".holdall-").suffix(".tmp").tempfile_in(folder).hint(closed_hint(folder))?;
    temporary.write_all(content)?;
    temporary.as_file().set_permissions(Permissions::from_mode(MODE))?;
    temporary.as_file().sync_all()?;
    temporary.persist(file)?;
    Ok(sync_directory(folder)?)
}

fn missing_hint(folder: &Path) -> String {
    format!(
        "Make it with `mkdir -p {}`; node_exporter reads the folder that its --collector.textfile.directory names.",
        shell_word(folder)
    )
}

fn closed_hint(folder: &Path) -> String {
    let folder = shell_word(folder);
    format!(
        "The unit of a timer may write where it says so: `systemctl edit holdall.service`, [Service], ReadWritePaths={folder}"
    )
}

/// Everything there is to say after a run.
fn samples(news: &News<'_>, before: Items) -> Vec<Sample> {
    let mut items = match news.standing {
        // What is not configured any more, and has no points, is not spoken of.
        Some(standing) => {
            let is_known = |item: &str| standing.items.iter().any(|known| known.item == item);
            before.into_iter().filter(|(item, _)| is_known(item) || !standing.unknown.is_empty()).collect()
        }
        None => before,
    };
    for standing in news.standing.iter().flat_map(|standing| &standing.items) {
        of_standing(items.entry(standing.item.clone()).or_default(), standing);
    }
    if let End::Report(report) = news.end {
        for item in &report.items {
            of_report(&mut items, item, news.time);
        }
    }
    for numbers in items.values_mut() {
        of_age(numbers, news.time);
    }
    let mut samples: Vec<Sample> = items
        .into_iter()
        .flat_map(|(item, numbers)| {
            numbers.into_iter().map(move |(name, value)| Sample::of_item(name, &item, value)).collect::<Vec<_>>()
        })
        .collect();
    samples.extend(of_run(news));
    samples
}

/// What the points say.
fn of_standing(numbers: &mut BTreeMap<Name, f64>, standing: &ItemStanding) {
    set(numbers, Name::LastSuccess, standing.newest_complete.map(seconds));
    set(numbers, Name::NewestPoint, standing.newest.map(seconds));
    set(numbers, Name::Points, Some(standing.points as f64));
    set(numbers, Name::Size, standing.bytes.map(|bytes| bytes as f64));
    set(numbers, Name::MaxAge, standing.max_age.map(|age| age.as_secs_f64()));
}

/// Whether it is too old: time goes on also when no store tells.
fn of_age(numbers: &mut BTreeMap<Name, f64>, now: DateTime<Utc>) {
    let max_age = numbers.get(&Name::MaxAge).copied();
    let newest = numbers.get(&Name::NewestPoint).copied();
    let is_stale = max_age.map(|max_age| newest.is_none_or(|newest| seconds(now) - newest > max_age));
    set(numbers, Name::Stale, is_stale.map(|is_stale| f64::from(u8::from(is_stale))));
}

fn of_report(items: &mut Items, item: &ItemReport, now: DateTime<Utc>) {
    let (is_success, saved) = match &item.outcome {
        Outcome::Saved(saved) => (true, Some(saved)),
        Outcome::Incomplete(saved) => (false, Some(saved)),
        Outcome::Failed(_) => (false, None),
        Outcome::Away(_) | Outcome::NotDue { .. } => return,
    };
    let numbers = items.entry(item.item.clone()).or_default();
    numbers.insert(Name::LastRun, seconds(now));
    numbers.insert(Name::Success, f64::from(u8::from(is_success)));
    numbers.insert(Name::Duration, item.elapsed.as_secs_f64());
    if let Some(saved) = saved {
        of_saved(numbers, saved);
    }
}

fn of_saved(numbers: &mut BTreeMap<Name, f64>, saved: &Saved) {
    let warnings = saved.problems.iter().filter(|problem| problem.severity == Severity::Warning).count() as u64;
    let unread = saved.problem_count.max(saved.problems.len() as u64).saturating_sub(warnings);
    for (name, number) in [
        (Name::FilesNew, saved.files_new),
        (Name::FilesChanged, saved.files_changed),
        (Name::FilesUnmodified, saved.files_unmodified),
        (Name::Processed, saved.bytes_processed),
        (Name::Added, saved.bytes_added),
        (Name::Stored, saved.bytes_stored),
        (Name::ReadErrors, unread),
    ] {
        numbers.insert(name, number as f64);
    }
}

fn of_run(news: &News<'_>) -> Vec<Sample> {
    let mut samples = vec![
        Sample::of_run(Name::RunTime, None, seconds(news.time)),
        Sample::of_run(Name::RunExitCode, None, f64::from(news.exit_code() as u8)),
        Sample::of_run(Name::Build, Some(("version", env!("CARGO_PKG_VERSION"))), 1.0),
    ];
    for verdict in [Verdict::Ok, Verdict::Incomplete, Verdict::Failed] {
        let is_it = f64::from(u8::from(verdict == news.verdict()));
        samples.push(Sample::of_run(Name::RunOutcome, Some(("outcome", verdict.word())), is_it));
    }
    if let End::Report(report) = news.end {
        samples.push(Sample::of_run(Name::RunDuration, None, report.elapsed.as_secs_f64()));
        let counts = report.counts();
        for (outcome, count) in [
            ("saved", counts.saved),
            ("incomplete", counts.incomplete),
            ("away", counts.away),
            ("not_due", counts.not_due),
            ("failed", counts.failed),
        ] {
            samples.push(Sample::of_run(Name::RunItems, Some(("outcome", outcome)), count as f64));
        }
    }
    samples
}

fn set(numbers: &mut BTreeMap<Name, f64>, name: Name, value: Option<f64>) {
    match value {
        Some(value) => numbers.insert(name, value),
        None => numbers.remove(&name),
    };
}

fn seconds(time: DateTime<Utc>) -> f64 {
    time.timestamp() as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::notify::standing::Standing;
    use crate::report::Report;

    const NOW: &str = "2026-02-05T12:00:00Z";

    fn standing(item: &str, newest: Option<&str>) -> ItemStanding {
        let newest = newest.map(|time| time.parse().unwrap());
        ItemStanding {
            item: item.into(),
            newest,
            newest_complete: newest,
            max_age: Some(Duration::from_secs(86_400)),
            is_stale: false,
            points: 3,
            bytes: Some(1000),
        }
    }

    fn report(item: &str, outcome: Outcome) -> Report {
        let item = ItemReport { item: item.into(), outcome, elapsed: Duration::from_millis(1500) };
        Report { items: vec![item], elapsed: Duration::from_secs(2), ..Report::default() }
    }

    /// What stands in the file after a run.
    fn after(end: End<'_>, standing: Option<Vec<ItemStanding>>, before: &str) -> String {
        let standing = standing.map(|items| Standing { items, unknown: Vec::new() });
        let news = News {
            end,
            standing: standing.as_ref(),
            host: "nas".into(),
            config: "/c".into(),
            time: NOW.parse().unwrap(),
            previous: None,
        };
        exposition::write(&samples(&news, exposition::read(before)))
    }

    fn has(text: &str, line: &str) -> bool {
        text.lines().any(|candidate| candidate == line)
    }

    #[test]
    fn last_success_survives_failures_with_and_without_a_store() {
        let saved = report("files.host", Outcome::Saved(Saved { files_new: 7, ..Saved::default() }));
        let first = after(End::Report(&saved), Some(vec![standing("files.host", Some("2026-02-05T11:00:00Z"))]), "");
        let success = "holdall_backup_last_success_timestamp_seconds{item=\"files.host\"} 1770289200";
        assert!(has(&first, success) && has(&first, "holdall_backup_success{item=\"files.host\"} 1"), "{first}");
        let failed = report("files.host", Outcome::Failed(anyhow!("x")));
        let second =
            after(End::Report(&failed), Some(vec![standing("files.host", Some("2026-02-05T11:00:00Z"))]), &first);
        assert!(has(&second, success) && has(&second, "holdall_backup_success{item=\"files.host\"} 0"), "{second}");
        assert!(has(&second, "holdall_backup_files_new{item=\"files.host\"} 7"), "of the last point: {second}");
        let error = anyhow!("no store");
        let third = after(End::Error(&error, ExitCode::NoStore), None, &second);
        assert!(has(&third, success) && has(&third, "holdall_run_exit_code 10"), "{third}");
        assert!(has(&third, "holdall_run_outcome{outcome=\"failed\"} 1"), "{third}");
    }

    #[test]
    fn item_grows_stale_also_when_no_store_tells() {
        let error = anyhow!("no store");
        let old =
            "holdall_item_newest_point_timestamp_seconds{item=\"a\"} 1\nholdall_item_max_age_seconds{item=\"a\"} 60\n";
        assert!(has(&after(End::Error(&error, ExitCode::Failed), None, old), "holdall_item_stale{item=\"a\"} 1"));
        let never = after(End::Error(&error, ExitCode::Failed), Some(vec![standing("b", None)]), "");
        assert!(has(&never, "holdall_item_stale{item=\"b\"} 1") && !never.contains("last_success"), "{never}");
    }

    #[test]
    fn item_that_is_gone_is_not_spoken_of() {
        let old = "holdall_backup_success{item=\"gone\"} 0\n";
        let text = after(End::Report(&Report::default()), Some(vec![standing("a", None)]), old);
        assert!(!text.contains("gone"), "{text}");
    }

    #[test]
    fn incomplete_point_counts_what_was_not_read() {
        let saved = Saved { problem_count: 12, ..Saved::default() };
        let text = after(End::Report(&report("a", Outcome::Incomplete(saved))), None, "");
        assert!(has(&text, "holdall_backup_read_errors{item=\"a\"} 12"), "{text}");
        assert!(has(&text, "holdall_backup_success{item=\"a\"} 0") && has(&text, "holdall_run_exit_code 3"), "{text}");
    }
}
