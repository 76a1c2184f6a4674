//! What programs on a machine wrote to standard error: which entries they could not read, and why.

use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use anyhow::{Error, anyhow};

use super::connection::{COMPLAINTS, Ended};
use crate::error::Annotate;
use crate::source::{Problem, Severity};

/// Why a program did not run, as far as its complaints tell.
pub(super) fn refused(ended: &Ended, program: &str) -> Error {
    if let Some(error) = of_sudo(ended) {
        return error;
    }
    match ended.complaint() {
        complaint if complaint.is_empty() => anyhow!("{program} ended with {}", ended.status),
        complaint => anyhow!("{program} ended with {}: {complaint}", ended.status),
    }
}

/// An error with what sudo said when it did not run a program.
pub(super) fn of_sudo(ended: &Ended) -> Option<Error> {
    let error = anyhow!("sudo does not run it: {}", said_by_sudo(ended)?);
    let hinted: anyhow::Result<()> = Err(error).hint("`holdall check` prints the lines that its sudoers file needs.");
    hinted.err()
}

/// What sudo said.
pub(super) fn said_by_sudo(ended: &Ended) -> Option<String> {
    let text = String::from_utf8_lossy(&ended.complaints);
    let refusal = |line| Some(line).filter(|line: &&str| line.starts_with("Sorry, user "));
    let said = text.lines().filter_map(|line| line.strip_prefix("sudo: ").or(refusal(line)));
    // It does its work all the same.
    let line = said.into_iter().find(|line| !line.starts_with("unable to resolve host"))?;
    Some(crate::output::printable(std::ffi::OsStr::new(line)))
}

/// The entries that a program named in its complaints: `find: '/root/x': Permission denied`, `tar: /root/x: Cannot open: Permission denied`.
pub(super) fn problems(complaints: &[u8], program: &str) -> Vec<Problem> {
    let prefix = [program.as_bytes(), b": "].concat();
    let lines = complaints.split(|&byte| byte == b'\n');
    let named = lines.filter_map(|line| {
        // Programs are run by their whole path and say so.
        let at = line.windows(prefix.len()).position(|window| window == prefix)?;
        named(&line[at + prefix.len()..])
    });
    let mut problems: Vec<Problem> = named.collect();
    if complaints.len() >= COMPLAINTS {
        // What was said behind that is not known, and may be of files that look whole.
        let error = format!("{program} complained of more than can be told");
        problems.push(Problem { path: PathBuf::from("/"), error, severity: Severity::Unread });
    }
    problems
}

/// A complaint that begins with a path.
fn named(line: &[u8]) -> Option<Problem> {
    let (path, error) = match line.first()? {
        b'\'' | b'`' => {
            let end = line.windows(2).rposition(|window| window == b"':")?;
            (unescaped(&line[1..end]), line.get(end + 3..)?)
        }
        b'/' => split_escaped(line)?,
        _ => return None,
    };
    let error = String::from_utf8_lossy(error).into_owned();
    let has_vanished = error.ends_with("No such file or directory") || error.contains("File removed before we read it");
    let path = PathBuf::from(std::ffi::OsString::from_vec(path));
    // Nobody misses a socket.
    if error == "socket ignored" {
        return None;
    }
    Some(if error == "file changed as we read it" {
        Problem { path, error: "changed while it was read".to_owned(), severity: Severity::Warning }
    } else if has_vanished {
        Problem::vanished(path)
    } else {
        Problem { path, error: crate::output::printable(std::ffi::OsStr::new(&error)), severity: Severity::Unread }
    })
}

/// `NAME: Cannot open: File exists` of GNU tar, the name with backslashes where it has something odd, colons among that.
pub(super) fn split_escaped(said: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut name = Vec::new();
    let mut left = said;
    loop {
        if let [b':', b' ', error @ ..] = left {
            return (!name.is_empty()).then_some((name, error));
        }
        let (byte, rest) = next_unescaped(left)?;
        name.push(byte);
        left = rest;
    }
}

/// A name that has backslashes where it has something odd.
fn unescaped(mut name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    while let Some((byte, rest)) = next_unescaped(name) {
        plain.push(byte);
        name = rest;
    }
    plain
}

/// The next byte of a name as GNU's programs escape it in their messages (quotearg of gnulib, styles `escape` and `locale`), and what is behind it.
fn next_unescaped(name: &[u8]) -> Option<(u8, &[u8])> {
    Some(match name {
        [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..] => {
            ((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), rest)
        }
        [b'\\', letter, rest @ ..] => {
            let byte = match letter {
                b'a' => 7,
                b'b' => 8,
                b't' => b'\t',
                b'n' => b'\n',
                b'v' => 11,
                b'f' => 12,
                b'r' => b'\r',
                other => *other,
            };
            (byte, rest)
        }
        [byte, rest @ ..] => (*byte, rest),
        [] => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_with_a_colon_ends_where_tar_ends_it() {
        let found = problems(b"/usr/bin/tar: /etc/a\\: b: Cannot open: Permission denied\n", "tar");
        assert_eq!(found[0].path, PathBuf::from("/etc/a: b"));
        assert_eq!(found[0].error, "Cannot open: Permission denied");
    }

    #[test]
    fn names_and_reasons_are_understood() {
        let text = b"/usr/bin/find: '/root/a\\nb\\303\\244': Permission denied\n\
            find: '/gone': No such file or directory\n\
            tar: /etc/it's: Cannot open: Permission denied\n\
            tar: Exiting with failure status due to previous errors\n";
        let found = problems(text, "find");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].path, PathBuf::from("/root/a\nb\u{e4}"));
        assert_eq!((found[0].severity, found[1].severity), (Severity::Unread, Severity::Warning));
        let found = problems(text, "tar");
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].path.as_path(), found[0].error.as_str()),
            (std::path::Path::new("/etc/it's"), "Cannot open: Permission denied")
        );
    }
}
