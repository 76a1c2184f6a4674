//! The sources: their names, when they are due, and what each kind needs.

use std::collections::BTreeSet;
use std::time::Duration;

use globset::GlobBuilder;
use toml::Spanned;

use super::absolute;
use crate::config::file::{File, FilesTable};
use crate::config::problem::Collector;
use crate::config::strict::Removed;
use crate::config::{FilesConfig, SourceCommon, SourceConfig};
use crate::quantity::{parse_duration, parse_size, show_duration};

/// The names of all sources, also of those that have problems.
#[derive(Debug)]
pub(super) struct Names(Vec<(String, String)>);

impl Names {
    /// Reports names that cannot be and names used twice.
    pub(super) fn check(written: &File, problems: &mut Collector) -> Self {
        Self::of(written.files.keys().map(|name| ("files", name)), problems)
    }

    fn of<'n>(kinds: impl Iterator<Item = (&'static str, &'n Spanned<String>)>, problems: &mut Collector) -> Self {
        let mut names: Vec<(String, String)> = Vec::new();
        for (kind, spanned) in kinds {
            let name = spanned.get_ref();
            let id = format!("{kind}.{name}");
            if let Some(near) = better_name(name) {
                problems.report(&spanned.span(), &id, format!("`{name}` cannot be a name{near}"));
            }
            if let Some((first, _)) = names.iter().find(|(_, known)| known == name) {
                let text = format!("the name `{name}` is used by {first} as well; names are unique across kinds");
                problems.report(&spanned.span(), &id, text);
            }
            names.push((id, name.clone()));
        }
        Self(names)
    }

    /// Each source as `KIND.NAME` and as `NAME`.
    pub(super) fn ids(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(id, name)| (id.as_str(), name.as_str()))
    }
}

/// Why a name is none, as the end of a message; `None` when it is one: `[a-z0-9][a-z0-9_-]*`.
fn better_name(name: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.starts_with(is_plain) && name.chars().all(|c| is_plain(c) || c == '_' || c == '-') {
        return None;
    }
    let lower = name.to_lowercase();
    let near: String = lower.chars().map(|c| if is_plain(c) || c == '_' { c } else { '-' }).collect();
    let near = near.trim_matches(['-', '_']);
    let rule = ": it is made of a-z, 0-9, _ and -, and begins with a letter or digit";
    Some(if near.is_empty() { rule.to_owned() } else { format!("{rule}; write `{near}`") })
}

/// Whether `name` can be the name of a source.
///
/// # Errors
///
/// Why not, and what to write instead.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    better_name(name).map_or(Ok(()), |near| Err(format!("`{name}` cannot be a name{near}")))
}

pub(super) fn check(written: &File, removed: &Removed, problems: &mut Collector) -> Vec<SourceConfig> {
    let files = written.files.iter().map(|(name, table)| SourceConfig::Files(files(name, table, removed, problems)));
    files.collect()
}

fn files(name: &Spanned<String>, table: &FilesTable, removed: &Removed, problems: &mut Collector) -> FilesConfig {
    let key = format!("files.{}", name.get_ref());
    let mut paths = Vec::new();
    let mut seen = BTreeSet::new();
    let paths_key = format!("{key}.paths");
    for text in table.paths.iter().flat_map(Spanned::get_ref) {
        let Some(path) = problems.take(&text.span(), &paths_key, absolute(text.get_ref())) else { continue };
        if seen.insert(path.clone()) {
            paths.push(path);
        } else {
            problems.report(&text.span(), &paths_key, format!("`{}` is listed twice", path.display()));
        }
    }
    let was_wrong = removed.iter().any(|removed| removed.starts_with(&paths_key));
    if table.paths.as_ref().is_none_or(|paths| paths.get_ref().is_empty()) && !was_wrong {
        let span = table.paths.as_ref().map_or(name.span(), Spanned::span);
        problems.report(&span, &paths_key, "missing; list at least one absolute path");
    }
    let mut exclude = Vec::new();
    for text in &table.exclude {
        let checked = check_exclude(text.get_ref()).map(|()| text.get_ref().clone());
        exclude.extend(problems.take(&text.span(), format!("{key}.exclude"), checked));
    }
    FilesConfig {
        common: common(name, &key, table.every.as_ref(), table.max_age.as_ref(), table.allow_empty, problems),
        paths,
        exclude,
        one_file_system: table.one_file_system,
        exclude_caches: table.exclude_caches,
        exclude_larger_than: table.exclude_larger_than.as_ref().and_then(|text| {
            problems.take(&text.span(), format!("{key}.exclude-larger-than"), parse_size(text.get_ref()))
        }),
    }
}

fn common(
    name: &Spanned<String>,
    key: &str,
    every: Option<&Spanned<String>>,
    max_age: Option<&Spanned<String>>,
    allow_empty: bool,
    problems: &mut Collector,
) -> SourceCommon {
    let mut duration = |text: Option<&Spanned<String>>, name: &str| -> Option<Duration> {
        let text = text?;
        problems.take(&text.span(), format!("{key}.{name}"), parse_duration(text.get_ref()))
    };
    let (due, stale) = (duration(every, "every"), duration(max_age, "max-age"));
    if let (Some(stale), Some(text)) = (stale, max_age) {
        let key = format!("{key}.max-age");
        if stale.is_zero() {
            problems.report(&text.span(), key, "every point is older than that; leave the key out to never complain");
        } else if let Some(due) = due.filter(|&due| stale < due) {
            let text_of_error = format!(
                "shorter than `every` ({}): it would be reported as stale before it is due",
                show_duration(due)
            );
            problems.report(&text.span(), key, text_of_error);
        }
    }
    SourceCommon { name: name.get_ref().clone(), every: due, max_age: stale, allow_empty }
}

/// Whether a line of a `.gitignore` means something. The parts around the glob are gitignore's, the glob is compiled as there.
fn check_exclude(line: &str) -> Result<(), String> {
    if line.trim().is_empty() {
        return Err("is empty and excludes nothing".to_owned());
    }
    if line.starts_with('#') {
        return Err(format!("`{line}` is a comment and excludes nothing; write `\\{line}`"));
    }
    let line_without_sign = line.strip_prefix('!').unwrap_or(line);
    let glob = line_without_sign.trim_start_matches('/').trim_end_matches('/');
    match GlobBuilder::new(glob).literal_separator(true).backslash_escape(true).build() {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("`{line}` is no glob: {}", error.kind())),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn name_is_unique_across_kinds() {
        let text = "[files.web]\n[ssh.web]\n";
        let names = [("files", Spanned::new(7..10, "web".to_owned())), ("ssh", Spanned::new(17..20, "web".to_owned()))];
        let mut problems = Collector::new(text);
        Names::of(names.iter().map(|(kind, name)| (*kind, name)), &mut problems);
        assert_eq!(
            problems.into_result(Path::new("x"), ()).unwrap_err().to_string(),
            "x: 1 problem\n  line 2: ssh.web: the name `web` is used by files.web as well; names are unique across kinds"
        );
    }

    #[test]
    fn names_are_plain() {
        for name in ["host", "0", "a_b-c"] {
            assert_eq!(check_name(name), Ok(()));
        }
        for (name, near) in [("My Host", "; write `my-host`"), ("-x", "; write `x`"), ("", "digit"), ("ä", "digit")] {
            let error = check_name(name).unwrap_err();
            assert!(error.ends_with(near), "{error}");
        }
    }

    #[test]
    fn excludes_are_lines_of_a_gitignore() {
        for line in ["*.tmp", "/home/*/.cache", "!keep", "a/**/b/", "\\#x", "[a-c]"] {
            assert_eq!(check_exclude(line), Ok(()), "{line}");
        }
        for line in ["", "  ", "# x", "[a", "{a,b", "a\\"] {
            assert!(check_exclude(line).is_err(), "{line}");
        }
    }
}
