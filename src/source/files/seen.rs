//! What the walk saw, and how entries are made of it.
//!
//! Names and types are all that the walk needs to find its way. The rest (times and owners, targets of links, extended attributes, how to open it)
//! is several times the work, and is done on other threads while the walk goes on.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, Stat};

use super::descriptors::Directory;
use super::inode::{self, Found, Inspector, Place};
use super::rules::Rules;
use crate::source::{Content, Entry, Problem};

/// What the walk came by.
pub(super) enum Seen {
    /// A directory above a configured path.
    Above(PathBuf),
    /// Something in a directory. The walk has looked at directories, and at what is of unknown type: then as it was.
    Entry {
        directory: Arc<Directory>,
        path: PathBuf,
        stat: Option<Stat>,
    },
    Problem(Problem),
}

/// Makes entries.
pub(super) struct Clerk {
    inspector: Inspector,
    rules: Arc<Rules>,
}

/// The directory of the last entry. Many of its entries follow each other.
type Here = Option<(Arc<Directory>, Arc<OwnedFd>)>;

impl Clerk {
    pub(super) fn new(inspector: Inspector, rules: Arc<Rules>) -> Self {
        Self { inspector, rules }
    }

    /// The entries of what was seen, and what is wrong with them.
    pub(super) fn entries(&mut self, seen: Vec<Seen>) -> Vec<Result<Entry, Problem>> {
        let mut made = Vec::with_capacity(seen.len() + 1);
        let mut here = None;
        for seen in seen {
            match seen {
                Seen::Above(path) => {
                    let looked = self.inspector.ancestor(&path).map_err(|error| Problem::of_io(path.clone(), &error));
                    made.push(looked.map(|node| Entry { path, node, content: None }));
                }
                Seen::Entry { directory, path, stat } => self.entry(&directory, path, stat, &mut here, &mut made),
                Seen::Problem(problem) => made.push(Err(problem)),
            }
        }
        made
    }

    fn entry(
        &mut self,
        directory: &Arc<Directory>,
        path: PathBuf,
        seen: Option<Stat>,
        here: &mut Here,
        made: &mut Vec<Result<Entry, Problem>>,
    ) {
        match self.look(directory, &path, seen, here) {
            Ok(Some((found, content))) => {
                made.extend(found.xattr_error.map(|error| Err(Problem::of_io(path.clone(), &error))));
                made.push(Ok(Entry { path, node: found.node, content }));
            }
            Ok(None) => {}
            Err(error) => {
                // What the walk found in a directory belongs there, whatever became of the directory since.
                let name = path.file_name().unwrap_or_default();
                let node = seen.and_then(|stat| self.inspector.bare_directory(name, &stat));
                made.push(Err(Problem::of_io(path.clone(), &error)));
                made.extend(node.map(|node| Ok(Entry { path, node, content: None })));
            }
        }
    }

    /// Looks at an entry; `None` when it does not belong into a backup.
    fn look(
        &mut self,
        directory: &Arc<Directory>,
        path: &Path,
        seen: Option<Stat>,
        here: &mut Here,
    ) -> io::Result<Option<(Found, Option<Content>)>> {
        let name = CString::new(path.file_name().unwrap_or_default().as_bytes())?;
        let fd = enter(directory, here)?;
        let place = Place { directory, fd: &fd, name: &name };
        let stat = seen.map_or_else(|| place.stat(), Ok)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if seen.is_none() {
            if kind == FileType::Directory {
                // The walk did not go into it.
                return Err(io::Error::other("was replaced by a directory while it was being backed up"));
            }
            if self.rules.leaves_out(path, &stat) {
                return Ok(None);
            }
        }
        let Some(found) = self.inspector.inspect(place, &stat)? else { return Ok(None) };
        let content =
            (kind == FileType::RegularFile).then(|| Content::Read(inode::content(Arc::clone(directory), name, &stat)));
        Ok(Some((found, content)))
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
    use crate::source::files::descriptors::{Descriptors, Opened};
    use crate::source::files::rules::tests::rules;

    fn see(opened: &Opened, root: &Path, name: &str, is_looked_at: bool) -> Seen {
        let path = root.join(name);
        let stat = is_looked_at.then(|| rustix::fs::lstat(&path).unwrap());
        Seen::Entry { directory: Arc::clone(&opened.directory), path, stat }
    }

    fn told(seen: Vec<Seen>, severity: Severity) -> Vec<String> {
        let made = Clerk::new(Inspector::new(), rules(&[]).into()).entries(seen);
        let tell = |made: Result<Entry, Problem>| match made {
            Ok(entry) => format!("{} {}", entry.node.name, entry.content.is_some()),
            Err(problem) => {
                assert_eq!(problem.severity, severity);
                format!("{} {}", problem.path.file_name().unwrap().display(), problem.error)
            }
        };
        made.into_iter().map(tell).collect()
    }

    #[test]
    fn what_vanishes_after_the_walk_saw_it_is_told_and_a_directory_stays_for_what_was_in_it() {
        let root = tempfile::tempdir().unwrap();
        let opened = Directory::at_path(root.path(), &Descriptors::new()).unwrap();
        fs::create_dir(root.path().join("directory")).unwrap();
        for name in ["file", "other"] {
            fs::write(root.path().join(name), "content").unwrap();
        }
        std::os::unix::fs::symlink("file", root.path().join("link")).unwrap();
        let see = |name: &str, is_looked_at| see(&opened, root.path(), name, is_looked_at);
        let seen = vec![
            see("directory", true),
            see("file", true),
            see("file", false),
            see("link", false),
            see("other", false),
        ];
        fs::remove_dir(root.path().join("directory")).unwrap();
        fs::remove_file(root.path().join("file")).unwrap();
        fs::remove_file(root.path().join("link")).unwrap();

        let gone = "vanished before it was read";
        let file = format!("file {gone}");
        let expected =
            [&format!("directory {gone}"), "directory false", &file, &file, &format!("link {gone}"), "other true"];
        assert_eq!(told(seen, Severity::Warning), expected);
    }

    #[test]
    fn what_the_walk_did_not_look_at_is_judged_here() {
        let root = tempfile::tempdir().unwrap();
        let opened = Directory::at_path(root.path(), &Descriptors::new()).unwrap();
        fs::write(root.path().join("large"), "larger than the rules allow").unwrap();
        fs::write(root.path().join("small"), "small").unwrap();
        fs::create_dir(root.path().join("directory")).unwrap();
        let seen = ["directory", "large", "small"].map(|name| see(&opened, root.path(), name, false)).into();
        // It is there, and nobody went into it.
        let expected = ["directory was replaced by a directory while it was being backed up", "small true"];
        assert_eq!(told(seen, Severity::Unread), expected);
    }
}
