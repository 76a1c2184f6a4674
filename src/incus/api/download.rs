//! Streams that a server sends: export archives. Bounded in memory, and ended when the server falls silent.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Call, read, refused, unexpected};

/// Bytes of a piece.
const PIECE: usize = 1 << 20;

/// How many pieces may wait to be read.
const AHEAD: usize = 4;

impl Call<'_> {
    /// What the server sends, as it comes; its size in bytes when the server tells it.
    ///
    /// # Errors
    ///
    /// When there is no answer, or it is refused. A read fails when the server breaks off, or is silent for longer than its patience.
    pub fn download(self) -> Result<(impl Read + Send + use<>, Option<u64>)> {
        let server = self.server;
        let doing = self.doing();
        // The bound is not for the whole of it.
        let request = self.request()?.timeout(Duration::from_secs(365 * 24 * 3600));
        let mut response = request.send().map_err(|error| server.unsent(error)).with_context(|| doing.clone())?;
        let status = response.status();
        if !status.is_success() {
            let refusal = match read(response) {
                Ok(answer) if !answer.error.is_empty() => refused(status.as_u16(), &answer.error),
                _ => unexpected(status),
            };
            return Err(refusal).context(doing);
        }
        let size = response.content_length();
        let (pieces, received) = sync_channel::<io::Result<Vec<u8>>>(AHEAD);
        thread::Builder::new().name("download".to_owned()).spawn(move || {
            loop {
                let mut piece = vec![0; PIECE];
                let read = match response.read(&mut piece) {
                    Ok(0) => return,
                    Ok(read) => read,
                    Err(error) => {
                        let _ = pieces.send(Err(error));
                        return;
                    }
                };
                piece.truncate(read);
                // Whoever reads may have given up.
                if pieces.send(Ok(piece)).is_err() {
                    return;
                }
            }
        })?;
        Ok((Stream { received, piece: Vec::new(), at: 0, patience: server.idle_timeout(), left: size }, size))
    }
}

/// The pieces, in their order.
struct Stream {
    received: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    at: usize,
    patience: Duration,
    /// What is still to come, when that is known.
    left: Option<u64>,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            match self.received.recv_timeout(self.patience) {
                Ok(piece) => (self.piece, self.at) = (piece?, 0),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "the server sends nothing any more"));
                }
                Err(RecvTimeoutError::Disconnected) if self.left.is_some_and(|left| left > 0) => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server broke off"));
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len() - self.at);
        buffer[..count].copy_from_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        self.left = self.left.map(|left| left.saturating_sub(count as u64));
        Ok(count)
    }
}
