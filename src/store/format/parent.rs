//! Reads a saved tree, to compare what a source has now with what was saved of it last time.
//!
//! What is read may have been written by any restic or rustic, and may be damaged or made up: it is an error, never a panic, and the
//! caller then simply has nothing to compare with. Only what is compared is kept, in little memory: directories of millions of
//! files pass here.

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustic_core::repofile::Node;

use super::BlobId;
use super::moment::Moment;
use super::tree::{device, target, type_name};

mod read;
#[cfg(test)]
mod tests;

/// A node of a saved tree.
#[derive(Debug)]
pub struct Known {
    name: Box<[u8]>,
    /// What [`type_name`] has for it; empty for a type that holdall does not write.
    kind: &'static str,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: Moment,
    atime: Moment,
    ctime: Moment,
    user: Option<Arc<str>>,
    group: Option<Arc<str>>,
    inode: u64,
    device_id: u64,
    size: u64,
    links: u64,
    device: u64,
    content: Option<Vec<BlobId>>,
    subtree: Option<BlobId>,
    /// What few nodes have.
    rest: Option<Box<Rest>>,
    /// It has fields that holdall does not write.
    has_more: bool,
}

#[derive(Debug, Default)]
struct Rest {
    target: Vec<u8>,
    attributes: Vec<(String, Option<Vec<u8>>)>,
}

/// Reads the JSON of a tree; the nodes are in the order of their names' bytes, each name once.
///
/// # Errors
///
/// When it is not a tree of restic's format, or its names are not in that order.
pub fn parse(json: &[u8]) -> Result<Vec<Known>> {
    let read::Tree(nodes) = serde_json::from_slice(json).context("read a saved tree")?;
    Ok(nodes)
}

impl Known {
    /// The name, as it is in the file system.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == "dir"
    }

    /// The pieces of a file in their order; `None` for what is no file, and for a file that was saved without knowing them.
    pub fn content(&self) -> Option<&[BlobId]> {
        self.content.as_deref()
    }

    /// The tree of a directory.
    pub fn subtree(&self) -> Option<BlobId> {
        self.subtree
    }

    /// The extended attributes, as name and value; a value that is `null` is none.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let attributes = self.rest.iter().flat_map(|rest| &rest.attributes);
        attributes.filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)))
    }

    /// Which device it is, as `st_rdev`; 0 for anything else.
    pub fn device(&self) -> u64 {
        self.device
    }

    /// The number of the file system, where it tells hard links apart; else 0.
    pub fn device_id(&self) -> u64 {
        self.device_id
    }

    /// Whether all that [`super::tree::node`] would write of `node` is what is saved, content and subtree apart: using the saved
    /// JSON again loses nothing.
    ///
    /// What is missing is as good as zero, as it is to restic; moments are compared, not how they were written.
    pub fn is_same_node(&self, node: &Node) -> bool {
        let meta = &node.meta;
        let (target_now, attributes_now) = (target(&node.node_type), &meta.extended_attributes);
        let (target_saved, attributes_saved) =
            self.rest.as_deref().map_or((&[][..], &[][..]), |rest| (&rest.target, &rest.attributes));
        !self.has_more
            && self.kind == type_name(&node.node_type)
            && self.mtime == Moment::of(meta.mtime)
            && self.ctime == Moment::of(meta.ctime)
            && self.atime == Moment::of(meta.atime)
            && self.size == meta.size
            && self.inode == meta.inode
            && self.device_id == meta.device_id
            && self.links == meta.links
            && self.mode == meta.mode.unwrap_or_default()
            && self.uid == meta.uid.unwrap_or_default()
            && self.gid == meta.gid.unwrap_or_default()
            && self.user.as_deref().unwrap_or_default() == meta.user.as_deref().unwrap_or_default()
            && self.group.as_deref().unwrap_or_default() == meta.group.as_deref().unwrap_or_default()
            && self.device == device(&node.node_type)
            && target_saved == target_now
            && attributes_saved.len() == attributes_now.len()
            && attributes_saved
                .iter()
                .zip(attributes_now)
                .all(|((name, value), now)| *name == now.name && *value == now.value)
            && *self.name == *node.name().as_bytes()
    }

    /// Whether nothing has happened to it: restic's rule, which asks for type, size, inode, and times of content and of status.
    /// Without a modification time nothing is known.
    pub fn is_untouched(&self, node: &Node) -> bool {
        self.kind == type_name(&node.node_type)
            && node.meta.mtime.is_some()
            && self.mtime == Moment::of(node.meta.mtime)
            && self.ctime == Moment::of(node.meta.ctime)
            && self.size == node.meta.size
            && self.inode == node.meta.inode
    }
}
