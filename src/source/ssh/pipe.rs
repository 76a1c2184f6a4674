//! A pipe between two threads in which not more than a few pieces wait, and which knows whether what came out of it was all.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bytes::{Buf, Bytes};

/// How many bytes are handed over at once.
const PIECE: usize = 128 << 10;
/// How many pieces may wait.
const PIECES: usize = 8;

/// Two ends.
pub(super) fn pipe() -> (Input, Output) {
    let (sender, pieces) = sync_channel(PIECES);
    (Input { sender, piece: Vec::new() }, Output { pieces, piece: Bytes::new(), is_whole: false })
}

/// Takes bytes. Dropped without [`Input::finish`], it breaks the pipe off: whoever reads gets an error.
#[derive(Debug)]
pub(super) struct Input {
    sender: SyncSender<Bytes>,
    piece: Vec<u8>,
}

impl Input {
    /// It was all.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.send(Bytes::new())
    }

    fn send(&self, piece: Bytes) -> io::Result<()> {
        self.sender.send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Input {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        let taken = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let next = Vec::with_capacity(PIECE);
        let piece = std::mem::replace(&mut self.piece, next);
        self.send(piece.into())
    }
}

/// Gives them. When it is dropped, whoever writes gets [`io::ErrorKind::BrokenPipe`].
#[derive(Debug)]
pub(super) struct Output {
    pieces: Receiver<Bytes>,
    piece: Bytes,
    is_whole: bool,
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() && !self.is_whole {
            match self.pieces.recv() {
                Ok(piece) if piece.is_empty() => self.is_whole = true,
                Ok(piece) => self.piece = piece,
                Err(_) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it broke off")),
            }
        }
        let length = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn everything_comes_out_in_order() {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 3) as u8).collect();
        let (mut input, mut output) = pipe();
        let expected = bytes.clone();
        let writer = thread::spawn(move || {
            for part in bytes.chunks(70_001) {
                input.write_all(part).unwrap();
            }
            input.finish().unwrap();
        });
        let mut got = Vec::new();
        output.read_to_end(&mut got).unwrap();
        writer.join().unwrap();
        assert!(got == expected);
    }

    #[test]
    fn what_breaks_off_is_an_error_at_the_other_end() {
        let (mut input, mut output) = pipe();
        input.write_all(b"half").unwrap();
        input.flush().unwrap();
        drop(input);
        assert_eq!(output.read_to_end(&mut Vec::new()).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);

        let (mut input, output) = pipe();
        drop(output);
        input.write_all(b"half").unwrap();
        assert_eq!(input.finish().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
