//! What stands today where a restore would write: the tree of the safety point.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use rustix::fs::FileType;

use super::descriptors::{Descriptors, Directory, Opened};
use super::inode::{self, Inspector, Place};
use crate::source::{Content, Entries, Entry, Problem, Severity, Tree};
use crate::store::SavedTree;

/// The entries of this machine that have the same path as one of the saved tree.
#[derive(Debug)]
pub(super) struct Live {
    saved: SavedTree,
    path: PathBuf,
}

impl Live {
    /// Looks at what is at `path` and below, in the saved tree and here.
    pub(super) fn new(saved: SavedTree, path: &Path) -> Self {
        Self { saved, path: path.to_path_buf() }
    }

    /// Whether anything but directories would be overwritten.
    pub(super) fn is_anything_there(&self) -> Result<bool> {
        for saved in self.saved.walk(&self.path)? {
            let saved = saved?;
            if !saved.node.is_dir() && saved.path.symlink_metadata().is_ok() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Tree for Live {
    fn entries(&self) -> Entries {
        let path = self.path.clone();
        let mut inspector = Inspector::new();
        // The way down to the part that is restored, as a backup of it would give it.
        let mut above: Vec<&Path> = path.ancestors().skip(1).filter(|path| path.file_name().is_some()).collect();
        above.reverse();
        let above: Vec<Result<Entry, Problem>> = above
            .into_iter()
            .filter_map(|path| {
                let node = inspector.ancestor(path).ok()?;
                Some(Ok(Entry { path: path.to_path_buf(), node, content: None }))
            })
            .collect();
        let mut looker = Looker { inspector, descriptors: Descriptors::new(), parent: None };
        match self.saved.walk(&path) {
            Ok(walk) => Box::new(above.into_iter().chain(walk.filter_map(move |saved| match saved {
                Ok(saved) => looker.look(saved.path),
                Err(error) => Some(Err(unread(&path, &error))),
            }))),
            Err(error) => Box::new(std::iter::once(Err(unread(&path, &error)))),
        }
    }

    fn size(&self) -> Option<u64> {
        None
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

fn unread(path: &Path, error: &anyhow::Error) -> Problem {
    Problem { path: path.to_path_buf(), error: crate::error::chain(error), severity: Severity::Unread }
}

/// Looks at one path after the other, keeping the directory of the last one open.
struct Looker {
    inspector: Inspector,
    descriptors: Arc<Descriptors>,
    parent: Option<(PathBuf, Option<Opened>)>,
}

impl Looker {
    /// The entry at `path`, if there is one that can be overwritten.
    fn look(&mut self, path: PathBuf) -> Option<Result<Entry, Problem>> {
        let (parent, name) = (path.parent()?, path.file_name()?);
        if self.parent.as_ref().is_none_or(|(open, _)| open != parent) {
            // A directory that is not there now: nothing below it is overwritten.
            self.parent = Some((parent.to_path_buf(), Directory::at_path(parent, &self.descriptors).ok()));
        }
        let Opened { directory, fd } = self.parent.as_ref()?.1.as_ref()?;
        let name = CString::new(name.as_bytes()).ok()?;
        let place = Place { directory, fd, name: &name };
        let looked = place.stat().and_then(|stat| Ok(self.inspector.inspect(place, &stat)?.map(|found| (found, stat))));
        match looked {
            Ok(Some((found, stat))) => {
                let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
                let content =
                    is_file.then(|| Content::Read(inode::content(Arc::clone(directory), name.clone(), &stat)));
                Some(Ok(Entry { path, node: found.node, content }))
            }
            Ok(None) => None,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => Some(Err(Problem::of_io(path, &error))),
        }
    }
}
