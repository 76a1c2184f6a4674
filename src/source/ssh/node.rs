//! What a machine says of an entry, as a node of a snapshot.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::listing::{BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, SYMLINK, Stat};
use crate::store::format::BlobId;
use crate::store::format::parent::Known;
use crate::store::{Metadata, Node, NodeType, node};

/// What a listing does not tell of an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Extra {
    /// Extended attributes, ACLs among them, by name.
    pub(super) xattrs: Vec<(String, Vec<u8>)>,
    /// Which device it is, as `st_rdev`; 0 for anything else.
    pub(super) device: u64,
}

/// The node of an entry.
///
/// As a backup of the machine by itself would have it, but for the names of owners: their numbers are what counts.
pub(super) fn node_of(name: &[u8], stat: &Stat, target: &[u8], extra: &Extra) -> Node {
    let node_type = match stat.kind() {
        DIRECTORY => NodeType::Dir,
        SYMLINK => NodeType::from_link(Path::new(OsStr::from_bytes(target))),
        FIFO => NodeType::Fifo,
        BLOCK => NodeType::Dev { device: extra.device },
        CHARACTER => NodeType::Chardev { device: extra.device },
        _ => NodeType::File,
    };
    let is_file = stat.kind() == FILE;
    let moment = |(seconds, nanoseconds): (i64, u32)| node::timestamp(seconds, nanoseconds.into());
    let mtime = moment(stat.mtime);
    let mut metadata = Metadata {
        mode: Some(node::mode_to_node(stat.mode)),
        mtime,
        atime: mtime,
        ctime: stat.ctime.and_then(moment),
        uid: Some(stat.uid),
        gid: Some(stat.gid),
        user: None,
        group: None,
        inode: stat.inode,
        device_id: if is_file && stat.links > 1 { stat.device } else { 0 },
        size: if is_file { stat.size } else { 0 },
        links: match stat.kind() {
            DIRECTORY => 0,
            FIFO if stat.links == 1 => 0,
            _ => stat.links,
        },
        extended_attributes: Vec::new(),
    };
    if !extra.xattrs.is_empty() {
        node::set_xattrs(&mut metadata, &extra.xattrs);
    }
    node::named(OsStr::from_bytes(name), node_type, metadata)
}

/// What a saved entry has that a listing would not tell.
pub(super) fn extra_of(known: &Known) -> Extra {
    let xattrs = known.attributes().map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
    Extra { xattrs, device: known.device() }
}

/// Whether nothing has happened to an entry since it was saved, as far as the machine tells: type, size, times of content and of status, inode,
/// links, mode, owner, and where a link leads to.
pub(super) fn is_same(known: &Known, name: &[u8], stat: &Stat, target: &[u8], extra: &Extra) -> bool {
    let mut now = node_of(name, stat, target, extra);
    // Numbers of file systems change from boot to boot, and say nothing about a file.
    now.meta.device_id = known.device_id();
    let is_whole = |blobs: &[BlobId]| now.meta.size == 0 || !blobs.is_empty();
    let has_content = !now.is_file() || known.content().is_some_and(is_whole);
    has_content && now.meta.mtime.is_some() && known.is_same_node(&now)
}
