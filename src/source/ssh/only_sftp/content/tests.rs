//! Reads real files over a real server.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use super::*;
use crate::source::ssh::listing::Stat;
use crate::source::ssh::only_sftp::testing::Server;

fn found(path: &Path) -> Found {
    let stat = path.symlink_metadata().unwrap();
    let stat = Stat { mode: stat.mode(), uid: stat.uid(), size: stat.size(), ..Stat::default() };
    Found { path: path.as_os_str().as_bytes().to_vec(), stat, target: Vec::new() }
}

fn open(content: Content) -> io::Result<Box<dyn Read + Send>> {
    let Content::Read(opener) = content else { panic!("it is in no store") };
    opener.open()
}

fn read(content: Content) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(content)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[test]
fn files_of_every_size_are_read_byte_for_byte_several_at_a_time() {
    let (server, directory) = (Server::start(), tempfile::tempdir().unwrap());
    let all: Vec<u8> = (0..3_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::thread::scope(|scope| {
        for size in [0, 1, 7499, 7501, 29_999, 30_001, 120_000, 1_100_000, 3_000_000] {
            let (path, all, sftp) = (directory.path().join(format!("{size}\n")), &all, &server.sftp);
            scope.spawn(move || {
                fs::write(&path, &all[..size]).unwrap();
                assert!(read(content(sftp, &found(&path))).unwrap() == all[..size], "{size}");
            });
        }
    });
}

#[test]
fn file_that_vanished_or_was_replaced_is_told() {
    let (server, directory) = (Server::start(), tempfile::tempdir().unwrap());
    let path = directory.path().join("file");
    fs::write(&path, "x").unwrap();
    let listed = found(&path);
    let mut of_another = listed.clone();
    of_another.stat.uid += 1;
    let error = read(content(&server.sftp, &of_another)).unwrap_err();
    assert!(error.to_string().contains("replaced"), "{error}");
    fs::remove_file(&path).unwrap();
    assert_eq!(read(content(&server.sftp, &listed)).unwrap_err().kind(), io::ErrorKind::NotFound);
    symlink("/proc", &path).unwrap();
    assert!(read(content(&server.sftp, &listed)).is_err());
}

#[test]
fn connection_that_is_lost_never_ends_a_file_short() {
    let (mut server, directory) = (Server::start(), tempfile::tempdir().unwrap());
    let path = directory.path().join("file");
    fs::write(&path, vec![1; 50_000_000]).unwrap();
    let mut reading = open(content(&server.sftp, &found(&path))).unwrap();
    let mut begin = [0; 10];
    reading.read_exact(&mut begin).unwrap();
    server.kill();
    assert!(reading.read_to_end(&mut Vec::new()).is_err());
}
