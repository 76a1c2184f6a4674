//! Compares a restored file with the store, by what the store says of it alone.
//!
//! The content is read back from the disk, and not from memory, and the ids of its pieces are computed anew. Owner, mode, time and attributes count as
//! far as this process may set them: whoever is not root cannot give a file away, and a sandbox may forbid more. So what differs is set once
//! more; only if that helps was it the restore that failed to.

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{Advice, Timespec, Timestamps, XattrFlags, fadvise, fgetxattr, fsetxattr, futimens};

use crate::store::format::BlobId;
use crate::store::{Node, node};

/// What a piece of a file must be: its id, and its size in bytes.
pub(super) type Piece = (BlobId, u64);

/// No piece is larger, whatever an index says.
const PIECE: u64 = 64 << 20;
/// The bits that make a program run as somebody else.
const SET_ID: u32 = 0o6000;
/// The attributes that everybody may set, and no system changes.
const ATTRIBUTES: &str = "user.";

/// What of the restored file is not as in the point; `None`: nothing.
pub(super) fn fault(pieces: &[Piece], node: &Node, restored: &Path) -> Result<Option<String>> {
    let found = fs::symlink_metadata(restored).context("look at the restored file")?;
    // Its own mode may keep its owner from reading it.
    let mode = Permissions::from_mode(0o600);
    let _ = fs::set_permissions(restored, mode);
    let file = File::open(restored).context("open the restored file")?;
    Ok(match content_fault(pieces, &file)? {
        Some(fault) => Some(fault),
        None => metadata_fault(node, &file, &found),
    })
}

fn content_fault(pieces: &[Piece], mut file: &File) -> Result<Option<String>> {
    let read_back = "read back the restored file";
    file.sync_all().context(read_back)?;
    // A file system that keeps it in memory all the same has no disk.
    let _ = fadvise(file, 0, None, Advice::DontNeed);
    let mut offset = 0;
    let mut bytes = Vec::new();
    for &(id, size) in pieces {
        if size > PIECE {
            return Ok(Some(format!("piece {id} has {size} bytes, as the index says, which cannot be")));
        }
        bytes.clear();
        let read = file.take(size).read_to_end(&mut bytes).context(read_back)?;
        if read as u64 != size {
            return Ok(Some(format!("it ends at byte {}, within piece {id}", offset + read as u64)));
        }
        if BlobId::of(&bytes) != id {
            return Ok(Some(format!("its content at byte {offset} is not that of piece {id}")));
        }
        offset += size;
    }
    let more = file.read(&mut [0]).context(read_back)?;
    Ok((more > 0).then(|| format!("it is longer than the {offset} bytes of the point")))
}

fn metadata_fault(node: &Node, file: &File, found: &fs::Metadata) -> Option<String> {
    let meta = &node.meta;
    let owner = (found.uid(), found.gid());
    let wanted = (meta.uid.unwrap_or(owner.0), meta.gid.unwrap_or(owner.1));
    let is_owner_right = owner == wanted;
    let give = || fchown(file, Some(wanted.0), Some(wanted.1));
    if !is_owner_right && can(give(), file, |now| (now.uid(), now.gid()) == wanted) {
        return Some(format!("its owner is {}:{}, not {}:{}", owner.0, owner.1, wanted.0, wanted.1));
    }
    if let Some(mode) = meta.mode.map(node::mode_from_node) {
        // Nothing runs as somebody whose file it is not.
        let wanted = if is_owner_right { mode } else { mode & !SET_ID };
        let has = found.mode() & 0o7777;
        let set = || file.set_permissions(Permissions::from_mode(wanted));
        if has != wanted && can(set(), file, |now| now.mode() & 0o7777 == wanted) {
            return Some(format!("its mode is {has:04o}, not {wanted:04o}"));
        }
    }
    for attribute in meta.extended_attributes.iter().filter(|attribute| attribute.name.starts_with(ATTRIBUTES)) {
        let wanted = attribute.value.as_deref().unwrap_or_default();
        let holds = || {
            let mut value = vec![0; wanted.len() + 1];
            fgetxattr(file, &attribute.name, &mut value).is_ok_and(|length| value.get(..length) == Some(wanted))
        };
        if !holds() && fsetxattr(file, &attribute.name, wanted, XattrFlags::empty()).is_ok() && holds() {
            return Some(format!("its extended attribute {} is not that of the point", attribute.name));
        }
    }
    let time = meta.mtime?.as_nanosecond();
    let wanted = (i64::try_from(time.div_euclid(SECOND)).ok()?, i64::try_from(time.rem_euclid(SECOND)).ok()?);
    let at = Timespec { tv_sec: wanted.0, tv_nsec: wanted.1 };
    let set = || Ok(futimens(file, &Timestamps { last_access: at, last_modification: at })?);
    let is_wrong = (found.mtime(), found.mtime_nsec()) != wanted;
    let could = is_wrong && can(set(), file, |now| (now.mtime(), now.mtime_nsec()) == wanted);
    could.then(|| "the time of its last change is not that of the point".to_owned())
}

const SECOND: i128 = 1_000_000_000;

/// Whether something could be set, and then was as it should be.
fn can(set: io::Result<()>, file: &File, is_right: impl Fn(&fs::Metadata) -> bool) -> bool {
    set.is_ok() && file.metadata().is_ok_and(|now| is_right(&now))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;
    use crate::store::{Metadata, NodeType};

    /// A file with this content, of which the store says that it is `ab` and `cd`, of mode 640, of the year 2001.
    fn fault_of(content: &str, change: impl FnOnce(&File)) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, content).unwrap();
        let file = File::open(&path).unwrap();
        file.set_permissions(Permissions::from_mode(0o640)).unwrap();
        let found = file.metadata().unwrap();
        let mut meta = Metadata {
            mode: Some(0o640),
            mtime: node::timestamp(1_000_000_000, 5),
            uid: Some(found.uid()),
            gid: Some(found.gid()),
            ..Metadata::default()
        };
        node::set_xattrs(&mut meta, &[("user.a".to_owned(), b"b".to_vec())]);
        fsetxattr(&file, "user.a", b"b", XattrFlags::empty()).unwrap();
        let at = Timespec { tv_sec: 1_000_000_000, tv_nsec: 5 };
        futimens(&file, &Timestamps { last_access: at, last_modification: at }).unwrap();
        change(&file);
        let pieces = ["ab", "cd"].map(|text| (BlobId::of(text.as_bytes()), 2));
        fault(&pieces, &node::named(OsStr::new("file"), NodeType::File, meta), &path).unwrap()
    }

    #[test]
    fn file_as_in_the_point_has_no_fault() {
        assert_eq!(fault_of("abcd", |_| {}), None);
        // Its owner could not read it before.
        assert!(fault_of("abcd", |file| file.set_permissions(Permissions::from_mode(0o000)).unwrap()).is_some());
    }

    #[test]
    fn every_wrong_byte_is_found() {
        let said = |content: &str| fault_of(content, |_| {}).unwrap_or_default();
        assert!(said("abcx").starts_with("its content at byte 2 is not that of piece "), "{}", said("abcx"));
        assert!(said("xbcd").starts_with("its content at byte 0 is not that of piece "));
        assert!(said("abc").starts_with("it ends at byte 3, within piece "));
        assert!(said("").starts_with("it ends at byte 0, within piece "));
        assert_eq!(said("abcde"), "it is longer than the 4 bytes of the point");
    }

    #[test]
    fn metadata_that_could_have_been_set_is_compared() {
        let said = |change: &dyn Fn(&File)| fault_of("abcd", change).unwrap_or_default();
        let mode = said(&|file| file.set_permissions(Permissions::from_mode(0o644)).unwrap());
        assert_eq!(mode, "its mode is 0644, not 0640");
        let attribute = said(&|file| fsetxattr(file, "user.a", b"x", XattrFlags::empty()).unwrap());
        assert_eq!(attribute, "its extended attribute user.a is not that of the point");
        let at = Timespec { tv_sec: 1_000_000_000, tv_nsec: 6 };
        let time = said(&|file| futimens(file, &Timestamps { last_access: at, last_modification: at }).unwrap());
        assert_eq!(time, "the time of its last change is not that of the point");
        if rustix::process::geteuid().is_root() {
            assert!(said(&|file| fchown(file, Some(1), Some(1)).unwrap()).starts_with("its owner is 1:1, not "));
        }
    }

    #[test]
    fn piece_of_a_size_that_cannot_be_is_not_read() {
        let file = tempfile::tempfile().unwrap();
        let said = content_fault(&[(BlobId::of(b""), 1 << 40)], &file).unwrap().unwrap_or_default();
        assert!(said.ends_with("as the index says, which cannot be"), "{said}");
    }
}
