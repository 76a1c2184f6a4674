//! Which files of a point are tried: random ones, so that in time every kind has its turn.
//!
//! Half of them are drawn with the same chance for each file, half with a chance that grows with the size: else a point of a million small files and
//! a few large ones would never have a large one tried, or never a small one. The draw is a hash of the seed, the item and the path, so
//! that the same seed gives the same files wherever and in whatever order they are found.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::store::SavedNode;
use crate::store::format::BlobId;

/// Draws numbers for the files of one item.
#[derive(Debug)]
pub struct Draw {
    prefix: Vec<u8>,
}

impl Draw {
    /// Of this item, with this seed.
    pub fn new(seed: u64, item: &str) -> Self {
        let mut prefix = seed.to_le_bytes().to_vec();
        prefix.extend_from_slice(item.as_bytes());
        prefix.push(0);
        Self { prefix }
    }

    /// Two numbers between 0 and 1, both excluded, that have nothing to do with each other.
    fn of(&self, path: &Path) -> [f64; 2] {
        let bytes = [self.prefix.as_slice(), path.as_os_str().as_bytes()].concat();
        let BlobId(hash) = BlobId::of(&bytes);
        let number = |start: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&hash[start..start + 8]);
            // As many bits as a number of this kind keeps.
            #[expect(clippy::cast_precision_loss, reason = "52 bits are kept in full")]
            let number = (u64::from_le_bytes(eight) >> 12) as f64;
            (number + 0.5) / (1_u64 << 52) as f64
        };
        [number(0), number(8)]
    }
}

/// A file with its rank in one of the draws.
struct Ranked {
    rank: f64,
    size: u64,
    file: SavedNode,
}

/// Chooses among files that are offered one after another, and keeps no more than twice as many as are wanted.
pub(super) struct Choice<'d> {
    count: usize,
    draw: &'d Draw,
    /// Each file has the same chance.
    alike: Vec<Ranked>,
    /// The chance grows with the size.
    by_size: Vec<Ranked>,
}

impl<'d> Choice<'d> {
    pub(super) fn new(count: usize, draw: &'d Draw) -> Self {
        Self { count, draw, alike: Vec::new(), by_size: Vec::new() }
    }

    /// A file of this size, which is not 0.
    pub(super) fn offer(&mut self, size: u64, file: SavedNode) {
        let [first, second] = self.draw.of(&file.path);
        // Efraimidis and Spirakis, "Weighted random sampling with a reservoir": the largest of u^(1/weight), here as logarithms.
        #[expect(clippy::cast_precision_loss, reason = "a chance need not be exact")]
        let weighted = second.ln() / size as f64;
        keep(&mut self.alike, self.count, first, size, || file.clone());
        keep(&mut self.by_size, self.count, weighted, size, || file);
    }

    /// The chosen ones with their sizes, in the order of their paths.
    pub(super) fn finish(self) -> Vec<(u64, SavedNode)> {
        let mut draws = [self.by_size.into_iter(), self.alike.into_iter()];
        let mut chosen: Vec<(u64, SavedNode)> = Vec::new();
        loop {
            let before = chosen.len();
            for draw in &mut draws {
                // In turn, and past what the other one has chosen already.
                let next = draw.find(|ranked| chosen.iter().all(|(_, file)| file.path != ranked.file.path));
                chosen.extend(next.map(|ranked| (ranked.size, ranked.file)));
            }
            if chosen.len() >= self.count || chosen.len() == before {
                break;
            }
        }
        chosen.truncate(self.count);
        chosen.sort_by(|(_, a), (_, b)| a.path.cmp(&b.path));
        chosen
    }
}

/// Keeps a file among the `count` of the highest ranks, which are in falling order.
fn keep(kept: &mut Vec<Ranked>, count: usize, rank: f64, size: u64, file: impl FnOnce() -> SavedNode) {
    let place = kept.partition_point(|other| other.rank >= rank);
    if place < count {
        kept.insert(place, Ranked { rank, size, file: file() });
        kept.truncate(count);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ffi::OsStr;

    use super::*;
    use crate::store::{Metadata, NodeType, node};

    fn chosen(seed: u64, count: usize, sizes: &[u64]) -> Vec<u64> {
        let draw = Draw::new(seed, "files.host");
        let mut choice = Choice::new(count, &draw);
        for (number, size) in sizes.iter().enumerate() {
            let name = format!("file-{number}");
            let node = node::named(OsStr::new(&name), NodeType::File, Metadata::default());
            choice.offer(*size, SavedNode { path: Path::new("/").join(&name), node });
        }
        choice.finish().into_iter().map(|(size, _)| size).collect()
    }

    #[test]
    fn so_many_are_chosen_as_are_wanted_and_there() {
        for count in [1, 2, 5, 10, 11] {
            assert_eq!(chosen(1, count, &[7; 10]).len(), count.min(10), "{count}");
        }
        assert!(chosen(1, 5, &[]).is_empty());
    }

    #[test]
    fn same_seed_gives_the_same_files_and_another_one_others() {
        let sizes: Vec<u64> = (1..1000).collect();
        assert_eq!(chosen(7, 5, &sizes), chosen(7, 5, &sizes));
        assert_ne!(chosen(7, 5, &sizes), chosen(8, 5, &sizes));
    }

    #[test]
    fn large_and_small_files_both_have_their_turn() {
        // One large file among a thousand small ones: by number it would come once in 250 times.
        let mut sizes = vec![100; 1000];
        sizes.push(1 << 30);
        let runs: Vec<Vec<u64>> = (0..50).map(|seed| chosen(seed, 4, &sizes)).collect();
        assert!(runs.iter().all(|run| run.contains(&(1 << 30)) && run.contains(&100)));
    }

    #[test]
    fn in_time_every_file_is_tried() {
        let sizes: Vec<u64> = (1..=20).collect();
        let tried: BTreeSet<u64> = (0..200).flat_map(|seed| chosen(seed, 2, &sizes)).collect();
        assert_eq!(tried.len(), 20);
    }
}
