//! Reads files, each when it is asked for.
//!
//! A server follows links when it opens a file. So that a link put in the place of a file that was listed does not give away what another user
//! owns, what was opened must be a regular file of the same owner.

use std::ffi::OsString;
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;

use ssh2::Sftp;

use super::failure;
use crate::source::Content;
use crate::source::ssh::listing::Found;

/// The largest piece that is asked for, in bytes. The library asks for four times as much ahead, in requests of 30,000 bytes, and waits for answers
/// in between: on the loopback interface, pieces of 32 KiB come with 36 MB/s, those of 256 KiB with 46, those of 1 MiB with 135
/// and more.
const LARGEST: usize = 1 << 20;

/// The smallest. Four of it are one request: for a small file everything beyond would be answered by "it ended".
const SMALLEST: usize = 7500;

/// The content of a file as it was listed.
pub(in super::super) fn content(sftp: &Arc<Sftp>, found: &Found) -> Content {
    let sftp = Arc::clone(sftp);
    let path = PathBuf::from(OsString::from_vec(found.path.clone()));
    let (uid, size) = (found.stat.uid, found.stat.size);
    Content::new(move || {
        let mut file = sftp.open(&path).map_err(failure::to_io)?;
        let stat = file.stat().map_err(failure::to_io)?;
        let is_file = stat.perm.is_some_and(|mode| mode & 0o170_000 == 0o100_000);
        if !is_file || stat.uid.unwrap_or_default() != uid {
            return Err(io::Error::other("was replaced while it was being backed up"));
        }
        Ok(reader(file, size))
    })
}

/// Reads an open file that is about so large in pieces that suit it.
pub(super) fn reader(file: ssh2::File, size: u64) -> Box<dyn Read + Send> {
    let most = usize::try_from(size / 4).unwrap_or(LARGEST).clamp(SMALLEST, LARGEST);
    Box::new(BufReader::with_capacity(most, Pieces { file, most }))
}

/// Asks for no more than suits the size of the file, whatever the buffer.
struct Pieces {
    file: ssh2::File,
    most: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.most.min(buffer.len());
        self.file.read(&mut buffer[..most])
    }
}

#[cfg(test)]
mod tests;
