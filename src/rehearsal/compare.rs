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
use crate::store::{Node, SavedTree, node};

/// No piece is larger, whatever an index says.
const PIECE: u64 = 64 << 20;
/// The bits that make a program run as somebody else.
const SET_ID: u32 = 0o6000;
/// The attributes that everybody may set, and no system changes.
const ATTRIBUTES: &str = "user.";

/// What of the restored file is not as in the point; `None`: nothing.
pub(super) fn fault(saved: &SavedTree, node: &Node, restored: &Path) -> Result<Option<String>> {
    let found = fs::symlink_metadata(restored).context("look at the restored file")?;
    // Its own mode may keep its owner from reading it.
    let mode = Permissions::from_mode(0o600);
    let _ = fs::set_permissions(restored, mode);
    let file = File::open(restored).context("open the restored file")?;
    Ok(match content_fault(saved, node, &file)? {
        Some(fault) => Some(fault),
        None => metadata_fault(node, &file, &found),
    })
}

fn content_fault(saved: &SavedTree, node: &Node, mut file: &File) -> Result<Option<String>> {
    let read_back = "read back the restored file";
    file.sync_all().context(read_back)?;
    // A file system that keeps it in memory all the same has no disk.
    let _ = fadvise(file, 0, None, Advice::DontNeed);
    let mut offset = 0;
    let mut bytes = Vec::new();
    for (id, size) in saved.pieces(node)? {
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
