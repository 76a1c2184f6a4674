//! A saved tree as a tar archive, streamed.
//!
//! What the plain header cannot hold stands in PAX records before it: long names, times with nanoseconds, extended attributes. Names are the paths in
//! the point without the slash before them. As in a restore, names that lead elsewhere and names that stand twice are left out and told, so
//! that unpacking the archive is safe even for a tar that trusts it.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use bytes::{Buf, Bytes};
use rustix::fs::{major, minor};
use tar::{Builder, EntryType, Header};

use crate::error::chain;
use crate::extract::links::{Key, Links, Role};
use crate::extract::name;
use crate::output::printable;
use crate::store::{Node, NodeType, SavedTree, node};

/// How many bytes a name and the target of a link may have in the plain header.
const NAME: usize = 100;

/// An archive under way.
pub(super) struct Archive<'a, W: Write> {
    saved: &'a SavedTree,
    builder: Builder<W>,
    links: Links,
    /// The names under which files with several names were archived first.
    first: HashMap<Key, Vec<u8>>,
    is_complete: bool,
}

/// A directory on the way: its name in the archive with a slash, what is left of it, and which names were met.
struct Level {
    path: Vec<u8>,
    children: std::vec::IntoIter<Node>,
    seen: HashSet<OsString>,
}

impl<'a, W: Write> Archive<'a, W> {
    pub(super) fn new(saved: &'a SavedTree, writer: W) -> Self {
        let builder = Builder::new(writer);
        Self { saved, builder, links: Links::default(), first: HashMap::new(), is_complete: true }
    }

    /// Adds the directory `node`, which is at `path` in the point, and everything in it. Returns whether nothing was left out.
    pub(super) fn add_tree(&mut self, path: &Path, node: Node) -> Result<bool> {
        let mut name = Vec::new();
        for component in name::components(path)? {
            name.extend_from_slice(component.as_bytes());
            name.push(b'/');
        }
        if !name.is_empty() {
            self.add_plain(&name, &node, EntryType::Directory, &[])?;
        }
        let mut levels = vec![self.level(name, &node)];
        while let Some(level) = levels.last_mut() {
            let Some(node) = level.children.next() else {
                levels.pop();
                continue;
            };
            let own_name = node.name().into_owned();
            let mut path = [&level.path, own_name.as_bytes()].concat();
            if let Err(why) = name::check(&own_name) {
                self.leave_out(&path, why);
            } else if !level.seen.insert(own_name) {
                self.leave_out(&path, "its name stands more than once in its directory; only the first is archived");
            } else if node.is_dir() {
                path.push(b'/');
                self.add_plain(&path, &node, EntryType::Directory, &[])?;
                levels.push(self.level(path, &node));
            } else {
                self.add(&path, &node)?;
            }
        }
        Ok(self.is_complete)
    }

    /// Writes the end of the archive.
    pub(super) fn finish(self) -> io::Result<()> {
        self.builder.into_inner()?.flush()
    }

    fn level(&mut self, path: Vec<u8>, node: &Node) -> Level {
        let children = self.saved.children(node).unwrap_or_else(|error| {
            self.leave_out(&path, &chain(&error));
            Vec::new()
        });
        Level { path, children: children.into_iter(), seen: HashSet::new() }
    }

    fn add(&mut self, path: &[u8], node: &Node) -> Result<()> {
        match node.node_type {
            NodeType::File => self.add_file(path, node),
            NodeType::Symlink { .. } => {
                let target = node.node_type.to_link().as_os_str().as_bytes();
                if target.is_empty() || target.contains(&0) {
                    self.leave_out(path, "its target is none that a link can have");
                    return Ok(());
                }
                self.add_plain(path, node, EntryType::Symlink, target)
            }
            NodeType::Dev { .. } => self.add_plain(path, node, EntryType::Block, &[]),
            NodeType::Chardev { .. } => self.add_plain(path, node, EntryType::Char, &[]),
            NodeType::Fifo => self.add_plain(path, node, EntryType::Fifo, &[]),
            // Whoever listens on it makes it anew.
            NodeType::Dir | NodeType::Socket => Ok(()),
        }
    }

    fn add_file(&mut self, path: &[u8], node: &Node) -> Result<()> {
        let role = self.links.role(node);
        if let Role::Further(key) = role
            && let Some(first) = self.first.get(&key).cloned()
        {
            return self.add_plain(path, node, EntryType::Link, &first);
        }
        // Asked before the header is written: afterwards there is no way to leave the file out.
        let size = match self.saved.piece_sizes(node) {
            Ok(sizes) => sizes.into_iter().fold(0, u64::saturating_add),
            Err(error) => {
                self.leave_out(path, &chain(&error));
                return Ok(());
            }
        };
        let content = Content { pieces: self.saved.read(node)?, piece: Bytes::new() };
        let mut header = self.begin(path, node, EntryType::Regular, &[])?;
        header.set_size(size);
        header.set_cksum();
        self.builder
            .append(&header, content)
            .with_context(|| format!("archive {}; the archive is cut short there", shown(path)))?;
        if let Role::First(key) | Role::Further(key) = role {
            self.first.insert(key, path.to_vec());
        }
        Ok(())
    }

    /// Adds an entry without content.
    fn add_plain(&mut self, path: &[u8], node: &Node, kind: EntryType, target: &[u8]) -> Result<()> {
        let mut header = self.begin(path, node, kind, target)?;
        header.set_cksum();
        Ok(self.builder.append(&header, io::empty())?)
    }

    /// Writes the PAX records of an entry and returns its header, with size zero and without checksum.
    fn begin(&mut self, path: &[u8], node: &Node, kind: EntryType, target: &[u8]) -> Result<Header> {
        let meta = &node.meta;
        let mut records: Vec<(String, Vec<u8>)> = Vec::new();
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_mode(meta.mode.map_or(0o755, node::mode_from_node));
        header.set_uid(meta.uid.unwrap_or(0).into());
        header.set_gid(meta.gid.unwrap_or(0).into());
        if let Some(user) = &meta.user {
            // A name that is too long is left out; the number counts.
            let _ = header.set_username(user);
        }
        if let Some(group) = &meta.group {
            let _ = header.set_groupname(group);
        }
        let nanoseconds = meta.mtime.map_or(0, |time| time.as_nanosecond());
        header.set_mtime(u64::try_from(nanoseconds / SECOND).unwrap_or(0));
        if nanoseconds < 0 || nanoseconds % SECOND != 0 {
            records.push(("mtime".into(), decimal(nanoseconds).into_bytes()));
        }
        if let NodeType::Dev { device } | NodeType::Chardev { device } = node.node_type {
            header.set_device_major(major(device))?;
            header.set_device_minor(minor(device))?;
        }
        if path.len() > NAME {
            records.push(("path".into(), path.to_vec()));
        }
        if target.len() > NAME {
            records.push(("linkpath".into(), target.to_vec()));
        }
        let fields = header.as_old_mut();
        copy_start(&mut fields.name, path);
        copy_start(&mut fields.linkname, target);
        for attribute in meta.extended_attributes.iter().filter(|_| kind != EntryType::Link) {
            if attribute.name.contains(['=', '\n', '\0']) {
                self.leave_out(path, "an extended attribute has a name that an archive cannot hold");
                continue;
            }
            let value = attribute.value.clone().unwrap_or_default();
            records.push((format!("SCHILY.xattr.{}", attribute.name), value));
        }
        if !records.is_empty() {
            self.builder.append_pax_extensions(records.iter().map(|(key, value)| (key.as_str(), &value[..])))?;
        }
        Ok(header)
    }

    fn leave_out(&mut self, path: &[u8], why: &str) {
        tracing::error!("left out {}: {}", shown(path), printable(why.as_ref()));
        self.is_complete = false;
    }
}

const SECOND: i128 = 1_000_000_000;

/// Seconds as a decimal fraction without trailing zeros: `-0.5`, `12.000000001`.
fn decimal(nanoseconds: i128) -> String {
    let (sign, amount) = if nanoseconds < 0 { ("-", -nanoseconds) } else { ("", nanoseconds) };
    let text = format!("{sign}{}.{:09}", amount / SECOND, amount % SECOND);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn copy_start(field: &mut [u8; NAME], bytes: &[u8]) {
    let length = bytes.len().min(NAME);
    field[..length].copy_from_slice(&bytes[..length]);
}

fn shown(path: &[u8]) -> String {
    printable(std::ffi::OsStr::from_bytes(path))
}

/// The content of a file, piece after piece.
struct Content<I> {
    pieces: I,
    piece: Bytes,
}

impl<I: Iterator<Item = Result<Bytes>>> Read for Content<I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.next() {
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(error)) => return Err(io::Error::other(chain(&error))),
                None => return Ok(0),
            }
        }
        let length = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_without_trailing_zeros() {
        assert_eq!(decimal(12_000_000_001), "12.000000001");
        assert_eq!(decimal(-500_000_000), "-0.5");
        assert_eq!(decimal(-2_000_000_000), "-2");
        assert_eq!(decimal(10_000_000_000), "10");
    }

    #[test]
    fn content_is_read_across_its_pieces() {
        let pieces = ["ab", "", "cde"].map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
        let mut content = Content { pieces: pieces.into_iter(), piece: Bytes::new() };
        let mut text = String::new();
        content.read_to_string(&mut text).unwrap();
        assert_eq!(text, "abcde");
    }
}
