//! Writes a saved tree below a directory of this machine, and nowhere else.
//!
//! A saved tree is hostile input: its names, links and order are whatever made the snapshot. So nothing is ever opened by a path
//! of more than one name: every step goes from an open directory to an entry of it, without following links ([`directory`]), and every
//! name is looked at first ([`name`]). What cannot be restored is a [`Problem`], and the rest goes on; only a target that takes nothing
//! more (full, read-only) ends it. What stands in the target and not in the point is never removed.
//!
//! Content is fetched for many files at a time ([`batch`]), into files that get their name when they are whole.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};

use crate::error::{Annotate, ExitCode};
use crate::monitor::{Monitor, Unit};
use crate::secret::Secret;
use crate::source::{Problem, Severity};
use crate::store::{Node, SavedTree, node};

mod batch;
mod content;
mod directory;
mod entries;
mod extraction;
mod find;
pub mod links;
mod metadata;
pub mod name;
mod temporary;
mod walk;

pub use find::{Chosen, find};

use directory::Directory;
use extraction::Extraction;

/// How many problems of each severity are kept by name; the rest are only counted, so that a tree in which nothing is right does not
/// fill the memory.
const KEPT: u64 = 1000;

/// What to restore and how.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// The part of the tree that is wanted; `None`: all of it.
    pub path: Option<PathBuf>,
    /// Whether things that are there already may be replaced.
    pub overwrite: bool,
    /// Whether to only say what would be written.
    pub dry_run: bool,
    /// Whether to read back what was written and compare it with the store. Files that look unchanged are then compared, too.
    pub verify: bool,
    /// Who is told about every single change.
    pub watch: Option<Watch>,
    /// Whether whoever uses what is overwritten is stopped meanwhile, and started again afterwards.
    pub stop: bool,
    /// The name of the copy that is made beside the original, of which nothing is overwritten; `None`: it goes back to where it came from.
    pub rename: Option<String>,
    /// Further points of the store.
    pub library: Option<Library>,
    /// How a device takes its point back.
    pub device: DeviceOptions,
}

/// What is asked of a device that takes a point back.
#[derive(Debug, Clone, Default)]
pub struct DeviceOptions {
    /// Whether system files are written, too.
    pub system_files: bool,
    /// Whether it takes the settings of the point, and does not keep its own.
    pub replace_settings: bool,
    /// Whether it copies the backup before it begins.
    pub copy: bool,
    /// Whether it is not restarted afterwards.
    pub no_reboot: bool,
    /// Whether it removes what is not in the point.
    pub remove_others: bool,
    /// Whether it is not told which apps were installed.
    pub skip_apps: bool,
    /// The password, when the point is an encrypted backup.
    pub password: Option<Secret>,
}

impl RestoreOptions {
    /// Refuses what has a meaning only where containers are.
    pub(crate) fn without_containers(&self, item: &str) -> Result<()> {
        let flag = match (self.stop, &self.rename) {
            (true, _) => "--stop",
            (_, Some(_)) => "--as",
            _ => return Ok(()),
        };
        Err(anyhow!("{flag} has no meaning for {item}"))
            .hint("It is for volumes, containers and stacks. Beside the original: --to DIR.")
            .exit(ExitCode::Usage)
    }
}

/// Opens further points of the store, of items that what is restored needs as well: the image of a container.
#[derive(Clone)]
pub struct Library(Arc<Newest>);

type Newest = dyn Fn(&str, &dyn Fn(&SavedTree) -> Result<bool>) -> Result<Option<SavedTree>> + Send + Sync;

impl Library {
    /// `newest` gives the tree of the newest complete point of an item that a condition holds for.
    pub fn new(
        newest: impl Fn(&str, &dyn Fn(&SavedTree) -> Result<bool>) -> Result<Option<SavedTree>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(newest))
    }

    /// The tree of the newest complete point of an item that `suits`; `None` when there is none.
    pub(crate) fn newest(&self, item: &str, suits: &dyn Fn(&SavedTree) -> Result<bool>) -> Result<Option<SavedTree>> {
        (self.0)(item, suits)
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Library")
    }
}

/// Which path something gets below the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Its whole path in the point: `/etc/hosts` becomes `TARGET/etc/hosts`.
    WholePath,
    /// What is in the wanted directory lands in the target; a wanted file lands there under its name.
    Contents,
}

/// What a restore did, or in a dry run would do.
#[derive(Debug, Clone, Default)]
pub struct Extracted {
    /// Files written, further names of a hard-linked file among them.
    pub files: u64,
    /// Directories made or adjusted.
    pub directories: u64,
    /// Links, devices and fifos made.
    pub others: u64,
    /// Bytes of content written.
    pub bytes: u64,
    /// Files that already had the right content and were only given their metadata.
    pub unchanged: u64,
    /// What could not be restored as it was, and why: the first thousand of each severity.
    pub problems: Vec<Problem>,
    /// How many warnings there were in all.
    pub warnings: u64,
    /// How many entries are missing or not as in the point.
    pub unrestored: u64,
}

impl Extracted {
    /// Whether something of the point is not in the target as it should be.
    pub fn is_incomplete(&self) -> bool {
        self.unrestored > 0
    }

    /// Adds what another part of the same restore did.
    pub(crate) fn take_in(&mut self, other: Self) {
        self.files += other.files;
        self.directories += other.directories;
        self.others += other.others;
        self.bytes += other.bytes;
        self.unchanged += other.unchanged;
        let of = |severity| other.problems.iter().filter(|problem| problem.severity == severity).count() as u64;
        self.unrestored += other.unrestored.saturating_sub(of(Severity::Unread));
        self.warnings += other.warnings.saturating_sub(of(Severity::Warning));
        for problem in other.problems {
            self.add(problem);
        }
    }

    /// Counts a problem, and keeps it if it is one of the first.
    pub(crate) fn add(&mut self, problem: Problem) {
        let counter = match problem.severity {
            Severity::Warning => &mut self.warnings,
            Severity::Unread => &mut self.unrestored,
        };
        *counter += 1;
        if *counter <= KEPT {
            self.problems.push(problem);
        }
    }
}

/// What happens to one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing was there.
    Added,
    /// It gets other content.
    Modified,
    /// It gets its owner, mode or times only.
    Adjusted,
    /// Something of another type was there.
    Retyped,
}

impl Change {
    /// The letter that stands for it, as in `holdall diff`.
    pub fn letter(self) -> char {
        match self {
            Self::Added => '+',
            Self::Modified => 'M',
            Self::Adjusted => 'U',
            Self::Retyped => 'T',
        }
    }
}

/// One change of a restore.
#[derive(Debug)]
pub struct Action<'a> {
    /// What happens.
    pub change: Change,
    /// Where, on the machine that it is restored to.
    pub path: &'a Path,
    /// What is restored.
    pub node: &'a Node,
}

type Tell = dyn Fn(&Action<'_>) -> Result<()> + Send + Sync;

/// Somebody who is told about every change of a restore, before it is made. An error ends the restore.
#[derive(Clone)]
pub struct Watch(Arc<Tell>);

impl Watch {
    /// Calls `tell` for each change.
    pub fn new(tell: impl Fn(&Action<'_>) -> Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// Tells of a change that is about to be made.
    pub(crate) fn tell(&self, action: &Action<'_>) -> Result<()> {
        (self.0)(action)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

/// Writes a saved tree, or the part of it that `options` name, below `target`, which is made if it is not there.
///
/// With [`Layout::WholePath`] and the target `/`, things go back to where they came from: then, and only then, links on the way down to what was
/// backed up are followed, as they were when it was read. Directories on that way that are there already are left as they are.
///
/// # Errors
///
/// When the wanted path is not in the point; when the target holds something and may not be overwritten; when it takes nothing more. What goes
/// wrong with single entries is in [`Extracted::problems`].
pub fn extract(
    saved: &SavedTree,
    target: &Path,
    layout: Layout,
    options: &RestoreOptions,
    monitor: &dyn Monitor,
) -> Result<Extracted> {
    let wanted = options.path.as_deref().unwrap_or(Path::new("/"));
    let node = find(saved, wanted)?;
    let directory = open_target(target, options)?;
    let task = monitor.start(&saved.point().item, "restore", Unit::Bytes);
    if let Some(total) = total(saved, wanted)? {
        task.expect(total);
    }
    let extraction = Extraction::new(saved, target, directory, layout, options, task.clone());
    let extracted = extraction.run(wanted, node);
    task.finish();
    extracted
}

/// Writes what is at `base` of a saved tree, or the part of it that `options` name, as `target`. A directory becomes the target, which gets its owner, mode
/// and times with it; anything else gets the target's name. What the part lies in is left as it is where it is there.
///
/// # Errors
///
/// As [`extract`] has them.
pub(crate) fn extract_as(
    saved: &SavedTree,
    base: &Path,
    target: &Path,
    options: &RestoreOptions,
    monitor: &dyn Monitor,
) -> Result<Extracted> {
    let wanted = options.path.as_deref().filter(|path| path.starts_with(base)).unwrap_or(base);
    let mut node = find(saved, wanted)?;
    let whole = find(saved, base)?;
    let (target, layout) = match (whole.is_dir(), target.parent(), target.file_name()) {
        (true, ..) => (target, Layout::WholePath),
        (false, Some(parent), Some(name)) => {
            let content = node.content.take();
            node = Node { content, ..node::named(name, node.node_type, node.meta) };
            (parent, Layout::Contents)
        }
        (false, ..) => return Err(anyhow!("{} cannot be a file", target.display())),
    };
    let directory = open_target(target, options)?;
    let task = monitor.start(&saved.point().item, "restore", Unit::Bytes);
    if let Some(total) = total(saved, wanted)? {
        task.expect(total);
    }
    let mut extraction = Extraction::new(saved, target, directory, layout, options, task.clone());
    extraction.base = name::components(base)?;
    extraction.adjusts_target = true;
    let extracted = extraction.run(wanted, node);
    task.finish();
    extracted
}

/// The target, ready to be written to; `None` in a dry run when it is not there.
fn open_target(target: &Path, options: &RestoreOptions) -> Result<Option<Directory>> {
    let name = target.display();
    let directory = match Directory::open_target(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if options.dry_run {
                return Ok(None);
            }
            Directory::make_target(target).with_context(|| format!("make the directory {name}"))?
        }
        opened => opened.with_context(|| format!("open the directory {name}"))?,
    };
    if !options.overwrite && !directory.is_empty().with_context(|| format!("list the directory {name}"))? {
        return Err(anyhow!("the directory {name} is not empty"))
            .hint("Name a new directory, or add --overwrite: what is there and not in the point is kept.");
    }
    Ok(Some(directory))
}

/// How many bytes are going to be restored, when that can be told without reading the whole tree twice.
pub(crate) fn total(saved: &SavedTree, wanted: &Path) -> Result<Option<u64>> {
    if name::components(wanted)?.is_empty() {
        return Ok(saved.point().bytes);
    }
    let sizes = saved.walk(wanted)?.filter_map(Result::ok).map(|saved| saved.node.meta.size);
    Ok(Some(sizes.fold(0, u64::saturating_add)))
}
