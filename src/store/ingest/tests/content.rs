//! What files hold, and where it comes from: known blobs, files that cannot be read, files that change, items with common data.

use std::io::{self, Cursor};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rustic_core::FileType;

use super::made::{Failing, Files, Long, Made, directory, file, file_at, noise, read_by, with_content};
use super::memory::Fault;
use super::*;
use crate::source::{Content as Bytes, Entry, Problem, Severity};

fn problem(path: &str, error: &str, severity: Severity) -> Problem {
    Problem { path: path.into(), error: error.to_owned(), severity }
}

/// Saves these entries, and looks that the point is complete or not, as expected, and that what is in the store is whole.
fn saved(lab: &Lab, is_complete: bool, entries: fn() -> Vec<Entry>) -> Saved {
    let saved = lab.save(Made::of(move || entries().into_iter().map(Ok))).unwrap();
    assert_eq!(lab.newest().complete, is_complete, "{:?}", saved.problems);
    assert_eq!(lab.damage(), "");
    saved
}

/// The names of the files in the newest point, and how long each is.
fn lengths(lab: &Lab) -> BTreeMap<PathBuf, u64> {
    let tree = lab.store.tree(&lab.newest()).unwrap();
    let nodes = tree.walk(Path::new("/")).unwrap().map(Result::unwrap).filter(|saved| saved.node.is_file());
    nodes.map(|saved| (saved.path, saved.node.meta.size)).collect()
}

#[test]
fn content_that_is_in_the_store_is_not_read_again() {
    let lab = Lab::new();
    lab.save(Made::files(&Files::default().with("/one", noise(1, 900_000), 1))).unwrap();
    let blobs: Vec<BlobId> = {
        let node = lab.store.tree(&lab.newest()).unwrap().find(Path::new("/one")).unwrap().unwrap();
        node.content.unwrap().iter().map(|id| BlobId::from(**id)).collect()
    };
    let lab = lab.copy();
    lab.memory.plan(None);
    let moved = blobs.clone();
    let result = lab.save(Made::of(move || {
        let entry = |path, second| with_content(path, 900_000, second, Some(Bytes::Stored(moved.clone())));
        [entry("/moved", 1), entry("/one", 2)].into_iter().map(Ok)
    }));
    let result = result.unwrap();
    assert_eq!((result.files_new, result.files_changed, result.files_unmodified), (1, 0, 1));
    // A tree, its index, the snapshot.
    assert_eq!(lab.memory.writes().len(), 3);
    let expected = Files::default().with("/one", noise(1, 900_000), 1).with("/moved", noise(1, 900_000), 1).content();
    assert_eq!(lab.read(&lab.newest()), expected);
    assert!(lab.newest().complete);
}

#[test]
fn content_that_is_taken_for_stored_and_is_not_there_is_a_problem() {
    let lab = Lab::new();
    let saved = saved(&lab, false, || {
        let unknown = Bytes::Stored(vec![BlobId::of(b"never seen")]);
        vec![with_content("/missing", 10, 1, Some(unknown)), file("/there", "x")]
    });
    let error = "the store lacks content that was taken for stored";
    assert_eq!(saved.problems, [problem("/missing", error, Severity::Unread)]);
    assert_eq!(lengths(&lab), BTreeMap::from([("/there".into(), 1)]));
}

#[test]
fn data_that_two_items_of_a_run_share_is_stored_once() {
    let lab = Lab::new();
    let files = Files::default().with("/a", noise(1, 1_500_000), 1).with("/deep/b", noise(2, 1000), 1);
    lab.save_as("one", Made::files(&files)).unwrap();
    lab.memory.plan(None);
    let second = lab.save_as("two", Made::files(&files)).unwrap();
    assert_eq!((second.files_new, second.bytes_added), (2, 0));
    let kinds: Vec<FileType> = lab.memory.writes().iter().map(|write| write.kind).collect();
    assert_eq!(kinds, [FileType::Snapshot]);
    assert_eq!(lab.read(&lab.newest()), files.content());
    lab.assert_nothing_is_stored_twice();
}

#[test]
fn a_dry_run_leaves_nothing_that_a_real_one_would_rely_on() {
    let lab = Lab::new();
    let files = Files::default().with("/a", noise(1, 1000), 1);
    let item = Item { id: "x".into(), source: "x".into(), paths: Vec::new() };
    lab.memory.plan(None);
    let options = SaveOptions { dry_run: true, ..SaveOptions::default() };
    let dry = lab.store.save(&item, Made::files(&files), &options, &Silent).unwrap();
    assert_eq!((lab.memory.begun(), dry.files_new, dry.snapshot.as_str()), (0, 1, ""));
    let real = lab.save(Made::files(&files)).unwrap();
    assert_eq!(real.bytes_added, dry.bytes_added);
    assert_eq!(lab.read(&lab.newest()), files.content());
    assert_eq!(lab.damage(), "");
}

#[test]
fn a_file_that_cannot_be_read_to_its_end_is_left_out_and_the_point_is_incomplete() {
    let lab = Lab::new();
    let saved = saved(&lab, false, || {
        let failing = |path: &str, length| {
            let (bytes, error) = (Cursor::new(noise(9, length)), Some(io::ErrorKind::ConnectionReset));
            read_by(path, length as u64 + 1, 1, move || Ok(Box::new(Failing { bytes, error })))
        };
        vec![
            file("/a", "whole"),
            directory("/in"),
            failing("/in/at-once", 0),
            failing("/in/in-the-middle", 100),
            failing("/in/late", 9_000_000),
            read_by("/refused", 5, 1, || Err(io::ErrorKind::PermissionDenied.into())),
            read_by("/vanished", 5, 1, || Err(io::ErrorKind::NotFound.into())),
            file("/z", "whole too"),
        ]
    });
    assert_eq!(lengths(&lab), BTreeMap::from([("/a".into(), 5), ("/z".into(), 9)]));
    assert_eq!((saved.files_new, saved.problem_count), (2, 5));
    let by_severity = |severity| {
        let mut paths: Vec<&Path> =
            saved.problems.iter().filter(|found| found.severity == severity).map(|found| &*found.path).collect();
        paths.sort();
        paths
    };
    assert_eq!(by_severity(Severity::Warning), [Path::new("/vanished")]);
    assert_eq!(
        by_severity(Severity::Unread),
        ["/in/at-once", "/in/in-the-middle", "/in/late", "/refused"].map(Path::new)
    );
}

#[test]
fn a_file_that_grows_or_shrinks_is_saved_as_it_was_read() {
    let lab = Lab::new();
    let saved = saved(&lab, true, || {
        let of_size =
            |path: &str, listed, content: Vec<u8>| read_by(path, listed, 1, move || Ok(Box::new(Cursor::new(content))));
        vec![
            of_size("/emptied", 7, Vec::new()),
            of_size("/filled", 0, noise(1, 100)),
            of_size("/grown", 10, noise(2, 6_000_000)),
            of_size("/shrunk", 6_000_000, noise(3, 10)),
        ]
    });
    let expected = [("/emptied", 0), ("/filled", 100), ("/grown", 6_000_000), ("/shrunk", 10)];
    assert_eq!(lengths(&lab), expected.map(|(path, length)| (PathBuf::from(path), length)).into());
    assert_eq!(saved.problem_count, 4);
    assert!(saved.problems.iter().all(|found| found.severity == Severity::Warning), "{:?}", saved.problems);
    let mut errors: Vec<&str> = saved.problems.iter().map(|found| found.error.as_str()).collect();
    errors.sort_unstable();
    assert_eq!(errors[0], "grew while it was backed up, from 0 to 100 bytes; saved as read");
    assert_eq!(errors[2], "shrank while it was backed up, from 6000000 to 10 bytes; saved as read");
    assert_eq!(saved.bytes_processed, 6_000_110);
    lab.read(&lab.newest());
}

#[test]
fn a_source_that_breaks_off_at_the_end_makes_no_point() {
    let lab = Lab::new();
    let files = Files::default().with("/a", noise(1, 1000), 1);
    let error = lab.save(Made::files(&files).broken_off()).unwrap_err();
    assert_eq!(crate::error::chain(&error), "the source broke off: the connection was lost");
    assert!(lab.memory.ids(FileType::Snapshot).is_empty());
    // What it gave is in the store and is used.
    assert_eq!(lab.save(Made::files(&files)).unwrap().bytes_added, 0);
    assert_eq!(lab.read(&lab.newest()), files.content());
}

#[test]
fn a_file_whose_content_the_store_has_lost_is_read_again() {
    let lab = Lab::new();
    let files = Files::default().with("/large", noise(1, 250_000), 1).with("/small", "x", 1);
    lab.save(Made::files(&files)).unwrap();
    // As after `restic repair index` on a store that has lost its packs of data.
    let next = lab.copy();
    for id in next.memory.ids(FileType::Index) {
        next.memory.lose(FileType::Index, id);
    }
    next.memory.plan(None);
    let again = next.save(Made::files(&files)).unwrap();
    assert_eq!(again.bytes_added, lab.copy().save(Made::files(&files)).unwrap().bytes_added + 250_001 + trees(&lab));
    assert_eq!(next.read(&next.newest()), files.content());
    assert_eq!(next.damage(), "");
}

/// Bytes of the only tree in the store.
fn trees(lab: &Lab) -> u64 {
    let packs = lab.indexes().into_iter().flat_map(|(_, file)| file.packs);
    let blobs = packs.flat_map(|pack| pack.blobs).filter(|blob| format!("{:?}", blob.tpe) == "Tree");
    blobs.map(|blob| u64::from(blob.location.uncompressed_length.unwrap().get())).sum()
}

#[test]
fn nothing_is_read_on_when_the_store_has_failed() {
    const LENGTH: u64 = 400 << 20;
    let lab = Lab::new();
    lab.memory.plan_at(Fault::Fails, 1);
    let given = Arc::new(AtomicU64::new(0));
    let counter = given.clone();
    let (lab, saved) = soon(move || {
        let tree = Made::of(move || {
            let long = Long { state: 1, length: LENGTH, given: counter.clone() };
            std::iter::once(Ok(read_by("/long", LENGTH, 1, || Ok(Box::new(long)))))
        });
        let saved = lab.save(tree);
        (lab, saved)
    });
    let error = crate::error::chain(&saved.unwrap_err());
    assert!(error.ends_with("on purpose"), "{error}");
    assert!(given.load(Ordering::Relaxed) < LENGTH / 4, "{given:?} bytes were read");
    assert!(lab.memory.ids(FileType::Snapshot).is_empty());
}

#[test]
fn a_reader_or_a_source_that_breaks_off_is_an_error_and_the_next_item_is_saved() {
    let lab = Lab::new();
    let files = Files::default().with("/a", noise(1, 300_000), 1).with("/b", noise(2, 1000), 1);
    for length in [0, 10, 9_000_000] {
        let lab = lab.copy();
        let (lab, saved) = soon(move || {
            let bytes = noise(7, length);
            let saved = lab.save(Made::of(move || {
                let bytes = Cursor::new(bytes.clone());
                let breaking = read_by("/breaking", 10, 1, move || Ok(Box::new(Failing { bytes, error: None })));
                [file("/a", noise(1, 300_000)), breaking].into_iter().map(Ok)
            }));
            (lab, saved)
        });
        assert!(crate::error::chain(&saved.unwrap_err()).contains("a thread broke off"));
        let (lab, saved) = soon(move || {
            let entries = || {
                let entries = (0..2000).map(|number| Ok(file(format!("/{number}"), noise(number, 100))));
                entries.chain(std::iter::once_with(|| panic!("on purpose")))
            };
            let saved = lab.save(Made::of(entries));
            (lab, saved)
        });
        assert!(crate::error::chain(&saved.unwrap_err()).contains("a thread broke off"));
        assert!(lab.points().is_empty());
        lab.save_as("next", Made::files(&files)).unwrap();
        assert_eq!(lab.read(&lab.newest()), files.content());
        assert_eq!(lab.damage(), "");
    }
}

#[test]
fn an_unchanged_file_is_not_opened() {
    let lab = Lab::new();
    static OPENED: AtomicUsize = AtomicUsize::new(0);
    let entries = || {
        let counted = |path: &str, second| {
            read_by(path, 3, second, || {
                OPENED.fetch_add(1, Ordering::Relaxed);
                Ok(Box::new(Cursor::new("abc")))
            })
        };
        let second = i64::from(OPENED.load(Ordering::Relaxed) >= 2);
        vec![counted("/changed", second), counted("/same", 0)]
    };
    saved(&lab, true, entries);
    assert_eq!(OPENED.load(Ordering::Relaxed), 2);
    let second = saved(&lab.copy(), true, entries);
    assert_eq!(OPENED.load(Ordering::Relaxed), 3);
    assert_eq!((second.files_new, second.files_changed, second.files_unmodified), (0, 1, 1));
}

#[test]
fn a_listing_error_makes_the_point_incomplete() {
    let lab = Lab::new();
    let unread = problem("/secret", "permission denied", Severity::Unread);
    let given = unread.clone();
    let tree = Made::of(move || [Err(given.clone()), Ok(file_at("/a", "x", 1))].into_iter());
    let saved = lab.save(tree).unwrap();
    assert_eq!(saved.problems, [unread]);
    assert!(!lab.newest().complete);
}
