//! Which excludes can be applied where the files are, because they are plain paths.

/// The paths that these globs (as in a `.gitignore` at the root) leave out with all below them whatever else is there: lines that are absolute paths
/// without wildcards, and that no later line takes back.
pub(in super::super) fn prunable(exclude: &[String]) -> Vec<Vec<u8>> {
    let later = exclude.iter().rposition(|line| line.starts_with('!')).map_or(0, |last| last + 1);
    exclude[later..].iter().filter(|line| is_plain(line)).map(|line| line.clone().into_bytes()).collect()
}

/// Blanks at the end may count or not, and with a slash there only directories are meant: these are left to who reads the listing.
fn is_plain(line: &str) -> bool {
    line.len() > 1
        && line.starts_with('/')
        && !line.ends_with(['/', ' ', '\t', '\r'])
        && !line.contains(['*', '?', '[', ']', '{', '}', '\\', '\n', '\0'])
        && line[1..].split('/').all(|name| !matches!(name, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pruned(exclude: &[&str]) -> Vec<String> {
        let exclude: Vec<String> = exclude.iter().map(ToString::to_string).collect();
        prunable(&exclude).into_iter().map(|path| String::from_utf8(path).unwrap()).collect()
    }

    #[test]
    fn only_plain_absolute_paths_are_pruned() {
        let exclude =
            ["/proc", "*.tmp", "/home/*/.cache", "/var/", "/a ", "tmp", "#/x", "/", "/a//b", "/a/../b", "/srv/a b"];
        assert_eq!(pruned(&exclude), ["/proc", "/srv/a b"]);
    }

    #[test]
    fn what_a_later_line_may_take_back_is_listed() {
        assert_eq!(pruned(&["/proc", "!/proc/version", "/sys"]), ["/sys"]);
        assert_eq!(pruned(&["/proc", "!*"]), [""; 0]);
    }
}
