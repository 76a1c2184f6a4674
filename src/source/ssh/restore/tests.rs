//! Points put back by the real tar, through a shell of this machine.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use chrono::DateTime;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lgetxattr, llistxattr, lsetxattr, makedev, mknodat,
    utimensat,
};

use super::super::probe::Tools;
use super::*;
use crate::config::{FilesConfig, SourceCommon, StoreConfig};
use crate::extract::Watch;
use crate::monitor::{Recording, Silent};
use crate::secret::Secret;
use crate::source::files::Files;
use crate::source::{Severity, Source};
use crate::store::{SaveOptions, Store};
use crate::timeline::Timeline;

/// What reads and what writes with this tar.
fn programs(tar: &str, sudo: Option<&str>) -> (&'static Argv, &'static Argv) {
    let tools =
        Tools { tar: Some(tar.to_owned()), tar_has_xattrs: true, sudo: sudo.map(str::to_owned), ..Tools::default() };
    let whole = |argv| &*Box::leak(Box::new(commands::privileged(&tools, sudo.is_some(), argv)));
    (whole(commands::read(&tools)), whole(commands::write(&tools)))
}

/// Runs scripts here.
#[derive(Default)]
struct Here {
    /// What to run before a script that reads back.
    before_reading: String,
    /// How many bytes of input are taken before the connection fails.
    breaks_after: Option<usize>,
}

impl Shell for Here {
    fn run(
        &mut self,
        script: &[u8],
        input: &mut dyn Read,
        output: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Ended> {
        let mut script = script.to_vec();
        if script.windows(8).any(|word| word == b"--create") {
            script = [self.before_reading.as_bytes(), b"\n", &*script].concat();
        }
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(OsStr::from_bytes(&script))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut stdin = child.stdin.take().unwrap();
        let waiter = thread::spawn(move || child.wait_with_output().unwrap());
        let mut buffer = vec![0; 64 << 10];
        let mut taken = 0;
        loop {
            let read = input.read(&mut buffer)?;
            taken += read;
            if self.breaks_after.is_some_and(|most| taken > most) {
                bail!("the connection was lost");
            }
            // A program that has enough ends early.
            if read == 0 || stdin.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        drop(stdin);
        let ended = waiter.join().unwrap();
        ended.stdout.chunks(100_000).try_for_each(output)?;
        Ok(Ended { status: ended.status.code().unwrap_or(-1), complaints: ended.stderr })
    }
}

struct Bench {
    place: tempfile::TempDir,
    store: Store,
}

impl Bench {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let config = StoreConfig {
            repository: place.path().join("repository").to_str().unwrap().to_owned(),
            password: Secret::literal("x"),
            options: BTreeMap::new(),
            secret_options: BTreeMap::new(),
        };
        fs::create_dir(place.path().join("source")).unwrap();
        let store = Store::init(&config, Arc::new(Silent)).unwrap();
        Self { place, store }
    }

    fn source(&self) -> PathBuf {
        self.place.path().join("source")
    }

    fn back_up(&self) -> SavedTree {
        let common = SourceCommon { name: "x".to_owned(), every: None, max_age: None, allow_empty: true };
        let config = FilesConfig { common, paths: vec![self.source()], leave_out: crate::config::LeaveOut::default() };
        let source = Files::new(&config, &[]).unwrap();
        let item = source.items().unwrap().remove(0);
        let options = SaveOptions { time: DateTime::UNIX_EPOCH, ..SaveOptions::default() };
        let tree = source.open(&item, &crate::source::OpenOptions::default(), &Silent).unwrap();
        self.store.save(&item, tree, &options, &Silent).unwrap();
        self.store.tree(&self.store.points().unwrap()[0]).unwrap()
    }
}

/// What stands on this machine.
fn standing(path: &[u8]) -> Standing {
    let Ok(found) = fs::symlink_metadata(OsStr::from_bytes(path)) else { return Standing::Missing };
    Standing::There(Stat {
        mode: found.mode(),
        uid: found.uid(),
        gid: found.gid(),
        size: found.size(),
        mtime: (found.mtime(), found.mtime_nsec() as u32),
        ctime: Some((found.ctime(), found.ctime_nsec() as u32)),
        inode: found.ino(),
        links: found.nlink(),
        device: found.dev(),
    })
}

fn unknown(_: &[u8]) -> Standing {
    Standing::Unknown
}

/// A restore to where it came from.
fn in_place<'a>(saved: &'a SavedTree, options: &'a RestoreOptions) -> Restore<'a> {
    Restore {
        saved,
        target: Path::new("/"),
        layout: Layout::WholePath,
        options,
        made: &[],
        reader: programs("tar", None).0,
        writer: programs("tar", None).1,
        is_root: true,
        is_empty: false,
        standing: &standing,
    }
}

fn overwrite() -> RestoreOptions {
    RestoreOptions { overwrite: true, ..RestoreOptions::default() }
}

fn at(path: Option<PathBuf>) -> RestoreOptions {
    RestoreOptions { path, ..overwrite() }
}

/// Everything of an entry that a restore must bring back.
#[derive(Debug, PartialEq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    time: (i64, i64),
    /// Content, target or number of a device.
    inside: Vec<u8>,
    links: u64,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

fn see(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut seen = BTreeMap::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(path) = left.pop() {
        let found = fs::symlink_metadata(&path).unwrap();
        let kind = found.file_type();
        let inside = if kind.is_file() {
            fs::read(&path).unwrap()
        } else if kind.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().into_vec()
        } else if kind.is_char_device() || kind.is_block_device() {
            found.rdev().to_string().into_bytes()
        } else {
            Vec::new()
        };
        if kind.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let mut names = [0; 4096];
        let length = llistxattr(&path, &mut names).unwrap();
        let value = |name: &[u8]| {
            let mut value = [0; 4096];
            let length = lgetxattr(&path, name, &mut value).unwrap();
            value[..length].to_vec()
        };
        let xattrs = names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
        let one = Seen {
            mode: found.mode(),
            owner: (found.uid(), found.gid()),
            time: (found.mtime(), found.mtime_nsec()),
            inside,
            links: if kind.is_dir() { 0 } else { found.nlink() },
            xattrs: xattrs.map(|name| (name.to_vec(), value(name))).collect(),
        };
        seen.insert(path.strip_prefix(root).unwrap().to_path_buf(), one);
    }
    seen
}

/// A directory with one of everything. Returns it as it is.
fn fill(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let at = |name: &[u8]| root.join(OsStr::from_bytes(name));
    fs::create_dir_all(at(b"closed/inside")).unwrap();
    fs::create_dir(at(b"plain")).unwrap();
    for (name, mode) in
        [(&b"plain/file"[..], 0o640), (b"closed/inside/none", 0), (b"setuid", 0o6755), (b"odd: \n \\ \xff", 0o600)]
    {
        fs::write(at(name), name).unwrap();
        chown(at(name), Some(70_001), Some(70_002)).unwrap();
        fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
    }
    fs::write(at(&[b'n'; 255]), vec![5; 3 << 20]).unwrap();
    fs::write(at(b"empty"), "").unwrap();
    fs::hard_link(at(b"plain/file"), at(b"another name")).unwrap();
    symlink("../up/".repeat(60), at(b"link")).unwrap();
    symlink("/nowhere", at(b"absolute")).unwrap();
    lchown(at(b"absolute"), Some(7), Some(8)).unwrap();
    mknodat(CWD, at(b"fifo"), FileType::Fifo, Mode::from_raw_mode(0o620), 0).unwrap();
    mknodat(CWD, at(b"device"), FileType::CharacterDevice, Mode::from_raw_mode(0o620), makedev(300, 70_000)).unwrap();
    for (name, attribute, value) in [
        (&b"plain/file"[..], "user.a=%3D", &b"1=2\n\0\xff"[..]),
        (b"plain", "trusted.t", b"x"),
        (b"setuid", "security.capability", &[1, 0, 0, 2, 10, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        lsetxattr(at(name), attribute, value, XattrFlags::empty()).unwrap();
    }
    for (rule, name) in [("u:70000:r,g:70003:rwx,m::rw", &b"plain/file"[..]), ("u:70000:rwx,d:u:70005:rw", b"plain")] {
        assert!(Command::new("setfacl").args(["-m", rule]).arg(at(name)).status().unwrap().success());
    }
    // Each a time of its own, one before 1970; directories last, and the root at the very end.
    let mut seconds = -1;
    for path in see(root).into_keys().rev() {
        seconds += 100;
        let time = Timespec { tv_sec: seconds, tv_nsec: 123_456_789 };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, root.join(path), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
    fs::set_permissions(at(b"closed"), Permissions::from_mode(0o500)).unwrap();
    see(root)
}

#[test]
fn everything_comes_back_where_it_was_and_above_it_nothing_changes() {
    let bench = Bench::new();
    let expected = fill(&bench.source());
    let saved = bench.back_up();
    fs::remove_dir_all(bench.source()).unwrap();
    let above = fs::metadata(bench.place.path()).unwrap();
    let options = RestoreOptions { verify: true, ..overwrite() };
    let monitor = Recording::default();
    let done = in_place(&saved, &options).run(&mut Here::default(), &monitor).unwrap();
    assert_eq!(done.problems, []);
    let seen = see(&bench.source());
    for (path, expected) in &expected {
        assert_eq!(seen.get(path), Some(expected), "{}", path.display());
    }
    assert_eq!(seen.len(), expected.len());
    let count =
        |matches: &dyn Fn(u32) -> bool| expected.values().filter(|seen| matches(seen.mode & 0o170_000)).count() as u64;
    assert_eq!(done.files, count(&|kind| kind == 0o100_000));
    assert_eq!(done.directories, count(&|kind| kind == 0o040_000));
    assert_eq!(done.others, count(&|kind| kind != 0o040_000 && kind != 0o100_000));
    assert_eq!(monitor.lines(), ["files.x: restore", "files.x: compare"]);
    let now = fs::metadata(bench.place.path()).unwrap();
    assert_eq!((now.mode(), now.uid()), (above.mode(), above.uid()));
}

#[test]
fn directory_above_that_is_there_is_left_and_one_that_is_missing_gets_what_it_had() {
    let bench = Bench::new();
    let above = bench.source();
    fs::create_dir(above.join("a")).unwrap();
    fs::create_dir(above.join("b")).unwrap();
    for name in ["a", "b"] {
        fs::write(above.join(name).join("file"), name).unwrap();
        fs::set_permissions(above.join(name), Permissions::from_mode(0o711)).unwrap();
    }
    let saved = bench.back_up();
    for name in ["a", "b"] {
        fs::remove_file(above.join(name).join("file")).unwrap();
    }
    fs::remove_dir(above.join("a")).unwrap();
    fs::set_permissions(above.join("b"), Permissions::from_mode(0o700)).unwrap();
    for name in ["a", "b"] {
        let options = at(Some(above.join(name).join("file")));
        let done = in_place(&saved, &options).run(&mut Here::default(), &Silent).unwrap();
        assert_eq!((done.files, done.problems), (1, vec![]));
        assert_eq!(fs::read(above.join(name).join("file")).unwrap(), name.as_bytes());
    }
    let mode = |name: &str| fs::metadata(above.join(name)).unwrap().mode() & 0o777;
    assert_eq!((mode("a"), mode("b")), (0o711, 0o700));
}

#[test]
fn target_elsewhere_gets_whole_paths_or_what_is_in_a_path() {
    let bench = Bench::new();
    let expected = fill(&bench.source());
    let saved = bench.back_up();
    let source = bench.source();
    let whole = bench.place.path().join("new/whole");
    let target = |name: &str| bench.place.path().join(name);
    let restore = |target: &Path, options: &RestoreOptions, layout| {
        let restore = Restore { target, layout, is_empty: true, standing: &unknown, ..in_place(&saved, options) };
        restore.run(&mut Here::default(), &Silent).unwrap()
    };
    let verify = RestoreOptions { verify: true, ..RestoreOptions::default() };
    let done = restore(&whole, &verify, Layout::WholePath);
    assert_eq!(done.problems, []);
    assert!(see(&whole.join(source.strip_prefix("/").unwrap())) == expected);

    let contents = RestoreOptions { path: Some(source.join("plain")), ..verify.clone() };
    assert_eq!(restore(&target("contents"), &contents, Layout::Contents).problems, []);
    assert_eq!(fs::read(target("contents/file")).unwrap(), b"plain/file");
    let one = RestoreOptions { path: Some(source.join("plain/file")), ..verify };
    assert_eq!(restore(&target("one"), &one, Layout::Contents).problems, []);
    assert_eq!(fs::read(target("one/file")).unwrap(), b"plain/file");
}

#[test]
fn directory_with_something_in_it_is_not_written_to_unless_asked() {
    let bench = Bench::new();
    let saved = bench.back_up();
    let options = RestoreOptions::default();
    let target = bench.place.path().join("full");
    let restore = Restore { target: &target, ..in_place(&saved, &options) };
    let error = restore.run(&mut Here::default(), &Silent).unwrap_err();
    assert!(error.to_string().contains("is not empty"), "{error}");
    assert!(!target.exists());
}

#[test]
fn only_what_was_touched_is_sent_and_links_stay_together() {
    let bench = Bench::new();
    let source = bench.source();
    for name in ["same", "content", "mode", "kind", "linked"] {
        fs::write(source.join(name), name).unwrap();
    }
    fs::hard_link(source.join("linked"), source.join("linked too")).unwrap();
    let expected = see(&source);
    let saved = bench.back_up();
    let same = fs::metadata(source.join("same")).unwrap();
    fs::write(source.join("content"), "other").unwrap();
    fs::set_permissions(source.join("mode"), Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(source.join("kind")).unwrap();
    symlink("/etc", source.join("kind")).unwrap();
    // The first of two names is replaced; the second is as it was, but must be linked to the new one.
    fs::remove_file(source.join("linked")).unwrap();
    fs::write(source.join("linked"), "something else").unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let watch = Watch::new(move |action| {
        log.lock().unwrap().push(format!("{} {}", action.change.letter(), action.path.file_name().unwrap().display()));
        Ok(())
    });
    let options = RestoreOptions { watch: Some(watch), dry_run: true, ..overwrite() };
    let before = see(&source);
    let would = in_place(&saved, &options).run(&mut Here::default(), &Silent).unwrap();
    assert!(see(&source) == before, "a dry run changes nothing");
    let changes = std::mem::take(&mut *told.lock().unwrap());
    assert_eq!(changes, ["U source", "M content", "T kind", "M linked", "U linked too", "U mode"]);
    let done =
        in_place(&saved, &RestoreOptions { dry_run: false, ..options }).run(&mut Here::default(), &Silent).unwrap();
    assert_eq!(*told.lock().unwrap(), changes);
    assert_eq!((done.files, done.unchanged, done.bytes), (5, 1, would.bytes));
    assert_eq!((would.files, would.unchanged), (5, 1));
    assert!(see(&source) == expected);
    assert_eq!(fs::metadata(source.join("same")).unwrap().ino(), same.ino());
    let inode = |name: &str| fs::metadata(source.join(name)).unwrap().ino();
    assert_eq!(inode("linked"), inode("linked too"));
}

#[test]
fn links_in_the_way_do_not_lead_outside() {
    let bench = Bench::new();
    let source = bench.source();
    fs::create_dir(source.join("directory")).unwrap();
    fs::write(source.join("directory/file"), "saved").unwrap();
    fs::write(source.join("file"), "saved").unwrap();
    let saved = bench.back_up();
    let outside = bench.place.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "outside").unwrap();
    fs::remove_dir_all(source.join("directory")).unwrap();
    symlink(&outside, source.join("directory")).unwrap();
    fs::remove_file(source.join("file")).unwrap();
    symlink(outside.join("file"), source.join("file")).unwrap();
    let done = in_place(&saved, &overwrite()).run(&mut Here::default(), &Silent).unwrap();
    assert_eq!(done.problems, []);
    assert_eq!(fs::read(outside.join("file")).unwrap(), b"outside");
    assert_eq!(fs::read(source.join("directory/file")).unwrap(), b"saved");
    assert_eq!(fs::read(source.join("file")).unwrap(), b"saved");
}

#[test]
fn what_cannot_be_put_back_is_named_and_the_rest_is_there() {
    let bench = Bench::new();
    let source = bench.source();
    for name in ["a", "b: \nc", "z"] {
        fs::write(source.join(name), name).unwrap();
    }
    let saved = bench.back_up();
    fs::remove_dir_all(&source).unwrap();
    fs::create_dir_all(source.join("b: \nc/in the way")).unwrap();
    // Told by tar, when nobody looked before, or else before anything is sent.
    for standing in [&unknown as &(dyn Fn(&[u8]) -> Standing + Sync), &standing] {
        let options = RestoreOptions { verify: true, ..overwrite() };
        let done = Restore { standing, ..in_place(&saved, &options) }.run(&mut Here::default(), &Silent).unwrap();
        let paths: Vec<&Path> = done.problems.iter().map(|problem| problem.path.as_path()).collect();
        assert_eq!(paths, [source.join("b: \nc")], "{:?}", done.problems);
        assert_eq!((done.unrestored, done.files + done.unchanged), (1, 2));
        assert_eq!(fs::read(source.join("z")).unwrap(), b"z");
        assert!(source.join("b: \nc/in the way").is_dir());
    }
}

#[test]
fn what_is_different_when_it_is_read_back_is_told() {
    let bench = Bench::new();
    let source = bench.source();
    let large = vec![3; 2 << 20];
    for name in ["gone", "large", "longer", "other", "right", "turned"] {
        fs::write(source.join(name), if name == "large" { &large[..] } else { b"saved" }).unwrap();
    }
    let saved = bench.back_up();
    let script = format!(
        "cd '{}' && rm gone turned && mkdir turned && echo x >> longer && printf saveX > other && printf x | dd of=large bs=1 seek=2000000 conv=notrunc",
        source.display()
    );
    let mut shell = Here { before_reading: script, ..Here::default() };
    let options = RestoreOptions { verify: true, ..overwrite() };
    let done = in_place(&saved, &options).run(&mut shell, &Silent).unwrap();
    let names: Vec<_> =
        done.problems.iter().map(|problem| problem.path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["gone", "large", "longer", "other", "turned"], "{:#?}", done.problems);
    assert!(done.problems.iter().all(|problem| problem.severity == Severity::Unread));
}

#[test]
fn tar_that_is_not_there_or_may_not_run_is_an_error_with_its_reason() {
    let bench = Bench::new();
    fs::write(bench.source().join("file"), vec![1; 4 << 20]).unwrap();
    let saved = bench.back_up();
    fs::remove_file(bench.source().join("file")).unwrap();
    let options = overwrite();
    let (_, writer) = programs("/nowhere/tar", None);
    let error = Restore { writer, ..in_place(&saved, &options) }.run(&mut Here::default(), &Silent).unwrap_err();
    assert!(format!("{error:#}").contains("not found"), "{error:#}");
}

#[test]
fn reading_back_that_fails_is_an_error_and_does_not_hang() {
    let bench = Bench::new();
    for n in 0..300 {
        fs::write(bench.source().join(format!("{n:0200}")), vec![1; 10_000]).unwrap();
    }
    let saved = bench.back_up();
    let options = RestoreOptions { verify: true, ..overwrite() };
    for (before, expected) in [
        ("echo 'sudo: not allowed' >&2; exit 1", "sudo: not allowed"),
        ("head -c 2000000 /dev/urandom; exit 0", "malformed"),
        ("exit 0", "ended in the middle"),
        // Whatever is not a file that was named.
        ("exec tar --create --file=- --absolute-names --format=pax /etc/hostname", "not asked for"),
    ] {
        let mut shell = Here { before_reading: before.to_owned(), ..Here::default() };
        let error = in_place(&saved, &options).run(&mut shell, &Silent).unwrap_err();
        assert!(format!("{error:#}").contains(expected), "{before}: {error:#}");
    }
}

#[test]
fn connection_that_is_lost_ends_it() {
    let bench = Bench::new();
    fs::write(bench.source().join("file"), vec![1; 8 << 20]).unwrap();
    let saved = bench.back_up();
    fs::remove_file(bench.source().join("file")).unwrap();
    let mut shell = Here { breaks_after: Some(1 << 20), ..Here::default() };
    let error = in_place(&saved, &overwrite()).run(&mut shell, &Silent).unwrap_err();
    assert!(format!("{error:#}").contains("the connection was lost"), "{error:#}");
}

#[test]
fn store_that_cannot_be_read_ends_it_and_is_told() {
    let bench = Bench::new();
    let noise: Vec<u8> = (0..2_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(bench.source().join("file"), noise).unwrap();
    let saved = bench.back_up();
    fs::remove_file(bench.source().join("file")).unwrap();
    let mut packs: Vec<_> = walk(&bench.place.path().join("repository/data"));
    packs.sort_by_key(|pack| fs::metadata(pack).unwrap().len());
    let largest = packs.pop().unwrap();
    fs::set_permissions(&largest, Permissions::from_mode(0o600)).unwrap();
    let pack = File::options().write(true).open(&largest).unwrap();
    pack.write_all_at(&[0; 64], pack.metadata().unwrap().len() / 2).unwrap();
    let error = in_place(&saved, &overwrite()).run(&mut Here::default(), &Silent).unwrap_err();
    assert!(format!("{error:#}").contains("read piece"), "{error:#}");
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn what_was_no_file_of_the_machine_is_not_put_back_in_place() {
    let bench = Bench::new();
    let source = bench.source();
    fs::create_dir(source.join("dumps")).unwrap();
    fs::write(source.join("dumps/db"), "dump").unwrap();
    fs::write(source.join("file"), "file").unwrap();
    let saved = bench.back_up();
    fs::remove_dir_all(&source).unwrap();
    let made = [source.join("dumps")];
    let options = RestoreOptions { verify: true, ..overwrite() };
    let done = Restore { made: &made, ..in_place(&saved, &options) }.run(&mut Here::default(), &Silent).unwrap();
    assert_eq!((done.files, done.problems), (1, vec![]));
    assert!(source.join("file").exists() && !source.join("dumps").exists());
    let named = at(Some(source.join("dumps/db")));
    let restore = Restore { made: &made, ..in_place(&saved, &named) };
    assert!(restore.run(&mut Here::default(), &Silent).is_err());
    let target = bench.place.path().join("elsewhere");
    let elsewhere = Restore { target: &target, layout: Layout::Contents, is_empty: true, ..restore };
    assert_eq!(elsewhere.run(&mut Here::default(), &Silent).unwrap().files, 1);
    assert_eq!(fs::read(target.join("db")).unwrap(), b"dump");
}

#[test]
fn who_is_not_root_gets_the_content_and_no_rights_of_others() {
    let bench = Bench::new();
    let source = bench.source();
    fs::set_permissions(bench.place.path(), Permissions::from_mode(0o755)).unwrap();
    fs::write(source.join("program"), "x").unwrap();
    fs::set_permissions(source.join("program"), Permissions::from_mode(0o4755)).unwrap();
    let saved = bench.back_up();
    let target = bench.place.path().join("theirs");
    fs::create_dir(&target).unwrap();
    chown(&target, Some(65_534), Some(65_534)).unwrap();
    let options = at(Some(source));
    // Stands where sudo does, and gives rights up.
    let script = bench.place.path().join("drop");
    fs::write(&script, "#!/bin/sh\nshift 2\nexec setpriv --reuid=65534 --regid=65534 --clear-groups -- \"$@\"\n")
        .unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    let (reader, writer) = programs("tar", script.to_str());
    let restore = Restore {
        target: &target,
        layout: Layout::Contents,
        reader,
        writer,
        is_root: false,
        ..in_place(&saved, &options)
    };
    let done = restore.run(&mut Here::default(), &Silent).unwrap();
    assert_eq!((done.files, done.unrestored, done.warnings), (1, 0, 1), "{:?}", done.problems);
    let program = fs::metadata(target.join("program")).unwrap();
    assert_eq!((program.mode() & 0o7777, program.uid()), (0o755, 65_534));
}

#[test]
fn names_and_paths_belong_together() {
    let bench = Bench::new();
    fs::create_dir(bench.source().join("d")).unwrap();
    let saved = bench.back_up();
    let inside = bench.source().join("d");
    let options = at(Some(inside.clone()));
    let elsewhere = Restore { target: Path::new("/t/u"), layout: Layout::Contents, ..in_place(&saved, &options) };
    let names = Names::new(&elsewhere).unwrap();
    assert_eq!(names.name(&inside.join("x/y")).unwrap(), b"t/u/x/y");
    assert_eq!(names.path(b"t/u/x/y"), inside.join("x/y"));
    let whole = overwrite();
    let names = Names::new(&in_place(&saved, &whole)).unwrap();
    assert_eq!(names.name(Path::new("/a/b")).unwrap(), b"a/b");
    assert_eq!(names.path(b"a/b"), Path::new("/a/b"));
}
