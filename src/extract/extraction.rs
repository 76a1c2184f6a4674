//! A restore under way: what it works on, and how it tells what happens. The work itself is in [`super::walk`], [`super::entries`] and
//! [`super::batch`].

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use rustix::fs::{FileType, Stat};

use super::batch::Batch;
use super::content;
use super::directory::Directory;
use super::links::Links;
use super::name::Trail;
use super::temporary::Workshop;
use super::walk::Level;
use super::{Action, Change, Extracted, Layout, RestoreOptions};
use crate::monitor::Task;
use crate::source::{Problem, Severity};
use crate::store::{Node, SavedTree};

/// A restore under way.
pub(super) struct Extraction<'a> {
    pub(super) saved: &'a SavedTree,
    pub(super) options: &'a RestoreOptions,
    pub(super) task: Arc<dyn Task>,
    pub(super) links: Links,
    pub(super) batch: Batch,
    pub(super) workshop: Workshop,
    pub(super) done: Extracted,
    pub(super) target: &'a Path,
    pub(super) top: Option<Directory>,
    pub(super) layout: Layout,
    pub(super) levels: Vec<Level>,
    pub(super) trail: Trail,
    /// How much of the trail is not part of the path below the target.
    pub(super) cut: usize,
    /// With [`Layout::WholePath`]: the names down to what is wanted.
    pub(super) way: Vec<OsString>,
    /// With [`Layout::WholePath`]: the directory of the point that the target is; empty: the root.
    pub(super) base: Vec<OsString>,
    /// Whether the target itself gets the metadata of that directory.
    pub(super) adjusts_target: bool,
}

/// An entry that was looked at: the node, and what stands in its place.
pub(super) struct Spot {
    pub(super) node: Node,
    pub(super) name: OsString,
    /// Where it is in the point.
    pub(super) path: PathBuf,
    /// The directory it belongs in; `None`: dry run, not there.
    pub(super) directory: Option<Directory>,
    /// What stands in its place.
    pub(super) found: Option<Stat>,
}

impl Spot {
    /// The type of what stands in its place.
    pub(super) fn kind_found(&self) -> Option<FileType> {
        self.found.as_ref().map(|stat| FileType::from_raw_mode(stat.st_mode))
    }
}

impl<'a> Extraction<'a> {
    pub(super) fn new(
        saved: &'a SavedTree,
        target: &'a Path,
        top: Option<Directory>,
        layout: Layout,
        options: &'a RestoreOptions,
        task: Arc<dyn Task>,
    ) -> Self {
        Self {
            saved,
            options,
            task,
            links: Links::default(),
            batch: Batch::default(),
            workshop: Workshop::new(),
            done: Extracted::default(),
            target,
            top,
            layout,
            levels: Vec::new(),
            trail: Trail::default(),
            cut: 0,
            way: Vec::new(),
            base: Vec::new(),
            adjusts_target: false,
        }
    }

    /// Where something of the point belongs on this machine.
    pub(super) fn destination(&self, path: &Path) -> PathBuf {
        let below = path.as_os_str().as_bytes().get(self.cut..).unwrap_or_default();
        match below.strip_prefix(b"/").unwrap_or(below) {
            b"" => self.target.to_path_buf(),
            below => self.target.join(OsStr::from_bytes(below)),
        }
    }

    /// Tells whoever watches.
    pub(super) fn tell(&self, change: Option<Change>, spot: &Spot) -> Result<()> {
        match (change, &self.options.watch) {
            (Some(change), Some(watch)) => {
                let path = self.destination(&spot.path);
                watch.tell(&Action { change, path: &path, node: &spot.node })
            }
            _ => Ok(()),
        }
    }

    /// Something of the point is not as it should be in the target.
    pub(super) fn problem(&mut self, path: &Path, error: &str) {
        self.done.add(Problem { path: path.to_path_buf(), error: error.to_owned(), severity: Severity::Unread });
    }

    /// Something could not be restored, and that does little harm.
    pub(super) fn warning(&mut self, path: &Path, error: String) {
        self.done.add(Problem { path: path.to_path_buf(), error, severity: Severity::Warning });
    }

    /// A call failed: a problem of this entry, unless the target takes nothing more.
    pub(super) fn trouble(&mut self, path: &Path, doing: &str, error: io::Error) -> Result<()> {
        if content::is_fatal(&error) {
            return content::fatal(error, &format!("write {}", self.destination(path).display()));
        }
        self.problem(path, &format!("{doing}: {error}"));
        Ok(())
    }
}
