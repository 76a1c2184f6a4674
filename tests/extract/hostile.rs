//! Trees that lie. They are written by rustic_core directly, since holdall's own saving refuses their names.

use std::ffi::OsStr;
use std::fs;
use std::io::Cursor;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use chrono::{DateTime, Utc};
use holdall::extract::RestoreOptions;
use holdall::source::{Problem, Severity};
use holdall::store::{Metadata, Node, NodeType, SavedTree};
use holdall::timeline::{Place, Point};
use rustic_backend::BackendOptions;
use rustic_core::repofile::SnapshotFile;
use rustic_core::{
    BackupOptions, Credentials, ParentOptions, ReadSource, ReadSourceEntry, Repository, RepositoryOptions, RusticResult,
};

use crate::bench::{Bench, PASSWORD, everything, overwriting, restore, restore_below, unread};

/// Writes a tree of these entries as they are.
fn write_tree(bench: &Bench, entries: Vec<Forged>) -> SavedTree {
    let backends = BackendOptions::default().repository(&*bench.config.repository).to_backends().unwrap();
    let repository = Repository::new(&RepositoryOptions::default().no_cache(true), &backends)
        .unwrap()
        .open(&Credentials::password(PASSWORD))
        .unwrap()
        .to_indexed_ids()
        .unwrap();
    let options = BackupOptions::default().no_scan(true).parent_opts(ParentOptions::default().force(true));
    let source = Forgery(Mutex::new(entries));
    let snapshot = repository.archive(&options, &source, SnapshotFile::default(), &[PathBuf::from("/")]).unwrap();
    repository.save_snapshots(vec![snapshot]).unwrap();
    let id = fs::read_dir(bench.path("repository/snapshots")).unwrap().next().unwrap().unwrap().file_name();
    let point = Point {
        item: "files.test".into(),
        place: Place::Store,
        id: id.into_string().unwrap(),
        time: DateTime::<Utc>::UNIX_EPOCH,
        complete: true,
        files: None,
        bytes: None,
        pinned: false,
    };
    bench.store.tree(&point).unwrap()
}

/// An entry with a path that decides where in the tree it is, and a node that says what it pretends to be.
struct Forged {
    path: &'static str,
    node: Node,
    content: Option<&'static str>,
}

fn forged(path: &'static str, name: &str, node_type: NodeType) -> Forged {
    let meta = Metadata { mode: Some(0o644), ..Metadata::default() };
    Forged { path, node: Node::new_node(OsStr::new(name), node_type, meta), content: None }
}

fn file(path: &'static str, name: &str, content: &'static str) -> Forged {
    let mut forged = forged(path, name, NodeType::File);
    forged.node.meta.size = content.len() as u64;
    forged.content = Some(content);
    forged
}

fn directory(path: &'static str, name: &str) -> Forged {
    forged(path, name, NodeType::Dir)
}

fn link(path: &'static str, name: &str, target: &Path) -> Forged {
    forged(path, name, NodeType::from_link(target))
}

struct Forgery(Mutex<Vec<Forged>>);

type Opened = Cursor<&'static str>;

impl ReadSource for Forgery {
    type Open = Opened;
    type Iter = std::vec::IntoIter<RusticResult<ReadSourceEntry<Opened>>>;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(None)
    }

    fn entries(&self) -> Self::Iter {
        let entries = std::mem::take(&mut *self.0.lock().unwrap());
        let entry = |forged: Forged| {
            let open = forged.content.map(Cursor::new);
            Ok(ReadSourceEntry { path: forged.path.into(), node: forged.node, open })
        };
        entries.into_iter().map(entry).collect::<Vec<_>>().into_iter()
    }
}

#[test]
fn hostile_names_are_told_and_nothing_is_made_outside() {
    let bench = Bench::new();
    let saved = write_tree(
        &bench,
        vec![
            file("/a", "..", "x"),
            file("/b", "../escaped", "x"),
            file("/c", "", "x"),
            file("/d", ".", "x"),
            file("/e", "nul\0name", "x"),
            directory("/f", ".."),
            file("/f/g", "escaped", "x"),
            directory("/h", "../sibling"),
            file("/h/i", "escaped", "x"),
            directory("/j", "/"),
            file("/j/k", "escaped-to-root", "x"),
            file("/l", "good", "x"),
        ],
    );
    let target = bench.path("room/target");
    let extracted = restore(&saved, &target, &RestoreOptions::default());
    assert_eq!(everything(&bench.path("room")), ["target", "target/good"]);
    assert!(!Path::new("/escaped-to-root").exists());
    assert_eq!(extracted.unrestored, 8);
    assert_eq!((extracted.files, extracted.directories), (1, 0));
}

#[test]
fn link_is_not_a_way_out_for_what_has_its_name() {
    let bench = Bench::new();
    let outside = bench.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "untouched").unwrap();
    let saved = write_tree(
        &bench,
        vec![
            link("/a", "way", &outside),
            directory("/b", "way"),
            file("/b/c", "escaped", "x"),
            link("/d", "to file", &outside.join("file")),
            file("/e", "to file", "overwritten"),
        ],
    );
    let target = bench.path("target");
    // The second time the links of the first are there.
    for options in [RestoreOptions::default(), overwriting()] {
        let extracted = restore(&saved, &target, &options);
        assert_eq!(unread(&extracted), [Path::new("/way"), Path::new("/to file")]);
        assert_eq!(everything(&outside), ["file"]);
        assert_eq!(fs::read(outside.join("file")).unwrap(), b"untouched");
    }
}

#[test]
fn link_in_the_target_is_not_a_way_out_either() {
    let bench = Bench::new();
    let outside = bench.path("outside");
    fs::create_dir(&outside).unwrap();
    let target = bench.path("target");
    fs::create_dir(&target).unwrap();
    symlink(&outside, target.join("sub")).unwrap();
    let saved = write_tree(&bench, vec![directory("/sub", "sub"), file("/sub/a", "a", "x")]);
    let extracted = restore(&saved, &target, &overwriting());
    assert_eq!(extracted.problems, []);
    assert_eq!(everything(&outside), [""; 0]);
    assert_eq!(everything(&target), ["sub", "sub/a"]);
    assert!(target.join("sub").symlink_metadata().unwrap().is_dir());
}

#[test]
fn lies_about_hard_links_do_not_mix_files_up() {
    let bench = Bench::new();
    let claim = |mut forged: Forged| {
        (forged.node.meta.links, forged.node.meta.inode, forged.node.meta.device_id) = (2, 7, 1);
        forged
    };
    let saved = write_tree(
        &bench,
        vec![claim(file("/a", "a", "one")), claim(file("/b", "b", "two")), claim(file("/c", "c", "one"))],
    );
    let target = bench.path("target");
    let extracted = restore(&saved, &target, &RestoreOptions::default());
    assert_eq!(extracted.problems, []);
    let [a, b, c] = ["a", "b", "c"].map(|name| fs::read_to_string(target.join(name)).unwrap());
    assert_eq!((a.as_str(), b.as_str(), c.as_str()), ("one", "two", "one"));
    let [a, b, c] = ["a", "b", "c"].map(|name| fs::metadata(target.join(name)).unwrap().ino());
    assert!(a == c && a != b);
}

#[test]
fn lie_about_the_size_is_told_and_the_content_is_restored() {
    let bench = Bench::new();
    let mut liar = file("/a", "a", "five!");
    liar.node.meta.size = 1 << 40;
    let saved = write_tree(&bench, vec![liar]);
    let target = bench.path("target");
    let extracted = restore(&saved, &target, &RestoreOptions::default());
    assert_eq!(fs::read(target.join("a")).unwrap(), b"five!");
    let told = Problem {
        path: "/a".into(),
        error: format!("the point says that it has {} bytes, its content has 5", 1_u64 << 40),
        severity: Severity::Unread,
    };
    assert_eq!(extracted.problems, [told]);
}

#[test]
fn deep_tree_is_restored_with_few_open_directories() {
    let bench = Bench::new();
    let source = bench.path("source");
    let deep: PathBuf = std::iter::repeat_n("d", 500).collect();
    fs::create_dir_all(source.join(&deep)).unwrap();
    fs::write(source.join(&deep).join("bottom"), "x").unwrap();
    fs::write(source.join("d/d/z"), "near the top, after the deep way").unwrap();
    let saved = bench.back_up(&source);
    let target = bench.path("target");
    let extracted = restore_below(&saved, &source, &target, &RestoreOptions::default());
    assert_eq!(extracted.problems, []);
    assert_eq!(fs::read(target.join(&deep).join("bottom")).unwrap(), b"x");
    assert!(target.join("d/d/z").is_file());
}

#[test]
fn name_that_is_too_long_is_told_and_the_rest_goes_on() {
    let bench = Bench::new();
    let long = "x".repeat(300);
    let saved = write_tree(&bench, vec![file("/a", &long, "x"), directory("/b", &long), file("/c", "good", "x")]);
    let target = bench.path("target");
    let extracted = restore(&saved, &target, &RestoreOptions::default());
    assert_eq!(unread(&extracted).len(), 2);
    assert_eq!(everything(&target), ["good"]);
}
