//! Data on standard output: tables for people, JSON for programs. The only writer of standard output.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;

use anyhow::{Context as _, Error, Result};
use serde::Serialize;

/// Standard output, as text or as JSON.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// Whether the user asked for JSON.
    pub json: bool,
}

impl Output {
    /// Prints one line.
    pub fn line(&self, line: &str) -> Result<()> {
        self.bytes(format!("{}\n", legible(line, &io::stdout())).as_bytes())
    }

    /// Prints a value as one line of JSON.
    pub fn json_line(&self, value: &impl Serialize) -> Result<()> {
        self.bytes(format!("{}\n", serde_json::to_string(value).context("write JSON")?).as_bytes())
    }

    /// Prints a value as a JSON document, indented for reading.
    pub fn json_document(&self, value: &impl Serialize) -> Result<()> {
        self.bytes(format!("{}\n", serde_json::to_string_pretty(value).context("write JSON")?).as_bytes())
    }

    /// Prints bytes as they are.
    pub fn bytes(&self, bytes: &[u8]) -> Result<()> {
        let mut stdout = Stdout(io::stdout().lock());
        stdout.write_all(bytes).and_then(|()| stdout.flush()).context("write to standard output")
    }

    /// Standard output itself, for streams.
    pub fn writer(&self) -> impl Write {
        io::BufWriter::with_capacity(1 << 17, Stdout(io::stdout().lock()))
    }

    /// Prints a table: columns as wide as their widest cell, two blanks between, no trailing blanks.
    ///
    /// Columns whose header starts with `>` are aligned right. On a terminal that is too narrow for it, the cells of a row stand below each other.
    pub fn table(&self, headers: &[&str], rows: &[Vec<String>]) -> Result<()> {
        let text = fitting(headers, rows, columns(&io::stdout()));
        self.bytes(legible(&text, &io::stdout()).as_bytes())
    }
}

/// Whoever reads standard output has gone: `holdall list | head`. Inside of the [`io::Error`], so that no other pipe that broke is taken for it.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads standard output any more")]
pub struct ReaderGone;

impl ReaderGone {
    /// Whether it is the cause of an error.
    pub fn is_behind(error: &Error) -> bool {
        let is_it = |error: &io::Error| error.get_ref().is_some_and(|inner| inner.is::<Self>());
        error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(is_it))
    }
}

/// Standard output, whose errors say that they are its.
struct Stdout(io::StdoutLock<'static>);

impl Stdout {
    fn told<T>(result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => io::Error::new(io::ErrorKind::BrokenPipe, ReaderGone),
            _ => error,
        })
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::told(self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::told(self.0.flush())
    }
}

/// A name as it may be shown on a terminal: control characters and invalid bytes are escaped, so that a hostile
/// file name cannot move the cursor or pretend to be another line.
pub fn printable(name: &std::ffi::OsStr) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut text = String::new();
    for chunk in name.as_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// How many columns a terminal has; `None` when it is none, or does not say.
pub fn columns(stream: &(impl AsFd + IsTerminal)) -> Option<usize> {
    let size = stream.is_terminal().then(|| rustix::termios::tcgetwinsize(stream).ok()).flatten()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Text as this terminal shows it: one whose locale has nothing but ASCII gets the numbers of other characters. Elsewhere it is what it is.
pub fn legible<'t>(text: &'t str, stream: &impl IsTerminal) -> Cow<'t, str> {
    static KNOWS_ALL: OnceLock<bool> = OnceLock::new();
    if text.is_ascii() || !stream.is_terminal() || *KNOWS_ALL.get_or_init(|| is_utf8(|name| std::env::var(name).ok())) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(ascii(text))
}

fn ascii(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() { shown.push(c) } else { shown.extend(c.escape_unicode()) }
    }
    shown
}

/// Whether the locale says that the terminal shows UTF-8 (locale(7)); one that says nothing is that of old, which does not.
fn is_utf8(variable: impl Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable).find(|value| !value.is_empty());
    let locale = locale.unwrap_or_default().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// The table, or its rows stacked when it is wider than `width`.
fn fitting(headers: &[&str], rows: &[Vec<String>], width: Option<usize>) -> String {
    let text = table(headers, rows);
    if width.is_none_or(|width| text.lines().all(|line| line.chars().count() <= width)) {
        text
    } else {
        stacked(headers, rows)
    }
}

fn stacked(headers: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(headers).enumerate().filter(|(number, (cell, _))| *number == 0 || !cell.is_empty());
        for (number, (cell, header)) in cells {
            let header = header.trim_start_matches('>');
            let label = if number == 0 || header.is_empty() { String::new() } else { format!("{header}: ") };
            let indent = if number == 0 { "" } else { "  " };
            text.push_str(&format!("{indent}{label}{cell}\n"));
        }
    }
    text
}

fn table(headers: &[&str], rows: &[Vec<String>]) -> String {
    let names: Vec<&str> = headers.iter().map(|header| header.trim_start_matches('>')).collect();
    let widths: Vec<usize> = (0..headers.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([names[column].chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    let header_row: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    for row in std::iter::once(&header_row).chain(rows) {
        let mut line = String::new();
        for ((cell, &width), header) in row.iter().zip(&widths).zip(headers) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            if header.starts_with('>') {
                line.push_str(&format!("{cell:>width$}"));
            } else {
                line.push_str(&format!("{cell:<width$}"));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["a".into(), "10".into()], vec!["long name".into(), "7".into()]];
        assert_eq!(table(&["name", ">size"], &rows), "name       size\na            10\nlong name     7\n");
    }

    #[test]
    fn narrow_terminal_has_the_cells_below_each_other() {
        let rows = vec![vec!["files.host".into(), "10".into(), String::new(), "STALE".into()]];
        let headers = ["item", ">points", "size", ""];
        assert_eq!(fitting(&headers, &rows, Some(31)), table(&headers, &rows));
        assert_eq!(fitting(&headers, &rows, None), table(&headers, &rows));
        assert_eq!(fitting(&headers, &rows, Some(20)), "files.host\n  points: 10\n  STALE\n");
    }

    #[test]
    fn terminal_without_utf8_is_shown_numbers() {
        assert_eq!(ascii("caf\u{e9}"), "caf\\u{e9}");
        let with = |variables: &[(&str, &str)]| {
            let find =
                |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            is_utf8(find)
        };
        assert!(with(&[("LANG", "de_DE.UTF-8")]) && with(&[("LC_ALL", ""), ("LC_CTYPE", "C.utf8")]));
        assert!(!with(&[]) && !with(&[("LANG", "de_DE.UTF-8"), ("LC_ALL", "C")]) && !with(&[("LANG", "POSIX")]));
    }

    #[test]
    fn pipe_of_somebody_else_that_broke_is_no_reader_that_has_gone() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        let told = Stdout::told::<()>(Err(broken())).context("write to standard output").unwrap_err();
        assert!(ReaderGone::is_behind(&told));
        assert!(!ReaderGone::is_behind(&Error::new(broken()).context("send a message to the device")));
        let full = Stdout::told::<()>(Err(io::ErrorKind::StorageFull.into())).unwrap_err();
        assert!(!ReaderGone::is_behind(&full.into()));
    }

    #[test]
    fn names_cannot_control_the_terminal() {
        assert_eq!(printable(OsStr::from_bytes(b"a\x1b[2Jb\nc\xff\xc3\xa9")), "a\\u{1b}[2Jb\\nc\\xffé");
    }
}
