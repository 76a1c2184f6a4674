//! The globs of `exclude`: lines as in a `.gitignore` at the configured directory, or at `/` for what lies elsewhere.

use std::fs;
use std::path::{Component, Path};

use anyhow::{Context, Result};

use crate::source::globs::Globs;

/// The lines, each of which may begin at one directory.
#[derive(Debug)]
pub(super) struct Excludes<'c> {
    pub(super) lines: &'c [String],
    /// Where they begin.
    pub(super) directory: Option<&'c Path>,
}

impl Excludes<'_> {
    /// The lines for what is below `folder`, as they would be in a `.gitignore` at `/`. A folder may be a link to somewhere else: it is read
    /// there, but goes by the name that it has in the directory.
    ///
    /// # Errors
    ///
    /// When the folder cannot be found.
    pub(super) fn below(&self, folder: &Path) -> Result<Vec<String>> {
        let Some(directory) = self.directory else { return Ok(self.lines.to_vec()) };
        let real = |path: &Path| fs::canonicalize(path).with_context(|| format!("look at {}", path.display()));
        let real_folder = real(folder)?;
        let real_directory = real(directory)?;
        let below = folder.strip_prefix(directory).or_else(|_| real_folder.strip_prefix(&real_directory));
        let Ok(below) = below else { return Ok(self.lines.to_vec()) };
        let names: Vec<String> =
            below.components().map(|name| name.as_os_str().to_string_lossy().into_owned()).collect();
        Ok(self.lines.iter().flat_map(|line| moved(line, &names, &real_folder)).collect())
    }

    /// Whether a path outside of the directory is left out, or something that it is below.
    pub(super) fn excludes(&self, path: &Path) -> Result<bool> {
        let globs = Globs::new(self.lines)?;
        let is_directory = path.is_dir();
        Ok(path
            .ancestors()
            .enumerate()
            .any(|(up, path)| path.parent().is_some() && globs.excludes(path, up > 0 || is_directory)))
    }
}

/// A line for a directory as lines that mean the same for what is at `place`, which has these names below the directory.
fn moved(line: &str, names: &[String], place: &Path) -> Vec<String> {
    let (mark, glob) = line.strip_prefix('!').map_or(("", line), |glob| ("!", glob));
    let glob = glob.trim_end_matches(['\r', '\n']);
    let trimmed = glob.strip_suffix('/').unwrap_or(glob);
    if line.starts_with('#') || !trimmed.contains('/') {
        // It counts in every directory.
        return vec![line.to_owned()];
    }
    let parts: Vec<&str> = trimmed.trim_start_matches('/').split('/').collect();
    let slash = if glob.ends_with('/') { "/" } else { "" };
    let place = escaped(place);
    let rest = rests(&parts, names).into_iter().map(|rest| format!("{mark}{place}/{}{slash}", rest.join("/")));
    rest.collect()
}

/// What is left of a glob when its beginning is these names; nothing when it is not, or the names are all of it.
fn rests<'p>(parts: &[&'p str], names: &[String]) -> Vec<Vec<&'p str>> {
    let Some((first, rest)) = parts.split_first() else { return Vec::new() };
    let Some((name, below)) = names.split_first() else { return vec![parts.to_vec()] };
    if *first == "**" {
        let mut all = rests(parts, below);
        all.extend(rests(rest, names));
        return all;
    }
    let matches = globset::Glob::new(first).is_ok_and(|glob| glob.compile_matcher().is_match(name));
    if matches { rests(rest, below) } else { Vec::new() }
}

/// A path as a glob that means nothing else.
fn escaped(path: &Path) -> String {
    let mut escaped = String::new();
    for component in path.components().filter(|component| matches!(component, Component::Normal(_))) {
        escaped.push('/');
        for c in component.as_os_str().to_string_lossy().chars() {
            if r"\*?[]{}! #".contains(c) {
                escaped.push('\\');
            }
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_the_directory_become_lines_for_a_stack() {
        let cases: [(&str, &[&str]); 10] = [
            ("*/logs", &["/r/web/logs"]),
            ("/web/logs/", &["/r/web/logs/"]),
            ("web/*/x", &["/r/web/*/x"]),
            ("!w*/keep", &["!/r/web/keep"]),
            ("db/logs", &[]),
            ("web", &["web"]),
            ("/web", &[]),
            ("*.tmp", &["*.tmp"]),
            ("**/cache/x", &["/r/web/**/cache/x", "/r/web/cache/x"]),
            ("# a/b", &["# a/b"]),
        ];
        for (line, expected) in cases {
            assert_eq!(moved(line, &["web".to_owned()], Path::new("/r/web")), expected, "{line}");
        }
        assert_eq!(moved("*/logs", &[], Path::new("/r")), ["/r/*/logs"]);
    }

    #[test]
    fn odd_names_of_folders_mean_themselves() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("a [b] {c}*");
        fs::create_dir_all(folder.join("logs")).unwrap();
        let lines = ["*/logs".to_owned()];
        let excludes = Excludes { lines: &lines, directory: Some(directory.path()) };
        let globs = Globs::new(&excludes.below(&folder).unwrap()).unwrap();
        let real = fs::canonicalize(&folder).unwrap();
        assert!(globs.excludes(&real.join("logs"), true));
        assert!(!globs.excludes(&directory.path().join("a b c").join("logs"), true));
    }

    #[test]
    fn folder_that_is_a_link_goes_by_its_name_in_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let folder = directory.path().join("web");
        std::os::unix::fs::symlink(elsewhere.path(), &folder).unwrap();
        let lines = ["web/logs".to_owned()];
        let excludes = Excludes { lines: &lines, directory: Some(directory.path()) };
        let real = fs::canonicalize(elsewhere.path()).unwrap();
        assert_eq!(excludes.below(&folder).unwrap(), [format!("{}/logs", real.display())]);
    }

    #[test]
    fn paths_elsewhere_are_excluded_from_the_root() {
        let lines = ["/mnt/media".to_owned(), "*.iso".to_owned()];
        let excludes = Excludes { lines: &lines, directory: Some(Path::new("/opt/stacks")) };
        for (path, expected) in
            [("/mnt/media", true), ("/mnt/media/films", true), ("/srv/x.iso", true), ("/mnt/other", false)]
        {
            assert_eq!(excludes.excludes(Path::new(path)).unwrap(), expected, "{path}");
        }
    }
}
