//! Cache directories: those whose `CACHEDIR.TAG` says that what is in them can be made anew.
//!
//! The tag has to be read, so this comes after the listing: such directories are walked, and then left out.

use std::collections::HashSet;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::connection::Connection;
use super::host::Host;
use super::listing::{Listing, Row};
use super::reading::read_some;
use crate::source::Content;
use crate::source::globs::{CACHEDIR_SIGNATURE, CACHEDIR_TAG};

/// How large a tag may be, in bytes: it may have a word to people behind its signature.
const SIZES: std::ops::Range<u64> = CACHEDIR_SIGNATURE.len() as u64..64 << 10;

/// Leaves out what is in cache directories, but for the tag itself. Gives the connection back, if it can be used again.
pub(super) fn leave_out(host: &Host, connection: Connection, listing: &mut Listing) -> Result<Connection> {
    let mut tags: Vec<(Row, (PathBuf, u64))> = Vec::new();
    let mut steps = listing.steps();
    while let Some(row) = steps.next(listing) {
        let stat = listing.stat(row);
        if listing.name(row) == CACHEDIR_TAG && stat.is_file() && SIZES.contains(&stat.size) {
            let path = Path::new(std::ffi::OsStr::from_bytes(steps.path())).to_path_buf();
            tags.push((listing.parent(row), (path, stat.size)));
        }
    }
    if tags.is_empty() {
        return Ok(connection);
    }
    let files: Vec<(PathBuf, u64)> = tags.iter().map(|(_, file)| file.clone()).collect();
    let mut caches = HashSet::new();
    let connection = read_some(host, connection, &files, &mut |path, content| {
        if let Some((directory, _)) = tags.iter().find(|(_, (tag, _))| tag == path)
            && has_signature(content)
        {
            caches.insert(*directory);
        }
    })?;
    listing.keep(&|listing, row| !caches.contains(&listing.parent(row)) || listing.name(row) == CACHEDIR_TAG);
    Ok(connection)
}

/// What cannot be read is no tag.
fn has_signature(content: Content) -> bool {
    let Content::Read(opener) = content else { return false };
    let mut begin = vec![0; CACHEDIR_SIGNATURE.len()];
    let read = opener.open().and_then(|mut content| content.read_exact(&mut begin));
    read.is_ok() && begin == CACHEDIR_SIGNATURE
}
