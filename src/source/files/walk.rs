//! Walks the configured paths: parents first, the names of each directory in byte order, one open directory per level.
//!
//! Directories are opened from their open parents, so a path may be longer than the kernel takes in one call, and a directory that is swapped
//! for a link while it is walked leads nowhere. Names are held for the directories on the way down only.

use std::collections::{HashSet, VecDeque};
use std::ffi::{CString, OsStr};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::vec;

use rustix::fs::{Dir, FileType, Stat};

use super::inode::{self, Names, Place};
use super::problem;
use super::rules::{CACHEDIR_SIGNATURE, Rules};
use crate::source::{Content, Entry, Problem, Severity};

/// The iterator.
pub(super) struct Walk {
    rules: Arc<Rules>,
    names: Names,
    /// Configured paths that are still to come.
    roots: vec::IntoIter<PathBuf>,
    /// Directories on the way down to configured paths that were given already.
    ancestors: HashSet<PathBuf>,
    /// What was found and is to be given next.
    ready: VecDeque<Result<Entry, Problem>>,
    stack: Vec<Level>,
}

/// A directory that is being walked.
struct Level {
    directory: Arc<OwnedFd>,
    path: PathBuf,
    names: vec::IntoIter<CString>,
    /// The device of the configured path; entries on others are not entered with `one-file-system`.
    device: u64,
}

impl Walk {
    pub(super) fn new(roots: Vec<PathBuf>, rules: Arc<Rules>) -> Self {
        Self {
            rules,
            names: Names::default(),
            roots: roots.into_iter(),
            ancestors: HashSet::new(),
            ready: VecDeque::new(),
            stack: Vec::new(),
        }
    }

    /// Begins a configured path: gives the directories above it, then the thing itself.
    fn begin(&mut self, root: &Path) {
        let (Some(parent), Some(name)) = (root.parent(), root.file_name()) else {
            // `/` itself has no entry; its content has.
            match inode::open_path(root).and_then(|directory| Ok((rustix::fs::fstat(&directory)?, directory))) {
                Ok((stat, directory)) => self.enter(directory, root.to_path_buf(), stat.st_dev),
                Err(error) => self.ready.push_back(Err(problem(root.to_path_buf(), error))),
            }
            return;
        };
        let mut above: Vec<&Path> = parent.ancestors().filter(|path| path.file_name().is_some()).collect();
        above.reverse();
        for path in above {
            if self.ancestors.insert(path.to_path_buf()) {
                let looked = inode::look_at_ancestor(path, &mut self.names);
                let entry = looked.map(|node| Entry { path: path.to_path_buf(), node, content: None });
                self.ready.push_back(entry.map_err(|error| problem(path.to_path_buf(), error)));
            }
        }
        match (inode::open_path(parent), CString::new(name.as_bytes())) {
            (Ok(directory), Ok(name)) => self.visit(&directory, &name, root.to_path_buf(), None),
            (Err(error), _) => self.ready.push_back(Err(problem(root.to_path_buf(), error))),
            (_, Err(error)) => self.ready.push_back(Err(problem(root.to_path_buf(), error.into()))),
        }
    }

    /// Gives one entry and, if it is a directory, enters it. `device` is that of the configured path, `None` for that path itself.
    fn visit(&mut self, directory: &Arc<OwnedFd>, name: &CString, path: PathBuf, device: Option<u64>) {
        let place = Place { directory, name };
        let found = match inode::look(place, &mut self.names) {
            Ok(Some(found)) => found,
            Ok(None) => return,
            Err(error) => return self.ready.push_back(Err(problem(path, error))),
        };
        let kind = FileType::from_raw_mode(found.stat.st_mode);
        let is_directory = kind == FileType::Directory;
        let is_file = kind == FileType::RegularFile;
        // What was named in `paths` is wanted, whatever a glob says.
        if self.rules.forbids(&path, &found.stat) || device.is_some() && self.rules.excludes(&path, is_directory) {
            return;
        }
        if is_file && self.rules.excludes_size(found.node.meta.size) {
            return;
        }
        if let Some(error) = found.xattr_error {
            self.ready.push_back(Err(Problem { path: path.clone(), error, severity: Severity::Unread }));
        }
        let content = is_file.then(|| Content::Read(inode::content(place, &found.stat)));
        self.ready.push_back(Ok(Entry { path: path.clone(), node: found.node, content }));
        if is_directory {
            self.descend(place, path, &found.stat, device);
        }
    }

    fn descend(&mut self, place: Place<'_>, path: PathBuf, stat: &Stat, device: Option<u64>) {
        let root_device = device.unwrap_or(stat.st_dev);
        if self.rules.one_file_system && stat.st_dev != root_device {
            return;
        }
        match inode::open_directory(place) {
            Ok(directory) => self.enter(Arc::new(directory), path, root_device),
            Err(error) => self.ready.push_back(Err(problem(path, error))),
        }
    }

    /// Lists an open directory and puts it on the stack.
    fn enter(&mut self, directory: Arc<OwnedFd>, path: PathBuf, device: u64) {
        let mut names = match list(&directory) {
            (names, None) => names,
            (names, Some(error)) => {
                self.ready.push_back(Err(problem(path.clone(), error)));
                names
            }
        };
        if self.rules.exclude_caches && is_cache(&directory, &names) {
            names.retain(|name| name.as_bytes() == CACHEDIR_TAG.as_bytes());
        }
        self.stack.push(Level { directory, path, names: names.into_iter(), device });
    }
}

impl Iterator for Walk {
    type Item = Result<Entry, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Some(entry);
            }
            let Some(level) = self.stack.last_mut() else {
                let root = self.roots.next()?;
                self.begin(&root);
                continue;
            };
            match level.names.next() {
                Some(name) => {
                    let path = level.path.join(OsStr::from_bytes(name.as_bytes()));
                    let (directory, device) = (level.directory.clone(), level.device);
                    self.visit(&directory, &name, path, Some(device));
                }
                None => {
                    self.stack.pop();
                }
            }
        }
    }
}

/// The names in a directory in byte order, and the error that ended the listing early.
fn list(directory: &OwnedFd) -> (Vec<CString>, Option<io::Error>) {
    let mut names = Vec::new();
    let mut failed = None;
    match Dir::read_from(directory) {
        Ok(entries) => {
            for entry in entries {
                match entry {
                    Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
                    Ok(entry) => names.push(entry.file_name().to_owned()),
                    Err(error) => {
                        failed = Some(error.into());
                        break;
                    }
                }
            }
        }
        Err(error) => failed = Some(error.into()),
    }
    names.sort_unstable();
    (names, failed)
}

const CACHEDIR_TAG: &str = "CACHEDIR.TAG";

/// Whether the directory bears a tag that says its content can be made anew.
fn is_cache(directory: &Arc<OwnedFd>, names: &[CString]) -> bool {
    let Ok(found) = names.binary_search_by(|name| name.as_bytes().cmp(CACHEDIR_TAG.as_bytes())) else { return false };
    let place = Place { directory, name: &names[found] };
    let Ok(Some(looked)) = inode::look(place, &mut Names::default()) else { return false };
    if FileType::from_raw_mode(looked.stat.st_mode) != FileType::RegularFile {
        return false;
    }
    let mut begin = vec![0; CACHEDIR_SIGNATURE.len()];
    let read = inode::content(place, &looked.stat).open().and_then(|mut content| content.read_exact(&mut begin));
    read.is_ok() && begin == CACHEDIR_SIGNATURE
}
