//! Bringing a point back onto its machine, or another: what stands there now, and what of it is going to be overwritten.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow};

use super::connection::Connection;
use super::host::{Host, Way};
use super::listing::{Listing, Row};
use super::only_sftp;
use super::plan::Plan;
use super::restore::{Restore, Standing};
use super::tree::{Shared, SshTree};
use super::{DUMPS, How, Listed, Ssh, commands};
use crate::error::Annotate;
use crate::extract::{Extracted, Layout, RestoreOptions};
use crate::monitor::Monitor;
use crate::source::{Item, Problem, Severity, Tree};
use crate::store::{Node, SavedTree};

/// What to do where nothing can unpack.
const WITHOUT_TAR: &str = "Restore with --to DIR here, and copy it there.";

/// What is to be brought back, and how.
pub(super) struct Back<'b> {
    pub(super) saved: &'b SavedTree,
    /// `None`: to where it came from.
    pub(super) directory: Option<&'b Path>,
    pub(super) layout: Layout,
    pub(super) options: &'b RestoreOptions,
}

/// What stands where a point goes, as far as somebody may look.
struct Now {
    listing: Listing,
    problems: Vec<Problem>,
    /// What was looked at.
    roots: Vec<PathBuf>,
    /// Whether some of that was left out.
    with_rules: bool,
}

impl Ssh {
    /// Puts a point, or a part of it, onto this machine.
    pub(super) fn bring_back(&self, back: &Back<'_>, monitor: &dyn Monitor) -> Result<Extracted> {
        let (host, mut connection) = self.reach_named()?;
        if host.way != Way::Gnu {
            return self.bring_back_over_sftp(&host, &mut connection, back, monitor);
        }
        let writer = commands::write(&host.tools);
        if !back.options.dry_run {
            self.check_writer(&host, &mut connection, back.options.verify)?;
        }
        let now = match back.directory {
            None => self.look_in_place(&host, &mut connection, back.saved, back.options.path.as_deref())?,
            Some(directory) => self.look_at_directory(&host, &mut connection, directory, back.options.overwrite)?,
        };
        let target = back.directory.unwrap_or(Path::new("/"));
        let is_empty = now.listing.find(target).is_none_or(|row| now.listing.children(row).is_empty());
        let sudo = host.needs_sudo();
        let restore = Restore {
            saved: back.saved,
            target,
            layout: back.layout,
            options: back.options,
            made: &[PathBuf::from(DUMPS)],
            reader: &commands::privileged(&host.tools, sudo, commands::read(&host.tools)),
            writer: &commands::privileged(&host.tools, sudo, writer),
            is_root: sudo || host.tools.uid == Some(0),
            is_empty,
            standing: &|path| self.standing(&now, Path::new(OsStr::from_bytes(path))),
        };
        restore.run(&mut connection, monitor)
    }

    /// Sees that sudo, if it is to be used, lets tar unpack, and pack for a comparison.
    fn check_writer(&self, host: &Host, connection: &mut Connection, reads: bool) -> Result<()> {
        if host.way != Way::Gnu && host.needs_sudo() {
            return Err(anyhow!("{} has no GNU tar, and over SFTP there is no sudo", self.config.login.host))
                .hint(WITHOUT_TAR);
        }
        if host.way != Way::Gnu {
            return Ok(());
        }
        let needed = [commands::read(&host.tools), commands::write(&host.tools)];
        self.check_allowed(host, connection, if reads { &needed } else { &needed[1..] })
    }

    /// The same on a machine without GNU tar.
    fn bring_back_over_sftp(
        &self,
        host: &Host,
        connection: &mut Connection,
        back: &Back<'_>,
        monitor: &dyn Monitor,
    ) -> Result<Extracted> {
        let name = &self.config.login.host;
        self.check_writer(host, connection, false)?;
        let sftp = match host.sftp() {
            Ok(sftp) => Arc::clone(sftp),
            Err(_) => Arc::new(connection.sftp().hint(format!("{name} has no GNU tar either. {WITHOUT_TAR}"))?),
        };
        let target = back.directory.unwrap_or(Path::new("/"));
        if back.layout == Layout::Contents {
            return Err(anyhow!("{name} has no GNU tar, and over SFTP only whole paths are restored"))
                .hint("Take out :PATH, or restore with --to DIR here, and copy it there.");
        }
        only_sftp::restore(&sftp, back.saved, target, back.options, monitor)
    }

    /// What a restore of this point would overwrite, as a tree; `None` when that is nothing.
    pub(super) fn to_be_overwritten(
        &self,
        _item: &Item,
        saved: &SavedTree,
        path: Option<&Path>,
    ) -> Result<Option<Box<dyn Tree>>> {
        let (host, mut connection) = self.reach_named()?;
        // Before anything is saved in vain.
        self.check_writer(&host, &mut connection, true)?;
        let Now { mut listing, mut problems, .. } = self.look_in_place(&host, &mut connection, saved, path)?;
        let there = in_both(&listing, saved, path.unwrap_or(Path::new("/")))?;
        // What is in a directory that cannot be listed may be overwritten all the same.
        problems
            .retain(|problem| problem.severity == Severity::Unread && !matches!(saved.find(&problem.path), Ok(None)));
        if problems.is_empty() && !there.iter().any(|&row| !listing.stat(row).is_dir()) {
            return Ok(None);
        }
        listing.keep(&|_, row| there.contains(&row));
        let plan = Plan::new(listing, Some(saved), true);
        Ok(Some(Box::new(SshTree(Arc::new(Shared {
            host,
            plan,
            problems,
            // It is no point that others follow.
            follows_whole: true,
            dumps: Default::default(),
            connection: Mutex::new(Some(connection)),
            failure: Mutex::default(),
        })))))
    }

    /// Looks at what a point, or the part at `path`, would be put over.
    fn look_in_place(
        &self,
        host: &Host,
        connection: &mut Connection,
        saved: &SavedTree,
        path: Option<&Path>,
    ) -> Result<Now> {
        // Sudo lets us list what is backed up, in just this way.
        let with_rules = host.needs_sudo();
        let roots = match path {
            _ if with_rules => self.roots.clone(),
            Some(path) => vec![path.to_path_buf()],
            None => saved.roots().iter().filter(|root| *root != Path::new(DUMPS)).cloned().collect(),
        };
        let how = if with_rules { How::Wanted } else { How::Everything };
        let listed = self.list(host, connection, &roots, how);
        let Listed { listing, problems, .. } = listed.with_context(|| format!("list {}", self.config.login.host))?;
        Ok(Now { listing, problems, roots, with_rules })
    }

    /// Looks at a directory that something is to be put into, as who is logged in.
    fn look_at_directory(
        &self,
        host: &Host,
        connection: &mut Connection,
        directory: &Path,
        overwrite: bool,
    ) -> Result<Now> {
        let roots = vec![directory.to_path_buf()];
        // Without leave to overwrite it only matters whether anything is there.
        let how = if overwrite { How::Everything } else { How::Shallow };
        let listed = self.list(&host.unprivileged(), connection, &roots, how);
        let Listed { listing, problems, .. } = listed.with_context(|| format!("list {}", directory.display()))?;
        let is_hidden = problems.iter().any(|problem| problem.severity == Severity::Unread);
        if is_hidden && host.needs_sudo() && !overwrite {
            let (user, name) = (&host.login.user, directory.display());
            return Err(anyhow!("{user} may not see what is in {name} on {}", host.login.host))
                .hint("Name a directory that it may look into, or add --overwrite: what is there and not in the point is kept.");
        }
        Ok(Now { listing, problems, roots, with_rules: false })
    }

    /// What stands at a path.
    fn standing(&self, now: &Now, path: &Path) -> Standing {
        match now.listing.find(path) {
            Some(row) if now.listing.is_above(row) && now.listing.stat(row).links == 0 => Standing::Unknown,
            Some(row) => Standing::There(*now.listing.stat(row)),
            None if !now.roots.iter().any(|root| path.starts_with(root)) => Standing::Unknown,
            None if now.with_rules => Standing::Unknown,
            None => Standing::Missing,
        }
    }
}

/// What of the listing the saved tree has as well at a path, below it and on the way to it, whatever it is there.
fn in_both(listing: &Listing, saved: &SavedTree, path: &Path) -> Result<HashSet<Row>> {
    let mut there = HashSet::new();
    let Some(root) = saved.find(Path::new("/"))? else { return Ok(there) };
    let way: Vec<_> = path.iter().skip(1).collect();
    let mut directories: Vec<(Row, Node, usize)> = vec![(0, root, 0)];
    while let Some((row, node, depth)) = directories.pop() {
        for node in saved.children(&node)? {
            if way.get(depth).is_some_and(|name| node.name() != *name) {
                continue;
            }
            let children = listing.children(row);
            let Ok(at) = children.binary_search_by(|child| listing.name(*child).cmp(node.name().as_bytes())) else {
                continue;
            };
            there.insert(children[at]);
            if node.is_dir() {
                directories.push((children[at], node, depth + 1));
            }
        }
    }
    Ok(there)
}
