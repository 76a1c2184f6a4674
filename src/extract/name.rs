//! Names and paths of a saved tree: which names may be made here, and how a path is put together from them.
//!
//! A path is put together as bytes. `Path::join` would let a name that begins with `/` replace everything before it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use anyhow::{Result, bail};

/// Says why a name cannot be made as one entry of a directory.
pub fn check(name: &OsStr) -> Result<(), &'static str> {
    match name.as_bytes() {
        b"" => Err("its name is empty"),
        b"." | b".." => Err("its name is that of a directory itself or of its parent"),
        bytes if bytes.contains(&b'/') => Err("its name contains a slash"),
        bytes if bytes.contains(&0) => Err("its name contains a zero byte"),
        _ => Ok(()),
    }
}

/// The names a user's path inside a point goes through: `/etc/hosts`, `etc/hosts` and `/etc//hosts/` are the same.
///
/// # Errors
///
/// When it contains `..`, which has no meaning in a saved tree: links are not followed there.
pub fn components(path: &Path) -> Result<Vec<OsString>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_os_string()),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => bail!("the path {} contains `..`", path.display()),
        }
    }
    Ok(names)
}

/// A path inside a point that grows and shrinks with the way through the tree.
#[derive(Debug, Clone, Default)]
pub(super) struct Trail(Vec<u8>);

impl Trail {
    /// Goes down to an entry, whatever its name.
    pub(super) fn push(&mut self, name: &OsStr) {
        self.0.push(b'/');
        self.0.extend_from_slice(name.as_bytes());
    }

    /// Its length, to come back to with [`Trail::cut`].
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Goes back up.
    pub(super) fn cut(&mut self, length: usize) {
        self.0.truncate(length);
    }

    /// The whole path: `/etc/hosts`; `/` at the root.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(if self.0.is_empty() { OsString::from("/") } else { OsString::from_vec(self.0.clone()) })
    }

    /// The path of an entry of the directory where the trail ends.
    pub(super) fn path_of(&self, name: &OsStr) -> PathBuf {
        let mut trail = self.clone();
        trail.push(name);
        trail.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_single_entry_are_refused() {
        for bad in [&b""[..], b".", b"..", b"/", b"a/b", b"/etc/passwd", b"../x", b"a\0b"] {
            assert!(check(OsStr::from_bytes(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn odd_but_single_names_are_allowed() {
        for good in [&b"a"[..], b"...", b"..a", b" ", b"\n", b"\xff", b"-rf", b"*"] {
            assert_eq!(check(OsStr::from_bytes(good)), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn spellings_of_a_path_are_the_same() {
        for path in ["/etc/hosts", "etc/hosts", "//etc/./hosts/"] {
            assert_eq!(components(Path::new(path)).unwrap(), ["etc", "hosts"]);
        }
        assert!(components(Path::new("/")).unwrap().is_empty());
        assert!(components(Path::new("/etc/../x")).is_err());
    }

    #[test]
    fn name_with_a_slash_does_not_replace_the_path_before_it() {
        let mut trail = Trail::default();
        assert_eq!(trail.path(), Path::new("/"));
        trail.push(OsStr::new("a"));
        assert_eq!(trail.path_of(OsStr::new("/etc/passwd")), Path::new("/a//etc/passwd"));
        let length = trail.len();
        trail.push(OsStr::new("b"));
        trail.cut(length);
        assert_eq!(trail.path(), Path::new("/a"));
    }
}
