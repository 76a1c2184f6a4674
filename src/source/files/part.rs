//! A directory or file of this machine as a part of a tree that is put together from several, at another place.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;

use super::ahead;
use super::rules::Rules;
use super::walk::Walk;
use crate::config::LeaveOut;
use crate::source::parts::Part;
use crate::source::{Entries, Entry};
use crate::store::{Node, node};

/// What is at a path of this machine.
pub(crate) struct Local {
    root: PathBuf,
    rules: Arc<Rules>,
}

impl Local {
    /// What is at `root` now, links on the way followed. What is at the paths `never` is not part of it, nor what `leave_out` says.
    ///
    /// # Errors
    ///
    /// When there is nothing, or it may not be looked at.
    pub(crate) fn new(root: &Path, leave_out: &LeaveOut, never: &[PathBuf]) -> Result<Self> {
        let root = fs::canonicalize(root)?;
        if fs::metadata(&root)?.is_dir() {
            // Whether it may be listed shows here, and not in the middle of a backup.
            fs::read_dir(&root)?;
        }
        Ok(Self { root, rules: Arc::new(Rules::new(leave_out, never)?) })
    }
}

impl Part for Local {
    fn entries(&self, at: &Path) -> Entries {
        let (root, at) = (self.root.clone(), at.to_path_buf());
        let entries = ahead::ahead(root.clone(), vec![root.clone()], Arc::clone(&self.rules));
        Box::new(entries.filter_map(move |entry| match entry {
            Ok(entry) => moved(entry, &root, &at).map(Ok),
            Err(problem) => Some(Err(problem)),
        }))
    }

    fn size(&self) -> Option<u64> {
        Some(Walk::new(vec![self.root.clone()], Arc::clone(&self.rules)).size())
    }
}

/// An entry at or below `root`, as it is at or below `at`; `None` for what is above it.
fn moved(entry: Entry, root: &Path, at: &Path) -> Option<Entry> {
    let below = entry.path.strip_prefix(root).ok()?;
    if below.as_os_str().is_empty() {
        let Node { node_type, meta, .. } = entry.node;
        let node = node::named(at.file_name().unwrap_or_default(), node_type, meta);
        return Some(Entry { path: at.to_path_buf(), node, content: entry.content });
    }
    Some(Entry { path: at.join(below), ..entry })
}
