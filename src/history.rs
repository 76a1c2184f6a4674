//! Reads the report file that runs leave ([`crate::report::file`]): one run at a time, however long the file is.
//!
//! The file may be truncated, rotated, cut short by a full disk, or edited: a line that is no whole run costs nothing but itself, and is told. What
//! stands in it came from other machines once, and is as untrusted as it was then.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::error::Annotate;

pub mod tally;

/// A line that is longer is no run: with ten problems an item a run of a thousand items is far below.
const LINE: u64 = 8 << 20;
/// A line that is not read to its end is read in pieces of this size.
const BUFFER: usize = 1 << 16;

/// One run, as far as it is of interest here; what an older version did not write is empty.
#[derive(Debug, Clone, Deserialize)]
pub struct Run {
    r#type: String,
    /// When it began.
    pub time: DateTime<Utc>,
    /// `backup`, `prune`, `verify`.
    pub command: String,
    /// `ok`, `incomplete` or `failed`.
    pub outcome: String,
    /// The code it ended with.
    #[serde(default)]
    pub exit_code: u8,
    /// How long it took.
    #[serde(default)]
    pub seconds: f64,
    /// What came of it, in one line.
    #[serde(default)]
    pub summary: String,
    /// What came of its items, but for those that were not due.
    #[serde(default)]
    pub items: Vec<Item>,
    /// What failed beside the items.
    #[serde(default)]
    pub errors: Vec<Complaint>,
}

/// What came of one item of a run.
#[derive(Debug, Clone, Deserialize)]
pub struct Item {
    /// `files.host`
    pub item: String,
    /// `saved`, `incomplete`, `away` or `failed`.
    pub outcome: String,
    /// How long it took.
    #[serde(default)]
    pub seconds: f64,
    /// Bytes that the store did not have yet.
    #[serde(default)]
    pub bytes_added: u64,
    /// Bytes by which the store grew.
    #[serde(default)]
    pub bytes_stored: u64,
    /// Why it failed, or is away.
    #[serde(default)]
    pub error: Option<String>,
    /// What could not be read.
    #[serde(default)]
    pub problems: Vec<Complaint>,
    /// What servers did among themselves.
    #[serde(default)]
    copied: Option<Copied>,
}

/// What went from one server to another one.
#[derive(Debug, Clone, Deserialize)]
struct Copied {
    #[serde(default)]
    bytes: u64,
}

/// Something that went wrong.
#[derive(Debug, Clone, Deserialize)]
pub struct Complaint {
    /// Of which file of the source.
    #[serde(default)]
    pub path: Option<String>,
    /// What.
    pub error: String,
}

impl Item {
    /// Bytes that were added where it is kept: to the store, or to the server with its replica when nothing went into the store.
    pub fn added(&self) -> u64 {
        let copied = self.copied.as_ref().map_or(0, |copied| copied.bytes);
        if self.bytes_added > 0 { self.bytes_added } else { copied }
    }

    /// Why it is not wholly saved; `None` when it is, or only was away.
    pub fn trouble(&self) -> Option<String> {
        match self.outcome.as_str() {
            "failed" => Some(self.error.clone().unwrap_or_default()),
            "incomplete" => Some(self.problems.first().map(Complaint::text).unwrap_or_default()),
            _ => None,
        }
    }
}

impl Complaint {
    /// What, and of which file.
    pub fn text(&self) -> String {
        match &self.path {
            Some(path) => format!("{path}: {}", self.error),
            None => self.error.clone(),
        }
    }
}

/// The runs of a report file, oldest first, one at a time.
#[derive(Debug)]
pub struct Runs<R> {
    reader: R,
    line: Vec<u8>,
    number: u64,
    /// The first line that is no run, and how many there are.
    passed_over: Option<(u64, u64)>,
}

/// Opens a report file; `None` when there is none yet.
///
/// # Errors
///
/// When it cannot be opened.
pub fn open(file: &Path) -> Result<Option<Runs<BufReader<File>>>> {
    match File::open(file) {
        Ok(opened) => Ok(Some(Runs::new(BufReader::with_capacity(BUFFER, opened)))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error)
            .with_context(|| format!("read the report file {}", file.display()))
            .hint("Run it as the user that makes the backups: only that one can read it."),
    }
}

impl<R: BufRead> Runs<R> {
    /// The runs in what `reader` gives.
    pub fn new(reader: R) -> Self {
        Self { reader, line: Vec::new(), number: 0, passed_over: None }
    }

    /// What there is to say of lines that are no runs.
    pub fn complaint(&self) -> Option<String> {
        let (first, count) = self.passed_over?;
        Some(match count {
            1 => format!("line {first} is no whole run, and is passed over"),
            _ => format!("{count} lines are no whole runs, and are passed over; the first is line {first}"),
        })
    }

    /// Reads the next line into `self.line`; `false` at the end.
    fn read_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        // What one long line took is not kept for all others.
        self.line.shrink_to(BUFFER);
        let read = self.reader.by_ref().take(LINE).read_until(b'\n', &mut self.line)?;
        if read as u64 == LINE && self.line.last() != Some(&b'\n') {
            self.line.clear();
            self.skip_line()?;
        }
        self.number += u64::from(read > 0);
        Ok(read > 0)
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.reader.fill_buf()?;
            let (used, is_over) = match buffer.iter().position(|&byte| byte == b'\n') {
                Some(end) => (end + 1, true),
                None => (buffer.len(), buffer.is_empty()),
            };
            self.reader.consume(used);
            if is_over {
                return Ok(());
            }
        }
    }
}

impl<R: BufRead> Iterator for Runs<R> {
    type Item = Result<Run>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.read_line() {
                Err(error) => return Some(Err(error).context("read the report file")),
                Ok(false) => return None,
                Ok(true) => {}
            }
            match serde_json::from_slice::<Run>(&self.line) {
                Ok(run) if run.r#type == "run" => return Some(Ok(run)),
                _ => {
                    let (first, count) = self.passed_over.unwrap_or((self.number, 0));
                    self.passed_over = Some((first, count + 1));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str =
        r#"{"type":"run","time":"2026-02-05T11:59:00Z","command":"backup","outcome":"ok","exit_code":0,"seconds":2.5}"#;

    fn read(text: &[u8]) -> (usize, Option<String>) {
        let mut runs = Runs::new(text);
        let count = runs.by_ref().map(Result::unwrap).count();
        (count, runs.complaint())
    }

    #[test]
    fn line_that_is_no_run_costs_only_itself() {
        assert_eq!(read(format!("{RUN}\n{RUN}\n").as_bytes()), (2, None));
        let cut = format!("{RUN}\n{{\"type\":\"ru\n\0\0\n{RUN}\n\n{{}}");
        let told = "4 lines are no whole runs, and are passed over; the first is line 2";
        assert_eq!(read(cut.as_bytes()), (2, Some(told.to_owned())));
        assert_eq!(read(b"\xff"), (0, Some("line 1 is no whole run, and is passed over".to_owned())));
        assert_eq!(read(b""), (0, None));
    }

    #[test]
    fn last_run_counts_though_its_line_is_not_ended() {
        assert_eq!(read(RUN.as_bytes()), (1, None));
    }

    #[test]
    fn line_without_end_does_not_fill_the_memory() {
        let endless = io::repeat(b'x').take(3 * LINE);
        let rest = format!("\n{RUN}\n");
        let mut runs = Runs::new(BufReader::new(endless.chain(rest.as_bytes())));
        assert_eq!(runs.by_ref().map(Result::unwrap).count(), 1);
        assert_eq!(runs.complaint().unwrap(), "line 1 is no whole run, and is passed over");
        assert!(runs.line.capacity() < 2 * BUFFER);
    }
}
