//! Prometheus' text format: what there is, written with its meaning, and read back.
//!
//! Format: prometheus.io, "Exposition formats". No sample has a time: node_exporter refuses files that have.

use std::collections::BTreeMap;
use std::fmt::Write;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    LastRun,
    LastSuccess,
    Success,
    Duration,
    FilesNew,
    FilesChanged,
    FilesUnmodified,
    Processed,
    Added,
    Stored,
    ReadErrors,
    Points,
    NewestPoint,
    Size,
    MaxAge,
    Stale,
    RunTime,
    RunDuration,
    RunOutcome,
    RunExitCode,
    RunItems,
    Build,
}

/// Each name as it is written, and what it means. Names are a promise to users' rules.
const NAMES: [(Name, &str, &str); 22] = [
    (
        Name::LastRun,
        "holdall_backup_last_run_timestamp_seconds",
        "When the last backup of the item ended, whatever came of it.",
    ),
    (
        Name::LastSuccess,
        "holdall_backup_last_success_timestamp_seconds",
        "When the newest complete point of the item was made.",
    ),
    (Name::Success, "holdall_backup_success", "Whether the last backup of the item made a complete point."),
    (Name::Duration, "holdall_backup_duration_seconds", "How long the last backup of the item took."),
    (
        Name::FilesNew,
        "holdall_backup_files_new",
        "Files of the last backup that made a point which the point before does not have.",
    ),
    (
        Name::FilesChanged,
        "holdall_backup_files_changed",
        "Files of the last backup that made a point which differ from the point before.",
    ),
    (
        Name::FilesUnmodified,
        "holdall_backup_files_unmodified",
        "Files of the last backup that made a point which are as in the point before.",
    ),
    (Name::Processed, "holdall_backup_processed_bytes", "Size of all files of the last backup that made a point."),
    (
        Name::Added,
        "holdall_backup_added_bytes",
        "What the last backup that made a point added to the store, before compression.",
    ),
    (Name::Stored, "holdall_backup_stored_bytes", "By how much the last backup that made a point let the store grow."),
    (Name::ReadErrors, "holdall_backup_read_errors", "What could not be read in the last backup that made a point."),
    (Name::Points, "holdall_item_points", "How many points the item has."),
    (
        Name::NewestPoint,
        "holdall_item_newest_point_timestamp_seconds",
        "When the newest point of the item was made, complete or not.",
    ),
    (Name::Size, "holdall_item_size_bytes", "Size of all files in the newest point of the item."),
    (Name::MaxAge, "holdall_item_max_age_seconds", "How old the newest point of the item may be."),
    (
        Name::Stale,
        "holdall_item_stale",
        "Whether the newest point of the item is older than it may be, or there is none.",
    ),
    (Name::RunTime, "holdall_run_timestamp_seconds", "When the last run ended."),
    (Name::RunDuration, "holdall_run_duration_seconds", "How long the last run took."),
    (Name::RunOutcome, "holdall_run_outcome", "How the last run ended: 1 for the outcome that it had."),
    (Name::RunExitCode, "holdall_run_exit_code", "The code that the last run ended with."),
    (Name::RunItems, "holdall_run_items", "How many items had which outcome in the last run."),
    (Name::Build, "holdall_build_info", "Which holdall has written this."),
];

/// One number.
#[derive(Debug)]
pub(super) struct Sample {
    name: Name,
    label: Option<(&'static str, String)>,
    value: f64,
}

impl Sample {
    /// Of an item.
    pub(super) fn of_item(name: Name, item: &str, value: f64) -> Self {
        Self { name, label: Some(("item", item.to_owned())), value }
    }

    /// Of the run, perhaps with a label.
    pub(super) fn of_run(name: Name, label: Option<(&'static str, &str)>, value: f64) -> Self {
        Self { name, label: label.map(|(name, value)| (name, value.to_owned())), value }
    }
}

/// The text of these samples: those of one name together, behind what it means.
pub(super) fn write(samples: &[Sample]) -> String {
    let mut text = String::new();
    for (name, word, help) in NAMES {
        let mut own = samples.iter().filter(|sample| sample.name == name).peekable();
        if own.peek().is_some() {
            text.push_str(&format!("# HELP {word} {help}\n# TYPE {word} gauge\n"));
        }
        for sample in own {
            let label = sample.label.as_ref().map(|(name, value)| format!("{{{name}=\"{}\"}}", escaped(value)));
            // Writing to a string does not fail.
            let _ = writeln!(text, "{word}{} {}", label.unwrap_or_default(), sample.value);
        }
    }
    text
}

/// The numbers of items in a text that was written by [`write()`]; whatever else is in it is passed over.
pub(super) fn read(text: &str) -> BTreeMap<String, BTreeMap<Name, f64>> {
    let mut items: BTreeMap<String, BTreeMap<Name, f64>> = BTreeMap::new();
    for (name, item, value) in text.lines().filter_map(sample) {
        items.entry(item).or_default().insert(name, value);
    }
    items
}

fn sample(line: &str) -> Option<(Name, String, f64)> {
    let (word, rest) = line.split_once("{item=\"")?;
    let (item, value) = rest.rsplit_once("\"} ")?;
    let name = NAMES.iter().find(|(_, known, _)| *known == word)?.0;
    let value: f64 = value.parse().ok()?;
    value.is_finite().then_some((name, unescaped(item)?, value))
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn unescaped(text: &str) -> Option<String> {
    let mut value = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => value.push(match chars.next()? {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                _ => return None,
            }),
            '"' => return None,
            c => value.push(c),
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_whatever_an_item_is_called() {
        for item in
            ["files.host", "docker.nas/image/a:1", "q\"uote", "back\\slash\\n", "line\nbreak", "a\"} 7", "{}", "ü"]
        {
            let text = write(&[
                Sample::of_item(Name::Size, item, 1_234_567_890_123.0),
                Sample::of_item(Name::Success, item, 0.0),
            ]);
            let numbers = BTreeMap::from([(Name::Success, 0.0), (Name::Size, 1_234_567_890_123.0)]);
            assert_eq!(read(&text), BTreeMap::from([(item.to_owned(), numbers)]), "{text}");
            assert_eq!(text.lines().count(), 6);
        }
    }

    #[test]
    fn every_name_is_written_once_and_stands_behind_its_meaning() {
        for (place, (name, word, help)) in NAMES.iter().enumerate() {
            assert!(!NAMES[..place].iter().any(|(other, known, _)| other == name || known == word), "{word}");
            assert!(help.ends_with('.') && !help.contains(['\n', '\\']), "{help}");
        }
        let text = write(&[Sample::of_run(Name::Build, Some(("version", "1.0")), 1.0)]);
        assert_eq!(
            text,
            "# HELP holdall_build_info Which holdall has written this.\n# TYPE holdall_build_info gauge\nholdall_build_info{version=\"1.0\"} 1\n"
        );
    }

    #[test]
    fn file_of_somebody_else_or_half_a_file_is_passed_over() {
        for text in [
            "node_load1 0.5\n",
            "holdall_backup_success{item=\"a",
            "holdall_backup_success{item=\"a\"} x",
            "holdall_backup_success{item=\"a\"} NaN",
            "holdall_backup_success{item=\"a\\x\"} 1",
            "\0\0\0",
        ] {
            assert!(read(text).is_empty(), "{text}");
        }
    }
}
