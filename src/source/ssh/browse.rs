//! Looking around on a machine: `holdall ls ssh.NAME@live:/path`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::listing::Listing;
use super::node::{Extra, node_of};
use super::{How, Listed, Ssh};
use crate::error::Annotate;
use crate::source::Browsed;
use crate::store::SavedNode;

impl Ssh {
    /// What is at a path of the machine now. Without `sudo`: what it may list is what is backed up, and that only as a whole.
    pub(super) fn look_around(&self, path: &Path, is_recursive: bool) -> Result<Browsed> {
        let name = &self.config.login.host;
        let (host, mut connection) = self.reach_named()?;
        let host = host.unprivileged();
        let roots = [path.to_path_buf()];
        let how = if is_recursive { How::Everything } else { How::Shallow };
        let listed = self.list(&host, &mut connection, &roots, how);
        let Listed { listing, problems, .. } = listed.with_context(|| format!("list {} on {name}", path.display()))?;
        if !listing.has_root(path) {
            return self
                .not_listed(path, &problems)
                .hint(format!("This looks as {}, also when backups are made with sudo.", self.config.login.user));
        }
        Ok(Browsed { entries: entries(&listing, path), problems })
    }
}

/// What is shown of a listing.
fn entries(listing: &Listing, path: &Path) -> Vec<SavedNode> {
    let root = listing.find(path);
    let is_directory = root.is_none_or(|row| listing.stat(row).is_dir());
    let (mut steps, mut entries) = (listing.steps(), Vec::new());
    while let Some(row) = steps.next(listing) {
        let here = PathBuf::from(OsStr::from_bytes(steps.path()));
        let is_shown = match here.strip_prefix(path) {
            Ok(below) if is_directory => below.components().next().is_some(),
            Ok(_) => true,
            Err(_) => false,
        };
        if is_shown {
            let node = node_of(listing.name(row), listing.stat(row), listing.target(row), &Extra::default());
            entries.push(SavedNode { path: here, node });
        }
    }
    entries
}
