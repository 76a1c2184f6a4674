//! An open directory of the target, and what can be done to its entries.
//!
//! Invariant: below the target nothing is reached but by one name from an open directory, and a link is never followed, with the one
//! exception of [`Directory::open_through_link`], whose caller says why.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, Stat, fstat, linkat, mkdirat, mknodat, openat, readlinkat,
    renameat, renameat_with, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// Which inode something is.
pub(super) type Identity = (u64, u64);

/// The inode that was looked at.
pub(super) fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

/// An open directory. Cheap to clone; closed with its last clone.
#[derive(Debug, Clone)]
pub(super) struct Directory(Arc<OwnedFd>);

impl Directory {
    /// Opens the directory the user named, following links.
    pub(super) fn open_target(path: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(openat(CWD, path, DIRECTORY | OFlags::RDONLY, Mode::empty())?)))
    }

    /// Makes the directory the user named, with those above it, for the user alone.
    pub(super) fn make_target(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Self::open_target(path)
    }

    /// Whether it has no entries.
    pub(super) fn is_empty(&self) -> io::Result<bool> {
        for entry in Dir::read_from(&*self.0)? {
            if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Opens a directory in this one; a link is an error.
    pub(super) fn open(&self, name: &OsStr) -> io::Result<Self> {
        Ok(Self(Arc::new(openat(&*self.0, name, DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty())?)))
    }

    /// Opens a directory in this one to pass through only: it need not be readable.
    pub(super) fn open_passage(&self, name: &OsStr) -> io::Result<Self> {
        Ok(Self(Arc::new(openat(&*self.0, name, DIRECTORY | OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?)))
    }

    /// Opens a directory in this one, even through a link: for the way from `/` down to what was backed up, which the source was read through as well.
    pub(super) fn open_through_link(&self, name: &OsStr) -> io::Result<Self> {
        Ok(Self(Arc::new(openat(&*self.0, name, DIRECTORY | OFlags::RDONLY, Mode::empty())?)))
    }

    /// Makes a directory in this one, for the user alone, and opens it.
    pub(super) fn make(&self, name: &OsStr) -> io::Result<Self> {
        mkdirat(&*self.0, name, Mode::RWXU)?;
        self.open(name)
    }

    /// What stands under a name, if anything.
    pub(super) fn look(&self, name: &OsStr) -> io::Result<Option<Stat>> {
        match statat(&*self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a file that was not there, for the user alone.
    pub(super) fn make_file(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(openat(&*self.0, name, flags, Mode::RUSR | Mode::WUSR)?))
    }

    /// Opens a regular file that must be this inode. `NONBLOCK`: should a fifo stand there by now, opening it must not wait.
    pub(super) fn open_file(&self, name: &OsStr, wanted: Identity, access: OFlags) -> io::Result<File> {
        let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = openat(&*self.0, name, flags, Mode::empty())?;
        let stat = fstat(&file)?;
        if identity(&stat) != wanted || FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("something else took its place while it was restored"));
        }
        Ok(File::from(file))
    }

    /// Makes a symbolic link.
    pub(super) fn make_symlink(&self, name: &OsStr, target: &Path) -> io::Result<()> {
        Ok(symlinkat(target, &*self.0, name)?)
    }

    /// Where a symbolic link points.
    pub(super) fn link_target(&self, name: &OsStr) -> io::Result<PathBuf> {
        Ok(PathBuf::from(OsStr::from_bytes(readlinkat(&*self.0, name, Vec::new())?.as_bytes())))
    }

    /// Makes a fifo or device.
    pub(super) fn make_special(&self, name: &OsStr, kind: FileType, device: u64) -> io::Result<()> {
        Ok(mknodat(&*self.0, name, kind, Mode::RUSR | Mode::WUSR, device)?)
    }

    /// Gives an entry of `from` a further name in this directory. A link is linked itself, not what it points to.
    pub(super) fn make_link(&self, name: &OsStr, from: &Self, old: &OsStr) -> io::Result<()> {
        Ok(linkat(&*from.0, old, &*self.0, name, AtFlags::empty())?)
    }

    /// Gives an entry another name, replacing what stands there if `replace`; directories are never replaced.
    pub(super) fn rename(&self, old: &OsStr, new: &OsStr, replace: bool) -> io::Result<()> {
        if !replace {
            match renameat_with(&*self.0, old, &*self.0, new, RenameFlags::NOREPLACE) {
                // Some file systems cannot promise it; that nothing stood there was seen before.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
                result => return Ok(result?),
            }
        }
        Ok(renameat(&*self.0, old, &*self.0, new)?)
    }

    /// Removes an entry that is no directory.
    pub(super) fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&*self.0, name, AtFlags::empty())?)
    }

    /// A path to an entry that goes through this open directory, for the calls that take nothing but paths.
    pub(super) fn path_through_proc(&self, name: &OsStr) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd())).join(name)
    }

    /// Whether both are the same open directory.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn directory_is_not_opened_through_a_link() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("real")).unwrap();
        symlink("real", place.path().join("link")).unwrap();
        let directory = Directory::open_target(place.path()).unwrap();
        assert!(directory.open(OsStr::new("real")).is_ok());
        assert!(directory.open(OsStr::new("link")).is_err());
        assert!(directory.open_passage(OsStr::new("link")).is_err());
        assert!(directory.open_through_link(OsStr::new("link")).is_ok());
    }

    #[test]
    fn file_that_was_exchanged_is_not_opened() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::open_target(place.path()).unwrap();
        let name = OsStr::new("a");
        let made = directory.make_file(name).unwrap().metadata().unwrap();
        let wanted = (made.dev(), made.ino());
        assert!(directory.open_file(name, wanted, OFlags::RDONLY).is_ok());
        fs::write(place.path().join("b"), "x").unwrap();
        fs::rename(place.path().join("b"), place.path().join("a")).unwrap();
        assert!(directory.open_file(name, wanted, OFlags::RDONLY).is_err());
        fs::remove_file(place.path().join("a")).unwrap();
        symlink("/dev/null", place.path().join("a")).unwrap();
        assert!(directory.open_file(name, wanted, OFlags::RDONLY).is_err());
    }

    #[test]
    fn rename_without_leave_to_replace_spares_what_is_there() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("new"), "new").unwrap();
        fs::write(place.path().join("old"), "old").unwrap();
        let directory = Directory::open_target(place.path()).unwrap();
        assert!(directory.rename(OsStr::new("new"), OsStr::new("old"), false).is_err());
        assert_eq!(fs::read(place.path().join("old")).unwrap(), b"old");
        directory.rename(OsStr::new("new"), OsStr::new("old"), true).unwrap();
        assert_eq!(fs::read(place.path().join("old")).unwrap(), b"new");
    }
}
