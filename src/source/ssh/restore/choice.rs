//! What of a point is sent to the machine, and what that changes there.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::complaints::Complaints;
use super::{Names, Restore, Standing, os};
use crate::archive::{Candidate, Sink};
use crate::extract::links::{Key, Role};
use crate::extract::{Action, Change, Extracted};
use crate::monitor::Task;
use crate::source::ssh::connection::Ended;
use crate::source::ssh::listing::Stat;
use crate::source::{Problem, Severity};
use crate::store::{Node, NodeType, node};

/// Decides and counts.
pub(super) struct Choice<'a> {
    restore: &'a Restore<'a>,
    names: Names,
    task: &'a dyn Task,
    done: Extracted,
    /// Files with several names of which the first was sent: the others must be linked to it anew.
    sent: HashSet<Key>,
}

impl<'a> Choice<'a> {
    pub(super) fn new(restore: &'a Restore<'a>, task: &'a dyn Task) -> Result<Self> {
        let (names, done, sent) = (Names::new(restore)?, Extracted::default(), HashSet::new());
        Ok(Self { restore, names, task, done, sent })
    }

    pub(super) fn done(self) -> Extracted {
        self.done
    }

    /// Takes in what tar said. What it could not restore does not count as restored.
    pub(super) fn take_complaints(&mut self, ended: &Ended) -> Result<()> {
        let complaints = Complaints::read(&ended.complaints);
        if ended.status != 0
            && let Some(why) = complaints.of_the_whole(ended.status)
        {
            bail!("tar on the machine could not do it: {why}");
        }
        for (name, mut problem) in complaints.problems {
            match name {
                Some(name) => {
                    problem.path = self.names.path(name.strip_prefix(b"/").unwrap_or(&name));
                    if problem.severity == Severity::Unread {
                        self.uncount(&problem.path)?;
                    }
                }
                None => problem.path = self.restore.target.to_path_buf(),
            }
            self.done.add(problem);
        }
        Ok(())
    }

    fn uncount(&mut self, path: &Path) -> Result<()> {
        let Some(node) = self.restore.saved.find(path)? else { return Ok(()) };
        let counter = match node.node_type {
            NodeType::File => &mut self.done.files,
            NodeType::Dir => &mut self.done.directories,
            _ => &mut self.done.others,
        };
        *counter = counter.saturating_sub(1);
        if node.is_file() && node.meta.links <= 1 {
            self.done.bytes = self.done.bytes.saturating_sub(node.meta.size);
        }
        Ok(())
    }

    fn problem(&mut self, path: PathBuf, error: &str) {
        self.done.add(Problem { path, error: error.to_owned(), severity: Severity::Unread });
    }

    fn tell(&self, change: Change, destination: &[u8], node: &Node) -> Result<()> {
        match &self.restore.options.watch {
            Some(watch) => watch.tell(&Action { change, path: Path::new(&os(destination.to_vec())), node }),
            None => Ok(()),
        }
    }

    /// Counts what is sent.
    fn count(&mut self, entry: &Candidate<'_>) {
        match (&entry.node.node_type, entry.role) {
            (NodeType::Dir, _) => self.done.directories += 1,
            (NodeType::File, Role::Further(_)) => self.done.files += 1,
            (NodeType::File, role) => {
                self.done.files += 1;
                self.done.bytes += entry.size;
                if let Role::First(key) = role {
                    self.sent.insert(key);
                }
            }
            _ => self.done.others += 1,
        }
        self.task.advance_files(1);
    }
}

impl Sink for Choice<'_> {
    fn wants(&mut self, entry: &Candidate<'_>) -> Result<bool> {
        let Candidate { name, node, role, size } = *entry;
        let path = self.names.path(name);
        let destination = [b"/", name].concat();
        if !belongs(self.restore, &path) {
            return Ok(false);
        }
        let standing = (self.restore.standing)(&destination);
        if is_passage(self.restore, &path) && standing != Standing::Missing {
            return Ok(false);
        }
        if node.is_file() && size != node.meta.size {
            let told = node.meta.size;
            self.problem(path.clone(), &format!("the point says that it has {told} bytes, its content has {size}"));
        }
        let change = match standing {
            Standing::Missing | Standing::Unknown => Some(Change::Added),
            Standing::There(_) if !self.restore.options.overwrite => {
                self.problem(path, "something is there already");
                return Ok(false);
            }
            Standing::There(stat) if kind(stat.mode) == DIRECTORY && !node.is_dir() => {
                self.problem(path, "a directory stands in its place, and was left");
                return Ok(false);
            }
            Standing::There(stat) if kind(stat.mode) != kind_of(node) => Some(Change::Retyped),
            Standing::There(stat) => {
                let is_linked_anew = matches!(role, Role::Further(key) if self.sent.contains(&key));
                if !node.is_dir() && !is_linked_anew && is_untouched(&stat, node, size) {
                    self.done.unchanged += 1;
                    self.task.advance(size);
                    self.task.advance_files(1);
                    return Ok(false);
                }
                change(&stat, node, size)
            }
        };
        if let Some(change) = change {
            self.tell(change, &destination, node)?;
        }
        self.count(entry);
        Ok(!self.restore.options.dry_run)
    }

    fn leave_out(&mut self, name: &[u8], why: &str) {
        self.problem(self.names.path(name), why);
    }

    fn advance(&mut self, bytes: u64) {
        self.task.advance(bytes);
    }
}

/// Whether something of a point has a place where it is restored to.
pub(super) fn belongs(restore: &Restore<'_>, path: &Path) -> bool {
    !restore.is_in_place() || !restore.made.iter().any(|made| path.starts_with(made))
}

/// Whether a directory only leads to what is restored: one that is there is left as it is.
pub(super) fn is_passage(restore: &Restore<'_>, path: &Path) -> bool {
    let leads_to = |end: &Path| end != path && end.starts_with(path);
    restore.is_in_place() && (leads_to(restore.wanted()) || restore.saved.roots().iter().any(|root| leads_to(root)))
}

const DIRECTORY: u32 = 0o040_000;

/// The type in a mode of the kernel's.
fn kind(mode: u32) -> u32 {
    mode & 0o170_000
}

fn kind_of(node: &Node) -> u32 {
    match node.node_type {
        NodeType::File => 0o100_000,
        NodeType::Dir => DIRECTORY,
        NodeType::Symlink { .. } => 0o120_000,
        NodeType::Dev { .. } => 0o060_000,
        NodeType::Chardev { .. } => 0o020_000,
        NodeType::Fifo => 0o010_000,
        NodeType::Socket => 0o140_000,
    }
}

/// What happens to something of the same type; `None` for a directory in which only its content changes.
fn change(stat: &Stat, node: &Node, size: u64) -> Option<Change> {
    match node.node_type {
        NodeType::Dir if has_metadata(stat, node) => None,
        NodeType::Dir => Some(Change::Adjusted),
        NodeType::File
            if stat.size == size && has_time(stat.mtime, node.meta.mtime.map(|time| time.as_nanosecond())) =>
        {
            Some(Change::Adjusted)
        }
        _ => Some(Change::Modified),
    }
}

/// Whether it is the very same thing that was backed up, and nobody has touched it since.
fn is_untouched(stat: &Stat, node: &Node, size: u64) -> bool {
    let meta = &node.meta;
    let is_same_inode = stat.inode != 0 && stat.inode == meta.inode;
    let has_ctime = stat.ctime.is_some_and(|ctime| has_time(ctime, meta.ctime.map(|time| time.as_nanosecond())));
    is_same_inode && has_ctime && has_metadata(stat, node) && (!node.is_file() || stat.size == size)
}

fn has_metadata(stat: &Stat, node: &Node) -> bool {
    let meta = &node.meta;
    let has_mode = node.is_symlink() || meta.mode.map(node::mode_from_node) == Some(stat.mode & 0o7777);
    has_mode
        && meta.uid == Some(stat.uid)
        && meta.gid == Some(stat.gid)
        && has_time(stat.mtime, meta.mtime.map(|time| time.as_nanosecond()))
}

/// Whether a moment in seconds and nanoseconds is this one, in nanoseconds.
fn has_time((seconds, nanoseconds): (i64, u32), time: Option<i128>) -> bool {
    time == Some(i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds))
}
