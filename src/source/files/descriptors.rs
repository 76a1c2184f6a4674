//! Directories that can be opened again: what is found in them is read later, when many others have been walked.
//!
//! A descriptor for each directory whose files still wait to be read would soon be more than a process may have (often
//! 1024). So only the newest stay open. One that was closed is opened again the way it was found: name by name from the
//! nearest directory above it that is still open, never through a link, and each must be the directory it was.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustix::fs::{CWD, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

/// How many directories of one tree are kept open.
#[derive(Debug)]
pub(super) struct Descriptors {
    limit: usize,
    /// Those that were opened last, oldest first. Some may be gone by now.
    open: Mutex<VecDeque<Weak<Directory>>>,
}

impl Descriptors {
    /// A small part of what the process may have: two walks go on at a time, and files, packs and connections need theirs.
    pub(super) fn new() -> Arc<Self> {
        let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self::with_limit(usize::try_from(allowed / 8).unwrap_or(usize::MAX).clamp(4, 512))
    }

    /// No more than `limit`, and those in use right now.
    pub(super) fn with_limit(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, open: Mutex::default() })
    }

    /// How many directories the walk itself may hold open beside.
    pub(super) fn levels(&self) -> usize {
        self.limit / 2
    }

    /// Keeps a directory that was opened just now, and closes the oldest ones in its place.
    fn keep(&self, directory: &Arc<Directory>) {
        let mut closed = Vec::new();
        let mut open = lock(&self.open);
        open.push_back(Arc::downgrade(directory));
        while open.len() > self.limit {
            // Dropped after the lock is: it may be the last that knows of the directory.
            closed.extend(open.pop_front().and_then(|oldest| oldest.upgrade()));
        }
        drop(open);
        for directory in closed {
            drop(lock(&directory.open).take());
        }
    }
}

/// A directory of a tree.
#[derive(Debug)]
pub(super) struct Directory {
    way: Way,
    /// Device and inode.
    identity: (u64, u64),
    open: Mutex<Option<Arc<OwnedFd>>>,
    descriptors: Arc<Descriptors>,
}

/// A directory that was opened just now, and a descriptor that can be listed.
pub(super) struct Opened {
    pub(super) directory: Arc<Directory>,
    pub(super) fd: Arc<OwnedFd>,
}

impl Opened {
    fn new(way: Way, fd: OwnedFd, descriptors: &Arc<Descriptors>) -> io::Result<Self> {
        let identity = identity(&fd)?;
        let fd = Arc::new(fd);
        let open = Mutex::new(Some(fd.clone()));
        let directory = Arc::new(Directory { way, identity, open, descriptors: descriptors.clone() });
        descriptors.keep(&directory);
        Ok(Self { directory, fd })
    }
}

/// How a directory is reached.
#[derive(Debug)]
enum Way {
    /// By its path, following links: what lies above a configured path.
    Path(PathBuf),
    /// From another one, not following links.
    Below(Arc<Directory>, CString),
}

impl Directory {
    /// Opens the directory at `path`, following links.
    pub(super) fn at_path(path: &Path, descriptors: &Arc<Descriptors>) -> io::Result<Opened> {
        let fd = openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Opened::new(Way::Path(path.to_path_buf()), fd, descriptors)
    }

    /// Opens the directory `name` of this one, whose descriptor is `fd`, without following a link.
    pub(super) fn enter(self: &Arc<Self>, fd: &OwnedFd, name: &CStr) -> io::Result<Opened> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match openat(fd, name, flags | OFlags::NOATIME, Mode::empty()) {
            // Only the owner and root may ask for it.
            Err(Errno::PERM) => openat(fd, name, flags, Mode::empty()),
            opened => opened,
        };
        Opened::new(Way::Below(self.clone(), name.to_owned()), opened?, &self.descriptors)
    }

    /// Device and inode.
    pub(super) fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// A descriptor to look up names with; it may be unfit for listing. To be held no longer than it is used.
    ///
    /// An error of [`io::ErrorKind::NotFound`] says that it is not where it was found any more.
    pub(super) fn fd(self: &Arc<Self>) -> io::Result<Arc<OwnedFd>> {
        // A tree may be deeper than a thread's stack: up to one that is open, and down again.
        let mut closed = vec![];
        let mut nearest = self;
        let mut fd = loop {
            if let Some(fd) = lock(&nearest.open).clone() {
                break fd;
            }
            match &nearest.way {
                Way::Below(parent, name) => {
                    closed.push((nearest, name));
                    nearest = parent;
                }
                Way::Path(path) => {
                    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                    break nearest.reopened(openat(CWD, path, flags, Mode::empty()))?;
                }
            }
        };
        while let Some((directory, name)) = closed.pop() {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            fd = directory.reopened(openat(&fd, name, flags, Mode::empty()))?;
        }
        Ok(fd)
    }

    /// Keeps what was opened again, if it is the same directory.
    fn reopened(self: &Arc<Self>, opened: Result<OwnedFd, Errno>) -> io::Result<Arc<OwnedFd>> {
        let replaced = || io::Error::other("its directory was replaced while it was being backed up");
        let fd = match opened {
            // A link or a file stands where the directory was.
            Err(Errno::NOTDIR | Errno::LOOP) => return Err(replaced()),
            opened => Arc::new(opened?),
        };
        if identity(&fd)? != self.identity {
            return Err(replaced());
        }
        *lock(&self.open) = Some(fd.clone());
        self.descriptors.keep(self);
        Ok(fd)
    }
}

impl Drop for Directory {
    /// Lets go of the directories above it one by one: a deep tree must not drop itself recursively.
    fn drop(&mut self) {
        let mut way = std::mem::replace(&mut self.way, Way::Path(PathBuf::new()));
        while let Way::Below(parent, _) = way {
            let Some(mut last) = Arc::into_inner(parent) else { break };
            way = std::mem::replace(&mut last.way, Way::Path(PathBuf::new()));
        }
    }
}

fn identity(directory: &OwnedFd) -> io::Result<(u64, u64)> {
    let stat = fstat(directory)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// No state is half changed when a thread panics under one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{AtFlags, statat};

    use super::*;

    /// How many descriptors of this process lead to `root` or below.
    fn open_below(root: &Path) -> usize {
        let links = fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
        links.filter(|link| link.starts_with(root)).count()
    }

    /// A chain of so many directories, each named `d` and in the one before.
    fn chain(root: &Path, length: usize, limit: usize) -> Vec<Arc<Directory>> {
        let mut opened = Directory::at_path(root, &Descriptors::with_limit(limit)).unwrap();
        let mut chain = vec![opened.directory.clone()];
        for _ in 0..length {
            rustix::fs::mkdirat(&opened.fd, c"d", Mode::RWXU).unwrap();
            opened = opened.directory.enter(&opened.fd, c"d").unwrap();
            chain.push(opened.directory.clone());
        }
        chain
    }

    #[test]
    fn only_so_many_stay_open_and_the_others_are_found_again() {
        let root = tempfile::tempdir().unwrap();
        let top = Directory::at_path(root.path(), &Descriptors::with_limit(4)).unwrap();
        let mut all = Vec::new();
        for number in 0..100 {
            let name = CString::new(number.to_string()).unwrap();
            fs::create_dir(root.path().join(number.to_string())).unwrap();
            fs::write(root.path().join(format!("{number}/{number}")), "").unwrap();
            all.push((top.directory.enter(&top.fd, &name).unwrap().directory, name));
        }
        drop(top);
        for (directory, name) in all.iter().chain(all.iter().rev().step_by(7)) {
            assert!(open_below(root.path()) <= 4, "{}", open_below(root.path()));
            statat(directory.fd().unwrap(), name, AtFlags::empty()).unwrap();
        }
        drop(all);
        assert_eq!(open_below(root.path()), 0);
    }

    #[test]
    fn chain_deeper_than_a_stack_is_climbed_and_dropped() {
        let root = tempfile::tempdir().unwrap();
        let mut chain = chain(root.path(), 1000, 4);
        chain[500].fd().unwrap();
        let deepest = chain.pop().unwrap();
        drop(chain);
        let climb = move || {
            assert_eq!(identity(&deepest.fd().unwrap()).unwrap(), deepest.identity());
            drop(deepest);
        };
        std::thread::Builder::new().stack_size(1 << 16).spawn(climb).unwrap().join().unwrap();
        assert_eq!(open_below(root.path()), 0);
    }

    #[test]
    fn closed_directory_that_was_replaced_is_not_entered() {
        let root = tempfile::tempdir().unwrap();
        let chain = chain(root.path(), 8, 1);
        let (outside, below) = (tempfile::tempdir().unwrap(), root.path().join("d/d"));
        fs::create_dir_all(outside.path().join("d/d/d/d/d/d")).unwrap();
        chain[1].fd().unwrap();

        fs::rename(&below, root.path().join("moved")).unwrap();
        assert_eq!(chain[6].fd().unwrap_err().kind(), io::ErrorKind::NotFound);
        symlink(outside.path(), &below).unwrap();
        assert!(chain[6].fd().unwrap_err().to_string().contains("was replaced"));
        fs::remove_file(&below).unwrap();
        fs::create_dir_all(below.join("d/d/d/d/d/d")).unwrap();
        assert!(chain[6].fd().unwrap_err().to_string().contains("was replaced"));
        fs::remove_dir_all(&below).unwrap();
        fs::rename(root.path().join("moved"), &below).unwrap();
        assert_eq!(identity(&chain[6].fd().unwrap()).unwrap(), chain[6].identity());
    }
}
