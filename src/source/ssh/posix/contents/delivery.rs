//! Hands the contents out of the stream to who reads them: small ones whole, large ones through a channel.

use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Result, anyhow, bail};

use super::{Told, Wanted};
use crate::source::Content;
use crate::source::ssh::posix::budget::{Budget, Share};
use crate::source::ssh::posix::complaints;
use crate::source::ssh::posix::frames::Frame;

/// Up to which size, in bytes, a file is given whole.
pub(super) const SMALL: usize = 512 << 10;

/// A channel has room for so many pieces.
const PIECES: usize = 8;

/// The largest piece, in bytes.
const PIECE: usize = 256 << 10;

/// What a small content costs besides its bytes.
const OVERHEAD: usize = 256;

/// Something of a large content; an error is its last piece, as is nothing.
type Piece = io::Result<Vec<u8>>;

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
            Frame::Opened(_) if wanted.size > SMALL as u64 => self.current = Current::Sent(self.open()?),
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
        self.sender.send((self.number, content)).map_err(|_| anyhow!("nobody wants the other files any more"))
    }

    /// Tells of a content that is read while it comes.
    fn open(&self) -> Result<SyncSender<Piece>> {
        let (sender, pieces) = sync_channel(PIECES);
        self.tell(Ok(Content::new(move || {
            // That it could not be opened may be known only now.
            let mut pieces = Pieces { pieces, piece: Cursor::default(), is_over: false };
            pieces.fetch()?;
            Ok(Box::new(pieces))
        })))?;
        Ok(sender)
    }

    fn add(&mut self, bytes: &[u8]) -> Result<()> {
        if let Current::Collected(collected) = &mut self.current {
            if collected.len() + bytes.len() <= SMALL {
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
            if sender.send(Ok(piece.to_vec())).is_err() {
                self.current = Current::Dropped;
            }
        }
    }

    fn close(&mut self, ended: io::Result<()>) -> Result<()> {
        match std::mem::replace(&mut self.current, Current::None) {
            Current::Collected(bytes) => match ended {
                Ok(()) => {
                    let share = self.budget.take(bytes.len() + OVERHEAD);
                    self.tell(Ok(Content::new(move || {
                        Ok(Box::new(Small { bytes: Cursor::new(bytes), _share: share }))
                    })))
                }
                Err(error) => self.tell(Err(error)),
            },
            Current::Sent(sender) => {
                // Who is gone need not know.
                let _ = sender.send(ended.map(|()| Vec::new()));
                Ok(())
            }
            Current::Dropped | Current::None => Ok(()),
        }
    }
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

/// The content of a small file.
struct Small {
    bytes: Cursor<Vec<u8>>,
    _share: Share,
}

impl Read for Small {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(buffer)
    }
}

/// The content of a large file.
struct Pieces {
    pieces: Receiver<Piece>,
    piece: Cursor<Vec<u8>>,
    is_over: bool,
}

impl Pieces {
    /// Waits for the next piece.
    fn fetch(&mut self) -> io::Result<()> {
        let broken = || io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended in the middle of it");
        let piece = self.pieces.recv().map_err(|_| broken())??;
        self.is_over = piece.is_empty();
        self.piece = Cursor::new(piece);
        Ok(())
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.piece.read(buffer)?;
            if read > 0 || self.is_over || buffer.is_empty() {
                return Ok(read);
            }
            self.fetch()?;
        }
    }
}
