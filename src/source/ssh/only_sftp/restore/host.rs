//! What is done to one entry of the machine.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ssh2::{FileStat, OpenFlags, OpenType, Sftp};
use uuid::Uuid;

use crate::cleanup::Guard;
use crate::source::ssh::only_sftp::failure;
use crate::store::{Node, node};

/// The bits that make a program run as somebody else.
const SET_ID: u32 = 0o6000;

/// Entries under names of ours, with the place that one goes back to if nothing stands there.
type Unplaced = Arc<Mutex<Vec<(PathBuf, Option<PathBuf>)>>>;

/// The machine.
pub(super) struct Host {
    pub(super) sftp: Arc<Sftp>,
    /// What temporary names begin with.
    mark: String,
    made: u64,
    unplaced: Unplaced,
    _guard: Guard,
}

impl Host {
    pub(super) fn new(sftp: Arc<Sftp>) -> Self {
        let unplaced = Unplaced::default();
        let (watched, session) = (Arc::clone(&unplaced), Arc::clone(&sftp));
        let guard = Guard::new(move |signal| {
            let entries = watched.lock().unwrap_or_else(PoisonError::into_inner);
            for (path, home) in entries.iter() {
                let is_back = home.as_ref().is_some_and(|home| session.rename(path, home, None).is_ok());
                if !is_back {
                    let _ = session.unlink(path);
                }
            }
            if signal.is_some() {
                // The program is about to end, and until then nobody may make another one.
                std::mem::forget(entries);
            }
        });
        let mark = format!(".holdall-{:012x}", Uuid::new_v4().as_u128() >> 80);
        Self { sftp, mark, made: 0, unplaced, _guard: guard }
    }

    /// What stands at a place, links not followed.
    pub(super) fn look(&self, place: &Path) -> io::Result<Option<FileStat>> {
        some(self.sftp.lstat(place))
    }

    /// What stands at a place, links followed.
    pub(super) fn look_through(&self, place: &Path) -> io::Result<Option<FileStat>> {
        some(self.sftp.stat(place))
    }

    /// Whether a directory has no entries.
    pub(super) fn is_empty(&self, place: &Path) -> io::Result<bool> {
        Ok(self.sftp.readdir(place).map_err(failure::to_io)?.is_empty())
    }

    /// Makes a directory, for the user alone.
    pub(super) fn make_directory(&self, place: &Path) -> io::Result<()> {
        self.sftp.mkdir(place, 0o700).map_err(failure::to_io)
    }

    /// Sees to it that a directory can be written to; if this is refused, so is what follows, and told there.
    pub(super) fn open_up(&self, place: &Path, found: &FileStat) -> io::Result<()> {
        let mode = found.perm.unwrap_or_default() & 0o7777;
        if mode & 0o300 != 0o300 {
            let _ = self.sftp.setstat(place, FileStat { perm: Some(mode | 0o700), ..NOTHING });
        }
        Ok(())
    }

    /// Removes an entry that is no directory.
    pub(super) fn remove(&self, place: &Path) -> io::Result<()> {
        self.sftp.unlink(place).map_err(failure::to_io)
    }

    /// Opens a file that was not there, for the user alone.
    pub(super) fn make_file(&self, place: &Path) -> io::Result<ssh2::File> {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
        self.sftp.open_mode(place, flags, 0o600, OpenType::File).map_err(failure::to_io)
    }

    /// A name in the directory of `place` under which something is made; it is removed if it stays.
    pub(super) fn temporary(&mut self, place: &Path) -> PathBuf {
        self.temporary_for(place, None)
    }

    fn temporary_for(&mut self, place: &Path, home: Option<&Path>) -> PathBuf {
        self.made += 1;
        let path = place.with_file_name(format!("{}-{}", self.mark, self.made));
        self.unplaced().push((path.clone(), home.map(Path::to_path_buf)));
        path
    }

    fn unplaced(&self) -> std::sync::MutexGuard<'_, Vec<(PathBuf, Option<PathBuf>)>> {
        self.unplaced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, temporary: &Path) {
        self.unplaced().retain(|(path, _)| path != temporary);
    }

    /// Removes what was made under a temporary name.
    pub(super) fn discard(&self, temporary: &Path) {
        // What cannot be removed bears a name that tells whose it is.
        let _ = self.sftp.unlink(temporary);
        self.forget(temporary);
    }

    /// Gives what was made under a temporary name its own. A rename of this protocol does not replace anything: what stands there is put aside, and
    /// put back if it goes wrong.
    pub(super) fn put_in_place(&mut self, temporary: &Path, place: &Path, replaces: bool) -> io::Result<()> {
        let rename = |host: &Self, from: &Path, to: &Path| host.sftp.rename(from, to, None).map_err(failure::to_io);
        if !replaces {
            rename(self, temporary, place)?;
            self.forget(temporary);
            return Ok(());
        }
        let aside = self.temporary_for(place, Some(place));
        let placed = rename(self, place, &aside).and_then(|()| {
            rename(self, temporary, place).inspect_err(|_| {
                let _ = rename(self, &aside, place);
            })
        });
        match placed {
            Ok(()) => {
                self.forget(temporary);
                self.discard(&aside);
            }
            Err(_) => self.forget(&aside),
        }
        placed
    }

    /// Gives a directory its metadata; returns what was refused.
    pub(super) fn finish_directory(&self, place: &Path, node: &Node) -> io::Result<Vec<String>> {
        match self.look(place)? {
            Some(found) if is_directory(&found) => Ok(apply(node, &found, &mut |stat| self.sftp.setstat(place, stat))),
            _ => Err(io::Error::other("something else took its place while it was restored")),
        }
    }
}

/// Sets nothing.
const NOTHING: FileStat = FileStat { size: None, uid: None, gid: None, perm: None, atime: None, mtime: None };

/// Gives the metadata of `node` to what now is `found`; returns what could not be given and why.
///
/// The owner comes first: giving a file away takes its set-user-ID bit.
pub(super) fn apply(
    node: &Node,
    found: &FileStat,
    set: &mut dyn FnMut(FileStat) -> Result<(), ssh2::Error>,
) -> Vec<String> {
    let mut refused = Vec::new();
    let mut note = |what: &str, result: Result<(), ssh2::Error>| {
        let result = result.map_err(failure::to_io);
        if let Err(error) = &result {
            refused.push(format!("{what}: {error}"));
        }
        result.is_ok()
    };
    let is_own = has_owner(found, node)
        || note("set its owner", set(FileStat { uid: node.meta.uid, gid: node.meta.gid, ..NOTHING }));
    // What could not be given to its owner must not run with the rights of whoever restores it.
    let mode = if is_own { mode_of(node) } else { mode_of(node) & !SET_ID };
    note("set its mode", set(FileStat { perm: Some(mode), ..NOTHING }));
    match seconds(node) {
        Some(time) => {
            note("set its time", set(FileStat { mtime: Some(time), atime: Some(time), ..NOTHING }));
        }
        None => refused.push("its time is one that SFTP cannot tell".into()),
    }
    if !node.meta.extended_attributes.is_empty() {
        refused.push("its extended attributes cannot be set over SFTP".into());
    }
    refused
}

/// Whether something has the owner, mode and time of `node`.
pub(super) fn matches(found: &FileStat, node: &Node) -> bool {
    has_owner(found, node) && has_time(found, node) && found.perm.map(|mode| mode & 0o7777) == Some(mode_of(node))
}

pub(super) fn has_owner(found: &FileStat, node: &Node) -> bool {
    node.meta.uid.is_none_or(|uid| found.uid == Some(uid)) && node.meta.gid.is_none_or(|gid| found.gid == Some(gid))
}

/// Whether something was changed last when `node` was, to the second.
pub(super) fn has_time(found: &FileStat, node: &Node) -> bool {
    seconds(node).is_some_and(|time| found.mtime == Some(time))
}

/// The time of the last change as SFTP tells it: an unsigned number of 32 bits.
fn seconds(node: &Node) -> Option<u64> {
    Some(u64::from(u32::try_from(node.meta.mtime?.as_second()).ok()?))
}

fn mode_of(node: &Node) -> u32 {
    node.meta.mode.map_or(if node.is_dir() { 0o755 } else { 0 }, node::mode_from_node)
}

fn some(found: Result<FileStat, ssh2::Error>) -> io::Result<Option<FileStat>> {
    match found.map_err(failure::to_io) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_of_type(found: &FileStat, kind: u32) -> bool {
    found.perm.is_some_and(|mode| mode & 0o170_000 == kind)
}

pub(super) fn is_directory(found: &FileStat) -> bool {
    is_of_type(found, 0o040_000)
}

pub(super) fn is_link(found: &FileStat) -> bool {
    is_of_type(found, 0o120_000)
}

pub(super) fn is_file(found: &FileStat) -> bool {
    is_of_type(found, 0o100_000)
}
