//! Lists directories one after another: parents first, the names of each in byte order.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::vec;

use anyhow::{Context, Result};
use ssh2::{FileStat, Sftp};

use super::{failure, problem};
use crate::error::Annotate;
use crate::extract::name;
use crate::source::ssh::listing::{Found, Stat};
use crate::source::{Problem, Severity};

/// What is to be listed.
pub(in super::super) struct Request<'a> {
    /// Absolute paths, none below another one.
    pub(in super::super) roots: &'a [Vec<u8>],
    /// Do not cross into other file systems below each root.
    pub(in super::super) one_file_system: bool,
    /// Whether what is in directories below the roots is of no interest.
    pub(in super::super) is_shallow: bool,
    /// Whether the entry at a path, a directory or not, is left out with all below it. Not asked for roots: what was named is wanted.
    pub(in super::super) excludes: &'a dyn Fn(&[u8], bool) -> bool,
}

/// A directory on the way: its path without a slash at its end, what is left of its entries, and its file system.
struct Level {
    path: Vec<u8>,
    entries: vec::IntoIter<(Vec<u8>, FileStat)>,
    file_system: Option<u64>,
}

/// Lists everything below the roots, without entering what is left out. `/` itself is not given. Returns what could not be listed.
///
/// # Errors
///
/// When the connection or `take` fails, when a root is not there, or when the server cannot tell file systems apart and that is asked for.
pub(in super::super) fn list(
    sftp: &Sftp,
    request: &Request<'_>,
    take: &mut dyn FnMut(Found) -> Result<()>,
) -> Result<Vec<Problem>> {
    let mut walk = Walk { sftp, request, take, levels: Vec::new(), problems: Vec::new() };
    for root in request.roots {
        walk.begin(root).with_context(|| format!("list {}", String::from_utf8_lossy(root)))?;
        while let Some(level) = walk.levels.last_mut() {
            match level.entries.next() {
                Some((name, stat)) => {
                    let path = [&level.path[..], b"/", &name].concat();
                    let file_system = level.file_system;
                    walk.visit(path, &stat, file_system)?;
                }
                None => drop(walk.levels.pop()),
            }
        }
    }
    Ok(walk.problems)
}

struct Walk<'a> {
    sftp: &'a Sftp,
    request: &'a Request<'a>,
    take: &'a mut dyn FnMut(Found) -> Result<()>,
    levels: Vec<Level>,
    problems: Vec<Problem>,
}

impl Walk<'_> {
    fn begin(&mut self, root: &[u8]) -> Result<()> {
        let stat = self
            .sftp
            .lstat(as_path(root))
            .map_err(failure::to_io)
            .hint(format!("Is something not mounted? Else take {} out of `paths`.", String::from_utf8_lossy(root)))?;
        let is_directory = stat.perm.is_some_and(is_directory);
        if root != b"/" {
            self.give(root, &stat)?;
        }
        if is_directory {
            self.enter(root, None)?;
        }
        Ok(())
    }

    fn visit(&mut self, path: Vec<u8>, stat: &FileStat, file_system: Option<u64>) -> Result<()> {
        let is_directory = stat.perm.is_some_and(is_directory);
        if (self.request.excludes)(&path, is_directory) {
            return Ok(());
        }
        self.give(&path, stat)?;
        if is_directory && !self.request.is_shallow { self.enter(&path, file_system) } else { Ok(()) }
    }

    fn give(&mut self, path: &[u8], stat: &FileStat) -> Result<()> {
        let Some(mode) = stat.perm else {
            self.unread(path, "the server does not tell what it is");
            return Ok(());
        };
        let target = if mode & 0o170_000 == 0o120_000 {
            match self.sftp.readlink(as_path(path)).map_err(failure::to_io) {
                Ok(target) => target.into_os_string().into_vec(),
                Err(error) => return self.failed(path, error),
            }
        } else {
            Vec::new()
        };
        let stat = Stat {
            mode,
            uid: stat.uid.unwrap_or_default(),
            gid: stat.gid.unwrap_or_default(),
            size: stat.size.unwrap_or_default(),
            mtime: (stat.mtime.and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or_default(), 0),
            ..Stat::default()
        };
        (self.take)(Found { path: path.to_vec(), stat, target })
    }

    /// Lists a directory; `file_system` is that of the root, `None` for the root itself.
    fn enter(&mut self, path: &[u8], file_system: Option<u64>) -> Result<()> {
        let mut directory = match self.sftp.opendir(as_path(path)).map_err(failure::to_io) {
            Ok(directory) => directory,
            Err(error) => return self.failed(path, error),
        };
        let mut here = None;
        if self.request.one_file_system {
            here = Some(self.file_system(path)?);
            if file_system.is_some() && file_system != here {
                return Ok(());
            }
        }
        let mut entries = Vec::new();
        loop {
            match directory.readdir() {
                Ok((name, stat)) => entries.push((name.into_os_string().into_vec(), stat)),
                Err(error) if failure::is_end(&error) => break,
                Err(error) => {
                    // What came until now is there all the same.
                    self.failed(path, failure::to_io(error))?;
                    break;
                }
            }
        }
        let path = if path == b"/" { Vec::new() } else { path.to_vec() };
        entries.retain(|(name, _)| {
            let is_itself = matches!(&name[..], b"." | b"..");
            if let (false, Err(why)) = (is_itself, name::check(OsStr::from_bytes(name))) {
                self.problems.push(Problem {
                    path: as_path(&path).join("?"),
                    error: format!("{}: {why}", String::from_utf8_lossy(name)),
                    severity: Severity::Unread,
                });
                return false;
            }
            !is_itself
        });
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        entries.dedup_by(|(one, _), (other, _)| one == other);
        self.levels.push(Level { path, entries: entries.into_iter(), file_system: here });
        Ok(())
    }

    /// The file system of a directory. A server tells it of a file that is open, and opens a directory as one.
    fn file_system(&self, path: &[u8]) -> Result<u64> {
        let told = self.sftp.open(as_path(path)).and_then(|mut opened| opened.statvfs()).map_err(failure::to_io);
        let told = told.with_context(|| format!("ask for the file system of {}", String::from_utf8_lossy(path)));
        Ok(told.hint("Without `one-file-system`, name what is to be left out in `exclude`.")?.f_fsid)
    }

    /// Something could not be looked at; without a connection nothing more can.
    fn failed(&mut self, path: &[u8], error: io::Error) -> Result<()> {
        if failure::is_lost(&error) {
            return Err(error).with_context(|| format!("look at {}", String::from_utf8_lossy(path)));
        }
        self.problems.push(problem(path, &error));
        Ok(())
    }

    fn unread(&mut self, path: &[u8], error: &str) {
        self.problems.push(problem(path, &io::Error::other(error)));
    }
}

fn is_directory(mode: u32) -> bool {
    mode & 0o170_000 == 0o040_000
}

fn as_path(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

#[cfg(test)]
mod tests;
