//! Sources that do not keep to the contract, or give trees of odd shapes: what is saved is a tree that any restic reads.

use std::io::{self, Cursor};

use super::made::{Failing, Files, Given, Made, directory, file, file_at, read_by, with_content};
use super::*;
use crate::source::{Entry, Severity};

/// Saves these entries; the store is whole, and what came of it can be read.
fn saved(entries: fn() -> Vec<Entry>) -> (Lab, Saved) {
    let lab = Lab::new();
    let saved = lab.save(Made::of(move || entries().into_iter().map(Ok))).unwrap();
    assert_eq!(lab.damage(), "");
    let is_incomplete = saved.problems.iter().any(|problem| problem.severity == Severity::Unread);
    assert_eq!(lab.newest().complete, !is_incomplete);
    (lab, saved)
}

/// All paths of the newest point; names of each directory are in order, each there once.
fn paths(lab: &Lab) -> Vec<String> {
    let tree = lab.store.tree(&lab.newest()).unwrap();
    let mut paths = Vec::new();
    for saved in tree.walk(Path::new("/")).unwrap() {
        let saved = saved.unwrap();
        let names: Vec<_> = tree.children(&saved.node).unwrap().iter().map(|node| node.name().into_owned()).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "{:?}: {names:?}", saved.path);
        paths.push(saved.path.to_str().unwrap().to_owned());
    }
    paths.remove(0);
    paths
}

fn problem_paths(saved: &Saved) -> Vec<&str> {
    saved.problems.iter().map(|problem| problem.path.to_str().unwrap()).collect()
}

#[test]
fn a_path_that_leads_elsewhere_is_a_problem_and_not_in_the_tree() {
    let (lab, saved) = saved(|| {
        let hostile = ["/a/../../etc/passwd", "../b", "relative", "/", "", "/./c", "//d", "/e/", "/f\0g"];
        hostile.into_iter().map(|path| file(path, "x")).chain([file("/good", "y")]).collect()
    });
    assert_eq!(paths(&lab), ["/good"]);
    assert_eq!(saved.problem_count, 9);
}

#[test]
fn a_node_that_is_called_otherwise_than_its_path_is_a_problem() {
    let (lab, saved) = saved(|| {
        let called = |path: &str, name: &str| {
            let mut entry = file(path, "x");
            entry.node.name = name.to_owned();
            entry
        };
        vec![
            called("/a", "../../etc/passwd"),
            called("/b", ".."),
            called("/c", ""),
            called("/d\\x2e", "d\\x2e"),
            called("/e\n", "e\\n"),
            file("/good", "y"),
        ]
    });
    // Written as restic quotes it, the fifth one is right.
    assert_eq!(paths(&lab), ["/e\n", "/good"]);
    assert_eq!(problem_paths(&saved), ["/a", "/b", "/c", "/d\\x2e"]);
}

#[test]
fn entries_out_of_order_are_put_in_order() {
    let (lab, saved) = saved(|| {
        vec![
            file("/z", "1"),
            directory("/m"),
            file("/m/b", "2"),
            file("/m/B", "3"),
            file("/m/a", "4"),
            file("/m-", "5"),
            file("/a", "6"),
        ]
    });
    assert_eq!(saved.problem_count, 0);
    assert_eq!(paths(&lab), ["/a", "/m", "/m/B", "/m/a", "/m/b", "/m-", "/z"]);
}

#[test]
fn a_name_that_comes_twice_is_saved_once_and_told() {
    let (lab, saved) = saved(|| {
        vec![
            directory("/d"),
            directory("/d/e"),
            file("/d/e/a", "first"),
            file("/d/e/a", "second one"),
            file("/f", "a file"),
            file("/f/below", "and a directory"),
            directory("/g"),
            file("/g/1", "x"),
            file("/h", "y"),
            file("/g/2", "too late"),
        ]
    });
    assert_eq!(paths(&lab), ["/d", "/d/e", "/d/e/a", "/f", "/g", "/g/1", "/h"]);
    let mut problems = problem_paths(&saved);
    problems.sort_unstable();
    assert_eq!(problems, ["/d/e/a", "/f", "/g"]);
    let files = lab.read(&lab.newest());
    assert_eq!(files[Path::new("/d/e/a")], BlobId::of(b"first"));
    assert_eq!(files[Path::new("/f")], BlobId::of(b"a file"));
}

#[test]
fn a_name_that_comes_twice_does_not_hide_one_that_is_gone() {
    let files = Files::default().with("/a", "x", 1).with("/b", "y", 1);
    let lab = Lab::new();
    lab.save(Made::files(&files)).unwrap();
    let lab = lab.copy();
    let again = || [file_at("/a", "x", 1), file_at("/a", "x", 1)].into_iter().map(Ok);
    let saved = lab.save(Made::of(again)).unwrap();
    assert_eq!(paths(&lab), ["/a"]);
    assert_eq!(problem_paths(&saved), ["/a"]);
}

#[test]
fn a_directory_that_the_source_did_not_name_is_made() {
    let (lab, saved) = saved(|| vec![file("/a/b/c/d", "x"), file("/a/e", "y"), file("/ab", "z")]);
    assert_eq!(saved.problem_count, 0);
    assert_eq!(paths(&lab), ["/a", "/a/b", "/a/b/c", "/a/b/c/d", "/a/e", "/ab"]);
    let tree = lab.store.tree(&lab.newest()).unwrap();
    assert!(tree.find(Path::new("/a/b")).unwrap().unwrap().is_dir());
}

#[test]
fn a_file_without_content_is_empty_whatever_its_size_says() {
    let (lab, saved) = saved(|| vec![with_content("/a", 1234, 1, None)]);
    assert_eq!(saved.bytes_processed, 0);
    assert_eq!(lab.read(&lab.newest()), BTreeMap::from([("/a".into(), BlobId::of(b""))]));
}

#[test]
fn a_directory_of_50_000_entries_is_saved_and_is_not_stored_again() {
    let entries = || (0..50_000).map(|number| Ok(file(format!("/wide/{number:05}"), format!("{}", number % 7))));
    let lab = Lab::with_usual_packs();
    let first = lab.save(Made::of(entries)).unwrap();
    assert_eq!((first.files_new, first.problem_count), (50_000, 0));
    let next = lab.copy();
    let second = next.save(Made::of(entries)).unwrap();
    assert_eq!((second.files_unmodified, second.problem_count), (50_000, 0));
    assert_eq!(paths(&next).len(), 50_001);
    assert_eq!(next.damage(), "");
}

/// How deep the deep tree is.
const DEPTH: usize = 20_000;

/// A directory in a directory, and so on, and at the bottom what is given by `last`; the path of each is made when it is asked for.
fn deep(last: impl FnOnce(PathBuf) -> Entry) -> impl Iterator<Item = Given> {
    let directories = (1..=DEPTH).map(|depth| Ok(directory("/d".repeat(depth))));
    directories.chain(std::iter::once_with(move || Ok(last(format!("{}/file", "/d".repeat(DEPTH)).into()))))
}

#[test]
fn a_tree_of_20_000_levels_is_saved_and_goes_on() {
    let entries = || deep(|path| file(path, "at the bottom"));
    let (lab, first) = soon(move || {
        let lab = Lab::with_usual_packs();
        let saved = lab.save(Made::of(entries)).unwrap();
        (lab, saved)
    });
    assert_eq!((first.files_new, first.problem_count), (1, 0));
    let tree = lab.store.tree(&lab.newest()).unwrap();
    let mut node = tree.find(Path::new("/")).unwrap().unwrap();
    for _ in 0..=DEPTH {
        [node] = tree.children(&node).unwrap().try_into().unwrap();
    }
    let content = tree.read(&node).unwrap().collect::<Result<Vec<_>>>().unwrap().concat();
    assert_eq!(content, b"at the bottom");
    // Those that the source names are the same again. The root has no node, and is the same as well.
    let next = lab.copy();
    let second = soon(move || next.save(Made::of(entries)).unwrap());
    assert_eq!((second.files_unmodified, second.bytes_added), (1, 0));
}

#[test]
fn a_failure_at_the_bottom_of_a_deep_tree_is_an_error_and_not_the_end_of_the_program() {
    soon(|| {
        let entries = || {
            let (until_gone, gone) = mpsc::channel::<()>();
            let last = |path| {
                read_by(path, 10, 1, move || {
                    // When the source is let go of, all directories have been named; then they are left within an instant.
                    let _ = gone.recv();
                    thread::sleep(Duration::from_millis(500));
                    Ok(Box::new(Failing { bytes: Cursor::default(), error: None }))
                })
            };
            deep(last).inspect(move |_| drop(until_gone.clone()))
        };
        let lab = Lab::new();
        lab.save(Made::of(entries)).unwrap_err();
        assert!(lab.points().is_empty());
    });
}

#[test]
fn a_deep_file_that_cannot_be_read_is_left_out() {
    let (lab, saved) = saved(|| {
        let refused = |path: &str| read_by(path, 5, 1, || Err(io::ErrorKind::PermissionDenied.into()));
        vec![refused("/a/b/c/refused"), file("/a/b/there", "x")]
    });
    assert_eq!(problem_paths(&saved), ["/a/b/c/refused"]);
    assert_eq!(paths(&lab), ["/a", "/a/b", "/a/b/c", "/a/b/there"]);
}
