//! Lists machines without GNU find in the order in which a [`Listing`] takes entries.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Listed;
use super::connection::Connection;
use super::host::Host;
use super::listing::{DIRECTORY, Found, Listing, Stat};
use super::only_sftp;
use super::posix::{self, Request, prunable};
use super::room::Room;
use crate::config::LeaveOut;
use crate::source::stream::in_tree_order;

/// Lists everything below the roots.
pub(super) fn list(
    connection: &mut Connection,
    host: &Host,
    roots: &[PathBuf],
    leave_out: &LeaveOut,
    is_shallow: bool,
    leaves_out: &dyn Fn(&Path, &Stat) -> bool,
) -> Result<Listed> {
    let names: Vec<Vec<u8>> = roots.iter().map(|root| root.as_os_str().as_bytes().to_vec()).collect();
    let request = Request {
        roots: &names,
        prefix: &host.prefix(),
        one_file_system: leave_out.one_file_system,
        is_shallow,
        pruned: &prunable(&leave_out.exclude),
        excludes: &|path, is_directory| excludes(leaves_out, path, is_directory),
    };
    let (mut found, mut room) = (Vec::new(), Room::new());
    let listed = posix::list(connection, &request, &mut |entry| gather(entry, &mut found, &mut room))?;
    Ok(Listed { listing: in_order(found, roots, leaves_out)?, problems: listed.problems, devices: listed.devices })
}

/// The same on a machine that gives SFTP only.
pub(super) fn list_over_sftp(
    host: &Host,
    roots: &[PathBuf],
    leave_out: &LeaveOut,
    is_shallow: bool,
    leaves_out: &dyn Fn(&Path, &Stat) -> bool,
) -> Result<Listed> {
    let names: Vec<Vec<u8>> = roots.iter().map(|root| root.as_os_str().as_bytes().to_vec()).collect();
    let request = only_sftp::Request {
        roots: &names,
        one_file_system: leave_out.one_file_system,
        is_shallow,
        excludes: &|path, is_directory| excludes(leaves_out, path, is_directory),
    };
    let (mut found, mut room) = (Vec::new(), Room::new());
    let problems = only_sftp::list(host.sftp()?, &request, &mut |entry| gather(entry, &mut found, &mut room))?;
    Ok(Listed { listing: in_order(found, roots, leaves_out)?, problems, devices: Vec::new() })
}

/// Keeps an entry until all have come.
fn gather(entry: Found, found: &mut Vec<Found>, room: &mut Room) -> Result<()> {
    // Each is sorted by a copy of its path, and then stands in the listing, too.
    room.take(2 * (size_of::<Found>() + entry.path.len() + entry.target.len()))?;
    found.push(entry);
    Ok(())
}

/// Whether something is left out, which for a directory does not hang on what else is known of it.
fn excludes(leaves_out: &dyn Fn(&Path, &Stat) -> bool, path: &[u8], is_directory: bool) -> bool {
    let mode = if is_directory { DIRECTORY } else { 0 };
    leaves_out(Path::new(OsStr::from_bytes(path)), &Stat { mode, ..Stat::default() })
}

/// A listing of entries that come in any order.
pub(super) fn in_order(
    mut found: Vec<Found>,
    roots: &[PathBuf],
    leaves_out: &dyn Fn(&Path, &Stat) -> bool,
) -> Result<Listing> {
    let mut listing = Listing::new();
    // It is not among what was found.
    if let Some(root) = roots.iter().find(|root| root.parent().is_none()) {
        listing.begin_root(root, &Found::default())?;
    }
    found.sort_by_cached_key(|entry| in_tree_order(&entry.path));
    found.iter().try_for_each(|entry| listing.take(entry, roots, leaves_out))?;
    listing.sort();
    Ok(listing)
}
