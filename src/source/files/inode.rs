//! One entry of a directory, as a node of a snapshot.
//!
//! Everything is asked of the entry itself, from its open directory, without following links.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use nix::unistd::{Gid, Group, Uid, User};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::Errno;

use super::descriptors::Directory;
use super::xattrs::Xattrs;
use crate::source::Opener;
use crate::store::{Metadata, Node, NodeType, node};

/// Names of users and groups, each looked up once.
#[derive(Debug, Default)]
pub(super) struct Names {
    users: BTreeMap<u32, Option<String>>,
    groups: BTreeMap<u32, Option<String>>,
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

/// Where an entry is: its name in a directory, of which this is a descriptor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) directory: &'a Arc<Directory>,
    pub(super) fd: &'a Arc<OwnedFd>,
    pub(super) name: &'a CStr,
}

impl Place<'_> {
    /// Looks at the entry itself, not at what it links to.
    pub(super) fn stat(&self) -> io::Result<Stat> {
        Ok(statat(self.fd, self.name, AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

/// Makes nodes of what is found.
#[derive(Debug)]
pub(super) struct Inspector {
    names: Names,
    xattrs: Xattrs,
}

/// An entry as it was found.
pub(super) struct Found {
    pub(super) node: Node,
    /// Why its extended attributes are not all there.
    pub(super) xattr_error: Option<io::Error>,
}

impl Inspector {
    pub(super) fn new() -> Self {
        Self { names: Names::default(), xattrs: Xattrs::new() }
    }

    /// One that is quicker, on a thread that does nothing else ([`Xattrs::on_own_thread`]).
    pub(super) fn on_own_thread() -> Self {
        Self { names: Names::default(), xattrs: Xattrs::on_own_thread() }
    }

    /// The node of an entry. `None` for a socket: it has no content, and whoever listens on it makes it anew.
    pub(super) fn inspect(&mut self, place: Place<'_>, stat: &Stat) -> io::Result<Option<Found>> {
        let node_type = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => NodeType::File,
            FileType::Directory => NodeType::Dir,
            FileType::Symlink => {
                let target = readlinkat(place.fd, place.name, Vec::new())?;
                NodeType::from_link(Path::new(OsStr::from_bytes(target.as_bytes())))
            }
            FileType::Fifo => NodeType::Fifo,
            FileType::BlockDevice => NodeType::Dev { device: stat.st_rdev },
            FileType::CharacterDevice => NodeType::Chardev { device: stat.st_rdev },
            FileType::Socket | FileType::Unknown => return Ok(None),
        };
        let mut metadata = metadata(stat, &mut self.names);
        let xattr_error = match self.xattrs.read(place.fd, place.name) {
            Ok(xattrs) if xattrs.is_empty() => None,
            Ok(xattrs) => {
                node::set_xattrs(&mut metadata, &xattrs);
                None
            }
            Err(error) => {
                // What vanished in between is told as that, and not as something that is there and cannot be read.
                place.stat()?;
                Some(io::Error::other(error))
            }
        };
        let node = node::named(OsStr::from_bytes(place.name.to_bytes()), node_type, metadata);
        Ok(Some(Found { node, xattr_error }))
    }

    /// The node of a directory without what would have to be asked of it; `None` for anything else.
    pub(super) fn bare_directory(&mut self, name: &OsStr, stat: &Stat) -> Option<Node> {
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        is_directory.then(|| node::named(name, NodeType::Dir, metadata(stat, &mut self.names)))
    }

    /// Looks at a directory on the way down to a configured path. When it is a link, what it leads to counts.
    pub(super) fn ancestor(&mut self, path: &Path) -> io::Result<Node> {
        let stat = statat(CWD, path, AtFlags::empty())?;
        Ok(node::named(path.file_name().unwrap_or_default(), NodeType::Dir, metadata(&stat, &mut self.names)))
    }
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
        // As restic with its feature `device-id-for-hardlinks`: only to tell hard links apart. Numbers of devices change from boot to boot,
        // and with them every tree.
        device_id: if is_file && stat.st_nlink > 1 { stat.st_dev } else { 0 },
        size: if is_file { stat.st_size.unsigned_abs() } else { 0 },
        // As restic, which counts no links of directories and pipes. Those of a pipe that has several are kept all the same.
        links: match kind {
            FileType::Directory => 0,
            FileType::Fifo if stat.st_nlink == 1 => 0,
            _ => stat.st_nlink,
        },
        extended_attributes: Vec::new(),
    }
}

/// The content of a regular file, opened when it is asked for.
///
/// It must still be the file that was listed. The access time is left as it is where the kernel allows that.
pub(super) fn content(directory: Arc<Directory>, name: CString, stat: &Stat) -> Opener {
    let listed = (stat.st_dev, stat.st_ino);
    Opener::new(move || {
        let directory = directory.fd()?;
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
