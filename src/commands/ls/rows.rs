//! JSON about many paths, for every command that lists files.

use std::io::{self, Write};
use std::path::Path;

use crate::output::printable;

/// A path for JSON, which escapes control characters itself; only one that is not UTF-8 needs help.
pub(in crate::commands) fn path_text(path: &Path) -> String {
    path.to_str().map_or_else(|| printable(path.as_os_str()), ToOwned::to_owned)
}

/// An array of JSON objects that is written as it is found, one a line: a tree may have millions.
pub(in crate::commands) struct JsonRows<W: Write> {
    writer: W,
    is_empty: bool,
}

impl<W: Write> JsonRows<W> {
    pub(in crate::commands) fn new(writer: W) -> Self {
        Self { writer, is_empty: true }
    }

    pub(in crate::commands) fn push(&mut self, row: &serde_json::Value) -> io::Result<()> {
        let separator = if self.is_empty { "[\n" } else { ",\n" };
        self.is_empty = false;
        write!(self.writer, "{separator}{row}")
    }

    pub(in crate::commands) fn finish(mut self) -> io::Result<()> {
        let end = if self.is_empty { "[]\n" } else { "\n]\n" };
        self.writer.write_all(end.as_bytes())?;
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use serde_json::json;

    use super::*;

    #[test]
    fn rows_are_a_json_array_however_many_there_are() {
        let rows = |count: i64| {
            let mut text = Vec::new();
            let mut rows = JsonRows::new(&mut text);
            (0..count).for_each(|n| rows.push(&json!({"n": n})).unwrap());
            rows.finish().unwrap();
            serde_json::from_slice::<serde_json::Value>(&text).unwrap()
        };
        assert_eq!(rows(0), json!([]));
        assert_eq!(rows(2), json!([{"n": 0}, {"n": 1}]));
    }

    #[test]
    fn path_that_is_not_utf8_is_shown_escaped_in_json() {
        assert_eq!(path_text(Path::new("/a\nb")), "/a\nb");
        assert_eq!(path_text(Path::new(OsStr::from_bytes(b"/\xff"))), "/\\xff");
    }
}
