//! Lists real trees over a real server.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, mknodat};
use tempfile::TempDir;

use super::*;
use crate::source::ssh::only_sftp::testing::Server;

fn tree() -> (TempDir, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &[u8]| directory.path().join(OsStr::from_bytes(name));
    fs::create_dir_all(at(b"a.d/deep")).unwrap();
    fs::create_dir(at(b"a")).unwrap();
    for name in [&b"a/z"[..], b"a.d/deep/file", b"new\nline", b"\xff\xfe", b"-name'\""] {
        fs::write(at(name), name).unwrap();
    }
    symlink(OsStr::from_bytes(b"../\xffnowhere\n"), at(b"link")).unwrap();
    mknodat(CWD, at(b"pipe"), FileType::Fifo, 0o644.into(), 0).unwrap();
    let root = directory.path().as_os_str().as_bytes().to_vec();
    (directory, root)
}

fn listed(sftp: &Sftp, request: &Request<'_>) -> Result<(Vec<Found>, Vec<Problem>)> {
    let mut all = Vec::new();
    let problems = list(sftp, request, &mut |found| {
        all.push(found);
        Ok(())
    })?;
    Ok((all, problems))
}

/// What this machine itself says of everything below `path`, in the order of a tree.
fn expected(path: &Path, all: &mut Vec<Found>) {
    let found = path.symlink_metadata().unwrap();
    let (mode, uid, gid, size) = (found.mode(), found.uid(), found.gid(), found.size());
    let stat = Stat { mode, uid, gid, size, mtime: (found.mtime(), 0), ..Stat::default() };
    let target = fs::read_link(path).map(|target| target.into_os_string().into_vec()).unwrap_or_default();
    all.push(Found { path: path.as_os_str().as_bytes().to_vec(), stat, target });
    if found.is_dir() {
        let mut paths: Vec<PathBuf> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort_by(|one, other| one.file_name().cmp(&other.file_name()));
        paths.iter().for_each(|path| expected(path, all));
    }
}

#[test]
fn everything_is_listed_in_the_order_of_a_tree_but_what_is_left_out() {
    let (directory, root) = tree();
    let server = Server::start();
    let roots = [root.clone()];
    let request = Request { roots: &roots, one_file_system: true, is_shallow: false, excludes: &|_, _| false };
    let (all, problems) = listed(&server.sftp, &request).unwrap();
    assert_eq!(problems, []);
    let mut whole = Vec::new();
    expected(directory.path(), &mut whole);
    assert_eq!(all, whole);

    let excludes = |path: &[u8], is_directory| path.ends_with(b"/a.d") && is_directory || path.ends_with(b"z");
    let (some, _) = listed(&server.sftp, &Request { excludes: &excludes, ..request }).unwrap();
    let left_out = [&b"a/z"[..], b"a.d", b"a.d/deep", b"a.d/deep/file"].map(|name| [&root[..], b"/", name].concat());
    whole.retain(|found| !left_out.contains(&found.path));
    assert_eq!(some, whole);
}

#[test]
fn other_file_systems_are_not_entered() {
    let server = Server::start();
    let roots = [b"/".to_vec()];
    let excludes = |path: &[u8], _: bool| !path.starts_with(b"/proc");
    let request = Request { roots: &roots, one_file_system: true, is_shallow: false, excludes: &excludes };
    let (all, _) = listed(&server.sftp, &request).unwrap();
    assert_eq!(all.iter().map(|found| &found.path[..]).collect::<Vec<_>>(), [b"/proc"]);
}

#[test]
fn missing_root_and_lost_connection_are_errors() {
    let (_directory, root) = tree();
    let mut server = Server::start();
    let roots = [b"/not there".to_vec()];
    let request = Request { roots: &roots, one_file_system: false, is_shallow: false, excludes: &|_, _| false };
    let error = format!("{:#}", listed(&server.sftp, &request).err().unwrap());
    assert!(error.contains("list /not there: no such file"), "{error}");
    let roots = [root];
    server.kill();
    let error = listed(&server.sftp, &Request { roots: &roots, ..request }).err().unwrap();
    assert!(format!("{error:#}").contains("the connection failed"), "{error:#}");
}
