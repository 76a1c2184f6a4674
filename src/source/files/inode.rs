//! One entry of a directory, as a node of a snapshot.
//!
//! Everything is asked of the entry itself, from its open directory, without following links.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::{Gid, Group, Uid, User};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, lgetxattr, llistxattr, openat, readlinkat, statat,
};
use rustix::io::Errno;

use crate::source::Opener;
use crate::store::{Metadata, Node, NodeType, node};

/// Names of users and groups, each looked up once.
#[derive(Debug, Default)]
pub(super) struct Names {
    users: HashMap<u32, Option<String>>,
    groups: HashMap<u32, Option<String>>,
}

impl Names {
    fn user(&mut self, uid: u32) -> Option<String> {
        let look_up = || User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
        self.users.entry(uid).or_insert_with(look_up).clone()
    }

    fn group(&mut self, gid: u32) -> Option<String> {
        let look_up = || Group::from_gid(Gid::from_raw(gid)).ok().flatten().map(|group| group.name);
        self.groups.entry(gid).or_insert_with(look_up).clone()
    }
}

/// Where an entry is: its name in an open directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) directory: &'a Arc<OwnedFd>,
    pub(super) name: &'a CStr,
}

/// An entry as it was found.
pub(super) struct Found {
    pub(super) node: Node,
    pub(super) stat: Stat,
    /// Why its extended attributes are not all there.
    pub(super) xattr_error: Option<String>,
}

/// Looks at an entry. `None` for a socket: it has no content, and whoever listens on it makes it anew.
pub(super) fn look(place: Place<'_>, names: &mut Names) -> io::Result<Option<Found>> {
    let stat = statat(place.directory.as_fd(), place.name, AtFlags::SYMLINK_NOFOLLOW)?;
    let node_type = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => NodeType::File,
        FileType::Directory => NodeType::Dir,
        FileType::Symlink => {
            let target = readlinkat(place.directory.as_fd(), place.name, Vec::new())?;
            NodeType::from_link(Path::new(OsStr::from_bytes(target.as_bytes())))
        }
        FileType::Fifo => NodeType::Fifo,
        FileType::BlockDevice => NodeType::Dev { device: stat.st_rdev },
        FileType::CharacterDevice => NodeType::Chardev { device: stat.st_rdev },
        FileType::Socket | FileType::Unknown => return Ok(None),
    };
    let mut metadata = metadata(&stat, names);
    let xattr_error = read_xattrs(place, &mut metadata).err();
    if xattr_error.is_some() {
        // What vanished in between is told as that, and not as something that is there and cannot be read.
        statat(place.directory.as_fd(), place.name, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    let node = Node::new_node(OsStr::from_bytes(place.name.to_bytes()), node_type, metadata);
    Ok(Some(Found { node, stat, xattr_error }))
}

fn metadata(stat: &Stat, names: &mut Names) -> Metadata {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let is_file = kind == FileType::RegularFile;
    let mtime = node::timestamp(stat.st_mtime, stat.st_mtime_nsec as i64);
    Metadata {
        mode: Some(node::mode_to_node(stat.st_mode)),
        mtime,
        // As restic: the time of access would make every tree that was read look changed.
        atime: mtime,
        ctime: node::timestamp(stat.st_ctime, stat.st_ctime_nsec as i64),
        uid: Some(stat.st_uid),
        gid: Some(stat.st_gid),
        user: names.user(stat.st_uid),
        group: names.group(stat.st_gid),
        inode: stat.st_ino,
        // As restic: only to tell hard links apart. Numbers of devices change from boot to boot, and with them every tree.
        device_id: if is_file && stat.st_nlink > 1 { stat.st_dev } else { 0 },
        size: if is_file { stat.st_size.unsigned_abs() } else { 0 },
        links: if kind == FileType::Directory { 0 } else { stat.st_nlink },
        extended_attributes: Vec::new(),
    }
}

/// Reads the extended attributes, ACLs among them. These calls have no `*at` form: the path goes through the open
/// directory in `/proc`, so that a long or changing path does no harm.
fn read_xattrs(place: Place<'_>, metadata: &mut Metadata) -> Result<(), String> {
    let path = PathBuf::from(format!("/proc/self/fd/{}", place.directory.as_raw_fd()))
        .join(OsStr::from_bytes(place.name.to_bytes()));
    let list = match grow(|buffer| llistxattr(&path, buffer)) {
        Ok(list) if list.is_empty() => return Ok(()),
        Ok(list) => list,
        // The file system has none.
        Err(Errno::NOTSUP) => return Ok(()),
        Err(error) => return Err(format!("its extended attributes: {error}")),
    };
    let mut xattrs = Vec::new();
    for name in list.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let text =
            std::str::from_utf8(name).map_err(|_| "an extended attribute has a name that is not UTF-8".to_owned())?;
        match grow(|buffer| lgetxattr(&path, name, buffer)) {
            Ok(value) => xattrs.push((text.to_owned(), value)),
            Err(Errno::NODATA) => {}
            Err(error) => return Err(format!("its extended attribute {text}: {error}")),
        }
    }
    node::set_xattrs(metadata, &xattrs);
    Ok(())
}

/// Calls something that fills a buffer and says how much, with a buffer that is large enough.
fn grow(call: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut small = [0; 256];
    match call(&mut small) {
        Err(Errno::RANGE) => {}
        result => return result.map(|length| small[..length].to_vec()),
    }
    // The kernel's own bounds: 64 KiB for a list and for a value (xattr(7)).
    let mut large = vec![0; 1 << 16];
    let length = call(&mut large)?;
    large.truncate(length);
    Ok(large)
}

/// The content of a regular file, opened when it is asked for.
///
/// It must still be the file that was listed. The access time is left as it is where the kernel allows that.
pub(super) fn content(place: Place<'_>, stat: &Stat) -> Opener {
    let directory = place.directory.clone();
    let name = place.name.to_owned();
    let listed = (stat.st_dev, stat.st_ino);
    Opener::new(move || {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let opened = match openat(&directory, &*name, flags | OFlags::NOATIME, Mode::empty()) {
            // Only the owner and root may ask for it.
            Err(Errno::PERM) => openat(&directory, &*name, flags, Mode::empty()),
            opened => opened,
        };
        let replaced = || io::Error::other("was replaced while it was being backed up");
        let file = match opened {
            // A link stands where the file was.
            Err(Errno::LOOP) => return Err(replaced()),
            opened => opened?,
        };
        let now = fstat(&file)?;
        // The number of a file that is gone is given to the next one, whatever that is.
        if (now.st_dev, now.st_ino) != listed || FileType::from_raw_mode(now.st_mode) != FileType::RegularFile {
            return Err(replaced());
        }
        Ok(Box::new(File::from(file)) as Box<dyn Read + Send>)
    })
}

/// Opens a directory for listing, from its parent, without following a link.
pub(super) fn open_directory(place: Place<'_>) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(place.directory.as_fd(), place.name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => Ok(openat(place.directory.as_fd(), place.name, flags, Mode::empty())?),
        opened => Ok(opened?),
    }
}

/// Opens a directory by its path, following links: for the way down to a configured path.
pub(super) fn open_path(path: &Path) -> io::Result<Arc<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(Arc::new(openat(CWD, path, flags, Mode::empty())?))
}

/// Looks at a directory on the way down to a configured path. When it is a link, what it leads to counts.
pub(super) fn look_at_ancestor(path: &Path, names: &mut Names) -> io::Result<Node> {
    let stat = statat(CWD, path, AtFlags::empty())?;
    Ok(Node::new_node(path.file_name().unwrap_or_default(), NodeType::Dir, metadata(&stat, names)))
}
