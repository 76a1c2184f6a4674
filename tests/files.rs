//! The `files` source: whatever a file system can hold goes into a point and comes back, and what is left out is left out.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

mod support;

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use holdall::config::{FilesConfig, LeaveOut, SourceCommon};
use holdall::monitor::Silent;
use holdall::source::files::Files;
use holdall::source::{Content, OpenOptions, Source};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, chownat, inotify, mkdirat, mknodat, openat,
    utimensat,
};
use rustix::process::{Resource, getrlimit};
use support::env::TestEnv;
use support::fault::{Tmpfs, finish_ok};
use support::tree;

const HOME: &str = "[files.home]\npaths = [\"{root}/source\"]\n";

fn set_modified(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn set_owner(path: &Path, user: u32, group: u32) {
    chownat(CWD, path, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)), AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// The names below the source in the newest point, as restic lists them.
fn names_in_newest_point(env: &TestEnv) -> BTreeSet<String> {
    let listed = env.restic(["ls", "latest"]).code(0);
    let below = format!("{}/", env.source().display());
    listed.stdout.lines().filter_map(|line| line.strip_prefix(&below)).map(ToOwned::to_owned).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

/// A tree with everything that restic of Debian 12 can bring back.
fn everything(source: &Path) {
    assert!(rustix::process::geteuid().is_root(), "this test makes devices and owners: run it as root");
    let file = |name: &[u8], content: &[u8]| {
        let path = source.join(OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    };
    set_mode(&file(b"modes/suid", b"x"), 0o4755);
    set_mode(&file(b"modes/sgid", b"x"), 0o2711);
    set_mode(&file(b"modes/none", b"x"), 0o000);
    set_mode(&file(b"modes/all", b"x"), 0o777);
    fs::create_dir_all(source.join("modes/sticky")).unwrap();
    set_mode(&source.join("modes/sticky"), 0o1777);
    set_owner(&file(b"owners/known", b"x"), 1, 2);
    set_owner(&file(b"owners/unknown", b"x"), 54_321, 4_000_000_000);

    symlink("modes/all", source.join("link")).unwrap();
    symlink("/etc/passwd", source.join("link-absolute")).unwrap();
    symlink("../../../nowhere", source.join("link-dangling")).unwrap();
    set_owner(&source.join("link"), 3, 3);

    let linked = file(b"links/a/one", b"linked");
    fs::create_dir_all(source.join("links/b")).unwrap();
    fs::hard_link(&linked, source.join("links/a/two")).unwrap();
    fs::hard_link(&linked, source.join("links/b/three")).unwrap();

    let attributes = file(b"attributes/file", b"x");
    for (name, value) in [("user.text", &b"value"[..]), ("user.bytes", b"\0\xff\n"), ("user.empty", b"")] {
        rustix::fs::setxattr(&attributes, name, value, rustix::fs::XattrFlags::empty()).unwrap();
    }
    finish_ok(Command::new("setfacl").args(["-m", "u:1:rw,g:2:r,m::rwx"]).arg(&attributes));
    finish_ok(Command::new("setfacl").args(["-d", "-m", "u:1:rwx"]).arg(source.join("attributes")));

    fs::create_dir(source.join("special")).unwrap();
    let special = |name: &str, kind, device| {
        mknodat(CWD, source.join("special").join(name), kind, Mode::from_raw_mode(0o640), device).unwrap();
    };
    special("fifo", FileType::Fifo, 0);
    special("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    special("disk", FileType::BlockDevice, rustix::fs::makedev(259, 300));

    file(b"content/empty", b"");
    fs::create_dir(source.join("content/empty-directory")).unwrap();
    let sparse = File::create(source.join("content/sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"island", 40 << 20).unwrap();
    let noise: Vec<u8> = (0..3_u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    file(b"content/large", &noise);

    for name in [
        &b"-leading-dash"[..],
        b"new\nline",
        b"tab\tbell\x07escape\x1b[31m",
        b"quote'\"`",
        b"back\\slash\\n",
        b"not-utf8-\xff\xfe",
        b"\xc3\xa4-composed",
        b"*?[glob]",
        b" blank ",
        b"...",
        b"~",
    ] {
        file(&[b"names/", name].concat(), name);
    }
    file(&[b"names/", &[b'x'; 255][..]].concat(), b"255 bytes");
    fs::create_dir(source.join(OsStr::from_bytes(b"names/directory-\xff"))).unwrap();

    set_modified(&source.join("link"), 1_000_000_000, 123_456_789);
    set_modified(&source.join("content/empty"), 0, 1);
    set_modified(&source.join("content/large"), -1_000, 999_999_999);
    set_modified(&source.join("special/fifo"), 1_234_567_890, 1);
    set_modified(&source.join("links/b"), 1_111_111_111, 111_111_111);
}

#[test]
fn everything_a_file_system_holds_comes_back_through_restic() {
    let env = TestEnv::with_store_and(HOME);
    everything(&env.source());
    env.run(["backup"]).code(0);
    env.restic(["check", "--read-data"]).code(0);
    tree::assert_same(&env.source(), &env.restored_by_restic("latest"));
}

#[test]
fn everything_a_file_system_holds_comes_back_through_holdall() {
    let env = TestEnv::with_store_and(HOME);
    everything(&env.source());
    // What restic of Debian 12 does not write or bring back.
    symlink(OsString::from_vec(b"to-\xff".to_vec()), env.source().join("link-not-utf8")).unwrap();
    env.run(["backup"]).code(0);
    let target = env.path("target");
    let arguments = ["restore", "files.home", "--verify", "--to"].map(OsStr::new);
    env.run(arguments.into_iter().chain([target.as_os_str()])).code(0);
    tree::assert_same(&env.source(), &target.join(env.source().strip_prefix("/").unwrap()));
}

#[test]
fn second_point_of_an_unchanged_source_does_not_differ() {
    let env = TestEnv::with_store_and(HOME);
    everything(&env.source());
    env.run(["backup"]).code(0);
    let item = env.run(["backup", "--json"]).code(0).line("item");
    assert_eq!((&item["files_new"], &item["files_changed"]), (&0.into(), &0.into()), "{item}");
    // Everything above the source belongs to all tests.
    let points = env.run(["list", "--json"]).code(0).json();
    let ids = [0, 1].map(|index| points[index]["point"].as_str().unwrap());
    let source = env.source().display().to_string();
    env.restic(["diff", "--metadata", ids[0], ids[1]]).code(0).stdout_lacks(&source);
}

#[test]
fn socket_is_left_out_without_a_word() {
    let env = TestEnv::with_store_and(HOME).file("file", "x");
    let _listener = UnixListener::bind(env.source().join("socket")).unwrap();
    let item = env.run(["backup", "--json"]).code(0).line("item");
    assert_eq!((&item["outcome"], &item["problems"]), (&"saved".into(), &serde_json::json!([])), "{item}");
    assert_eq!(names_in_newest_point(&env), set(&["file"]));
}

/// Makes `levels` directories of 200 bytes below each other, and returns the last one.
fn dig(top: &Path, levels: usize) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let name = CString::new([b'd'; 200]).unwrap();
    (0..levels).fold(openat(CWD, top, flags, Mode::empty()).unwrap(), |directory, _| {
        mkdirat(&directory, &name, Mode::RWXU).unwrap();
        openat(&directory, &name, flags, Mode::empty()).unwrap()
    })
}

#[test]
fn path_longer_than_the_kernel_takes_in_one_call_goes_in_and_comes_back() {
    let env = TestEnv::with_store_and(HOME);
    let levels = 25;
    let deepest = dig(&env.source(), levels);
    let make = OFlags::WRONLY | OFlags::CREATE;
    File::from(openat(&deepest, "file", make, Mode::RWXU).unwrap()).write_all(b"deep").unwrap();
    let item = env.run(["backup", "--json"]).code(0).line("item");
    assert_eq!((&item["outcome"], &item["files_new"]), (&"saved".into(), &1.into()), "{item}");
    env.restic(["check", "--read-data"]).code(0);

    let target = env.path("target");
    let arguments = [OsStr::new("restore"), "files.home".as_ref(), "--to".as_ref(), target.as_os_str()];
    env.run(arguments).code(0);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let top = target.join(env.source().strip_prefix("/").unwrap());
    let name = CString::new([b'd'; 200]).unwrap();
    let found = (0..levels).fold(openat(CWD, &top, flags, Mode::empty()).unwrap(), |directory, _| {
        openat(&directory, &name, flags, Mode::empty()).unwrap()
    });
    let mut content = String::new();
    File::from(openat(&found, "file", OFlags::RDONLY, Mode::empty()).unwrap()).read_to_string(&mut content).unwrap();
    assert_eq!(content, "deep");
}

#[test]
fn more_directories_than_descriptors_are_read_however_late() {
    const NAME: &str = "more_directories_than_descriptors_are_read_however_late";
    if getrlimit(Resource::Nofile).current != Some(64) {
        // A process of its own: the limit is for all tests of one.
        let few = "ulimit -Sn 64 && exec \"$0\" --exact \"$1\"";
        let itself = std::env::current_exe().unwrap();
        let output = Command::new("sh").args(["-c", few]).arg(itself).arg(NAME).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains("1 passed"), "{told}");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    for number in 0..5000 {
        let directory = root.path().join(number.to_string());
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("file"), directory.as_os_str().as_bytes()).unwrap();
    }
    let mut deep = root.path().join("deep");
    for _ in 0..300 {
        fs::create_dir(&deep).unwrap();
        for name in ["after", "before"] {
            fs::write(deep.join(name), deep.join(name).as_os_str().as_bytes()).unwrap();
        }
        deep.push("b");
    }
    let common = SourceCommon { name: "x".into(), every: None, max_age: None, allow_empty: false };
    let paths = vec![root.path().to_path_buf()];
    let config = FilesConfig { common, paths, leave_out: LeaveOut::default() };
    let files = Files::new(&config, &[]).unwrap();
    let tree = files.open(&files.items().unwrap()[0], &OpenOptions::default(), &Silent).unwrap();

    let read = |(path, content): (PathBuf, Content)| {
        let mut text = Vec::new();
        let Content::Read(opener) = content else { panic!("{} is not read", path.display()) };
        opener.open().unwrap().read_to_end(&mut text).unwrap();
        let expected = if path.starts_with(root.path().join("deep")) { &*path } else { path.parent().unwrap() };
        assert_eq!(OsStr::from_bytes(&text), expected.as_os_str());
    };
    let mut waiting = VecDeque::new();
    let (mut count, mut bytes) = (0, 0);
    for entry in tree.entries() {
        let entry = entry.unwrap();
        let Some(content) = entry.content else { continue };
        (count, bytes) = (count + 1, bytes + entry.node.meta.size);
        waiting.push_back((entry.path, content));
        if waiting.len() > 4096 {
            waiting.pop_front().into_iter().for_each(read);
        }
    }
    waiting.into_iter().rev().for_each(read);
    assert_eq!(count, 5600);
    assert_eq!(tree.size(), Some(bytes));
}

#[test]
fn excludes_are_those_of_a_gitignore_at_the_root() {
    let env = TestEnv::with_store_and(
        "[files.home]\npaths = [\"{root}/source\"]\nexclude = [\"*.tmp\", \"!keep.tmp\", \"{root}/source/*/cache\", \"build/\", \"/top\"]\n",
    );
    for file in ["a.tmp", "keep.tmp", "me/cache/x", "me/deep/cache/y", "build/x", "me/build", "top", "me/a.tmp/z"] {
        env.write(file, "x");
    }
    env.run(["backup"]).code(0);
    let kept = ["keep.tmp", "me", "me/build", "me/deep", "me/deep/cache", "me/deep/cache/y", "top"];
    assert_eq!(names_in_newest_point(&env), set(&kept));
}

#[test]
fn one_file_system_stops_at_a_mount_and_keeps_its_directory() {
    let env = TestEnv::with_store_and(HOME).file("file", "x");
    let _mounted = Tmpfs::mount(&env.source().join("mount"), "1m");
    env.write("mount/inside", "x");
    env.run(["backup"]).code(0);
    assert_eq!(names_in_newest_point(&env), set(&["file", "mount", "mount/inside"]));
    env.configure(&format!("{HOME}one-file-system = true\n"));
    env.run(["backup"]).code(0);
    assert_eq!(names_in_newest_point(&env), set(&["file", "mount"]));
}

#[test]
fn content_of_a_tagged_cache_is_left_out_and_its_tag_kept() {
    let env = TestEnv::with_store_and(&format!("{HOME}exclude-caches = true\n"));
    env.write("cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n# made by a test");
    env.write("cache/deep/x", "x");
    env.write("other/CACHEDIR.TAG", "Signature: something else");
    env.write("other/x", "x");
    env.run(["backup"]).code(0);
    let kept = ["cache", "cache/CACHEDIR.TAG", "other", "other/CACHEDIR.TAG", "other/x"];
    assert_eq!(names_in_newest_point(&env), set(&kept));
}

#[test]
fn only_larger_files_are_left_out() {
    let env = TestEnv::with_store_and(&format!("{HOME}exclude-larger-than = \"1KiB\"\n"));
    env.write("limit", [0; 1024]);
    env.write("over", [0; 1025]);
    env.run(["backup"]).code(0);
    assert_eq!(names_in_newest_point(&env), set(&["limit"]));
}

#[test]
fn nested_paths_are_saved_once() {
    let env = TestEnv::with_store_and(
        "[files.home]\npaths = [\"{root}/source/b\", \"{root}/source\", \"{root}/source/a/x\"]\n",
    );
    for file in ["a/x", "b/y", "c"] {
        env.write(file, "x");
    }
    let item = env.run(["backup", "--json"]).code(0).line("item");
    assert_eq!(item["files_new"], 3, "{item}");
    assert_eq!(names_in_newest_point(&env), set(&["a", "a/x", "b", "b/y", "c"]));
}

#[test]
fn several_paths_keep_the_directories_above_them() {
    let env = TestEnv::with_store_and("[files.home]\npaths = [\"{root}/source/a/deep/x\", \"{root}/source/b\"]\n");
    for file in ["a/deep/x", "a/deep/not", "b/y", "not"] {
        env.write(file, "x");
    }
    let above = env.source().join("a/deep");
    set_mode(&above, 0o751);
    set_modified(&above, 1_222_222_222, 222_222_222);
    env.run(["backup"]).code(0);
    env.restic(["check", "--read-data"]).code(0);
    assert_eq!(names_in_newest_point(&env), set(&["a", "a/deep", "a/deep/x", "b", "b/y"]));
    let restored = fs::metadata(env.restored_by_restic("latest").join("a/deep")).unwrap();
    assert_eq!((restored.mode() & 0o7777, restored.mtime_nsec()), (0o751, 222_222_222));
}

#[test]
fn path_that_is_a_link_is_saved_as_a_link_and_one_through_a_link_as_named() {
    let env = TestEnv::with_store_and("[files.home]\npaths = [\"{root}/source/link\", \"{root}/source/way/inside\"]\n");
    env.write("real/inside", "content");
    symlink("real", env.source().join("link")).unwrap();
    symlink("real", env.source().join("way")).unwrap();
    env.run(["backup"]).code(0);
    assert_eq!(names_in_newest_point(&env), set(&["link", "way", "way/inside"]));
    let restored = env.restored_by_restic("latest");
    assert_eq!(fs::read_link(restored.join("link")).unwrap(), PathBuf::from("real"));
    assert_eq!(fs::read(restored.join("way/inside")).unwrap(), b"content");
}

#[test]
fn store_inside_of_what_is_backed_up_is_left_out() {
    let env = TestEnv::new().file("file", "x");
    fs::create_dir(env.source().join("real-store")).unwrap();
    // By whatever way it is named.
    symlink("source/real-store", env.store()).unwrap();
    env.onboard_store();
    env.configure(HOME);
    env.run(["backup"]).code(0);
    assert_eq!(names_in_newest_point(&env), set(&["file"]));
}

/// The names in a directory that are opened or read while `work` runs; the directory itself has the empty name.
fn opened_in(directory: &Path, work: impl FnOnce()) -> BTreeSet<String> {
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, directory, inotify::WatchFlags::OPEN | inotify::WatchFlags::ACCESS).unwrap();
    work();
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    let mut names = BTreeSet::new();
    while let Ok(event) = events.next() {
        names.insert(event.file_name().map(|name| name.to_str().unwrap().to_owned()).unwrap_or_default());
    }
    names
}

#[test]
fn unchanged_file_is_not_opened_again_and_a_changed_one_is() {
    let env = TestEnv::with_store_and(HOME).file("a", "same").file("b", "first");
    let back_up = |new: u64, changed: u64, unmodified: u64| {
        let item = env.run(["backup", "--json"]).code(0).line("item");
        let files = ["files_new", "files_changed", "files_unmodified"].map(|key| item[key].as_u64().unwrap());
        assert_eq!(files, [new, changed, unmodified], "{item}");
    };
    assert_eq!(opened_in(&env.source(), || back_up(2, 0, 0)), set(&["", "a", "b"]));
    assert_eq!(opened_in(&env.source(), || back_up(0, 0, 2)), set(&[""]));
    // Size and time of modification are as they were; the time of change is not, and nobody can set it.
    let before = fs::metadata(env.source().join("b")).unwrap();
    env.write("b", "other");
    set_modified(&env.source().join("b"), before.mtime(), before.mtime_nsec());
    assert_eq!(opened_in(&env.source(), || back_up(0, 1, 1)), set(&["", "b"]));
    assert_eq!(fs::read(env.restored_by_restic("latest").join("b")).unwrap(), b"other");
}
