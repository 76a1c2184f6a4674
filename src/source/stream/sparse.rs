//! Files with holes: where their data is. What is said of that may be anything, and is looked at before it is believed.

use std::io;

use tar::Header;

use super::blocks::{BLOCK, Blocks, malformed, odd};
use super::pax::{SparseRecords, number};

/// How many segments a file may have. The map is in memory while the file is read, and this many take 64 MiB.
const SEGMENTS: usize = 4 << 20;

/// How many digits a number in a map may have; `u64` has 20.
const DIGITS: usize = 20;

/// A part of a file that is data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// Where the data of a file is. The segments are in order, do not overlap and are within its size.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Map {
    /// The whole size in bytes.
    pub(super) real: u64,
    pub(super) segments: Vec<Segment>,
}

impl Map {
    /// A file without holes.
    pub(super) fn full(size: u64) -> Self {
        let segments = (size > 0).then_some(Segment { offset: 0, length: size }).into_iter().collect();
        Self { real: size, segments }
    }

    /// Whether there are no holes.
    pub(super) fn is_full(&self) -> bool {
        self.segments.iter().map(|segment| segment.length).sum::<u64>() == self.real
    }

    /// A file with holes, of which `stored` bytes of data follow.
    fn new(real: u64, segments: Vec<Segment>, stored: u64) -> io::Result<Self> {
        let mut end = 0;
        let mut data: u64 = 0;
        for segment in &segments {
            // The last one is often empty, and only tells where the end is.
            let behind = segment.offset.checked_add(segment.length).filter(|&behind| behind <= real);
            let behind = behind.ok_or_else(|| malformed("a sparse file has data behind its end"))?;
            if segment.offset < end {
                return Err(malformed("the data of a sparse file overlaps"));
            }
            data = data.saturating_add(segment.length);
            end = behind;
        }
        if data != stored {
            return Err(malformed("a sparse file has not as much data as its map says"));
        }
        let segments = segments.into_iter().filter(|segment| segment.length > 0).collect();
        Ok(Self { real, segments })
    }

    /// The map of a file of pax of which `stored` bytes follow; what is written before its data is read. `None` when it is not sparse.
    pub(super) fn of_pax(
        records: &mut SparseRecords,
        mut stored: u64,
        blocks: &mut Blocks,
    ) -> io::Result<Option<Self>> {
        let segments = match (records.major, records.minor, records.map.take()) {
            (None | Some(0), _, None) => return Ok(None),
            (None | Some(0), _, Some(map)) => map,
            (Some(1), Some(0), _) => written_before(blocks, &mut stored)?,
            _ => return Err(malformed("a sparse file is of a kind that is not known")),
        };
        let real = records.real.ok_or_else(|| malformed("a sparse file has no size"))?;
        Self::new(real, segments, stored).map(Some)
    }

    /// The map of a file as GNU tar wrote it before there was pax: in the header, and in blocks behind it.
    pub(super) fn of_gnu(header: &Header, stored: u64, blocks: &mut Blocks) -> io::Result<Self> {
        let gnu = header.as_gnu().ok_or_else(|| malformed("a sparse file is of a kind that is not known"))?;
        let mut segments = Vec::new();
        let take = |entries: &[tar::GnuSparseHeader], segments: &mut Vec<Segment>| {
            for entry in entries.iter().filter(|entry| !entry.is_empty()) {
                push(segments, Segment { offset: entry.offset().map_err(odd)?, length: entry.length().map_err(odd)? })?;
            }
            Ok::<_, io::Error>(())
        };
        take(&gnu.sparse, &mut segments)?;
        let mut goes_on = gnu.is_extended();
        while goes_on {
            let mut extension = tar::GnuExtSparseHeader::new();
            blocks.fill(extension.as_mut_bytes())?;
            take(extension.sparse(), &mut segments)?;
            goes_on = extension.is_extended();
        }
        Self::new(gnu.real_size().map_err(odd)?, segments, stored)
    }
}

/// Reads the map of a file of format 1.0, which is written in lines before its data and takes whole blocks of what is stored.
fn written_before(blocks: &mut Blocks, stored: &mut u64) -> io::Result<Vec<Segment>> {
    let mut lines = Lines { blocks, stored, block: [0; BLOCK], at: BLOCK };
    let count = lines.number()?;
    let mut segments = Vec::new();
    for _ in 0..count {
        let segment = Segment { offset: lines.number()?, length: lines.number()? };
        push(&mut segments, segment)?;
    }
    Ok(segments)
}

fn push(segments: &mut Vec<Segment>, segment: Segment) -> io::Result<()> {
    if segments.len() >= SEGMENTS {
        return Err(malformed("a sparse file has too many holes"));
    }
    segments.push(segment);
    Ok(())
}

/// Numbers, one a line.
struct Lines<'a> {
    blocks: &'a mut Blocks,
    /// How much of what is stored was not read yet.
    stored: &'a mut u64,
    block: [u8; BLOCK],
    at: usize,
}

impl Lines<'_> {
    fn number(&mut self) -> io::Result<u64> {
        let mut digits = Vec::new();
        loop {
            if self.at == BLOCK {
                *self.stored = self.stored.checked_sub(BLOCK as u64).ok_or_else(ended_in_map)?;
                self.block = self.blocks.block()?;
                self.at = 0;
            }
            let byte = self.block[self.at];
            self.at += 1;
            match byte {
                b'\n' => return number(&digits),
                _ if digits.len() == DIGITS => return number(b""),
                _ => digits.push(byte),
            }
        }
    }
}

fn ended_in_map() -> io::Error {
    malformed("the map of a sparse file is cut short")
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::source::content::Budget;

    fn segments(list: &[(u64, u64)]) -> Vec<Segment> {
        list.iter().map(|&(offset, length)| Segment { offset, length }).collect()
    }

    #[test]
    fn maps_that_lie_are_errors() {
        let bad = [
            (10, &[(0, 11)][..], 11),
            (10, &[(11, 0)], 0),
            (10, &[(5, 2), (6, 2)], 4),
            (10, &[(5, 2), (0, 2)], 4),
            (10, &[(0, 5)], 6),
            (10, &[(0, 5)], 4),
            (u64::MAX, &[(u64::MAX, 2)], 2),
        ];
        for (real, map, stored) in bad {
            assert!(Map::new(real, segments(map), stored).is_err(), "{real} {map:?} {stored}");
        }
        let good = Map::new(10, segments(&[(0, 0), (2, 3), (5, 1), (10, 0)]), 4).unwrap();
        assert_eq!(good.segments, segments(&[(2, 3), (5, 1)]));
    }

    fn read(text: &str, mut stored: u64) -> io::Result<(Vec<Segment>, u64)> {
        let padded = format!("{text}{}", "\0".repeat(text.len().next_multiple_of(BLOCK) - text.len()));
        let mut blocks = Blocks::new(Box::new(io::Cursor::new(padded)), &Budget::new(1));
        let segments = written_before(&mut blocks, &mut stored)?;
        Ok((segments, stored))
    }

    #[test]
    fn map_before_the_data_takes_whole_blocks() {
        assert_eq!(read("2\n0\n5\n4096\n7\n", 524).unwrap(), (segments(&[(0, 5), (4096, 7)]), 12));
        let long: String = (0..200).map(|n| format!("{n}000\n1\n")).collect();
        let (map, left) = read(&format!("200\n{long}"), 2560).unwrap();
        assert_eq!((map.len(), left), (200, 512));
    }

    #[test]
    fn map_before_the_data_that_lies_is_an_error() {
        for (text, stored) in [
            ("2\n0\n5\n", 512),
            ("2\n0\n5\n", 1 << 40),
            ("18446744073709551615\n", 1 << 40),
            ("1\n0\n1\n", 511),
            ("x\n", 512),
            ("-1\n", 512),
            ("\n", 512),
            ("000000000000000000000000001\n", 512),
        ] {
            assert!(read(text, stored).is_err(), "{text:?}");
        }
    }
}
