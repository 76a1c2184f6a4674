//! Compares two trees of files in everything that a backup must bring back.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{lgetxattr, llistxattr};
use rustix::io::Errno;

/// What one name in a tree is.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    File(Vec<u8>),
    Directory,
    Symlink(PathBuf),
    Fifo,
    Socket,
    Device { is_block: bool, number: u64 },
}

#[derive(Debug)]
struct Node {
    kind: Kind,
    mode: u32,
    owner: (u32, u32),
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    attributes: BTreeMap<OsString, Vec<u8>>,
    /// All names of this file inside the tree, itself included.
    links: BTreeSet<PathBuf>,
}

/// Panics with every difference between the two trees: names, types, contents, modes, owners, times to the
/// nanosecond, extended attributes (with that, ACLs), hard links, targets of symbolic links, device numbers.
///
/// The two roots themselves are compared as well.
#[track_caller]
pub fn assert_same(expected: &Path, found: &Path) {
    let differences = differences(expected, found);
    assert!(differences.is_empty(), "{expected:?} and {found:?} differ:\n{}", differences.join("\n"));
}

/// The differences between two trees, a line each; see [`assert_same`].
pub fn differences(expected: &Path, found: &Path) -> Vec<String> {
    let (expected, found) = (read(expected), read(found));
    let names: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    let mut lines = Vec::new();
    for name in names {
        match (expected.get(name), found.get(name)) {
            (Some(_), None) => lines.push(format!("{name:?}: missing")),
            (None, _) => lines.push(format!("{name:?}: not expected")),
            (Some(expected), Some(found)) => compare(name, expected, found, &mut lines),
        }
    }
    lines
}

fn compare(name: &Path, expected: &Node, found: &Node, lines: &mut Vec<String>) {
    let mut say = |what: &str, expected: String, found: String| {
        if expected != found {
            lines.push(format!("{name:?}: {what}: expected {expected}, found {found}"));
        }
    };
    if expected.kind != found.kind {
        match (&expected.kind, &found.kind) {
            (Kind::File(expected), Kind::File(found)) => {
                let same = expected.iter().zip(found).take_while(|(a, b)| a == b).count();
                let (expected, found) = (expected.len(), found.len());
                lines.push(format!("{name:?}: content: differs from byte {same}; sizes {expected} and {found}"));
                return;
            }
            (expected, found) => say("type", short(expected), short(found)),
        }
    }
    // The mode of a symbolic link means nothing and cannot be set.
    if !matches!(expected.kind, Kind::Symlink(_)) {
        say("mode", format!("{:o}", expected.mode), format!("{:o}", found.mode));
    }
    say("owner", format!("{:?}", expected.owner), format!("{:?}", found.owner));
    say("modified", format!("{:?}", expected.modified), format!("{:?}", found.modified));
    say("extended attributes", format!("{:?}", expected.attributes), format!("{:?}", found.attributes));
    say("hard links", format!("{:?}", expected.links), format!("{:?}", found.links));
}

fn short(kind: &Kind) -> String {
    match kind {
        Kind::File(content) => format!("file of {} bytes", content.len()),
        other => format!("{other:?}"),
    }
}

/// Everything below `root`, by its path relative to it; the root itself has the empty path.
fn read(root: &Path) -> BTreeMap<PathBuf, Node> {
    let mut nodes = BTreeMap::new();
    let mut inodes: BTreeMap<(u64, u64), BTreeSet<PathBuf>> = BTreeMap::new();
    let mut identities = BTreeMap::new();
    let mut left = vec![PathBuf::new()];
    while let Some(name) = left.pop() {
        let path = if name.as_os_str().is_empty() { root.to_path_buf() } else { root.join(&name) };
        let metadata = fs::symlink_metadata(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        if metadata.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| name.join(entry.unwrap().file_name())));
        } else {
            inodes.entry((metadata.dev(), metadata.ino())).or_default().insert(name.clone());
            identities.insert(name.clone(), (metadata.dev(), metadata.ino()));
        }
        nodes.insert(name, node(&path, &metadata));
    }
    for (name, identity) in identities {
        nodes.get_mut(&name).unwrap().links.clone_from(&inodes[&identity]);
    }
    nodes
}

fn node(path: &Path, metadata: &Metadata) -> Node {
    let file_type = metadata.file_type();
    let kind = if file_type.is_dir() {
        Kind::Directory
    } else if file_type.is_symlink() {
        Kind::Symlink(fs::read_link(path).unwrap())
    } else if file_type.is_fifo() {
        Kind::Fifo
    } else if file_type.is_socket() {
        Kind::Socket
    } else if file_type.is_block_device() || file_type.is_char_device() {
        Kind::Device { is_block: file_type.is_block_device(), number: metadata.rdev() }
    } else {
        Kind::File(fs::read(path).unwrap())
    };
    Node {
        kind,
        mode: metadata.mode() & 0o7777,
        owner: (metadata.uid(), metadata.gid()),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        attributes: attributes(path),
        links: BTreeSet::new(),
    }
}

fn attributes(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
    use std::os::unix::ffi::OsStringExt;
    let mut list = vec![0_u8; 64 << 10];
    let length = match llistxattr(path, &mut list[..]) {
        Ok(length) => length,
        // A file system that has none.
        Err(Errno::OPNOTSUPP) => 0,
        Err(error) => panic!("list extended attributes of {path:?}: {error}"),
    };
    let names = list[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0_u8; 64 << 10];
            let length = lgetxattr(path, name, &mut value[..]).unwrap();
            value.truncate(length);
            (OsString::from_vec(name.to_vec()), value)
        })
        .collect()
}

/// Content that neither repeats nor compresses.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length.div_ceil(8)).flat_map(|_| next()).take(length).collect()
}
