//! What the tables of sources have in common: what is read, what is left out of it, and when it is due.
//!
//! Those of `files` and `ssh` are written out as tables of their own, because serde's `flatten` would accept unknown keys; here they are one. The others share only when they are due.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use ignore::gitignore::GitignoreBuilder;
use toml::Spanned;

use super::absolute;
use crate::config::file::{FilesTable, SshTable};
use crate::config::problem::Collector;
use crate::config::strict::Removed;
use crate::config::{LeaveOut, SourceCommon};
use crate::quantity::{parse_duration, parse_size, show_duration};

/// The keys that both have.
pub(super) struct Shared<'t> {
    name: &'t Spanned<String>,
    /// `files.host`
    pub(super) key: String,
    pub(super) paths: Option<&'t Spanned<Vec<Spanned<String>>>>,
    exclude: &'t [Spanned<String>],
    one_file_system: bool,
    exclude_caches: bool,
    exclude_larger_than: Option<&'t Spanned<String>>,
    every: Option<&'t Spanned<String>>,
    max_age: Option<&'t Spanned<String>>,
    allow_empty: bool,
}

impl<'t> Shared<'t> {
    pub(super) fn of_files(name: &'t Spanned<String>, table: &'t FilesTable) -> Self {
        Self {
            name,
            key: format!("files.{}", name.get_ref()),
            paths: table.paths.as_ref(),
            exclude: &table.exclude,
            one_file_system: table.one_file_system,
            exclude_caches: table.exclude_caches,
            exclude_larger_than: table.exclude_larger_than.as_ref(),
            every: table.every.as_ref(),
            max_age: table.max_age.as_ref(),
            allow_empty: table.allow_empty,
        }
    }

    pub(super) fn of_ssh(name: &'t Spanned<String>, table: &'t SshTable) -> Self {
        Self {
            name,
            key: format!("ssh.{}", name.get_ref()),
            paths: table.paths.as_ref(),
            exclude: &table.exclude,
            one_file_system: table.one_file_system,
            exclude_caches: table.exclude_caches,
            exclude_larger_than: table.exclude_larger_than.as_ref(),
            every: table.every.as_ref(),
            max_age: table.max_age.as_ref(),
            allow_empty: table.allow_empty,
        }
    }

    /// Of a table that has nothing in common with the others but when it is due.
    pub(super) fn of_timing(
        kind: &str,
        name: &'t Spanned<String>,
        [every, max_age]: [Option<&'t Spanned<String>>; 2],
        allow_empty: bool,
    ) -> Self {
        Self {
            name,
            key: format!("{kind}.{}", name.get_ref()),
            paths: None,
            exclude: &[],
            one_file_system: false,
            exclude_caches: false,
            exclude_larger_than: None,
            every,
            max_age,
            allow_empty,
        }
    }

    /// The paths, each once.
    pub(super) fn paths(&self, problems: &mut Collector) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        let mut seen = BTreeSet::new();
        let key = format!("{}.paths", self.key);
        for text in self.paths.into_iter().flat_map(Spanned::get_ref) {
            let Some(path) = problems.take(&text.span(), &key, absolute(text.get_ref())) else { continue };
            if seen.insert(path.clone()) {
                paths.push(path);
            } else {
                problems.report(&text.span(), &key, format!("`{}` is listed twice", path.display()));
            }
        }
        paths
    }

    /// Reports that no path is given, unless what was given is reported already.
    pub(super) fn report_missing_paths(&self, removed: &Removed, problems: &mut Collector) {
        let key = format!("{}.paths", self.key);
        let was_wrong = removed.iter().any(|removed| removed.starts_with(&key));
        if self.paths.is_none_or(|paths| paths.get_ref().is_empty()) && !was_wrong {
            let span = self.paths.map_or(self.name.span(), Spanned::span);
            problems.report(&span, key, "missing; list at least one absolute path");
        }
    }

    pub(super) fn leave_out(&self, problems: &mut Collector) -> LeaveOut {
        let mut exclude = Vec::new();
        for text in self.exclude {
            let checked = check_exclude(text.get_ref()).map(|()| text.get_ref().clone());
            exclude.extend(problems.take(&text.span(), format!("{}.exclude", self.key), checked));
        }
        LeaveOut {
            exclude,
            one_file_system: self.one_file_system,
            exclude_caches: self.exclude_caches,
            exclude_larger_than: self.exclude_larger_than.and_then(|text| {
                problems.take(&text.span(), format!("{}.exclude-larger-than", self.key), parse_size(text.get_ref()))
            }),
        }
    }

    pub(super) fn common(&self, problems: &mut Collector) -> SourceCommon {
        let (every, max_age) =
            (self.duration("every", self.every, problems), self.duration("max-age", self.max_age, problems));
        if let (Some(stale), Some(text)) = (max_age, self.max_age) {
            let key = format!("{}.max-age", self.key);
            if stale.is_zero() {
                let every_point = "every point is older than that; leave the key out to never complain";
                problems.report(&text.span(), key, every_point);
            } else if let Some(due) = every.filter(|&due| stale < due) {
                let due = show_duration(due);
                let shorter = format!("shorter than `every` ({due}): it would be reported as stale before it is due");
                problems.report(&text.span(), key, shorter);
            }
        }
        SourceCommon { name: self.name.get_ref().clone(), every, max_age, allow_empty: self.allow_empty }
    }

    /// The duration that stands under the key `name`.
    pub(super) fn duration(
        &self,
        name: &str,
        text: Option<&Spanned<String>>,
        problems: &mut Collector,
    ) -> Option<Duration> {
        let text = text?;
        problems.take(&text.span(), format!("{}.{name}", self.key), parse_duration(text.get_ref()))
    }
}

/// Whether a line of a `.gitignore` means something.
///
/// # Errors
///
/// Why it does not.
pub(crate) fn check_exclude(line: &str) -> Result<(), String> {
    if line.trim().is_empty() {
        return Err("is empty and excludes nothing".to_owned());
    }
    if line.starts_with('#') {
        return Err(format!("`{line}` is a comment and excludes nothing; write `\\{line}`"));
    }
    // A class that is not closed is more often a mistake than a name with a bracket.
    match GitignoreBuilder::new("/").allow_unclosed_class(false).add_line(None, line) {
        Ok(_) => Ok(()),
        Err(ignore::Error::Glob { err, .. }) => Err(format!("`{line}` is no glob: {err}")),
        Err(error) => Err(format!("`{line}` is no glob: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excludes_are_lines_of_a_gitignore() {
        for line in ["*.tmp", "/home/*/.cache", "!keep", "a/**/b/", "\\#x", "[a-c]"] {
            assert_eq!(check_exclude(line), Ok(()), "{line}");
        }
        for line in ["", "  ", "# x", "[a", "{a,b", "a\\", "/a\\\\/"] {
            assert!(check_exclude(line).is_err(), "{line}");
        }
    }
}
