//! What is wrong with a configuration file: every problem with its line, in one error.
//!
//! Checks report here and go on; whoever started them asks at the end whether anything was found. A text that is reported never
//! holds a value that may be a secret: keys and what is expected, not what stands there.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The line of the file, 1-based.
    pub line: usize,
    /// The dotted key, `files.host.every`; empty when the file is not even TOML there.
    pub key: String,
    /// What is wrong, and what to write instead when that can be guessed.
    pub text: String,
}

/// Every problem of a file: the error of a configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// The file.
    pub file: PathBuf,
    /// The problems, by line; at least one.
    pub problems: Vec<Problem>,
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.problems.len() == 1 { "" } else { "s" };
        write!(f, "{}: {} problem{plural}", self.file.display(), self.problems.len())?;
        for Problem { line, key, text } in &self.problems {
            let separator = if key.is_empty() { "" } else { ": " };
            write!(f, "\n  line {line}: {key}{separator}{text}")?;
        }
        Ok(())
    }
}

/// Collects the problems of one text.
#[derive(Debug)]
pub(super) struct Collector<'t> {
    text: &'t str,
    found: BTreeSet<Problem>,
}

impl<'t> Collector<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, found: BTreeSet::new() }
    }

    /// The 1-based line of a place in the text.
    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        line_at(self.text.as_bytes(), span.start)
    }

    /// Reports a problem of the key or value at `span`.
    pub(super) fn report(&mut self, span: &Range<usize>, key: impl Into<String>, text: impl fmt::Display) {
        self.found.insert(Problem { line: self.line(span), key: key.into(), text: text.to_string() });
    }

    /// The value of a check that went well; else reports why it did not.
    pub(super) fn take<T>(
        &mut self,
        span: &Range<usize>,
        key: impl Into<String>,
        checked: Result<T, impl fmt::Display>,
    ) -> Option<T> {
        checked.map_err(|error| self.report(span, key, error)).ok()
    }

    /// The value, when nothing was found.
    pub(super) fn into_result<T>(self, file: &Path, value: T) -> Result<T, Problems> {
        if self.found.is_empty() {
            return Ok(value);
        }
        Err(Problems { file: file.to_path_buf(), problems: self.found.into_iter().collect() })
    }
}

/// The 1-based line of the byte at `offset`.
pub(super) fn line_at(text: &[u8], offset: usize) -> usize {
    text.iter().take(offset).filter(|&&byte| byte == b'\n').count() + 1
}

/// The closest of `known` to `word`, as the end of a message: ``; did you mean `paths`?``. Empty when none is near.
pub(super) fn did_you_mean<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    nearest(word, known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

/// The closest of `known` to `word`, if any is near enough to be meant.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_ascii_lowercase().replace('_', "-");
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&word, candidate), candidate))
        .filter(|&(similarity, _)| similarity >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_printed_by_line_with_their_keys() {
        let mut found = Collector::new("a\nb\nc\n");
        found.report(&(4..5), "files.host", "second");
        found.report(&(0..1), "", "first");
        let problems = found.into_result(Path::new("/etc/x.toml"), ()).unwrap_err();
        assert_eq!(problems.to_string(), "/etc/x.toml: 2 problems\n  line 1: first\n  line 3: files.host: second");
    }

    #[test]
    fn nothing_found_gives_the_value() {
        assert_eq!(Collector::new("").into_result(Path::new("x"), 7), Ok(7));
    }

    #[test]
    fn suggestion_is_made_only_for_something_near() {
        let known = ["paths", "exclude", "one-file-system"];
        assert_eq!(did_you_mean("pathz", known), "; did you mean `paths`?");
        assert_eq!(did_you_mean("one_filesystem", known), "; did you mean `one-file-system`?");
        assert_eq!(did_you_mean("password", known), "");
    }
}
