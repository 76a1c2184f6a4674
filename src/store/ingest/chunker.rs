//! Where a file is cut into chunks: FastCDC ("FastCDC: a Fast and Efficient Content-Defined Chunking Approach for Data
//! Deduplication", USENIX ATC 2016), with the sizes that restic uses.
//!
//! restic cuts by Rabin's fingerprint, which is most of what it costs to read a large file. Where a file is cut is not part of the
//! format, so any restic reads what is cut here; but a chunk that restic cut is found again only when it is a whole small file.

use std::borrow::Cow;

use anyhow::{Context, Result, ensure};
use fastcdc::v2020::{self, Normalization};
use rustic_core::repofile::ConfigFile;

/// The largest chunk in bytes that a config file may ask for: several of them are held in memory at a time.
const LARGEST: usize = 64 << 20;

/// Cuts the files of one repository.
pub(super) struct Chunker {
    min: usize,
    average: usize,
    max: usize,
    /// The masks before and behind the average size, and each of them shifted for every second byte.
    masks: [u64; 4],
    gears: [Cow<'static, [u64]>; 2],
}

impl Chunker {
    /// The chunker of a repository. Its secret decides where files are cut, as in restic: otherwise the sizes of the chunks would tell
    /// who can see the packs which known file is in them.
    pub(super) fn new(config: &ConfigFile) -> Result<Self> {
        let secret = u64::from_str_radix(&config.chunker_polynomial, 16)
            .context("read the chunker's secret in the repository's config file")?;
        // The library looks at two bytes at a time and wants even sizes.
        let even = |size: usize| size & !1;
        let (min, average, max) =
            (even(config.chunk_min_size()), even(config.chunk_size()), even(config.chunk_max_size()));
        ensure!(
            64 <= min && min <= average && 256 <= average && average <= max && max <= LARGEST,
            "the chunk sizes in the repository's config file are not usable: {min}, {average}, {max} bytes"
        );
        let (small, large) = v2020::select_masks(average, Normalization::Level1);
        let (gear, shifted) = v2020::get_gear_with_seed(secret);
        Ok(Self { min, average, max, masks: [small, large, small << 1, large << 1], gears: [gear, shifted] })
    }

    /// The length of the first chunk of `data`; `None` when it may be longer than `data`, so that more must be read. With `is_end`
    /// nothing comes behind `data`, which must not be empty.
    pub(super) fn cut(&self, data: &[u8], is_end: bool) -> Option<usize> {
        let [small, large, small_shifted, large_shifted] = self.masks;
        let (_, length) = v2020::cut_gear(
            data,
            self.min,
            self.average,
            self.max,
            small,
            large,
            small_shifted,
            large_shifted,
            &self.gears[0],
            &self.gears[1],
        );
        // A place found before the end stays the first one, whatever follows.
        (is_end || length < data.len() || length >= self.max).then_some(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunker(secret: &str) -> Chunker {
        Chunker::new(&ConfigFile { chunker_polynomial: secret.to_owned(), ..ConfigFile::default() }).unwrap()
    }

    /// Bytes that look random and are the same each time (splitmix64).
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bytes.extend((word ^ (word >> 31)).to_le_bytes());
        }
        bytes
    }

    fn cuts(chunker: &Chunker, mut data: &[u8]) -> Vec<usize> {
        let mut lengths = Vec::new();
        while !data.is_empty() {
            let length = chunker.cut(data, true).unwrap();
            lengths.push(length);
            data = &data[length..];
        }
        lengths
    }

    #[test]
    fn chunks_are_between_the_smallest_and_the_largest_size() {
        let data = noise(40 << 20);
        let lengths = cuts(&chunker("3da3358b4dc173"), &data);
        let (last, others) = lengths.split_last().unwrap();
        assert!(others.iter().all(|length| (512 << 10..=8 << 20).contains(length)), "{lengths:?}");
        assert!(*last <= 8 << 20);
        assert!((20..60).contains(&lengths.len()), "{lengths:?}");
        assert_eq!(cuts(&chunker("3da3358b4dc173"), &vec![0; 20 << 20]), [8 << 20, 8 << 20, 4 << 20]);
    }

    #[test]
    fn a_cut_does_not_depend_on_how_much_was_read_at_once() {
        let chunker = chunker("3da3358b4dc173");
        let data = noise(9 << 20);
        let first = chunker.cut(&data, true).unwrap();
        // The library looks at pairs of bytes: the one in which the cut is must be there.
        for seen in [first + 2, first + 3, first + 4095, first + (1 << 20)] {
            assert_eq!(chunker.cut(&data[..seen], false), Some(first), "{seen} bytes seen");
        }
        assert_eq!(chunker.cut(&data[..first], false), None);
        assert_eq!(chunker.cut(&data[..100], false), None);
        assert_eq!(chunker.cut(&data[..100], true), Some(100));
    }

    #[test]
    fn repositories_cut_at_places_of_their_own() {
        let data = noise(20 << 20);
        assert_ne!(cuts(&chunker("3da3358b4dc173"), &data), cuts(&chunker("2f0a1e5d9c8b71"), &data));
    }

    #[test]
    fn sizes_that_cannot_be_used_are_refused() {
        let sizes = |min, average, max| ConfigFile {
            chunker_polynomial: "1".to_owned(),
            chunk_min_size: Some(min),
            chunk_size: Some(average),
            chunk_max_size: Some(max),
            ..ConfigFile::default()
        };
        assert!(Chunker::new(&sizes(4096, 8192, 65536)).is_ok());
        for (min, average, max) in [(0, 8192, 65536), (8192, 4096, 65536), (4096, 8192, 4096), (1, 2, usize::MAX)] {
            assert!(Chunker::new(&sizes(min, average, max)).is_err(), "{min} {average} {max}");
        }
    }
}
