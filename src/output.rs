//! Data on standard output: tables for people, JSON for programs. The only writer of standard output.

use std::io::{self, Write};

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
        self.bytes(format!("{line}\n").as_bytes())
    }

    /// Prints a value as one line of JSON.
    pub fn json_line(&self, value: &impl Serialize) -> Result<()> {
        self.line(&serde_json::to_string(value).context("write JSON")?)
    }

    /// Prints a value as a JSON document, indented for reading.
    pub fn json_document(&self, value: &impl Serialize) -> Result<()> {
        self.line(&serde_json::to_string_pretty(value).context("write JSON")?)
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
    /// Columns whose header starts with `>` are aligned right.
    pub fn table(&self, headers: &[&str], rows: &[Vec<String>]) -> Result<()> {
        self.bytes(table(headers, rows).as_bytes())
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
