//! What the walk saw, and how entries are made of it.
//!
//! Names and types are all that the walk needs to find its way. The rest (names of owners, targets of links, extended attributes, how to
//! open it) is about as much work again, and is done on a second thread while the walk goes on.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{FileType, Stat};

use super::descriptors::Directory;
use super::inode::{self, Inspector, Place};
use super::problem;
use crate::source::{Content, Entry, Problem};

/// What the walk came by.
pub(super) enum Seen {
    /// A directory above a configured path.
    Above(PathBuf),
    /// Something in a directory, as it was when the walk looked at it.
    Entry {
        directory: Arc<Directory>,
        path: PathBuf,
        stat: Stat,
    },
    Problem(Problem),
}

/// Makes entries.
pub(super) struct Clerk {
    inspector: Inspector,
}

/// The directory of the last entry. Many of its entries follow each other.
type Here = Option<(Arc<Directory>, Arc<OwnedFd>)>;

impl Clerk {
    pub(super) fn new(inspector: Inspector) -> Self {
        Self { inspector }
    }

    /// The entries of what was seen, and what is wrong with them.
    pub(super) fn entries(&mut self, seen: Vec<Seen>) -> Vec<Result<Entry, Problem>> {
        let mut made = Vec::with_capacity(seen.len() + 1);
        let mut here = None;
        for seen in seen {
            match seen {
                Seen::Above(path) => {
                    let looked = self.inspector.ancestor(&path).map_err(|error| problem(path.clone(), error));
                    made.push(looked.map(|node| Entry { path, node, content: None }));
                }
                Seen::Entry { directory, path, stat } => self.entry(&directory, path, &stat, &mut here, &mut made),
                Seen::Problem(problem) => made.push(Err(problem)),
            }
        }
        made
    }

    fn entry(
        &mut self,
        directory: &Arc<Directory>,
        path: PathBuf,
        stat: &Stat,
        here: &mut Here,
        made: &mut Vec<Result<Entry, Problem>>,
    ) {
        let name = path.file_name().unwrap_or_default();
        let inspected = CString::new(name.as_bytes()).map_err(io::Error::from).and_then(|name| {
            let fd = enter(directory, here)?;
            let found = self.inspector.inspect(Place { directory, fd: &fd, name: &name }, stat)?;
            Ok(found.map(|found| (found, name)))
        });
        match inspected {
            Ok(Some((found, name))) => {
                made.extend(found.xattr_error.map(|error| Err(problem(path.clone(), error))));
                let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
                let content = is_file.then(|| Content::Read(inode::content(Arc::clone(directory), name, stat)));
                made.push(Ok(Entry { path, node: found.node, content }));
            }
            Ok(None) => {}
            Err(error) => {
                // What the walk found in a directory belongs there, whatever became of the directory since.
                let node = self.inspector.bare_directory(name, stat);
                made.push(Err(problem(path.clone(), error)));
                made.extend(node.map(|node| Ok(Entry { path, node, content: None })));
            }
        }
    }
}

/// A descriptor of the directory, which is asked for once for all entries that follow each other.
fn enter(directory: &Arc<Directory>, here: &mut Here) -> io::Result<Arc<OwnedFd>> {
    match here {
        Some((same, fd)) if Arc::ptr_eq(same, directory) => Ok(Arc::clone(fd)),
        _ => {
            let fd = directory.fd()?;
            *here = Some((Arc::clone(directory), Arc::clone(&fd)));
            Ok(fd)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::source::Severity;
    use crate::source::files::descriptors::Descriptors;

    #[test]
    fn what_vanishes_after_the_walk_saw_it_is_told_and_a_directory_stays_for_what_was_in_it() {
        let root = tempfile::tempdir().unwrap();
        let opened = Directory::at_path(root.path(), &Descriptors::new()).unwrap();
        let see = |name: &str| {
            let path = root.path().join(name);
            let stat = rustix::fs::lstat(&path).unwrap();
            Seen::Entry { directory: Arc::clone(&opened.directory), path, stat }
        };
        fs::create_dir(root.path().join("directory")).unwrap();
        for name in ["file", "other"] {
            fs::write(root.path().join(name), "content").unwrap();
        }
        std::os::unix::fs::symlink("file", root.path().join("link")).unwrap();
        let seen = ["directory", "file", "link", "other"].map(see).into();
        fs::remove_dir(root.path().join("directory")).unwrap();
        fs::remove_file(root.path().join("file")).unwrap();
        fs::remove_file(root.path().join("link")).unwrap();

        let made = Clerk::new(Inspector::new()).entries(seen);
        let told: Vec<_> = made
            .iter()
            .map(|made| match made {
                Ok(entry) => format!("{} {}", entry.node.name, entry.content.is_some()),
                Err(problem) => {
                    assert_eq!(problem.severity, Severity::Warning);
                    format!("{} {}", problem.path.file_name().unwrap().display(), problem.error)
                }
            })
            .collect();
        let gone = "vanished before it was read";
        let expected = [
            &format!("directory {gone}"),
            "directory false",
            &format!("file {gone}"),
            &format!("link {gone}"),
            "other true",
        ];
        assert_eq!(told, expected);
    }
}
