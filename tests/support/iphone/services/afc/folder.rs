//! The folder that programs see by AFC, in memory, with its locks.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Status;

/// What clients lock while they sync.
pub const SYNC_LOCK: &str = "com.apple.itunes.lock_sync";

/// A file's bytes, or a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Directory,
    /// A file.
    File(Vec<u8>),
}

#[derive(Debug, Default)]
struct Inner {
    /// By path without a slash at either end; the folder itself is the empty one.
    nodes: BTreeMap<String, Node>,
    /// Who has locked a path, and whether alone. Owners are connections; 0 is the phone itself.
    locks: HashMap<String, Vec<(u64, bool)>>,
    owners: u64,
}

/// The folder.
#[derive(Debug)]
pub struct Folder(Mutex<Inner>);

impl Folder {
    /// A folder as phones have it: a few directories, and the file that is locked while somebody syncs.
    pub fn with_sync_lock() -> Self {
        let mut inner = Inner::default();
        for directory in ["", "DCIM", "DCIM/100APPLE", "Downloads", "iTunes_Control", "iTunes_Control/iTunes", "Books"]
        {
            inner.nodes.insert(directory.to_owned(), Node::Directory);
        }
        inner.nodes.insert(SYNC_LOCK.to_owned(), Node::File(Vec::new()));
        inner.nodes.insert("iTunes_Control/iTunes/iTunesPrefs".to_owned(), Node::File(b"frpd prefs".to_vec()));
        Self(Mutex::new(inner))
    }

    /// A file's bytes; `None` when there is no such file.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        match self.lock().nodes.get(&plain(path))? {
            Node::File(bytes) => Some(bytes.clone()),
            Node::Directory => None,
        }
    }

    /// Puts a file there, and the directories above it.
    pub fn write(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        let path = plain(path);
        let mut inner = self.lock();
        for (at, _) in path.match_indices('/') {
            inner.nodes.entry(path[..at].to_owned()).or_insert(Node::Directory);
        }
        inner.nodes.insert(path, Node::File(bytes.into()));
    }

    /// Takes or lets go of the lock of a path, as a program on the phone does that syncs.
    pub fn hold(&self, path: &str, hold: bool) {
        let mut inner = self.lock();
        let locks = inner.locks.entry(plain(path)).or_default();
        locks.retain(|(owner, _)| *owner != 0);
        if hold {
            locks.push((0, true));
        }
    }

    /// Whether somebody has locked a path.
    pub fn is_locked(&self, path: &str) -> bool {
        self.lock().locks.get(&plain(path)).is_some_and(|locks| !locks.is_empty())
    }

    pub(super) fn new_owner(&self) -> u64 {
        let mut inner = self.lock();
        inner.owners += 1;
        inner.owners
    }

    pub(super) fn let_go(&self, owner: u64, path: Option<&str>) {
        for (locked, locks) in &mut self.lock().locks {
            if path.is_none_or(|path| path == locked) {
                locks.retain(|(other, _)| *other != owner);
            }
        }
    }

    pub(super) fn take_lock(&self, owner: u64, path: &str, alone: bool) -> Result<(), Status> {
        let mut inner = self.lock();
        let locks = inner.locks.entry(path.to_owned()).or_default();
        if locks.iter().any(|(other, is_alone)| *other != owner && (alone || *is_alone)) {
            return Err(Status::WouldBlock);
        }
        locks.retain(|(other, _)| *other != owner);
        locks.push((owner, alone));
        Ok(())
    }

    pub(super) fn node(&self, path: &str) -> Result<Node, Status> {
        self.lock().nodes.get(&plain(path)).cloned().ok_or(Status::NotFound)
    }

    /// Changes the bytes of a file.
    pub(super) fn change<T>(&self, path: &str, change: impl FnOnce(&mut Vec<u8>) -> T) -> Result<T, Status> {
        match self.lock().nodes.get_mut(&plain(path)).ok_or(Status::NotFound)? {
            Node::File(bytes) => Ok(change(bytes)),
            Node::Directory => Err(Status::IsDirectory),
        }
    }

    /// Makes sure that there is a file, whose directory has to be there.
    pub(super) fn create(&self, path: &str) -> Result<(), Status> {
        let path = plain(path);
        let mut inner = self.lock();
        let above = path.rsplit_once('/').map_or("", |(above, _)| above);
        if inner.nodes.get(above) != Some(&Node::Directory) {
            return Err(Status::NotFound);
        }
        inner.nodes.entry(path).or_insert_with(|| Node::File(Vec::new()));
        Ok(())
    }

    pub(super) fn make_directory(&self, path: &str) -> Result<(), Status> {
        let path = plain(path);
        let mut inner = self.lock();
        for (at, _) in path.match_indices('/') {
            inner.nodes.entry(path[..at].to_owned()).or_insert(Node::Directory);
        }
        match inner.nodes.entry(path).or_insert(Node::Directory) {
            Node::Directory => Ok(()),
            Node::File(_) => Err(Status::Exists),
        }
    }

    /// The names in a directory.
    pub(super) fn list(&self, path: &str) -> Result<Vec<String>, Status> {
        let path = plain(path);
        let inner = self.lock();
        match inner.nodes.get(&path) {
            None => return Err(Status::NotFound),
            Some(Node::File(_)) => return Err(Status::ReadError),
            Some(Node::Directory) => {}
        }
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let below = inner.nodes.keys().filter_map(|other| other.strip_prefix(&prefix));
        Ok(below.filter(|name| !name.is_empty() && !name.contains('/')).map(str::to_owned).collect())
    }

    pub(super) fn remove(&self, path: &str, with_contents: bool) -> Result<(), Status> {
        let path = plain(path);
        let has_contents = self.list(&path).is_ok_and(|names| !names.is_empty());
        let mut inner = self.lock();
        if has_contents && !with_contents {
            return Err(Status::NotEmpty);
        }
        inner.nodes.remove(&path).ok_or(Status::NotFound)?;
        inner.nodes.retain(|other, _| !other.strip_prefix(&path).is_some_and(|rest| rest.starts_with('/')));
        Ok(())
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), Status> {
        let (from, to) = (plain(from), plain(to));
        let mut inner = self.lock();
        if !inner.nodes.contains_key(&from) {
            return Err(Status::NotFound);
        }
        let moved = inner.nodes.iter().filter_map(|(path, node)| {
            let rest = path.strip_prefix(&from).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
            Some((path.clone(), format!("{to}{rest}"), node.clone()))
        });
        for (old, new, node) in moved.collect::<Vec<_>>() {
            inner.nodes.remove(&old);
            inner.nodes.insert(new, node);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A path without slashes at its ends and dots in it.
pub fn plain(path: &str) -> String {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    parts.collect::<Vec<_>>().join("/")
}
