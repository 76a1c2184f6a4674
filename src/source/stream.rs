//! An archive that somebody writes who is not trusted (`tar` on another machine, a container engine), taken apart while it comes in: members in their order, and the content of each to be read by
//! somebody else, meanwhile or later.
//!
//! A thread reads the stream ([`thread`]). Content of small files waits in memory, within a budget; that of larger ones is handed on in pieces, and what is
//! behind it comes when it was taken ([`super::content`]). What the machine sends is hostile: names are not to be trusted, and an archive that
//! contradicts itself is an error of the whole. One that ends before its end mark is never taken for whole.
//!
//! The crate `tar` reads the fields of a header ([`header`]). The rest is read here: it finds the records of pax by their newlines, which
//! the values of extended attributes have too, and does not know the sparse files of pax.

use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use anyhow::{Context, Result, bail};
use rustix::fs::FileType;

use super::content::{BUDGET, Budget};
use crate::source::Content;

mod blocks;
mod body;
mod header;
mod pax;
mod sparse;
#[cfg(test)]
mod tests;
mod thread;

use thread::Message;

/// How many members may wait.
const WAITING: usize = 64;

/// One member of the stream.
#[derive(Debug)]
pub(super) struct Member {
    /// As in the archive, without slashes at its end. Not trusted.
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    /// The size of a file in bytes, holes included; 0 for anything else.
    pub(super) size: u64,
    /// The number of a device, as `st_rdev`; 0 for anything else.
    pub(super) rdev: u64,
    /// Mode without the type, owner, and time of the last change, as far as the archive tells.
    pub(super) stat: Stat,
    /// Where a link leads; empty for anything else.
    pub(super) target: Vec<u8>,
    /// By name, ACLs among them in the form of the kernel.
    pub(super) xattrs: Vec<(String, Vec<u8>)>,
    /// Why its extended attributes are not all there.
    pub(super) complaint: Option<String>,
    /// What is in it; files only. It gives an error, and never less, when the stream breaks off inside.
    pub(super) content: Option<Content>,
}

/// What an archive says of a member beside its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stat {
    /// Permission and special bits.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds since 1970, and nanoseconds.
    pub(super) mtime: (i64, u32),
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
    Fifo,
    CharDevice,
    BlockDevice,
    /// A further name of a file that came before.
    HardLink,
    /// Something that only tar knows.
    Other,
}

impl Kind {
    /// The type as it stands in `st_mode`; 0 for what has none.
    pub(super) fn mode(self) -> u32 {
        match self {
            Self::File => FileType::RegularFile.as_raw_mode(),
            Self::Directory => FileType::Directory.as_raw_mode(),
            Self::Symlink => FileType::Symlink.as_raw_mode(),
            Self::Fifo => FileType::Fifo.as_raw_mode(),
            Self::CharDevice => FileType::CharacterDevice.as_raw_mode(),
            Self::BlockDevice => FileType::BlockDevice.as_raw_mode(),
            Self::HardLink | Self::Other => 0,
        }
    }
}

/// The members of a stream. Dropped before the end, it gives the rest up: content that was handed out and is not in memory then ends with an error.
#[derive(Debug)]
pub(super) struct Members {
    messages: Receiver<Message>,
    budget: Arc<Budget>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Whole,
    Broken,
}

impl Members {
    /// Begins to read a stream.
    pub(super) fn read(stream: Box<dyn Read + Send>) -> Result<Self> {
        let (sender, messages) = sync_channel(WAITING);
        let budget = Budget::new(BUDGET);
        let shared = Arc::clone(&budget);
        std::thread::Builder::new()
            .name("tar stream".to_owned())
            .spawn(move || thread::read(stream, &sender, &shared))
            .context("start the thread that reads the archive")?;
        Ok(Self { messages, budget, state: State::Reading })
    }

    /// The next member; `None` when the archive is at its end and whole.
    ///
    /// Contents are to be read, or dropped, in about the order of their members and by somebody else: it waits until there is room for more.
    ///
    /// # Errors
    ///
    /// When the stream breaks off, or is no archive. There is no going on after that.
    pub(super) fn next(&mut self) -> Result<Option<Member>> {
        match self.state {
            State::Reading => {}
            State::Whole => return Ok(None),
            State::Broken => bail!("the archive is broken"),
        }
        match self.messages.recv() {
            Ok(Message::Member(member)) => Ok(Some(*member)),
            Ok(Message::End) => {
                self.state = State::Whole;
                Ok(None)
            }
            Ok(Message::Broken(error)) => {
                self.state = State::Broken;
                Err(error).context("read the archive that is sent")
            }
            Err(_) => {
                self.state = State::Broken;
                bail!("the thread that reads the archive ended too early")
            }
        }
    }
}

/// A path in an order in which what is in a directory comes before what comes behind the directory: no name has a byte before the slash.
pub(super) fn in_tree_order(path: &[u8]) -> Vec<u8> {
    path.iter().map(|&byte| if byte == b'/' { 0 } else { byte }).collect()
}

impl Drop for Members {
    fn drop(&mut self) {
        self.budget.give_up();
    }
}
