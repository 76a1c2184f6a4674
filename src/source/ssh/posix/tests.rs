//! Lists real trees by the programs of busybox.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use rustix::fs::{CWD, FileType, mknodat};
use tempfile::TempDir;

use super::testing::Local;
use super::*;

/// A tree with every kind of entry and name; its root.
fn tree() -> (TempDir, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root 'of' it\nall");
    let at = |name: &[u8]| root.join(OsStr::from_bytes(name));
    fs::create_dir_all(at(b"-d*/deep")).unwrap();
    for name in [&b"-d*/deep/file"[..], b"-name", b"new\nline\n", b"\xff\xfe", b"it's \"$(x)\" `y` \\n", b"a'\nb -> 'c"]
    {
        fs::write(at(name), name).unwrap();
    }
    fs::hard_link(at(b"-name"), at(b"second")).unwrap();
    for (name, target) in [(&b"l1"[..], &b"x"[..]), (b"l2 -> '", b"tar'get\n' -> '\n"), (b"l3\n", b"../\xff")] {
        symlink(OsStr::from_bytes(target), at(name)).unwrap();
    }
    mknodat(CWD, at(b"pipe"), FileType::Fifo, 0o644.into(), 0).unwrap();
    // Enough for more than one batch.
    for number in 0..450 {
        fs::write(at(format!("many-{number}").as_bytes()), "").unwrap();
    }
    let root = root.into_os_string().into_vec();
    (directory, root)
}

/// A machine whose programs can be replaced.
fn machine() -> Local {
    Local::busybox().with_shell("/bin/dash")
}

fn request<'a>(roots: &'a [Vec<u8>], prefix: &'a [u8], excludes: &'a dyn Fn(&[u8], bool) -> bool) -> Request<'a> {
    Request { roots, prefix, one_file_system: true, is_shallow: false, pruned: &[], excludes }
}

fn listed(shell: &mut Local, request: &Request<'_>) -> Result<(Vec<Found>, Listed)> {
    let mut all = Vec::new();
    let listed = list(shell, request, &mut |found| {
        all.push(found);
        Ok(())
    })?;
    Ok((all, listed))
}

/// What this machine itself says of everything below `path`.
fn expected(path: &Path, all: &mut Vec<Found>) {
    let found = path.symlink_metadata().unwrap();
    let stat = super::super::listing::Stat {
        mode: found.mode(),
        uid: found.uid(),
        gid: found.gid(),
        size: found.size(),
        mtime: (found.mtime(), found.mtime_nsec() as u32),
        ctime: Some((found.ctime(), found.ctime_nsec() as u32)),
        inode: found.ino(),
        links: found.nlink(),
        device: found.dev(),
    };
    let target = fs::read_link(path).map(|target| target.into_os_string().into_vec()).unwrap_or_default();
    all.push(Found { path: path.as_os_str().as_bytes().to_vec(), stat, target });
    if found.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            expected(&entry.unwrap().path(), all);
        }
    }
}

fn by_path(all: Vec<Found>) -> BTreeMap<Vec<u8>, Found> {
    all.into_iter().map(|found| (found.path.clone(), found)).collect()
}

fn everything(root: &[u8]) -> BTreeMap<Vec<u8>, Found> {
    let mut all = Vec::new();
    expected(Path::new(OsStr::from_bytes(root)), &mut all);
    by_path(all)
}

#[test]
fn everything_is_listed_exactly_and_parents_first() {
    let (_directory, root) = tree();
    let roots = [root.clone()];
    let in_their_own_words = "[ \"$2\" != '%s %N' ] || exit 1\nexec busybox stat \"$@\"\n";
    let shells = [
        Local::busybox(),
        Local::busybox().with_shell("/bin/dash"),
        Local::busybox().with_shell("/bin/bash"),
        // Where links lead is then asked one by one.
        machine().with_program("stat", in_their_own_words),
    ];
    for mut shell in shells {
        let (all, listed) = listed(&mut shell, &request(&roots, b"", &|_, _| false)).unwrap();
        assert_eq!(listed.problems, []);
        let mut seen = std::collections::HashSet::new();
        for found in &all {
            let parent = Path::new(OsStr::from_bytes(&found.path)).parent().unwrap().as_os_str().as_bytes();
            assert!(found.path == root || seen.contains(parent), "{found:?}");
            seen.insert(&found.path[..]);
        }
        assert!(by_path(all) == everything(&root));
    }
}

#[test]
fn machine_without_stat_is_listed_by_ls() {
    let (_directory, root) = tree();
    let mut shell = Local::busybox().with_shell("/bin/dash").without("stat");
    let (all, listed) = listed(&mut shell, &request(std::slice::from_ref(&root), b"", &|_, _| false)).unwrap();
    assert_eq!(listed.problems, []);
    let mut expected = everything(&root);
    for found in expected.values_mut() {
        (found.stat.ctime, found.stat.device, found.stat.mtime.1) = (None, 0, 0);
    }
    assert!(by_path(all) == expected);
}

#[test]
fn what_is_left_out_is_not_given_there_or_here() {
    let (_directory, root) = tree();
    let at = |name: &str| [&root[..], b"/", name.as_bytes()].concat();
    let excludes = |path: &[u8], is_directory| is_directory && path.ends_with(b"/-d*") || path.ends_with(b"-7");
    let (all, _) = listed(&mut Local::busybox(), &request(std::slice::from_ref(&root), b"", &excludes)).unwrap();
    let given = by_path(all);
    let left_out: Vec<Vec<u8>> = everything(&root).into_keys().filter(|path| !given.contains_key(path)).collect();
    assert_eq!(left_out, ["-d*", "-d*/deep", "-d*/deep/file", "many-7"].map(at));

    let pruned = [at("-d*/deep"), root.clone()];
    let roots = [root.clone()];
    let request = Request { pruned: &pruned, ..request(&roots, b"", &|_, _| false) };
    let given = by_path(listed(&mut Local::busybox(), &request).unwrap().0);
    let left_out: Vec<Vec<u8>> = everything(&root).into_keys().filter(|path| !given.contains_key(path)).collect();
    assert_eq!(left_out, ["-d*/deep", "-d*/deep/file"].map(at));
}

#[test]
fn prefix_stands_before_everything_that_looks_at_files() {
    let (_directory, root) = tree();
    let sudo = "[ \"$1\" = -n ] || exit 9\nshift\ncase $1 in find | stat | readlink) ;; *) exit 9 ;; esac\nmay=1 exec \"$@\"\n";
    let only = |name: &str| format!("[ \"$may\" ] || exit 1\nexec busybox {name} \"$@\"\n");
    let mut shell =
        machine().with_program("sudo", sudo).with_program("find", &only("find")).with_program("stat", &only("stat"));
    let (all, listed) = listed(&mut shell, &request(std::slice::from_ref(&root), b"sudo -n ", &|_, _| false)).unwrap();
    assert_eq!(listed.problems, []);
    assert!(by_path(all) == everything(&root));
    let error = self::listed(&mut shell, &request(&[root], b"", &|_, _| false)).err().unwrap();
    assert!(error.to_string().contains("status 1"), "{error}");
}

#[test]
fn what_vanishes_or_cannot_be_looked_at_is_a_problem_of_its_own() {
    let (_directory, root) = tree();
    let stat = "for name; do case $name in *many-3) echo \"stat: can't stat '$name': No such file or directory\" >&2; exit 1 ;;
        *many-4) echo \"stat: can't stat '$name': Input/output error\" >&2; exit 1 ;; esac; done\nexec busybox stat \"$@\"\n";
    let mut shell = machine().with_program("stat", stat);
    let (all, listed) = listed(&mut shell, &request(std::slice::from_ref(&root), b"", &|_, _| false)).unwrap();
    let mut told: Vec<_> = listed.problems.iter().map(|problem| (problem.path.clone(), problem.severity)).collect();
    told.sort();
    let at = |name: &str| Path::new(OsStr::from_bytes(&root)).join(name);
    assert_eq!(told, [(at("many-3"), Severity::Warning), (at("many-4"), Severity::Unread)]);
    let mut expected = everything(&root);
    expected.retain(|path, _| !path.ends_with(b"many-3") && !path.ends_with(b"many-4"));
    assert!(by_path(all) == expected);
}

#[test]
fn directory_that_cannot_be_entered_is_a_problem_unless_it_is_left_out() {
    let (_directory, root) = tree();
    let find = "busybox find \"$@\"\nn='\n'\necho \"find: ${1%%$n*}${n}all/-d*/deep: Permission denied\" >&2\nexit 1\n";
    let mut shell = machine().with_program("find", find);
    let (_, told) = listed(&mut shell, &request(std::slice::from_ref(&root), b"", &|_, _| false)).unwrap();
    // The newline in the name makes two of it.
    assert!(!told.problems.is_empty() && told.problems.iter().all(|problem| problem.severity == Severity::Unread));

    let find = "busybox find \"$@\"\necho 'find: /x/out/deep: Permission denied' >&2\nexit 1\n";
    let mut shell = machine().with_program("find", find);
    let excludes = |path: &[u8], is_directory| is_directory && path == b"/x/out";
    assert_eq!(listed(&mut shell, &request(&[root], b"", &excludes)).unwrap().1.problems, []);
}

#[test]
fn listing_that_is_not_whole_is_an_error() {
    let (_directory, root) = tree();
    let roots = [root];
    let all = request(&roots, b"", &|_, _| false);
    let error = |mut shell: Local, request: &Request<'_>| format!("{:#}", listed(&mut shell, request).err().unwrap());

    let mut cut = Local::busybox();
    cut.cut = 30_000;
    assert!(error(cut, &all).contains("broke off"));
    let killed = machine().with_program("find", "busybox find \"$@\"\nkill -9 $$\n");
    assert!(error(killed, &all).contains("status 137"));
    let silent = machine().with_program("find", "busybox find \"$@\"\nexit 1\n");
    assert!(error(silent, &all).contains("status 1"));
    let batch = machine().with_program("xargs", "busybox xargs \"$@\"\nexit 123\n");
    assert!(error(batch, &all).contains("123"));

    let roots = [roots[0].clone(), b"/not there".to_vec()];
    let missing = error(Local::busybox(), &request(&roots, b"", &|_, _| false));
    assert!(missing.contains("/not there is not listed: find: /not there: No such file"), "{missing}");
    let foreign = machine().with_program("find", "printf '/etc/passwd\\0'\n");
    assert!(error(foreign, &all).contains("nobody asked for"));
}
