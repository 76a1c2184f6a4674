//! The rows of a report: columns where they have room, and stacked where they have none.

use std::ffi::OsStr;

use super::super::{ItemReport, Outcome, Report, Saved};
use super::{below, outcome, what};
use crate::output::printable;
use crate::quantity::{show_bytes, show_duration};

/// What stands above the columns, and which of them are numbers.
const HEADERS: [&str; 8] = ["item", "outcome", "new", "changed", "unchanged", "added", "stored", "took"];
/// The columns before the numbers.
const WORDS: usize = 2;

/// A row: its words, and its numbers or what there is to say in their place.
struct Row {
    words: [String; WORDS],
    rest: Result<[String; HEADERS.len() - WORDS], String>,
    below: Vec<String>,
}

/// A row an item, with what went wrong below it.
pub(super) fn rows(report: &Report, width: Option<usize>) -> String {
    let rows: Vec<Row> = report.items.iter().map(Row::of).collect();
    let has_numbers = rows.iter().any(|row| row.rest.is_ok());
    let cell = |row: &Row, column: usize| match (column, &row.rest) {
        (..WORDS, _) => row.words[column].chars().count(),
        (_, Ok(numbers)) => numbers[column - WORDS].len(),
        (_, Err(_)) => 0,
    };
    let header = |column: usize| if has_numbers { HEADERS[column].len() } else { 0 };
    let widths: Vec<usize> = (0..HEADERS.len())
        .map(|column| rows.iter().map(|row| cell(row, column)).chain([header(column)]).max().unwrap_or(0))
        .collect();
    let needed =
        if has_numbers { widths.iter().map(|width| width + 2).sum::<usize>() - 2 } else { widths[0] + widths[1] + 30 };
    let is_narrow = width.is_some_and(|width| needed > width);
    let mut text = String::new();
    if is_narrow {
        rows.iter().zip(&report.items).for_each(|(row, item)| row.stack(item, width, &mut text));
        return text;
    }
    if has_numbers {
        text.push_str(&line(&HEADERS.map(str::to_owned), &widths));
    }
    for Row { words, rest, below } in rows {
        let [name, outcome] = &words;
        match rest {
            Ok(numbers) => text.push_str(&line(&[words.as_slice(), &numbers].concat(), &widths)),
            Err(said) => text.push_str(&format!("{name:<0$}  {outcome:<1$}  {said}\n", widths[0], widths[1])),
        }
        below.iter().for_each(|line| text.push_str(&format!("    {line}\n")));
    }
    text
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let cells = cells.iter().zip(widths).enumerate();
    let cells = cells.map(
        |(column, (cell, width))| {
            if column < WORDS { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        },
    );
    format!("{}\n", cells.collect::<Vec<_>>().join("  "))
}

impl Row {
    fn of(item: &ItemReport) -> Self {
        let numbers = |saved: &Saved| {
            let Saved { files_new, files_changed, files_unmodified, bytes_added, bytes_stored, .. } = saved;
            let [new, changed, unmodified] = [files_new, files_changed, files_unmodified].map(ToString::to_string);
            let took = show_duration(item.elapsed);
            [new, changed, unmodified, show_bytes(*bytes_added), show_bytes(*bytes_stored), took]
        };
        let rest = match &item.outcome {
            Outcome::Saved(saved) | Outcome::Incomplete(saved) if saved.copied.is_none() => Ok(numbers(saved)),
            _ => Err(what(item)),
        };
        Self { words: [printable(OsStr::new(&item.item)), outcome(item).to_owned()], rest, below: below(item) }
    }

    /// The same as sentences below each other.
    fn stack(&self, item: &ItemReport, width: Option<usize>, text: &mut String) {
        let [name, outcome] = &self.words;
        text.push_str(&wrapped(&format!("{name}: {outcome}\n"), "  ", width));
        for said in std::iter::once(what(item)).chain(self.below.iter().cloned()) {
            text.push_str(&wrapped(&format!("  {said}\n"), "    ", width));
        }
    }
}

/// Text whose lines are broken between words where they are wider than the terminal; what goes on is set in. A word that is too long by itself is
/// left to the terminal, so that a path can be copied.
pub(super) fn wrapped(text: &str, indent: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return text.to_owned() };
    let mut broken = String::new();
    for line in text.lines() {
        let begin = &line[..line.len() - line.trim_start().len()];
        let (mut column, mut is_first) = (0, true);
        for word in line.split_whitespace() {
            let length = word.chars().count();
            if is_first {
                broken.push_str(begin);
                column = begin.len();
            } else if column + 1 + length > width {
                broken.push('\n');
                broken.push_str(indent);
                column = indent.len();
            } else {
                broken.push(' ');
                column += 1;
            }
            broken.push_str(word);
            column += length;
            is_first = false;
        }
        broken.push('\n');
    }
    broken
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anyhow::anyhow;

    use super::super::for_terminal;
    use super::*;
    use crate::source::{Problem, Severity};

    #[test]
    fn narrow_terminal_shows_the_same_words_below_each_other() {
        let problem =
            Problem { path: "/srv/data/x".into(), error: "permission denied".into(), severity: Severity::Unread };
        let saved = Saved {
            snapshot: "a1".into(),
            files_new: 1,
            bytes_added: 1536,
            bytes_stored: 700,
            problems: vec![problem],
            problem_count: 1,
            ..Saved::default()
        };
        let elapsed = Duration::from_millis(4200);
        let items = vec![
            ItemReport { item: "files.host".into(), outcome: Outcome::Incomplete(saved), elapsed },
            ItemReport { item: "docker.nas".into(), outcome: Outcome::Failed(anyhow!("connection refused")), elapsed },
        ];
        let report = Report { items, errors: vec![anyhow!("prune: disk full")], elapsed, ..Report::default() };
        let narrow = "\
files.host: incomplete
  1 new, 0 changed, 0 unchanged, added
    1.50 KiB (stored 700 B), in 4.2s
  /srv/data/x: permission denied
docker.nas: failed
  connection refused
error: prune: disk full
failed: 1 incomplete, 1 failed, 1 other
  error, in 4.2s
";
        assert_eq!(for_terminal(&report, Some(40)), narrow);
        assert!(narrow.lines().all(|line| line.len() <= 40));
    }

    #[test]
    fn words_are_not_cut() {
        let text = "  aa bb /a/very/long/path cc\n";
        assert_eq!(wrapped(text, "    ", Some(10)), "  aa bb\n    /a/very/long/path\n    cc\n");
        assert_eq!(wrapped(text, "    ", None), text);
    }
}
