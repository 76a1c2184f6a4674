//! What of the walked tree is left out.

use std::path::Path;

use anyhow::{Context, Result};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::{Stat, stat};

use crate::config::FilesConfig;

/// The excludes of one source.
#[derive(Debug)]
pub(super) struct Rules {
    globs: Option<Gitignore>,
    /// Device and inode of a directory that is never part of a backup.
    never: Option<(u64, u64)>,
    /// Do not cross into other file systems.
    pub(super) one_file_system: bool,
    /// Leave out the content of cache directories.
    pub(super) exclude_caches: bool,
    larger_than: Option<u64>,
}

impl Rules {
    pub(super) fn new(config: &FilesConfig, own_store: Option<&Path>) -> Result<Self> {
        let globs = if config.exclude.is_empty() {
            None
        } else {
            let mut builder = GitignoreBuilder::new("/");
            for glob in &config.exclude {
                builder.add_line(None, glob).with_context(|| format!("read the glob `{glob}`"))?;
            }
            Some(builder.build().context("combine the globs")?)
        };
        Ok(Self {
            globs,
            // Not by its name: links, mounts and `..` give it many. One that cannot be looked at cannot be read either.
            never: own_store.and_then(|path| stat(path).ok()).map(|found| (found.st_dev, found.st_ino)),
            one_file_system: config.one_file_system,
            exclude_caches: config.exclude_caches,
            larger_than: config.exclude_larger_than,
        })
    }

    /// Whether the entry at `path`, and all below it, is left out.
    pub(super) fn excludes(&self, path: &Path, is_directory: bool) -> bool {
        self.globs.as_ref().is_some_and(|globs| globs.matched(path, is_directory).is_ignore())
    }

    /// Whether the directory found here is the store that is written to.
    pub(super) fn is_own_store(&self, found: &Stat) -> bool {
        self.never == Some((found.st_dev, found.st_ino))
    }

    /// Whether a regular file of this size is left out.
    pub(super) fn excludes_size(&self, size: u64) -> bool {
        self.larger_than.is_some_and(|limit| size > limit)
    }
}

/// How a `CACHEDIR.TAG` begins (Cache Directory Tagging Specification, bford.info/cachedir).
pub(super) const CACHEDIR_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SourceCommon;

    fn rules(exclude: &[&str]) -> Rules {
        let common = SourceCommon { name: "x".into(), every: None, max_age: None, allow_empty: false };
        let config = FilesConfig {
            common,
            paths: vec!["/".into()],
            exclude: exclude.iter().map(ToString::to_string).collect(),
            one_file_system: false,
            exclude_caches: false,
            exclude_larger_than: Some(10),
        };
        Rules::new(&config, Some(Path::new("/usr"))).unwrap()
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
    fn own_store_is_never_part_of_a_backup() {
        assert!(rules(&[]).is_own_store(&stat("/etc/..//usr/./").unwrap()));
        assert!(!rules(&[]).is_own_store(&stat("/etc").unwrap()));
    }

    #[test]
    fn size_limit_is_inclusive() {
        assert!(!rules(&[]).excludes_size(10));
        assert!(rules(&[]).excludes_size(11));
    }
}
