//! What tar says on standard error, made problems of single entries, as far as it can be told which.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::output::printable;
use crate::source::ssh::complaints::split_escaped;
use crate::source::ssh::connection::COMPLAINTS;
use crate::source::{Problem, Severity};

/// What was said.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    /// Problems with the names they are about, as they are in the archive; the paths are still empty.
    pub(super) problems: Vec<(Option<Vec<u8>>, Problem)>,
    /// What is about none of the entries: what the shell or sudo says, and how tar ends.
    rest: Vec<String>,
    /// Whether tar could not go on.
    is_end: bool,
}

impl Complaints {
    pub(super) fn read(bytes: &[u8]) -> Self {
        let mut read = Self::default();
        let is_cut = bytes.len() >= COMPLAINTS;
        // The beginning is kept ([`super::Ended`]), so the last line may lack its end.
        let whole = if is_cut { bytes.rsplitn(2, |&byte| byte == b'\n').nth(1).unwrap_or_default() } else { bytes };
        for line in whole.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            read.take(line);
        }
        if is_cut {
            let error = "tar complained of more than can be told".to_owned();
            read.problems.push((None, Problem { path: PathBuf::new(), error, severity: Severity::Unread }));
        }
        read
    }

    /// Why tar did nothing, or not all: an exit status that is not for single entries.
    pub(super) fn of_the_whole(&self, status: i32) -> Option<String> {
        // A tar that does not know an option says so, and names no entry.
        let is_about_entries = self.problems.iter().any(|(name, _)| name.is_some());
        let is_of_entries = matches!(status, 1 | 2) && is_about_entries && !self.is_end;
        if is_of_entries {
            return None;
        }
        let mut said = self.rest.join("; ");
        if said.is_empty() {
            said = "it said nothing".to_owned();
        }
        Some(format!("{said} (status {status})"))
    }

    fn take(&mut self, line: &[u8]) {
        // The name by which tar was called comes first.
        let is_tar =
            |program: &&[u8]| program.rsplit(|&byte| byte == b'/').next().is_some_and(|name| name.ends_with(b"tar"));
        let Some((program, said)) = split(line).filter(|(program, _)| is_tar(program)) else {
            self.rest.push(shown(line));
            return;
        };
        let text = shown(said);
        if text.starts_with("Exiting with failure status") {
            return;
        }
        if [
            "Unexpected EOF",
            "Error is not recoverable",
            "This does not look like a tar archive",
            "Skipping to next header",
        ]
        .iter()
        .any(|end| text.starts_with(end))
        {
            self.is_end = true;
            self.rest.push(format!("{}: {text}", shown(program)));
            return;
        }
        let (name, error) = match of_file(said).or_else(|| split_escaped(said)) {
            // What tar says of a disk that takes the beginning of a piece.
            Some((name, error)) if error.starts_with(b"Wrote only ") => {
                (Some(name), format!("{}; is the disk full?", shown(error)))
            }
            Some((name, error)) => (Some(name), shown(error)),
            None => {
                self.rest.push(text.clone());
                (None, text)
            }
        };
        let severity = if is_harmless(&error) { Severity::Warning } else { Severity::Unread };
        self.problems.push((name, Problem { path: PathBuf::new(), error, severity }));
    }
}

/// What is about metadata, and what only root may do, is not as in the point, but nothing is missing.
fn is_harmless(error: &str) -> bool {
    const METADATA: [&str; 7] = [
        "Cannot change ownership",
        "Cannot change mode",
        "Cannot utime",
        "Cannot set ",
        "Cannot drop ",
        "time stamp",
        "Cannot mknod: Operation not permitted",
    ];
    METADATA.iter().any(|start| error.contains(start))
}

/// Splits at the first colon and blank.
fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = text.windows(2).position(|pair| pair == b": ")?;
    Some((&text[..colon], &text[colon + 2..]))
}

/// `setxattrat: Cannot set 'user.x' extended attribute for file 'NAME': Operation not permitted`
fn of_file(said: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    const BEFORE: &[u8] = b" for file '";
    let begin = said.windows(BEFORE.len()).position(|window| window == BEFORE)? + BEFORE.len();
    let end = said.windows(3).rposition(|window| window == b"': ")?;
    let function = split(said)?.0.len() + 2;
    (function < begin && begin <= end).then(|| (said[begin..end].to_vec(), &said[function..]))
}

fn shown(bytes: &[u8]) -> String {
    printable(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<(String, String, Severity)> {
        let complaints = Complaints::read(text.as_bytes());
        let tell = |(name, problem): (Option<Vec<u8>>, Problem)| {
            (String::from_utf8_lossy(&name.unwrap_or_default()).into_owned(), problem.error, problem.severity)
        };
        complaints.problems.into_iter().map(tell).collect()
    }

    #[test]
    fn entries_are_named_and_judged() {
        let text = "/usr/bin/tar: etc/a\\: b\\nc\\303\\274\\\\: Cannot open: File exists\n\
                    tar: setxattrat: Cannot set 'trusted.t' extended attribute for file 'etc/x': Operation not permitted\n\
                    tar: etc/y: Cannot change ownership to uid 0, gid 0: Operation not permitted\n\
                    tar: dev/z: Cannot mknod: Operation not permitted\n\
                    tar: Exiting with failure status due to previous errors\n";
        let expected = [
            ("etc/a: b\ncü\\", "Cannot open: File exists", Severity::Unread),
            (
                "etc/x",
                "Cannot set 'trusted.t' extended attribute for file 'etc/x': Operation not permitted",
                Severity::Warning,
            ),
            ("etc/y", "Cannot change ownership to uid 0, gid 0: Operation not permitted", Severity::Warning),
            ("dev/z", "Cannot mknod: Operation not permitted", Severity::Warning),
        ];
        assert_eq!(told(text), expected.map(|(name, error, severity)| (name.to_owned(), error.to_owned(), severity)));
        assert_eq!(Complaints::read(text.as_bytes()).of_the_whole(2), None);
    }

    #[test]
    fn what_stops_tar_is_about_the_whole() {
        for (text, status, expected) in [
            ("sudo: a password is required\n", 1, "sudo: a password is required (status 1)"),
            ("sh: 1: exec: /bin/tar: not found\n", 127, "sh: 1: exec: /bin/tar: not found (status 127)"),
            ("", 137, "it said nothing (status 137)"),
            ("tar: unrecognized option '--xattrs'\n", 2, "unrecognized option '--xattrs' (status 2)"),
            (
                "tar: a: Cannot open: File exists\ntar: Unexpected EOF in archive\ntar: Error is not recoverable: exiting now\n",
                2,
                "tar: Unexpected EOF in archive; tar: Error is not recoverable: exiting now (status 2)",
            ),
        ] {
            assert_eq!(Complaints::read(text.as_bytes()).of_the_whole(status).as_deref(), Some(expected));
        }
    }

    #[test]
    fn half_a_line_is_not_taken_for_one_and_what_is_lost_is_told() {
        let text = format!("{}half", "tar: a: Cannot open: x\n".repeat(COMPLAINTS / 23 + 1));
        let complaints = Complaints::read(text.as_bytes());
        assert_eq!(complaints.rest, [""; 0]);
        assert!(complaints.problems.last().unwrap().0.is_none());
    }
}
