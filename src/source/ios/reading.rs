//! A file of the folder that is read: from our disk, or piece by piece from the store.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use bytes::{Buf, Bytes};

use crate::error::chain;

/// The content of a file.
pub(super) struct Reading<'r>(Source<'r>);

enum Source<'r> {
    File(File),
    Pieces { pieces: Box<dyn Iterator<Item = anyhow::Result<Bytes>> + Send + 'r>, piece: Bytes },
}

impl<'r> Reading<'r> {
    /// A file on our disk.
    pub(super) fn of_file(file: File) -> Self {
        Self(Source::File(file))
    }

    /// A content of the store, piece by piece.
    pub(super) fn of_pieces(pieces: impl Iterator<Item = anyhow::Result<Bytes>> + Send + 'r) -> Self {
        Self(Source::Pieces { pieces: Box::new(pieces), piece: Bytes::new() })
    }
}

impl Read for Reading<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Source::File(file) => file.read(buffer),
            Source::Pieces { pieces, piece } => {
                while piece.is_empty() {
                    match pieces.next() {
                        Some(next) => *piece = next.map_err(|error| io::Error::other(chain(&error)))?,
                        None => return Ok(0),
                    }
                }
                let length = piece.len().min(buffer.len());
                piece.copy_to_slice(&mut buffer[..length]);
                Ok(length)
            }
        }
    }
}

impl fmt::Debug for Reading<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reading")
    }
}
