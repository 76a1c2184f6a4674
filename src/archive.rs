//! A saved tree as a tar archive, streamed: for `dump`, and for machines on which tar puts it back.
//!
//! What the plain header cannot hold stands in PAX records before it ([`records`]). As in a restore, names that lead elsewhere and names that stand
//! twice are left out and told, so that unpacking the archive is safe even for a tar that trusts it. What else is left out, where
//! things come to be, and who hears of it, is up to a [`Sink`] and to whoever names the things that are added.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
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
use crate::store::{Metadata, Node, NodeType, SavedTree, node};

pub(crate) mod acl;
mod records;

/// How many bytes a name and the target of a link may have in the plain header.
const NAME: usize = 100;

/// The bits that make a program run as somebody else.
const SET_ID: u32 = 0o6000;

/// Somebody who decides what becomes a part of an archive, and hears of what does not.
pub trait Sink {
    /// Whether an entry becomes a part of it. What is in a directory is asked for either way. An error ends the archive.
    fn wants(&mut self, entry: &Candidate<'_>) -> Result<bool> {
        let _ = entry;
        Ok(true)
    }

    /// Something of the point cannot be in the archive, or not as it was.
    fn leave_out(&mut self, name: &[u8], why: &str);

    /// So many bytes of content were written.
    fn advance(&mut self, bytes: u64) {
        let _ = bytes;
    }
}

/// An entry that may become a part of an archive.
#[derive(Debug)]
pub struct Candidate<'a> {
    /// Its name in the archive, without a slash at its end.
    pub name: &'a [u8],
    /// What it is.
    pub node: &'a Node,
    /// What it is to other names of the same file.
    pub role: Role,
    /// How much content there is, in bytes.
    pub size: u64,
}

/// An archive under way.
pub struct Archive<'a, W: Write> {
    saved: &'a SavedTree,
    builder: Builder<W>,
    sink: &'a mut (dyn Sink + 'a),
    links: Links,
    /// The names under which files with several names come first.
    first: HashMap<Key, Vec<u8>>,
    keeps_set_id: bool,
}

/// A directory on the way: its name in the archive with a slash, what is left of it, and which names were met.
struct Level {
    path: Vec<u8>,
    children: std::vec::IntoIter<Node>,
    seen: HashSet<OsString>,
}

/// The name that something at `path` in a point has in an archive of the whole point; empty for the root.
///
/// # Errors
///
/// When the path contains `..`.
pub fn name(path: &Path) -> Result<Vec<u8>> {
    Ok(name::components(path)?.join(OsStr::new("/")).into_encoded_bytes())
}

impl<'a, W: Write> Archive<'a, W> {
    /// An archive of things of this tree.
    pub fn new(saved: &'a SavedTree, writer: W, sink: &'a mut (dyn Sink + 'a)) -> Self {
        let builder = Builder::new(writer);
        Self { saved, builder, sink, links: Links::default(), first: HashMap::new(), keeps_set_id: true }
    }

    /// Takes the bits from all programs that make them run as somebody else: who unpacks it cannot give them to their owner.
    #[must_use]
    pub fn without_set_id(mut self) -> Self {
        self.keeps_set_id = false;
        self
    }

    /// Adds something under this name, a directory with everything in it.
    pub fn add(&mut self, name: Vec<u8>, node: &Node) -> Result<()> {
        if !node.is_dir() {
            return self.add_entry(&name, node);
        }
        self.add_directory(&name, node)?;
        self.add_content(name, node)
    }

    /// Adds a directory, and nothing that is in it.
    pub fn add_directory(&mut self, name: &[u8], node: &Node) -> Result<()> {
        if self.sink.wants(&Candidate { name, node, role: Role::Alone, size: 0 })? {
            self.add_plain(&[name, b"/"].concat(), node, EntryType::Directory, &[])?;
        }
        Ok(())
    }

    /// Adds everything in a directory, which has this name itself; the root has none.
    pub fn add_content(&mut self, mut name: Vec<u8>, node: &Node) -> Result<()> {
        if !name.is_empty() {
            name.push(b'/');
        }
        let mut levels = vec![self.level(name, node)];
        while let Some(level) = levels.last_mut() {
            let Some(node) = level.children.next() else {
                levels.pop();
                continue;
            };
            let own_name = node.name().into_owned();
            let mut path = [&level.path, own_name.as_bytes()].concat();
            if let Err(why) = name::check(&own_name) {
                self.sink.leave_out(&path, why);
            } else if !level.seen.insert(own_name) {
                self.sink.leave_out(&path, "its name stands more than once in its directory; only the first is taken");
            } else if node.is_dir() {
                self.add_directory(&path, &node)?;
                path.push(b'/');
                levels.push(self.level(path, &node));
            } else {
                self.add_entry(&path, &node)?;
            }
        }
        Ok(())
    }

    /// Writes the end of the archive.
    pub fn finish(self) -> io::Result<()> {
        self.builder.into_inner()?.flush()
    }

    fn level(&mut self, path: Vec<u8>, node: &Node) -> Level {
        let children = self.saved.children(node).unwrap_or_else(|error| {
            self.sink.leave_out(path.strip_suffix(b"/").unwrap_or(&path), &chain(&error));
            Vec::new()
        });
        Level { path, children: children.into_iter(), seen: HashSet::new() }
    }

    fn add_entry(&mut self, path: &[u8], node: &Node) -> Result<()> {
        let (kind, target) = match node.node_type {
            NodeType::File => return self.add_file(path, node),
            NodeType::Symlink { .. } => (EntryType::Symlink, node.node_type.to_link().as_os_str().as_bytes()),
            NodeType::Dev { .. } => (EntryType::Block, &[][..]),
            NodeType::Chardev { .. } => (EntryType::Char, &[][..]),
            NodeType::Fifo => (EntryType::Fifo, &[][..]),
            // Whoever listens on it makes it anew.
            NodeType::Dir | NodeType::Socket => return Ok(()),
        };
        if kind == EntryType::Symlink && (target.is_empty() || target.contains(&0)) {
            self.sink.leave_out(path, "its target is none that a link can have");
            return Ok(());
        }
        if self.sink.wants(&Candidate { name: path, node, role: Role::Alone, size: 0 })? {
            self.add_plain(path, node, kind, target)?;
        }
        Ok(())
    }

    fn add_file(&mut self, path: &[u8], node: &Node) -> Result<()> {
        // Asked before the header is written: afterwards there is no way to leave the file out.
        let size = match self.saved.piece_sizes(node) {
            Ok(sizes) => sizes.into_iter().fold(0, u64::saturating_add),
            Err(error) => {
                self.sink.leave_out(path, &chain(&error));
                return Ok(());
            }
        };
        let role = self.links.role(node);
        let is_wanted = self.sink.wants(&Candidate { name: path, node, role, size })?;
        if let Role::Further(key) = role
            && let Some(first) = self.first.get(&key).cloned()
        {
            return if is_wanted { self.add_plain(path, node, EntryType::Link, &first) } else { Ok(()) };
        }
        if let Role::First(key) | Role::Further(key) = role {
            self.first.insert(key, path.to_vec());
        }
        if !is_wanted {
            return Ok(());
        }
        let mut header = self.begin(path, node, EntryType::Regular, &[])?;
        header.set_size(size);
        header.set_cksum();
        let content = Content { pieces: self.saved.read(node)?, piece: Bytes::new(), sink: self.sink };
        self.builder
            .append(&header, content)
            .with_context(|| format!("archive {}; the archive is cut short there", shown(path)))
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
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_mode(self.mode(node));
        // To the kernel this number means: as it is.
        let given = |id: Option<u32>| id.filter(|&id| id != u32::MAX).unwrap_or(0);
        if [meta.uid, meta.gid].contains(&Some(u32::MAX)) {
            self.sink.leave_out(path.strip_suffix(b"/").unwrap_or(path), "its owner is nobody that there can be");
        }
        header.set_uid(given(meta.uid).into());
        header.set_gid(given(meta.gid).into());
        if let Some(user) = &meta.user {
            // A name that is too long is left out; the number counts.
            let _ = header.set_username(user);
        }
        if let Some(group) = &meta.group {
            let _ = header.set_groupname(group);
        }
        header.set_mtime(records::whole_seconds(meta));
        if let NodeType::Dev { device } | NodeType::Chardev { device } = node.node_type {
            header.set_device_major(major(device))?;
            header.set_device_minor(minor(device))?;
        }
        let mut records = records::of_times(meta);
        if path.len() > NAME {
            records.push(("path".into(), path.to_vec()));
        }
        if target.len() > NAME {
            records.push(("linkpath".into(), target.to_vec()));
        }
        let fields = header.as_old_mut();
        copy_start(&mut fields.name, path);
        copy_start(&mut fields.linkname, target);
        if kind != EntryType::Link {
            let (attributes, refused) = records::of_attributes(meta);
            records.extend(attributes);
            for why in refused {
                self.sink.leave_out(path.strip_suffix(b"/").unwrap_or(path), why);
            }
        }
        if !records.is_empty() {
            self.builder.append_pax_extensions(records.iter().map(|(key, value)| (key.as_str(), &value[..])))?;
        }
        Ok(header)
    }

    /// Permission and special bits. restic writes no mode that is zero; only a directory has one that is made up when it has none at all.
    fn mode(&self, node: &Node) -> u32 {
        let mode = node.meta.mode.map_or(if node.is_dir() { 0o755 } else { 0 }, node::mode_from_node);
        if node.is_dir() || (self.keeps_set_id && has_owner(&node.meta)) { mode } else { mode & !SET_ID }
    }
}

/// Whether it is known whose it is. What cannot be given to its owner must not run with the rights of whoever unpacks it.
fn has_owner(meta: &Metadata) -> bool {
    [meta.uid, meta.gid].iter().all(|id| id.is_some_and(|id| id != u32::MAX))
}

fn copy_start(field: &mut [u8; NAME], bytes: &[u8]) {
    let length = bytes.len().min(NAME);
    field[..length].copy_from_slice(&bytes[..length]);
}

fn shown(path: &[u8]) -> String {
    printable(OsStr::from_bytes(path))
}

/// The content of a file, piece after piece.
struct Content<'a, I> {
    pieces: I,
    piece: Bytes,
    sink: &'a mut (dyn Sink + 'a),
}

impl<I: Iterator<Item = Result<Bytes>>> Read for Content<'_, I> {
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
        self.sink.advance(length as u64);
        Ok(length)
    }
}

impl<W: Write> std::fmt::Debug for Archive<'_, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Count(u64);

    impl Sink for Count {
        fn leave_out(&mut self, _: &[u8], _: &str) {}
        fn advance(&mut self, bytes: u64) {
            self.0 += bytes;
        }
    }

    #[test]
    fn content_is_read_across_its_pieces_and_counted() {
        let pieces = ["ab", "", "cde"].map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
        let mut count = Count(0);
        let mut content = Content { pieces: pieces.into_iter(), piece: Bytes::new(), sink: &mut count };
        let mut text = String::new();
        content.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), count.0), ("abcde", 5));
    }

    #[test]
    fn name_of_a_path_has_no_slash_at_either_end() {
        assert_eq!(name(Path::new("/")).unwrap(), b"");
        assert_eq!(name(Path::new("/etc//x/")).unwrap(), b"etc/x");
        assert!(name(Path::new("/etc/../x")).is_err());
    }
}
