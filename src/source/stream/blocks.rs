//! The bytes of an archive, in order: whole blocks, or an error.

use std::io::{self, BufReader, Read};
use std::sync::Arc;

use crate::source::content::{Budget, ended};

/// An archive is made of blocks of so many bytes.
pub(super) const BLOCK: usize = 512;

/// How much is read at once, at most.
pub(super) const PIECE: usize = 256 << 10;

/// How much may follow the end mark, in bytes: tar fills a record up, which has 10 KiB unless it is told otherwise.
const BEHIND_THE_END: usize = 1 << 20;

/// A stream that is read block by block, until the reading is given up.
pub(super) struct Blocks {
    stream: BufReader<Box<dyn Read + Send>>,
    budget: Arc<Budget>,
}

impl Blocks {
    pub(super) fn new(stream: Box<dyn Read + Send>, budget: &Arc<Budget>) -> Self {
        Self { stream: BufReader::with_capacity(64 << 10, stream), budget: Arc::clone(budget) }
    }

    /// Fills `buffer`.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        for part in buffer.chunks_mut(PIECE) {
            if self.budget.is_given_up() {
                return Err(io::Error::other("nobody wants the rest of the stream"));
            }
            self.stream.read_exact(part).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => ended(),
                _ => error,
            })?;
        }
        Ok(())
    }

    /// The next block.
    pub(super) fn block(&mut self) -> io::Result<[u8; BLOCK]> {
        let mut block = [0; BLOCK];
        self.fill(&mut block)?;
        Ok(block)
    }

    /// The next `length` bytes and what fills up their last block. Takes only as much memory as there is in the stream.
    pub(super) fn padded(&mut self, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut left = length;
        while left > 0 {
            let begin = bytes.len();
            let more = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            bytes.resize(begin + more, 0);
            self.fill(&mut bytes[begin..])?;
            left -= more as u64;
        }
        self.skip(padding(length))?;
        Ok(bytes)
    }

    /// Passes over so many bytes.
    pub(super) fn skip(&mut self, mut length: u64) -> io::Result<()> {
        if length == 0 {
            return Ok(());
        }
        let mut buffer = vec![0; usize::try_from(length).unwrap_or(PIECE).min(PIECE)];
        while length > 0 {
            let part = usize::try_from(length).unwrap_or(PIECE).min(buffer.len());
            self.fill(&mut buffer[..part])?;
            length -= part as u64;
        }
        Ok(())
    }

    /// Reads what is behind the end mark, so that whoever writes it is not stopped.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        let most = BEHIND_THE_END as u64;
        if io::copy(&mut (&mut self.stream).take(most), &mut io::sink())? == most {
            return Err(malformed("it goes on behind its end"));
        }
        Ok(())
    }
}

/// How many bytes fill the last block up, after `length` bytes.
pub(super) fn padding(length: u64) -> u64 {
    let block = BLOCK as u64;
    (block - length % block) % block
}

/// The archive is not one that tar writes.
pub(super) fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the archive is malformed: {what}"))
}

/// A field of a header cannot be read. What the crate says of it has the field's bytes and the name in it.
pub(super) fn odd(_: io::Error) -> io::Error {
    malformed("a number in a header is none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_block_is_filled_up() {
        assert_eq!([0, 1, 511, 512, 513].map(padding), [0, 511, 1, 0, 511]);
        assert_eq!(padding(u64::MAX), 1);
    }

    #[test]
    fn length_that_lies_takes_no_more_memory_than_the_stream_has() {
        let mut blocks = Blocks::new(Box::new(io::repeat(1).take(1000)), &Budget::new(1));
        assert_eq!(blocks.padded(u64::MAX).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_never_ends_behind_the_end_is_an_error() {
        assert!(Blocks::new(Box::new(io::repeat(0)), &Budget::new(1)).drain().is_err());
        assert!(Blocks::new(Box::new(io::repeat(0).take(10_240)), &Budget::new(1)).drain().is_ok());
    }
}
