//! Walks the configured paths: parents first, the names of each directory in byte order.
//!
//! Directories are opened from their open parents, so a path may be longer than the kernel takes in one call, and a directory that is swapped
//! for a link while it is walked leads nowhere. Names are held for the directories on the way down only. The way itself is one
//! string that grows and shrinks, since most of what a walk costs beyond the kernel's part is memory for paths.

use std::collections::HashSet;
use std::ffi::{CString, OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::vec;

use rustix::fs::{FileType, Stat};

use super::descriptors::{Descriptors, Directory, Opened};
use super::inode::{self, Place};
use super::listing::{Buffer, Listing};
use super::rules::Rules;
use super::seen::Seen;
use crate::source::globs::{CACHEDIR_SIGNATURE, CACHEDIR_TAG};
use crate::source::{Problem, Severity};

/// A walk, which is asked for some entries at a time, or for the sum of all sizes.
pub(super) struct Walk {
    rules: Arc<Rules>,
    descriptors: Arc<Descriptors>,
    buffer: Buffer,
    /// Configured paths that are still to come.
    roots: vec::IntoIter<PathBuf>,
    /// Directories on the way down to configured paths that were given already.
    ancestors: HashSet<PathBuf>,
    /// Directories that are being walked.
    stack: Vec<Level>,
    /// Where the walk is.
    path: Vec<u8>,
    gathered: Gathered,
}

/// What a walk is for.
enum Gathered {
    /// What was found since the last batch.
    Entries(Vec<Seen>),
    /// The sum of the sizes of all regular files in bytes: no paths.
    Size(u64),
}

/// A directory that is being walked.
struct Level {
    directory: Arc<Directory>,
    /// `None` when so many are open that it has to be asked for again.
    fd: Option<Arc<OwnedFd>>,
    listing: Listing,
    /// Which name of the listing comes next.
    next: usize,
    /// How much of the walk's path is that of this directory; 0 for `/`.
    path_length: usize,
    /// The device of the configured path; entries on others are not entered with `one-file-system`.
    device: u64,
}

impl Walk {
    pub(super) fn new(roots: Vec<PathBuf>, rules: Arc<Rules>) -> Self {
        Self {
            rules,
            descriptors: Descriptors::new(),
            buffer: Buffer::new(),
            roots: roots.into_iter(),
            ancestors: HashSet::new(),
            stack: Vec::new(),
            path: Vec::new(),
            gathered: Gathered::Entries(Vec::new()),
        }
    }

    /// The next entries, about as many as `size`; none when the walk is over.
    pub(super) fn batch(&mut self, size: usize) -> Vec<Seen> {
        self.gathered = Gathered::Entries(Vec::with_capacity(size + 1));
        while self.has_room(size) && self.go_on(size) {}
        match std::mem::replace(&mut self.gathered, Gathered::Size(0)) {
            Gathered::Entries(entries) => entries,
            Gathered::Size(_) => Vec::new(),
        }
    }

    /// The sum of the sizes of all regular files in bytes. What cannot be read does not count.
    pub(super) fn size(mut self) -> u64 {
        self.gathered = Gathered::Size(0);
        while self.go_on(usize::MAX) {}
        match self.gathered {
            Gathered::Size(size) => size,
            Gathered::Entries(_) => 0,
        }
    }

    fn has_room(&self, size: usize) -> bool {
        matches!(&self.gathered, Gathered::Entries(entries) if entries.len() < size) || self.is_for_size()
    }

    fn is_for_size(&self) -> bool {
        matches!(self.gathered, Gathered::Size(_))
    }

    /// Goes on with the directory that it is in, until it enters or leaves one or has enough. Whether there may be more.
    fn go_on(&mut self, size: usize) -> bool {
        let Some(mut level) = self.stack.pop() else {
            let Some(root) = self.roots.next() else { return false };
            self.begin(&root);
            return true;
        };
        let fd = match level.fd.take().map_or_else(|| level.directory.fd(), Ok) {
            Ok(fd) => fd,
            Err(error) => {
                // Some of it was given, so it is there, and the rest would be missed if this were only a warning.
                self.path.truncate(level.path_length);
                self.unread(format!("was moved while it was being backed up: {error}"));
                return true;
            }
        };
        while self.has_room(size) {
            let Some((name, kind)) = level.listing.get(level.next) else { return true };
            level.next += 1;
            self.path.truncate(level.path_length);
            self.path.push(b'/');
            self.path.extend_from_slice(name.to_bytes());
            let place = Place { directory: &level.directory, fd: &fd, name };
            if let Some(entered) = self.visit(place, kind, Some(level.device)) {
                level.fd = (self.stack.len() < self.descriptors.levels()).then_some(fd);
                self.stack.extend([level, entered]);
                return true;
            }
        }
        level.fd = Some(fd);
        self.stack.push(level);
        true
    }

    /// Begins a configured path: gives the directories above it, then the thing itself.
    fn begin(&mut self, root: &Path) {
        self.path = root.as_os_str().as_bytes().to_vec();
        let entered = match (root.parent(), root.file_name()) {
            (Some(parent), Some(name)) => {
                self.give_ancestors(parent);
                let name = CString::new(name.as_bytes()).map_err(io::Error::from);
                name.and_then(|name| Ok((name, Directory::at_path(parent, &self.descriptors)?))).map(
                    |(name, opened)| {
                        let place = Place { directory: &opened.directory, fd: &opened.fd, name: &name };
                        self.visit(place, FileType::Unknown, None)
                    },
                )
            }
            // `/` itself has no entry; its content has.
            _ => Directory::at_path(root, &self.descriptors).map(|opened| {
                let device = opened.directory.identity().0;
                self.path.clear();
                Some(self.list(opened, device))
            }),
        };
        match entered {
            Ok(entered) => self.stack.extend(entered),
            Err(error) => self.failed(error),
        }
    }

    /// Gives a directory above a configured path, and those above it, unless that was done.
    fn give_ancestors(&mut self, parent: &Path) {
        let Gathered::Entries(entries) = &mut self.gathered else { return };
        let mut above: Vec<&Path> = parent.ancestors().filter(|path| path.file_name().is_some()).collect();
        above.reverse();
        for path in above {
            if self.ancestors.insert(path.to_path_buf()) {
                entries.push(Seen::Above(path.to_path_buf()));
            }
        }
    }

    /// Gives the entry at the walk's path and, if it is a directory, enters it. `device` is that of the configured path, `None` for that path
    /// itself.
    fn visit(&mut self, place: Place<'_>, kind: FileType, device: Option<u64>) -> Option<Level> {
        // Most file systems tell the type with the name.
        if self.is_for_size() && !matches!(kind, FileType::RegularFile | FileType::Directory | FileType::Unknown) {
            return None;
        }
        let is_root = device.is_none();
        if !self.is_for_size() && !is_root && !matches!(kind, FileType::Directory | FileType::Unknown) {
            if !self.rules.excludes(Path::new(OsStr::from_bytes(&self.path)), false) {
                self.see(place, None);
            }
            return None;
        }
        let stat = match place.stat() {
            Ok(stat) => stat,
            Err(error) => {
                self.failed(error);
                return None;
            }
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_directory = kind == FileType::Directory;
        let path = Path::new(OsStr::from_bytes(&self.path));
        // What was named in `paths` is wanted, whatever a glob says.
        if self.rules.leaves_out(path, &stat) || !is_root && self.rules.excludes(path, is_directory) {
            return None;
        }
        if let Gathered::Size(sum) = &mut self.gathered
            && kind == FileType::RegularFile
        {
            *sum = sum.saturating_add(stat.st_size.unsigned_abs());
            return None;
        }
        self.see(place, Some(stat));
        if is_directory { self.descend(place, &stat, device) } else { None }
    }

    fn descend(&mut self, place: Place<'_>, stat: &Stat, device: Option<u64>) -> Option<Level> {
        let root_device = device.unwrap_or(stat.st_dev);
        if self.rules.one_file_system && stat.st_dev != root_device {
            return None;
        }
        match place.directory.enter(place.fd, place.name) {
            Ok(opened) => Some(self.list(opened, root_device)),
            Err(error) => {
                self.failed(error);
                None
            }
        }
    }

    /// Lists the directory at the walk's path.
    fn list(&mut self, Opened { directory, fd }: Opened, device: u64) -> Level {
        let (mut listing, failed) = Listing::read(&fd, &mut self.buffer);
        if let Some(error) = failed {
            self.failed(error);
        }
        if self.rules.exclude_caches && is_cache(&directory, &fd, &listing) {
            listing.retain(CACHEDIR_TAG);
        }
        Level { directory, fd: Some(fd), listing, next: 0, path_length: self.path.len(), device }
    }

    fn here(&self) -> PathBuf {
        if self.path.is_empty() { "/".into() } else { OsString::from_vec(self.path.clone()).into() }
    }

    fn see(&mut self, place: Place<'_>, stat: Option<Stat>) {
        if !self.is_for_size() {
            let directory = Arc::clone(place.directory);
            self.push(Seen::Entry { directory, path: self.here(), stat });
        }
    }

    fn push(&mut self, seen: Seen) {
        if let Gathered::Entries(entries) = &mut self.gathered {
            entries.push(seen);
        }
    }

    fn failed(&mut self, error: io::Error) {
        self.push(Seen::Problem(Problem::of_io(self.here(), &error)));
    }

    fn unread(&mut self, error: String) {
        self.push(Seen::Problem(Problem { path: self.here(), error, severity: Severity::Unread }));
    }
}

/// Whether the directory bears a tag that says its content can be made anew.
fn is_cache(directory: &Arc<Directory>, fd: &Arc<OwnedFd>, listing: &Listing) -> bool {
    let Some((name, _)) = listing.find(CACHEDIR_TAG).and_then(|found| listing.get(found)) else { return false };
    let place = Place { directory, fd, name };
    let Ok(stat) = place.stat() else { return false };
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return false;
    }
    let mut begin = vec![0; CACHEDIR_SIGNATURE.len()];
    let read = inode::content(Arc::clone(directory), name.to_owned(), &stat)
        .open()
        .and_then(|mut content| content.read_exact(&mut begin));
    read.is_ok() && begin == CACHEDIR_SIGNATURE
}
