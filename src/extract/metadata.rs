//! Owner, mode, extended attributes and times of what was restored.
//!
//! The order is fixed: giving a file away takes its set-user-ID bit and its capabilities; attributes cannot be set on what was made
//! read-only; everything moves the times. So: owner, attributes, mode, times.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chmod, chownat, fchmod, fchown,
    flistxattr, fremovexattr, fsetxattr, fstat, futimens, llistxattr, lremovexattr, lsetxattr, openat, utimensat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::directory::Directory;
use crate::store::{Metadata, Node, node};

/// The bits that make a program run as somebody else.
const SET_ID: u32 = 0o6000;

/// Attributes that belong to the content and are taken away when the point does not have them. Those of the system
/// (SELinux labels) are left to the system.
const OWN_ATTRIBUTES: [&str; 2] = ["user.", "system.posix_acl_"];

/// What metadata is given to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Subject<'a> {
    /// An open file or directory.
    Open(BorrowedFd<'a>),
    /// An entry that must not be opened: a link, fifo or device.
    Entry(&'a Directory, &'a OsStr),
}

/// Gives the metadata of `node`; returns what could not be given and why.
pub(super) fn apply(subject: Subject<'_>, node: &Node) -> Vec<String> {
    let mut refused = Vec::new();
    let mut note = |what: &str, result: io::Result<()>| {
        if let Err(error) = result {
            refused.push(format!("{what}: {error}"));
        }
    };
    let meta = &node.meta;
    let owned = give_owner(subject, meta);
    // What could not be given to its owner must not run with the rights of whoever restores it.
    let keep_set_id = matches!(owned, Ok(true));
    note("set its owner", owned.map(drop));
    for (name, error) in set_attributes(subject, meta) {
        note(&format!("set its extended attribute {name}"), Err(error.into()));
    }
    if !node.is_symlink() {
        let mode = if keep_set_id { mode_of(node) } else { mode_of(node) & !SET_ID };
        note("set its mode", set_mode(subject, Mode::from_raw_mode(mode)));
    }
    note("set its times", set_times(subject, meta));
    refused
}

/// Whether an existing thing has the owner, mode and time of `node`. Owners count only for root, who alone can set them.
pub(super) fn matches(stat: &Stat, node: &Node) -> bool {
    let meta = &node.meta;
    let owner_is_right = !geteuid().is_root()
        || (meta.uid.is_none_or(|uid| uid == stat.st_uid) && meta.gid.is_none_or(|gid| gid == stat.st_gid));
    let mode_is_right = node.is_symlink() || mode_of(node) == stat.st_mode & 0o7777;
    owner_is_right && mode_is_right && has_time(stat, node)
}

/// Permission and special bits. restic writes no mode that is zero; only a directory has one that is made up when it has none at all.
fn mode_of(node: &Node) -> u32 {
    node.meta.mode.map_or(if node.is_dir() { 0o755 } else { 0 }, node::mode_from_node)
}

/// Whether an existing thing was changed last when `node` was, to the nanosecond.
pub(super) fn has_time(stat: &Stat, node: &Node) -> bool {
    let found = (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(-1));
    node.meta.mtime.is_some_and(|time| split(time.as_nanosecond()) == found)
}

/// Returns whether the owner is now the one of the point.
fn give_owner(subject: Subject<'_>, meta: &Metadata) -> io::Result<bool> {
    let (Some(uid), Some(gid)) = (meta.uid, meta.gid) else { return Ok(false) };
    if uid == u32::MAX || gid == u32::MAX {
        return Err(io::Error::other(format!("{uid}:{gid} is nobody")));
    }
    let give = |uid: Option<u32>| {
        let (uid, gid) = (uid.map(Uid::from_raw), Some(Gid::from_raw(gid)));
        match subject {
            Subject::Open(file) => fchown(file, uid, gid),
            Subject::Entry(directory, name) => chownat(directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW),
        }
    };
    match give(Some(uid)) {
        Ok(()) => Ok(true),
        // Only root gives files away. Others can at most choose among their own groups, and need not hear of the rest.
        Err(Errno::PERM | Errno::INVAL) if !geteuid().is_root() => {
            let _ = give(None);
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns every attribute that could not be set, with the reason.
fn set_attributes(subject: Subject<'_>, meta: &Metadata) -> Vec<(String, Errno)> {
    let wanted = &meta.extended_attributes;
    for name in attributes(subject) {
        let is_ours = OWN_ATTRIBUTES.iter().any(|prefix| name.starts_with(prefix.as_bytes()));
        if is_ours && !wanted.iter().any(|attribute| attribute.name.as_bytes() == name) {
            // What cannot be taken away is seen by nobody but the one who put it there.
            let _ = remove_attribute(subject, &name);
        }
    }
    let mut refused = Vec::new();
    for attribute in wanted {
        let value = attribute.value.as_deref().unwrap_or_default();
        if let Err(error) = set_attribute(subject, &attribute.name, value) {
            refused.push((attribute.name.clone(), error));
        }
    }
    refused
}

/// The names of the attributes that are there; none when they cannot be listed.
fn attributes(subject: Subject<'_>) -> Vec<Vec<u8>> {
    let list = |buffer: &mut [u8]| match subject {
        Subject::Open(file) => flistxattr(file, buffer),
        Subject::Entry(directory, name) => llistxattr(directory.path_through_proc(name), buffer),
    };
    let mut buffer = vec![0; 1024];
    let listed = match list(&mut buffer) {
        Err(Errno::RANGE) => {
            // The kernel's own bound for a list (xattr(7)).
            buffer.resize(1 << 16, 0);
            list(&mut buffer)
        }
        listed => listed,
    };
    buffer.truncate(listed.unwrap_or(0));
    buffer.split(|&byte| byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect()
}

fn set_attribute(subject: Subject<'_>, name: &str, value: &[u8]) -> Result<(), Errno> {
    match subject {
        Subject::Open(file) => fsetxattr(file, name, value, XattrFlags::empty()),
        // There is no call that takes an open directory and a name; the path goes through the open directory in `/proc`.
        Subject::Entry(directory, entry) => {
            lsetxattr(directory.path_through_proc(entry), name, value, XattrFlags::empty())
        }
    }
}

fn remove_attribute(subject: Subject<'_>, name: &[u8]) -> Result<(), Errno> {
    match subject {
        Subject::Open(file) => fremovexattr(file, name),
        Subject::Entry(directory, entry) => lremovexattr(directory.path_through_proc(entry), name),
    }
}

fn set_mode(subject: Subject<'_>, mode: Mode) -> io::Result<()> {
    match subject {
        Subject::Open(file) => Ok(fchmod(file, mode)?),
        Subject::Entry(directory, name) => {
            // A path would be followed if a link stood there by now; an open descriptor is what it is. Opened with `PATH`, a
            // device or fifo does not notice.
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let entry: OwnedFd = openat(directory, name, flags, Mode::empty())?;
            if FileType::from_raw_mode(fstat(&entry)?.st_mode) == FileType::Symlink {
                return Err(io::Error::other("a link took its place while it was restored"));
            }
            Ok(chmod(format!("/proc/self/fd/{}", entry.as_raw_fd()), mode)?)
        }
    }
}

fn set_times(subject: Subject<'_>, meta: &Metadata) -> io::Result<()> {
    let Some(mtime) = meta.mtime else { return Ok(()) };
    let atime = meta.atime.unwrap_or(mtime);
    let times = Timestamps {
        last_access: timespec(split(atime.as_nanosecond())),
        last_modification: timespec(split(mtime.as_nanosecond())),
    };
    match subject {
        Subject::Open(file) => Ok(futimens(file, &times)?),
        Subject::Entry(directory, name) => Ok(utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW)?),
    }
}

/// Nanoseconds since 1970 as the kernel counts them: seconds, rounded down, and nanoseconds from there.
fn split(nanoseconds: i128) -> (i64, i64) {
    const SECOND: i128 = 1_000_000_000;
    let seconds = i64::try_from(nanoseconds.div_euclid(SECOND)).unwrap_or_default();
    (seconds, i64::try_from(nanoseconds.rem_euclid(SECOND)).unwrap_or_default())
}

fn timespec((tv_sec, tv_nsec): (i64, i64)) -> Timespec {
    Timespec { tv_sec, tv_nsec }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::AsFd;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;
    use crate::store::NodeType;

    fn node(node_type: NodeType, mode: u32, seconds: i64, nanoseconds: i64) -> Node {
        let mtime = node::timestamp(seconds, nanoseconds);
        let me = fs::metadata("/proc/self").unwrap();
        let meta = Metadata {
            mode: Some(node::mode_to_node(mode)),
            mtime,
            uid: Some(me.uid()),
            gid: Some(me.gid()),
            ..Metadata::default()
        };
        Node::new_node(OsStr::new("a"), node_type, meta)
    }

    #[test]
    fn time_before_1970_keeps_its_nanoseconds() {
        assert_eq!(split(-500_000_000), (-1, 500_000_000));
        assert_eq!(split(1_500_000_000), (1, 500_000_000));
    }

    #[test]
    fn file_gets_mode_times_and_attributes_and_loses_others() {
        let place = tempfile::tempdir().unwrap();
        let file = File::create(place.path().join("a")).unwrap();
        fsetxattr(&file, "user.old", b"1", XattrFlags::empty()).unwrap();
        let mut node = node(NodeType::File, 0o104_555, -1, 5);
        node::set_xattrs(&mut node.meta, &[("user.new".into(), b"2".to_vec())]);
        assert_eq!(apply(Subject::Open(file.as_fd()), &node), [""; 0]);
        let stat = fstat(&file).unwrap();
        assert_eq!((stat.st_mode & 0o7777, stat.st_mtime, stat.st_mtime_nsec), (0o4555, -1, 5));
        assert!(matches(&stat, &node));
        assert_eq!(attributes(Subject::Open(file.as_fd())), [b"user.new"]);
    }

    #[test]
    fn link_gets_its_own_time_and_what_it_points_to_is_left() {
        let place = tempfile::tempdir().unwrap();
        let target = File::create(place.path().join("target")).unwrap();
        let before = fstat(&target).unwrap();
        symlink("target", place.path().join("link")).unwrap();
        let directory = Directory::open_target(place.path()).unwrap();
        let name = OsStr::new("link");
        let node = node(NodeType::from_link("target".as_ref()), 0o120_777, 77, 0);
        assert_eq!(apply(Subject::Entry(&directory, name), &node), [""; 0]);
        assert_eq!(directory.look(name).unwrap().unwrap().st_mtime, 77);
        let after = fstat(&target).unwrap();
        assert_eq!((after.st_mode, after.st_mtime), (before.st_mode, before.st_mtime));
    }

    #[test]
    fn owner_that_cannot_be_one_is_told_and_takes_the_set_id_bits_along() {
        let place = tempfile::tempdir().unwrap();
        let file = File::create(place.path().join("a")).unwrap();
        let mut node = node(NodeType::File, 0o106_755, 1, 0);
        node.meta.uid = Some(u32::MAX);
        let refused = apply(Subject::Open(file.as_fd()), &node);
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!(fstat(&file).unwrap().st_mode & 0o7777, 0o755);
    }
}
