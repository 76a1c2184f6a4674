//! Restoring from a real repository: what comes back, and what a hostile tree cannot do.
//!
//! The hostile trees are written by rustic_core directly, since holdall's own saving refuses their names.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Cursor;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use holdall::config::{FilesConfig, SourceCommon, StoreConfig};
use holdall::extract::{Extracted, Layout, RestoreOptions, Watch, extract};
use holdall::monitor::Silent;
use holdall::secret::Secret;
use holdall::source::files::Files;
use holdall::source::{Problem, Severity, Source};
use holdall::store::{Metadata, Node, NodeType, SaveOptions, SavedTree, Store};
use holdall::timeline::{Point, Timeline};
use rustic_backend::BackendOptions;
use rustic_core::repofile::SnapshotFile;
use rustic_core::{
    BackupOptions, Credentials, ParentOptions, ReadSource, ReadSourceEntry, Repository, RepositoryOptions, RusticResult,
};
use rustix::fs::{XattrFlags, getxattr, setxattr};
use tempfile::TempDir;

const PASSWORD: &str = "correct horse";

/// A directory with an empty store in `repository`, and room beside it.
struct Bench {
    place: TempDir,
    config: StoreConfig,
}

impl Bench {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let password = place.path().join("password");
        fs::write(&password, PASSWORD).unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
        let config = StoreConfig {
            repository: place.path().join("repository").to_str().unwrap().to_owned(),
            password: Secret::file(password),
            options: Default::default(),
            secret_options: Default::default(),
        };
        Store::init(&config, Arc::new(Silent)).unwrap();
        Self { place, config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn store(&self) -> Store {
        Store::open(&self.config, Arc::new(Silent)).unwrap()
    }

    /// Backs up a directory as `files.test`.
    fn back_up(&self, directory: &Path) -> SavedTree {
        let source = files(directory);
        let item = source.items().unwrap().remove(0);
        let tree = source.open(&item, None, &Silent).unwrap();
        let options = SaveOptions { time: DateTime::<Utc>::UNIX_EPOCH, ..SaveOptions::default() };
        let store = self.store();
        let saved = store.save(&item, tree, &options, &Silent).unwrap();
        assert_eq!(saved.problems, []);
        let points = store.points().unwrap();
        store.tree(points.iter().find(|point| point.id == saved.snapshot).unwrap()).unwrap()
    }

    /// Writes a tree of these entries as they are.
    fn write_tree(&self, entries: Vec<Forged>) -> SavedTree {
        let backends = BackendOptions::default().repository(&*self.config.repository).to_backends().unwrap();
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
        let id = fs::read_dir(self.path("repository/snapshots")).unwrap().next().unwrap().unwrap().file_name();
        let point = Point {
            item: "files.test".into(),
            id: id.into_string().unwrap(),
            time: DateTime::<Utc>::UNIX_EPOCH,
            complete: true,
            files: None,
            bytes: None,
            pinned: false,
        };
        self.store().tree(&point).unwrap()
    }

    /// Flips the bits of one byte in the middle of the largest pack.
    fn damage_largest_pack(&self) {
        let mut packs = Vec::new();
        find_files(&self.path("repository/data"), &mut packs);
        let largest = packs.into_iter().max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
        let length = fs::metadata(&largest).unwrap().len();
        fs::set_permissions(&largest, fs::Permissions::from_mode(0o600)).unwrap();
        let pack = File::options().read(true).write(true).open(&largest).unwrap();
        let mut byte = [0];
        pack.read_exact_at(&mut byte, length / 2).unwrap();
        pack.write_all_at(&[!byte[0]], length / 2).unwrap();
    }
}

/// Bytes that no compression makes fewer.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn find_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { find_files(&path, found) } else { found.push(path) }
    }
}

fn files(directory: &Path) -> Files {
    let common = SourceCommon { name: "test".into(), every: None, max_age: None, allow_empty: false };
    let config = FilesConfig {
        common,
        paths: vec![directory.to_path_buf()],
        exclude: Vec::new(),
        one_file_system: false,
        exclude_caches: false,
        exclude_larger_than: None,
    };
    Files::new(&config, None).unwrap()
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

fn restore(saved: &SavedTree, target: &Path, options: &RestoreOptions) -> Extracted {
    extract(saved, target, Layout::WholePath, options, &Silent).unwrap()
}

/// Restores the content of `directory` into `target`.
fn restore_below(saved: &SavedTree, directory: &Path, target: &Path, options: &RestoreOptions) -> Extracted {
    let options = RestoreOptions { path: Some(directory.to_path_buf()), ..options.clone() };
    extract(saved, target, Layout::Contents, &options, &Silent).unwrap()
}

fn overwriting() -> RestoreOptions {
    RestoreOptions { overwrite: true, ..RestoreOptions::default() }
}

/// Every path below a directory, sorted.
fn everything(below: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut ahead = vec![below.to_path_buf()];
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            found.push(entry.path().strip_prefix(below).unwrap().to_string_lossy().into_owned());
            if entry.file_type().unwrap().is_dir() {
                ahead.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

fn unread(extracted: &Extracted) -> Vec<&Path> {
    let unread = extracted.problems.iter().filter(|problem| problem.severity == Severity::Unread);
    unread.map(|problem| problem.path.as_path()).collect()
}

#[test]
fn tree_comes_back_with_metadata_links_holes_and_odd_names() {
    let bench = Bench::new();
    let source = bench.path("source");
    fs::create_dir_all(source.join("sub/empty")).unwrap();
    fs::write(source.join("sub/plain"), "content").unwrap();
    fs::set_permissions(source.join("sub/plain"), fs::Permissions::from_mode(0o4751)).unwrap();
    setxattr(source.join("sub/plain"), "user.note", b"\0\xff", XattrFlags::empty()).unwrap();
    fs::hard_link(source.join("sub/plain"), source.join("second name")).unwrap();
    symlink("../nowhere", source.join("sub/link")).unwrap();
    let odd = OsStr::from_bytes(b"new\nline \xff\\x");
    fs::write(source.join(odd), "").unwrap();
    let sparse = File::create(source.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    sparse.write_all_at(b"in the middle", 20 << 20).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        source.join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let old = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(86_400, 123_456_789));
    File::open(source.join("sub/plain")).unwrap().set_times(old).unwrap();
    File::open(source.join("sub/empty")).unwrap().set_times(old).unwrap();
    fs::set_permissions(source.join("sub"), fs::Permissions::from_mode(0o555)).unwrap();
    File::open(source.join("sub")).unwrap().set_times(old).unwrap();

    let saved = bench.back_up(&source);
    let target = bench.path("target");
    let extracted = restore_below(&saved, &source, &target, &RestoreOptions { verify: true, ..Default::default() });

    assert_eq!(extracted.problems, []);
    assert_eq!((extracted.files, extracted.directories, extracted.others), (4, 2, 2));
    assert_eq!(extracted.bytes, 7 + (64 << 20));
    assert_eq!(everything(&target), everything(&source));
    for name in ["sub", "sub/empty", "sub/plain", "fifo", "sparse", "sub/link"] {
        let [was, is] = [&source, &target].map(|below| below.join(name).symlink_metadata().unwrap());
        assert_eq!((is.mode(), is.uid(), is.gid()), (was.mode(), was.uid(), was.gid()), "{name}");
        assert_eq!((is.mtime(), is.mtime_nsec()), (was.mtime(), was.mtime_nsec()), "{name}");
    }
    let mut value = [0; 8];
    assert_eq!(getxattr(target.join("sub/plain"), "user.note", &mut value[..]), Ok(2));
    assert_eq!(value[..2], *b"\0\xff");
    assert_eq!(fs::read(target.join("sub/plain")).unwrap(), b"content");
    assert_eq!(fs::read_link(target.join("sub/link")).unwrap(), Path::new("../nowhere"));
    let [first, second] = ["sub/plain", "second name"].map(|name| fs::metadata(target.join(name)).unwrap());
    assert_eq!((first.ino(), first.nlink()), (second.ino(), 2));
    assert_eq!(fs::read(target.join("sparse")).unwrap(), fs::read(source.join("sparse")).unwrap());
    assert!(fs::metadata(target.join("sparse")).unwrap().blocks() * 512 < 1 << 20);
}

#[test]
fn whole_paths_and_single_files_land_where_restic_puts_them() {
    let bench = Bench::new();
    let source = bench.path("source");
    fs::create_dir_all(source.join("a/b")).unwrap();
    fs::write(source.join("a/b/file"), "x").unwrap();
    fs::write(source.join("a/other"), "y").unwrap();
    let saved = bench.back_up(&source);

    let whole = bench.path("whole");
    restore(&saved, &whole, &RestoreOptions::default());
    assert_eq!(fs::read(whole.join(source.strip_prefix("/").unwrap()).join("a/b/file")).unwrap(), b"x");

    let part = bench.path("part");
    restore(&saved, &part, &RestoreOptions { path: Some(source.join("a/b")), ..Default::default() });
    let below = part.join(source.strip_prefix("/").unwrap());
    assert_eq!(everything(&below), ["a", "a/b", "a/b/file"]);

    let single = bench.path("single");
    restore_below(&saved, &source.join("a/b/file"), &single, &RestoreOptions::default());
    assert_eq!(everything(&single), ["file"]);
}

#[test]
fn missing_path_is_an_error_that_names_what_is_near_and_makes_nothing() {
    let bench = Bench::new();
    let source = bench.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("hosts"), "x").unwrap();
    let saved = bench.back_up(&source);
    let target = bench.path("target");
    let options = RestoreOptions { path: Some(source.join("hsots")), ..Default::default() };
    let error = extract(&saved, &target, Layout::Contents, &options, &Silent).unwrap_err();
    assert!(error.to_string().contains("hsots"), "{error}");
    assert!(holdall::error::hints(&error)[0].contains(source.join("hosts").to_str().unwrap()));
    assert!(!target.exists());
}

#[test]
fn directory_that_holds_something_is_refused_without_overwrite() {
    let bench = Bench::new();
    let source = bench.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("a"), "x").unwrap();
    let saved = bench.back_up(&source);
    let target = bench.path("target");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("mine"), "mine").unwrap();
    let error = extract(&saved, &target, Layout::WholePath, &RestoreOptions::default(), &Silent).unwrap_err();
    assert!(error.to_string().ends_with("is not empty"), "{error}");
    assert_eq!(everything(&target), ["mine"]);
}

#[test]
fn overwriting_replaces_what_differs_keeps_what_is_the_same_and_removes_nothing() {
    let bench = Bench::new();
    let source = bench.path("source");
    fs::create_dir_all(source.join("sub")).unwrap();
    fs::write(source.join("sub/same"), "same").unwrap();
    fs::write(source.join("differs"), "right").unwrap();
    fs::write(source.join("was a link"), "file").unwrap();
    fs::write(source.join("is a directory"), "file").unwrap();
    symlink("new", source.join("link")).unwrap();
    let saved = bench.back_up(&source);
    let target = bench.path("target");
    restore_below(&saved, &source, &target, &RestoreOptions::default());
    let same = fs::metadata(target.join("sub/same")).unwrap().ino();

    fs::set_permissions(target.join("sub/same"), fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(target.join("differs"), "wrong").unwrap();
    fs::write(target.join("mine"), "mine").unwrap();
    fs::write(bench.path("outside"), "outside").unwrap();
    fs::remove_file(target.join("was a link")).unwrap();
    symlink(bench.path("outside"), target.join("was a link")).unwrap();
    fs::remove_file(target.join("is a directory")).unwrap();
    fs::create_dir(target.join("is a directory")).unwrap();
    fs::remove_file(target.join("link")).unwrap();
    symlink("old", target.join("link")).unwrap();

    let extracted = restore_below(&saved, &source, &target, &overwriting());
    assert_eq!(unread(&extracted), [source.join("is a directory")]);
    assert_eq!((extracted.files, extracted.unchanged), (2, 1));
    assert_eq!(fs::metadata(target.join("sub/same")).unwrap().ino(), same);
    assert_eq!(fs::metadata(target.join("sub/same")).unwrap().mode() & 0o7777, 0o644);
    assert_eq!(fs::read(target.join("differs")).unwrap(), b"right");
    assert!(target.join("was a link").symlink_metadata().unwrap().is_file());
    assert_eq!(fs::read(bench.path("outside")).unwrap(), b"outside");
    assert!(target.join("is a directory").is_dir());
    assert_eq!(fs::read_link(target.join("link")).unwrap(), Path::new("new"));
    assert_eq!(fs::read(target.join("mine")).unwrap(), b"mine");
}

#[test]
fn file_with_names_elsewhere_is_replaced_and_not_changed() {
    let bench = Bench::new();
    let source = bench.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("a"), "same").unwrap();
    let saved = bench.back_up(&source);
    let target = bench.path("target");
    restore_below(&saved, &source, &target, &RestoreOptions::default());
    let elsewhere = bench.path("elsewhere");
    fs::hard_link(target.join("a"), &elsewhere).unwrap();
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o600)).unwrap();
    let extracted = restore_below(&saved, &source, &target, &overwriting());
    assert_eq!((extracted.files, extracted.unchanged), (1, 0));
    assert_eq!(fs::metadata(&elsewhere).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(target.join("a")).unwrap().mode() & 0o7777, 0o644);
}

#[test]
fn verify_finds_a_file_that_only_looks_unchanged() {
    let bench = Bench::new();
    let source = bench.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("a"), "right").unwrap();
    let saved = bench.back_up(&source);
    let target = bench.path("target");
    restore_below(&saved, &source, &target, &RestoreOptions::default());
    let time = fs::metadata(target.join("a")).unwrap().modified().unwrap();
    fs::write(target.join("a"), "wrong").unwrap();
    File::open(target.join("a")).unwrap().set_times(fs::FileTimes::new().set_modified(time)).unwrap();

    assert_eq!(restore_below(&saved, &source, &target, &overwriting()).unchanged, 1);
    assert_eq!(fs::read(target.join("a")).unwrap(), b"wrong");
    let extracted = restore_below(&saved, &source, &target, &RestoreOptions { verify: true, ..overwriting() });
    assert_eq!((extracted.files, extracted.unchanged), (1, 0));
    assert_eq!(fs::read(target.join("a")).unwrap(), b"right");
}

#[test]
fn dry_run_tells_each_change_and_makes_none() {
    let bench = Bench::new();
    let source = bench.path("source");
    fs::create_dir_all(source.join("sub")).unwrap();
    fs::write(source.join("sub/a"), "x").unwrap();
    fs::write(source.join("same"), "y").unwrap();
    let saved = bench.back_up(&source);
    let target = bench.path("target");
    let told = Arc::new(Mutex::new(Vec::new()));
    let hear = told.clone();
    let watch = Watch::new(move |action| {
        hear.lock().unwrap().push(format!("{} {}", action.change.letter(), action.path.display()));
        Ok(())
    });
    let options = RestoreOptions { dry_run: true, watch: Some(watch), ..overwriting() };

    let extracted = restore_below(&saved, &source, &target, &options);
    assert_eq!((extracted.files, extracted.directories, extracted.bytes), (2, 1, 2));
    assert!(!target.exists());
    let expected = ["same", "sub", "sub/a"].map(|name| format!("+ {}", target.join(name).display()));
    assert_eq!(std::mem::take(&mut *told.lock().unwrap()), expected);

    restore_below(&saved, &source, &target, &RestoreOptions::default());
    fs::write(target.join("sub/a"), "changed").unwrap();
    restore_below(&saved, &source, &target, &options);
    assert_eq!(*told.lock().unwrap(), [format!("M {}", target.join("sub/a").display())]);
    assert_eq!(fs::read(target.join("sub/a")).unwrap(), b"changed");
}

#[test]
fn damaged_content_costs_only_the_files_that_have_it() {
    let bench = Bench::new();
    let source = bench.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("damaged"), noise(1_000_000)).unwrap();
    fs::write(source.join("whole"), "").unwrap();
    let first = bench.back_up(&source);
    drop(first);
    fs::write(source.join("whole"), "still here").unwrap();
    let saved = bench.back_up(&source);
    bench.damage_largest_pack();
    let target = bench.path("target");
    let extracted = restore_below(&saved, &source, &target, &RestoreOptions::default());
    assert_eq!(unread(&extracted), [source.join("damaged")]);
    assert!(extracted.is_incomplete());
    assert_eq!(everything(&target), ["whole"]);
    assert_eq!(fs::read(target.join("whole")).unwrap(), b"still here");
}

#[test]
fn hostile_names_are_told_and_nothing_is_made_outside() {
    let bench = Bench::new();
    let saved = bench.write_tree(vec![
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
    ]);
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
    let saved = bench.write_tree(vec![
        link("/a", "way", &outside),
        directory("/b", "way"),
        file("/b/c", "escaped", "x"),
        link("/d", "to file", &outside.join("file")),
        file("/e", "to file", "overwritten"),
    ]);
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
    let saved = bench.write_tree(vec![directory("/sub", "sub"), file("/sub/a", "a", "x")]);
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
    let saved = bench.write_tree(vec![
        claim(file("/a", "a", "one")),
        claim(file("/b", "b", "two")),
        claim(file("/c", "c", "one")),
    ]);
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
    let saved = bench.write_tree(vec![liar]);
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
    let saved = bench.write_tree(vec![file("/a", &long, "x"), directory("/b", &long), file("/c", "good", "x")]);
    let target = bench.path("target");
    let extracted = restore(&saved, &target, &RestoreOptions::default());
    assert_eq!(unread(&extracted).len(), 2);
    assert_eq!(everything(&target), ["good"]);
}

#[test]
fn full_target_ends_the_restore_and_leaves_nothing_unfinished() {
    let bench = Bench::new();
    let source = bench.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("large"), noise(3_000_000)).unwrap();
    let saved = bench.back_up(&source);
    let full = bench.path("full");
    fs::create_dir(&full).unwrap();
    let mounted = Mounted::tmpfs(&full, "size=1m");
    let options = RestoreOptions { path: Some(source.clone()), ..Default::default() };
    let error = extract(&saved, &full, Layout::Contents, &options, &Silent).unwrap_err();
    let text = holdall::error::chain(&error);
    assert!(text.starts_with(&format!("write {}", full.join("large").display())), "{text}");
    assert!(text.contains("No space left"), "{text}");
    assert!(!holdall::error::hints(&error).is_empty());
    assert_eq!(everything(&full), [""; 0]);
    drop(mounted);
}

/// A file system that is mounted until it is dropped. Needs root, as the machines have on which these tests run.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: &Path, options: &str) -> Self {
        let status = run("mount", &["-t", "tmpfs", "-o", options, "tmpfs", at.to_str().unwrap()]);
        assert!(status, "mount a tmpfs");
        Self(at.to_path_buf())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &[self.0.to_str().unwrap()]);
    }
}

fn run(program: &str, arguments: &[&str]) -> bool {
    std::process::Command::new(program).args(arguments).status().is_ok_and(|status| status.success())
}
