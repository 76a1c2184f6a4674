//! Extended attributes, ACLs among them, of an entry of an open directory.
//!
//! The calls that read them take a path and no directory. A thread that does nothing else stands in the directory itself, which is
//! its own working directory then. Elsewhere, and where a filter of system calls forbids that, the path leads through the open directory in
//! `/proc`: five times as slow (3.5 µs an entry against 0.65), most of it the kernel's way through `/proc`. Either way
//! neither a long path nor one that changes does harm.

use std::ffi::CStr;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{lgetxattr, llistxattr, readlink};
use rustix::io::Errno;
use rustix::process::fchdir;

/// Reads extended attributes, of one entry after the other.
#[derive(Debug)]
pub(super) struct Xattrs {
    /// `/proc/PID/fd/`, then number and name of the last entry.
    path: Vec<u8>,
    /// How much of `path` all directories have in common.
    common: usize,
    /// How much of `path` this directory's entries have in common.
    directory: Option<(RawFd, usize)>,
    stand: Stand,
}

/// Where the thread stands.
#[derive(Debug)]
enum Stand {
    /// Where the process does.
    Shared,
    /// Nowhere in particular, but apart from the process.
    Apart,
    /// In this directory; it is held, so that no other can be at its place in memory.
    In(Arc<OwnedFd>),
}

impl Xattrs {
    pub(super) fn new() -> Self {
        // What `self` links to never changes, and is found faster without it. Its number is that of this process where `/proc` was mounted.
        let process = readlink("/proc/self", Vec::new()).map_or_else(|_| b"self".to_vec(), |link| link.into_bytes());
        let path = [b"/proc/", &*process, b"/fd/"].concat();
        Self { common: path.len(), path, directory: None, stand: Stand::Shared }
    }

    /// Reads from within each directory. To be called, and used, on a thread of which nothing else expects where it stands.
    pub(super) fn on_own_thread() -> Self {
        let stand = if unshare(CloneFlags::CLONE_FS).is_ok() { Stand::Apart } else { Stand::Shared };
        Self { stand, ..Self::new() }
    }

    /// The extended attributes of `name`, which may be a link, by their names. The error says which could not be read, and why.
    pub(super) fn read(&mut self, directory: &Arc<OwnedFd>, name: &CStr) -> Result<Vec<(String, Vec<u8>)>, String> {
        let path = self.path(directory, name);
        let list = match grow(|buffer| llistxattr(path, buffer)) {
            Ok(list) if list.is_empty() => return Ok(Vec::new()),
            Ok(list) => list,
            // The file system has none.
            Err(Errno::NOTSUP) => return Ok(Vec::new()),
            Err(error) => return Err(format!("its extended attributes: {error}")),
        };
        let mut xattrs = Vec::new();
        for name in list.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
            let text = std::str::from_utf8(name)
                .map_err(|_| "an extended attribute has a name that is not UTF-8".to_owned())?;
            match grow(|buffer| lgetxattr(path, name, buffer)) {
                Ok(value) => xattrs.push((text.to_owned(), value)),
                Err(Errno::NODATA) => {}
                Err(error) => return Err(format!("its extended attribute {text}: {error}")),
            }
        }
        Ok(xattrs)
    }

    /// The path of an entry. What leads to its directory is written once for all its entries.
    fn path<'p>(&'p mut self, directory: &Arc<OwnedFd>, name: &'p CStr) -> &'p CStr {
        if self.stands_in(directory) {
            return name;
        }
        let number = directory.as_raw_fd();
        let begin = match self.directory {
            Some((same, begin)) if same == number => begin,
            _ => {
                self.path.truncate(self.common);
                // Writing to memory cannot fail.
                let _ = write!(self.path, "{number}/");
                self.directory = Some((number, self.path.len()));
                self.path.len()
            }
        };
        self.path.truncate(begin);
        self.path.extend_from_slice(name.to_bytes_with_nul());
        CStr::from_bytes_until_nul(&self.path).unwrap_or_default()
    }
}

impl Xattrs {
    /// Goes to a directory, if this thread may stand where it likes. Who may not enter a directory goes through `/proc` and is told so.
    fn stands_in(&mut self, directory: &Arc<OwnedFd>) -> bool {
        match &self.stand {
            Stand::Shared => return false,
            Stand::In(here) if Arc::ptr_eq(here, directory) => return true,
            Stand::In(_) | Stand::Apart => {}
        }
        let is_there = fchdir(directory).is_ok();
        self.stand = if is_there { Stand::In(Arc::clone(directory)) } else { Stand::Apart };
        is_there
    }
}

/// Calls something that fills a buffer and says how much, with a buffer that is large enough.
fn grow(call: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut small = [0; 256];
    match call(&mut small) {
        Err(Errno::RANGE) => {}
        result => return result.map(|length| small[..length].to_vec()),
    }
    // The kernel's own bounds: 64 KiB for a list and for a value (xattr(7)).
    let mut large = vec![0; 1 << 16];
    let length = call(&mut large)?;
    large.truncate(length);
    Ok(large)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;

    use rustix::fs::{XattrFlags, setxattr};

    use super::*;

    #[test]
    fn each_entry_of_each_directory_has_its_own() {
        let root = tempfile::tempdir().unwrap();
        let opened: Vec<Arc<OwnedFd>> = ["one", "two"]
            .iter()
            .map(|directory| {
                let path = root.path().join(directory);
                fs::create_dir(&path).unwrap();
                for name in ["a", "longer", "none"] {
                    fs::write(path.join(name), "").unwrap();
                    if name != "none" {
                        let value = format!("{directory}/{name}").repeat(60);
                        setxattr(path.join(name), "user.x", value.as_bytes(), XattrFlags::empty()).unwrap();
                    }
                }
                symlink("a", path.join("link")).unwrap();
                Arc::new(File::open(&path).unwrap().into())
            })
            .collect();
        let here = std::env::current_dir().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| all_are_right(Xattrs::on_own_thread(), &opened));
        });
        all_are_right(Xattrs::new(), &opened);
        assert_eq!(std::env::current_dir().unwrap(), here, "the process stands where it stood");
    }

    fn all_are_right(mut xattrs: Xattrs, opened: &[Arc<OwnedFd>]) {
        for name in [c"longer", c"a", c"none", c"link"] {
            for (directory, opened) in ["one", "two"].iter().zip(opened) {
                let name_text = name.to_str().unwrap();
                let expected = match name_text {
                    "none" | "link" => vec![],
                    _ => vec![("user.x".to_owned(), format!("{directory}/{name_text}").repeat(60).into_bytes())],
                };
                assert_eq!(xattrs.read(opened, name).unwrap(), expected, "{directory}/{name_text}");
            }
        }
        assert!(xattrs.read(&opened[0], c"missing").unwrap_err().contains("its extended attributes"));
    }
}
