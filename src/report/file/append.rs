//! Appends a line to a file that others append to, read, rotate and truncate meanwhile.
//!
//! Under a lock of the file itself, in one write, to its end wherever that is by then, and on the disk before this returns. A last line that was cut
//! short (a full disk, a kill, a loss of power) is ended first, so that it costs no other. A line that could be written only in part is taken back.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::fs::OFlags;

use crate::durable::sync_directory;
use crate::error::Annotate;

/// How long somebody else may hold the file: a line takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(20);
/// How often a file that is rotated away just now is opened again.
const TRIES: usize = 10;

/// Appends one line, without its line end, to a file that is made if it is not there, with its directory.
///
/// # Errors
///
/// When it cannot be opened, is no plain file, is held by somebody for long, or takes nothing more: then it is as it was.
pub(super) fn append(path: &Path, line: &str) -> Result<()> {
    let doing = || format!("write the report file {}", path.display());
    let hint = "The run itself is not touched by this. Correct `report-file` in the configuration, or make room there.";
    open(path).and_then(|file| add(&file, line)).with_context(doing).hint(hint)
}

/// The file, locked; the lock goes with it.
fn open(path: &Path) -> Result<File> {
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    for _ in 0..TRIES {
        // Not waiting for a reader of a pipe that may have been put there.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(0o600).custom_flags(flags).open(path)?;
        let opened = file.metadata()?;
        if !opened.is_file() {
            return Err(anyhow!("it is not a plain file"));
        }
        lock(&file)?;
        // Whoever rotates the file may have done it while the lock was waited for.
        let is_still_there = fs::metadata(path).is_ok_and(|now| (now.dev(), now.ino()) == (opened.dev(), opened.ino()));
        if is_still_there {
            if opened.len() == 0
                && let Some(parent) = path.parent()
            {
                sync_directory(parent)?;
            }
            return Ok(file);
        }
    }
    Err(anyhow!("it is replaced again and again"))
}

fn lock(file: &File) -> Result<()> {
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error).context("lock it"),
            Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => thread::sleep(RETRY),
            Err(TryLockError::WouldBlock) => return Err(anyhow!("another program has kept it locked for 10 seconds")),
        }
    }
}

fn add(mut file: &File, line: &str) -> Result<()> {
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    let begin = if last == [b'\n'] { "" } else { "\n" };
    let bytes = format!("{begin}{line}\n").into_bytes();
    if let Err(error) = write_whole(&mut file, &bytes) {
        // What is left of it if this fails too is ended by the next line.
        let _ = file.set_len(length);
        return Err(error.into());
    }
    file.sync_all().context("sync it")
}

/// One write, so that nobody sees a part of it; what a file system does not take at once is not tried again in pieces.
fn write_whole(file: &mut &File, bytes: &[u8]) -> io::Result<()> {
    loop {
        match file.write(bytes) {
            Ok(count) if count == bytes.len() => return Ok(()),
            Ok(_) => return Err(io::ErrorKind::StorageFull.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::error::{chain, hints};

    #[test]
    fn file_and_its_directory_are_made_for_their_owner_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("a/b/report.jsonl");
        append(&file, "{}").unwrap();
        append(&file, "[]").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "{}\n[]\n");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(&scratch.path().join("a/b"))), (0o600, 0o700));
    }

    #[test]
    fn line_that_was_cut_short_is_ended_first() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("report.jsonl");
        fs::write(&file, "{}\n{\"type\":\"ru").unwrap();
        append(&file, "{}").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "{}\n{\"type\":\"ru\n{}\n");
    }

    #[test]
    fn lines_of_runs_at_the_same_time_do_not_mix() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("report.jsonl");
        thread::scope(|scope| {
            for letter in ["a", "b", "c", "d"] {
                let file = &file;
                scope.spawn(move || (0..25).for_each(|_| append(file, &letter.repeat(100_000)).unwrap()));
            }
        });
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().count(), 100);
        assert!(text.lines().all(|line| line.len() == 100_000 && line.bytes().all(|b| b == line.as_bytes()[0])));
    }

    #[test]
    fn new_file_is_begun_when_the_old_one_was_rotated_away() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("report.jsonl");
        append(&file, "old").unwrap();
        let held = open(&file).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| append(&file, "new"));
            fs::rename(&file, scratch.path().join("report.jsonl.1")).unwrap();
            drop(held);
            waiting.join().unwrap().unwrap();
        });
        assert_eq!(fs::read_to_string(&file).unwrap(), "new\n");
    }

    #[test]
    fn what_is_no_plain_file_is_refused_at_once() {
        let scratch = tempfile::tempdir().unwrap();
        let pipe = scratch.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [pipe.as_path(), Path::new("/dev/null")] {
            let error = append(path, "{}").unwrap_err();
            assert!(chain(&error).ends_with("it is not a plain file"), "{error:#}");
            assert!(hints(&error)[0].contains("report-file"));
        }
        assert!(append(scratch.path(), "{}").is_err());
    }
}
