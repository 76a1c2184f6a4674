//! Lists a machine in the way that it offers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;

use super::connection::Connection;
use super::gnu;
use super::host::{Host, Way};
use super::listing::{Listing, Stat};
use super::plain;
use crate::config::LeaveOut;
use crate::source::Problem;
use crate::source::globs::Globs;

/// What a machine has.
pub(super) struct Listed {
    pub(super) listing: Listing,
    /// What could not be listed.
    pub(super) problems: Vec<Problem>,
    /// Which device each is that is one, when that was told.
    pub(super) devices: Vec<(Vec<u8>, u64)>,
}

/// What is to be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// What is backed up.
    Wanted,
    /// Everything.
    Everything,
    /// A directory without what is in those below it.
    Shallow,
}

/// Knows what is left out. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Lister {
    leave_out: Arc<LeaveOut>,
    globs: Arc<Globs>,
}

impl Lister {
    pub(super) fn new(leave_out: &LeaveOut) -> Result<Self> {
        Ok(Self { leave_out: Arc::new(leave_out.clone()), globs: Arc::new(Globs::new(&leave_out.exclude)?) })
    }

    /// Lists what is at the roots and below them.
    pub(super) fn list(&self, host: &Host, connection: &mut Connection, roots: &[PathBuf], how: How) -> Result<Listed> {
        if roots.is_empty() {
            // Dumps are all that there is; find would take no path for the directory that it is in.
            let mut listing = Listing::new();
            listing.sort();
            return Ok(Listed { listing, problems: Vec::new(), devices: Vec::new() });
        }
        let none = LeaveOut::default();
        let leave_out = if how == How::Wanted { &*self.leave_out } else { &none };
        let leaves_out = |path: &Path, stat: &Stat| {
            how == How::Wanted
                && (self.globs.excludes(path, stat.is_dir())
                    || stat.is_file() && leave_out.exclude_larger_than.is_some_and(|limit| stat.size > limit))
        };
        let (sudo, is_shallow) = (host.needs_sudo(), how == How::Shallow);
        match host.way {
            Way::Gnu => {
                let tools = &host.tools;
                let request = gnu::Request { tools, sudo, roots, leave_out, is_shallow, leaves_out: &leaves_out };
                let (listing, problems) = gnu::list(connection, &request)?;
                Ok(Listed { listing, problems, devices: Vec::new() })
            }
            Way::Posix => plain::list(connection, host, roots, leave_out, is_shallow, &leaves_out),
            Way::Sftp => plain::list_over_sftp(host, roots, leave_out, is_shallow, &leaves_out),
        }
    }
}
