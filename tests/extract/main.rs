//! Restoring from a real repository: what comes back, what a tree that lies cannot do, and the commands that read points.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex};

use holdall::extract::{Layout, RestoreOptions, Watch, extract};
use holdall::monitor::Silent;
use rustix::fs::{XattrFlags, getxattr, setxattr};

mod bench;
mod commands;
mod hostile;

use bench::{Bench, Mounted, everything, noise, overwriting, restore, restore_below, unread};

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
fn link_above_what_was_backed_up_is_kept_and_followed_in_place() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("disk/data")).unwrap();
    symlink("disk", bench.path("link")).unwrap();
    let source = bench.path("link/data");
    fs::write(source.join("a"), "x").unwrap();
    fs::set_permissions(bench.path("disk"), fs::Permissions::from_mode(0o755)).unwrap();
    let saved = bench.back_up(&source);
    fs::remove_file(source.join("a")).unwrap();
    fs::set_permissions(bench.path("disk"), fs::Permissions::from_mode(0o711)).unwrap();

    let extracted = restore(&saved, Path::new("/"), &overwriting());
    assert_eq!(extracted.problems, []);
    assert_eq!((extracted.files, extracted.directories), (1, 1));
    assert!(bench.path("link").symlink_metadata().unwrap().is_symlink());
    assert_eq!(fs::read(bench.path("disk/data/a")).unwrap(), b"x");
    assert_eq!(fs::metadata(bench.path("disk")).unwrap().mode() & 0o7777, 0o711);
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
