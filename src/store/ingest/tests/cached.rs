//! A cache that is damaged: the store itself is asked, and nothing is told of it.

use std::fs;

use rustic_core::FileType;

use super::made::{Files, Made};
use super::*;
use crate::store::cache;

#[test]
fn a_tree_that_is_damaged_in_the_cache_is_read_from_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let with_cache = |mut lab: Lab| {
        lab.store.cache = Some(directory.path().to_path_buf());
        lab
    };
    let files = Files::default().with("/a/b/one", "1", 1).with("/c/two", "2", 1);
    let lab = with_cache(Lab::with_usual_packs());
    lab.save(Made::files(&files)).unwrap();

    // The trees lie in one pack, those that are deepest first; the root, which is read first, is right.
    let packs = lab.indexes().into_iter().flat_map(|(_, file)| file.packs);
    let packs: Vec<Id> = packs.filter(|pack| pack.blob_type() == BlobType::Tree).map(|pack| *pack.id).collect();
    let [pack] = packs[..] else { panic!("{packs:?}") };
    let path = cache::path(directory.path(), FileType::Pack, &pack);
    let mut content = fs::read(&path).unwrap();
    content[40] ^= 1;
    fs::write(&path, content).unwrap();

    let lab = with_cache(lab.copy());
    let saved = lab.save(Made::files(&files)).unwrap();
    assert!(saved.problems.is_empty(), "{:?}", saved.problems);
    assert_eq!(saved.files_unmodified, 2);
    assert_eq!(fs::read(&path).unwrap(), lab.memory.content()[&(FileType::Pack.dirname(), pack)]);
}
