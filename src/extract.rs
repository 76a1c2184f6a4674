//! Writes a saved tree below a directory of this machine, and nowhere else.
//!
//! A saved tree is hostile input: its names, links and order are whatever made the snapshot. So nothing is ever opened by a path
//! of more than one name: every step goes from an open directory to an entry of it, without following links.

use std::path::PathBuf;

/// What to restore and how.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// The part of the tree that is wanted; `None`: all of it.
    pub path: Option<PathBuf>,
    /// Whether things that are there already may be replaced.
    pub overwrite: bool,
    /// Whether to only say what would be written.
    pub dry_run: bool,
    /// Whether to read back what was written and compare it with the store.
    pub verify: bool,
}

/// What a restore did.
#[derive(Debug, Clone, Default)]
pub struct Extracted {
    /// Files written.
    pub files: u64,
    /// Directories made or adjusted.
    pub directories: u64,
    /// Links, devices and fifos made.
    pub others: u64,
    /// Bytes of content written.
    pub bytes: u64,
    /// Files that already had the right content and were only given their metadata.
    pub unchanged: u64,
    /// What could not be restored as it was, and why.
    pub problems: Vec<crate::source::Problem>,
}
/// l
pub enum Layout {
    /// w
    WholePath,
}
/// e
pub fn extract(
    _: &crate::store::SavedTree,
    _: &std::path::Path,
    _: Layout,
    _: &RestoreOptions,
    _: &dyn crate::monitor::Monitor,
) -> anyhow::Result<Extracted> {
    anyhow::bail!("x")
}
