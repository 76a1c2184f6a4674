//! Files and links: made under a name of ours, and given their own when they are whole.

use std::io::{self, Read, Write};

use anyhow::Result;

use super::host::{self, is_directory, is_file, is_link};
use super::{Restoring, Spot};
use crate::error::chain;
use crate::extract::Change;
use crate::extract::links::Role;
use crate::source::ssh::only_sftp::content::reader;
use crate::source::ssh::only_sftp::failure;
use crate::store::{Node, NodeType};

impl Restoring<'_> {
    /// Restores what is no directory.
    pub(super) fn entry(&mut self, spot: Spot) -> Result<()> {
        if spot.found.as_ref().is_some_and(is_directory) {
            self.problem(&spot.path, "a directory is there".into());
            return Ok(());
        }
        match spot.node.node_type {
            NodeType::File => self.file(spot),
            NodeType::Symlink { .. } => self.link(spot),
            _ => {
                self.problem(&spot.path, "only files, directories and links can be made over SFTP".into());
                Ok(())
            }
        }
    }

    fn file(&mut self, spot: Spot) -> Result<()> {
        let size = match self.saved.piece_sizes(&spot.node) {
            Ok(sizes) => sizes.iter().sum(),
            Err(error) => {
                self.problem(&spot.path, chain(&error));
                return Ok(());
            }
        };
        let is_further = matches!(self.links.role(&spot.node), Role::Further(_));
        let is_unchanged = self.is_unchanged(&spot, size)?;
        let change = match &spot.found {
            Some(found) if is_unchanged => (!host::matches(found, &spot.node)).then_some(Change::Adjusted),
            Some(found) if is_file(found) => Some(Change::Modified),
            Some(_) => Some(Change::Retyped),
            None => Some(Change::Added),
        };
        self.tell(change, &spot)?;
        self.task.advance_files(1);
        if is_unchanged {
            self.done.unchanged += 1;
            self.task.advance(size);
            return if change.is_some() && !self.options.dry_run { self.adjust(&spot) } else { Ok(()) };
        }
        if is_further {
            let error =
                "it was a further name of another file, and has content of its own now: SFTP makes no hard links";
            self.warn(&spot.path, vec![error.into()]);
        }
        if self.options.dry_run {
            self.task.advance(size);
        } else if !self.write(&spot)? {
            return Ok(());
        }
        self.done.files += 1;
        self.done.bytes += size;
        Ok(())
    }

    /// Whether the file that is there has the content of the point: same size and time, and with `verify` the same bytes.
    fn is_unchanged(&mut self, spot: &Spot, size: u64) -> Result<bool> {
        let Some(found) = &spot.found else { return Ok(false) };
        if !is_file(found) || found.size != Some(size) || !host::has_time(found, &spot.node) {
            return Ok(false);
        }
        Ok(!self.options.verify || self.options.dry_run || self.is_same(spot, size)?.unwrap_or(false))
    }

    /// Whether the file that is there has these bytes.
    fn is_same(&self, spot: &Spot, size: u64) -> Result<io::Result<bool>> {
        let mut there = match self.host.sftp.open(&spot.place).map_err(failure::to_io) {
            Ok(file) => reader(file, size),
            Err(error) => return Ok(Err(error)),
        };
        let mut buffer = Vec::new();
        for piece in self.saved.read(&spot.node)? {
            let piece = piece?;
            buffer.resize(piece.len(), 0);
            match there.read_exact(&mut buffer) {
                Ok(()) if buffer == *piece => {}
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Ok(Err(error)),
                _ => return Ok(Ok(false)),
            }
        }
        Ok(there.read(&mut [0]).map(|more| more == 0))
    }

    /// Gives a file that stays its metadata.
    fn adjust(&mut self, spot: &Spot) -> Result<()> {
        let Some(found) = &spot.found else { return Ok(()) };
        let refused = host::apply(&spot.node, found, &mut |stat| self.host.sftp.setstat(&spot.place, stat));
        self.warn(&spot.path, refused);
        Ok(())
    }

    /// Writes a file and puts it in its place. Whether it is there.
    fn write(&mut self, spot: &Spot) -> Result<bool> {
        let temporary = self.host.temporary(&spot.place);
        let (written, refused) = match self.host.make_file(&temporary) {
            Ok(mut file) => match self.fill(&mut file, &spot.node) {
                Ok(refused) => (Ok(()), refused),
                Err(Failed::Store(error)) => {
                    drop(file);
                    self.host.discard(&temporary);
                    self.problem(&spot.path, chain(&error));
                    return Ok(false);
                }
                Err(Failed::Machine(error)) => (Err(error), Vec::new()),
            },
            Err(error) => (Err(error), Vec::new()),
        };
        if let Err(error) = written.and_then(|()| self.host.put_in_place(&temporary, &spot.place, spot.found.is_some()))
        {
            self.host.discard(&temporary);
            self.trouble(&spot.path, "write the file", error)?;
            return Ok(false);
        }
        self.warn(&spot.path, refused);
        if self.options.verify {
            match self.is_same(spot, spot.node.meta.size)? {
                Ok(true) => {}
                Ok(false) => self.problem(&spot.path, "it was read back with other content".into()),
                Err(error) => self.trouble(&spot.path, "read it back", error)?,
            }
        }
        Ok(true)
    }

    /// Writes the content of a file, and gives it its metadata; returns what of that was refused.
    fn fill(&self, file: &mut ssh2::File, node: &Node) -> Result<Vec<String>, Failed> {
        for piece in self.saved.read(node).map_err(Failed::Store)? {
            let piece = piece.map_err(Failed::Store)?;
            file.write_all(&piece).map_err(Failed::Machine)?;
            self.task.advance(piece.len() as u64);
        }
        let found = file.stat().map_err(failure::to_io).map_err(Failed::Machine)?;
        let refused = host::apply(node, &found, &mut |stat| file.setstat(stat));
        // A server may tell only now that something was not written.
        file.close().map_err(failure::to_io).map_err(Failed::Machine)?;
        Ok(refused)
    }

    fn link(&mut self, spot: Spot) -> Result<()> {
        let target = spot.node.node_type.to_link();
        let is_same = spot.found.as_ref().is_some_and(is_link)
            && self.host.sftp.readlink(&spot.place).is_ok_and(|found| found == target);
        let change = match &spot.found {
            _ if is_same => None,
            Some(found) if is_link(found) => Some(Change::Modified),
            Some(_) => Some(Change::Retyped),
            None => Some(Change::Added),
        };
        self.tell(change, &spot)?;
        if !self.options.dry_run && !is_same {
            let temporary = self.host.temporary(&spot.place);
            let made = self.host.sftp.symlink(target, &temporary).map_err(failure::to_io);
            let replaces = spot.found.is_some();
            if let Err(error) = made.and_then(|()| self.host.put_in_place(&temporary, &spot.place, replaces)) {
                self.host.discard(&temporary);
                return self.trouble(&spot.path, "make the link", error);
            }
            match self.host.look(&spot.place) {
                Ok(Some(found)) if host::has_owner(&found, &spot.node) => {}
                _ => self.warn(&spot.path, vec!["the owner of a link cannot be set over SFTP".into()]),
            }
        }
        self.task.advance_files(1);
        self.done.others += 1;
        Ok(())
    }
}

/// Where it went wrong.
enum Failed {
    /// The content cannot be read.
    Store(anyhow::Error),
    /// It cannot be written.
    Machine(io::Error),
}
