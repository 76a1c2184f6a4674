//! Reads real files by the programs of busybox.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::source::content::SMALL;
use crate::source::ssh::posix::testing::Local;

fn wanted(path: &Path) -> Wanted {
    let found = path.symlink_metadata().ok();
    Wanted {
        path: path.as_os_str().as_bytes().to_vec(),
        size: found.as_ref().map_or(0, |found| found.len()),
        identity: found.map(|found| (found.dev(), found.ino())),
    }
}

fn read(content: io::Result<Content>) -> io::Result<Vec<u8>> {
    let Content::Read(opener) = content? else { panic!("it is in no store") };
    let mut bytes = Vec::new();
    opener.open()?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A path with what was read of it.
type ReadFile = (Vec<u8>, io::Result<Vec<u8>>);

/// Everything, each read before the next one is asked for.
fn all(shell: Local, wanted: Vec<Wanted>, prefix: &[u8]) -> Result<Vec<ReadFile>> {
    let mut contents = Contents::read(shell, wanted, prefix)?;
    let mut all = Vec::new();
    while let Some((path, content)) = contents.next()? {
        all.push((path, read(content)));
    }
    assert!(contents.into_shell().is_some());
    Ok(all)
}

/// Files with every kind of name and content, by path.
fn files() -> (TempDir, BTreeMap<Vec<u8>, Vec<u8>>) {
    let directory = tempfile::tempdir().unwrap();
    let large: Vec<u8> = (0..3_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let contents: [(&[u8], Vec<u8>); 8] = [
        (b"empty", Vec::new()),
        (b"-rf 'quoted' \"$(x)\" `y` \\", b"1\n\n".to_vec()),
        (b"new\nline\n", b"\0\0".to_vec()),
        (b"\xff\xfe", b"x".to_vec()),
        (b"large", large.clone()),
        (b"exactly small", large[..SMALL as usize].to_vec()),
        (b"one more", large[..=SMALL as usize].to_vec()),
        (b"last", b"end".to_vec()),
    ];
    let at = |name: &[u8]| directory.path().join(std::ffi::OsStr::from_bytes(name));
    let mut files = BTreeMap::new();
    for (name, content) in contents {
        fs::write(at(name), &content).unwrap();
        files.insert(at(name).as_os_str().as_bytes().to_vec(), content);
    }
    (directory, files)
}

fn paths(files: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<Wanted> {
    files.keys().map(|path| wanted(Path::new(std::ffi::OsStr::from_bytes(path)))).collect()
}

#[test]
fn contents_come_byte_for_byte_whatever_the_shell() {
    let (_directory, files) = files();
    let shells = [
        Local::busybox(),
        Local::busybox().with_shell("/bin/dash"),
        Local::busybox().with_shell("/bin/bash"),
        Local::busybox().with_shell("/bin/dash").without("stat"),
    ];
    for shell in shells {
        let read = all(shell, paths(&files), b"").unwrap();
        let read: BTreeMap<_, _> = read.into_iter().map(|(path, content)| (path, content.unwrap())).collect();
        assert!(read == files);
    }
}

#[test]
fn prefix_stands_before_cat() {
    let (_directory, files) = files();
    let shell = Local::busybox()
        .with_shell("/bin/dash")
        .with_program("sudo", "[ \"$1 $2 $3\" = '-n cat --' ] || exit 9\nshift\nexec \"$@\"\n");
    let mut wanted = paths(&files);
    wanted.push(Wanted { path: b"/missing".to_vec(), size: 1 << 30, identity: None });
    let mut read = all(shell, wanted, b"sudo -n ").unwrap();
    assert_eq!(read.pop().unwrap().1.unwrap_err().kind(), io::ErrorKind::NotFound);
    assert!(read.into_iter().map(|(path, content)| (path, content.unwrap())).collect::<BTreeMap<_, _>>() == files);
}

#[test]
fn file_that_cannot_be_opened_is_told_and_the_others_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    for name in ["good", "listed", "gone"] {
        fs::write(at(name), name).unwrap();
    }
    let mut list: Vec<Wanted> = ["gone", "listed", "good"].map(|name| wanted(&at(name))).into();
    fs::remove_file(at("gone")).unwrap();
    // Another file under the same name; the link and the pipe would lead somewhere else or wait without end.
    fs::write(at("new"), "other").unwrap();
    fs::rename(at("new"), at("listed")).unwrap();
    symlink("good", at("link")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let replaced = ["link", "pipe"].map(|name| Wanted { identity: None, ..wanted(&at(name)) });
    list.extend(replaced);
    let read = all(Local::busybox(), list, b"").unwrap();
    let told: Vec<_> = read.into_iter().map(|(_, content)| content.map_err(|error| error.kind())).collect();
    let other = || Err(io::ErrorKind::Other);
    assert_eq!(told, [Err(io::ErrorKind::NotFound), other(), Ok(b"good".to_vec()), other(), other()]);
}

#[test]
fn small_contents_can_be_opened_in_any_order_and_large_ones_dropped() {
    let (_directory, files) = files();
    let mut contents = Contents::read(Local::busybox(), paths(&files), b"").unwrap();
    let mut kept = Vec::new();
    while let Some((path, content)) = contents.next().unwrap() {
        if files[&path].len() as u64 <= SMALL {
            kept.push((path, content));
        }
    }
    for (path, content) in kept.into_iter().rev() {
        assert!(read(content).unwrap() == files[&path]);
    }
}

#[test]
fn stream_that_breaks_off_in_a_file_fails_its_reader_and_the_whole() {
    let (_directory, files) = files();
    let large = paths(&files).into_iter().find(|wanted| wanted.path.ends_with(b"large")).unwrap();
    let mut shell = Local::busybox();
    shell.cut = 1_000_000;
    let mut contents = Contents::read(shell, vec![large], b"").unwrap();
    let (_, content) = contents.next().unwrap().unwrap();
    assert_eq!(read(content).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    let error = contents.next().unwrap_err();
    assert!(format!("{error:#}").contains("broke off"), "{error:#}");

    let small = paths(&files).into_iter().find(|wanted| wanted.path.ends_with(b"last")).unwrap();
    let mut shell = Local::busybox();
    shell.cut = 60;
    let mut contents = Contents::read(shell, vec![small], b"").unwrap();
    assert!(contents.next().is_err());
}

#[test]
fn file_that_grew_since_it_was_listed_is_read_to_its_end() {
    let (_directory, files) = files();
    let mut large = paths(&files).into_iter().find(|wanted| wanted.path.ends_with(b"large")).unwrap();
    large.size = 10;
    let path = large.path.clone();
    let read = all(Local::busybox(), vec![large], b"").unwrap();
    assert!(*read[0].1.as_ref().unwrap() == files[&path]);
}

#[test]
fn files_that_nobody_wants_any_more_end_the_thread() {
    let (_directory, files) = files();
    let mut contents = Contents::read(Local::busybox(), paths(&files), b"").unwrap();
    let _ = contents.next().unwrap();
    contents.told = None;
    let (_, whole) = contents.thread.take().unwrap().join().unwrap();
    assert!(whole.is_err());
}
