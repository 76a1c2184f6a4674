//! Puts a saved tree back on a machine that gives SFTP only.
//!
//! The tree is hostile input: every name is checked, and every directory on the way is looked at before it is entered, so that no link leads out of
//! the target. There are no open directories to go from as on this machine ([`crate::extract`]): whoever may write to the target there can put a link
//! in the place of a directory in between, which is why a target should belong to who logs in.
//!
//! What the protocol or its library lack is told: a further name of a file gets content of its own, with a warning; devices and pipes are not made;
//! links keep the owner and the time that they get; times are whole seconds; extended attributes are not set.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use ssh2::{FileStat, Sftp};

use super::failure;
use crate::error::{Annotate, chain};
use crate::extract::links::Links;
use crate::extract::{Action, Change, Extracted, RestoreOptions, find, name};
use crate::monitor::{Monitor, Task, Unit};
use crate::source::{Problem, Severity};
use crate::store::{Node, SavedTree};

mod entry;
mod host;

use host::{Host, is_directory, is_link};

/// How deep a tree may be, as on this machine.
const DEPTH: usize = 4096;

/// Writes a saved tree, or the part of it that `options` name, below `target` of the machine: `/etc/hosts` becomes `TARGET/etc/hosts`. With the target
/// `/`, links on the way down to what was backed up are followed, as they were when it was read.
///
/// # Errors
///
/// When the wanted path is not in the point, the target holds something and may not be overwritten, the connection fails, or the machine is full.
pub(in super::super) fn restore(
    sftp: &Arc<Sftp>,
    saved: &SavedTree,
    target: &Path,
    options: &RestoreOptions,
    monitor: &dyn Monitor,
) -> Result<Extracted> {
    let wanted = options.path.as_deref().unwrap_or(Path::new("/"));
    find(saved, wanted)?;
    let host = Host::new(Arc::clone(sftp));
    let is_there = open_target(&host, target, options)?;
    let task = monitor.start(&saved.point().item, "restore", Unit::Bytes);
    let mut restoring = Restoring {
        host,
        saved,
        options,
        task: Arc::clone(&task),
        is_in_place: target == Path::new("/"),
        way: name::components(wanted)?,
        links: Links::default(),
        levels: Vec::new(),
        done: Extracted::default(),
    };
    let done = restoring.run(target, is_there).map(|()| restoring.done);
    task.finish();
    done
}

/// Sees to it that the target is there; `false` in a dry run when it is not.
fn open_target(host: &Host, target: &Path, options: &RestoreOptions) -> Result<bool> {
    let name = target.display();
    let Some(found) = host.look_through(target).with_context(|| format!("look at the directory {name}"))? else {
        if !options.dry_run {
            host.make_directory(target).with_context(|| format!("make the directory {name}"))?;
        }
        return Ok(!options.dry_run);
    };
    if !is_directory(&found) {
        bail!("{name} is not a directory");
    }
    if !options.overwrite && !host.is_empty(target).with_context(|| format!("list the directory {name}"))? {
        return Err(anyhow!("the directory {name} is not empty"))
            .hint("Name a new directory, or add --overwrite: what is there and not in the point is kept.");
    }
    Ok(true)
}

/// A restore under way.
struct Restoring<'a> {
    host: Host,
    saved: &'a SavedTree,
    options: &'a RestoreOptions,
    task: Arc<dyn Task>,
    /// Whether things go back to where they came from.
    is_in_place: bool,
    /// The names down to what is wanted.
    way: Vec<OsString>,
    links: Links,
    levels: Vec<Level>,
    done: Extracted,
}

/// A directory on the way.
struct Level {
    children: std::vec::IntoIter<Node>,
    /// The names that were met in it.
    seen: HashSet<OsString>,
    /// Where it is in the point.
    path: PathBuf,
    /// Where it is on the machine.
    place: PathBuf,
    /// Whether it is there: in a dry run it may not be.
    is_there: bool,
    /// The node whose metadata it gets in the end, if any.
    finish: Option<Node>,
}

/// An entry that was looked at.
struct Spot {
    node: Node,
    /// Where it is in the point.
    path: PathBuf,
    /// Where it belongs on the machine.
    place: PathBuf,
    /// What stands there.
    found: Option<FileStat>,
}

impl Restoring<'_> {
    fn run(&mut self, target: &Path, is_there: bool) -> Result<()> {
        let root = find(self.saved, Path::new("/"))?;
        let children = self.on_the_way(self.saved.children(&root)?);
        let (path, place) = (PathBuf::from("/"), target.to_path_buf());
        self.levels.push(Level { children, seen: HashSet::new(), path, place, is_there, finish: None });
        while let Some(level) = self.levels.last_mut() {
            match level.children.next() {
                Some(node) => self.visit(node)?,
                None => self.go_up()?,
            }
        }
        Ok(())
    }

    fn visit(&mut self, node: Node) -> Result<()> {
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        let name = node.name().into_owned();
        let path = below(&level.path, &name);
        if let Err(why) = name::check(&name) {
            self.problem(&path, why.to_owned());
            return Ok(());
        }
        let place = below(&level.place, &name);
        if !level.seen.insert(name) {
            self.problem(&path, "its name stands more than once in its directory; only the first was restored".into());
            return Ok(());
        }
        let found = if level.is_there { self.host.look(&place) } else { Ok(None) };
        match found {
            Ok(found) => {
                let spot = Spot { node, path, place, found };
                if spot.found.is_some() && !self.options.overwrite {
                    self.problem(&spot.path, "something is there already".into());
                    return Ok(());
                }
                if spot.node.is_dir() { self.enter(spot) } else { self.entry(spot) }
            }
            Err(error) => self.trouble(&path, "look at its place", error),
        }
    }

    /// Makes a directory, unless it is there, and goes down into it.
    fn enter(&mut self, spot: Spot) -> Result<()> {
        if self.levels.len() >= DEPTH {
            self.problem(&spot.path, format!("it is more than {DEPTH} directories deep"));
            return Ok(());
        }
        let is_passage = self.is_passage(&spot.path);
        let is_there = spot.found.as_ref().is_some_and(is_directory);
        let through_link = is_passage
            && self.is_in_place
            && spot.found.as_ref().is_some_and(is_link)
            && matches!(self.host.look_through(&spot.place), Ok(Some(found)) if is_directory(&found));
        let is_kept = is_passage && (is_there || through_link);
        if !is_kept {
            let change = match &spot.found {
                Some(found) if is_there => (!host::matches(found, &spot.node)).then_some(Change::Adjusted),
                Some(_) => Some(Change::Retyped),
                None => Some(Change::Added),
            };
            self.tell(change, &spot)?;
        }
        if !self.options.dry_run && !through_link {
            let made = match &spot.found {
                Some(found) if is_there => self.host.open_up(&spot.place, found),
                Some(_) => self.host.remove(&spot.place).and_then(|()| self.host.make_directory(&spot.place)),
                None => self.host.make_directory(&spot.place),
            };
            if let Err(error) = made {
                return self.trouble(&spot.path, "make the directory", error);
            }
        }
        self.done.directories += u64::from(!is_kept);
        let children = self.saved.children(&spot.node).unwrap_or_else(|error| {
            self.problem(&spot.path, chain(&error));
            Vec::new()
        });
        self.levels.push(Level {
            children: self.on_the_way(children),
            seen: HashSet::new(),
            path: spot.path,
            place: spot.place,
            is_there: is_there || through_link || !self.options.dry_run,
            finish: (!is_kept && !self.options.dry_run).then_some(spot.node),
        });
        Ok(())
    }

    fn go_up(&mut self) -> Result<()> {
        let Some(Level { path, place, finish: Some(node), .. }) = self.levels.pop() else { return Ok(()) };
        match self.host.finish_directory(&place, &node) {
            Ok(refused) => {
                self.warn(&path, refused);
                Ok(())
            }
            Err(error) => self.trouble(&path, "set its metadata", error),
        }
    }

    /// Whether a directory only lies on the way to what is restored: one that is there is then left as it is.
    fn is_passage(&self, path: &Path) -> bool {
        self.levels.len() < self.way.len()
            || self.is_in_place && self.saved.roots().iter().any(|root| root != path && root.starts_with(path))
    }

    /// Of the entries of a directory, those that are wanted.
    fn on_the_way(&self, mut children: Vec<Node>) -> std::vec::IntoIter<Node> {
        if let Some(name) = self.way.get(self.levels.len()) {
            children.retain(|child| *child.name() == **name);
        }
        children.into_iter()
    }

    /// Tells whoever watches.
    fn tell(&self, change: Option<Change>, spot: &Spot) -> Result<()> {
        match (change, &self.options.watch) {
            (Some(change), Some(watch)) => watch.tell(&Action { change, path: &spot.place, node: &spot.node }),
            _ => Ok(()),
        }
    }

    fn problem(&mut self, path: &Path, error: String) {
        self.done.add(Problem { path: path.to_path_buf(), error, severity: Severity::Unread });
    }

    fn warn(&mut self, path: &Path, refused: Vec<String>) {
        for error in refused {
            self.done.add(Problem { path: path.to_path_buf(), error, severity: Severity::Warning });
        }
    }

    /// A request failed: a problem of this entry, unless nothing more can be done at all.
    fn trouble(&mut self, path: &Path, doing: &str, error: io::Error) -> Result<()> {
        if failure::is_lost(&error) || error.kind() == io::ErrorKind::StorageFull {
            return Err(error).with_context(|| format!("restore {}: {doing}", path.display()));
        }
        self.problem(path, format!("{doing}: {error}"));
        Ok(())
    }
}

/// The path of an entry, put together as bytes: with `Path::join`, a name that begins with `/` would replace everything.
fn below(directory: &Path, name: &OsStr) -> PathBuf {
    let mut path = directory.as_os_str().as_encoded_bytes().to_vec();
    if path != b"/" {
        path.push(b'/');
    }
    path.extend_from_slice(name.as_encoded_bytes());
    PathBuf::from(OsString::from_vec(path))
}

#[cfg(test)]
mod tests;
