//! What of the walked tree is left out.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rustix::fs::{FileType, Stat, stat};

use crate::config::LeaveOut;
use crate::source::globs::Globs;

/// The excludes of one source.
#[derive(Debug)]
pub(super) struct Rules {
    globs: Globs,
    /// As strings: comparing paths by component would cost more than the rest of the visit. So few that hashing costs more than comparing.
    never: Vec<OsString>,
    /// The same by device and inode: links, mounts and `..` give a thing many names.
    never_whatever_its_name: Vec<(u64, u64)>,
    /// Do not cross into other file systems.
    pub(super) one_file_system: bool,
    /// Leave out the content of cache directories.
    pub(super) exclude_caches: bool,
    larger_than: Option<u64>,
}

impl Rules {
    pub(super) fn new(leave_out: &LeaveOut, never: &[PathBuf]) -> Result<Self> {
        let globs = Globs::new(&leave_out.exclude)?;
        Ok(Self {
            globs,
            never: never.iter().map(|path| path.clone().into_os_string()).collect(),
            // What cannot be looked at cannot be read either.
            never_whatever_its_name: never
                .iter()
                .filter_map(|path| stat(path).ok())
                .map(|found| identity(&found))
                .collect(),
            one_file_system: leave_out.one_file_system,
            exclude_caches: leave_out.exclude_caches,
            larger_than: leave_out.exclude_larger_than,
        })
    }

    /// Whether the entry at `path`, and all below it, is left out.
    pub(super) fn excludes(&self, path: &Path, is_directory: bool) -> bool {
        self.globs.excludes(path, is_directory)
    }

    /// Whether the entry found at `path` must not be in a backup, even if it is named in `paths`.
    fn forbids(&self, path: &Path, found: &Stat) -> bool {
        self.never.iter().any(|never| never == path.as_os_str())
            || self.never_whatever_its_name.contains(&identity(found))
    }

    /// Whether the entry found at `path` is left out for what it is: forbidden, or a file that is too large.
    pub(super) fn leaves_out(&self, path: &Path, found: &Stat) -> bool {
        let is_file = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
        self.forbids(path, found) || is_file && self.excludes_size(found.st_size.unsigned_abs())
    }

    /// Whether a regular file of this size is left out.
    fn excludes_size(&self, size: u64) -> bool {
        self.larger_than.is_some_and(|limit| size > limit)
    }
}

fn identity(found: &Stat) -> (u64, u64) {
    (found.st_dev, found.st_ino)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn rules(exclude: &[&str]) -> Rules {
        let exclude = exclude.iter().map(ToString::to_string).collect();
        let leave_out = LeaveOut { exclude, exclude_larger_than: Some(10), ..LeaveOut::default() };
        Rules::new(&leave_out, &["/srv/store".into(), "/etc/secret".into(), "/etc/..//usr".into()]).unwrap()
    }

    #[test]
    fn globs_are_those_of_a_gitignore_at_the_root() {
        let rules = rules(&["*.tmp", "/home/*/.cache", "build/", "!keep.tmp"]);
        let excluded = [("/a/b.tmp", false), ("/home/me/.cache", true), ("/x/build", true)];
        let kept = [("/a/keep.tmp", false), ("/x/home/me/.cache", true), ("/x/build", false), ("/home/me/x", false)];
        for (path, directory) in excluded {
            assert!(rules.excludes(Path::new(path), directory), "{path}");
        }
        for (path, directory) in kept {
            assert!(!rules.excludes(Path::new(path), directory), "{path}");
        }
    }

    #[test]
    fn own_store_and_its_secrets_are_never_part_of_a_backup() {
        let (usr, etc) = (stat("/usr").unwrap(), stat("/etc").unwrap());
        assert!(rules(&[]).forbids(Path::new("/srv/store"), &etc));
        assert!(rules(&[]).forbids(Path::new("/etc/secret"), &etc));
        assert!(!rules(&[]).forbids(Path::new("/srv/store2"), &etc));
        assert!(rules(&[]).forbids(Path::new("/usr"), &usr));
    }

    #[test]
    fn size_limit_is_inclusive() {
        assert!(!rules(&[]).excludes_size(10));
        assert!(rules(&[]).excludes_size(11));
    }
}
