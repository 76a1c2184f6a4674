//! One run at a time: `flock` on a file in the runtime directory.
//!
//! The kernel frees the lock when the process ends, however it ends, so there are no stale locks. The file stays; its content says who holds
//! it. Never delete it: another process may have it open and lock a file that nobody else sees.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::error::{Annotate, ExitCode};
use crate::monitor::Monitor;

/// How often a held lock is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock `name` in `directory`, waiting at most `wait`.
    ///
    /// # Errors
    ///
    /// Exit code 11 when another run holds it, naming that run.
    pub fn acquire(directory: &Path, name: &str, wait: Duration, monitor: &dyn Monitor) -> Result<Self> {
        let path = directory.join(format!("{}.lock", file_name(name)));
        let mut file = open(directory, &path).with_context(|| format!("open the lock {}", path.display()))?;
        let begun = Instant::now();
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("lock {}", path.display()));
                }
                Err(TryLockError::WouldBlock) if begun.elapsed() < wait => {
                    if !told {
                        monitor.say(&format!("waiting for {} to end", holder(&mut file)));
                        told = true;
                    }
                    thread::sleep(RETRY.min(wait.saturating_sub(begun.elapsed())));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(anyhow!("{name} is in use by {}", holder(&mut file)))
                        .hint("Wait for it to end, or give `--lock-wait 1h` to wait here.")
                        .exit(ExitCode::Locked);
                }
            }
        }
        let who = format!("holdall, process {}", std::process::id());
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(who.as_bytes()))
            .with_context(|| format!("write the lock {}", path.display()))?;
        Ok(Self { _file: file })
    }
}

fn open(directory: &Path, path: &PathBuf) -> std::io::Result<File> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn holder(file: &mut File) -> String {
    let mut who = String::new();
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.take(100).read_to_string(&mut who));
    if read.is_ok() && !who.is_empty() { format!("another run ({who})") } else { "another run".to_owned() }
}

/// A name as a file name: what could lead elsewhere or be taken for another name is replaced, and a hash tells such names apart.
fn file_name(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.chars().all(is_plain) && name.len() < 100 {
        return name.to_owned();
    }
    // FNV-1a: stable between versions, unlike the standard library's hasher.
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).take(60).collect();
    format!("{plain}-{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_code;
    use crate::monitor::{Recording, Silent};

    #[test]
    fn second_run_is_told_who_holds_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let held = Lock::acquire(directory.path(), "store", Duration::ZERO, &Silent).unwrap();
        let error = Lock::acquire(directory.path(), "store", Duration::ZERO, &Silent).unwrap_err();
        assert_eq!(exit_code(&error), ExitCode::Locked);
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(held);
        Lock::acquire(directory.path(), "store", Duration::ZERO, &Silent).unwrap();
    }

    #[test]
    fn waiting_ends_when_the_other_run_does() {
        let directory = tempfile::tempdir().unwrap();
        let held = Lock::acquire(directory.path(), "store", Duration::ZERO, &Silent).unwrap();
        let monitor = Recording::default();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| Lock::acquire(directory.path(), "store", Duration::MAX, &monitor));
            while monitor.lines().is_empty() {
                thread::yield_now();
            }
            drop(held);
            waiting.join().unwrap().unwrap();
        });
    }

    #[test]
    fn names_that_are_no_file_names_stay_apart() {
        assert_eq!(file_name("files.host"), "files.host");
        assert_ne!(file_name("/srv/a"), file_name("_srv_a"));
        assert_ne!(file_name("/srv/a"), file_name("/srv_a"));
        assert!(!file_name("s3:https://host/../x").contains('/'));
    }
}
