//! The globs of `exclude` as arguments of GNU find, so that what is left out is not even walked on the machine.
//!
//! What find leaves out must be left out by our own rules too, which see everything that find lists: so a glob that cannot be said exactly is not
//! said at all. The arguments mean this only under `LC_ALL=C`, in which one character is one byte, as it is for `globset`.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use globset::GlobBuilder;

mod ere;

/// How `globset` says `**/` at the beginning.
const ANYWHERE: &[u8] = b"(/?|.*/)";

/// The arguments that stand between the roots and what is done with the entries: `find ROOTS <these> -printf …`. Nothing, when there is nothing
/// to leave out. The roots themselves are never left out.
pub(super) fn prune(exclude: &[String], roots: &[PathBuf]) -> Vec<Vec<u8>> {
    let Some(excluded) = excluded(exclude) else { return Vec::new() };
    let roots = roots.iter().map(|root| vec![b"-regex".to_vec(), ere::literal(root.as_os_str().as_bytes())]);
    let roots = roots.reduce(or).unwrap_or_default();
    let mut words = vec![b"-regextype".to_vec(), b"posix-extended".to_vec()];
    words.extend(group(excluded));
    if !roots.is_empty() {
        words.push(b"!".to_vec());
        words.extend(group(roots));
    }
    words.extend([b"-prune".to_vec(), b"-o".to_vec()]);
    words
}

/// What the lines leave out, as one expression: the last line that fits an entry decides.
fn excluded(exclude: &[String]) -> Option<Vec<Vec<u8>>> {
    let mut expression = None;
    for line in exclude.iter().filter_map(|line| Line::read(line)) {
        let test = line.test();
        expression = match (test, line.takes_back, expression) {
            (Some(test), false, Some(earlier)) => Some(or(earlier, test)),
            (Some(test), false, None) => Some(test),
            (Some(test), true, Some(earlier)) => {
                // `!` binds to what stands next to it, and to nothing else.
                let mut both = vec![b"!".to_vec()];
                both.extend(group(test));
                both.extend(group(earlier));
                Some(both)
            }
            // What cannot be said might take back anything.
            (None, true, _) => None,
            (_, _, earlier) => earlier,
        };
    }
    expression
}

fn or(mut earlier: Vec<Vec<u8>>, later: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    earlier.push(b"-o".to_vec());
    earlier.extend(later);
    earlier
}

fn group(expression: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut words = vec![b"(".to_vec()];
    words.extend(expression);
    words.push(b")".to_vec());
    words
}

/// A line of a `.gitignore`, taken apart as `ignore` does it.
struct Line {
    /// The glob that fits the whole path without the slash at its beginning.
    glob: String,
    takes_back: bool,
    only_directories: bool,
}

impl Line {
    /// `None` when the line says nothing.
    fn read(line: &str) -> Option<Self> {
        let text = if line.ends_with("\\ ") { line } else { line.trim_end() };
        if text.is_empty() || text.starts_with('#') {
            return None;
        }
        let (mut rest, mut anchored, mut takes_back) = (text, false, false);
        if text.starts_with("\\!") || text.starts_with("\\#") {
            rest = &text[1..];
        } else {
            if let Some(glob) = rest.strip_prefix('!') {
                (rest, takes_back) = (glob, true);
            }
            if let Some(glob) = rest.strip_prefix('/') {
                (rest, anchored) = (glob, true);
            }
        }
        let directory = rest.strip_suffix('/');
        let only_directories = directory.is_some();
        let rest = directory.map_or(rest, |glob| glob.strip_suffix('\\').unwrap_or(glob));
        let mut glob = rest.to_owned();
        if !anchored && !rest.contains('/') && rest != "**" {
            glob.insert_str(0, "**/");
        }
        if glob.ends_with("/**") {
            glob.push_str("/*");
        }
        Some(Self { glob, takes_back, only_directories })
    }

    /// The line as a test of find; `None` when it cannot be said exactly.
    fn test(&self) -> Option<Vec<Vec<u8>>> {
        let glob = GlobBuilder::new(&self.glob).literal_separator(true).backslash_escape(true).build().ok()?;
        let mut words = Vec::new();
        if self.only_directories {
            words.extend([b"-type".to_vec(), b"d".to_vec()]);
        }
        let ere = ere::of_glob(glob.regex())?;
        // Every path begins with a slash, and people read this when they allow it with sudo.
        let path = match ere.strip_prefix(ANYWHERE) {
            Some(name) => [b".*/", name].concat(),
            None => [b"/", ere.as_slice()].concat(),
        };
        words.extend([b"-regex".to_vec(), path]);
        Some(words)
    }
}

#[cfg(test)]
mod tests;
