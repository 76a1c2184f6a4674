//! A script on a machine whose output is read here as a stream: a thread moves it, a few pieces ahead of the reader.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow, bail};

use super::connection::{Connection, Ended};
use super::shell::Shell;

/// How many pieces of 32 KiB may wait to be read.
const AHEAD: usize = 64;

/// What ends a script whose output nobody reads.
pub(super) const NOT_WANTED: &str = "it is not wanted any more";

/// A script that is running.
pub(super) struct Transfer {
    thread: JoinHandle<(Result<Ended>, Connection)>,
}

/// What it writes. Its end is only the end of what came: [`Transfer::finish`] tells whether that is all.
pub(super) struct Output {
    pieces: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    read: usize,
}

impl Transfer {
    /// Starts a script; it ends when nobody reads its output any more.
    pub(super) fn start(
        mut connection: Connection,
        script: Vec<u8>,
        mut input: Box<dyn Read + Send>,
    ) -> Result<(Self, Output)> {
        let (sender, pieces): (SyncSender<Vec<u8>>, _) = sync_channel(AHEAD);
        let thread = thread::Builder::new()
            .name("ssh".to_owned())
            .spawn(move || {
                let ended = connection.run(&script, &mut *input, &mut |bytes| {
                    if sender.send(bytes.to_vec()).is_err() {
                        bail!(NOT_WANTED);
                    }
                    Ok(())
                });
                (ended, connection)
            })
            .context("start a thread")?;
        Ok((Self { thread }, Output { pieces, piece: Vec::new(), read: 0 }))
    }

    /// How it ended, and the connection, which can be used again if that is no error.
    pub(super) fn finish(self) -> (Result<Ended>, Option<Connection>) {
        match self.thread.join() {
            Ok((ended, connection)) => (ended, Some(connection)),
            Err(_) => (Err(anyhow!("a thread broke off: this is a fault in the program")), None),
        }
    }
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.piece.len() {
            let Ok(piece) = self.pieces.recv() else { return Ok(0) };
            (self.piece, self.read) = (piece, 0);
        }
        let count = buffer.len().min(self.piece.len() - self.read);
        buffer[..count].copy_from_slice(&self.piece[self.read..self.read + count]);
        self.read += count;
        Ok(count)
    }
}
