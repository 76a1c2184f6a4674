//! Machines that give SFTP and nothing else: no command can be run there.
//!
//! SFTP (draft-ietf-secsh-filexfer-02) tells type, mode, owner, size and time of an entry, in whole seconds; no inode numbers, no links, no time of
//! change, no devices, no attributes. Directories are listed one after another, and each file is opened by itself, so the distance counts.
//!
//! A session does one thing at a time: its library keeps a lock. What is shared here is therefore no more than a handle.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::source::Problem;

mod content;
mod failure;
mod list;
mod restore;
#[cfg(test)]
mod testing;

pub(super) use content::content;
pub(super) use list::{Request, list};
pub(super) use restore::restore;

/// What an error about one path means.
fn problem(path: &[u8], error: &io::Error) -> Problem {
    Problem::of_io(PathBuf::from(OsString::from_vec(path.to_vec())), error)
}
