//! Puts one entry that is no directory in its place: files, links, fifos and devices.

use std::io;
use std::os::fd::AsFd;

use anyhow::Result;
use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno;

use super::Change;
use super::batch::{Further, Pending};
use super::content::{self, Staged, Wanted};
use super::directory::{Directory, identity};
use super::extraction::{Extraction, Spot};
use super::links::{Made, Role};
use super::metadata::{self, Subject};
use crate::error::chain;
use crate::store::{Node, NodeType};

impl Extraction<'_> {
    /// Restores one entry that is no directory.
    pub(super) fn restore(&mut self, spot: Spot) -> Result<()> {
        if matches!(spot.node.node_type, NodeType::Socket) {
            // Whoever listens on it makes it anew.
            return Ok(());
        }
        if spot.kind_found() == Some(FileType::Directory) {
            self.problem(&spot.path, "a directory stands in its place, and was left");
            return Ok(());
        }
        if spot.found.is_some() && !self.options.overwrite {
            self.problem(&spot.path, "something is there already");
            return Ok(());
        }
        if spot.node.is_file() { self.file(spot) } else { self.other(spot) }
    }

    fn file(&mut self, spot: Spot) -> Result<()> {
        let size = match self.saved.piece_sizes(&spot.node) {
            Ok(sizes) => sizes.into_iter().fold(0, u64::saturating_add),
            Err(error) => {
                self.problem(&spot.path, &chain(&error));
                return Ok(());
            }
        };
        let told = spot.node.meta.size;
        if size != told {
            let error = format!("the point says that it has {told} bytes, its content has {size}");
            if self.saved.has_exact_sizes() {
                self.problem(&spot.path, &error)
            } else {
                self.warning(&spot.path, error)
            }
        }
        let role = self.links.role(&spot.node);
        if !matches!(role, Role::Further(_)) {
            match self.is_unchanged(&spot, size) {
                Ok(true) => return self.keep(spot, size, role),
                Ok(false) => {}
                Err(error) => {
                    self.problem(&spot.path, &format!("compare it with the store: {}", chain(&error)));
                    return Ok(());
                }
            }
        }
        let change = match spot.kind_found() {
            None => Change::Added,
            Some(FileType::RegularFile) => Change::Modified,
            Some(_) => Change::Retyped,
        };
        self.tell(Some(change), &spot)?;
        let names = self.names_to(&spot.name);
        let Some(directory) = spot.directory.clone().filter(|_| !self.options.dry_run) else {
            self.done.files += 1;
            self.done.bytes += if matches!(role, Role::Further(_)) { 0 } else { size };
            return Ok(());
        };
        let found = spot.found.as_ref().map(identity);
        let destination = self.destination(&spot.path);
        let Spot { node, name, path, .. } = spot;
        let mut wanted =
            Wanted { directory, name, path, destination, node, size, replaces: found.is_some(), leads: None };
        match role {
            Role::Further(key) => return self.wait(Pending::Link(Further { wanted, key, names, found })),
            Role::First(key) => wanted.leads = Some((key, names)),
            Role::Alone => {}
        }
        let path = wanted.path.clone();
        match Staged::make(wanted, &mut self.workshop) {
            Ok(file) => self.wait(Pending::File(file)),
            Err(error) => self.trouble(&path, "make the file", error),
        }
    }

    /// Whether the file that is there has the content of the point: same size and time, and with `verify` the same bytes.
    fn is_unchanged(&self, spot: &Spot, size: u64) -> Result<bool> {
        let (Some(stat), Some(directory)) = (&spot.found, &spot.directory) else { return Ok(false) };
        let looks_unchanged = spot.kind_found() == Some(FileType::RegularFile)
            && u64::try_from(stat.st_size) == Ok(size)
            && metadata::has_time(stat, &spot.node)
            // A file with other names may be one outside the target: unless everything is right already, it gets replaced, not changed.
            && (stat.st_nlink == 1 || metadata::matches(stat, &spot.node));
        if !looks_unchanged || !self.options.verify || self.options.dry_run {
            return Ok(looks_unchanged);
        }
        let Ok(file) = directory.open_file(&spot.name, identity(stat), OFlags::RDONLY) else { return Ok(false) };
        let mut offset = 0;
        for piece in self.saved.read(&spot.node)? {
            let piece = piece?;
            if !content::holds(&file, offset, &piece).unwrap_or(false) {
                return Ok(false);
            }
            offset += piece.len() as u64;
        }
        Ok(true)
    }

    /// Leaves the content of a file as it is and gives it its metadata.
    fn keep(&mut self, spot: Spot, size: u64, role: Role) -> Result<()> {
        let (Some(stat), Some(directory)) = (&spot.found, &spot.directory) else { return Ok(()) };
        self.tell((!metadata::matches(stat, &spot.node)).then_some(Change::Adjusted), &spot)?;
        self.done.unchanged += 1;
        self.task.advance(size);
        self.task.advance_files(1);
        if self.options.dry_run {
            return Ok(());
        }
        if let Role::First(key) = role {
            self.links.made(key, Made { names: self.names_to(&spot.name), identity: identity(stat) });
        }
        if stat.st_nlink > 1 {
            return Ok(());
        }
        match directory.open_file(&spot.name, identity(stat), OFlags::RDONLY) {
            Ok(file) => {
                let refused = metadata::apply(Subject::Open(file.as_fd()), &spot.node);
                self.warn(&spot.path, refused);
                Ok(())
            }
            Err(error) => self.trouble(&spot.path, "open the file to set its metadata", error),
        }
    }

    /// A symbolic link, fifo or device.
    fn other(&mut self, spot: Spot) -> Result<()> {
        let kind = match spot.node.node_type {
            NodeType::Dev { .. } => FileType::BlockDevice,
            NodeType::Chardev { .. } => FileType::CharacterDevice,
            NodeType::Fifo => FileType::Fifo,
            _ => FileType::Symlink,
        };
        let is_same = spot.found.as_ref().is_some_and(|stat| is_same(&spot, kind, stat));
        let change = match (&spot.found, spot.kind_found()) {
            (Some(stat), _) if is_same => (!metadata::matches(stat, &spot.node)).then_some(Change::Adjusted),
            (Some(_), Some(found)) if found == kind => Some(Change::Modified),
            (Some(_), _) => Some(Change::Retyped),
            (None, _) => Some(Change::Added),
        };
        self.tell(change, &spot)?;
        let Some(directory) = spot.directory.clone().filter(|_| !self.options.dry_run) else {
            self.done.others += 1;
            return Ok(());
        };
        self.task.advance_files(1);
        let finished = if is_same {
            Ok(metadata::apply(Subject::Entry(&directory, &spot.name), &spot.node))
        } else {
            self.make_other(&spot, &directory, kind)
        };
        match finished {
            Ok(refused) => {
                self.done.others += 1;
                self.warn(&spot.path, refused);
                Ok(())
            }
            Err(error) if is_device(kind) && Errno::from_io_error(&error) == Some(Errno::PERM) => {
                self.warning(&spot.path, "only root can make a device".to_owned());
                Ok(())
            }
            Err(error) => self.trouble(&spot.path, "make it", error),
        }
    }

    fn make_other(&mut self, spot: &Spot, directory: &Directory, kind: FileType) -> io::Result<Vec<String>> {
        let (made, ()) = self.workshop.make(directory, |name| match spot.node.node_type {
            NodeType::Dev { device } | NodeType::Chardev { device } => directory.make_special(name, kind, device),
            NodeType::Fifo => directory.make_special(name, kind, 0),
            _ => directory.make_symlink(name, spot.node.node_type.to_link()),
        })?;
        let refused = metadata::apply(Subject::Entry(directory, made.name()), &spot.node);
        made.put_in_place(&spot.name, spot.found.is_some())?;
        Ok(refused)
    }
}

/// Whether what is there differs in metadata at most.
fn is_same(spot: &Spot, kind: FileType, stat: &Stat) -> bool {
    let same_inside = |node: &Node, directory: &Directory| match node.node_type {
        NodeType::Symlink { .. } => {
            directory.link_target(&spot.name).is_ok_and(|target| target == node.node_type.to_link())
        }
        NodeType::Dev { device } | NodeType::Chardev { device } => device == stat.st_rdev,
        _ => true,
    };
    stat.st_nlink == 1
        && FileType::from_raw_mode(stat.st_mode) == kind
        && spot.directory.as_ref().is_some_and(|directory| same_inside(&spot.node, directory))
}

fn is_device(kind: FileType) -> bool {
    matches!(kind, FileType::BlockDevice | FileType::CharacterDevice)
}
