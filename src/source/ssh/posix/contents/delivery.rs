//! Hands the contents out of the stream to who reads them: small ones whole, large ones through a channel.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use anyhow::{Error, Result, anyhow, bail};
use bytes::Bytes;

use super::{Told, Wanted};
use crate::source::Content;
use crate::source::content::{Budget, Piece, SMALL, in_memory, in_pieces};
use crate::source::ssh::posix::complaints;
use crate::source::ssh::posix::frames::Frame;

/// The largest piece, in bytes.
const PIECE: usize = 256 << 10;

/// What a small content costs besides its bytes.
const OVERHEAD: u64 = 256;

/// The file that the stream is in.
enum Current {
    None,
    /// It is small so far.
    Collected(Vec<u8>),
    /// It is read while it comes.
    Sent(SyncSender<Piece>),
    /// Nobody wants it: its reader is gone, or it is not what was listed.
    Dropped,
}

/// Takes the stream apart further: into contents.
pub(super) struct Delivery {
    wanted: Arc<[Wanted]>,
    sender: SyncSender<Told>,
    budget: Arc<Budget>,
    /// The number of the file that the stream is in or that comes next.
    number: usize,
    current: Current,
    is_over: bool,
}

impl Delivery {
    pub(super) fn new(wanted: Arc<[Wanted]>, sender: SyncSender<Told>, budget: Arc<Budget>) -> Self {
        Self { wanted, sender, budget, number: 0, current: Current::None, is_over: false }
    }

    /// Whether every file was told of, and the end.
    pub(super) fn is_whole(&self) -> bool {
        self.is_over
    }

    /// Takes the next part of the stream.
    ///
    /// # Errors
    ///
    /// When it tells of more or fewer files than were wanted; when nobody asks for further files.
    pub(super) fn take(&mut self, frame: Frame<'_>) -> Result<()> {
        let wanted = match (self.wanted.get(self.number), &frame) {
            (None, Frame::End) => {
                self.is_over = true;
                return Ok(());
            }
            (None, _) => bail!("there are more files in the stream than were asked for"),
            (Some(wanted), Frame::End) => {
                bail!("the stream ends before {}", String::from_utf8_lossy(&wanted.path))
            }
            (Some(wanted), _) => wanted,
        };
        match frame {
            Frame::Opened(told) if is_another(wanted, told) => {
                self.tell(Err(io::Error::other("was replaced while it was being backed up")))?;
                self.current = Current::Dropped;
            }
            Frame::Opened(_) if wanted.size > SMALL => self.current = Current::Sent(self.open()?),
            Frame::Opened(_) => self.current = Current::Collected(Vec::with_capacity(wanted.size as usize)),
            Frame::Bytes(bytes) => self.add(bytes)?,
            Frame::Closed { status, complaint } => {
                self.close(if status == 0 { Ok(()) } else { Err(error(status, complaint)) })?;
                self.number += 1;
            }
            Frame::Refused(complaint) => {
                self.tell(Err(error(1, complaint)))?;
                self.number += 1;
            }
            Frame::End => {}
        }
        Ok(())
    }

    fn tell(&self, content: io::Result<Content>) -> Result<()> {
        self.sender.send((self.number, content)).map_err(|_| unwanted())
    }

    /// Tells of a content that is read while it comes.
    fn open(&self) -> Result<SyncSender<Piece>> {
        let (sender, content) = in_pieces();
        self.tell(Ok(content))?;
        Ok(sender)
    }

    fn add(&mut self, bytes: &[u8]) -> Result<()> {
        if let Current::Collected(collected) = &mut self.current {
            if (collected.len() + bytes.len()) as u64 <= SMALL {
                collected.extend_from_slice(bytes);
                return Ok(());
            }
            // It grew since it was listed.
            let collected = std::mem::take(collected);
            self.current = Current::Sent(self.open()?);
            self.send(&collected);
        }
        self.send(bytes);
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE) {
            let Current::Sent(sender) = &self.current else { return };
            if sender.send(Piece::Bytes(Bytes::copy_from_slice(piece))).is_err() {
                self.current = Current::Dropped;
            }
        }
    }

    fn close(&mut self, ended: io::Result<()>) -> Result<()> {
        match std::mem::replace(&mut self.current, Current::None) {
            Current::Collected(bytes) => match ended {
                Ok(()) => {
                    let share = self.budget.take(bytes.len() as u64 + OVERHEAD).ok_or_else(unwanted)?;
                    self.tell(Ok(in_memory(bytes, share)))
                }
                Err(error) => self.tell(Err(error)),
            },
            Current::Sent(sender) => {
                // Who is gone need not know.
                let _ = sender.send(ended.map_or_else(Piece::Broken, |()| Piece::End));
                Ok(())
            }
            Current::Dropped | Current::None => Ok(()),
        }
    }
}

fn unwanted() -> Error {
    anyhow!("nobody wants the other files any more")
}

/// Whether what was opened is told to be something else than what was listed.
fn is_another(wanted: &Wanted, told: &[u8]) -> bool {
    let told = std::str::from_utf8(told).ok().and_then(|told| told.split_once(' '));
    let told = told.and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
    told.zip(wanted.identity).is_some_and(|(told, listed): ((u64, u64), _)| told != listed)
}

/// Why a file could not be read.
fn error(status: i32, complaint: &[u8]) -> io::Error {
    let complaint = String::from_utf8_lossy(complaint);
    match complaint.trim_end() {
        "" => io::Error::other(format!("`cat` ended with status {status}")),
        complaint => io::Error::new(complaints::kind(complaint), complaint.to_owned()),
    }
}
