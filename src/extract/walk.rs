//! The way through a saved tree and, beside it, through the target.
//!
//! The tree may be as deep as whoever made it liked, so the way is a list, not a recursion, and only its last directories are kept open.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::Result;
use rustix::fs::{FileType, Mode, fchmod};

use super::batch::Pending;
use super::directory::Directory;
use super::extraction::{Extraction, Spot};
use super::{Change, Extracted, Layout, metadata, name};
use crate::error::chain;
use crate::store::Node;

/// How deep a tree may be: a path of single letters with the most bytes that a call takes (`PATH_MAX`) is half as deep.
const DEPTH: usize = 4096;

/// How many directories on the way are kept open.
const OPEN: usize = 64;

/// A directory on the way.
pub(super) struct Level {
    children: std::vec::IntoIter<Node>,
    /// The names that were met in it.
    seen: HashSet<OsString>,
    place: Place,
    name: OsString,
    /// Whether it was reached through a link, as the configured path is.
    through_link: bool,
    /// The length of the trail above it.
    above: usize,
    /// The node whose metadata it gets in the end, if any.
    finish: Option<Node>,
}

/// Where a directory on the way is on this machine.
pub(super) enum Place {
    Open(Directory),
    /// It is there, and was closed because there are too many.
    Closed,
    /// Dry run: it is not there.
    Missing,
}

impl Extraction<'_> {
    /// Restores `node`, which is at `wanted` in the point.
    pub(super) fn run(mut self, wanted: &Path, node: Node) -> Result<Extracted> {
        let names = name::components(wanted)?;
        let mut finish = None;
        let children = match self.layout {
            Layout::WholePath => {
                let base = self.base.clone();
                base.iter().for_each(|name| self.trail.push(name));
                self.cut = self.trail.len();
                self.way = names.into_iter().skip(base.len()).collect();
                let root = super::find(self.saved, &self.trail.path())?;
                let children = self.on_the_way(self.saved.children(&root)?);
                if self.adjusts_target && self.way.is_empty() {
                    self.tell_of_target(&root)?;
                    finish = Some(root);
                }
                children
            }
            Layout::Contents if !node.is_dir() => {
                names.iter().take(names.len().saturating_sub(1)).for_each(|name| self.trail.push(name));
                vec![node]
            }
            Layout::Contents => {
                names.iter().for_each(|name| self.trail.push(name));
                self.saved.children(&node)?
            }
        };
        self.cut = self.trail.len();
        let place = self.top.clone().map_or(Place::Missing, Place::Open);
        self.go_down(Level {
            children: children.into_iter(),
            seen: HashSet::new(),
            place,
            name: OsString::new(),
            through_link: false,
            above: self.trail.len(),
            finish,
        });
        while let Some(level) = self.levels.last_mut() {
            match level.children.next() {
                Some(node) => self.visit(node)?,
                None => self.go_up()?,
            }
        }
        self.finish_batch()?;
        Ok(self.done)
    }

    /// Tells that the target itself gets other metadata, if it does.
    fn tell_of_target(&self, node: &Node) -> Result<()> {
        let found = self.top.as_ref().and_then(|directory| directory.look(OsStr::new(".")).ok().flatten());
        let change = match &found {
            Some(stat) => (!metadata::matches(stat, node)).then_some(Change::Adjusted),
            None => Some(Change::Added),
        };
        let (node, path, directory) = (node.clone(), self.trail.path(), self.top.clone());
        self.tell(change, &Spot { node, name: OsString::new(), path, directory, found })
    }

    fn visit(&mut self, node: Node) -> Result<()> {
        let name = node.name().into_owned();
        let path = self.trail.path_of(&name);
        if let Err(why) = name::check(&name) {
            self.problem(&path, why);
            return Ok(());
        }
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        if !level.seen.insert(name.clone()) {
            // Else a link and, after it, a directory of the same name would lead out of the target.
            self.problem(&path, "its name stands more than once in its directory; only the first was restored");
            return Ok(());
        }
        let looked = self.here().and_then(|directory| match directory {
            Some(directory) => directory.look(&name).map(|found| (Some(directory), found)),
            None => Ok((None, None)),
        });
        match looked {
            Ok((directory, found)) => {
                let spot = Spot { node, name, path, directory, found };
                if spot.node.is_dir() { self.enter(spot) } else { self.restore(spot) }
            }
            Err(error) => self.trouble(&path, "look at its place", error),
        }
    }

    /// Makes or opens a directory and goes down into it.
    fn enter(&mut self, spot: Spot) -> Result<()> {
        if self.levels.len() >= DEPTH {
            self.problem(&spot.path, &format!("it is more than {DEPTH} directories deep"));
            return Ok(());
        }
        let is_passage = self.is_passage(&spot.path);
        let kind = spot.kind_found();
        let is_there = kind == Some(FileType::Directory);
        let through_link = kind == Some(FileType::Symlink) && is_passage && self.is_in_place();
        if kind.is_some() && !self.options.overwrite {
            self.problem(&spot.path, "something is there already");
            return Ok(());
        }
        let is_kept = is_passage && (is_there || through_link);
        if !is_kept {
            let change = match (&spot.found, is_there) {
                (Some(stat), true) => (!metadata::matches(stat, &spot.node)).then_some(Change::Adjusted),
                (Some(_), false) => Some(Change::Retyped),
                (None, _) => Some(Change::Added),
            };
            self.tell(change, &spot)?;
        }
        let place = match self.open_or_make(&spot, is_there, through_link) {
            Ok(place) => place,
            Err(error) => return self.trouble(&spot.path, "make the directory", error),
        };
        self.done.directories += u64::from(!is_kept);
        let children = match self.saved.children(&spot.node) {
            Ok(children) => self.on_the_way(children),
            Err(error) => {
                self.problem(&spot.path, &chain(&error));
                Vec::new()
            }
        };
        let above = self.trail.len();
        self.trail.push(&spot.name);
        self.go_down(Level {
            children: children.into_iter(),
            seen: HashSet::new(),
            place,
            name: spot.name,
            through_link,
            above,
            finish: (!is_kept).then_some(spot.node),
        });
        Ok(())
    }

    fn open_or_make(&self, spot: &Spot, is_there: bool, through_link: bool) -> io::Result<Place> {
        let (Some(parent), name) = (&spot.directory, &*spot.name) else { return Ok(Place::Missing) };
        if through_link {
            return Ok(Place::Open(parent.open_through_link(name)?));
        }
        if is_there {
            let directory = parent.open(name)?;
            let mode = spot.found.as_ref().map_or(0, |stat| stat.st_mode) & 0o7777;
            if mode & 0o300 != 0o300 && !self.options.dry_run {
                // Its own mode, which comes last, may forbid writing to it; if this is refused, so is what follows, and told there.
                let _ = fchmod(directory.as_fd(), Mode::from_raw_mode(mode | 0o700));
            }
            return Ok(Place::Open(directory));
        }
        if self.options.dry_run {
            return Ok(Place::Missing);
        }
        if spot.found.is_some() {
            parent.remove(name)?;
        }
        Ok(Place::Open(parent.make(name)?))
    }

    /// Whether a directory only lies on the way to what is restored: one that is there is then left as it is.
    fn is_passage(&self, path: &Path) -> bool {
        if self.layout != Layout::WholePath {
            return false;
        }
        let depth = self.levels.len();
        depth < self.way.len()
            || (self.is_in_place() && self.saved.roots().iter().any(|root| root != path && root.starts_with(path)))
    }

    /// Whether things go back to where they came from.
    fn is_in_place(&self) -> bool {
        self.layout == Layout::WholePath && self.target == Path::new("/")
    }

    /// Of the entries of a directory, those that are wanted.
    fn on_the_way(&self, children: Vec<Node>) -> Vec<Node> {
        match self.way.get(self.levels.len()) {
            Some(name) => children.into_iter().find(|child| *child.name() == **name).into_iter().collect(),
            None => children,
        }
    }

    fn go_down(&mut self, level: Level) {
        if let Some(index) = self.levels.len().checked_sub(OPEN)
            && let Some(far) = self.levels.get_mut(index)
            && let Place::Open(_) = far.place
        {
            far.place = Place::Closed;
        }
        self.levels.push(level);
    }

    fn go_up(&mut self) -> Result<()> {
        let here = self.here();
        let Some(level) = self.levels.pop() else { return Ok(()) };
        let path = self.trail.path();
        self.trail.cut(level.above);
        let Some(node) = level.finish.filter(|_| !self.options.dry_run) else { return Ok(()) };
        match here {
            Ok(Some(directory)) => self.wait(Pending::Directory { directory, node, path }),
            Ok(None) => Ok(()),
            Err(error) => self.trouble(&path, "open the directory again", error),
        }
    }

    /// The directory the way has come to; `None`: dry run, not there.
    fn here(&mut self) -> io::Result<Option<Directory>> {
        match self.levels.last().map(|level| &level.place) {
            Some(Place::Open(directory)) => return Ok(Some(directory.clone())),
            Some(Place::Missing) | None => return Ok(None),
            Some(Place::Closed) => {}
        }
        let Some(mut directory) = self.top.clone() else { return Ok(None) };
        let last = self.levels.len() - 1;
        for (index, level) in self.levels.iter().enumerate().skip(1) {
            directory = match (level.through_link, index == last) {
                (true, _) => directory.open_through_link(&level.name)?,
                (false, true) => directory.open(&level.name)?,
                (false, false) => directory.open_passage(&level.name)?,
            };
        }
        if let Some(level) = self.levels.last_mut() {
            level.place = Place::Open(directory.clone());
        }
        Ok(Some(directory))
    }

    /// The names from the target down to an entry of the directory the way has come to.
    pub(super) fn names_to(&self, name: &OsStr) -> Vec<OsString> {
        let way = self.levels.iter().skip(1).map(|level| level.name.clone());
        way.chain([name.to_os_string()]).collect()
    }

    /// Opens the directory at the end of these names below the target.
    pub(super) fn passage(&self, names: &[OsString]) -> io::Result<Directory> {
        let top = self.top.clone().ok_or(io::ErrorKind::NotFound)?;
        names.iter().try_fold(top, |directory, name| directory.open_passage(name))
    }
}
