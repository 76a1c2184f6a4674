//! The content of a member, read piece by piece, with zeros where a file has holes.

use std::io;
use std::vec::IntoIter;

use bytes::Bytes;

use super::blocks::{Blocks, PIECE, padding};
use super::sparse::{Map, Segment};

/// What a piece of a hole is.
static ZEROS: [u8; PIECE] = [0; PIECE];

/// A content that was not read to its end yet.
pub(super) struct Body {
    /// The size of the file.
    real: u64,
    /// How far it was read.
    at: u64,
    segments: IntoIter<Segment>,
    /// What is read next, or comes behind the hole that is read next.
    next: Option<Segment>,
    /// How much of it is in the stream.
    stored: u64,
    /// What fills up the last block.
    padding: u64,
}

impl Body {
    pub(super) fn new(map: Map) -> Self {
        let stored = map.segments.iter().map(|segment| segment.length).sum();
        let mut segments = map.segments.into_iter();
        let next = segments.next();
        Self { real: map.real, at: 0, segments, next, stored, padding: padding(stored) }
    }

    /// The next piece; `None` at the end, when the stream is at what follows.
    pub(super) fn piece(&mut self, blocks: &mut Blocks) -> io::Result<Option<Bytes>> {
        let until = self.next.map_or(self.real, |next| next.offset);
        if self.at < until {
            let length = part(until - self.at);
            self.at += length as u64;
            return Ok(Some(Bytes::from_static(&ZEROS[..length])));
        }
        let Some(Segment { offset, length }) = self.next else {
            self.skip(blocks)?;
            return Ok(None);
        };
        let mut piece = vec![0; part(length)];
        blocks.fill(&mut piece)?;
        let read = piece.len() as u64;
        self.at += read;
        self.stored -= read;
        self.next = match length - read {
            0 => self.segments.next(),
            length => Some(Segment { offset: offset + read, length }),
        };
        Ok(Some(piece.into()))
    }

    /// Passes over the rest.
    pub(super) fn skip(&mut self, blocks: &mut Blocks) -> io::Result<()> {
        blocks.skip(std::mem::take(&mut self.stored))?;
        blocks.skip(std::mem::take(&mut self.padding))
    }
}

/// So much, but not more than a piece.
fn part(length: u64) -> usize {
    usize::try_from(length).unwrap_or(PIECE).min(PIECE)
}
