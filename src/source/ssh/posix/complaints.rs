//! What programs say on standard error when they could not look at something.

use std::io;

use crate::source::{Problem, Severity};

/// What kind of error a complaint ends with. Programs put the reason behind the name, so that no name can feign one.
pub(super) fn kind(reason: &str) -> io::ErrorKind {
    // A shell says it in its own words: `no such file`.
    let reason = reason.trim_end().to_ascii_lowercase();
    if reason.ends_with(": no such file or directory") || reason.ends_with(": no such file") {
        io::ErrorKind::NotFound
    } else if reason.ends_with(": permission denied") || reason.ends_with(": operation not permitted") {
        io::ErrorKind::PermissionDenied
    } else {
        io::ErrorKind::Other
    }
}

/// What `find` complained about; `root` stands for what it does not name.
///
/// A name may contain newlines and so spread over several lines: each that is not understood counts as something unread.
pub(super) fn problems(complaints: &[u8], root: &[u8]) -> Vec<Problem> {
    let text = String::from_utf8_lossy(complaints);
    let mut has_found = false;
    let mut problems = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        has_found |= line.starts_with("find: ");
        // `sudo` says that it does not know the machine's own name, and does its work all the same.
        if !has_found && line.starts_with("sudo: ") {
            problems.push(told(root, line, Severity::Warning));
        } else {
            problems.push(understood(line).unwrap_or_else(|| told(root, line, Severity::Unread)));
        }
    }
    problems
}

/// `find: PATH: REASON`, in which some put the path into quotation marks.
fn understood(line: &str) -> Option<Problem> {
    let (path, reason) = line.strip_prefix("find: ")?.rsplit_once(": ")?;
    let path = path.trim_matches(['\'', '`', '‘', '’']);
    path.starts_with('/').then(|| super::problem(path.as_bytes(), &format!("find: {reason}")))
}

fn told(root: &[u8], line: &str, severity: Severity) -> Problem {
    Problem { path: String::from_utf8_lossy(root).into_owned().into(), error: line.to_owned(), severity }
}

/// The complaints as the end of an error message; nothing if there are none.
pub(super) fn text(complaints: &[u8]) -> String {
    let text = String::from_utf8_lossy(complaints);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() { String::new() } else { format!(": {}", lines[lines.len().saturating_sub(5)..].join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(complaints: &str) -> Vec<(String, Severity)> {
        let problems = problems(complaints.as_bytes(), b"/root");
        problems.into_iter().map(|problem| (problem.path.display().to_string(), problem.severity)).collect()
    }

    #[test]
    fn vanished_is_a_warning_and_anything_else_is_unread() {
        use Severity::{Unread, Warning};
        let at = |path: &str, severity| (path.to_owned(), severity);
        assert_eq!(seen("find: /a: No such file or directory\n"), [at("/a", Warning)]);
        assert_eq!(seen("find: '/a b': Permission denied\n"), [at("/a b", Unread)]);
        assert_eq!(
            seen("sudo: unable to resolve host x\nfind: /a: Input/output error"),
            [at("/root", Warning), at("/a", Unread)]
        );
        // A directory whose name ends a line as if it had vanished.
        assert_eq!(
            seen("find: /a: No such file or directory\nx: Permission denied"),
            [at("/a", Warning), at("/root", Unread)]
        );
        assert_eq!(
            seen("find: /a: No such file or directory\nsudo: Permission denied"),
            [at("/a", Warning), at("/root", Unread)]
        );
    }

    #[test]
    fn kinds_are_told_by_the_end() {
        assert_eq!(kind("cat: can't open '/a': No such file or directory"), io::ErrorKind::NotFound);
        assert_eq!(kind("sh: can't open /a: no such file\n"), io::ErrorKind::NotFound);
        assert_eq!(kind("sh: 1: cannot open /a: No such file"), io::ErrorKind::NotFound);
        assert_eq!(kind("cat: /a: No such file or directory: Permission denied"), io::ErrorKind::PermissionDenied);
        assert_eq!(kind("stat: not found"), io::ErrorKind::Other);
    }
}
