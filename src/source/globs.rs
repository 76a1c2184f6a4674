//! The globs of `exclude`: lines as in a `.gitignore` at the root of the file system.

use std::path::Path;

use anyhow::{Context, Result};
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// How a `CACHEDIR.TAG` begins (Cache Directory Tagging Specification, bford.info/cachedir).
pub(super) const CACHEDIR_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// What the tag of a cache directory is called.
pub(super) const CACHEDIR_TAG: &[u8] = b"CACHEDIR.TAG";

/// Globs, compiled.
#[derive(Debug, Default)]
pub(super) struct Globs(Option<Gitignore>);

impl Globs {
    /// Compiles the lines.
    pub(super) fn new(lines: &[String]) -> Result<Self> {
        if lines.is_empty() {
            return Ok(Self(None));
        }
        let mut builder = GitignoreBuilder::new("/");
        for line in lines {
            builder.add_line(None, line).with_context(|| format!("read the glob `{line}`"))?;
        }
        Ok(Self(Some(builder.build().context("combine the globs")?)))
    }

    /// Whether the entry at `path`, and all below it, is left out.
    pub(super) fn excludes(&self, path: &Path, is_directory: bool) -> bool {
        self.0.as_ref().is_some_and(|globs| globs.matched(path, is_directory).is_ignore())
    }
}
